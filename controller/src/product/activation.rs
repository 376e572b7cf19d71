//! The text for the user that a product's template makes of what the vendor gave.

use fulfillment_crds::SubscriptionStatus;

/// The product's template, filled in with what the vendor gave: a placeholder of what is not there
/// leaves nothing, and braces around anything but a name stay as they are.
pub fn activation(template: &str, status: &SubscriptionStatus) -> String {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        text.push_str(before);
        rest = match after.split_once('}') {
            Some((name, behind)) if is_name(name) => {
                text.push_str(filled(name, status));
                behind
            }
            Some(_) | None => {
                text.push('{');
                after
            }
        };
    }
    text.push_str(rest);
    text.chars().take(8192).collect()
}

fn filled<'s>(name: &str, status: &'s SubscriptionStatus) -> &'s str {
    let value = if name == "tenantId" {
        status.tenant_id.as_deref()
    } else {
        let found = status.parameters.iter().find(|p| p.name == name);
        found.map(|p| p.value.as_str())
    };
    value.unwrap_or_default()
}
