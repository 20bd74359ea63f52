//! The second half of [`naive::head`](crate::naive::head): what RFC 6455 demands of an opening
//! handshake, in its own words.

use crate::naive::fields::{Field, elements, is_tchar, is_token, string, values};

/// What a complete request is to a WebSocket server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// An ordinary HTTP request.
    No,
    /// The status code that the opening handshake is refused with.
    Refused(u16),
    /// A correct opening handshake.
    Correct {
        /// What is offered.
        subprotocols: Vec<String>,
        /// What is offered, each as `name;param;param=value`.
        extensions: Vec<String>,
        /// Whether a 100 (Continue) has to come first.
        expects_continue: bool,
    },
}

/// What RFC 6455 demands of an opening handshake: a request with this method, version
/// (`HTTP/1.minor`) and fields.
pub(crate) fn handshake(method: &str, minor: u8, fields: &[Field], has_body: bool) -> Handshake {
    let lower = |name: &str| -> Vec<Vec<u8>> {
        let all = elements(fields, name);
        all.iter().filter(|e| !e.is_empty()).map(|e| e.to_ascii_lowercase()).collect()
    };
    let protocols = lower("upgrade");
    if minor == 0 || !protocols.iter().any(|protocol| protocol == b"websocket") {
        return Handshake::No;
    }
    if method != "GET" {
        return Handshake::Refused(405);
    }
    let is_protocol = |protocol: &Vec<u8>| match protocol.iter().position(|&b| b == b'/') {
        Some(slash) => is_token(&protocol[..slash]) && is_token(&protocol[slash + 1..]),
        None => is_token(protocol),
    };
    let options = lower("connection");
    if !protocols.iter().all(is_protocol)
        || !options.iter().all(|option| is_token(option))
        || !options.iter().any(|option| option == b"upgrade")
    {
        return Handshake::Refused(400);
    }
    match values(fields, "sec-websocket-version").as_slice() {
        [version] if version == b"13" => {}
        [_] => return Handshake::Refused(426),
        _ => return Handshake::Refused(400),
    }
    match values(fields, "sec-websocket-key").as_slice() {
        [key] if is_key(key) => {}
        _ => return Handshake::Refused(400),
    }
    let (Some(subprotocols), Some(extensions)) = (subprotocols(fields), extensions(fields)) else {
        return Handshake::Refused(400);
    };
    if has_body {
        return Handshake::Refused(400);
    }
    let expectations = lower("expect");
    if expectations.iter().any(|expectation| expectation != b"100-continue") {
        return Handshake::Refused(417);
    }
    Handshake::Correct { subprotocols, extensions, expects_continue: !expectations.is_empty() }
}

/// Sixteen octets are 21 characters and a half: of the 22nd only the high bits count.
fn is_key(key: &[u8]) -> bool {
    key.len() == 24
        && key.ends_with(b"==")
        && key[..22].iter().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(b))
}

fn subprotocols(fields: &[Field]) -> Option<Vec<String>> {
    if values(fields, "sec-websocket-protocol").is_empty() {
        return Some(Vec::new());
    }
    let all = elements(fields, "sec-websocket-protocol");
    let found: Vec<String> = all.iter().filter(|e| !e.is_empty()).map(|e| string(e)).collect();
    let is_fine = !found.is_empty()
        && found.len() <= 64
        && all.len() - found.len() <= 16
        && found.iter().all(|name| is_token(name.as_bytes()))
        && (0..found.len()).all(|i| !found[..i].contains(&found[i]));
    is_fine.then_some(found)
}

/// A lexical element of an extension list.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Lexeme {
    Token(String),
    Quoted(String),
    Separator(char),
}

/// The extensions of all lines, each as `name;param;param=value`; `None` if there is a line, but
/// not one that follows the grammar.
pub(crate) fn extensions(fields: &[Field]) -> Option<Vec<String>> {
    let lines = values(fields, "sec-websocket-extensions");
    let mut found = Vec::new();
    for line in &lines {
        let lexemes = lexemes(&line.iter().map(|&b| char::from(b)).collect::<Vec<char>>())?;
        let parts: Vec<&[Lexeme]> = lexemes.split(|lexeme| *lexeme == Lexeme::Separator(',')).collect();
        if parts[..parts.len() - 1].iter().filter(|part| part.is_empty()).count() > 16 {
            return None;
        }
        for part in parts.iter().filter(|part| !part.is_empty()) {
            let pieces: Vec<&[Lexeme]> = part.split(|lexeme| *lexeme == Lexeme::Separator(';')).collect();
            let [Lexeme::Token(name)] = pieces[0] else { return None };
            let mut text = name.clone();
            for piece in &pieces[1..] {
                text += &match piece {
                    [Lexeme::Token(name)] => format!(";{name}"),
                    [
                        Lexeme::Token(name),
                        Lexeme::Separator('='),
                        Lexeme::Token(value) | Lexeme::Quoted(value),
                    ] => format!(";{name}={value}"),
                    _ => return None,
                };
            }
            found.push(text);
        }
    }
    (lines.is_empty() || !found.is_empty()).then_some(found)
}

fn lexemes(text: &[char]) -> Option<Vec<Lexeme>> {
    let is_token_char = |c: char| u8::try_from(c).is_ok_and(is_tchar);
    let mut lexemes = Vec::new();
    let mut rest = text;
    while let [first, others @ ..] = rest {
        match first {
            ' ' | '\t' => rest = others,
            ',' | ';' | '=' => {
                lexemes.push(Lexeme::Separator(*first));
                rest = others;
            }
            '"' => {
                let mut value = String::new();
                rest = others;
                loop {
                    match rest {
                        ['"', after @ ..] => {
                            rest = after;
                            break;
                        }
                        ['\\', escaped, after @ ..] => {
                            value.push(*escaped);
                            rest = after;
                        }
                        [plain, after @ ..] if *plain != '\\' => {
                            value.push(*plain);
                            rest = after;
                        }
                        _ => return None,
                    }
                }
                if value.is_empty() || !value.chars().all(is_token_char) {
                    return None;
                }
                lexemes.push(Lexeme::Quoted(value));
            }
            _ => {
                let token: String = rest.iter().take_while(|&&c| is_token_char(c)).collect();
                if token.is_empty() {
                    return None;
                }
                rest = &rest[token.len()..];
                lexemes.push(Lexeme::Token(token));
            }
        }
    }
    Some(lexemes)
}
