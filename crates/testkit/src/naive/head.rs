//! A reference for the opening handshake's parser: the same law, written down as plainly as
//! possible.
//!
//! It is given everything at once, cuts lines at their CR, copies what it finds, and knows nothing
//! of the parser that it checks: own character classes, own grammar, both in
//! [`fields`](crate::naive::fields).

use framewright::handshake::HeadLimits;

use crate::naive::fields::{
    Fault, Field, Line, elements, field_section, is_tchar, is_token, string, trimmed, values,
};
use crate::naive::handshake::{Handshake, handshake};

/// What a server makes of the octets received so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong yet; the head is not complete.
    NeedMore,
    /// The status code that the request is refused with.
    Refused(u16),
    /// The head is complete.
    Complete(Box<Parsed>),
}

/// A complete head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// In octets, with the empty line.
    pub head_len: usize,
    /// The method.
    pub method: String,
    /// The target.
    pub target: String,
    /// The path of the target.
    pub path: String,
    /// The query of the target.
    pub query: Option<String>,
    /// `x` of `HTTP/1.x`.
    pub minor: u8,
    /// Names and values.
    pub fields: Vec<Field>,
    /// The host that the request is for.
    pub host: String,
    /// Whether content follows.
    pub has_body: bool,
    /// Whether it is an opening handshake.
    pub upgrade: Handshake,
}

/// Judges `data`, which starts with the first octet received.
pub fn parse(data: &[u8], limits: HeadLimits) -> Outcome {
    let window = &data[..data.len().min(limits.head)];
    match head(window, limits) {
        Err(status) => Outcome::Refused(status),
        Ok(Some(mut parsed)) => match message(&mut parsed) {
            0 => {
                let Parsed { method, minor, fields, has_body, .. } = &parsed;
                parsed.upgrade = handshake(method, *minor, fields, *has_body);
                Outcome::Complete(Box::new(parsed))
            }
            status => Outcome::Refused(status),
        },
        Ok(None) if window.len() == limits.head => Outcome::Refused(431),
        Ok(None) => Outcome::NeedMore,
    }
}

fn head(window: &[u8], limits: HeadLimits) -> Result<Option<Parsed>, u16> {
    let mut start = 0;
    if window.first() == Some(&b'\r') {
        if !Line::at(window, 0).verdict(Vec::new())? {
            return Ok(None);
        }
        start = 2;
    }
    let line = Line::at(window, start);
    if !line.verdict(request_line_faults(&line, limits.request_line))? {
        return Ok(None);
    }
    let text = string(line.text);
    let parts: Vec<&str> = text.split(' ').collect();
    let mut parsed = Parsed {
        head_len: 0,
        method: parts[0].to_owned(),
        target: parts[1].to_owned(),
        path: String::new(),
        query: None,
        minor: parts[2].as_bytes()[7] - b'0',
        fields: Vec::new(),
        host: String::new(),
        has_body: false,
        upgrade: Handshake::No,
    };
    Ok(field_section(window, line.next(), limits.fields)?.map(|(fields, head_len)| {
        parsed.fields = fields;
        parsed.head_len = head_len;
        parsed
    }))
}

fn request_line_faults(line: &Line<'_>, limit: usize) -> Vec<Fault> {
    let text = line.text;
    let at = |index: usize| line.start + index;
    let mut faults = Vec::new();
    let longest_method = limit.min(32);
    if text.iter().take_while(|&&b| is_tchar(b)).count() > longest_method {
        faults.push((at(longest_method), 501));
    }
    if text.len() > limit {
        faults.push((at(limit), 414));
    }
    let spaces: Vec<usize> = (0..text.len()).filter(|&i| text[i] == b' ').take(2).collect();
    let method_end = spaces.first().copied().unwrap_or(text.len());
    if let Some(bad) = (0..method_end).find(|&i| !is_tchar(text[i])) {
        faults.push((at(bad), 400));
    }
    let Some(&first) = spaces.first() else {
        if line.has_cr {
            faults.push((line.cr(), 400));
        }
        return faults;
    };
    if first == 0 {
        faults.push((at(0), 400));
    }
    let target_end = spaces.get(1).copied().unwrap_or(text.len());
    if let Some(bad) = (first + 1..target_end).find(|&i| !(0x21..=0x7e).contains(&text[i])) {
        faults.push((at(bad), 400));
    }
    let Some(&second) = spaces.get(1) else {
        if line.has_cr {
            faults.push((line.cr(), 400));
        }
        return faults;
    };
    if second == first + 1 {
        faults.push((at(second), 400));
    }
    let version = &text[second + 1..];
    for (index, &byte) in version.iter().enumerate() {
        let status = match index {
            0..=4 if byte == b"HTTP/"[index] => continue,
            5 if byte == b'1' => continue,
            5 if byte.is_ascii_digit() => 505,
            6 if byte == b'.' => continue,
            7 if byte.is_ascii_digit() => continue,
            _ => 400,
        };
        faults.push((at(second + 1 + index), status));
    }
    if line.has_cr && version.len() < 8 {
        faults.push((line.cr(), 400));
    }
    faults
}

