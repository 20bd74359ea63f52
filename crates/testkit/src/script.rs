//! A small language for streams of frames. A test that uses it shows the frames that it sends.
//!
//! ```
//! use framewright::Role;
//! use framewright_testkit::script;
//!
//! let stream = script::bytes(Role::Server, r#"
//!     text "Hel" !fin; ping "x"     # a comment
//!     cont "lo"
//!     close 1000 "bye"
//! "#);
//! assert_eq!(stream, b"\x01\x03Hel\x89\x01x\x80\x02lo\x88\x05\x03\xe8bye");
//! ```
//!
//! A statement is one line, or ends with `;`:
//!
//! | statement | what it is |
//! |---|---|
//! | `text` `binary` `cont` `ping` `pong` PAYLOAD... | a frame; without a payload an empty one |
//! | `op` N PAYLOAD... | a frame with this opcode |
//! | `close` CODE? PAYLOAD... | a Close frame; the code is two bytes in front of the payload |
//! | `hex` 82 7e 00 | these bytes |
//! | `repeat` N `{` statements `}` | the statements N times, each time with other masking keys |
//!
//! | PAYLOAD | |
//! |---|---|
//! | `"text"` | a text with the escapes `\n` `\"` `\\` `\xNN` (a byte) and `\u{NNNN}` (a character) |
//! | `hex "c3 28"` | these bytes |
//! | `deflate` PAYLOAD | the payload compressed, without references to earlier messages |
//! | PAYLOAD `*` N | the payload N times |
//!
//! | mark behind a payload | |
//! |---|---|
//! | `!fin` | without FIN |
//! | `rsv1` `rsv2` `rsv3` | with this bit set |
//! | `mask` `!mask` `mask=01020304` | masked, not masked, or masked with this key, whatever the sender's role requires |
//! | `len=N` | with N as the announced length, whatever the length of the payload |
//! | `form=7` `form=16` `form=64` | with the length written in 7, 16 or 64 bits, even if fewer would do |

use crate::deflate::Deflater;
use crate::rng::SplitMix64;
use crate::wire::masked;
use framewright::Role;

/// Compiles a script to the bytes that `sender` puts on the wire. A client's frames are masked with
/// keys of a fixed seed.
///
/// # Panics
/// If there is a fault in the script.
#[must_use]
pub fn bytes(sender: Role, source: &str) -> Vec<u8> {
    compile(sender, source, 6455).unwrap_or_else(|error| panic!("{error} in the script:\n{source}"))
}

/// Compiles a script as [`bytes`] does, with masking keys of this seed.
///
/// # Errors
/// The line and column of a fault in the script, and what is wrong there.
pub fn compile(sender: Role, source: &str, seed: u64) -> Result<Vec<u8>, String> {
    let mut parser = Parser {
        source: source.chars().collect(),
        at: 0,
        masked: sender == Role::Client,
        rng: SplitMix64::new(seed),
        out: Vec::new(),
    };
    parser.statements(false)?;
    Ok(parser.out)
}

struct Parser {
    source: Vec<char>,
    at: usize,
    masked: bool,
    rng: SplitMix64,
    out: Vec<u8>,
}

/// A frame as its marks say it.
struct Draft {
    first: u8,
    payload: Vec<u8>,
    key: Option<[u8; 4]>,
    len: Option<u64>,
    form: Option<u64>,
}

impl Parser {
    /// Statements up to the end, or up to a `}`.
    fn statements(&mut self, inside: bool) -> Result<(), String> {
        loop {
            self.skip(true);
            match self.peek() {
                None if inside => return self.error("expected `}`"),
                None => return Ok(()),
                Some('}') if inside => return Ok(()),
                Some(_) => self.statement()?,
            }
            self.skip(false);
            match self.peek() {
                None | Some(';' | '\n' | '}') => {}
                Some(_) => return self.error("expected a payload, a mark, `;` or the end of the line"),
            }
        }
    }

