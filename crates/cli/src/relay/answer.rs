//! What the relay sends: one JSON object in each text message. docs/RELAY.md is the protocol.
//!
//! The envelope of a topic's message is written once for all of its subscribers. A durable topic's
//! message gets its `id` later, from the place that keeps it, and the envelope has room for that at
//! its end.

use crate::relay::error::Failure;

/// The beginning of each envelope.
const ENVELOPE: &str = r#"{"type":"message","topic":"#;

/// A message of a topic, as all of its subscribers get it; `data` is JSON.
pub(crate) fn envelope(topic: &str, key: Option<&str>, data: &str) -> String {
    let mut text = String::with_capacity(ENVELOPE.len() + topic.len() + data.len() + 64);
    text.push_str(ENVELOPE);
    push_string(&mut text, topic);
    if let Some(key) = key {
        text.push_str(r#","key":"#);
        push_string(&mut text, key);
    }
    text.push_str(r#","data":"#);
    text.push_str(data);
    text.push('}');
    text
}

/// An envelope with the `id` of its message. `None` if `envelope` is none.
#[cfg(feature = "redis")]
pub(crate) fn with_id(envelope: &str, id: &str) -> Option<String> {
    let fields = envelope.starts_with(ENVELOPE).then(|| envelope.strip_suffix('}')).flatten()?;
    let mut text = String::with_capacity(envelope.len() + id.len() + 16);
    text.push_str(fields);
    text.push_str(r#","id":"#);
    push_string(&mut text, id);
    text.push('}');
    Some(text)
}

/// Answers a request that has been carried out; `kind` is the type, and `number` JSON.
pub(crate) fn done(kind: &str, topic: &str, number: Option<&str>) -> String {
    let mut text = begin(kind);
    push_field(&mut text, "topic", topic);
    end(text, number)
}

/// Answers a request that has not been carried out.
pub(crate) fn error(failure: &Failure, topic: Option<&str>, number: Option<&str>) -> String {
    let mut text = begin("error");
    push_field(&mut text, "code", failure.code.name());
    push_field(&mut text, "text", &failure.text);
    if let Some(topic) = topic {
        push_field(&mut text, "topic", topic);
    }
    end(text, number)
}

/// Tells the subscribers of a topic or prefix that messages are missing here.
pub(crate) fn gap(filter: &str) -> String {
    let mut text = begin("gap");
    push_field(&mut text, "topic", filter);
    end(text, None)
}

fn begin(kind: &str) -> String {
    let mut text = String::with_capacity(128);
    text.push_str(r#"{"type":"#);
    push_string(&mut text, kind);
    text
}

fn end(mut text: String, number: Option<&str>) -> String {
    if let Some(number) = number {
        text.push_str(r#","request":"#);
        text.push_str(number);
    }
    text.push('}');
    text
}

fn push_field(text: &mut String, name: &str, value: &str) {
    text.push(',');
    push_string(text, name);
    text.push(':');
    push_string(text, value);
}

/// A string of JSON. Only what RFC 8259, section 7, says must be escaped is escaped.
fn push_string(text: &mut String, value: &str) {
    text.push('"');
    let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if value.bytes().all(is_plain) {
        text.push_str(value);
    } else {
        for char in value.chars() {
            match char {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\0'..='\u{1f}' => text.push_str(&format!("\\u{:04x}", u32::from(char))),
                _ => text.push(char),
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::error::Code;
    use serde_json::{Value, json};

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).expect(text)
    }

    const ODD: &str = "a\"b\\c\u{1}\n\u{e4}\u{1f600}/";

    #[test]
    fn every_answer_is_json_whatever_is_in_it() {
        let failure = Failure::new(Code::BadTopic, ODD);
        assert_eq!(
            parsed(&error(&failure, Some(ODD), Some("7"))),
            json!({"type": "error", "code": "bad_topic", "text": ODD, "topic": ODD, "request": 7})
        );
        assert_eq!(
            parsed(&error(&failure, None, None)),
            json!({"type": "error", "code": "bad_topic", "text": ODD})
        );
        assert_eq!(
            parsed(&done("subscribed", ODD, Some("\"x\""))),
            json!({"type": "subscribed", "topic": ODD, "request": "x"})
        );
        assert_eq!(parsed(&gap(ODD)), json!({"type": "gap", "topic": ODD}));
        assert_eq!(
            parsed(&envelope(ODD, Some(ODD), "[1,{}]")),
            json!({"type": "message", "topic": ODD, "key": ODD, "data": [1, {}]})
        );
        assert_eq!(
            parsed(&envelope("a", None, "null")),
            json!({"type": "message", "topic": "a", "data": null})
        );
    }

    #[cfg(feature = "redis")]
    #[test]
    fn an_envelope_gets_its_id_and_other_text_does_not() {
        let text = envelope("a", None, r#"{"id":"own"}"#);
        let expected = json!({"type": "message", "topic": "a", "data": {"id": "own"}, "id": "1-\"0"});
        assert_eq!(parsed(&with_id(&text, "1-\"0").expect("an envelope")), expected);
        for text in ["", "{}", "hello", r#"{"type":"message"}"#, r#"{"type":"message","topic":"a""#] {
            assert_eq!(with_id(text, "1"), None, "{text}");
        }
    }
}
