//! A report as text for people, as JSON, and as JUnit's XML.

use std::{fmt::Write as _, time::Duration};

use fulfillment_crds::IdentityMode;
use serde_json::{Value, json};

use super::{
    finding::{Finding, Verdict},
    identity::Offers,
    recommend::Recommended,
};
use crate::config::Output;

/// Everything that was found out.
#[derive(Clone, Debug)]
pub(super) struct Report {
    /// Kind and name of the connection.
    pub(super) connection: String,
    /// Where the vendor is.
    pub(super) url: String,
    /// The identity mode of the connection.
    pub(super) mode: IdentityMode,
    /// The name of the throw-away tenant.
    pub(super) external_id: String,
    /// One finding for each check.
    pub(super) findings: Vec<Finding>,
    /// What the vendor offers.
    pub(super) offers: Offers,
    /// What a connection to it should say.
    pub(super) recommended: Recommended,
    /// How many calls it took.
    pub(super) calls: u32,
    /// How long it took.
    pub(super) took: Duration,
    /// How many tenants were made.
    pub(super) made: usize,
    /// What is left at the vendor.
    pub(super) left: Vec<String>,
    /// Why not everything was checked.
    pub(super) ended: Option<String>,
}

impl Report {
    /// Whether everything that the operator relies on holds, and nothing is left behind.
    pub(super) fn conforms(&self) -> bool {
        let fails = |finding: &Finding| finding.verdict == Verdict::Fail;
        !self.findings.iter().any(fails) && self.left.is_empty() && self.ended.is_none()
    }

    /// In the form that was asked for.
    pub(super) fn write(&self, form: Output) -> String {
        match form {
            Output::Text => self.text(),
            Output::Json => format!("{:#}\n", self.json()),
            Output::Junit => self.junit(),
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        let of = self.findings.iter().filter(|f| f.verdict == verdict);
        of.count()
    }

    fn text(&self) -> String {
        let mut text = format!(
            "{} at {}, identity {:?}\n\n",
            self.connection, self.url, self.mode
        );
        for finding in &self.findings {
            let (verdict, check) = (finding.verdict.as_str(), finding.check.as_str());
            let message = &finding.message;
            let _ = writeln!(text, "{verdict}  {check:<17} {message}");
        }
        let _ = writeln!(
            text,
            "\ncalls: {} in {:.1} s; tenants made: {}, left: {}",
            self.calls,
            self.took.as_secs_f64(),
            self.made,
            self.left.len()
        );
        for left in &self.left {
            let _ = writeln!(text, "left behind: {left}");
        }
        let identity = match self.recommended.identity {
            None => "could not be found out".to_owned(),
            Some(mode) if mode == self.mode => format!("{mode:?}, as configured"),
            Some(mode) => format!("identity.mode: {mode:?} (configured: {:?})", self.mode),
        };
        let _ = writeln!(text, "recommended identity: {identity}");
        let _ = writeln!(text, "recommended dialect: {}", self.recommended.dialect);
        if let Some(ended) = &self.ended {
            let _ = writeln!(text, "not everything was checked: {ended}");
        }
        let failed = self.count(Verdict::Fail);
        let _ = match self.conforms() {
            true => writeln!(text, "the vendor conforms"),
            false => writeln!(text, "the vendor does not conform: {failed} failed"),
        };
        text
    }

    fn json(&self) -> Value {
        let checks: Vec<Value> = self
            .findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.check.as_str(),
                    "family": finding.check.family(),
                    "verdict": finding.verdict,
                    "message": finding.message,
                })
            })
            .collect();
        json!({
            "connection": self.connection,
            "url": self.url,
            "conforms": self.conforms(),
            "ended": self.ended,
            "identity": {
                "configured": self.mode,
                "recommended": self.recommended.identity,
                "offers": self.offers,
            },
            "dialect": {"recommended": self.recommended.dialect},
            "calls": self.calls,
            "seconds": self.took.as_secs_f64(),
            "tenants": {
                "externalId": self.external_id,
                "made": self.made,
                "left": self.left,
            },
            "checks": checks,
        })
    }

    fn junit(&self) -> String {
        let failed = self.count(Verdict::Fail) + usize::from(self.ended.is_some());
        let cases = self.findings.len() + usize::from(self.ended.is_some());
        let mut xml = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n<testsuite name=\"{}\" tests=\"{cases}\" failures=\"{failed}\" errors=\"0\" skipped=\"{}\" time=\"{:.3}\">\n",
            escaped(&self.connection),
            self.count(Verdict::Skip),
            self.took.as_secs_f64(),
        );
        for finding in &self.findings {
            let said = escaped(&finding.message);
            let inside = match finding.verdict {
                Verdict::Pass | Verdict::Note => format!("<system-out>{said}</system-out>"),
                Verdict::Fail => format!("<failure message=\"{said}\"/>"),
                Verdict::Skip => format!("<skipped message=\"{said}\"/>"),
            };
            let (family, check) = (finding.check.family(), finding.check.as_str());
            let _ = writeln!(
                xml,
                "<testcase classname=\"{family}\" name=\"{check}\">{inside}</testcase>"
            );
        }
        if let Some(ended) = &self.ended {
            let said = escaped(ended);
            let _ = writeln!(
                xml,
                "<testcase classname=\"check\" name=\"complete\"><failure message=\"{said}\"/></testcase>"
            );
        }
        xml.push_str("</testsuite>\n</testsuites>\n");
        xml
    }
}

/// Text as it may stand in XML.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // Cannot stand in XML 1.0 at all.
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::{Check, Findings};

    fn report(findings: Findings) -> Report {
        Report {
            connection: "VendorConnection a\"b".into(),
            url: "https://v.example".into(),
            mode: IdentityMode::Lookup,
            external_id: "check-x".into(),
            findings: findings.complete("not reached"),
            offers: Offers::default(),
            recommended: Recommended::default(),
            calls: 3,
            took: Duration::from_millis(1500),
            made: 1,
            left: Vec::new(),
            ended: None,
        }
    }

    #[test]
    fn only_a_failure_an_early_end_or_a_rest_is_no_conformance() {
        let mut findings = Findings::default();
        findings.relied(false, false, Check::LookupFresh, "late");
        let good = report(findings);
        assert!(good.conforms());
        let left = Report {
            left: vec!["tenant t-1".into()],
            ..good.clone()
        };
        let ended = Report {
            ended: Some("interrupted".into()),
            ..good
        };
        let mut findings = Findings::default();
        findings.fail(Check::Delete, "it stays");
        for bad in [left, ended, report(findings)] {
            assert!(!bad.conforms());
            assert!(bad.text().contains("does not conform"));
            assert_eq!(bad.json()["conforms"], false);
        }
    }

    #[test]
    fn markup_in_what_a_vendor_says_stays_text() {
        let mut findings = Findings::default();
        findings.fail(Check::Create, "<b> & \"c\"\u{1}");
        let xml = report(findings).junit();
        assert!(
            xml.contains("message=\"&lt;b&gt; &amp; &quot;c&quot; \""),
            "{xml}"
        );
        assert!(xml.contains("name=\"VendorConnection a&quot;b\""));
        assert!(xml.contains("failures=\"1\""));
    }
}
