//! What a client sends: one JSON object in each text message. docs/RELAY.md is the protocol.
//!
//! An object is split into its fields before any of them is examined. So an error can name the
//! request that it answers, whatever else is wrong with it, and `data` stays as it was written.

use crate::relay::error::{Code, Failure};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The longest key, in bytes.
pub(crate) const MAX_KEY: usize = 256;
/// The longest number of a request, in bytes of its JSON.
pub(crate) const MAX_REQUEST: usize = 64;
/// How deep `data` may be nested: what parsers of most languages take.
pub(crate) const MAX_DEPTH: usize = 128;

/// A client's request, and the value that its answer repeats.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) command: Command<'a>,
    /// The JSON of the field `request`; `None` without it.
    pub(crate) number: Option<&'a str>,
}

/// What a client wants.
#[derive(Debug, PartialEq)]
pub(crate) enum Command<'a> {
    Subscribe {
        filter: Cow<'a, str>,
        policy: Option<Policy>,
        limit: Option<usize>,
        after: Option<Cow<'a, str>>,
    },
    Unsubscribe {
        filter: Cow<'a, str>,
    },
    Publish {
        topic: Cow<'a, str>,
        /// Any JSON, as the client wrote it.
        data: &'a str,
        key: Option<Cow<'a, str>>,
    },
}

/// What happens to a subscriber that does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Disconnect,
    DropNewest,
    DropOldest,
    Latest,
}

impl Policy {
    const ALL: [Policy; 4] = [Policy::Disconnect, Policy::DropNewest, Policy::DropOldest, Policy::Latest];

    /// Its name in the protocol and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Policy::Disconnect => "disconnect",
            Policy::DropNewest => "drop-newest",
            Policy::DropOldest => "drop-oldest",
            Policy::Latest => "latest",
        }
    }

    /// The policy with this name.
    pub(crate) fn from_name(name: &str) -> Option<Policy> {
        Policy::ALL.into_iter().find(|policy| policy.name() == name)
    }

    /// All names, for an error.
    pub(crate) fn names() -> String {
        Policy::ALL.map(Policy::name).join(", ")
    }
}

impl<'a> Request<'a> {
    /// Reads a request from the text of a message.
    ///
    /// # Errors
    /// What is wrong with it, and the number of the request if that could be read.
    pub(crate) fn parse(text: &'a str) -> Result<Request<'a>, (Failure, Option<&'a str>)> {
        let fields: Fields<'a> = serde_json::from_str(text).map_err(|error| (not_json(&error), None))?;
        let number = fields.number().map_err(|failure| (failure, None))?;
        match fields.command() {
            Ok(command) => Ok(Request { command, number }),
            Err(failure) => Err((failure, number)),
        }
    }
}

fn not_json(error: &serde_json::Error) -> Failure {
    Failure::new(Code::BadJson, format!("a message is one JSON object: {error}"))
}

/// The names of all fields, of whatever type of message.
const NAMES: [&str; 8] = ["type", "request", "topic", "policy", "limit", "after", "data", "key"];
const TYPE: usize = 0;
const REQUEST: usize = 1;
const TOPIC: usize = 2;
const POLICY: usize = 3;
const LIMIT: usize = 4;
const AFTER: usize = 5;
const DATA: usize = 6;
const KEY: usize = 7;

/// The fields of an object, unexamined.
#[derive(Default)]
struct Fields<'a> {
    values: [Option<&'a RawValue>; NAMES.len()],
    /// The first that is none of [`NAMES`].
    unknown: Option<String>,
    /// The first that came twice.
    twice: Option<&'static str>,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some(Name(name)) = map.next_key()? {
                    let value: &RawValue = map.next_value()?;
                    fields.note(&name, value);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// The name of a field, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
    }
}

