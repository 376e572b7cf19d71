//! Whose turn it is when something changes.

use std::sync::Arc;

use fulfillment_crds::{
    Condition, Parameter, Reason, Subscription, TierConfiguration, annotations, finalizers,
};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Resource, ResourceExt,
    core::PartialObjectMeta,
    runtime::{reflector::ObjectRef, watcher::Event},
};

use super::object;
use crate::{
    controller::{Context, Scope},
    credentials::secret_names,
    kinds::{Connection, ConnectionKey},
    object::{Decode, Guarded},
    product,
    queues::Queues,
    report,
    tier::{self, News},
};

/// Whose turn it is when something changes.
#[derive(Clone)]
pub(super) struct Tell {
    pub(super) scope: Arc<Scope>,
    pub(super) queues: Queues,
}

impl Tell {
    pub(super) fn subscription(
        &self,
        ctx: &Context,
        event: &Event<Guarded<Subscription>>,
        before: Option<&Guarded<Subscription>>,
    ) {
        let Some(object) = object(event) else {
            return;
        };
        let gone = matches!(event, Event::Delete(_));
        if gone {
            ctx.forget(object);
            self.next_claim(object);
        }
        if let Some(Ok(before)) = before.map(|b| &b.0) {
            let left = object.0.as_ref().ok().filter(|_| !gone);
            let left = left.map_or(&[][..], |now| &now.spec.parameters);
            let key = ConnectionKey::named_by(before);
            self.next_holder(&key, &before.spec.product, &before.spec.parameters, left);
        }
        let counts =
            |s: &Guarded<Subscription>| s.finalizers().iter().any(|f| f == finalizers::TENANT);
        if gone || before.map(counts) != Some(counts(object)) {
            self.connection_of(object);
            self.tiers_above(object);
        }
        self.own_tier(object);
        let echo = object.0.as_ref().is_ok_and(|s| ctx.pace.is_echo(s));
        if !gone && !echo {
            let _ = self
                .queues
                .subscriptions
                .send(ObjectRef::from_obj(object).into());
        }
    }

    pub(super) fn connection<K: Decode>(
        &self,
        ctx: &Context,
        event: &Event<Guarded<K>>,
        before: Option<&Guarded<K>>,
    ) {
        let Some(object) = object(event) else {
            return;
        };
        let key = ConnectionKey::of(object.meta());
        if matches!(event, Event::Delete(_)) {
            ctx.links.forget(&key);
        }
        self.queues.connection(&key);
        // Its own status and finalizers are no news to the Subscriptions.
        let same = before.is_some_and(|b| {
            let asked = |c: &Guarded<K>| c.annotations().get(annotations::REQUESTED_AT).cloned();
            b.meta().generation == object.meta().generation
                && b.uid() == object.uid()
                && asked(b) == asked(object)
        });
        if same && matches!(event, Event::Apply(_)) {
            return;
        }
        self.every_subscription(|s| key.is_named_by(s));
        self.every_tier(|t| names_connection(t, &key));
    }

    pub(super) fn secret(&self, secret: &PartialObjectMeta<Secret>) {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let named: Vec<ConnectionKey> = self
            .scope
            .every_connection()
            .iter()
            .filter(|c| secret_names(c.spec()).contains(name.as_str()))
            .map(Connection::key)
            .filter(|key| self.scope.secrets_of(key) == namespace)
            .collect();
        for connection in &named {
            self.queues.connection(connection);
        }
        let here = |at: &ObjectMeta| at.namespace.as_deref() == Some(&namespace);
        self.every_subscription(|s| {
            let output = s.spec.output_secret_name.as_deref() == Some(&name);
            (here(&s.metadata) && (output || names_secret(&s.spec.parameters, &name)))
                || named.iter().any(|key| key.is_named_by(s))
        });
        self.every_tier(|t| {
            (here(&t.metadata) && names_secret(&t.spec.parameters, &name))
                || named.iter().any(|key| names_connection(t, key))
        });
    }

    pub(super) fn config_map(&self, map: &PartialObjectMeta<ConfigMap>) {
        let name = map.name_any();
        let here = |at: &ObjectMeta| at.namespace == map.metadata.namespace;
        self.every_subscription(|s| {
            here(&s.metadata) && names_config_map(&s.spec.parameters, &name)
        });
        self.every_tier(|t| here(&t.metadata) && names_config_map(&t.spec.parameters, &name));
    }

    /// A tier has changed: its own turn, and that of those bought or set up under it whom it concerns.
    pub(super) fn tier(
        &self,
        event: &Event<Guarded<TierConfiguration>>,
        before: Option<&Guarded<TierConfiguration>>,
    ) {
        let Some(now) = object(event) else {
            return;
        };
        let _ = self.queues.tiers.send(ObjectRef::from_obj(now).into());
        let gone = matches!(event, Event::Delete(_));
        match tier::news(before, now, gone) {
            News::Terms => {
                let within = now.namespace().unwrap_or_default();
                let own = ObjectRef::new(&tier::child_name(&now.name_any())).within(&within);
                let _ = self.queues.subscriptions.send(own.into());
                self.below(now, |_| true);
            }
            News::Words => self.below(now, waits_for_a_tier),
            News::Nothing => {}
        }
        if let Some(Ok(before)) = before.map(|b| &b.0) {
            let left = now.0.as_ref().ok().filter(|_| !gone);
            let left = left.map_or(&[][..], |now| &now.spec.parameters);
            let namespace = before.metadata.namespace.as_deref().unwrap_or_default();
            let key = ConnectionKey::named(&before.spec.connection_ref, namespace);
            self.next_holder(&key, &before.spec.product, &before.spec.parameters, left);
        }
    }