/// What HTTP demands of any request; 0 or the status code.
fn message(parsed: &mut Parsed) -> u16 {
    if parsed.method == "CONNECT" {
        return 501;
    }
    let Some((authority, path, query)) = split_target(&parsed.method, &parsed.target) else { return 400 };
    parsed.path = path;
    parsed.query = query;

    let hosts = values(&parsed.fields, "host");
    match hosts.as_slice() {
        [] if parsed.minor == 0 => {}
        [host] if is_authority(host) => parsed.host = string(host),
        [host] if host.is_empty() && authority.is_some() => {}
        _ => return 400,
    }
    if let Some(authority) = authority {
        parsed.host = authority;
    }

    let lengths = elements(&parsed.fields, "content-length");
    if lengths.iter().any(|length| length.is_empty() || !length.iter().all(u8::is_ascii_digit)) {
        return 400;
    }
    let lengths: Vec<Option<u64>> = lengths.iter().map(|length| string(length).parse().ok()).collect();
    if lengths.contains(&None) || lengths.iter().any(|length| *length != lengths[0]) {
        return 400;
    }
    let mut codings = elements(&parsed.fields, "transfer-encoding");
    if values(&parsed.fields, "transfer-encoding").is_empty() {
        parsed.has_body = lengths.first().is_some_and(|length| *length != Some(0));
        return 0;
    }
    parsed.has_body = true;
    codings.retain(|coding| !coding.is_empty());
    let is_chunked = |coding: &Vec<u8>| coding.eq_ignore_ascii_case(b"chunked");
    let is_well_formed = |coding: &Vec<u8>| {
        let name = coding.split(|&b| b == b';').next().unwrap();
        is_token(trimmed(name))
    };
    if parsed.minor == 0
        || !lengths.is_empty()
        || codings.iter().filter(|coding| is_chunked(coding)).count() != 1
        || !codings.last().is_some_and(is_chunked)
        || !codings.iter().all(is_well_formed)
    {
        return 400;
    }
    if codings.len() == 1 { 0 } else { 501 }
}

fn split_target(method: &str, target: &str) -> Option<(Option<String>, String, Option<String>)> {
    if method == "OPTIONS" && target == "*" {
        return Some((None, "*".to_owned(), None));
    }
    if target.contains('#') {
        return None;
    }
    let (authority, rest) = if target.starts_with('/') {
        (None, target)
    } else {
        let (scheme, rest) = target.split_once("://")?;
        if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) {
            return None;
        }
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        if !is_authority(&rest.as_bytes()[..end]) {
            return None;
        }
        (Some(rest[..end].to_owned()), &rest[end..])
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (rest, None),
    };
    Some((authority, if path.is_empty() { "/" } else { path }.to_owned(), query))
}

fn is_authority(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            ("address", port)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let digits = port.strip_prefix(':').unwrap_or("");
    let port_is_fine = port.is_empty()
        || (port.starts_with(':')
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.is_empty() || digits.parse::<u16>().is_ok()));
    let mut plain = String::new();
    let mut parts = host.split('%');
    plain += parts.next().unwrap();
    for part in parts {
        if part.len() < 2 || !part.bytes().take(2).all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        plain += &part[2..];
    }
    let is_reg_name = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&b);
    !host.is_empty() && plain.bytes().all(is_reg_name) && port_is_fine
}