impl<'a> Fields<'a> {
    fn note(&mut self, name: &str, value: &'a RawValue) {
        match NAMES.iter().position(|known| *known == name) {
            Some(index) if self.values[index].is_some() => {
                self.twice.get_or_insert(NAMES[index]);
            }
            Some(index) => self.values[index] = Some(value),
            None => {
                self.unknown.get_or_insert_with(|| name.to_owned());
            }
        }
    }

    /// The JSON of `request`, which is a string or an integer.
    fn number(&self) -> Result<Option<&'a str>, Failure> {
        let Some(value) = self.values[REQUEST] else { return Ok(None) };
        let json = value.get();
        let is_integer = json.bytes().all(|byte| byte.is_ascii_digit());
        if !is_integer && !json.starts_with('"') {
            return Err(Failure::bad_field("request", "a string or a positive integer"));
        }
        if json.len() > MAX_REQUEST {
            return Err(Failure::new(Code::TooLong, format!("`request` has more than {MAX_REQUEST} bytes")));
        }
        Ok(Some(json))
    }

    fn command(&self) -> Result<Command<'a>, Failure> {
        if let Some(name) = self.twice {
            return Err(Failure::new(Code::BadJson, format!("`{name}` is there twice")));
        }
        let kind = self.required(TYPE)?;
        match kind.as_ref() {
            "subscribe" => {
                self.only(&[TOPIC, POLICY, LIMIT, AFTER])?;
                let filter = self.required(TOPIC)?;
                Ok(Command::Subscribe {
                    filter,
                    policy: self.policy()?,
                    limit: self.limit()?,
                    after: self.text(AFTER)?,
                })
            }
            "unsubscribe" => {
                self.only(&[TOPIC])?;
                Ok(Command::Unsubscribe { filter: self.required(TOPIC)? })
            }
            "publish" => {
                self.only(&[TOPIC, DATA, KEY])?;
                Ok(Command::Publish { topic: self.required(TOPIC)?, data: self.data()?, key: self.key()? })
            }
            other => {
                let text = format!("{}: not subscribe, unsubscribe or publish", Shown(other));
                Err(Failure::new(Code::UnknownType, text))
            }
        }
    }

    /// Nothing but these fields, `type` and `request` is there.
    fn only(&self, allowed: &[usize]) -> Result<(), Failure> {
        let others = (0..NAMES.len()).filter(|index| ![TYPE, REQUEST].contains(index));
        let wrong =
            others.filter(|index| !allowed.contains(index)).find(|index| self.values[*index].is_some());
        let Some(name) = wrong.map(|index| NAMES[index]).or(self.unknown.as_deref()) else { return Ok(()) };
        Err(Failure::new(Code::UnknownField, format!("{}: no field of this type", Shown(name))))
    }

    /// The text of a field; `None` if it is missing.
    fn text(&self, index: usize) -> Result<Option<Cow<'a, str>>, Failure> {
        let Some(value) = self.values[index] else { return Ok(None) };
        let wrong = || Failure::bad_field(NAMES[index], "a string");
        let json = value.get();
        let inside = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
        if inside.contains('\\') {
            return serde_json::from_str(json)
                .map(|text: String| Some(Cow::Owned(text)))
                .map_err(|_| wrong());
        }
        Ok(Some(Cow::Borrowed(inside)))
    }

    fn required(&self, index: usize) -> Result<Cow<'a, str>, Failure> {
        self.text(index)?.ok_or_else(|| Failure::missing(NAMES[index]))
    }

    fn policy(&self) -> Result<Option<Policy>, Failure> {
        let Some(name) = self.text(POLICY)? else { return Ok(None) };
        let wrong = || Failure::bad_field("policy", &format!("one of {}", Policy::names()));
        Policy::from_name(&name).map(Some).ok_or_else(wrong)
    }

    fn limit(&self) -> Result<Option<usize>, Failure> {
        let Some(value) = self.values[LIMIT] else { return Ok(None) };
        if self.values[POLICY].is_none() {
            return Err(Failure::missing("policy"));
        }
        let limit = value.get().parse();
        limit.map(Some).map_err(|_| Failure::bad_field("limit", "a number of bytes"))
    }

    fn key(&self) -> Result<Option<Cow<'a, str>>, Failure> {
        let key = self.text(KEY)?;
        if key.as_ref().is_some_and(|key| key.len() > MAX_KEY) {
            return Err(Failure::new(Code::TooLong, format!("`key` has more than {MAX_KEY} bytes")));
        }
        Ok(key)
    }

    fn data(&self) -> Result<&'a str, Failure> {
        let json = self.values[DATA].ok_or_else(|| Failure::missing("data"))?.get();
        if is_deeper_than(json, MAX_DEPTH) {
            let text = format!("`data` is nested deeper than {MAX_DEPTH} arrays and objects");
            return Err(Failure::new(Code::TooDeep, text));
        }
        Ok(json)
    }
}

