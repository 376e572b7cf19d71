//! Gathers what a decision on a TierConfiguration rests on. (client required)

use std::sync::Arc;

use fulfillment_crds::{
    DeletionPolicy, IdentityMode, Limits, ParameterDefinition, RequestStatus,
    Scope as ParameterScope, Subscription, TierConfiguration, finalizers,
};
use kube::{ResourceExt, runtime::reflector::ObjectRef};

use super::{
    carried::{self, carried},
    child,
    decide::{self, Child, Facts},
    users,
};
use crate::{
    claims::{self, Hold},
    controller::{Context, Scope},
    inputs::{Inputs, not_ready},
    kinds::ConnectionKey,
    kubernetes::KubeError,
    link::{self, Usable},
    observe, pace, product, report,
    vendor::Order,
};

#[cfg(test)]
mod tests;

/// How long an object's name can be.
const NAME: usize = 253;

/// The facts, and what to act with.
pub(super) struct Seen {
    /// Everything a decision rests on.
    pub(super) facts: Facts,
    /// The Subscription for its own tenant, where there is one that was made for it.
    pub(super) child: Option<Arc<Subscription>>,
    /// That Subscription as it should be.
    pub(super) wanted: Subscription,
    /// The vendor cannot be asked which tenant is that one's.
    pub(super) blind: bool,
}

/// Gathers the facts of one TierConfiguration.
///
/// # Errors
///
/// Where the API server fails; a missing dependency is no error but a fact.
pub(super) async fn observe(
    ctx: &Context,
    scope: &Scope,
    tier: &TierConfiguration,
) -> Result<Seen, KubeError> {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let mut wanted = child::wanted(tier);
    let found = find(scope, &wanted);
    let owned = found.clone().filter(|found| child::is_owned(found, tier));
    let mut facts = begin(tier);
    if facts.deleting {
        facts.users = users::cached(scope, tier);
        let mut seen = Seen {
            facts,
            child: None,
            wanted,
            blind: false,
        };
        seen.parts_with(owned);
        return Ok(seen);
    }
    let key = ConnectionKey::named(&tier.spec.connection_ref, namespace);
    let usable = match link::usable_from(ctx, scope, &key, namespace, is_recorded(tier)).await? {
        Ok(usable) => Some(usable),
        Err(trouble) => {
            facts.trouble = Some(trouble);
            None
        }
    };
    let product = usable
        .as_ref()
        .and_then(|usable| usable.product(&tier.spec.product));
    // Who is above it is what its own tenant's order would carry.
    let above = carried(ctx, scope, &wanted, product).await?;
    match carried::agreed(ctx, tier, product).await? {
        Err(trouble) => facts.trouble = facts.trouble.or(Some(trouble)),
        Ok((party, secrets)) => {
            facts.inputs = carried::fingerprint(&ctx.key, &party);
            let inputs = Inputs {
                values: party.parameters,
                structured: party.structured,
                secrets,
            };
            let approved = decide::is_active(&facts) && facts.inputs == facts.before.inputs_hash;
            let unfit = product.zip(usable.as_ref()).and_then(|(p, u)| u.unfit(p));
            if let Some(unfit) = unfit {
                // What was approved stays so.
                facts.trouble = facts.trouble.or(Some(unfit).filter(|_| !approved));
            } else if let (Some(product), Some(usable)) = (product, &usable) {
                facts.invalid = product::errors(
                    product,
                    ParameterScope::Tier,
                    &Limits::new(),
                    &tier.spec.parameters,
                    &inputs,
                    |rule, value| {
                        // What is approved is its own, whoever else wants it.
                        if approved {
                            return None;
                        }
                        let own = owned.as_deref();
                        let sent = own.is_some_and(|own| child::is_as(own, &wanted));
                        holder(scope, tier, sent, usable, rule, value)
                    },
                );
            }
            let spec = usable.as_ref().map(|usable| usable.connection.spec());
            let own_tenants =
                spec.is_some_and(|spec| spec.dialect.as_ref().is_some_and(|d| d.tier_tenants));
            if own_tenants && wanted.name_any().len() > NAME {
                facts.trouble = facts.trouble.or_else(|| {
                    Some(not_ready(format!(
                        "its name is too long for the Subscription of its tenant, {}: give it one of {} characters at most",
                        wanted.name_any(),
                        NAME - "-tier".len(),
                    )))
                });
            } else if own_tenants {
                let order = Order {
                    parameters: inputs.values,
                    tiers: above.tiers,
                    ..Order::default()
                };
                let expected = order.inputs_hash(&ctx.key);
                facts.child = standing(
                    found.as_deref(),
                    owned.as_deref(),
                    &wanted,
                    expected.as_ref(),
                );
            }
        }
    }
    facts.trouble = facts.trouble.or(above.trouble);
    let mode = usable.map_or_else(IdentityMode::default, |usable| {
        usable.connection.spec().identity.mode
    });
    if let Some(own) = owned.as_deref().filter(|own| child::is_leaving(own)) {
        // What cannot be made anew is not let go.
        let clear = facts.trouble.is_none() && facts.invalid.is_empty();
        if clear
            && child::is_inherited(own, tier)
            && is_found_again(ctx, scope, own, tier, mode).await?
        {
            wanted.spec.deletion_policy = DeletionPolicy::Retain;
        }
        facts.unprepared = !child::is_prepared(own, &wanted);
    }
    Ok(Seen {
        facts,
        child: owned,
        wanted,
        blind: is_blind(mode),
    })
}

