//! Carries out one step and folds its answer into the facts. What is to be done is not decided here, only
//! that it has to wait: for a namespace or a definition that is being deleted, as is looked up live, for
//! what a connection needs, and for the pace of deletes. (client required)

use std::{sync::Arc, time::Duration};

use fulfillment_crds::{IdentityMode, Reason, RequestStatus, Subscription};
use k8s_openapi::jiff::SignedDuration;
use tokio::time::Instant;

use crate::{
    claims,
    controller::Context,
    drift,
    facts::{Intent, Read, Trouble},
    inputs::not_ready,
    kubernetes::{self, Guard, KubeError, Mark},
    ledger,
    link::{self, Protected, Usable},
    observe::Seen,
    plan::Step,
    product, tombstones,
    vendor::{Answer, Operation, Said, Tenant, VendorClient, VendorError},
};

/// Carries out one step.
///
/// # Errors
///
/// Where the API server fails or the object has changed; a vendor's failure is an answer.
pub async fn act(ctx: &Context, seen: &mut Seen, step: &Step) -> Result<(), KubeError> {
    // An intent of a replica that does not lead any more would only have to be cleared up.
    if !ctx.gate.is_open() {
        return Err(KubeError::Failed(
            "this replica does not lead any more".into(),
        ));
    }
    match step {
        Step::Claim(intent) => claim(ctx, seen, Some(intent)).await,
        Step::Finalize => claim(ctx, seen, None).await,
        Step::Intend(intent) => intend(ctx, seen, intent).await,
        Step::Bury => {
            tombstones::bury(ctx, &seen.object, &seen.facts).await?;
            ledger::buried(&mut seen.facts);
            Ok(())
        }
        Step::Release => ctx.cluster.release(&seen.object).await,
        Step::Create(intent) => {
            for order in seen.sent_before.iter_mut().chain([&mut seen.order]) {
                order.external_id.clone_from(&intent.external_id);
            }
            seen.guard = Some(match seen.facts.rules.mode {
                IdentityMode::ExternalId => {
                    Guard::Intent(intent.clone(), kubernetes::mark(&seen.object))
                }
                // As `intended` has just written it.
                IdentityMode::IdempotencyKey | IdentityMode::Lookup | IdentityMode::None => {
                    Guard::Request(Mark {
                        id: intent.id.clone(),
                        status: RequestStatus::Pending,
                        attempts: intent.attempt,
                    })
                }
            });
            call(ctx, seen, step).await
        }
        Step::Suspend | Step::Delete => end(ctx, seen, step).await,
        Step::Read
        | Step::Look(_)
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Change
        | Step::Resume => call(ctx, seen, step).await,
        Step::Rest(_) => Ok(()),
    }
}

/// Whether a step calls the vendor, or leads to a call in the same pass.
pub fn needs_vendor(step: &Step) -> bool {
    match step {
        Step::Bury | Step::Release | Step::Rest(_) => false,
        Step::Claim(_)
        | Step::Finalize
        | Step::Intend(_)
        | Step::Create(_)
        | Step::Read
        | Step::Look(_)
        | Step::Discard(_)
        | Step::Adopt(_)
        | Step::Change
        | Step::Suspend
        | Step::Resume
        | Step::Delete => true,
    }
}

/// The finalizer and perhaps the intent, once the connection is safe behind its own.
async fn claim(ctx: &Context, seen: &mut Seen, intent: Option<&Intent>) -> Result<(), KubeError> {
    pay(seen, 1).await;
    // Held until our own finalizer counts, so that the connection's is not dropped in between.
    let _protected = match admit(ctx, seen).await? {
        Ok(protected) => protected,
        Err(closed) => {
            seen.facts.trouble = Some(closed);
            return Ok(());
        }
    };
    arm_deadline(ctx, seen);
    let object = ctx.cluster.claim(&seen.object, intent).await?;
    adopt_object(ctx, seen, object);
    ctx.pace.unarmed(&uid(seen), intent.is_none());
    match intent {
        Some(intent) => ledger::armed(&mut seen.facts, intent),
        None => ledger::finalized(&mut seen.facts),
    }
    Ok(())
}

/// The intent where it stands in status, as `kubectl replace` does not drop it there.
async fn intend(ctx: &Context, seen: &mut Seen, intent: &Intent) -> Result<(), KubeError> {
    pay(seen, 1).await;
    if let Err(closed) = admit(ctx, seen).await? {
        seen.facts.trouble = Some(closed);
        return Ok(());
    }
    arm_deadline(ctx, seen);
    let before = seen.facts.ledger.clone();
    ledger::intended(&mut seen.facts, intent);
    let mut status = seen.facts.ledger.clone();
    status.conditions = seen
        .object
        .status
        .as_ref()
        .map(|s| s.conditions.clone())
        .unwrap_or_default();
    let version = seen
        .object
        .metadata
        .resource_version
        .clone()
        .unwrap_or_default();
    let object = ctx
        .cluster
        .write_status(&seen.object, &status, &Guard::Version(version))
        .await
        // What stands nowhere is no intent: nothing may be recorded as if it were one.
        .inspect_err(|_| seen.facts.ledger = before)?;
    let echoed = object
        .status
        .as_ref()
        .and_then(|s| s.request.as_ref())
        .is_some_and(|r| r.id == intent.id);
    if !echoed {
        return Err(KubeError::Failed(
            "the API server dropped status.request: the installed CRDs are older than the operator"
                .into(),
        ));
    }
    adopt_object(ctx, seen, object);
    ctx.pace.unarmed(&uid(seen), false);
    ledger::armed(&mut seen.facts, intent);
    Ok(())
}

