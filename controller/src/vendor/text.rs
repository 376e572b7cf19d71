//! Vendor text before it reaches status, events or logs: one line, short, and without the secrets
//! that were sent in the call.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};

/// The longest vendor text that is shown, in characters.
pub const SHOWN: usize = 256;

/// What stands where a secret stood.
const MASK: &str = "[redacted]";

/// The secrets sent in one call, to be masked in whatever comes back.
#[derive(Clone, Debug, Default)]
pub struct Secrets {
    values: Vec<SecretString>,
    /// Names that stand in specs for all to see: a secret inside one is no news, and masked it would
    /// be another name.
    plain: BTreeSet<String>,
}

impl Secrets {
    /// Secrets shorter than this are not searched for: masking them would blank every text.
    const SHORTEST: usize = 3;

    /// Takes the values, longest first, so that a secret inside another leaves no rest. One that ends
    /// in a line break, as many a Secret made from a file does, is masked without it too.
    pub fn new(values: impl IntoIterator<Item = SecretString>) -> Self {
        let mut values: Vec<SecretString> = values
            .into_iter()
            .flat_map(|value| {
                let bare = value.expose_secret().trim();
                let bare = (bare != value.expose_secret()).then(|| SecretString::from(bare));
                bare.into_iter().chain([value])
            })
            .filter(|value| value.expose_secret().len() >= Self::SHORTEST)
            .collect();
        values.sort_by_key(|value| std::cmp::Reverse(value.expose_secret().len()));
        Self {
            values,
            plain: BTreeSet::new(),
        }
    }

    /// Leaves these names as they are.
    pub fn besides(mut self, plain: impl IntoIterator<Item = String>) -> Self {
        self.plain.extend(plain);
        self
    }

    /// The text without control characters and secrets, cut to `max` characters.
    ///
    /// Masked before it is cleaned and after, as a secret may contain what cleaning removes, and
    /// cleaning may put one together.
    pub fn clean(&self, text: &str, max: usize) -> String {
        if self.plain.contains(text) {
            return text.to_owned();
        }
        let line = self.printable(text, |c| if c.is_whitespace() { ' ' } else { c });
        let line = line.trim();
        if line.chars().count() <= max {
            return line.to_owned();
        }
        let cut: String = line.chars().take(max.saturating_sub(1)).collect();
        format!("{cut}…")
    }

    /// The same for a value that is of use only whole: its line breaks stay, and what is longer than
    /// `max` is none.
    pub fn whole(&self, text: &str, max: usize) -> Option<String> {
        let value = self.printable(text, |c| match c {
            '\n' | '\r' => c,
            c if c.is_whitespace() => ' ',
            c => c,
        });
        (value.chars().count() <= max).then_some(value)
    }

    /// Whether something in a cleaned text was masked.
    pub fn masked(text: &str) -> bool {
        text.contains(MASK)
    }

    fn printable(&self, text: &str, space: impl Fn(char) -> char) -> String {
        let masked = self.mask(text.to_owned());
        let line: String = masked
            .chars()
            .map(space)
            .filter(|c| matches!(c, '\n' | '\r') || (!c.is_control() && !is_format(*c)))
            .collect();
        self.mask(line)
    }

    fn mask(&self, mut text: String) -> String {
        for secret in &self.values {
            let secret = secret.expose_secret();
            if text.contains(secret) {
                text = text.replace(secret, MASK);
            }
            // The same value as JSON writes it.
            let quoted = serde_json::Value::from(secret).to_string();
            let escaped = quoted.trim_matches('"');
            if escaped != secret && text.contains(escaped) {
                text = text.replace(escaped, MASK);
            }
        }
        text
    }
}

/// Characters that change how a terminal shows the others.
fn is_format(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_one_short_clean_line() {
        let none = Secrets::default();
        assert_eq!(
            none.clean("a\nb\r\n\tc\u{1b}[31m\u{0}d\u{202e}", 99),
            "a b   c[31md"
        );
        assert_eq!(
            none.clean(&"x".repeat(500), 10),
            format!("{}…", "x".repeat(9))
        );
        assert_eq!(none.clean("ééé", 3), "ééé");
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let secrets = Secrets::new(
            ["s3cr3t", "s3cr3t-longer", "a\"b\nc", "ab", "from-a-file\n"].map(SecretString::from),
        );
        assert_eq!(secrets.clean("no from-a-file!", 99), "no [redacted]!");
        assert_eq!(secrets.clean("bad s3cr3t!", 99), "bad [redacted]!");
        assert_eq!(secrets.clean("s3cr3t-longer", 99), "[redacted]");
        assert_eq!(
            secrets.clean(r#"{"p":"a\"b\nc"}"#, 99),
            r#"{"p":"[redacted]"}"#
        );
        assert_eq!(secrets.clean("s3c\u{0}r3t", 99), "[redacted]");
        assert_eq!(
            secrets.clean("grab", 99),
            "grab",
            "too short to be told from text"
        );
        assert!(!format!("{secrets:?}").contains("s3cr3t"));
    }
}
