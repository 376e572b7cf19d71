//! A tenant is suspended, resumed and deleted, each of it twice.

use fulfillment_crds::Limits;

use super::{
    Run,
    bench::{Ask, Decided, Stop},
    finding::Check,
    order,
};
use crate::vendor::{Operation, Order, Said, Tenant, TenantStatus};

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
    let (ask, wanted, what) = if operation == Operation::Disable {
        (Ask::Disable(id), TenantStatus::Suspended, "a suspension")
    } else {
        (Ask::Enable(id), TenantStatus::Active, "a resumption")
    };
    let limits = if limits_stand(run) {
        order.limits.clone()
    } else {
        Limits::new()
    };
    run.findings.skip(again, "the first one failed");
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
            has(tenant, &limits)
        };
        let shown = run.bench.settles(what, id, fits).await?;
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
        run.findings
            .skip(Check::DeleteRepeated, "the first one failed");
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

/// Why a tenant is not deleted.
struct Kept {
    why: String,
    /// The DELETE itself was refused.
    refused: bool,
}

/// Deletes a tenant, as the connection's policies say, and waits until it is gone.
pub(super) async fn remove(run: &mut Run, id: &str) -> Result<Result<(), String>, Stop> {
    let suspend = run.spec.policies.suspend_before_delete;
    let Err(kept) = removed(run, id, suspend).await? else {
        return Ok(Ok(()));
    };
    if suspend || !kept.refused || removed(run, id, true).await?.is_err() {
        return Ok(Err(kept.why));
    }
    run.bench.gone(id);
    Ok(Err(format!(
        "{}; once it was suspended it could be deleted: set policies.suspendBeforeDelete: true",
        kept.why
    )))
}

async fn removed(run: &mut Run, id: &str, suspend: bool) -> Result<Result<(), Kept>, Stop> {
    if suspend {
        // Where that fails, the delete says more.
        let _ = mutate(run, Operation::Disable, Ask::Disable(id), id).await?;
    }
    let kept = |why| {
        let refused = false;
        Ok(Err(Kept { why, refused }))
    };
    let answer = match run.bench.call(Ask::Delete(id)).await? {
        Ok(answer) => answer,
        Err(error) => {
            return Ok(Err(Kept {
                refused: error
                    .status
                    .is_some_and(|status| (400..500).contains(&status)),
                why: error.message,
            }));
        }
    };
    // A 404 says that it is gone only where its id is known to lead to it.
    let known = run.bench.was_seen(id) || !matches!(answer.said, Said::Absent);
    if let Decided::Not(why) = run.bench.decided(Operation::Delete, id, answer).await? {
        return kept(why);
    }
    let gone = |tenant: Option<&Tenant>| match tenant {
        None => Ok(()),
        Some(tenant) => Err(format!(
            "the DELETE was answered with success, and the tenant is still there ({})",
            word(&tenant.status)
        )),
    };
    match run.bench.settles("a delete", id, gone).await?.lacks {
        Some(why) => kept(why),
        None if known => Ok(Ok(())),
        None => kept("it was made, and neither GET nor DELETE knows its id".into()),
    }
}

pub(super) fn word(status: &TenantStatus) -> &'static str {
    match status {
        TenantStatus::Pending => "pending",
        TenantStatus::Active => "active",
        TenantStatus::Suspended => "suspended",
        TenantStatus::Terminated => "terminated",
        TenantStatus::Failed => "failed",
        TenantStatus::Unknown => "of an unknown status",
    }
}

/// Whether what was done so far left the limits as they should be, so that another call can be blamed
/// where they are not.
fn limits_stand(run: &Run) -> bool {
    let checks = [Check::Limits, Check::Change, Check::ChangePartial];
    checks.iter().all(|check| !run.findings.failed(*check))
}

/// Makes a call that changes a tenant, and waits until it is decided.
pub(super) async fn mutate(
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

pub(super) fn has(tenant: Option<&Tenant>, wanted: &Limits) -> Result<(), String> {
    let tenant = tenant.ok_or("the tenant is not there")?;
    // Who does not show limits has them as they were sent.
    let Some(has) = &tenant.limits else {
        return Ok(());
    };
    order::differs(has, wanted).map_or(Ok(()), Err)
}
