//! Names of topics, and filters: what a connection subscribes to.
//!
//! A topic is text whose levels are separated by `/`. A filter is a topic, or ends with the level
//! `#`: `prices/#` matches `prices`, `prices/EUR` and `prices/EUR/1`, as in MQTT 3.1.1,
//! section 4.7.1.2. `#` alone matches every topic. Nothing else has a meaning; names are compared
//! byte by byte.

use std::fmt;

/// The rule that a topic or a filter breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// The name is empty.
    Empty,
    /// The name is longer than [`TopicLimits::name_len`](super::TopicLimits::name_len).
    TooLong {
        /// The limit, in bytes of UTF-8.
        limit: usize,
    },
    /// The name contains a control character.
    Control,
    /// `#` is not a whole last level, or stands in the name of a topic.
    Prefix,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("the name is empty"),
            NameError::TooLong { limit } => {
                write!(f, "the name is longer than {limit} bytes (TopicLimits::name_len)")
            }
            NameError::Control => f.write_str("the name contains a control character"),
            NameError::Prefix => f.write_str("`#` is allowed as the last level of a filter only"),
        }
    }
}

impl std::error::Error for NameError {}

/// A filter that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "MQTT's `+` will not come: it costs every publisher")]
pub enum Filter<'a> {
    /// One topic.
    Topic(&'a str),
    /// A topic and all below it: `prices` for `prices/#`.
    Below(&'a str),
    /// Every topic: `#`.
    All,
}

impl<'a> Filter<'a> {
    /// Reads a filter of at most `limit` bytes.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn parse(filter: &'a str, limit: usize) -> Result<Self, NameError> {
        check(filter, limit)?;
        let parsed = Self::read(filter);
        match parsed {
            Filter::Topic(name) | Filter::Below(name) if name.contains('#') => Err(NameError::Prefix),
            _ => Ok(parsed),
        }
    }

    /// Reads a filter that is known to be valid.
    pub(super) fn read(filter: &'a str) -> Self {
        match filter.strip_suffix('#') {
            None => Filter::Topic(filter),
            Some("") => Filter::All,
            Some(rest) => rest.strip_suffix('/').map_or(Filter::Topic(filter), Filter::Below),
        }
    }

    /// Whether this is a prefix, which matches many topics.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        !matches!(self, Filter::Topic(_))
    }

    /// Whether it matches a topic.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        match self {
            Filter::Topic(name) => *name == topic,
            Filter::Below(name) => {
                topic.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Filter::All => true,
        }
    }
}

/// Checks a filter of at most `limit` bytes.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_filter(filter: &str, limit: usize) -> Result<(), NameError> {
    Filter::parse(filter, limit).map(drop)
}

/// Checks the name of a topic of at most `limit` bytes.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_topic(topic: &str, limit: usize) -> Result<(), NameError> {
    check(topic, limit)?;
    if topic.contains('#') { Err(NameError::Prefix) } else { Ok(()) }
}

fn check(name: &str, limit: usize) -> Result<(), NameError> {
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.len() > limit {
        return Err(NameError::TooLong { limit });
    }
    if name.chars().any(char::is_control) {
        return Err(NameError::Control);
    }
    Ok(())
}

/// The prefixes that match a topic, the longest first: `a/b` has `a/b/#`, `a/#` and `#`.
pub fn prefixes(topic: &str) -> impl Iterator<Item = String> {
    ancestors(topic).map(|name| format!("{name}/#")).chain(std::iter::once("#".to_owned()))
}

/// The topic and the names above it, the longest first: `a/b` has `a/b` and `a`.
pub(super) fn ancestors(topic: &str) -> impl Iterator<Item = &str> {
    let above = topic.rmatch_indices('/').map(|(at, _)| &topic[..at]);
    std::iter::once(topic).chain(above)
}
