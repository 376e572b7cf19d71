//! Two creates of one name at the same time, as an operator that was killed and the one after it may
//! have under way: what makes a repeated create safe has to hold then, too.

use fulfillment_crds::IdentityMode;

use super::{
    Run,
    bench::{Ask, Heard, Stop},
    contract,
    finding::Check,
};
use crate::vendor::{Operation, Order};

/// Buys one tenant twice at once, and deletes what comes of it. Only where the same was safe one after
/// the other, and what is made can be deleted.
pub(super) async fn at_once(run: &mut Run, order: &Order) -> Result<(), Stop> {
    let check = Check::CreateAtOnce;
    let offers = run.offers;
    let untried = if !offers.external_id && !offers.idempotency_key {
        Some("a repeated create is not safe one after the other either")
    } else if run.findings.failed(Check::Delete) {
        Some("what it makes could not be deleted")
    } else if run.spec.budget.max_in_flight < 2 {
        Some("the connection has one call under way at most: raise budget.maxInFlight")
    } else {
        None
    };
    if let Some(why) = untried {
        run.findings.skip(check, why);
        return Ok(());
    }
    let order = Order {
        external_id: format!("{}-twice", order.external_id),
        ..order.clone()
    };
    let heard = run.bench.create_twice(&order).await?;
    let said = named(run, &order, heard).await?;
    let made = made(run, &order);
    let (holds, what) = match made.as_slice() {
        [one] => (true, format!("one tenant, {one}")),
        [] => {
            run.doubtful.push(order.external_id.clone());
            (false, format!("no tenant is named: {said}"))
        }
        several => (
            false,
            format!("{} tenants: {}", several.len(), several.join(", ")),
        ),
    };
    run.offers.external_id &= holds;
    run.offers.idempotency_key &= holds;
    let mode = run.spec.identity.mode;
    let relied = matches!(
        mode,
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey
    );
    let what = format!("two POSTs of one externalId and Idempotency-Key at once: {what}");
    run.findings.relied(relied, holds, check, what);
    for id in made {
        if contract::remove(run, &id).await?.is_ok() {
            run.bench.gone(&id);
        }
    }
    Ok(())
}

/// Finds out which tenants there are, and waits until the vendor has decided about them; what else was
/// said. Who was told to come back, because the other one was under way, does so.
async fn named(run: &mut Run, order: &Order, heard: [Heard; 2]) -> Result<String, Stop> {
    let mut said = String::new();
    let mut unnamed = false;
    for heard in heard {
        match heard {
            Ok(mut answer) => match answer
                .said
                .tenants()
                .first()
                .map(|tenant| tenant.id.clone())
            {
                Some(id) => drop(run.bench.decided(Operation::Create, &id, answer).await?),
                None => unnamed = true,
            },
            Err(error) => {
                unnamed = true;
                said = error.message;
            }
        }
    }
    if unnamed && let Err(error) = run.bench.call(Ask::Create(order)).await? {
        said = error.message;
    }
    if run.offers.lookup
        && let Ok(mut answer) = run.bench.call(Ask::Lookup(&order.external_id)).await?
    {
        for tenant in answer.said.tenants() {
            // A lookup gives those of the name, and no others.
            run.bench.ours(&order.external_id, &tenant.id);
        }
    }
    Ok(said)
}

/// The tenants that were made under the name of this order.
fn made(run: &Run, order: &Order) -> Vec<String> {
    let made = run.bench.made.iter();
    let made = made.filter(|made| made.name == order.external_id);
    made.map(|made| made.id.clone()).collect()
}
