//! The forms a parameter's value can have: e-mail, phone, address and so on. Pure, and no stricter
//! than what is certain: the vendor has the last word.

use std::{cmp::Ordering, collections::BTreeMap};

use fulfillment_crds::LimitValue;
use serde_json::{Map, Value};

/// The parts of a value that is a JSON object.
pub fn parts(value: &str) -> Option<Map<String, Value>> {
    serde_json::from_str(value).ok()
}

/// Whether one number is less than another; what is no number is less than nothing.
pub fn less(a: &LimitValue, b: &LimitValue) -> bool {
    let (a, b) = (a.to_string(), b.to_string());
    match (number(&a), number(&b)) {
        (Some(a), Some(b)) => compare(a, b) == Ordering::Less,
        (Some(_) | None, _) => false,
    }
}

/// Sign, whole part and fraction of a canonical number.
fn number(text: &str) -> Option<(bool, &str, &str)> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    (!whole.is_empty() && digits(whole) && digits(fraction)).then_some((negative, whole, fraction))
}

fn compare(a: (bool, &str, &str), b: (bool, &str, &str)) -> Ordering {
    // Canonical numbers have no leading zeros: the longer whole part is the greater.
    let magnitude = (a.1.len(), a.1, a.2.trim_end_matches('0')).cmp(&(
        b.1.len(),
        b.1,
        b.2.trim_end_matches('0'),
    ));
    match (a.0, b.0) {
        (false, false) => magnitude,
        (true, true) => magnitude.reverse(),
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
    }
}

/// `local@domain`.
pub fn is_email(value: &str) -> bool {
    value.rsplit_once('@').is_some_and(|(local, domain)| {
        (1..=64).contains(&local.len())
            && !local
                .chars()
                .any(|c| c.is_whitespace() || c.is_control() || c == '@')
            && is_domain(domain)
    })
}

/// One label of a domain name.
pub fn is_label(value: &str) -> bool {
    (1..=63).contains(&value.len())
        && !value.starts_with('-')
        && !value.ends_with('-')
        && value
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// At least two labels.
pub fn is_domain(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    value.len() <= 253 && lower.contains('.') && lower.split('.').all(is_label)
}

/// An international or national number, written as people do.
pub fn is_phone(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    let rest = value.strip_prefix('+').unwrap_or(value);
    (5..=15).contains(&digits)
        && rest
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, ' ' | '-' | '.' | '(' | ')' | '/'))
}

/// An absolute http or https URL.
pub fn is_url(value: &str) -> bool {
    reqwest::Url::parse(value)
        .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// What is wrong with an address, or nothing.
pub fn address(parts: &Map<String, Value>) -> Option<String> {
    const KNOWN: [&str; 6] = [
        "address_line1",
        "address_line2",
        "city",
        "state",
        "postal_code",
        "country",
    ];
    let said = texts(parts);
    let country = said.get("country").copied().unwrap_or_default();
    unknown(&said, &KNOWN)
        .or_else(|| missing(&said, &["address_line1", "city", "country"]))
        .or_else(|| {
            let code = country.len() == 2 && country.bytes().all(|b| b.is_ascii_uppercase());
            (!code).then(|| "country must be two capital letters (ISO 3166), for example US".into())
        })
}

/// What is wrong with a phone number in parts, or nothing.
pub fn phone(parts: &Map<String, Value>) -> Option<String> {
    const KNOWN: [&str; 4] = ["country_code", "area_code", "phone_number", "extension"];
    let said = texts(parts);
    unknown(&said, &KNOWN)
        .or_else(|| missing(&said, &["phone_number"]))
        .or_else(|| {
            let number = |name: &str| said.get(name).copied().unwrap_or_default();
            let whole = format!(
                "{}{}{}",
                number("country_code"),
                number("area_code"),
                number("phone_number")
            );
            (!is_phone(&whole)).then(|| "is not a phone number".into())
        })
}

fn texts(parts: &Map<String, Value>) -> BTreeMap<&str, &str> {
    parts
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
        .collect()
}

fn unknown(said: &BTreeMap<&str, &str>, known: &[&str]) -> Option<String> {
    let foreign = said.keys().find(|name| !known.contains(name))?;
    Some(format!(
        "has no part {foreign}: it has {}",
        known.join(", ")
    ))
}

fn missing(said: &BTreeMap<&str, &str>, needed: &[&str]) -> Option<String> {
    let lacks = |name: &&&str| said.get(**name).is_none_or(|value| value.trim().is_empty());
    let missing = needed.iter().find(lacks)?;
    Some(format!("{missing} is required"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_compared_exactly() {
        let less = |a: &str, b: &str| less(&LimitValue::parse(a), &LimitValue::parse(b));
        for (a, b) in [
            ("1", "2"),
            ("9", "10"),
            ("1.5", "1.50001"),
            ("0.09", "0.1"),
            ("-1", "0"),
            ("-2", "-1"),
            ("9223372036854775807", "9223372036854775808"),
        ] {
            assert!(less(a, b) && !less(b, a) && !less(a, a), "{a} {b}");
        }
        assert!(!less("unlimited", "1") && !less("1", "unlimited"));
    }

    #[test]
    fn forms_are_recognized() {
        for good in ["it@contoso.example", "a.b+c@x-y.co"] {
            assert!(is_email(good), "{good}");
        }
        for bad in ["", "it", "@x.de", "a b@x.de", "a@x", "a@b@c.de", "a@-x.de"] {
            assert!(!is_email(bad), "{bad}");
        }
        for good in ["+1 201 555 0123", "(0201) 555-0123", "12345"] {
            assert!(is_phone(good), "{good}");
        }
        for bad in ["", "call me", "+", "1234", "1234567890123456", "12+34567"] {
            assert!(!is_phone(bad), "{bad}");
        }
        assert!(is_label("my-site1") && !is_label("My") && !is_label("-a") && !is_label("a.b"));
        assert!(is_domain("Contoso.example") && !is_domain("localhost") && !is_domain("a..b"));
        assert!(is_url("https://x.example/p") && !is_url("ftp://x") && !is_url("x.example"));
    }

    #[test]
    fn what_has_parts_needs_the_right_ones() {
        let said = |check: fn(&Map<String, Value>) -> Option<String>, value: &str| {
            check(&parts(value).unwrap_or_default())
        };
        let good = r#"{"address_line1": "1 Main St", "city": "Springfield", "country": "US"}"#;
        assert_eq!(said(address, good), None);
        for (bad, why) in [
            (
                r#"{"city": "x", "country": "US"}"#,
                "address_line1 is required",
            ),
            (
                r#"{"address_line1": "1", "city": "x", "country": "usa"}"#,
                "two capital letters",
            ),
            (r#"{"street": "1"}"#, "has no part street"),
        ] {
            let said = said(address, bad).unwrap_or_default();
            assert!(said.contains(why), "{said}");
        }
        let good = r#"{"country_code": "+1", "area_code": "201", "phone_number": "5550123"}"#;
        assert_eq!(said(phone, good), None);
        for bad in [
            r#"{"country_code": "+1"}"#,
            r#"{"phone_number": "x"}"#,
            "{}",
        ] {
            assert!(said(phone, bad).is_some(), "{bad}");
        }
    }
}