/// Whether a vendor of this mode cannot be asked which tenant it has of a name.
fn is_blind(mode: IdentityMode) -> bool {
    match mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => false,
        IdentityMode::IdempotencyKey | IdentityMode::None => true,
    }
}

/// What the object itself says.
fn begin(tier: &TierConfiguration) -> Facts {
    let meta = &tier.metadata;
    Facts {
        now: pace::now(),
        generation: meta.generation.unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        finalized: meta
            .finalizers
            .iter()
            .flatten()
            .any(|f| f == finalizers::IN_USE),
        paused: observe::is_paused(meta),
        requested_at: observe::requested_at(meta),
        before: tier.status.clone().unwrap_or_default(),
        trouble: None,
        invalid: Vec::new(),
        inputs: None,
        users: Vec::new(),
        owns: false,
        unprepared: false,
        deletion: tier.spec.deletion_policy,
        crd_terminating: false,
        child: Child::Unwanted,
        request_id: observe::request_id(),
    }
}

impl Seen {
    /// The Subscription for its own tenant, which goes with it.
    fn parts_with(&mut self, child: Option<Arc<Subscription>>) {
        let own = child.as_deref();
        let status = own.and_then(|own| own.status.clone());
        self.facts.child = status.map_or(Child::Unwanted, |status| Child::Stands(Box::new(status)));
        self.facts.unprepared = own.is_some_and(|own| !child::is_prepared(own, &self.wanted));
        self.facts.owns = own.is_some();
        self.child = child;
    }
}

/// Asks the API server what the end of a TierConfiguration rests on: the cache may be behind, and some
/// may be out of its sight.
///
/// # Errors
///
/// Where the API server fails.
pub(super) async fn ask(
    ctx: &Context,
    tier: &TierConfiguration,
    seen: &mut Seen,
) -> Result<(), KubeError> {
    let (users, child) = users::live(ctx, tier).await?;
    seen.facts.users = users;
    seen.parts_with(child);
    seen.facts.crd_terminating = ctx.cluster.tier_crd_is_terminating().await?;
    Ok(())
}

/// Whether the Subscription for its own tenant, which is being deleted, can leave its tenant behind, as
/// the one made anew gets that one. A garbage collector deletes what names the owner of another life, as
/// after a restore: it would wait for its customers, they for this TierConfiguration, and that one for it.
async fn is_found_again(
    ctx: &Context,
    scope: &Scope,
    own: &Subscription,
    tier: &TierConfiguration,
    mode: IdentityMode,
) -> Result<bool, KubeError> {
    let recorded = own.status.as_ref().and_then(|s| s.tenant_id.as_ref());
    let known = match mode {
        IdentityMode::ExternalId | IdentityMode::Lookup => return Ok(true),
        // It comes back with what it has now: nothing but its key.
        IdentityMode::IdempotencyKey => false,
        IdentityMode::None => {
            let noted = tier.status.as_ref().and_then(|s| s.tenant_id.as_ref());
            recorded.is_some() && noted == recorded
        }
    };
    if !known && !child::is_unrecorded(own) {
        return Ok(false);
    }
    // They are what says then that there was a tenant.
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    let user = users::standing(ctx, scope, namespace, &tier.name_any()).await?;
    Ok(user.is_some())
}