/// Whether correct JSON has more than `most` arrays and objects inside one another.
fn is_deeper_than(json: &str, most: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > most {
                    return true;
                }
            }
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
    }
    false
}

/// The beginning of a client's text, fit for an error: in quotes, without control characters.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        match self.0.char_indices().nth(MOST) {
            Some((end, _)) => write!(f, "{:?}...", &self.0[..end]),
            None => write!(f, "{:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(text: &str) -> (Code, String, Option<&str>) {
        let (failure, number) = Request::parse(text).expect_err(text);
        (failure.code, failure.text.into_owned(), number)
    }

    #[test]
    fn every_type_of_request_is_read_with_all_its_fields() {
        let request = Request::parse(
            r#" {"type":"subscribe","topic":"prices/#","policy":"latest","limit":4096,"after":"5-0","request":1} "#,
        )
        .expect("a request");
        assert_eq!(request.number, Some("1"));
        let expected = Command::Subscribe {
            filter: "prices/#".into(),
            policy: Some(Policy::Latest),
            limit: Some(4096),
            after: Some("5-0".into()),
        };
        assert_eq!(request.command, expected);

        let request = Request::parse(r#"{"type":"unsubscribe","topic":"a"}"#).expect("a request");
        assert_eq!(request.number, None);
        assert_eq!(request.command, Command::Unsubscribe { filter: "a".into() });

        let request = Request::parse(
            r#"{"data": {"a" : [1.50, "}"]} ,"type":"publish","topic":"a","key":"k","request":"x\"y"}"#,
        )
        .expect("a request");
        assert_eq!(request.number, Some(r#""x\"y""#));
        let data = r#"{"a" : [1.50, "}"]}"#;
        assert_eq!(request.command, Command::Publish { topic: "a".into(), data, key: Some("k".into()) });
    }

    #[test]
    fn any_json_is_data_and_stays_as_it_was_written() {
        for data in ["null", "1e400", "123456789012345678901234567890", r#""\u0041""#, "[]", "{\n}", "true"] {
            let text = format!(r#"{{"type":"publish","topic":"a","data":{data}}}"#);
            let request = Request::parse(&text).expect(data);
            assert!(matches!(request.command, Command::Publish { data: read, .. } if read == data), "{data}");
        }
    }

    #[test]
    fn escapes_in_names_are_resolved() {
        let request =
            Request::parse(r#"{"t\u0079pe":"publish","topic":"\u00e4/b","data":0}"#).expect("a request");
        assert!(matches!(request.command, Command::Publish { topic, .. } if topic == "\u{e4}/b"));
    }

    #[test]
    fn each_mistake_has_its_code_and_its_text_says_what_is_wrong() {
        for (text, code, part) in [
            ("", Code::BadJson, "EOF"),
            ("hello", Code::BadJson, "line 1 column 1"),
            ("[]", Code::BadJson, "expected an object"),
            (r#""text""#, Code::BadJson, "expected an object"),
            (r#"{"type":"publish"} {}"#, Code::BadJson, "trailing"),
            (r#"{"type":"publish","topic":"a","data":[1,]}"#, Code::BadJson, "column 41"),
            (r#"{"topic":"a","topic":"b","type":"unsubscribe"}"#, Code::BadJson, "`topic` is there twice"),
            ("{}", Code::MissingField, "`type`"),
            (r#"{"type":1}"#, Code::BadField, "`type` is not a string"),
            (r#"{"type":"shout"}"#, Code::UnknownType, "\"shout\""),
            (r#"{"type":"subscribe"}"#, Code::MissingField, "`topic`"),
            (r#"{"type":"subscribe","topic":null}"#, Code::BadField, "`topic` is not a string"),
            (r#"{"type":"subscribe","topic":"\ud800"}"#, Code::BadField, "`topic` is not a string"),
            (r#"{"type":"subscribe","topic":"a","data":1}"#, Code::UnknownField, "\"data\""),
            (r#"{"type":"subscribe","topic":"a","colour":1}"#, Code::UnknownField, "\"colour\""),
            (r#"{"type":"subscribe","topic":"a","policy":"wait"}"#, Code::BadField, "drop-oldest"),
            (r#"{"type":"subscribe","topic":"a","limit":1}"#, Code::MissingField, "`policy`"),
            (r#"{"type":"subscribe","topic":"a","policy":"latest","limit":-1}"#, Code::BadField, "`limit`"),
            (r#"{"type":"subscribe","topic":"a","policy":"latest","limit":1.5}"#, Code::BadField, "`limit`"),
            (r#"{"type":"subscribe","topic":"a","after":1}"#, Code::BadField, "`after` is not a string"),
            (r#"{"type":"unsubscribe","topic":"a","key":"k"}"#, Code::UnknownField, "\"key\""),
            (r#"{"type":"publish","topic":"a"}"#, Code::MissingField, "`data`"),
            (r#"{"type":"publish","topic":"a","data":1,"key":1}"#, Code::BadField, "`key` is not a string"),
            (r#"{"type":"publish","topic":"a","data":1,"request":1.5}"#, Code::BadField, "`request`"),
            (r#"{"type":"publish","topic":"a","data":1,"request":{}}"#, Code::BadField, "`request`"),
        ] {
            let (found, said, _) = failure(text);
            assert_eq!(found, code, "{text}: {said}");
            assert!(said.contains(part), "{text}: {said}");
        }
    }

    #[test]
    fn an_error_has_the_number_of_the_request_wherever_it_stands() {
        for text in [
            r#"{"request":7,"type":"shout"}"#,
            r#"{"type":"publish","topic":"a","colour":1,"request":7}"#,
            r#"{"type":"publish","topic":"a","topic":"a","data":1,"request":7}"#,
        ] {
            assert_eq!(failure(text).2, Some("7"), "{text}");
        }
    }

    #[test]
    fn what_is_too_long_or_too_deep_is_refused_and_what_just_fits_is_not() {
        let publish = |data: &str, key: usize, request: usize| {
            let (key, request) = ("k".repeat(key), "1".repeat(request));
            format!(r#"{{"type":"publish","topic":"a","data":{data},"key":"{key}","request":{request}}}"#)
        };
        let nested = |depth: usize| format!("{}\"]\\\"[\"{}", "[".repeat(depth), "]".repeat(depth));
        assert!(Request::parse(&publish(&nested(MAX_DEPTH), MAX_KEY, MAX_REQUEST)).is_ok());
        assert_eq!(failure(&publish("1", MAX_KEY + 1, 1)).0, Code::TooLong);
        assert_eq!(failure(&publish("1", 1, MAX_REQUEST + 1)).0, Code::TooLong);
        assert_eq!(failure(&publish(&nested(MAX_DEPTH + 1), 1, 1)).0, Code::TooDeep);
        assert_eq!(failure(&publish(&nested(100_000), 1, 1)).0, Code::TooDeep);
        let (_, said, _) = failure(&format!(r#"{{"type":"{}"}}"#, "x".repeat(1000)));
        assert!(said.len() < 150, "{said}");
    }
}
