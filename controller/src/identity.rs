//! Who a tenant belongs to: names derived under the installation key, so that the same YAML in a
//! rebuilt cluster finds the same tenants and nobody can name another's.

use std::collections::BTreeMap;

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha2::Sha256;

/// The key under which names and hashes are derived. Made once; losing it loses the tenants' names.
#[derive(Clone, Debug)]
pub struct InstallationKey(SecretSlice<u8>);

/// Shorter keys than this are refused, in bytes.
pub const MIN_KEY_BYTES: usize = 16;

impl InstallationKey {
    /// Takes the key's bytes; `None` if there are too few.
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= MIN_KEY_BYTES).then(|| Self(bytes.into()))
    }

    /// A keyed hash over parts, so framed that no two lists of parts give the same input.
    fn hash(&self, purpose: &str, parts: &[&[u8]]) -> Vec<u8> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).expect("any length");
        for part in std::iter::once(&purpose.as_bytes()).chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }

    /// The externalId of a Subscription: 130 bits of a keyed hash of namespace and name.
    pub fn external_id(&self, namespace: &str, name: &str) -> String {
        let hash = self.hash("externalId", &[namespace.as_bytes(), name.as_bytes()]);
        format!("k1-{}", short(&hash))
    }

    /// What makes the URL of a Subscription's callbacks one that only we and its vendor know.
    pub fn callback_token(&self, uid: &str) -> String {
        short(&self.hash("callback", &[uid.as_bytes()]))
    }

    /// Whether a token is that of this Subscription, in a time that tells nothing.
    pub fn is_callback_token(&self, uid: &str, token: &str) -> bool {
        let expected = self.callback_token(uid);
        let differences = expected
            .bytes()
            .zip(token.bytes())
            .fold(0, |all, (one, other)| all | (one ^ other));
        expected.len() == token.len() && differences == 0
    }

    /// A hash of parameters that tells nothing about them to who does not have the key; `None`
    /// where there are none.
    pub fn inputs_hash(&self, parameters: &BTreeMap<String, SecretString>) -> Option<String> {
        if parameters.is_empty() {
            return None;
        }
        let parts: Vec<&[u8]> = parameters
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value.expose_secret().as_bytes()])
            .collect();
        Some(short(&self.hash("inputs", &parts)))
    }
}

/// 130 bits of a hash, as text.
fn short(hash: &[u8]) -> String {
    let text = BASE32_NOPAD.encode(hash).to_lowercase();
    text.get(..26).unwrap_or(&text).to_owned()
}

/// The externalId that follows `current`: `base`, `base-2`, `base-3` and so on.
pub fn next(base: &str, current: &str) -> String {
    if let Some(counter) = counter(base, current) {
        return format!("{base}-{}", counter + 1);
    }
    // Another key made the base: what is recorded wins over what we would derive.
    match current
        .rsplit_once('-')
        .map(|(base, n)| (base, n.parse::<u32>()))
    {
        Some((base, Ok(n))) if n >= 2 => format!("{base}-{}", n.saturating_add(1)),
        Some(_) | None => format!("{current}-2"),
    }
}

fn counter(base: &str, current: &str) -> Option<u32> {
    match current.strip_prefix(base)? {
        "" => Some(1),
        rest => rest.strip_prefix('-')?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> InstallationKey {
        InstallationKey::new(vec![byte; 32]).unwrap()
    }

    #[test]
    fn names_are_stable_and_keyed() {
        let id = key(1).external_id("team-a", "contoso-mail");
        assert_eq!(id, key(1).external_id("team-a", "contoso-mail"));
        assert_ne!(id, key(2).external_id("team-a", "contoso-mail"));
        assert_ne!(id, key(1).external_id("team-a-contoso", "mail"));
        assert_ne!(
            key(1).external_id("a", "bc"),
            key(1).external_id("ab", "c"),
            "parts are framed"
        );
        assert!(id.starts_with("k1-") && id.len() == 29, "{id}");
    }

    #[test]
    fn counters_follow_each_other() {
        assert_eq!(next("k1-x", "k1-x"), "k1-x-2");
        assert_eq!(next("k1-x", "k1-x-2"), "k1-x-3");
        assert_eq!(next("AS-7957-9623", "AS-7957-9623"), "AS-7957-9623-2");
        assert_eq!(next("k1-new", "k1-old"), "k1-old-2");
        assert_eq!(next("k1-new", "k1-old-2"), "k1-old-3");
    }

    #[test]
    fn short_keys_are_refused_and_none_is_printed() {
        assert!(InstallationKey::new(vec![7; MIN_KEY_BYTES - 1]).is_none());
        assert!(!format!("{:?}", key(7)).contains('7'));
    }

    #[test]
    fn inputs_are_hashed_by_name_and_value() {
        let of = |pairs: &[(&str, &str)]| {
            key(1).inputs_hash(
                &pairs
                    .iter()
                    .map(|(n, v)| ((*n).to_owned(), SecretString::from(*v)))
                    .collect(),
            )
        };
        assert_eq!(of(&[]), None);
        assert_ne!(of(&[("a", "b")]), of(&[("a", "c")]));
        assert_ne!(of(&[("a", "bc")]), of(&[("ab", "c")]));
        assert_eq!(of(&[("a", "b"), ("c", "d")]), of(&[("c", "d"), ("a", "b")]));
    }
}
