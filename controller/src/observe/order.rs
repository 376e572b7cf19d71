//! What a create is sent with: as the spec has it, and as it was sent before.

use std::collections::BTreeSet;

use fulfillment_crds::{CreateBody, SentParameter, Subscription};
use secrecy::{ExposeSecret, SecretString};

use crate::{controller::Context, link::Usable, vendor::Order};

/// Where the vendor may call back, if it is to.
pub(super) fn callback_url(
    ctx: &Context,
    object: &Subscription,
    usable: Option<&Usable>,
) -> Option<String> {
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
pub(super) fn create_body(
    object: &Subscription,
    order: &Order,
    inputs: Option<String>,
) -> CreateBody {
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
pub(super) fn repeated(sent: &CreateBody, now: &Order) -> Order {
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