/// How the Subscription for its own tenant stands, which should have taken what hashes to `expected`.
fn standing(
    found: Option<&Subscription>,
    owned: Option<&Subscription>,
    wanted: &Subscription,
    expected: Option<&String>,
) -> Child {
    let Some(child) = owned else {
        return match found {
            Some(other) => Child::Foreign(other.name_any()),
            None => Child::Absent,
        };
    };
    let status = child.status.clone().unwrap_or_default();
    if child::is_leaving(child) {
        return Child::Leaving(Box::new(status));
    }
    if !child::is_as(child, wanted) {
        return Child::Differs;
    }
    let asked = observe::requested_at(&child.metadata);
    let seen = status.observed_generation == child.metadata.generation
        && asked.is_none_or(|token| status.last_handled_reconcile_at == Some(token));
    let ready = report::ready(&status.conditions).is_some_and(|c| c.status == "True");
    // What is ready may be so for what a Secret held before.
    if !seen || (ready && status.inputs_hash.as_ref() != expected) {
        return Child::Unseen;
    }
    Child::Stands(Box::new(status))
}

fn find(scope: &Scope, wanted: &Subscription) -> Option<Arc<Subscription>> {
    let namespace = wanted.namespace().unwrap_or_default();
    let reference = ObjectRef::new(&wanted.name_any()).within(&namespace);
    let found = scope.subscriptions.get(&reference)?;
    found.0.as_ref().ok().cloned()
}

/// Whether it was approved once, and is looked after whether its connection still allows its namespace
/// or not. Its state says nothing: it is written to one that was never allowed, too.
fn is_recorded(tier: &TierConfiguration) -> bool {
    let status = tier.status.as_ref();
    status.is_some_and(|status| status.inputs_hash.is_some())
}

/// How firmly it has the value that its spec gives to a parameter.
fn hold(tier: &TierConfiguration, name: &str) -> Hold {
    let Some(status) = &tier.status else {
        return Hold::new(name, false, &[]);
    };
    let seen = status.observed_generation == tier.metadata.generation;
    let failed = status.request.as_ref();
    let failed = failed.is_some_and(|r| seen && r.status == RequestStatus::Failed);
    if failed && !is_recorded(tier) {
        return Hold::Failed;
    }
    Hold::new(name, seen && is_recorded(tier), &status.parameter_errors)
}

/// The TierConfiguration that has a value which no two of one product may have at a vendor: the one that
/// was approved with it, then the older one, in whichever namespace. Not asked for what is approved; `sent`
/// is whether its own tenant's Subscription has what stands in its spec.
fn holder(
    scope: &Scope,
    tier: &TierConfiguration,
    sent: bool,
    usable: &Usable,
    rule: &ParameterDefinition,
    value: &str,
) -> Option<String> {
    let url = &usable.connection.spec().url;
    let rank = |t: &TierConfiguration| (hold(t, &rule.name), t.creation_timestamp(), t.uid());
    // Its status may be of this very spec with nothing done for it, as where a Secret was missing.
    let least = if sent { Hold::Sent } else { Hold::Wanted };
    let own = hold(tier, &rule.name).max(least);
    let own = (own, tier.creation_timestamp(), tier.uid());
    let has = |other: &TierConfiguration| {
        other.metadata.uid != tier.metadata.uid
            && other.spec.product == tier.spec.product
            && product::gives(rule, &other.spec.parameters, value)
            && rank(other) < own
    };
    let claims = |other: &TierConfiguration| {
        let namespace = other.metadata.namespace.as_deref().unwrap_or_default();
        let key = ConnectionKey::named(&other.spec.connection_ref, namespace);
        claims::reaches(scope, &key, namespace, is_recorded(other), url)
    };
    let all = scope.tiers.state();
    let decoded = all.iter().filter_map(|other| other.0.as_ref().ok());
    let holders = decoded.filter(|other| has(other) && claims(other));
    let holder = holders.min_by_key(|other| rank(other))?;
    let path = format!(
        "{}/{}",
        holder.namespace().unwrap_or_default(),
        holder.name_any()
    );
    Some(format!("TierConfiguration {path}"))
}
