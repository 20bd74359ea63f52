//! The options about topics: `--retain`, `--slow-consumer` and `--durable`.

use crate::relay::request::Policy;
use crate::relay::rights::{covers, is_filter};
use framewright_server::SlowConsumer;
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// How many bytes may wait for a slow subscriber, where nothing else is said.
pub(crate) const DEFAULT_LIMIT: usize = 1 << 20;

/// A filter, and a setting of the topics that it matches: `FILTER=VALUE` on the command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Of<T> {
    pub(crate) filter: String,
    pub(crate) value: T,
}

impl<T> FromStr for Of<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A topic may have the sign in its name, and a value has none.
        let (filter, value) = text.rsplit_once('=').ok_or("expected FILTER=VALUE")?;
        let value = value.parse().map_err(|error: T::Err| format!("{value:?}: {error}"))?;
        Ok(Of { filter: parse_filter(filter)?, value })
    }
}

/// A filter of the command line.
///
/// # Errors
/// In words, for whoever typed it.
pub(crate) fn parse_filter(text: &str) -> Result<String, String> {
    if is_filter(text) {
        Ok(text.to_owned())
    } else {
        Err(format!("{text:?} is no filter: a topic, or a topic and /#, or #"))
    }
}

/// A policy, and its limit in bytes: `POLICY` or `POLICY:LIMIT` on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) policy: Policy,
    pub(crate) limit: usize,
}

impl Slow {
    /// The policy, as the server has it.
    pub(crate) fn as_slow_consumer(self) -> SlowConsumer {
        let Slow { policy, limit } = self;
        match policy {
            Policy::Disconnect => SlowConsumer::Disconnect { limit },
            Policy::DropNewest => SlowConsumer::DropNewest { limit },
            Policy::DropOldest => SlowConsumer::DropOldest { limit },
            Policy::Latest => SlowConsumer::Latest { limit },
        }
    }
}

impl Default for Slow {
    fn default() -> Self {
        Slow { policy: Policy::Disconnect, limit: DEFAULT_LIMIT }
    }
}

impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limit) = text.split_once(':').map_or((text, None), |(name, limit)| (name, Some(limit)));
        let policy = Policy::from_name(name).ok_or_else(|| format!("expected one of {}", Policy::names()))?;
        let limit = match limit.map(str::parse) {
            None => DEFAULT_LIMIT,
            Some(Ok(limit)) => limit,
            Some(Err(_)) => return Err("the limit is a number of bytes".to_owned()),
        };
        Ok(Slow { policy, limit })
    }
}

/// All settings of the topics that a filter matches, and no longer filter does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) filter: String,
    pub(crate) retain: usize,
    pub(crate) slow: Slow,
    pub(crate) durable: bool,
}

/// Brings the options together. For each option the longest filter counts that matches a topic, so
/// a filter has what it does not say itself from the filters that cover it.
pub(crate) fn merge(retain: &[Of<usize>], slow: &[Of<Slow>], durable: &[String]) -> Vec<Settings> {
    let of_options = retain.iter().map(|of| &of.filter).chain(slow.iter().map(|of| &of.filter));
    let filters: BTreeSet<&String> = of_options.chain(durable).collect();
    let settings = filters.into_iter().map(|filter| Settings {
        filter: filter.clone(),
        retain: longest(retain, filter).copied().unwrap_or(0),
        slow: longest(slow, filter).copied().unwrap_or_default(),
        durable: durable.iter().any(|durable| covers(durable, filter)),
    });
    settings.collect()
}

/// The value of the longest filter that covers this one; the last of several that are the same.
pub(crate) fn longest<'a, T>(all: &'a [Of<T>], filter: &str) -> Option<&'a T> {
    let covering = all.iter().filter(|of| covers(&of.filter, filter));
    covering.max_by_key(|of| (of.filter.len(), of.filter != "#")).map(|of| &of.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<T>(filter: &str, value: T) -> Of<T> {
        Of { filter: filter.to_owned(), value }
    }

    #[test]
    fn options_are_read_as_the_help_says() {
        assert_eq!("prices/#=1".parse(), Ok(of("prices/#", 1_usize)));
        assert_eq!("a=b=20".parse(), Ok(of("a=b", 20_usize)));
        let latest = Slow { policy: Policy::Latest, limit: 65536 };
        assert_eq!("#=latest:65536".parse(), Ok(of("#", latest)));
        let oldest = Slow { policy: Policy::DropOldest, limit: DEFAULT_LIMIT };
        assert_eq!("a=drop-oldest".parse(), Ok(of("a", oldest)));
        for (wrong, part) in [
            ("prices", "FILTER=VALUE"),
            ("=1", "no filter"),
            ("a/#/b=1", "no filter"),
            ("a=", "\"\""),
            ("a=-1", "\"-1\""),
        ] {
            let error = wrong.parse::<Of<usize>>().expect_err(wrong);
            assert!(error.contains(part), "{error}");
        }
        for (wrong, part) in [("a=wait", "drop-newest"), ("a=latest:", "bytes"), ("a=latest:1k", "bytes")] {
            let error = wrong.parse::<Of<Slow>>().expect_err(wrong);
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn each_option_has_its_own_longest_filter() {
        let newest = Slow { policy: Policy::DropNewest, limit: 10 };
        let retain = [of("#", 1), of("prices/#", 2), of("prices/EUR", 3), of("#", 4)];
        let merged = merge(&retain, &[of("prices/EUR/#", newest)], &["prices/#".to_owned()]);
        let found: Vec<_> =
            merged.iter().map(|each| (&*each.filter, each.retain, each.slow, each.durable)).collect();
        assert_eq!(
            found,
            [
                ("#", 4, Slow::default(), false),
                ("prices/#", 2, Slow::default(), true),
                ("prices/EUR", 3, newest, true),
                ("prices/EUR/#", 2, newest, true),
            ]
        );
    }
}
