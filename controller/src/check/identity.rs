//! What makes a create safe to repeat here: each way is tried, whichever the connection relies on.

use std::time::Duration;

use fulfillment_crds::IdentityMode;
use serde::Serialize;

use super::{
    Run,
    bench::{Ask, Heard, Stop},
    finding::Check,
};
use crate::vendor::{Order, Said};

/// What the vendor was seen to offer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Offers {
    /// `externalId` is unique, and a repeated create answers 409 with the tenant.
    pub(super) external_id: bool,
    /// A create repeated with the same Idempotency-Key has one effect.
    pub(super) idempotency_key: bool,
    /// A lookup finds every tenant of a name at once, and none where there is none.
    pub(super) lookup: bool,
}

/// What a repeated create came to.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Repeated {
    /// The same tenant; `conflict` where it was 409.
    Same { conflict: bool },
    /// Another one: there are two now.
    Another(String),
    /// 409, and not whose.
    Unnamed,
    /// Something else.
    Strange(String),
}

/// Repeats the create of a tenant: as it was, and with another Idempotency-Key.
pub(super) async fn repeats(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    let same = run.bench.call(Ask::Create(order)).await?;
    let same = repeated(id, same);
    let other = run.bench.call(Ask::CreateOtherKey(order)).await?;
    let other = repeated(id, other);
    external_id(run, &same, &other);
    idempotency_key(run, &same, &other);
    let twins: Vec<String> = [same, other].into_iter().filter_map(another).collect();
    complete(run, id, order, &twins).await
}

fn repeated(id: &str, heard: Heard) -> Repeated {
    match heard.map(|answer| answer.said) {
        Ok(Said::Exists(Some(tenant))) if tenant.id == id => Repeated::Same { conflict: true },
        Ok(Said::Exists(Some(tenant))) => {
            Repeated::Strange(format!("409 with tenant {}", tenant.id))
        }
        Ok(Said::Exists(None)) => Repeated::Unnamed,
        Ok(Said::Tenant(tenant) | Said::Accepted(Some(tenant))) if tenant.id == id => {
            Repeated::Same { conflict: false }
        }
        Ok(Said::Tenant(tenant) | Said::Accepted(Some(tenant))) => Repeated::Another(tenant.id),
        Ok(Said::Done | Said::Accepted(None) | Said::Absent | Said::Found(_)) => {
            Repeated::Strange("a success that names no tenant".into())
        }
        Err(error) => Repeated::Strange(error.message),
    }
}

fn another(repeated: Repeated) -> Option<String> {
    match repeated {
        Repeated::Another(id) => Some(id),
        Repeated::Same { .. } | Repeated::Unnamed | Repeated::Strange(_) => None,
    }
}

/// What there is to say of a repeat that should have been answered with the same tenant.
fn told(repeated: &Repeated) -> String {
    match repeated {
        Repeated::Same { conflict: true } => "409 with the same tenant".into(),
        Repeated::Same { conflict: false } => "success with the same tenant".into(),
        Repeated::Another(id) => format!("a second tenant, {id}"),
        Repeated::Unnamed => "409 without the tenant: put it in the body".into(),
        Repeated::Strange(what) => what.clone(),
    }
}

fn external_id(run: &mut Run, same: &Repeated, other: &Repeated) {
    let relied = run.spec.identity.mode == IdentityMode::ExternalId;
    let first = matches!(same, Repeated::Same { .. });
    let holds = first && *other == Repeated::Same { conflict: true };
    run.offers.external_id = holds;
    // The one that tells more.
    let (how, seen) = if first {
        (" with another Idempotency-Key", other)
    } else {
        ("", same)
    };
    let mut what = format!("a second POST of the externalId{how}: {}", told(seen));
    if !holds && *seen == (Repeated::Same { conflict: false }) {
        what.push_str("; answer 409, or a tenant of somebody else is taken for a new one");
    }
    run.findings.relied(relied, holds, Check::ExternalId, what);
}

fn idempotency_key(run: &mut Run, same: &Repeated, other: &Repeated) {
    let relied = run.spec.identity.mode == IdentityMode::IdempotencyKey;
    let holds = matches!(same, Repeated::Same { .. });
    // Where any key gives the same tenant it may be the name that does it.
    let told_apart = !matches!(other, Repeated::Same { .. }) || *same != *other;
    run.offers.idempotency_key = holds && told_apart;
    let mut what = format!(
        "a second POST with the same Idempotency-Key: {}",
        told(same)
    );
    if holds && !told_apart {
        what.push_str(" (so it is with another key: the externalId makes it so)");
    }
    run.findings
        .relied(relied, holds, Check::IdempotencyKey, what);
}

/// Looks a name up that nobody has.
pub(super) async fn nobody(run: &mut Run, name: &str) -> Result<(), Stop> {
    let (holds, what) = match run.bench.call(Ask::Lookup(name)).await? {
        Ok(answer) => match answer.said {
            Said::Found(found) if found.is_empty() => (true, "an empty list".to_owned()),
            Said::Found(_)
            | Said::Tenant(_)
            | Said::Done
            | Said::Accepted(_)
            | Said::Exists(_)
            | Said::Absent => (false, "a tenant of a name that nobody has".into()),
        },
        Err(error) => (false, format!("no lookup: {}", error.message)),
    };
    run.offers.lookup = holds;
    relied(run, holds, Check::LookupEmpty, what);
    Ok(())
}

