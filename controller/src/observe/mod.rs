//! Gathers everything a decision rests on. (client required) The vendor is not asked here: what
//! status remembers is the observation until the planner wants a read.

mod clock;
mod object;
mod order;
#[cfg(test)]
mod tests;
mod trouble;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fulfillment_crds::{
    IdentityMode, OnMissing, OnUnknownOutcome, ParameterDefinition, Scope as ParameterScope,
    Subscription, SubscriptionState, TierConfiguration,
};
use secrecy::SecretString;
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    claims,
    controller::{Context, Scope},
    drift,
    facts::{Clock, Desired, Facts, Ledger, Pass, Resellers, Resolution, Rules},
    identity, inputs,
    kinds::ConnectionKey,
    kubernetes::{self, Guard, KubeError},
    link::{self, Usable},
    pace::Intervals,
    product, tier, tombstones,
    vendor::{self, Level, Order, budget::Slot},
};
use clock::{clock, intervals, remembered};
use object::object_facts;
pub(crate) use object::{is_paused, request_id, requested_at};
use order::{callback_url, create_body, repeated};
pub use trouble::output_trouble;
use trouble::{cannot_look, claim_conflict, output_conflict, taken, unfit};

/// A pass in progress: the facts, and the means to act on them.
#[derive(Debug)]
pub struct Seen {
    /// The object as last read or written.
    pub object: Arc<Subscription>,
    /// Everything a decision rests on.
    pub facts: Facts,
    /// The way to the vendor, where there is one.
    pub usable: Option<Usable>,
    /// Something has changed, or the vendor has called: it is not held back with others.
    pub fresh: bool,
    /// What a create or change carries.
    pub order: Order,
    /// What an earlier create without an answer carried: to be repeated with the same bytes.
    pub sent_before: Option<Order>,
    /// The intervals this object is paced by.
    pub intervals: Intervals,
    /// The right to call the vendor.
    pub slot: Option<(Slot, OwnedSemaphorePermit)>,
    /// Until when a create may be sent.
    pub deadline: Option<Instant>,
    /// What must still hold when a vendor's answer is recorded.
    pub guard: Option<Guard>,
    /// Sensitive parameters the vendor sent in this pass, and of which tenant.
    pub sensitive: Option<(String, BTreeMap<String, SecretString>)>,
    /// The vendor was called.
    pub called: bool,
    /// How many calls the connection's budget allows this pass yet: it comes with the right to one.
    pub paid: u32,
    /// When the vendor wants to be asked again.
    pub retry_after: Option<Duration>,
}

