//! The entries of a stream, as Redis tells them.

use crate::wire::envelope::{Broken, Envelope};
use redis::Value;
use std::fmt;
use std::str::FromStr;

/// The place of an entry in its stream: the server's milliseconds, and a number within them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Id {
    milliseconds: u64,
    number: u64,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.milliseconds, self.number)
    }
}

impl FromStr for Id {
    type Err = ();

    fn from_str(id: &str) -> Result<Self, ()> {
        let (milliseconds, number) = id.split_once('-').ok_or(())?;
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(milliseconds) || !digits(number) {
            return Err(());
        }
        let milliseconds = milliseconds.parse().map_err(|_| ())?;
        Ok(Self { milliseconds, number: number.parse().map_err(|_| ())? })
    }
}

/// An entry of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) id: Id,
    /// What its field `m` has.
    pub(crate) bytes: Option<Vec<u8>>,
}

impl Entry {
    pub(crate) fn envelope(&self, topic: &str) -> Result<Envelope<'_>, Broken> {
        let envelope = Envelope::decode(self.bytes.as_deref().ok_or(Broken::Foreign)?)?;
        if envelope.topic == topic { Ok(envelope) } else { Err(Broken::Place) }
    }
}

/// Reads the entries in the answer to XRANGE, or of one stream in that to XREAD.
pub(crate) fn entries(value: Value) -> Vec<Entry> {
    let Value::Array(entries) = value else { return Vec::new() };
    entries.into_iter().filter_map(entry).collect()
}

fn entry(value: Value) -> Option<Entry> {
    let Value::Array(entry) = value else { return None };
    let mut parts = entry.into_iter();
    let Some(Value::BulkString(id)) = parts.next() else { return None };
    let id = std::str::from_utf8(&id).ok()?.parse().ok()?;
    // An entry that was deleted while it was waited for has no fields.
    let Some(Value::Array(fields)) = parts.next() else { return Some(Entry { id, bytes: None }) };
    let mut fields = fields.into_iter();
    while let (Some(name), Some(value)) = (fields.next(), fields.next()) {
        if let (Value::BulkString(name), Value::BulkString(bytes)) = (name, value)
            && name == FIELD.as_bytes()
        {
            return Some(Entry { id, bytes: Some(bytes) });
        }
    }
    Some(Entry { id, bytes: None })
}

/// The field of an entry that has the envelope.
pub(crate) const FIELD: &str = "m";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_as_redis_orders_them_and_nothing_else_is_one() {
        let id = |text: &str| text.parse::<Id>();
        assert_eq!(id("1526919030474-55").map(|id| id.to_string()), Ok("1526919030474-55".to_owned()));
        assert!(id("9-1") < id("10-0") && id("10-2") < id("10-10"));
        for wrong in ["", "$", "1", "1-", "-1", "+1-1", "1-1-1", "1-99999999999999999999", "a-b"] {
            assert_eq!(id(wrong), Err(()), "{wrong}");
        }
    }

    #[test]
    fn entries_of_others_are_read_without_a_panic() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let with = |fields: Value| Value::Array(vec![text("5-1"), fields]);
        let reply = Value::Array(vec![
            with(Value::Array(vec![text("other"), text("x"), text("m"), text("y")])),
            with(Value::Array(vec![text("other")])),
            with(Value::Nil),
            Value::Int(3),
            Value::Array(vec![text("no id"), Value::Nil]),
        ]);
        let id = Id { milliseconds: 5, number: 1 };
        let expected = [Some(b"y".to_vec()), None, None].map(|bytes| Entry { id, bytes });
        assert_eq!(entries(reply), expected);
        assert_eq!(expected[0].envelope("t"), Err(Broken::Short));
        assert_eq!(expected[1].envelope("t"), Err(Broken::Foreign));
    }
}
