//! A tenant is bought, and is there as it was ordered.

use fulfillment_crds::{IdentityMode, Limits};

use super::{
    Run,
    bench::{Ask, Decided, Stop},
    change::change,
    contract::word,
    finding::Check,
    order,
};
use crate::vendor::{Effect, Operation, Order, Said, Tenant, TenantStatus, VendorError};

/// Buys the throw-away tenant. `None` where there is none to go on with.
pub(super) async fn create(run: &mut Run, order: &Order) -> Result<Option<String>, Stop> {
    let answer = match run.bench.call(Ask::Create(order)).await? {
        Ok(answer) => answer,
        Err(error) => return not_created(run, order, error).await,
    };
    let id = match &answer.said {
        Said::Tenant(tenant) | Said::Accepted(Some(tenant)) => tenant.id.clone(),
        Said::Exists(_) => {
            let what = "the vendor answered 409 to a name that nobody had before";
            return unnamed(run, order, what).await;
        }
        Said::Done | Said::Accepted(None) | Said::Absent | Said::Found(_) => {
            let what = "the vendor's answer does not name the tenant: put its id in the body";
            return unnamed(run, order, what).await;
        }
    };
    if !run.bench.is_ours(&id) {
        // Somebody else's, for all that is known.
        let what = format!("the vendor answers with tenant {id}, which has another externalId");
        return unnamed(run, order, &what).await;
    }
    let status = run.bench.record.last().map_or(0, |last| last.status);
    match run.bench.decided(Operation::Create, &id, answer).await? {
        Decided::Done { late } => {
            let later = if late { ", done later" } else { "" };
            let what = format!("answered {status}, tenant {id}{later}");
            run.findings.pass(Check::Create, what);
            Ok(Some(id))
        }
        Decided::Not(why) => {
            run.findings
                .fail(Check::Create, format!("tenant {id}: {why}"));
            Ok(None)
        }
    }
}

/// Sets up the tiers that have tenants of their own at this vendor, the highest first. Whether the
/// order can go on.
pub(super) async fn resellers(run: &mut Run, order: &mut Order) -> Result<bool, Stop> {
    let own_tenants = run.spec.dialect.as_ref().is_some_and(|d| d.tier_tenants);
    for level in run.resellers.clone().into_iter().filter(|_| own_tenants) {
        let above = [Some(level), level.above()].into_iter().flatten();
        let above = above.filter_map(|l| Some((l.as_str(), order.tiers.get(l.as_str())?.clone())));
        let own = order.tiers.get(level.as_str()).cloned().unwrap_or_default();
        let reseller = Order {
            external_id: format!("{}-{}", order.external_id, level.as_str()),
            limits: Limits::new(),
            parameters: own.parameters,
            structured: own.structured,
            tiers: above.collect(),
            tier: Some(level),
            ..order.clone()
        };
        let Some(id) = create(run, &reseller).await? else {
            return Ok(false);
        };
        if let Some(party) = order.tiers.get_mut(level.as_str()) {
            party.tenant_id = Some(id);
        }
    }
    Ok(true)
}

/// A create that gave no tenant that is ours for certain.
async fn unnamed(run: &mut Run, order: &Order, what: &str) -> Result<Option<String>, Stop> {
    run.findings.fail(Check::Create, what);
    let found = found(run, order).await?;
    if found.is_none() {
        run.doubtful.push(order.external_id.clone());
    }
    Ok(found)
}

/// A create that failed. What is refused must not be there all the same.
async fn not_created(
    run: &mut Run,
    order: &Order,
    error: VendorError,
) -> Result<Option<String>, Stop> {
    if error.status.is_none() && error.effect == Effect::None {
        run.findings.fail(Check::Create, error.message);
        return Ok(None);
    }
    let found = found(run, order).await?;
    let what = match (&found, error.effect) {
        (Some(id), Effect::None) => format!(
            "{}, and made tenant {id}: what is refused must have no effect, and what has one is a success",
            error.message
        ),
        (Some(id), Effect::Unknown) => format!("{}; it made tenant {id}", error.message),
        (None, Effect::None) => error.message,
        (None, Effect::Unknown) => {
            run.doubtful.push(order.external_id.clone());
            format!(
                "{}; whether it made a tenant cannot be known",
                error.message
            )
        }
    };
    run.findings.fail(Check::Create, what);
    Ok(found)
}

