//! What a client is told when a request cannot be carried out.

use std::borrow::Cow;

/// Why a request was refused: the field `code` of an `error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    NotText,
    BadJson,
    UnknownType,
    UnknownField,
    MissingField,
    BadField,
    BadTopic,
    TooLong,
    TooDeep,
    Forbidden,
    NotSubscribed,
    NotDurable,
    TooMany,
    Busy,
    Unavailable,
}

impl Code {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: [Code; 15] = [
        Code::NotText,
        Code::BadJson,
        Code::UnknownType,
        Code::UnknownField,
        Code::MissingField,
        Code::BadField,
        Code::BadTopic,
        Code::TooLong,
        Code::TooDeep,
        Code::Forbidden,
        Code::NotSubscribed,
        Code::NotDurable,
        Code::TooMany,
        Code::Busy,
        Code::Unavailable,
    ];

    /// Its name in the protocol.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Code::NotText => "not_text",
            Code::BadJson => "bad_json",
            Code::UnknownType => "unknown_type",
            Code::UnknownField => "unknown_field",
            Code::MissingField => "missing_field",
            Code::BadField => "bad_field",
            Code::BadTopic => "bad_topic",
            Code::TooLong => "too_long",
            Code::TooDeep => "too_deep",
            Code::Forbidden => "forbidden",
            Code::NotSubscribed => "not_subscribed",
            Code::NotDurable => "not_durable",
            Code::TooMany => "too_many",
            Code::Busy => "busy",
            Code::Unavailable => "unavailable",
        }
    }

    /// Whether the client is at fault: what it should not send again, and not often.
    pub(crate) fn counts_as_fault(self) -> bool {
        !matches!(self, Code::Busy | Code::Unavailable | Code::NotSubscribed)
    }
}

/// A code, and a sentence for a person.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) text: Cow<'static, str>,
}

impl Failure {
    pub(crate) fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Failure {
        Failure { code, text: text.into() }
    }

    pub(crate) fn missing(field: &str) -> Failure {
        Failure::new(Code::MissingField, format!("`{field}` is missing"))
    }

    pub(crate) fn bad_field(field: &str, expected: &str) -> Failure {
        Failure::new(Code::BadField, format!("`{field}` is not {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_the_page_of_the_protocol() {
        let page = include_str!("../../RELAY.md");
        for code in Code::ALL {
            assert!(page.contains(&format!("\n| `{}` |", code.name())), "{}", code.name());
        }
    }
}
