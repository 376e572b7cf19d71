//! The contract: create, read, change, suspend, resume, delete, and what each may be relied on for.

use fulfillment_crds::{IdentityMode, Limits};

use super::{
    Run,
    bench::{Ask, Decided, Shown, Stop},
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

/// The tenant that a create without a usable answer made, found out as the identity mode allows.
async fn found(run: &mut Run, order: &Order) -> Result<Option<String>, Stop> {
    let ask = match run.spec.identity.mode {
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey => Ask::Create(order),
        IdentityMode::Lookup => Ask::Lookup(&order.external_id),
        IdentityMode::None => return Ok(None),
    };
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
        run.bench.ours(&id);
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

/// Sends a change and waits until the tenant shows it; the error says what is wrong.
async fn change(run: &mut Run, id: &str, order: &Order) -> Result<Result<Shown, String>, Stop> {
    let done = mutate(run, Operation::Change, Ask::Change(id, order), id).await?;
    if let Err(why) = done {
        return Ok(Err(why));
    }
    let wanted = order.limits.clone();
    let shown = run
        .bench
        .settles("a change", id, |t| has(t, &wanted))
        .await?;
    Ok(match &shown.lacks {
        None => Ok(shown),
        Some(why) => Err(why.clone()),
    })
}

/// Makes a call that changes a tenant, and waits until it is decided.
async fn mutate(
    run: &mut Run,
    operation: Operation,
    ask: Ask<'_>,
    id: &str,
) -> Result<Result<(), String>, Stop> {
    let answer = match run.bench.call(ask).await? {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error.message)),
    };
    Ok(match run.bench.decided(operation, id, answer).await? {
        Decided::Done { .. } => Ok(()),
        Decided::Not(why) => Err(why),
    })
}

fn has(tenant: Option<&Tenant>, wanted: &Limits) -> Result<(), String> {
    let tenant = tenant.ok_or("the tenant is not there")?;
    // Who does not show limits has them as they were sent.
    let Some(has) = &tenant.limits else {
        return Ok(());
    };
    order::differs(has, wanted).map_or(Ok(()), Err)
}

/// Changes: set, set again, set one of several, and set what cannot be set.
pub(super) async fn changes(run: &mut Run, id: &str, order: &mut Order) -> Result<(), Stop> {
    let Some(other) = order::other(&run.spec, order) else {
        let what = "there is no limit whose value is a number: give one, --limit seats=5";
        for check in [
            Check::Change,
            Check::ChangeRepeated,
            Check::ChangePartial,
            Check::Refusal,
        ] {
            run.findings.skip(check, what);
        }
        return Ok(());
    };
    match change(run, id, &other).await? {
        Err(why) => {
            run.findings.fail(Check::Change, why);
            return Ok(());
        }
        Ok(shown) => {
            let seen = seen(&shown);
            let what = format!("{}{seen}", order::shown(&other.limits));
            run.findings.pass(Check::Change, what);
        }
    }
    order.limits = other.limits.clone();
    match change(run, id, &other).await? {
        Ok(shown) => {
            let what = format!("the same afterwards{}", seen(&shown));
            run.findings.pass(Check::ChangeRepeated, what);
        }
        Err(why) => {
            let what = format!("the same PUT twice: {why}");
            run.findings.fail(Check::ChangeRepeated, what);
            // As it should be, for the checks that follow.
            let _ = change(run, id, &other).await?;
        }
    }
    partial(run, id, order).await?;
    refusal(run, id, order).await
}

/// What could not be looked at.
fn seen(shown: &Shown) -> &'static str {
    match shown.tenant.as_ref().map(|tenant| tenant.limits.is_some()) {
        Some(true) => "",
        Some(false) | None => " (taken; the vendor does not show limits)",
    }
}

/// A PUT that leaves a limit out leaves it alone.
async fn partial(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    let Some(mut part) = order::other(&run.spec, order).filter(|_| order.limits.len() > 1) else {
        let what = "it takes two limits: give another one, --limit storageGiB=10";
        run.findings.skip(Check::ChangePartial, what);
        return Ok(());
    };
    let whole = part.limits.clone();
    part.limits
        .retain(|name, value| order.limits.get(name) != Some(value));
    let done = mutate(run, Operation::Change, Ask::Change(id, &part), id).await?;
    if let Err(why) = done {
        // A dialect that writes every limit cannot leave one out.
        run.findings.skip(Check::ChangePartial, why);
        return Ok(());
    }
    let shown = run
        .bench
        .settles("a change", id, |t| has(t, &whole))
        .await?;
    match &shown.lacks {
        None => {
            let what = format!("what was left out stayed{}", seen(&shown));
            run.findings.pass(Check::ChangePartial, what);
        }
        Some(why) => {
            let names = order::shown(&part.limits);
            let what = format!("after a PUT of {names} alone: {why}");
            run.findings.fail(Check::ChangePartial, what);
        }
    }
    // As it was, for what follows.
    let _ = change(run, id, order).await?;
    Ok(())
}

