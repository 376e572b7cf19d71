//! Resource limits: a whole number, a decimal as text, or `unlimited`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{collections::BTreeMap, fmt};

/// One limit, answered in the form it came in. `50`, `"50"` and `"50.0"` are equal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Limit {
    Whole(u64),
    /// Digits with at most one point, or `unlimited`. Decimals are text because a JSON number
    /// would pass through floating point on its way.
    Text(String),
}

pub(crate) type Limits = BTreeMap<String, Limit>;

const LONGEST: usize = 40;
const UNLIMITED: &str = "unlimited";

impl Limit {
    pub(crate) fn parse(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => number
                .as_u64()
                // 50.0 is a whole number to JSON (and to JSON Schema).
                .or_else(|| number.as_f64().and_then(whole))
                .map(Self::Whole),
            Value::String(text) if text == UNLIMITED || is_decimal(text) => {
                Some(Self::Text(text.clone()))
            }
            Value::Null
            | Value::Bool(_)
            | Value::String(_)
            | Value::Array(_)
            | Value::Object(_) => None,
        }
    }

    /// The one form in which equal limits are equal text.
    fn canonical(&self) -> String {
        match self {
            Self::Whole(number) => number.to_string(),
            Self::Text(text) if text == UNLIMITED => text.clone(),
            Self::Text(text) => {
                let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
                let whole = match whole.trim_start_matches('0') {
                    "" => "0",
                    digits => digits,
                };
                match fraction.trim_end_matches('0') {
                    "" => whole.to_owned(),
                    fraction => format!("{whole}.{fraction}"),
                }
            }
        }
    }
}

impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        self.canonical() == other.canonical()
    }
}

impl Eq for Limit {}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

fn is_decimal(text: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    text.len() <= LONGEST && digits(whole) && digits(fraction)
}

fn whole(number: f64) -> Option<u64> {
    // Up to here each whole number has a floating point number of its own.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    ((0.0..=EXACT).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn accepts_integers_decimal_strings_and_unlimited() {
        for good in [
            json!(0),
            json!(50),
            json!(50.0),
            json!("50"),
            json!("2.50"),
            json!("unlimited"),
        ] {
            assert!(Limit::parse(&good).is_some(), "{good}");
        }
        for bad in [
            json!(-1),
            json!(2.5),
            json!(1e300),
            json!("-1"),
            json!("1e3"),
            json!("1."),
            json!(".5"),
            json!("1.2.3"),
            json!("Unlimited"),
            json!(""),
            json!(" 1"),
            json!("1".repeat(41)),
            json!(true),
            json!(null),
            json!([1]),
            json!({}),
        ] {
            assert!(Limit::parse(&bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn compares_as_decimals() {
        let limit = |value| Limit::parse(&value).unwrap();
        assert_eq!(limit(json!(50)), limit(json!("050.00")));
        assert_eq!(limit(json!("0")), limit(json!("0.0")));
        assert_ne!(limit(json!("2.5")), limit(json!("2.05")));
        assert_ne!(limit(json!("unlimited")), limit(json!(0)));
    }
}