fn uid(seen: &Seen) -> String {
    seen.object.metadata.uid.clone().unwrap_or_default()
}

/// A delete, or a suspend, unless a guard says that it has to wait.
async fn end(ctx: &Context, seen: &mut Seen, step: &Step) -> Result<(), KubeError> {
    // A suspend that the spec asks for is no end.
    if seen.facts.object.deleting && ctx.cluster.crd_is_terminating().await? {
        seen.facts.trouble = Some(Trouble {
            reason: Reason::CRDTerminating,
            message: "the CustomResourceDefinition of Subscriptions is being deleted, which is no reason to suspend or delete a tenant: set deletionPolicy: Retain on this object to let it go and keep its tenant; the same YAML finds it again".into(),
        });
        return Ok(());
    }
    let wait = match (step, &seen.usable) {
        (Step::Delete, Some(usable)) => {
            let most = usable.connection.spec().policies.max_deletes_per_minute;
            usable.link.deletes.wait(&uid(seen), most)
        }
        _ => Duration::ZERO,
    };
    if wait.is_zero() {
        return call(ctx, seen, step).await;
    }
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::ZERO);
    seen.facts.clock.paced_until = seen.facts.clock.now.checked_add(wait).ok();
    Ok(())
}

/// Whether something may be created here: the protection to hold meanwhile, or why not. Looked up
/// live: a cache may not know yet.
async fn admit(
    ctx: &Context,
    seen: &Seen,
) -> Result<Result<Option<Protected>, Trouble>, KubeError> {
    if seen.facts.object.deleting {
        return Ok(Ok(None));
    }
    let namespace = seen.object.metadata.namespace.clone().unwrap_or_default();
    if ctx.cluster.is_terminating(&namespace).await? {
        return Ok(Err(not_ready(format!(
            "namespace {namespace} is being deleted: nothing is created in it"
        ))));
    }
    match &seen.usable {
        Some(usable) => Ok(link::protect(&ctx.cluster, usable).await?.map(Some)),
        None => Ok(Ok(None)),
    }
}

/// Waits until the connection's budget allows so many calls. For a create that is before its intent is
/// written: the deadline runs from there.
async fn pay(seen: &mut Seen, calls: u32) {
    let Some(usable) = &seen.usable else {
        return;
    };
    while seen.paid < calls {
        usable.budget.token().await;
        seen.paid += 1;
    }
}

/// Taken before the intent is written: a process that pauses in between sends nothing late.
fn arm_deadline(ctx: &Context, seen: &mut Seen) {
    seen.deadline = Some(Instant::now() + ctx.settings.request_deadline);
}

fn adopt_object(ctx: &Context, seen: &mut Seen, object: Arc<Subscription>) {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    // By compare-and-swap: nothing else can be new in it.
    ctx.pace.wrote(&uid, Arc::clone(&object), false);
    seen.object = object;
}

async fn call(ctx: &Context, seen: &mut Seen, step: &Step) -> Result<(), KubeError> {
    let Some(usable) = seen.usable.clone() else {
        return Err(KubeError::Failed(
            "no connection to call the vendor through".into(),
        ));
    };
    let client = usable.clients.newest();
    let Some(operation) = operation(step, seen, client) else {
        return Ok(());
    };
    let calls = client.calls(operation);
    pay(seen, calls).await;
    seen.paid -= calls;
    let tenant = if let Step::Adopt(named) | Step::Discard(named) = step {
        named.clone()
    } else {
        seen.facts.ledger.tenant_id.clone().unwrap_or_default()
    };
    let (desired, ledger) = (&seen.facts.desired, &seen.facts.ledger);
    let with_inputs = drift::inputs(desired, ledger) || drift::unsent(desired, ledger);
    let deadline = seen.deadline.unwrap_or_else(Instant::now);
    let order = match (step, &seen.sent_before) {
        // The same bytes as before, whatever the spec says by now.
        (Step::Create(intent), Some(sent)) if intent.repeated => sent,
        _ => &seen.order,
    };
    let name = if let Step::Look(name) = step {
        name.as_str()
    } else {
        seen.facts.name()
    };
    let token = under_way(seen).unwrap_or_default();
    let (tenant, token) = (tenant.as_str(), token.as_str());
    let send = |client: Arc<VendorClient>| async move {
        match operation {
            Operation::Create => client.create(order, deadline).await,
            Operation::Lookup => client.lookup(name, order).await,
            Operation::Get => client.get(tenant, order).await,
            Operation::Poll => client.poll(tenant, token, order).await,
            Operation::Change => client.change(tenant, order, with_inputs).await,
            Operation::Disable => client.disable(tenant, order).await,
            Operation::Enable => client.enable(tenant, order).await,
            Operation::Delete => client.delete(tenant, order).await,
        }
    };
    let mut answer = usable.call(operation, send).await;
    if let (Some(product), Ok(answer)) = (usable.product(&seen.object.spec.product), &mut answer) {
        for tenant in answer.said.tenants() {
            product::sort(product, tenant);
        }
    }
    if let Ok(shown) = &mut answer
        && let Some(refused) = claims::refuse_taken(ctx, &seen.object, &usable, &mut shown.said)
    {
        answer = Err(refused);
    }
    seen.called = true;
    log(seen, step, operation, &answer);
    keep(seen, &answer);
    if answer.as_ref().is_ok_and(|answer| answer.replayed) {
        ctx.pace.read_soon(&uid(seen));
    }
    ledger::answered(&mut seen.facts, step, answer);
    note_gone(seen, &usable);
    Ok(())
}