/// Looks a new tenant up: whether it is found, and after how long.
pub(super) async fn fresh(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    if !run.offers.lookup {
        for check in [Check::LookupFresh, Check::LookupComplete, Check::LookupGone] {
            run.findings.skip(check, "there is no lookup");
        }
        return Ok(());
    }
    let ids = [id.to_owned()];
    let (holds, what) = match seen(run, order, &ids).await? {
        Ok(lag) if lag.is_zero() => (true, "found at once".to_owned()),
        Ok(lag) => (
            false,
            format!("found only {:.1} s after it was made", lag.as_secs_f64()),
        ),
        Err(why) => (false, why),
    };
    run.offers.lookup &= holds;
    relied(run, holds, Check::LookupFresh, what);
    Ok(())
}

/// Looks a name up that several tenants have.
async fn complete(run: &mut Run, id: &str, order: &Order, twins: &[String]) -> Result<(), Stop> {
    if !run.findings.lack(Check::LookupComplete) {
        return Ok(());
    }
    if twins.is_empty() {
        let what = "no two tenants can have one externalId";
        run.findings.skip(Check::LookupComplete, what);
        return Ok(());
    }
    let mut ids = twins.to_vec();
    ids.push(id.to_owned());
    let (holds, what) = match seen(run, order, &ids).await? {
        Ok(_) => (true, format!("all {} tenants of one name", ids.len())),
        Err(why) => (false, why),
    };
    run.offers.lookup &= holds;
    relied(run, holds, Check::LookupComplete, what);
    Ok(())
}

/// Looks the name up when all its tenants are gone.
pub(super) async fn gone(run: &mut Run, order: &Order) -> Result<(), Stop> {
    let name = &order.external_id;
    let left = run
        .bench
        .made
        .iter()
        .any(|made| made.name == *name && !made.gone);
    if !run.findings.lack(Check::LookupGone) {
        return Ok(());
    }
    if left {
        let what = "not all its tenants are gone";
        run.findings.skip(Check::LookupGone, what);
        return Ok(());
    }
    let (holds, what) = match run.bench.call(Ask::Lookup(&order.external_id)).await? {
        Ok(mut answer) => match answer.said.tenants().iter().find(|t| t.is_live()) {
            None => (true, "none".to_owned()),
            Some(tenant) => (
                false,
                format!("it still finds {}, which is gone", tenant.id),
            ),
        },
        Err(error) => (false, error.message),
    };
    run.offers.lookup &= holds;
    relied(run, holds, Check::LookupGone, what);
    Ok(())
}

fn relied(run: &mut Run, holds: bool, check: Check, what: String) {
    let relied = run.spec.identity.mode == IdentityMode::Lookup;
    run.findings.relied(relied, holds, check, what);
}

/// How long after the first look all of these are found.
async fn seen(
    run: &mut Run,
    order: &Order,
    ids: &[String],
) -> Result<Result<Duration, String>, Stop> {
    let began = tokio::time::Instant::now();
    let mut first = true;
    loop {
        let lag = if first {
            Duration::ZERO
        } else {
            began.elapsed()
        };
        let mut answer = match run.bench.call(Ask::Lookup(&order.external_id)).await? {
            Ok(answer) => answer,
            Err(error) => return Ok(Err(error.message)),
        };
        let found = answer.said.tenants();
        let missing = ids.iter().find(|id| found.iter().all(|t| t.id != **id));
        let Some(missing) = missing else {
            return Ok(Ok(lag));
        };
        if began.elapsed() >= run.bench.patience() {
            let waited = run.bench.patience().as_secs_f64();
            return Ok(Err(format!("{missing} is not found in {waited:.0} s")));
        }
        first = false;
        run.bench.rest().await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::{Answer, Tenant};

    fn heard(said: Said) -> Heard {
        Ok(Answer {
            said,
            retry_after: None,
            replayed: false,
        })
    }

    #[test]
    fn what_a_repeat_came_to() {
        let tenant = |id: &str| {
            Box::new(Tenant {
                id: id.into(),
                ..Tenant::default()
            })
        };
        let of = |said| repeated("t-1", heard(said));
        let exists = of(Said::Exists(Some(tenant("t-1"))));
        assert_eq!(exists, Repeated::Same { conflict: true });
        let replay = of(Said::Accepted(Some(tenant("t-1"))));
        assert_eq!(replay, Repeated::Same { conflict: false });
        assert_eq!(
            of(Said::Tenant(tenant("t-2"))),
            Repeated::Another("t-2".into())
        );
        assert_eq!(of(Said::Exists(None)), Repeated::Unnamed);
        assert!(matches!(of(Said::Done), Repeated::Strange(_)));
        assert!(matches!(
            of(Said::Exists(Some(tenant("t-9")))),
            Repeated::Strange(_)
        ));
    }
}
