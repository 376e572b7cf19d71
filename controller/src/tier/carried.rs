//! What an order carries of the tiers above its customer. (client required)

use std::collections::BTreeMap;

use fulfillment_crds::{
    ParameterDefinition, Phase, Product, Reason, Scope as ParameterScope, Subscription,
    SubscriptionSpec, Tier, TierConfiguration, TierConfigurationSpec, TierState,
};
use secrecy::SecretString;

use crate::{
    controller::{Context, Scope},
    facts::Trouble,
    identity::InstallationKey,
    inputs::{self, Inputs},
    kubernetes::KubeError,
    product, report,
    vendor::{Level, Order, Party},
};

/// What an order carries of its tiers.
#[derive(Debug, Default)]
pub struct Carried {
    /// Customer, tier1 and tier2, as far as they are there.
    pub tiers: BTreeMap<&'static str, Party>,
    /// The TierConfigurations among them, tier1's first.
    pub names: Vec<String>,
    /// Values that are kept in Secrets.
    pub secrets: Vec<SecretString>,
    /// Why nothing new can be bought under them.
    pub trouble: Option<Trouble>,
}

/// What an order of this Subscription carries of its tiers. What is not ready is carried as far as it
/// can be, for calls about what exists.
///
/// # Errors
///
/// Where the API server fails.
pub async fn carried(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    product: Option<&Product>,
) -> Result<Carried, KubeError> {
    let mut carried = Carried::default();
    let tiers = &object.spec.tiers;
    if let Some(customer) = &tiers.customer {
        carried.tiers.insert("customer", customer.clone().into());
    }
    let mut parent = None;
    for (level, tier) in tiers.levels() {
        let level = Level::new(level);
        match &tier.tier_configuration_ref {
            None => {
                carried.tiers.insert(level.as_str(), tier.account().into());
            }
            Some(reference) => {
                let found = carry(
                    ctx,
                    scope,
                    object,
                    level,
                    &reference.name,
                    product,
                    &mut carried,
                );
                parent = found.await?.or(parent);
            }
        }
    }
    // Who is above tier1 is known from there, and nobody else can be.
    let Some(parent) = parent else {
        return Ok(carried);
    };
    match &tiers.tier2 {
        None => {
            let (level, all) = (Level::Tier2, &mut carried);
            carry(ctx, scope, object, level, &parent, product, all).await?;
        }
        Some(tier2) => {
            if let Err(message) = fits_above(tier2, &parent) {
                carried.trouble.get_or_insert(Trouble {
                    reason: Reason::TierConfigurationNotReady,
                    message,
                });
            }
        }
    }
    Ok(carried)
}

/// Carries one TierConfiguration, and says who is above it.
async fn carry(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    level: Level,
    name: &str,
    product: Option<&Product>,
    carried: &mut Carried,
) -> Result<Option<String>, KubeError> {
    let namespace = object.metadata.namespace.as_deref().unwrap_or_default();
    let found = match scope.tier(namespace, name) {
        Some(Ok(tier)) => fits(&object.spec, level, &tier.spec).map(|()| tier),
        Some(Err(why)) => Err(format!("cannot be decoded: {why}")),
        None => Err(format!("does not exist in namespace {namespace}")),
    };
    let refuse = |why: String| Trouble {
        reason: Reason::TierConfigurationNotReady,
        message: format!("TierConfiguration {name} {why}"),
    };
    let tier = match found {
        Ok(tier) => tier,
        Err(why) => {
            carried.trouble.get_or_insert(refuse(why));
            return Ok(None);
        }
    };
    carried.names.push(name.to_owned());
    let parent = tier.spec.parent_ref.as_ref().map(|p| p.name.clone());
    let (mut party, secrets) = match agreed(ctx, &tier, product).await? {
        Ok(agreed) => agreed,
        Err(trouble) => {
            carried.trouble.get_or_insert(refuse(trouble.message));
            return Ok(parent);
        }
    };
    if let Some(why) = not_ready(&tier, fingerprint(&ctx.key, &party).as_ref()) {
        carried.trouble.get_or_insert(refuse(why));
    }
    let status = tier.status.clone().unwrap_or_default();
    party.tenant_id = status.tenant_id;
    // Of what the vendor gave, what the product says is the tier's: the rest may change with every
    // look, and would be sent each time.
    let told = |name: &str| product.is_some_and(|p| p.parameters.iter().any(|r| gives(r, name)));
    for given in status.parameters.into_iter().filter(|p| told(&p.name)) {
        party.parameters.insert(given.name, given.value.into());
    }
    carried.secrets.extend(secrets);
    carried.tiers.insert(level.as_str(), party);
    Ok(parent)
}

