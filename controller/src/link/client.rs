//! The client of a connection, out of its spec and its Secrets.

use std::sync::Arc;

use fulfillment_crds::{IdentityMode, VendorConnectionSpec};

use super::rotation::{Clients, Former, Held};
use crate::{
    controller::Context,
    credentials::Keys,
    kinds::Connection,
    lease::Fence,
    metrics::Meter,
    vendor::{VendorClient, client::Settings, guard::AddressPolicy},
};

/// The client with these credentials, beside the one with those that the vendor `took` last.
pub(super) fn clients(
    ctx: &Context,
    connection: &Connection,
    keys: Keys,
    took: Option<Former>,
) -> Result<Clients, String> {
    let held = Held {
        hash: ctx.key.inputs_hash(&keys.parts).unwrap_or_default(),
        whom: whom(connection),
        keys,
    };
    Clients::new(held, took, |keys| client(ctx, connection, keys))
}

/// What the vendor took last, as the connection is now.
pub(super) fn renewed(ctx: &Context, connection: &Connection, last: Former) -> Option<Former> {
    let held = last.held;
    let client = client(ctx, connection, held.keys.clone()).ok()?;
    Some(Former { held, client })
}

/// Whom credentials are shown to.
pub(super) fn whom(connection: &Connection) -> String {
    let uid = connection.meta().uid.as_deref().unwrap_or_default();
    format!("{uid} {}", connection.spec().url)
}

fn client(ctx: &Context, connection: &Connection, keys: Keys) -> Result<Arc<VendorClient>, String> {
    let addresses = ctx.settings.addresses.clone();
    let meter = Meter::new(Arc::clone(&ctx.metrics), connection.key().label());
    let settings = settings(connection.spec(), keys, addresses, ctx.gate.fence(), meter);
    let client = VendorClient::new(&settings).map_err(|why| why.to_string())?;
    Ok(Arc::new(client))
}

/// What the client of a connection is made of.
pub fn settings(
    spec: &VendorConnectionSpec,
    keys: Keys,
    addresses: AddressPolicy,
    fence: Fence,
    meter: Meter,
) -> Settings {
    let bundle = spec.tls.as_ref().and_then(|tls| tls.ca_bundle.as_deref());
    Settings {
        url: spec.url.clone(),
        credentials: keys.credentials,
        ca: bundle.map(pem),
        certificate: keys.certificate,
        connect_timeout: spec.timeouts.connect.into(),
        request_timeout: spec.timeouts.request.into(),
        addresses,
        fresh_creates: spec.identity.mode == IdentityMode::None,
        dialect: spec.dialect.clone(),
        products: spec.products.clone(),
        fence,
        meter,
    }
}

/// PEM as it is, or in base64 as Kubernetes writes bytes.
fn pem(bundle: &str) -> Vec<u8> {
    if bundle.contains("-----BEGIN") {
        return bundle.as_bytes().to_vec();
    }
    let compact: String = bundle.split_whitespace().collect();
    data_encoding::BASE64
        .decode(compact.as_bytes())
        .unwrap_or_else(|_| bundle.as_bytes().to_vec())
}
