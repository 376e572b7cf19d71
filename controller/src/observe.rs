//! Gathers everything a decision rests on. (client required) The vendor is not asked here: what
//! status remembers is the observation until the planner wants a read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fulfillment_crds::{
    AdoptionPolicy, CreateBody, IdentityMode, OnMissing, OnUnknownOutcome, Scope as ParameterScope,
    SentParameter, Subscription, SubscriptionState, annotations, finalizers,
};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    jiff::{SignedDuration, Timestamp},
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};

use crate::{
    claims,
    controller::{Context, Scope},
    drift,
    facts::{Clock, Desired, Facts, Ledger, ObjectFacts, Pass, Resolution, Rules, Trouble},
    identity, inputs,
    kinds::ConnectionKey,
    kubernetes::{self, Guard, KubeError},
    ledger,
    link::{self, Usable},
    outputs,
    pace::{self, Intervals},
    plan, product, tier, tombstones,
    vendor::{Level, Order, budget::Slot},
};

/// A pass in progress: the facts, and the means to act on them.
#[derive(Debug)]
pub struct Seen {
    /// The object as last read or written.
    pub object: Arc<Subscription>,
    /// Everything a decision rests on.
    pub facts: Facts,
    /// The way to the vendor, where there is one.
    pub usable: Option<Usable>,
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
        // What is being deleted, or cannot be read, breaks no rule.
        if !deleting && trouble.is_none() {
            let given = &spec.parameters;
            let limits = &spec.limits;
            let holder =
                |name: &str, value: &str| claims::holder(ctx, scope, &object, usable, name, value);
            invalid = product::errors(product, parameter_scope, limits, given, &parameters, holder);
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
    if deleting && let Some(user) = tier::still_used(ctx, scope, &object).await? {
        trouble = trouble.or_else(|| Some(inputs::not_ready(format!("the tenant of Subscription {user} stands under this one, which is kept until that is gone"))));
    }
    let intervals = intervals(ctx, &object, usable.as_ref(), callback_url.is_some());
    let mut facts = Facts {
        object: object_facts(&object, &ledger, ctx.pace.is_unarmed(&uid)),
        desired: Desired {
            state: spec.state,
            limits: spec.limits.clone(),
            inputs,
            template: product.and_then(|product| product.template.clone()),
            invalid,
            external_id,
            claimed: spec.external_id.is_some(),
            adoption: spec.adoption_policy,
            body: None,
            deletion: spec.deletion_policy,
        },
        ledger,
        intent: kubernetes::intent(&object),
        rules: rules(usable.as_ref()),
        trouble,
        unready,
        clock: Clock::default(),
        pass: Pass {
            request_id: request_id(),
            ..Pass::default()
        },
    };
    facts.object.paused |= made_for.is_some_and(|tier| is_paused(&tier.metadata));
    facts.trouble = facts
        .trouble
        .take()
        .or_else(|| cannot_look(&facts, &ConnectionKey::named_by(&object)));
    facts.pass.note = taken(ctx, scope, &object, &facts, usable.as_ref());
    facts.trouble =
        claim_conflict(ctx, scope, &object, &facts, usable.as_ref()).or(facts.trouble.take());
    facts.clock = clock(
        ctx,
        scope,
        &object,
        &uid,
        &facts,
        usable.as_ref(),
        &intervals,
    );
    let sent_before = facts
        .ledger
        .create
        .as_ref()
        .map(|sent| repeated(sent, &order));
    if facts.rules.mode == IdentityMode::IdempotencyKey {
        if facts.ledger.external_id.is_none() && !deleting {
            // A key that was used is answered with what it made, dead or not.
            let last = tombstones::last_name(ctx, &namespace, &name).await?;
            facts.ledger.external_id =
                last.map(|last| identity::next(&facts.desired.external_id, &last));
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

/// There is a tenant, or one is on its way that the vendor has told of.
fn is_bought(ledger: &Ledger) -> bool {
    ledger.tenant_id.is_some() && ledger.state != Some(SubscriptionState::Terminated)
}

fn object_facts(
    object: &Subscription,
    ledger: &fulfillment_crds::SubscriptionStatus,
    unarmed: bool,
) -> ObjectFacts {
    let meta = &object.metadata;
    let annotation = |name: &str| meta.annotations.as_ref().and_then(|all| all.get(name));
    let finalized = meta
        .finalizers
        .iter()
        .flatten()
        .any(|name| name == finalizers::TENANT);
    ObjectFacts {
        generation: meta.generation.unwrap_or_default(),
        deleting: meta.deletion_timestamp.is_some(),
        finalized,
        lost: finalized && ledger.request.is_none() && ledger.tenant_id.is_none() && !unarmed,
        paused: is_paused(meta),
        requested_at: requested_at(meta)
            .filter(|token| ledger.last_handled_reconcile_at.as_ref() != Some(token)),
        resolution: annotation(annotations::RESOLVE_CREATE).and_then(|text| resolution(text)),
    }
}

/// Whether it carries the paused annotation.
pub(crate) fn is_paused(meta: &ObjectMeta) -> bool {
    let all = meta.annotations.as_ref();
    all.and_then(|all| all.get(annotations::PAUSED))
        .is_some_and(|value| value == "true")
}

/// The token of the annotation `requestedAt`, handled or not, as far as status can echo it.
pub(crate) fn requested_at(meta: &ObjectMeta) -> Option<String> {
    let token = meta.annotations.as_ref()?.get(annotations::REQUESTED_AT)?;
    let token: String = token.chars().take(256).collect();
    (!token.is_empty()).then_some(token)
}

/// `adopt:<tenantId>` or `none:<request id>`.
fn resolution(text: &str) -> Option<Resolution> {
    match text.trim().split_once(':') {
        Some(("adopt", id)) if !id.is_empty() => Some(Resolution::Adopt(id.into())),
        Some(("none", id)) if !id.is_empty() => Some(Resolution::None(id.into())),
        Some(_) | None => None,
    }
}

fn rules(usable: Option<&Usable>) -> Rules {
    let spec = usable.map(|usable| usable.connection.spec());
    Rules {
        mode: spec.map_or(IdentityMode::default(), |spec| spec.identity.mode),
        on_missing: spec.map_or(OnMissing::default(), |spec| spec.policies.on_missing),
        on_unknown: spec.map_or(OnUnknownOutcome::default(), |spec| {
            spec.policies.on_unknown_outcome
        }),
        retention: spec.map_or(Duration::ZERO, |spec| spec.identity.retention.into()),
        suspend_before_delete: spec.is_some_and(|spec| spec.policies.suspend_before_delete),
    }
}

fn intervals(
    ctx: &Context,
    object: &Subscription,
    usable: Option<&Usable>,
    calls_back: bool,
) -> Intervals {
    let polling = usable
        .map(|usable| usable.connection.spec().polling.clone())
        .unwrap_or_default();
    let pending = polling.pending.into();
    let heard = usable
        .filter(|_| calls_back)
        .map(|usable| &usable.link.heard);
    Intervals {
        poll: heard.map_or(pending, |heard| heard.poll(pending)),
        drift: object.spec.interval.unwrap_or(polling.interval).into(),
        pending,
        settle: ctx.settings.settle,
        jitter: ctx.settings.jitter,
    }
}

fn clock(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    uid: &str,
    facts: &Facts,
    usable: Option<&Usable>,
    intervals: &Intervals,
) -> Clock {
    let now = pace::now();
    let pending = facts
        .ledger
        .request
        .as_ref()
        .filter(|r| ledger::awaiting_vendor(r));
    let deadline: Option<Duration> =
        usable.map(|usable| usable.connection.spec().timeouts.provisioning.into());
    let overdue = pending.is_some_and(|r| match (&r.started_at, deadline) {
        (Some(began), Some(deadline)) => {
            now.duration_since(began.0)
                > SignedDuration::try_from(deadline).unwrap_or(SignedDuration::MAX)
        }
        (Some(_) | None, _) => false,
    });
    let intent = plan::settles_from(facts);
    let output = object.spec.output_secret_name.as_deref();
    let kept = output.is_some_and(|name| {
        scope
            .secret(
                object.metadata.namespace.as_deref().unwrap_or_default(),
                name,
            )
            .is_some()
    });
    let lost = ctx.pace.output_lost(uid, kept);
    let newer = facts.ledger.observed_generation != Some(facts.object.generation);
    let owed = output.is_some() && !kept && facts.ledger.tenant_id.is_some() && (newer || lost);
    let due = ctx.pace.due(
        uid,
        &fingerprint(object, facts, usable),
        called_back(object),
        intent.as_ref(),
        pending.is_some(),
        intervals,
    );
    Clock {
        now,
        backing_off: due.backing_off,
        // Without a read there is nothing to fill a missing output Secret with.
        read_due: due.read || owed,
        settled: due.settled,
        repeatable: false,
        overdue,
        grace_until: grace_until(object, now),
        mass_vanish: usable.is_some_and(|usable| usable.link.vanished.alarm()),
        paced_until: None,
        missing_confirmed: due.missing_confirmed,
    }
}

/// Where the vendor may call back, if it is to.
fn callback_url(ctx: &Context, object: &Subscription, usable: Option<&Usable>) -> Option<String> {
    let base = ctx.settings.callback_url.as_ref()?;
    usable?.connection.spec().callback.as_ref()?;
    let meta = &object.metadata;
    Some(format!(
        "{base}/callbacks/{}/{}/{}",
        meta.namespace.as_deref()?,
        meta.name.as_deref()?,
        ctx.key.callback_token(meta.uid.as_deref()?)
    ))
}

/// What a create is sent with, as far as it may stand in status.
fn create_body(object: &Subscription, order: &Order, inputs: Option<String>) -> CreateBody {
    let secret: Vec<String> = object
        .spec
        .parameters
        .iter()
        .filter(|p| p.value_from.is_some())
        .map(|p| p.name.clone())
        .collect();
    let plain = order
        .parameters
        .iter()
        .filter(|(name, _)| !secret.contains(name));
    CreateBody {
        limits: order.limits.clone(),
        parameters: plain
            .map(|(name, value)| SentParameter {
                name: name.clone(),
                value: value.expose_secret().to_owned(),
                structured: order.structured.contains(name),
            })
            .collect(),
        secrets: secret,
        inputs,
    }
}

/// The order a create was sent with; values that are kept in Secrets as they are now.
fn repeated(sent: &CreateBody, now: &Order) -> Order {
    let plain = sent
        .parameters
        .iter()
        .map(|p| (p.name.clone(), SecretString::from(p.value.as_str())));
    let secret = sent
        .secrets
        .iter()
        .filter_map(|name| Some((name.clone(), now.parameters.get(name)?.clone())));
    let structured = sent.parameters.iter().filter(|p| p.structured);
    let mut structured: BTreeSet<String> = structured.map(|p| p.name.clone()).collect();
    let secret_parts = now
        .structured
        .iter()
        .filter(|name| sent.secrets.contains(name));
    structured.extend(secret_parts.cloned());
    Order {
        limits: sent.limits.clone(),
        parameters: plain.chain(secret).collect(),
        structured,
        ..now.clone()
    }
}

/// Whether the vendor still remembers the key of the create under way; half of what it promises
/// is left as a margin.
fn remembered(facts: &Facts) -> bool {
    let began = facts
        .ledger
        .request
        .as_ref()
        .and_then(|r| r.started_at.as_ref());
    let half = SignedDuration::try_from(facts.rules.retention / 2).unwrap_or(SignedDuration::ZERO);
    began.is_some_and(|began| facts.clock.now.duration_since(began.0) < half)
}

/// Until when a deleted object's tenant is only suspended; `None` when that is over.
fn grace_until(object: &Subscription, now: Timestamp) -> Option<Timestamp> {
    let deleted = object.metadata.deletion_timestamp.as_ref()?.0;
    let grace: Duration = object.spec.deletion_grace_period?.into();
    let until = deleted
        .checked_add(SignedDuration::try_from(grace).ok()?)
        .ok()?;
    (until > now).then_some(until)
}

/// Why the tenant a person names cannot be taken.
fn taken(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    facts: &Facts,
    usable: Option<&Usable>,
) -> Option<String> {
    match (&facts.object.resolution, usable) {
        (Some(Resolution::Adopt(tenant)), Some(usable)) => {
            claims::taken(ctx, scope, object, tenant, usable)
        }
        (Some(_) | None, _) => None,
    }
}

/// Taking over only takes a vendor that can be asked what it has.
fn cannot_look(facts: &Facts, connection: &ConnectionKey) -> Option<Trouble> {
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
fn claim_conflict(
    ctx: &Context,
    scope: &Scope,
    object: &Subscription,
    facts: &Facts,
    usable: Option<&Usable>,
) -> Option<Trouble> {
    let unborn = facts.ledger.tenant_id.is_none() && plan::open_create(facts).is_none();
    let wanted = !facts.object.deleting && facts.trouble.is_none();
    (unborn && wanted)
        .then_some(usable)
        .flatten()
        .and_then(|usable| claims::conflict(ctx, scope, object, usable))
}

/// Everything whose change ends a back-off at once. Contents, not versions: our own finalizer on a
/// Secret changes its version and nothing else.
fn fingerprint(object: &Subscription, facts: &Facts, usable: Option<&Usable>) -> String {
    let annotation = |name: &str| {
        let annotations = object.metadata.annotations.as_ref();
        annotations
            .and_then(|all| all.get(name))
            .cloned()
            .unwrap_or_default()
    };
    [
        facts.object.generation.to_string(),
        annotation(annotations::REQUESTED_AT),
        annotation(annotations::RESOLVE_CREATE),
        annotation(annotations::PAUSED),
        facts.desired.inputs.clone().unwrap_or_default(),
        usable
            .map(|usable| usable.fingerprint.clone())
            .unwrap_or_default(),
    ]
    .join("\n")
}

/// When the vendor last called back.
fn called_back(object: &Subscription) -> Option<&str> {
    let annotations = object.metadata.annotations.as_ref()?;
    annotations
        .get(annotations::CALLED_BACK)
        .map(String::as_str)
}

/// A Secret stands where the output should go, and it is not ours.
fn output_conflict(scope: &Scope, object: &Subscription) -> Option<Trouble> {
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

/// 80 random bits, as text.
pub(crate) fn request_id() -> String {
    let mut bytes = [0u8; 10];
    // Without randomness an id repeats at worst; it is no secret, and every write is guarded by uid.
    let _ = getrandom::fill(&mut bytes);
    data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase()
}