/// A limit that is none is refused, and nothing changes.
async fn refusal(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    let invalid = order::invalid(order);
    let heard = run.bench.call(Ask::Change(id, &invalid)).await?;
    let error = match heard {
        Ok(answer) => {
            let status = run.bench.record.last().map_or(0, |last| last.status);
            let decided = run.bench.decided(Operation::Change, id, answer).await?;
            match decided {
                Decided::Not(why) => {
                    run.findings.pass(Check::Refusal, why);
                    return Ok(());
                }
                Decided::Done { .. } => {
                    let what = format!(
                        "{} was answered {status}: refuse what cannot be done with a 4xx",
                        order::shown(&invalid.limits)
                    );
                    run.findings.fail(Check::Refusal, what);
                    let _ = change(run, id, order).await?;
                    return Ok(());
                }
            }
        }
        Err(error) => error,
    };
    let refused = error
        .status
        .is_some_and(|status| (400..500).contains(&status));
    if !refused {
        let what = format!(
            "{}: {}; refuse what cannot be done with a 4xx",
            order::shown(&invalid.limits),
            error.message
        );
        run.findings.fail(Check::Refusal, what);
        return Ok(());
    }
    let wanted = order.limits.clone();
    let shown = run
        .bench
        .settles("a refusal", id, |t| has(t, &wanted))
        .await?;
    match shown.lacks {
        None => run.findings.pass(Check::Refusal, error.message),
        Some(why) => {
            let what = format!("{}, and it had an effect: {why}", error.message);
            run.findings.fail(Check::Refusal, what);
        }
    }
    Ok(())
}

/// Suspends and resumes, each twice.
pub(super) async fn switches(run: &mut Run, id: &str, order: &Order) -> Result<(), Stop> {
    let off = (Check::Disable, Check::DisableRepeated);
    let on = (Check::Enable, Check::EnableRepeated);
    switch(run, id, order, Operation::Disable, off).await?;
    switch(run, id, order, Operation::Enable, on).await
}

async fn switch(
    run: &mut Run,
    id: &str,
    order: &Order,
    operation: Operation,
    (once, again): (Check, Check),
) -> Result<(), Stop> {
    let (ask, wanted) = if operation == Operation::Disable {
        (Ask::Disable(id), TenantStatus::Suspended)
    } else {
        (Ask::Enable(id), TenantStatus::Active)
    };
    for check in [once, again] {
        if let Err(why) = mutate(run, operation, ask, id).await? {
            run.findings.fail(check, why);
            return Ok(());
        }
        let fits = |tenant: Option<&Tenant>| {
            let status = tenant.map_or(&TenantStatus::Terminated, |t| &t.status);
            if *status != wanted && *status != TenantStatus::Unknown {
                return Err(format!(
                    "it was answered with success, and the tenant is {}",
                    word(status)
                ));
            }
            has(tenant, &order.limits)
        };
        let shown = run.bench.settles(operation.as_str(), id, fits).await?;
        let told = shown.tenant.is_some_and(|t| t.status == wanted);
        match shown.lacks {
            Some(why) => {
                run.findings.fail(check, why);
                return Ok(());
            }
            None if told => run.findings.pass(check, word(&wanted)),
            None => {
                let what = "taken; the vendor does not show whether a tenant is suspended";
                run.findings.pass(check, what);
            }
        }
    }
    Ok(())
}

/// Deletes, twice.
pub(super) async fn delete(run: &mut Run, id: &str) -> Result<(), Stop> {
    if let Err(why) = remove(run, id).await? {
        run.findings.fail(Check::Delete, why);
        return Ok(());
    }
    run.bench.gone(id);
    run.findings.pass(Check::Delete, "gone");
    match mutate(run, Operation::Delete, Ask::Delete(id), id).await? {
        Ok(()) => run.findings.pass(Check::DeleteRepeated, "still gone"),
        Err(why) => {
            let what = format!("a second DELETE: {why}; answer 204, 404 or 410");
            run.findings.fail(Check::DeleteRepeated, what);
        }
    }
    Ok(())
}

/// Deletes a tenant, as the connection's policies say, and waits until it is gone.
pub(super) async fn remove(run: &mut Run, id: &str) -> Result<Result<(), String>, Stop> {
    if run.spec.policies.suspend_before_delete {
        // Where that fails, the delete says more.
        let _ = mutate(run, Operation::Disable, Ask::Disable(id), id).await?;
    }
    let deleted = mutate(run, Operation::Delete, Ask::Delete(id), id).await?;
    if let Err(why) = deleted {
        return Ok(Err(why));
    }
    let gone = |tenant: Option<&Tenant>| match tenant {
        None => Ok(()),
        Some(tenant) => Err(format!(
            "the DELETE was answered with success, and the tenant is still there ({})",
            word(&tenant.status)
        )),
    };
    let shown = run.bench.settles("a delete", id, gone).await?;
    Ok(shown.lacks.map_or(Ok(()), Err))
}

fn word(status: &TenantStatus) -> &'static str {
    match status {
        TenantStatus::Pending => "pending",
        TenantStatus::Active => "active",
        TenantStatus::Suspended => "suspended",
        TenantStatus::Terminated => "terminated",
        TenantStatus::Failed => "failed",
        TenantStatus::Unknown => "of an unknown status",
    }
}