/// What a read says of a tenant that should be there: when most are gone, none is bought again.
fn note_gone(seen: &mut Seen, usable: &Usable) {
    let Some(read) = seen.facts.pass.read.filter(|_| !seen.facts.object.deleting) else {
        return;
    };
    let meta = &seen.object.metadata;
    let uid = meta.uid.as_deref().unwrap_or_default();
    let tenant = seen.facts.ledger.tenant_id.as_deref().unwrap_or_default();
    let gone = read == Read::Absent;
    let interval = seen.intervals.drift;
    if usable.link.vanished.note(uid, tenant, gone, interval) {
        usable.link.tell();
    }
    seen.facts.clock.mass_vanish = usable.link.vanished.alarm();
}

/// The vendor's token of the request it has not decided, where it gave one.
fn under_way(seen: &Seen) -> Option<String> {
    let request = seen.facts.ledger.request.as_ref();
    let request = request.filter(|r| ledger::awaiting_vendor(r))?;
    request.operation.clone()
}

fn operation(step: &Step, seen: &Seen, client: &VendorClient) -> Option<Operation> {
    match step {
        Step::Create(_) => Some(Operation::Create),
        Step::Read if client.polls() && under_way(seen).is_some() => Some(Operation::Poll),
        Step::Read | Step::Adopt(_) => Some(Operation::Get),
        Step::Look(_) => Some(Operation::Lookup),
        Step::Change => Some(Operation::Change),
        Step::Suspend => Some(Operation::Disable),
        Step::Resume => Some(Operation::Enable),
        Step::Delete | Step::Discard(_) => Some(Operation::Delete),
        Step::Claim(_)
        | Step::Finalize
        | Step::Intend(_)
        | Step::Bury
        | Step::Release
        | Step::Rest(_) => None,
    }
}

/// Every vendor call leaves a line that joins the vendor's log with ours.
fn log(seen: &Seen, step: &Step, operation: Operation, answer: &Result<Answer, VendorError>) {
    let operation = operation.as_str();
    let tenant = seen.facts.ledger.tenant_id.as_deref().unwrap_or_default();
    let external_id = seen.order.external_id.as_str();
    match answer {
        Ok(_) if matches!(step, Step::Read | Step::Look(_)) => {
            tracing::debug!(operation, tenant, "vendor answered")
        }
        Ok(_) => tracing::info!(operation, tenant, external_id, "vendor answered"),
        Err(error) => {
            tracing::warn!(operation, tenant, external_id, class = ?error.class, effect = ?error.effect, %error, "vendor call failed")
        }
    }
}

/// What an answer brings besides the facts: when to ask again, and the secrets it holds.
fn keep(seen: &mut Seen, answer: &Result<Answer, VendorError>) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            seen.retry_after = error.retry_after;
            return;
        }
    };
    seen.retry_after = answer.retry_after;
    match &answer.said {
        Said::Tenant(tenant) | Said::Accepted(Some(tenant)) | Said::Exists(Some(tenant)) => {
            keep_sensitive(seen, tenant);
        }
        Said::Found(tenants) => {
            let known = seen.facts.ledger.tenant_id.as_ref();
            let ours = tenants.iter().find(|t| Some(&t.id) == known);
            seen.sensitive = ours
                .or(tenants.first())
                .map(|tenant| (tenant.id.clone(), tenant.sensitive.clone()));
        }
        Said::Done | Said::Accepted(None) | Said::Exists(None) | Said::Absent => {}
    }
}

/// What the vendor says in secret of a tenant. What it said earlier in this pass and leaves out now is
/// kept: it may say it once.
fn keep_sensitive(seen: &mut Seen, tenant: &Tenant) {
    let known = seen.facts.ledger.tenant_id.as_ref();
    match &mut seen.sensitive {
        Some((id, values)) if *id == tenant.id => values.extend(tenant.sensitive.clone()),
        // Not given up for what is said of another's.
        Some((id, _)) if known == Some(id) => {}
        other => *other = Some((tenant.id.clone(), tenant.sensitive.clone())),
    }
}
