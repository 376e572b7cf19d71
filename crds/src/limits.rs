//! Resource limits: integers, decimals or `unlimited`, compared by value.

use std::{collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

/// Limits by name, as declared or as a vendor reports them.
pub type Limits = BTreeMap<String, LimitValue>;

/// The value of one limit.
///
/// Equality is by value, as vendors write numbers in different ways: `50`, `"50"` and `50.0` are
/// equal, and `unlimited` equals only itself.
///
/// ```
/// # use fulfillment_crds::LimitValue;
/// let fifty = LimitValue::from(50);
/// assert_eq!(fifty, LimitValue::parse("50.0"));
/// assert_ne!(fifty, LimitValue::parse("unlimited"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LimitValue(
    // Canonical: no sign on zero, no leading zeros, no trailing zeros behind the point. Whatever
    // is no number stays as it is, so that a vendor's word shows up as drift and not as an error.
    String,
);

impl LimitValue {
    /// The word for a limit without a bound.
    pub const UNLIMITED: &'static str = "unlimited";

    /// The longest value that is kept, in characters.
    const LONGEST: usize = 64;

    /// Reads what a vendor or a user wrote.
    pub fn parse(text: &str) -> Self {
        let number = canonical(text).filter(|number| number.len() <= Self::LONGEST);
        Self(number.unwrap_or_else(|| text.trim().chars().take(Self::LONGEST).collect()))
    }

    /// The value as it is written into JSON: a number where it is an integer of 64 bits, else text.
    pub fn to_json(&self) -> Value {
        self.0
            .parse::<i64>()
            .map_or_else(|_| Value::from(self.0.clone()), Value::from)
    }

    /// Whether it is a number or `unlimited`, and no word of a vendor's.
    pub fn is_amount(&self) -> bool {
        self.0 == Self::UNLIMITED || canonical(&self.0).is_some()
    }

    /// Reads a JSON number or string; other JSON is no limit.
    pub fn from_json(value: &Value) -> Option<Self> {
        match value {
            Value::Number(n) => Some(Self::parse(&n.to_string())),
            Value::String(s) => Some(Self::parse(s)),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }
}

/// `[-]digits[.digits][e±dd]` in its shortest form without an exponent, if the text is a number.
fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    if whole.is_empty() || digits.len() > 40 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?;
    if !(-40..=40).contains(&point) {
        return None;
    }
    let digit = |i: i32| {
        usize::try_from(i)
            .ok()
            .and_then(|i| digits.as_bytes().get(i).copied())
            .map_or('0', char::from)
    };
    let length = i32::try_from(digits.len()).ok()?;
    let whole: String = (0..point).map(digit).collect();
    let fraction: String = (point.min(0)..length)
        .skip_while(|i| point > 0 && *i < point)
        .map(|i| if i < 0 { '0' } else { digit(i) })
        .collect();
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let fraction = fraction.trim_end_matches('0');
    let number = if fraction.is_empty() {
        whole.to_owned()
    } else {
        format!("{whole}.{fraction}")
    };
    Some(if negative && number != "0" {
        format!("-{number}")
    } else {
        number
    })
}

impl From<i64> for LimitValue {
    fn from(value: i64) -> Self {
        Self(value.to_string())
    }
}

impl fmt::Display for LimitValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for LimitValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for LimitValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Self::from_json(&value).ok_or_else(|| {
            de::Error::custom("a limit is an integer, a decimal in quotes or \"unlimited\"")
        })
    }
}

impl JsonSchema for LimitValue {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LimitValue".into()
    }

    fn inline_schema() -> bool {
        true
    }

    // By hand: a structural schema has no other way to say "integer, or text of this form".
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An integer, a decimal in quotes (\"1.5\") or unlimited.",
            "x-kubernetes-int-or-string": true,
            "minimum": 0,
            // A rule and not a pattern: a pattern's message would be the pattern.
            "x-kubernetes-validations": [{
                "rule": "type(self) == int || self.matches('^(unlimited|[0-9]{1,18}([.][0-9]{1,9})?)$')",
                "message": "a limit is a whole number from 0, a decimal in quotes such as \"1.5\", or unlimited"
            }],
            "maxLength": 32
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_compare_by_value() {
        for (text, canonical) in [
            ("50", "50"),
            ("50.0", "50"),
            ("050", "50"),
            ("1.50", "1.5"),
            ("0.0", "0"),
            ("-0", "0"),
            ("-1.0", "-1"),
            ("5e1", "50"),
            ("1.5E2", "150"),
            ("15e-1", "1.5"),
            ("1e-2", "0.01"),
            ("9223372036854775807", "9223372036854775807"),
            ("99999999999999999999.10", "99999999999999999999.1"),
            ("unlimited", "unlimited"),
            ("Unlimited", "Unlimited"),
            ("", ""),
            (".5", ".5"),
            ("1e999999999", "1e999999999"),
        ] {
            assert_eq!(LimitValue::parse(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn json_keeps_integers_as_numbers() {
        let limits: Limits = serde_json::from_str(
            r#"{"a": 50, "b": "50", "c": 50.0, "d": "1.5", "e": "unlimited"}"#,
        )
        .unwrap();
        assert_eq!(
            serde_json::to_string(&limits).unwrap(),
            r#"{"a":50,"b":50,"c":50,"d":"1.5","e":"unlimited"}"#
        );
    }

    #[test]
    fn other_json_is_refused() {
        assert!(serde_json::from_str::<Limits>(r#"{"a": [1]}"#).is_err());
        assert!(serde_json::from_str::<Limits>(r#"{"a": true}"#).is_err());
    }
}