    fn statement(&mut self) -> Result<(), String> {
        let at = self.at;
        match self.word().as_str() {
            "cont" => self.frame(0),
            "text" => self.frame(1),
            "binary" => self.frame(2),
            "close" => self.frame(8),
            "ping" => self.frame(9),
            "pong" => self.frame(10),
            "op" => match self.number()? {
                opcode @ 0..=15 => self.frame(u8::try_from(opcode).expect("four bits")),
                _ => self.error("an opcode has four bits"),
            },
            "hex" => self.raw(),
            "repeat" => self.repeat(),
            _ => {
                self.at = at;
                self.error("expected text, binary, cont, close, ping, pong, op, hex or repeat")
            }
        }
    }

    fn repeat(&mut self) -> Result<(), String> {
        let times = self.number()?;
        self.expect('{')?;
        let start = self.at;
        for _ in 0..times {
            self.at = start;
            self.statements(true)?;
        }
        if times == 0 {
            return self.error("a repetition has to happen at least once");
        }
        self.expect('}')
    }

    /// Octets up to the end of the statement.
    fn raw(&mut self) -> Result<(), String> {
        loop {
            self.skip(false);
            if !self.peek().is_some_and(|next| next.is_ascii_hexdigit()) {
                return Ok(());
            }
            let octet = self.octet()?;
            self.out.push(octet);
        }
    }

    fn frame(&mut self, opcode: u8) -> Result<(), String> {
        let key = self.masked.then(|| self.rng.key());
        let mut draft = Draft { first: 0x80 | opcode, payload: Vec::new(), key, len: None, form: None };
        self.skip(false);
        if opcode == 8 && self.peek().is_some_and(|next| next.is_ascii_digit()) {
            let Ok(code) = u16::try_from(self.number()?) else {
                return self.error("a close code has 16 bits");
            };
            draft.payload.extend(code.to_be_bytes());
        }
        loop {
            self.skip(false);
            let at = self.at;
            match self.peek() {
                Some('"') => self.payload(&mut draft.payload)?,
                Some(next) if next.is_ascii_alphabetic() || next == '!' => {
                    let mark = self.word();
                    if mark == "hex" {
                        self.at = at;
                        self.payload(&mut draft.payload)?;
                    } else if mark == "deflate" {
                        let mut octets = Vec::new();
                        self.skip(false);
                        self.payload(&mut octets)?;
                        draft.payload.extend(Deflater::new(6).message(&octets));
                    } else if !self.mark(&mark, &mut draft)? {
                        self.at = at;
                        return self.error("expected a payload or a mark");
                    }
                }
                _ => break,
            }
        }
        draft.encode(&mut self.out);
        Ok(())
    }

    /// A text or bytes, repeated if `*` follows.
    fn payload(&mut self, payload: &mut Vec<u8>) -> Result<(), String> {
        let octets = if self.peek() == Some('h') {
            self.word();
            self.hex_string()?
        } else {
            self.string()?
        };
        self.repeated(&octets, payload)
    }

