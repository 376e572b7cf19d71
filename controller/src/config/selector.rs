//! A label selector as `kubectl -l` takes it, checked before the API server is asked with it.

/// The selector, where it is one; an empty one selects everything.
pub(super) fn selector(text: &str) -> Result<String, String> {
    let good = text.trim().is_empty() || requirements(text).all(is_requirement);
    if good {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{text:?} is no label selector: write tier=gold, tier!=gold, \"tier in (gold,silver)\", \"tier notin (gold)\", tier or !tier, with commas between them"
    ))
}

/// What stands between commas, but those in parentheses.
fn requirements(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.split(move |c| {
        inside = (inside || c == '(') && c != ')';
        c == ',' && !inside
    })
    .map(str::trim)
}

fn is_requirement(text: &str) -> bool {
    if let Some(absent) = text.strip_prefix('!') {
        return is_key(absent.trim());
    }
    let end = text.find(|c: char| c.is_whitespace() || "=!<>(".contains(c));
    let (key, rest) = text.split_at(end.unwrap_or(text.len()));
    is_key(key) && (rest.is_empty() || is_condition(rest.trim()))
}

/// What stands behind a key.
fn is_condition(text: &str) -> bool {
    let of = |operator: &str| text.strip_prefix(operator).map(str::trim);
    if let Some(value) = of("==").or(of("!=")).or(of("=")) {
        return is_value(value);
    }
    if let Some(number) = of("<").or(of(">")) {
        return number.parse::<i64>().is_ok();
    }
    let list = of("notin").or(of("in"));
    let list = list.and_then(|list| list.strip_prefix('(')?.strip_suffix(')'));
    list.is_some_and(|list| list.split(',').all(|value| is_value(value.trim())))
}

/// A label's name, perhaps with a domain before it.
fn is_key(text: &str) -> bool {
    let (domain, name) = text.split_once('/').unwrap_or(("x", text));
    let part = |part: &str| !part.contains('_') && is_name(part);
    domain.len() <= 253 && domain.split('.').all(part) && name.len() <= 63 && is_name(name)
}

fn is_value(text: &str) -> bool {
    text.is_empty() || (text.len() <= 63 && is_name(text))
}

fn is_name(text: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric();
    let bytes = text.as_bytes();
    let ends = [bytes.first(), bytes.last()];
    ends.iter().all(|end| end.is_some_and(|c| plain(*c)))
        && bytes.iter().all(|c| plain(*c) || b"-_.".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_api_server_is_taken() {
        for good in [
            "",
            "tier=gold",
            "tier==gold,region!=eu",
            " tier = gold , region ",
            "tier=",
            "tier in (gold,silver)",
            "tier in(gold, silver),region notin ( eu )",
            "tier in ()",
            "!tier",
            "! tier",
            "seats>5,seats<10",
            "app.kubernetes.io/part-of=fulfillment,Tier_1=v1.2-x",
            "in=in",
            "notin in (in)",
        ] {
            assert_eq!(selector(good).as_deref(), Ok(good));
        }
    }

    #[test]
    fn what_is_none_is_refused_with_the_form() {
        let long = format!("tier={}", "x".repeat(64));
        for bad in [
            "tier=gold,",
            ",tier",
            "tier gold",
            "tier=gold silver",
            "tier in gold",
            "tier in (gold",
            "tier (gold)",
            "tier=gold)",
            "tier=-gold",
            "-tier",
            "a/b/c=d",
            "exa_mple.com/x",
            "/x",
            "x/",
            "seats>many",
            "tier=~gold",
            "!tier=gold",
            "tier===gold",
            &long,
        ] {
            let why = selector(bad).unwrap_err();
            assert!(why.contains("tier in (gold,silver)"), "{bad}: {why}");
        }
    }
}