/// Gathers the facts of one object.
///
/// # Errors
///
/// Where the API server fails; a missing dependency is no error but a fact.
pub async fn observe(
    ctx: &Context,
    scope: &Scope,
    object: Arc<Subscription>,
) -> Result<Seen, KubeError> {
    let meta = &object.metadata;
    let spec = &object.spec;
    let namespace = meta.namespace.clone().unwrap_or_default();
    let name = meta.name.clone().unwrap_or_default();
    let uid = meta.uid.clone().unwrap_or_default();
    let deleting = meta.deletion_timestamp.is_some();

    let mut ledger = object.status.clone().unwrap_or_default();
    ledger.conditions.clear();

    let found = link::usable_by(ctx, scope, &object).await?;
    let (usable, mut trouble) = match found {
        Ok(usable) => (Some(usable), None),
        Err(trouble) => (None, Some(trouble)),
    };
    let mut parameters = match inputs::resolve(&ctx.cluster, &namespace, &spec.parameters).await? {
        Ok(parameters) => parameters,
        Err(why) => {
            // What is being deleted needs no parameters.
            if !deleting {
                trouble = trouble.or(Some(why));
            }
            inputs::Inputs::default()
        }
    };
    if !deleting && trouble.is_none() {
        trouble = output_conflict(scope, &object);
    }

    let external_id = spec
        .external_id
        .clone()
        .unwrap_or_else(|| ctx.key.external_id(&namespace, &name));
    let product = usable
        .as_ref()
        .and_then(|usable| usable.product(&spec.product));
    let carried = tier::carried(ctx, scope, &object, product).await?;
    let made_for = match tier::made_for(scope, &object) {
        Ok(tier) => tier,
        Err(why) => {
            trouble = trouble.or(Some(why).filter(|_| !deleting));
            None
        }
    };
    let own_level = made_for.as_ref().map(|tier| Level::new(tier.spec.level));
    let parameter_scope = match own_level {
        Some(_) => ParameterScope::Tier,
        None => ParameterScope::Subscription,
    };
    let mut invalid = Vec::new();
    if let (Some(product), Some(usable)) = (product, &usable) {
        product::complete(product, parameter_scope, &mut parameters);
        // What is being deleted, or cannot be read, breaks no rule; and none is kept that cannot be.
        if !deleting && trouble.is_none() {
            let given = &spec.parameters;
            let limits = &spec.limits;
            let holder = |rule: &ParameterDefinition, value: &str| {
                if keeps(ctx, &ledger, &parameters) {
                    return None;
                }
                claims::holder(ctx, &object, usable, rule, value)
            };
            invalid = product::errors(product, parameter_scope, limits, given, &parameters, holder);
            invalid.retain(|error| product::unfit(product).all(|unfit| unfit.name != error.name));
            // What was ordered stays under what was agreed on then.
            if made_for.is_none() && !link::is_recorded(&object) {
                product::untold(product, &spec.tiers, &mut invalid);
            }
        }
    }
    let callback_url = callback_url(ctx, &object, usable.as_ref());
    let mut order = Order {
        external_id: external_id.clone(),
        product: spec.product.clone(),
        callback_url: callback_url.clone(),
        limits: spec.limits.clone(),
        parameters: parameters.values,
        structured: parameters.structured,
        tiers: carried.tiers,
        tiers_withheld: false,
        tier: own_level,
        secrets: [parameters.secrets, carried.secrets].concat(),
    };
    let mut inputs = order.inputs_hash(&ctx.key);
    let mut unready = carried.trouble;
    if unready.is_some() && (deleting || is_bought(&ledger)) {
        // What was bought stays under what was agreed on until its tiers are ready again.
        let known = drift::sent_last(&ledger);
        inputs = order.inputs_hash_under(&ctx.key, known.map(String::as_str));
        order.tiers_withheld = true;
    } else {
        trouble = trouble.or(unready.take());
    }
    if deleting {
        let kept = match tier::still_used(ctx, scope, &object).await {
            Ok(user) => user.map(|user| inputs::not_ready(format!("the tenant of Subscription {user} stands under this one, which is kept until that is gone"))),
            Err(error) => Some(inputs::refused(error)?),
        };
        trouble = trouble.or(kept);
    }
    let intervals = intervals(ctx, &object, usable.as_ref(), callback_url.is_some());
    let rules = rules(ctx.settings.settle, usable.as_ref());
    let mut facts = Facts {
        object: object_facts(&object, &ledger, ctx.pace.is_unarmed(&uid)),
        desired: Desired {
            state: spec.state,
            limits: spec.limits.clone(),
            inputs,
            template: product.and_then(|product| product.template.clone()),
            unshown: product.map(product::unshown).unwrap_or_default(),
            resellers: Resellers {
                parameters: product
                    .filter(|_| own_level.is_none())
                    .map(product::resellers)
                    .unwrap_or_default(),
                configurations: carried.names,
            },
            invalid,
            external_id,
            claimed: spec.external_id.is_some(),
            adoption: spec.adoption_policy,
            body: None,
            deletion: spec.deletion_policy,
        },
        ledger,
        // In the other modes it stands in status; a copied object may bring an annotation along.
        intent: kubernetes::intent(&object).filter(|_| rules.mode == IdentityMode::ExternalId),
        rules,
        trouble,
        unready,
        clock: Clock::default(),
        pass: Pass {
            request_id: request_id(),
            ..Pass::default()
        },
    };
    if !deleting {
        unfit(&mut facts, usable.as_ref(), product);
    }
    if let Some(tier) = made_for {
        facts.object.paused |= is_paused(&tier.metadata);
        let noted = noted(&facts, &tier);
        facts.object.resolution = facts.object.resolution.take().or(noted);
    }
    facts.trouble = facts
        .trouble
        .take()
        .or_else(|| cannot_look(&facts, &ConnectionKey::named_by(&object)));
    facts.pass.note = taken(ctx, &object, &facts, usable.as_ref());
    facts.trouble = claim_conflict(ctx, &object, &facts, usable.as_ref()).or(facts.trouble.take());
    let (clock, fresh) = clock(
        ctx,
        scope,
        &object,
        &uid,
        &facts,
        usable.as_ref(),
        &intervals,
    );
    facts.clock = clock;
    let sent_before = facts
        .ledger
        .create
        .as_ref()
        .map(|sent| repeated(sent, &order));
    if facts.rules.mode == IdentityMode::IdempotencyKey {
        if facts.ledger.external_id.is_none() && !deleting {
            // A key that was used is answered with what it made, dead or not.
            match tombstones::last_name(ctx, &namespace, &name).await {
                Ok(last) => {
                    facts.ledger.external_id =
                        last.map(|last| identity::next(&facts.desired.external_id, &last));
                }
                Err(error) => facts.trouble = Some(inputs::refused(error)?),
            }
        }
        facts.desired.body = Some(create_body(&object, &order, facts.desired.inputs.clone()));
        facts.clock.repeatable = remembered(&facts)
            && sent_before.as_ref().is_some_and(|order| {
                let sent = facts.ledger.create.as_ref();
                order.inputs_hash(&ctx.key) == sent.and_then(|sent| sent.inputs.clone())
            });
    }
    let guard = facts.ledger.request.as_ref().map(Guard::request);
    Ok(Seen {
        order,
        sent_before,
        object: Arc::clone(&object),
        facts,
        usable,
        fresh,
        intervals,
        slot: None,
        deadline: None,
        guard,
        sensitive: None,
        called: false,
        paid: 1,
        retry_after: None,
    })
}

