//! The names of channels, patterns and streams in Redis.
//!
//! | what | one server | a cluster |
//! |---|---|---|
//! | channel of a topic | `framewright:0:t:prices/EUR` | `framewright:0:t:{7}:prices/EUR` |
//! | stream of a durable topic | `framewright:0:s:prices/EUR` | `framewright:0:s:{7}:prices/EUR` |
//! | pattern of `prices/#` | `framewright:0:t:prices`, `framewright:0:t:prices/*` | none |
//!
//! The first part is the prefix of the builder, the second the number of the database: Redis' pub/sub
//! knows no databases, so two applications with two databases would hear each other. In a cluster the
//! topics are divided into [`PARTITIONS`] parts by their checksum. The part's number in braces is what
//! Redis hashes, so all topics of a part are in one slot.

/// Into how many parts a cluster's topics are divided.
pub(crate) const PARTITIONS: u16 = 16;

#[derive(Debug)]
pub(crate) struct Names {
    base: String,
    partitioned: bool,
}

impl Names {
    pub(crate) fn new(prefix: &str, database: i64, cluster: bool) -> Self {
        Self { base: format!("{prefix}{database}:"), partitioned: cluster }
    }

    /// How many parts there are.
    pub(crate) fn partitions(&self) -> u16 {
        if self.partitioned { PARTITIONS } else { 1 }
    }

    pub(crate) fn partition(&self, topic: &str) -> u16 {
        if self.partitioned { crc16(topic.as_bytes()) % PARTITIONS } else { 0 }
    }

    pub(crate) fn channel(&self, topic: &str) -> String {
        self.name('t', topic)
    }

    pub(crate) fn stream(&self, topic: &str) -> String {
        self.name('s', topic)
    }

    fn name(&self, kind: char, topic: &str) -> String {
        let base = &self.base;
        if self.partitioned {
            format!("{base}{kind}:{{{}}}:{topic}", self.partition(topic))
        } else {
            format!("{base}{kind}:{topic}")
        }
    }

    /// The slot of a part's channels and streams.
    pub(crate) fn slot(&self, partition: u16) -> u16 {
        slot(&format!("{}t:{{{partition}}}:", self.base))
    }

    /// The patterns that a prefix subscription stands for. They match a channel with a brace in its
    /// name as they match any other.
    pub(crate) fn patterns(&self, filter: &str) -> Vec<String> {
        let base = escaped(&self.base);
        match filter.strip_suffix("/#") {
            Some(level) => {
                let level = escaped(level);
                vec![format!("{base}t:{level}"), format!("{base}t:{level}/*")]
            }
            None => vec![format!("{base}t:*")],
        }
    }
}

/// Whether a filter stands for more than one topic.
pub(crate) fn is_prefix(filter: &str) -> bool {
    filter == "#" || filter.ends_with("/#")
}

/// Whether `filter` matches `topic`, as MQTT 3.1.1 section 4.7.1.2 has it.
pub(crate) fn matches(filter: &str, topic: &str) -> bool {
    match filter.strip_suffix('#') {
        Some("") => true,
        Some(levels) if levels.ends_with('/') => {
            topic.starts_with(levels) || topic == &levels[..levels.len() - 1]
        }
        _ => filter == topic,
    }
}

/// Escapes what has a meaning in a pattern of Redis.
fn escaped(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | ']' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

/// The slot of a key or of a channel of a cluster: the checksum of what is between the first `{` and
/// the next `}`, or of all if there is nothing between them.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    crc16(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % 16_384
}

/// CRC-16/XMODEM, which Redis' cluster uses.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 != 0 { (crc << 1) ^ 0x1021 } else { crc << 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // The check value of CRC-16/XMODEM, and what `CLUSTER KEYSLOT` of Redis 7.0.15 says.
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot("foo"), 12_182);
        assert_eq!(slot("{foo}:bar"), 12_182);
        assert_eq!(slot("a{foo}b{bar}"), 12_182);
        assert_eq!(slot("{}foo"), 9_500);
    }

    #[test]
    fn all_names_of_a_part_are_in_its_slot() {
        let names = Names::new("app:", 0, true);
        for topic in ["prices/EUR", "a{b}c", "{}", "x}y{z", ""] {
            let expected = names.slot(names.partition(topic));
            assert_eq!(slot(&names.channel(topic)), expected, "{topic}");
            assert_eq!(slot(&names.stream(topic)), expected, "{topic}");
        }
    }

    #[test]
    fn a_prefix_becomes_two_patterns_with_what_redis_would_interpret_escaped() {
        let names = Names::new("a*:", 3, false);
        assert_eq!(names.patterns("x[1]/#"), [r"a\*:3:t:x\[1\]", r"a\*:3:t:x\[1\]/*"]);
        assert_eq!(names.patterns("#"), [r"a\*:3:t:*"]);
    }

    #[test]
    fn filters_match_as_in_mqtt() {
        for (filter, topic, expected) in [
            ("prices/#", "prices", true),
            ("prices/#", "prices/EUR/1", true),
            ("prices/#", "pricesX", false),
            ("#", "anything", true),
            ("prices", "prices", true),
            ("prices", "prices/EUR", false),
        ] {
            assert_eq!(matches(filter, topic), expected, "{filter} {topic}");
        }
    }
}
