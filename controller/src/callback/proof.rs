//! Whether a callback comes from the vendor: Standard Webhooks signatures, or a JWT as Connect sends.
//! Pure; the time is given.

use data_encoding::{BASE64, BASE64URL_NOPAD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use sha2::Sha256;

/// How far a vendor's clock may be from ours, in seconds.
const SKEW: i64 = 300;

/// What a callback lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lacking {
    /// There is nothing to verify.
    #[error("the callback is not signed: send webhook-signature or a bearer JWT (HS256)")]
    Signature,
    /// It cannot be read.
    #[error("the signature cannot be read")]
    Form,
    /// No key of ours made it.
    #[error("the signature is not by the connection's callback secret")]
    Key,
    /// It is too old or too new.
    #[error("the callback's time is more than five minutes from ours")]
    Time,
}

/// Verifies a callback with any of the keys in `secret`, one a line, so that a new one can be added
/// before the old one goes. `now` is in seconds since 1970.
///
/// # Errors
///
/// What it lacks.
pub fn verify(
    secret: &SecretString,
    headers: &HeaderMap,
    body: &[u8],
    now: i64,
) -> Result<(), Lacking> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(signatures) = text("webhook-signature") {
        let (Some(id), Some(time)) = (text("webhook-id"), text("webhook-timestamp")) else {
            return Err(Lacking::Form);
        };
        return standard(secret, id, time, signatures, body, now);
    }
    let bearer = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "));
    match bearer {
        Some(token) => jwt(secret, token.trim(), now),
        None => Err(Lacking::Signature),
    }
}

/// Standard Webhooks: `v1,<base64>` over `id.timestamp.body`; several are separated by spaces.
fn standard(
    secret: &SecretString,
    id: &str,
    time: &str,
    signatures: &str,
    body: &[u8],
    now: i64,
) -> Result<(), Lacking> {
    let sent: i64 = time.parse().map_err(|_| Lacking::Form)?;
    let given: Vec<Vec<u8>> = signatures
        .split(' ')
        .filter_map(|one| BASE64.decode(one.strip_prefix("v1,")?.as_bytes()).ok())
        .take(8)
        .collect();
    if given.is_empty() {
        return Err(Lacking::Form);
    }
    let made = keys(secret).any(|key| {
        let mut mac = begin(&key);
        for part in [id.as_bytes(), b".", time.as_bytes(), b".", body] {
            mac.update(part);
        }
        given
            .iter()
            .any(|tag| mac.clone().verify_slice(tag).is_ok())
    });
    if !made {
        return Err(Lacking::Key);
    }
    // Last, so that who has no key learns nothing of our clock.
    if now.abs_diff(sent) > SKEW.unsigned_abs() {
        return Err(Lacking::Time);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
}

/// A JWT by HS256 and nothing else: `none` and the public-key algorithms are not for shared keys.
fn jwt(secret: &SecretString, token: &str, now: i64) -> Result<(), Lacking> {
    let (signed, tag) = token.rsplit_once('.').ok_or(Lacking::Form)?;
    let (header, claims) = signed.split_once('.').ok_or(Lacking::Form)?;
    let part = |text: &str| {
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| Lacking::Form)
    };
    let header: Header = serde_json::from_slice(&part(header)?).map_err(|_| Lacking::Form)?;
    if header.alg != "HS256" {
        return Err(Lacking::Form);
    }
    let tag = part(tag)?;
    let made = keys(secret).any(|key| {
        let mut mac = begin(&key);
        mac.update(signed.as_bytes());
        mac.verify_slice(&tag).is_ok()
    });
    if !made {
        return Err(Lacking::Key);
    }
    let claims: Claims = serde_json::from_slice(&part(claims)?).map_err(|_| Lacking::Form)?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 are exact in 53 bits"
    )]
    let (now, skew) = (now as f64, SKEW as f64);
    let over = claims.exp.is_some_and(|exp| exp + skew < now);
    let early = [claims.nbf, claims.iat]
        .into_iter()
        .flatten()
        .any(|from| from - skew > now);
    if over || early {
        return Err(Lacking::Time);
    }
    Ok(())
}

/// The keys, one a line; `whsec_` is how Standard Webhooks writes one in base64. An empty one is none:
/// anybody could sign with it.
fn keys(secret: &SecretString) -> impl Iterator<Item = Vec<u8>> {
    let lines = secret.expose_secret().lines().map(str::trim);
    let keys = lines.map(|line| {
        line.strip_prefix("whsec_")
            .and_then(|key| BASE64.decode(key.as_bytes()).ok())
            .unwrap_or_else(|| line.as_bytes().to_vec())
    });
    keys.filter(|key| !key.is_empty())
}