/// Which tenant a reseller's own Subscription had that comes back without its record: a person would be
/// asked, and the TierConfiguration has noted it. It is looked at before it is taken.
fn noted(facts: &Facts, tier: &TierConfiguration) -> Option<Resolution> {
    let asked = match facts.rules.mode {
        IdentityMode::None => facts.object.lost && !facts.object.deleting,
        IdentityMode::ExternalId | IdentityMode::IdempotencyKey | IdentityMode::Lookup => false,
    };
    let tenant = tier.status.as_ref()?.tenant_id.clone()?;
    asked.then_some(Resolution::Adopt(tenant))
}

/// There is a tenant, or one is on its way that the vendor has told of.
pub(crate) fn is_bought(ledger: &Ledger) -> bool {
    ledger.tenant_id.is_some() && ledger.state != Some(SubscriptionState::Terminated)
}

/// Whether the vendor has taken these very parameters: they are this object's, whoever else wants them.
fn keeps(ctx: &Context, ledger: &Ledger, parameters: &inputs::Inputs) -> bool {
    let taken = ledger.inputs_hash.as_deref().map(vendor::of_parameters);
    is_bought(ledger) && ctx.key.inputs_hash(&parameters.values).as_deref() == taken
}

fn rules(settle: Duration, usable: Option<&Usable>) -> Rules {
    let spec = usable.map(|usable| usable.connection.spec());
    Rules {
        mode: spec.map_or(IdentityMode::default(), |spec| spec.identity.mode),
        on_missing: spec.map_or(OnMissing::default(), |spec| spec.policies.on_missing),
        on_unknown: spec.map_or(OnUnknownOutcome::default(), |spec| {
            spec.policies.on_unknown_outcome
        }),
        retention: spec.map_or(Duration::ZERO, |spec| spec.identity.retention.into()),
        settle,
        suspend_before_delete: spec.is_some_and(|spec| spec.policies.suspend_before_delete),
    }
}