    /// Whoever is bought or set up under a tier, and stands so.
    fn below(&self, tier: &Guarded<TierConfiguration>, stands: impl Fn(&[Condition]) -> bool) {
        let (namespace, name) = (tier.namespace(), tier.name_any());
        let mut above = vec![name.clone()];
        self.every_tier(|t| {
            let below = t.metadata.namespace == namespace && tier::is_below(t, &name);
            if below {
                above.extend(t.metadata.name.clone());
            }
            below && stands(t.status.as_ref().map_or(&[], |s| &s.conditions))
        });
        self.every_subscription(|s| {
            s.metadata.namespace == namespace
                && above.iter().any(|name| tier::names(s, name))
                && stands(s.status.as_ref().map_or(&[], |s| &s.conditions))
        });
    }

    /// The Subscription for a tier's own tenant has changed.
    fn own_tier(&self, object: &Guarded<Subscription>) {
        let Some(tier) = tier::tier_of(object.meta()) else {
            return;
        };
        let namespace = object.namespace().unwrap_or_default();
        let reference = ObjectRef::new(tier).within(&namespace);
        let _ = self.queues.tiers.send(reference.into());
    }

    /// What was kept because of a Subscription may go now: the tiers it names and those above them, and their
    /// own tenants. The Subscription for the tenant of one between may be away, and tells nobody.
    fn tiers_above(&self, object: &Guarded<Subscription>) {
        let Ok(subscription) = &object.0 else {
            return;
        };
        let within = object.namespace().unwrap_or_default();
        let tell = |tier: &str| {
            let above = ObjectRef::new(tier).within(&within);
            let _ = self.queues.tiers.send(above.into());
            let own = ObjectRef::new(&tier::child_name(tier)).within(&within);
            let _ = self.queues.subscriptions.send(own.into());
        };
        let named = subscription.spec.tiers.levels();
        for reference in named.filter_map(|(_, tier)| tier.tier_configuration_ref.as_ref()) {
            tell(&reference.name);
            if let Some(Ok(tier)) = self.scope.tier(&within, &reference.name)
                && let Some(parent) = &tier.spec.parent_ref
            {
                tell(&parent.name);
            }
        }
    }

    /// A name is free again: who else claims it is told.
    fn next_claim(&self, gone: &Guarded<Subscription>) {
        let Some(id) = gone
            .0
            .as_ref()
            .ok()
            .and_then(|s| s.spec.external_id.as_ref())
        else {
            return;
        };
        self.every_subscription(|s| s.spec.external_id.as_ref() == Some(id));
    }

    /// A value is free again that no two of a product may have: who else wants it is told.
    fn next_holder(
        &self,
        connection: &ConnectionKey,
        of: &str,
        before: &[Parameter],
        now: &[Parameter],
    ) {
        if before == now {
            return;
        }
        let Some(Ok(connection)) = self.scope.connection(connection) else {
            return;
        };
        let rules = connection.spec().products.iter();
        let rules = rules.filter(|p| p.name == of);
        let unique = rules.flat_map(|p| &p.parameters).filter(|rule| rule.unique);
        let freed: Vec<_> = unique
            .filter_map(|rule| {
                let was = before.iter().find(|p| p.name == rule.name)?;
                let was = product::comparable(rule, was)?;
                (!product::gives(rule, now, &was)).then_some((rule, was))
            })
            .collect();
        if freed.is_empty() {
            return;
        }
        let wants = |other: &str, parameters: &[Parameter]| {
            let mut freed = freed.iter();
            other == of && freed.any(|(rule, was)| product::gives(rule, parameters, was))
        };
        self.every_tier(|t| wants(&t.spec.product, &t.spec.parameters));
        self.every_subscription(|s| wants(&s.spec.product, &s.spec.parameters));
    }

    fn every_tier(&self, mut wanted: impl FnMut(&TierConfiguration) -> bool) {
        for object in self.scope.tiers.state() {
            if object.0.as_ref().is_ok_and(|t| wanted(t)) {
                let _ = self.queues.tiers.send(ObjectRef::from_obj(&*object).into());
            }
        }
    }

    fn every_subscription(&self, wanted: impl Fn(&Subscription) -> bool) {
        for object in self.scope.subscriptions.state() {
            if object.0.as_ref().is_ok_and(|s| wanted(s)) {
                let _ = self
                    .queues
                    .subscriptions
                    .send(ObjectRef::from_obj(&*object).into());
            }
        }
    }

    fn connection_of(&self, object: &Guarded<Subscription>) {
        if let Ok(s) = &object.0 {
            self.queues.connection(&ConnectionKey::named_by(s));
        }
    }
}

/// Whether one says of a tier that it is waited for, and so has to be told what that one says.
fn waits_for_a_tier(conditions: &[Condition]) -> bool {
    report::ready(conditions)
        .is_some_and(|c| c.reason == Reason::TierConfigurationNotReady.as_str())
}

fn names_connection(tier: &TierConfiguration, key: &ConnectionKey) -> bool {
    let namespace = tier.metadata.namespace.as_deref().unwrap_or_default();
    ConnectionKey::named(&tier.spec.connection_ref, namespace) == *key
}

fn names_secret(parameters: &[Parameter], name: &str) -> bool {
    let sources = parameters.iter().filter_map(|p| p.value_from.as_ref());
    let mut keys = sources.filter_map(|from| from.secret_key_ref.as_ref());
    keys.any(|key| key.name == name)
}

fn names_config_map(parameters: &[Parameter], name: &str) -> bool {
    let sources = parameters.iter().filter_map(|p| p.value_from.as_ref());
    let mut keys = sources.filter_map(|from| from.config_map_key_ref.as_ref());
    keys.any(|key| key.name == name)
}
