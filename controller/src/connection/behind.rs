//! Who may have a tenant behind a connection, and behind those that may share its Secrets.

use std::collections::{BTreeSet, HashMap};

use fulfillment_crds::{ConnectionKind, Subscription, finalizers};
use kube::{Api, Resource, ResourceExt, api::ListParams};

use crate::{
    controller::{Context, Scope},
    credentials::secret_names,
    kinds::ConnectionKey,
    kubernetes::KubeError,
    object::Guarded,
    pace::Pace,
};

/// How many Subscriptions may have a tenant behind each of some connections: by namespace, which is empty
/// for a ClusterVendorConnection, and name.
#[derive(Debug, Default)]
struct Tally(HashMap<String, HashMap<String, i64>>);

impl Tally {
    fn of<'k>(keys: impl IntoIterator<Item = &'k ConnectionKey>) -> Self {
        let mut tally = Self::default();
        for key in keys {
            let namespace = key.namespace.clone().unwrap_or_default();
            let names = tally.0.entry(namespace).or_default();
            names.insert(key.name.clone(), 0);
        }
        tally
    }

    fn get(&self, key: &ConnectionKey) -> i64 {
        let names = self.0.get(key.namespace.as_deref().unwrap_or_default());
        names
            .and_then(|names| names.get(&key.name))
            .map_or(0, |n| *n)
    }

    fn add(&mut self, pace: &Pace, object: &Guarded<Subscription>) {
        let finalized = object.finalizers().iter().any(|f| f == finalizers::TENANT);
        let within = object.meta().namespace.as_deref().unwrap_or_default();
        match &object.0 {
            Ok(subscription) => {
                let reference = &subscription.spec.connection_ref;
                let namespace = match reference.kind {
                    ConnectionKind::VendorConnection => within,
                    ConnectionKind::ClusterVendorConnection => "",
                };
                let names = self.0.get_mut(namespace);
                let count = names.and_then(|names| names.get_mut(&reference.name));
                if let Some(count) = count
                    && (finalized || pace.has_finalizer(subscription))
                {
                    *count += 1;
                }
            }
            // What cannot be decoded may have a tenant anywhere.
            Err(_) if finalized => {
                for (namespace, names) in &mut self.0 {
                    if namespace.is_empty() || namespace == within {
                        names.values_mut().for_each(|count| *count += 1);
                    }
                }
            }
            Err(_) => {}
        }
    }

    fn add_seen(mut self, ctx: &Context, scope: &Scope) -> Self {
        for object in scope.subscriptions.state() {
            self.add(&ctx.pace, &object);
        }
        self
    }
}

/// How many Subscriptions in the cache may have a tenant behind a connection.
pub(super) fn seen(ctx: &Context, scope: &Scope, key: &ConnectionKey) -> i64 {
    Tally::of([key]).add_seen(ctx, scope).get(key)
}

/// The connections whose Secrets are in one namespace, and who may have a tenant behind each.
#[derive(Debug)]
pub(super) struct Behind {
    /// Where the Secrets are.
    pub secrets_namespace: String,
    secrets: HashMap<ConnectionKey, BTreeSet<String>>,
    seen: Tally,
    unseen: Tally,
}

impl Behind {
    /// Counts for a connection, and for those that have their Secrets where it has them.
    ///
    /// # Errors
    ///
    /// Where the API server fails.
    pub(super) async fn count(
        ctx: &Context,
        scope: &Scope,
        key: &ConnectionKey,
    ) -> Result<Self, KubeError> {
        let here = scope.secrets_of(key);
        let secrets = scope.every_connection().into_iter().filter_map(|other| {
            let named = secret_names(other.spec()).into_iter().map(str::to_owned);
            (scope.secrets_of(&other.key()) == here).then(|| (other.key(), named.collect()))
        });
        let secrets: HashMap<_, BTreeSet<_>> = secrets.collect();
        let keys = secrets.keys().chain([key]);
        let seen = Tally::of(keys).add_seen(ctx, scope);
        let mut behind = Self {
            secrets_namespace: here.to_owned(),
            secrets,
            seen,
            unseen: Tally::default(),
        };
        if ctx.settings.label_selector.is_some() {
            behind.unseen = behind.look(ctx, scope, key).await?;
        }
        Ok(behind)
    }

    /// What has lost its label is out of sight, and its tenant is still there: the API server is asked about
    /// the connection itself, and about others whose Secrets would be let go.
    async fn look(
        &self,
        ctx: &Context,
        scope: &Scope,
        key: &ConnectionKey,
    ) -> Result<Tally, KubeError> {
        let leaves = |secret: &String| {
            let secret = scope.secret(&self.secrets_namespace, secret);
            secret.is_some_and(|s| is_held(&*s) && !self.uses(ctx, &s.name_any(), None))
        };
        let others = self.secrets.iter();
        let others = others.filter(|(_, secrets)| secrets.iter().any(leaves));
        let mut asked: Vec<_> = others.map(|(other, _)| other).chain([key]).collect();
        asked.retain(|key| self.of(key) == 0);
        if asked.is_empty() {
            return Ok(Tally::default());
        }
        let all: Api<Guarded<Subscription>> = if asked.iter().all(|key| key.namespace.is_some()) {
            ctx.cluster.api(&self.secrets_namespace)
        } else {
            Api::all(ctx.cluster.client())
        };
        let mut tally = Tally::of(asked);
        let add = |object| tally.add(&ctx.pace, &object);
        ctx.cluster.each(&all, ListParams::default(), add).await?;
        Ok(tally)
    }

    /// How many Subscriptions may have a tenant behind a connection.
    pub(super) fn of(&self, key: &ConnectionKey) -> i64 {
        self.seen.get(key) + self.unseen.get(key)
    }

    /// Whether a Secret is named by a connection that has Subscriptions, or is about to have one; all
    /// but the one that is known to be `free`.
    pub(super) fn uses(&self, ctx: &Context, secret: &str, free: Option<&ConnectionKey>) -> bool {
        self.secrets.iter().any(|(key, secrets)| {
            let protects = |key| {
                let link = ctx.links.get(key);
                link.protected.try_read().is_ok_and(|protected| *protected)
            };
            secrets.contains(secret) && (self.of(key) > 0 || (free != Some(key) && protects(key)))
        })
    }
}

/// Whether it has our finalizer of what is in use.
pub(super) fn is_held(object: &impl ResourceExt) -> bool {
    object.finalizers().iter().any(|f| f == finalizers::IN_USE)
}
