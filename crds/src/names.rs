//! Names that users, GitOps tools and the operator agree on.

/// Annotations the operator reads, and the one it writes.
pub mod annotations {
    /// Reconcile now: resets the back-off and reads the vendor. The value is any token; it is
    /// echoed in `status.lastHandledReconcileAt`. Flux's name, so `flux reconcile` habits carry over.
    pub const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
    /// `"true"` stops every vendor call and every write but the one that says Paused. So does any other
    /// value but the empty one and `"false"`.
    pub const PAUSED: &str = "fulfillment-operator.io/paused";
    /// A person's answer to `CreateOutcomeUnknown`: `adopt:<tenantId>` or
    /// `none:<status.request.id>`.
    pub const RESOLVE_CREATE: &str = "fulfillment-operator.io/resolve-create";
    /// Written by the operator: when the vendor last called back. What it said is not kept; the
    /// vendor is read.
    pub const CALLED_BACK: &str = "fulfillment-operator.io/called-back";
    /// Written by the operator: the create it is about to send, so that no second replica and no
    /// later self sends another beside it.
    pub const INTENT: &str = "fulfillment-operator.io/intent";
}

/// Finalizers the operator sets.
pub mod finalizers {
    /// On a Subscription: a tenant may exist at the vendor.
    pub const TENANT: &str = "fulfillment-operator.io/tenant";
    /// On a connection of either kind and the Secrets it names: tenants behind it still need them.
    pub const IN_USE: &str = "fulfillment-operator.io/in-use";
}
