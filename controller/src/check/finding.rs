//! What is checked, and what was found.

use serde::Serialize;

/// A promise of the contract, or of an identity mode. The words are an interface: reports are read by
/// machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Check {
    /// A create answers with success and the tenant's id.
    Create,
    /// A tenant is found under its id.
    Read,
    /// It shows the limits it was ordered with.
    Limits,
    /// A number is answered as a number.
    LimitsForm,
    /// A PUT sets limits.
    Change,
    /// The same PUT once more changes nothing.
    ChangeRepeated,
    /// A PUT leaves alone what it does not name.
    ChangePartial,
    /// What cannot be done is refused, and refusals have no effect.
    Refusal,
    /// It suspends.
    Disable,
    /// Suspending once more is no error.
    DisableRepeated,
    /// It resumes.
    Enable,
    /// Resuming once more is no error.
    EnableRepeated,
    /// It deletes.
    Delete,
    /// Deleting once more is no error.
    DeleteRepeated,
    /// A tenant that is not there is 404 or 410.
    UnknownId,
    /// A read shows what was written before it.
    FreshReads,
    /// `externalId` is unique.
    ExternalId,
    /// The header is honoured.
    IdempotencyKey,
    /// Whichever of the two holds does so for creates at the same time.
    CreateAtOnce,
    /// A lookup of a name that nobody has is an empty list.
    LookupEmpty,
    /// A lookup finds a tenant as soon as it is made.
    LookupFresh,
    /// A lookup finds every tenant of the name.
    LookupComplete,
    /// A lookup does not find what is gone.
    LookupGone,
    /// Who does not show the credentials is refused.
    Credentials,
    /// JSON is called JSON.
    ContentType,
    /// `Retry-After` can be understood.
    RetryAfter,
    /// Nothing of the check is left behind.
    CleanUp,
}

impl Check {
    /// Every check, in the order in which they are reported.
    pub(super) const ALL: [Self; 27] = [
        Self::Create,
        Self::Read,
        Self::Limits,
        Self::LimitsForm,
        Self::Change,
        Self::ChangeRepeated,
        Self::ChangePartial,
        Self::Refusal,
        Self::Disable,
        Self::DisableRepeated,
        Self::Enable,
        Self::EnableRepeated,
        Self::Delete,
        Self::DeleteRepeated,
        Self::UnknownId,
        Self::FreshReads,
        Self::ExternalId,
        Self::IdempotencyKey,
        Self::CreateAtOnce,
        Self::LookupEmpty,
        Self::LookupFresh,
        Self::LookupComplete,
        Self::LookupGone,
        Self::Credentials,
        Self::ContentType,
        Self::RetryAfter,
        Self::CleanUp,
    ];

    /// The word in reports.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Limits => "limits",
            Self::LimitsForm => "limits-form",
            Self::Change => "change",
            Self::ChangeRepeated => "change-repeated",
            Self::ChangePartial => "change-partial",
            Self::Refusal => "refusal",
            Self::Disable => "disable",
            Self::DisableRepeated => "disable-repeated",
            Self::Enable => "enable",
            Self::EnableRepeated => "enable-repeated",
            Self::Delete => "delete",
            Self::DeleteRepeated => "delete-repeated",
            Self::UnknownId => "unknown-id",
            Self::FreshReads => "fresh-reads",
            Self::ExternalId => "external-id",
            Self::IdempotencyKey => "idempotency-key",
            Self::CreateAtOnce => "create-at-once",
            Self::LookupEmpty => "lookup-empty",
            Self::LookupFresh => "lookup-fresh",
            Self::LookupComplete => "lookup-complete",
            Self::LookupGone => "lookup-gone",
            Self::Credentials => "credentials",
            Self::ContentType => "content-type",
            Self::RetryAfter => "retry-after",
            Self::CleanUp => "clean-up",
        }
    }

    /// What it belongs to.
    pub(super) fn family(self) -> &'static str {
        match self {
            Self::Create
            | Self::Read
            | Self::Limits
            | Self::LimitsForm
            | Self::Change
            | Self::ChangeRepeated
            | Self::ChangePartial
            | Self::Refusal
            | Self::Disable
            | Self::DisableRepeated
            | Self::Enable
            | Self::EnableRepeated
            | Self::Delete
            | Self::DeleteRepeated
            | Self::UnknownId
            | Self::FreshReads => "contract",
            Self::ExternalId
            | Self::IdempotencyKey
            | Self::CreateAtOnce
            | Self::LookupEmpty
            | Self::LookupFresh
            | Self::LookupComplete
            | Self::LookupGone => "identity",
            Self::Credentials | Self::ContentType | Self::RetryAfter => "answers",
            Self::CleanUp => "check",
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// The promise holds.
    Pass,
    /// It does not, and the operator relies on it.
    Fail,
    /// The operator does not rely on it with this connection: how it is, and no more.
    Note,
    /// It could not be checked.
    Skip,
}

