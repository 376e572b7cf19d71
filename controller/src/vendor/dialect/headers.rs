//! What expressions see of an answer's headers.

use http::HeaderMap;
use serde_json::{Map, Value};

/// So many are seen.
const MOST: usize = 64;
/// The longest value that is seen, in bytes.
const LONGEST: usize = 1024;
/// What is between the two ends of a connection, and no word about a tenant.
const HIDDEN: [&str; 8] = [
    "authentication-info",
    "authorization",
    "cookie",
    "proxy-authenticate",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "www-authenticate",
];

/// The headers of an answer by their names in lower case; one that is there more than once is joined
/// by commas.
pub(super) fn seen(headers: &HeaderMap) -> Value {
    let mut seen = Map::new();
    let names = headers.keys();
    for name in names.filter(|name| !HIDDEN.contains(&name.as_str())) {
        let values = headers.get_all(name).iter().map(|value| value.to_str());
        let Ok(values) = values.collect::<Result<Vec<_>, _>>() else {
            continue;
        };
        let value = values.join(", ");
        if seen.len() < MOST && value.len() <= LONGEST {
            seen.insert(name.as_str().to_owned(), value.into());
        }
    }
    Value::Object(seen)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_secret_long_or_no_text_is_not_seen() {
        let mut headers = HeaderMap::new();
        let long = "x".repeat(LONGEST + 1);
        for (name, value) in [
            ("ETag", &b"\"v3\""[..]),
            ("Link", b"a"),
            ("Link", b"b"),
            ("Set-Cookie", b"session"),
            ("WWW-Authenticate", b"Basic"),
            ("Authentication-Info", b"next"),
            ("X-Bytes", b"\xff"),
            ("X-Long", long.as_bytes()),
        ] {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value).unwrap());
        }
        assert_eq!(seen(&headers), json!({"etag": "\"v3\"", "link": "a, b"}));
        for n in 0..2 * MOST {
            let name = HeaderName::try_from(format!("x-{n}")).unwrap();
            headers.insert(name, HeaderValue::from_static("1"));
        }
        assert_eq!(seen(&headers).as_object().unwrap().len(), MOST);
    }
}
