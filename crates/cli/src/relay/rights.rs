//! Who may subscribe to what, and publish what: lists of filters.

use anyhow::Context;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// What a client may do. In the file of `--token-file`, and in the answer of `--auth-url`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rights {
    /// What logs call the client.
    #[serde(default)]
    pub(crate) name: Option<String>,
    /// The filters that the client may subscribe to, and whatever they match.
    #[serde(default)]
    pub(crate) subscribe: Vec<String>,
    /// The filters whose topics the client may publish on.
    #[serde(default)]
    pub(crate) publish: Vec<String>,
}

impl Rights {
    /// Everything is allowed.
    pub(crate) fn all() -> Rights {
        Rights { name: None, subscribe: vec!["#".to_owned()], publish: vec!["#".to_owned()] }
    }

    /// Whether the client may subscribe to a topic or filter.
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        self.subscribe.iter().any(|allowed| covers(allowed, filter))
    }

    /// Whether the client may publish on a topic.
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        self.publish.iter().any(|allowed| covers(allowed, topic))
    }

    /// Checks the filters.
    ///
    /// # Errors
    /// The first that is none.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let mut filters = self.subscribe.iter().chain(&self.publish);
        match filters.find(|filter| !is_filter(filter)) {
            Some(wrong) => anyhow::bail!("{wrong:?} is no filter: a topic, or a topic and /#, or #"),
            None => Ok(()),
        }
    }
}

/// Whether everything that `filter` matches is matched by `allowed`, too.
///
/// `prices/#` matches `prices` and all below it (MQTT 3.1.1, section 4.7.1.2), and `#` everything.
pub(crate) fn covers(allowed: &str, filter: &str) -> bool {
    if allowed == "#" || allowed == filter {
        return true;
    }
    let Some(parent) = allowed.strip_suffix("/#") else { return false };
    filter.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether this is a topic, or a filter of topics: the shape alone, not its length.
pub(crate) fn is_filter(text: &str) -> bool {
    let topic = if text == "#" { return true } else { text.strip_suffix("/#").unwrap_or(text) };
    !topic.is_empty() && !topic.contains('#') && !topic.chars().any(char::is_control)
}

/// The rights of each token, by the digest of the token: the tokens themselves are not kept, and a
/// look-up takes no longer for one that begins like another.
#[derive(Debug, Default)]
pub(crate) struct Tokens(HashMap<[u8; 32], Arc<Rights>>);

/// A line of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    token: String,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    subscribe: Vec<String>,
    #[serde(default)]
    publish: Vec<String>,
}

impl Tokens {
    /// Reads the file of `--token-file`.
    ///
    /// # Errors
    /// What is wrong with it, without a token.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Tokens> {
        let read = || Tokens::parse(&std::fs::read_to_string(path)?);
        read().with_context(|| format!("cannot use the tokens of {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Tokens> {
        let mut tokens = HashMap::new();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            let (token, rights) = Tokens::entry(line).with_context(|| format!("line {number}"))?;
            anyhow::ensure!(tokens.insert(token, rights).is_none(), "line {number}: a token is there twice");
        }
        Ok(Tokens(tokens))
    }

    fn entry(line: &str) -> anyhow::Result<([u8; 32], Arc<Rights>)> {
        let Entry { token, name, subscribe, publish } = serde_json::from_str(line).map_err(without_token)?;
        anyhow::ensure!(is_token(&token), "`token` has characters that no Authorization field has");
        let rights = Rights { name, subscribe, publish };
        rights.check()?;
        Ok((digest(&token), Arc::new(rights)))
    }

    /// The rights of a token; `None` if it is unknown.
    pub(crate) fn rights(&self, token: &str) -> Option<Arc<Rights>> {
        self.0.get(&digest(token)).cloned()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

/// The error without a string of the line, which may be a token.
fn without_token(error: serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    if text.starts_with("invalid type: string") {
        anyhow::anyhow!("a string where an object or a list belongs, at column {}", error.column())
    } else {
        error.into()
    }
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Whether this is a bearer token (RFC 6750, section 2.1): `b64token`.
pub(crate) fn is_token(text: &str) -> bool {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    let without_padding = text.trim_end_matches('=');
    !without_padding.is_empty() && without_padding.bytes().all(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_covers_what_is_below_it_and_nothing_beside_it() {
        for (allowed, filter) in [
            ("#", "a"),
            ("#", "#"),
            ("#", "a/#"),
            ("a", "a"),
            ("a/#", "a"),
            ("a/#", "a/b"),
            ("a/#", "a/#"),
            ("a/#", "a/b/#"),
            ("a/#", "a/"),
        ] {
            assert!(covers(allowed, filter), "{allowed} {filter}");
        }
        for (allowed, filter) in [
            ("a", "b"),
            ("a", "a/b"),
            ("a", "a/#"),
            ("a", "#"),
            ("a/#", "#"),
            ("a/#", "ab"),
            ("a/#", "ab/c"),
            ("a/b/#", "a/#"),
            ("a/b/#", "a"),
        ] {
            assert!(!covers(allowed, filter), "{allowed} {filter}");
        }
    }

    #[test]
    fn a_filter_has_its_wildcard_at_the_end() {
        for right in ["#", "a", "a/b", "a/#", "/", "a b", "\u{e4}/#"] {
            assert!(is_filter(right), "{right}");
        }
        for wrong in ["", "/#", "a#", "a/#/b", "#/a", "a/##", "a\n"] {
            assert!(!is_filter(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn rights_are_those_of_the_token_and_no_others() {
        let tokens = Tokens::parse(concat!(
            "# of the shop\n\n",
            r#"{"token":"s3cret==","name":"ann","subscribe":["prices/#","chat"],"publish":["chat"]}"#,
            "\n  ",
            r#"{"token":"reader","subscribe":["prices/EUR"]}"#,
            "\n",
        ))
        .expect("tokens");
        assert_eq!(tokens.len(), 2);
        let ann = tokens.rights("s3cret==").expect("ann");
        assert_eq!(ann.name.as_deref(), Some("ann"));
        assert!(ann.may_subscribe("prices/#") && ann.may_subscribe("chat") && !ann.may_subscribe("#"));
        assert!(ann.may_publish("chat") && !ann.may_publish("prices/EUR"));
        let reader = tokens.rights("reader").expect("the reader");
        assert!(reader.may_subscribe("prices/EUR") && !reader.may_subscribe("prices/#"));
        assert!(!reader.may_publish("prices/EUR"));
        for unknown in ["", "s3cret=", "s3cret", "READER"] {
            assert!(tokens.rights(unknown).is_none(), "{unknown}");
        }
    }

    #[test]
    fn a_wrong_line_is_named_and_its_token_is_not() {
        for (line, part) in [
            ("{", "EOF"),
            (r#"{"name":"ann"}"#, "`token`"),
            (r#""s3cret""#, "a string where"),
            (r#"{"token":"s3cret","publish":"chat"}"#, "a string where"),
            (r#"{"token":"s3cret","publish":1}"#, "sequence"),
            (r#"{"token":"s3cret","subscribe":["a/#/b"]}"#, "a/#/b"),
            (r#"{"token":"s3cret","suscribe":[]}"#, "suscribe"),
            (r#"{"token":"s3cret öl"}"#, "Authorization"),
            ("{\"token\":\"s3cret\"}\n{\"token\":\"s3cret\"}", "twice"),
        ] {
            let error = format!("{:#}", Tokens::parse(&format!("\n{line}")).expect_err(line));
            assert!(error.starts_with("line ") && error.contains(part), "{error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
