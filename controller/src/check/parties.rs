//! Who stands between the vendor and the throw-away tenant: the tiers of the Subscription, and their
//! TierConfigurations.

use std::collections::BTreeMap;

use fulfillment_crds::{
    Limits, Parameter, Product, Scope, SubscriptionSpec, TierConfigurationSpec,
};
use secrecy::SecretString;

use crate::{
    inputs::Inputs,
    product, tier,
    vendor::{Level, Party},
};

/// What an order carries of its tiers.
#[derive(Debug, Default)]
pub(super) struct Parties {
    /// By customer, tier1 and tier2.
    pub(super) tiers: BTreeMap<&'static str, Party>,
    /// The levels that a TierConfiguration is set up for, the highest first.
    pub(super) set_up: Vec<Level>,
    /// Values that are kept in Secrets.
    pub(super) secrets: Vec<SecretString>,
}

/// What a file says of tiers.
pub(super) struct Said<'a, G> {
    /// What is ordered.
    pub(super) order: &'a SubscriptionSpec,
    /// By name.
    pub(super) configurations: &'a BTreeMap<String, TierConfigurationSpec>,
    /// The product's rules.
    pub(super) product: Option<&'a Product>,
    /// Resolves parameters.
    pub(super) gather: G,
}

impl<G: Fn(&[Parameter]) -> Result<Inputs, String>> Said<'_, G> {
    /// Everybody whom the tiers of a Subscription name.
    ///
    /// # Errors
    ///
    /// Names the TierConfiguration that is missing or wrong.
    pub(super) fn parties(&self) -> Result<Parties, String> {
        let tiers = &self.order.tiers;
        let mut parties = Parties::default();
        if let Some(customer) = &tiers.customer {
            parties.tiers.insert("customer", customer.clone().into());
        }
        let mut parent = None;
        for (level, tier) in tiers.levels() {
            let level = Level::new(level);
            match &tier.tier_configuration_ref {
                None => {
                    parties.tiers.insert(level.as_str(), tier.account().into());
                }
                Some(reference) => {
                    parent = self
                        .agreed(level, &reference.name, &mut parties)?
                        .or(parent);
                }
            }
        }
        // Who is above tier1 is known from there, and nobody else can be.
        match (parent, &tiers.tier2) {
            (Some(parent), None) => drop(self.agreed(Level::Tier2, &parent, &mut parties)?),
            (Some(parent), Some(tier2)) => tier::fits_above(tier2, &parent)?,
            (None, _) => {}
        }
        parties.set_up.sort();
        parties.set_up.reverse();
        Ok(parties)
    }

    /// One TierConfiguration; says who is above it.
    fn agreed(
        &self,
        level: Level,
        name: &str,
        parties: &mut Parties,
    ) -> Result<Option<String>, String> {
        let wrong = |why: String| format!("TierConfiguration {name} {why}");
        let Some(spec) = self.configurations.get(name) else {
            return Err(wrong("does not exist: add it to the file".into()));
        };
        tier::fits(self.order, level, spec).map_err(wrong)?;
        let mut inputs = (self.gather)(&spec.parameters).map_err(wrong)?;
        if let Some(product) = self.product {
            product::complete(product, Scope::Tier, &mut inputs);
            let (limits, given) = (Limits::new(), &spec.parameters);
            let errors =
                product::errors(product, Scope::Tier, &limits, given, &inputs, |_, _| None);
            if let Some(error) = errors.first() {
                return Err(wrong(format!("is wrong: {} {}", error.name, error.message)));
            }
        }
        parties.set_up.push(level);
        parties.secrets.extend(inputs.secrets);
        let party = Party {
            account: spec.account.clone(),
            parameters: inputs.values,
            structured: inputs.structured,
            tenant_id: None,
        };
        parties.tiers.insert(level.as_str(), party);
        Ok(spec.parent_ref.as_ref().map(|parent| parent.name.clone()))
    }
}
