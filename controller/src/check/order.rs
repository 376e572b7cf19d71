//! What the throw-away tenant is ordered with, and what it is changed to.

use fulfillment_crds::{LimitValue, Limits, VendorConnectionSpec};

use crate::{form, vendor::Order};

/// What no vendor can take for a limit.
const NO_LIMIT: &str = "no-limit-at-all";

/// A name that nobody has, for tenants that are to be thrown away.
///
/// # Errors
///
/// Where the system gives no randomness.
pub(super) fn name() -> Result<String, String> {
    let mut bytes = [0; 15];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    let text = data_encoding::BASE32_NOPAD.encode(&bytes);
    Ok(format!("check-{}", text.to_lowercase()))
}

/// The same order with another value for one limit, inside the product's bounds; `None` where no
/// limit's value is a number.
pub(super) fn other(spec: &VendorConnectionSpec, order: &Order) -> Option<Order> {
    let product = spec.products.iter().find(|p| p.name == order.product);
    order.limits.iter().find_map(|(name, value)| {
        let rule = product.and_then(|p| p.limits.iter().find(|rule| rule.name == *name));
        let now: i64 = value.to_string().parse().ok()?;
        let fits = |value: &LimitValue| {
            let least = rule.and_then(|rule| rule.minimum.as_ref());
            let most = rule.and_then(|rule| rule.maximum.as_ref());
            least.is_none_or(|least| !form::less(value, least))
                && most.is_none_or(|most| !form::less(most, value))
        };
        let near = [now.checked_add(1), now.checked_sub(1)];
        let value = near
            .into_iter()
            .flatten()
            .filter(|value| *value >= 0)
            .map(LimitValue::from)
            .find(fits)?;
        let mut other = order.clone();
        other.limits.insert(name.clone(), value);
        Some(other)
    })
}

/// The same order with a limit that is none.
pub(super) fn invalid(order: &Order) -> Order {
    let mut invalid = order.clone();
    if let Some(value) = invalid.limits.values_mut().next() {
        *value = LimitValue::parse(NO_LIMIT);
    }
    invalid
}

/// How limits differ from what is wanted, if they do.
pub(super) fn differs(has: &Limits, wanted: &Limits) -> Option<String> {
    wanted.iter().find_map(|(name, value)| match has.get(name) {
        Some(shown) if shown == value => None,
        Some(shown) => Some(format!("limits.{name} is {shown}: {value} was sent")),
        None => Some(format!("limits.{name} is not there: {value} was sent")),
    })
}

/// Limits in a line.
pub(super) fn shown(limits: &Limits) -> String {
    let all: Vec<String> = limits
        .iter()
        .map(|(name, value)| format!("{name} {value}"))
        .collect();
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn order(limits: serde_json::Value) -> Order {
        Order {
            product: "mail".into(),
            limits: serde_json::from_value(limits).unwrap(),
            ..Order::default()
        }
    }

    fn spec(rule: &serde_json::Value) -> VendorConnectionSpec {
        let products = json!([{"name": "mail", "limits": [rule]}]);
        serde_json::from_value(json!({"url": "https://v.example", "products": products})).unwrap()
    }

    #[test]
    fn another_value_keeps_the_bounds() {
        let free = spec(&json!({"name": "seats"}));
        let changed = |spec, limits| other(spec, &order(limits)).map(|o| shown(&o.limits));
        assert_eq!(changed(&free, json!({"seats": 5})).unwrap(), "seats 6");
        let full = spec(&json!({"name": "seats", "maximum": 5}));
        assert_eq!(changed(&full, json!({"seats": 5})).unwrap(), "seats 4");
        let one = spec(&json!({"name": "seats", "minimum": 5, "maximum": 5}));
        assert_eq!(changed(&one, json!({"seats": 5})), None);
        assert_eq!(changed(&free, json!({"seats": "unlimited"})), None);
        let second = json!({"seats": "unlimited", "storage": 1});
        assert_eq!(
            changed(&free, second).unwrap(),
            "seats unlimited, storage 2"
        );
    }

    #[test]
    fn names_are_not_given_twice() {
        let (one, other) = (name().unwrap(), name().unwrap());
        assert_ne!(one, other);
        assert!(one.starts_with("check-") && one.len() == 30, "{one}");
    }

    #[test]
    fn what_differs_is_named() {
        let of = |limits| order(limits).limits;
        let wanted = of(json!({"seats": 5}));
        assert_eq!(
            differs(&of(json!({"seats": "5.0", "more": 1})), &wanted),
            None
        );
        let other = differs(&of(json!({"seats": 6})), &wanted).unwrap();
        assert_eq!(other, "limits.seats is 6: 5 was sent");
        assert!(
            differs(&of(json!({})), &wanted)
                .unwrap()
                .contains("not there")
        );
    }
}