/// The tenant that a create without a usable answer made: looked up where that is possible, else found
/// out as the identity mode allows.
async fn found(run: &mut Run, order: &Order) -> Result<Option<String>, Stop> {
    if run.offers.lookup
        && let Some(id) = answered(run, order, Ask::Lookup(&order.external_id)).await?
    {
        return Ok(Some(id));
    }
    let ask = match run.spec.identity.mode {
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey => Ask::Create(order),
        IdentityMode::Lookup => Ask::Lookup(&order.external_id),
        IdentityMode::None => return Ok(None),
    };
    answered(run, order, ask).await
}

/// The tenant of ours that an answer names.
async fn answered(run: &mut Run, order: &Order, ask: Ask<'_>) -> Result<Option<String>, Stop> {
    let looked = matches!(ask, Ask::Lookup(_));
    let Ok(mut answer) = run.bench.call(ask).await? else {
        return Ok(None);
    };
    let first = answer.said.tenants().first();
    let Some(id) = first.map(|tenant| tenant.id.clone()) else {
        return Ok(None);
    };
    if looked {
        // A lookup gives those of the name, and no others.
        run.bench.ours(&order.external_id, &id);
    }
    if !run.bench.is_ours(&id) {
        return Ok(None);
    }
    Ok(
        match run.bench.decided(Operation::Get, &id, answer).await? {
            Decided::Done { .. } => Some(id),
            Decided::Not(_) => None,
        },
    )
}

/// The tenant is found under its id, with the limits it was ordered with.
pub(super) async fn read(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    let here = |tenant: Option<&Tenant>| match tenant {
        Some(_) => Ok(()),
        None => Err(format!("GET says that there is no tenant {id}")),
    };
    let shown = run.bench.settles("a new tenant", id, here).await?;
    let Some(tenant) = shown.tenant else {
        let why = shown.lacks.unwrap_or_default();
        run.findings.fail(Check::Read, why);
        return Ok(());
    };
    match &tenant.status {
        TenantStatus::Active => run.findings.pass(Check::Read, "active"),
        TenantStatus::Unknown => {
            let what = "found; its status cannot be told from the answer";
            run.findings.pass(Check::Read, what);
        }
        other @ (TenantStatus::Pending
        | TenantStatus::Suspended
        | TenantStatus::Terminated
        | TenantStatus::Failed) => {
            let what = format!("a tenant that was just made is {}", word(other));
            run.findings.fail(Check::Read, what);
        }
    }
    limits(run, id, order, &tenant).await
}

/// The limits that the create carried, and their form.
async fn limits(run: &mut Run, id: &str, order: &Order, tenant: &Tenant) -> Result<(), Stop> {
    form(run, order);
    if order.limits.is_empty() {
        let what = "nothing was ordered with limits: give some, --limit seats=5";
        run.findings.skip(Check::Limits, what);
        return Ok(());
    }
    let Some(has) = &tenant.limits else {
        let what = "the vendor does not show limits";
        run.findings.skip(Check::Limits, what);
        return Ok(());
    };
    match order::differs(has, &order.limits) {
        None => run.findings.pass(Check::Limits, "as ordered"),
        // A dialect whose create does not carry them sends them as the operator does: afterwards.
        Some(_) if has.is_empty() && run.has_own_create() => {
            let set = change(run, id, order).await?;
            match set {
                Ok(_) => {
                    let what = "not carried by the create; as ordered after a change";
                    run.findings.pass(Check::Limits, what);
                }
                Err(why) => run.findings.fail(Check::Limits, why),
            }
        }
        Some(why) => run.findings.fail(Check::Limits, why),
    }
    Ok(())
}

/// A whole number that was sent as a number comes back as one. Only where the canonical field is read:
/// a dialect says for itself what a limit looks like.
fn form(run: &mut Run, order: &Order) {
    let mapped = run.spec.dialect.as_ref().is_some_and(|dialect| {
        let get = dialect.get.as_ref().and_then(|get| get.answer.as_ref());
        let of = |map: &fulfillment_crds::AnswerMap| map.limits.is_some() || map.tenant.is_some();
        get.is_some_and(of) || dialect.answer.as_ref().is_some_and(of)
    });
    let body = run.bench.record.last().and_then(|last| last.body);
    let shown = body.as_ref().and_then(|body| body.get("limits"));
    let (false, Some(shown)) = (mapped, shown) else {
        let what = "the canonical limits are not shown";
        run.findings.skip(Check::LimitsForm, what);
        return;
    };
    let text = order.limits.iter().find(|(name, value)| {
        value.to_json().is_number() && shown.get(name.as_str()).is_some_and(|v| v.is_string())
    });
    match text {
        None => run.findings.pass(Check::LimitsForm, "numbers are numbers"),
        Some((name, value)) => run.findings.fail(
            Check::LimitsForm,
            format!(
                "limits.{name} is answered as the text \"{value}\": {value} was sent as a number"
            ),
        ),
    }
}