fn begin(key: &[u8]) -> Hmac<Sha256> {
    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    Hmac::<Sha256>::new_from_slice(key).expect("any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn tag(key: &[u8], signed: &[u8]) -> Vec<u8> {
        let mut mac = begin(key);
        mac.update(signed);
        mac.finalize().into_bytes().to_vec()
    }

    fn webhook(key: &[u8], id: &str, time: i64, body: &str) -> HeaderMap {
        let signed = format!("{id}.{time}.{body}");
        let tag = BASE64.encode(&tag(key, signed.as_bytes()));
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", time.to_string().parse().unwrap());
        headers.insert(
            "webhook-signature",
            format!("v1a,x v1,{tag}").parse().unwrap(),
        );
        headers
    }

    fn bearer(key: &[u8], header: &str, claims: &str) -> HeaderMap {
        let part = |text: &str| BASE64URL_NOPAD.encode(text.as_bytes());
        let signed = format!("{}.{}", part(header), part(claims));
        let tag = BASE64URL_NOPAD.encode(&tag(key, signed.as_bytes()));
        let mut headers = HeaderMap::new();
        headers.insert(
            AUTHORIZATION,
            format!("Bearer {signed}.{tag}").parse().unwrap(),
        );
        headers
    }

    #[test]
    fn a_webhook_is_taken_with_either_of_two_keys_and_with_no_other() {
        let secret = SecretString::from("whsec_bmV3LWtleQ==\nold-key\n");
        let of = |headers: &HeaderMap, body: &str| verify(&secret, headers, body.as_bytes(), NOW);
        for key in [&b"new-key"[..], b"old-key"] {
            assert_eq!(of(&webhook(key, "m1", NOW, "{}"), "{}"), Ok(()));
        }
        assert_eq!(
            of(&webhook(b"else", "m1", NOW, "{}"), "{}"),
            Err(Lacking::Key)
        );
        assert_eq!(
            of(&webhook(b"old-key", "m1", NOW, "{}"), "{} "),
            Err(Lacking::Key)
        );
        for time in [NOW - SKEW - 1, NOW + SKEW + 1] {
            assert_eq!(
                of(&webhook(b"old-key", "m1", time, ""), ""),
                Err(Lacking::Time)
            );
        }
        let mut moved = webhook(b"old-key", "m1", NOW, "");
        moved.insert("webhook-id", "m2".parse().unwrap());
        assert_eq!(of(&moved, ""), Err(Lacking::Key));
        moved.remove("webhook-id");
        assert_eq!(of(&moved, ""), Err(Lacking::Form));
    }

    #[test]
    fn an_empty_line_is_no_key() {
        // Anybody can sign with nothing.
        for secret in ["whsec_", "", "\n \n", "whsec_\nkey\nwhsec_ \n"] {
            let of = |headers: &HeaderMap| verify(&SecretString::from(secret), headers, b"", NOW);
            assert_eq!(
                of(&webhook(b"", "m1", NOW, "")),
                Err(Lacking::Key),
                "{secret:?}"
            );
            let forged = bearer(b"", r#"{"alg":"HS256"}"#, "{}");
            assert_eq!(of(&forged), Err(Lacking::Key), "{secret:?}");
        }
    }

    #[test]
    fn a_jwt_is_taken_by_hs256_alone_and_in_its_time() {
        let secret = SecretString::from("key");
        let of = |headers: &HeaderMap| verify(&secret, headers, b"", NOW);
        let hs256 = r#"{"alg":"HS256","typ":"JWT"}"#;
        let live = format!(r#"{{"exp":{},"iat":{NOW}}}"#, NOW + 60);
        assert_eq!(of(&bearer(b"key", hs256, &live)), Ok(()));
        assert_eq!(of(&bearer(b"key", hs256, "{}")), Ok(()));
        assert_eq!(of(&bearer(b"yek", hs256, &live)), Err(Lacking::Key));
        assert_eq!(
            of(&bearer(b"key", r#"{"alg":"none"}"#, &live)),
            Err(Lacking::Form)
        );
        assert_eq!(
            of(&bearer(b"key", r#"{"alg":"HS512"}"#, &live)),
            Err(Lacking::Form)
        );
        let over = format!(r#"{{"exp":{}}}"#, NOW - SKEW - 1);
        assert_eq!(of(&bearer(b"key", hs256, &over)), Err(Lacking::Time));
        let early = format!(r#"{{"nbf":{}}}"#, NOW + SKEW + 1);
        assert_eq!(of(&bearer(b"key", hs256, &early)), Err(Lacking::Time));
        let unsigned = format!("Bearer {}..", BASE64URL_NOPAD.encode(b"{\"alg\":\"none\"}"));
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, unsigned.parse().unwrap());
        assert_eq!(of(&headers), Err(Lacking::Form));
        assert_eq!(of(&HeaderMap::new()), Err(Lacking::Signature));
    }
}