    /// Applies a mark; false if there is none of this name.
    fn mark(&mut self, mark: &str, draft: &mut Draft) -> Result<bool, String> {
        match mark {
            "!fin" => draft.first &= 0x7F,
            "rsv1" => draft.first |= 0x40,
            "rsv2" => draft.first |= 0x20,
            "rsv3" => draft.first |= 0x10,
            "!mask" => draft.key = None,
            "mask" if self.peek() == Some('=') => {
                self.at += 1;
                draft.key = Some([self.octet()?, self.octet()?, self.octet()?, self.octet()?]);
            }
            "mask" => draft.key = Some(self.rng.key()),
            "len" => {
                self.expect('=')?;
                draft.len = Some(self.number()?);
            }
            "form" => {
                self.expect('=')?;
                let form = self.number()?;
                if ![7, 16, 64].contains(&form) {
                    return self.error("a length has 7, 16 or 64 bits");
                }
                draft.form = Some(form);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// `* N` behind a payload.
    fn repeated(&mut self, octets: &[u8], payload: &mut Vec<u8>) -> Result<(), String> {
        self.skip(false);
        let mut times = 1;
        if self.peek() == Some('*') {
            self.at += 1;
            times = self.number()?;
        }
        for _ in 0..times {
            payload.extend_from_slice(octets);
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Vec<u8>, String> {
        self.expect('"')?;
        let mut octets = Vec::new();
        loop {
            match self.next() {
                None => return self.error("expected `\"`"),
                Some('"') => return Ok(octets),
                Some('\\') => self.escape(&mut octets)?,
                Some(plain) => octets.extend(plain.encode_utf8(&mut [0; 4]).bytes()),
            }
        }
    }

    fn escape(&mut self, octets: &mut Vec<u8>) -> Result<(), String> {
        match self.next() {
            Some('n') => octets.push(b'\n'),
            Some('"') => octets.push(b'"'),
            Some('\\') => octets.push(b'\\'),
            Some('x') => {
                let octet = self.octet()?;
                octets.push(octet);
            }
            Some('u') => {
                self.expect('{')?;
                let digits = self.word();
                let Some(c) = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32) else {
                    return self.error("no such character");
                };
                octets.extend(c.encode_utf8(&mut [0; 4]).bytes());
                self.expect('}')?;
            }
            _ => return self.error("expected n, \", \\, xNN or u{NNNN}"),
        }
        Ok(())
    }

    fn hex_string(&mut self) -> Result<Vec<u8>, String> {
        self.expect('"')?;
        let mut octets = Vec::new();
        loop {
            self.skip(false);
            if self.peek() == Some('"') {
                self.at += 1;
                return Ok(octets);
            }
            octets.push(self.octet()?);
        }
    }

    fn octet(&mut self) -> Result<u8, String> {
        let mut octet = 0;
        for _ in 0..2 {
            let Some(digit) = self.peek().and_then(|next| next.to_digit(16)) else {
                return self.error("expected two hexadecimal digits");
            };
            octet = octet * 16 + u8::try_from(digit).expect("a digit");
            self.at += 1;
        }
        Ok(octet)
    }

    fn number(&mut self) -> Result<u64, String> {
        self.skip(false);
        let at = self.at;
        let word = self.word().replace('_', "");
        let number = match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16),
            None => word.parse(),
        };
        number.or_else(|_| {
            self.at = at;
            self.error("expected a number")
        })
    }

    fn word(&mut self) -> String {
        let start = self.at;
        if self.peek() == Some('!') {
            self.at += 1;
        }
        while self.peek().is_some_and(|next| next.is_ascii_alphanumeric() || next == '_') {
            self.at += 1;
        }
        self.source[start..self.at].iter().collect()
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        self.skip(false);
        if self.peek() != Some(wanted) {
            return self.error(&format!("expected `{wanted}`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Passes over blanks and comments, and with `lines` over ends of statements.
    fn skip(&mut self, lines: bool) {
        while let Some(next) = self.peek() {
            match next {
                '#' => {
                    while self.peek().is_some_and(|next| next != '\n') {
                        self.at += 1;
                    }
                }
                '\n' | ';' if lines => self.at += 1,
                ' ' | '\t' | '\r' => self.at += 1,
                _ => return,
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.source.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn error<T>(&self, message: &str) -> Result<T, String> {
        let before = &self.source[..self.at];
        let line = 1 + before.iter().filter(|&&c| c == '\n').count();
        let column = 1 + before.iter().rev().take_while(|&&c| c != '\n').count();
        Err(format!("{line}:{column}: {message}"))
    }
}

impl Draft {
    fn encode(&self, out: &mut Vec<u8>) {
        let len = self.len.unwrap_or(self.payload.len() as u64);
        let shortest = if len < 126 {
            7
        } else if len < 65536 {
            16
        } else {
            64
        };
        let mask_bit = if self.key.is_some() { 0x80 } else { 0 };
        let octets = len.to_be_bytes();
        out.push(self.first);
        match self.form.unwrap_or(shortest) {
            7 => out.push(mask_bit | octets[7]),
            16 => out.extend([mask_bit | 126, octets[6], octets[7]]),
            _ => {
                out.push(mask_bit | 127);
                out.extend(octets);
            }
        }
        match self.key {
            None => out.extend(&self.payload),
            Some(key) => {
                out.extend(key);
                out.extend(masked(&self.payload, key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unmasked(source: &str) -> Vec<u8> {
        bytes(Role::Server, source)
    }

    #[test]
    fn every_statement_gives_its_octets() {
        assert_eq!(unmasked(r#"text "a\n\"\\\x7f\u{e9}""#), b"\x81\x07a\n\"\\\x7f\xc3\xa9");
        assert_eq!(unmasked("binary; cont !fin; pong"), [0x82, 0, 0x00, 0, 0x8A, 0]);
        assert_eq!(unmasked("op 0x3 rsv1 rsv3 \"x\""), [0xD3, 1, b'x']);
        assert_eq!(unmasked("close; close 1001; close hex \"03\""), [0x88, 0, 0x88, 2, 3, 0xE9, 0x88, 1, 3]);
        assert_eq!(unmasked("hex 82 7e00 01\nping"), [0x82, 0x7E, 0, 1, 0x89, 0]);
        assert_eq!(unmasked("text rsv1 deflate \"Hello\""), *b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00");
        assert_eq!(unmasked("text deflate hex \"61\" * 300")[2..], Deflater::new(6).message(&[b'a'; 300]));
        assert_eq!(unmasked("repeat 2 { repeat 2 { ping }; pong }"), [0x89, 0, 0x89, 0, 0x8A, 0].repeat(2));
    }

    #[test]
    fn lengths_and_masks_can_lie() {
        assert_eq!(unmasked("binary \"ab\" len=300"), [0x82, 126, 1, 44, b'a', b'b']);
        assert_eq!(unmasked("binary form=16"), [0x82, 126, 0, 0]);
        assert_eq!(unmasked("binary len=0x80 form=64")[1..], [127, 0, 0, 0, 0, 0, 0, 0, 0x80]);
        assert_eq!(unmasked("binary \"\\x01\\x01\" mask=01020304"), [0x82, 0x82, 1, 2, 3, 4, 0, 3]);
        assert_eq!(bytes(Role::Client, "binary !mask"), [0x82, 0]);
        assert_eq!(bytes(Role::Server, "text \"a\" * 200").len(), 204);
    }

    #[test]
    fn a_client_masks_with_keys_that_the_seed_gives() {
        let [one, same, other] = [1, 1, 2].map(|seed| compile(Role::Client, "ping; ping", seed).unwrap());
        assert_eq!(one, same);
        assert_ne!(one, other);
        assert_ne!(one[2..6], one[8..12], "each frame has its own key");
    }

    #[test]
    fn a_fault_says_where_it_is() {
        let cases = [
            ("text \"a\"\nfoo", "2:1: expected text"),
            ("ping \"a", "1:8: expected `\"`"),
            ("ping deflate 5", "1:14: expected `\"`"),
            ("ping fin", "1:6: expected a payload or a mark"),
            ("ping \"a\" 5", "1:10: expected a payload, a mark"),
            ("repeat 2 { ping", "1:16: expected `}`"),
            ("op 16", "1:6: an opcode"),
            ("hex 8", "1:6: expected two"),
            ("binary len=x", "1:12: expected a number"),
            ("binary form=8", "1:14: a length"),
            ("close 65536", "1:12: a close code"),
            ("text \"\\u{d800}\"", "1:14: no such character"),
        ];
        for (source, start) in cases {
            let error = compile(Role::Server, source, 0).unwrap_err();
            assert!(error.starts_with(start), "{error} for {source}");
        }
    }
}
