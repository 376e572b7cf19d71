//! Why nothing can be done: names and Secrets that are another's, and vendors that cannot be asked.

use fulfillment_crds::{AdoptionPolicy, IdentityMode, ParameterError, Product, Subscription};

use super::is_bought;
use crate::{
    claims,
    controller::{Context, Scope},
    drift,
    facts::{Facts, Resolution, Trouble},
    inputs,
    kinds::ConnectionKey,
    link::Usable,
    outputs, plan, product,
};

/// Why the tenant a person names cannot be taken.
pub(super) fn taken(
    ctx: &Context,
    object: &Subscription,
    facts: &Facts,
    usable: Option<&Usable>,
) -> Option<String> {
    match (&facts.object.resolution, usable) {
        (Some(Resolution::Adopt(tenant)), Some(usable)) => {
            claims::taken(ctx, object, tenant, usable)
        }
        (Some(_) | None, _) => None,
    }
}

/// A product whose definition nobody can keep to: nothing of it is bought, and what was bought is looked
/// after, but that other parameters wait, and the very limits that it gets wrong.
pub(super) fn unfit(facts: &mut Facts, usable: Option<&Usable>, product: Option<&Product>) {
    let (Some(usable), Some(product)) = (usable, product) else {
        return;
    };
    let Some(trouble) = usable.unfit(product) else {
        return;
    };
    let bought = is_bought(&facts.ledger);
    // What a create has made that was sent is found out all the same.
    if !bought && !facts.object.lost && plan::open_create(facts).is_none() {
        facts.trouble.get_or_insert(trouble);
        return;
    }
    facts.unready.get_or_insert(trouble);
    let (desired, ledger) = (&facts.desired, &facts.ledger);
    let (unsent, differing) = (
        drift::unsent(desired, ledger),
        drift::limits(desired, ledger),
    );
    let blocks = |wrong: &ParameterError| unsent || differing.iter().any(|d| d.field == wrong.name);
    if let Some(wrong) = product::unfit(product).filter(|_| bought).find(blocks) {
        facts.desired.invalid = vec![unmet(&usable.connection.key(), wrong)];
    }
}

/// What status says of a definition that nobody can keep to, as far as it holds that.
fn unmet(connection: &ConnectionKey, wrong: ParameterError) -> ParameterError {
    let why = format!(
        "cannot be met: correct spec.products of {connection}: {}",
        wrong.message
    );
    ParameterError {
        message: why.chars().take(256).collect(),
        ..wrong
    }
}

/// Taking over only takes a vendor that can be asked what it has.
pub(super) fn cannot_look(facts: &Facts, connection: &ConnectionKey) -> Option<Trouble> {
    let blind = match facts.rules.mode {
        IdentityMode::IdempotencyKey | IdentityMode::None => true,
        IdentityMode::ExternalId | IdentityMode::Lookup => false,
    };
    let adopts_only = facts.desired.claimed && facts.desired.adoption == AdoptionPolicy::AdoptOnly;
    (blind && adopts_only && facts.ledger.tenant_id.is_none() && !facts.object.deleting).then(|| {
        inputs::not_ready(format!(
            "adoptionPolicy AdoptOnly needs a vendor that finds tenants by externalId: {connection} has identity.mode {:?}",
            facts.rules.mode
        ))
    })
}

/// Nothing was made yet under a name that another Subscription has.
pub(super) fn claim_conflict(
    ctx: &Context,
    object: &Subscription,
    facts: &Facts,
    usable: Option<&Usable>,
) -> Option<Trouble> {
    let unborn = facts.ledger.tenant_id.is_none() && plan::open_create(facts).is_none();
    let wanted = !facts.object.deleting && facts.trouble.is_none();
    (unborn && wanted)
        .then_some(usable)
        .flatten()
        .and_then(|usable| claims::conflict(ctx, object, usable))
}

/// A Secret stands where the output should go, and it is not ours.
pub(super) fn output_conflict(scope: &Scope, object: &Subscription) -> Option<Trouble> {
    let name = object.spec.output_secret_name.as_deref()?;
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let found = scope.secret(namespace, name)?;
    (!outputs::is_ours(&found.metadata, object.metadata.uid.as_deref()))
        .then(|| output_trouble(name))
}

/// The trouble of an output Secret that is not ours.
pub fn output_trouble(name: &str) -> Trouble {
    Trouble {
        reason: fulfillment_crds::Reason::OutputSecretConflict,
        message: format!(
            "Secret {name} exists and was not made for this Subscription: set another outputSecretName, or delete that Secret"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_met_fits_into_status() {
        let connection = ConnectionKey {
            namespace: Some("team-a".into()),
            name: "acme".into(),
        };
        let wrong = ParameterError {
            name: "edition".into(),
            message: format!("must be one of {}", "gold, ".repeat(64)),
        };
        let said = unmet(&connection, wrong);
        assert_eq!(said.name, "edition");
        assert_eq!(said.message.chars().count(), 256);
        let remedy = "cannot be met: correct spec.products of VendorConnection acme: must be";
        assert!(said.message.starts_with(remedy), "{}", said.message);
    }
}