impl Verdict {
    /// The word in reports for people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Note => "NOTE",
            Self::Skip => "SKIP",
        }
    }
}

/// What was found out about one promise.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The promise.
    pub(super) check: Check,
    /// Whether it holds.
    pub(super) verdict: Verdict,
    /// What was seen, and what to do about it. No secrets.
    pub(super) message: String,
}

/// All findings: one for each check at most, in the order of [`Check::ALL`].
#[derive(Clone, Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    /// Adds one. The first that fails stays: what comes after it follows from it.
    pub(super) fn add(&mut self, check: Check, verdict: Verdict, message: impl Into<String>) {
        let finding = Finding {
            check,
            verdict,
            message: message.into(),
        };
        match self.0.iter_mut().find(|known| known.check == check) {
            None => self.0.push(finding),
            Some(known) if known.verdict == Verdict::Fail => {}
            Some(known) => *known = finding,
        }
    }

    /// The promise holds.
    pub(super) fn pass(&mut self, check: Check, message: impl Into<String>) {
        self.add(check, Verdict::Pass, message);
    }

    /// It does not.
    pub(super) fn fail(&mut self, check: Check, message: impl Into<String>) {
        self.add(check, Verdict::Fail, message);
    }

    /// It could not be checked.
    pub(super) fn skip(&mut self, check: Check, message: impl Into<String>) {
        self.add(check, Verdict::Skip, message);
    }

    /// It holds or not, and that matters only where the operator relies on it.
    pub(super) fn relied(
        &mut self,
        relied: bool,
        holds: bool,
        check: Check,
        message: impl Into<String>,
    ) {
        let verdict = match (relied, holds) {
            (true, true) => Verdict::Pass,
            (true, false) => Verdict::Fail,
            (false, _) => Verdict::Note,
        };
        self.add(check, verdict, message);
    }

    /// Whether nothing was found out about it yet.
    pub(super) fn lack(&self, check: Check) -> bool {
        self.0.iter().all(|known| known.check != check)
    }

    /// Whether this promise is known not to hold.
    pub(super) fn failed(&self, check: Check) -> bool {
        let fails = |known: &Finding| known.check == check && known.verdict == Verdict::Fail;
        self.0.iter().any(fails)
    }

    /// One for each check; `why` is said of those that were not made.
    pub(super) fn complete(mut self, why: &str) -> Vec<Finding> {
        for check in Check::ALL {
            if self.lack(check) {
                self.skip(check, why);
            }
        }
        self.0.sort_by_key(|finding| finding.check);
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_has_one_finding_and_a_word_of_its_own() {
        let mut findings = Findings::default();
        findings.fail(Check::Delete, "it stays");
        findings.pass(Check::Delete, "gone");
        findings.pass(Check::Create, "t-1");
        let all = findings.complete("not reached");
        assert_eq!(all.len(), Check::ALL.len());
        assert!(all.iter().map(|f| f.check).eq(Check::ALL));
        let of = |check: Check| all.iter().find(|f| f.check == check).unwrap();
        assert_eq!(of(Check::Delete).verdict, Verdict::Fail);
        assert_eq!(of(Check::Read).message, "not reached");
        let mut words: Vec<&str> = Check::ALL.map(Check::as_str).to_vec();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Check::ALL.len());
    }

    #[test]
    fn only_what_is_relied_on_can_fail() {
        for (relied, holds, verdict) in [
            (true, true, Verdict::Pass),
            (true, false, Verdict::Fail),
            (false, true, Verdict::Note),
            (false, false, Verdict::Note),
        ] {
            let mut findings = Findings::default();
            findings.relied(relied, holds, Check::LookupFresh, "");
            assert_eq!(
                findings.failed(Check::LookupFresh),
                verdict == Verdict::Fail
            );
            assert_eq!(findings.0[0].verdict, verdict);
        }
    }
}
