//! Limits are changed: to other values, to the same again, one of several, and to what is none.

use super::{
    Run,
    bench::{Ask, Decided, Shown, Stop},
    contract::{has, mutate},
    finding::Check,
    order,
};
use crate::vendor::{Operation, Order};

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
            for check in [Check::ChangeRepeated, Check::ChangePartial, Check::Refusal] {
                run.findings.skip(check, "no change could be made");
            }
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

/// Sends a change and waits until the tenant shows it; the error says what is wrong.
pub(super) async fn change(
    run: &mut Run,
    id: &str,
    order: &Order,
) -> Result<Result<Shown, String>, Stop> {
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