/// Account and parameters of a TierConfiguration, values resolved, and those of them that are secret.
///
/// # Errors
///
/// The outer error where the API server fails, the inner where something is missing.
pub(super) async fn agreed(
    ctx: &Context,
    tier: &TierConfiguration,
    product: Option<&Product>,
) -> Result<Result<(Party, Vec<SecretString>), Trouble>, KubeError> {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let resolved = inputs::resolve(&ctx.cluster, namespace, &tier.spec.parameters).await?;
    Ok(resolved.map(|mut inputs| {
        if let Some(product) = product {
            product::complete(product, ParameterScope::Tier, &mut inputs);
        }
        let Inputs {
            values,
            structured,
            secrets,
        } = inputs;
        let party = Party {
            account: tier.spec.account.clone(),
            parameters: values,
            structured,
            tenant_id: None,
        };
        (party, secrets)
    }))
}

/// A keyed hash of account and parameters.
pub(super) fn fingerprint(key: &InstallationKey, party: &Party) -> Option<String> {
    let own = Order {
        tiers: [("tier", party.clone())].into(),
        ..Order::default()
    };
    own.inputs_hash(key)
}

/// Whether a tier2 may stand beside a tier1 whose TierConfiguration has this one above it.
///
/// # Errors
///
/// Says what to change.
pub fn fits_above(tier2: &Tier, parent: &str) -> Result<(), String> {
    if tier2.names(parent) {
        return Ok(());
    }
    Err(format!(
        "tier1 stands below TierConfiguration {parent}: name that one as tier2, or leave tier2 out"
    ))
}

/// Whether a TierConfiguration has a place in this order.
///
/// # Errors
///
/// Says why not.
pub fn fits(
    order: &SubscriptionSpec,
    level: Level,
    spec: &TierConfigurationSpec,
) -> Result<(), String> {
    if spec.connection_ref != order.connection_ref {
        return Err(format!(
            "is of another connection, {}: name one of {}",
            spec.connection_ref.name, order.connection_ref.name
        ));
    }
    if spec.product != order.product {
        return Err(format!(
            "is of another product, {}: name one of {}",
            spec.product, order.product
        ));
    }
    if Level::new(spec.level) != level {
        return Err(format!(
            "is of level {} and cannot be {}",
            spec.level,
            level.as_str()
        ));
    }
    Ok(())
}

/// Why nothing new can be bought under a TierConfiguration whose account and parameters are these.
fn not_ready(tier: &TierConfiguration, inputs: Option<&String>) -> Option<String> {
    if tier.metadata.deletion_timestamp.is_some() {
        return Some("is being deleted".into());
    }
    let status = tier.status.as_ref();
    let active = status.and_then(|s| s.state) == Some(TierState::Active);
    if active && status.is_some_and(|s| s.inputs_hash.as_ref() == inputs) {
        return None;
    }
    let said = status.and_then(|s| report::ready(&s.conditions));
    let said = said.filter(|c| c.status != "True");
    let said = said.map_or_else(String::new, |c| format!(": {}: {}", c.reason, c.message));
    Some(if active {
        format!("has an update that is not approved{said}")
    } else {
        format!("is not Active{said}")
    })
}

/// A parameter the vendor gives to a tier, by name.
fn gives(rule: &ParameterDefinition, name: &str) -> bool {
    rule.name == name && rule.scope == ParameterScope::Tier && rule.phase == Phase::Fulfillment
}
