//! Why nothing can be done: names and Secrets that are another's, and vendors that cannot be asked.

use fulfillment_crds::{AdoptionPolicy, IdentityMode, Subscription};

use crate::{
    claims,
    controller::{Context, Scope},
    facts::{Facts, Resolution, Trouble},
    inputs,
    kinds::ConnectionKey,
    link::Usable,
    outputs, plan,
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
