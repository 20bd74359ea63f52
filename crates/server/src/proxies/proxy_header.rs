//! The header of the PROXY protocol, versions 1 and 2: a proxy sends it before the bytes that it
//! forwards, to name their source (haproxy's `doc/proxy-protocol.txt`, 2020/03/05).
//!
//! ```text
//! version 1   PROXY TCP4 192.0.2.1 198.51.100.2 4711 443 CR LF          at most 107 octets
//!
//! version 2   0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A    signature          12 octets
//!             2 | 0 LOCAL, 1 PROXY                   version, command    1
//!             1 IPv4, 2 IPv6, 3 Unix | 1 stream      family, protocol    1
//!             length of what follows                                     2
//!             addresses, ports; extensions (TLVs), which are skipped
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The source of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The proxy itself: the socket's own address counts.
    Proxy,
    Ip(SocketAddr),
    /// A source without an address: on a Unix socket of the proxy, or over a protocol that the
    /// header does not name.
    Unnamed,
}

/// The longest line of version 1, with its CR LF (section 2.1).
const MAX_LINE: usize = 107;

/// Bytes of version 2 that may follow the first 16, extensions included. The addresses have 216 at
/// most; the facts about a certificate take some hundred.
const MAX_BLOCK: usize = 4096;

/// The longest header that is read.
pub(crate) const MAX_HEADER: usize = 16 + MAX_BLOCK;

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why the bytes received are not a valid header. There is no answer to it: the connection is
/// closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    Missing,
    LineTooLong,
    MalformedLine,
    Version,
    Command,
    Family,
    BlockTooLong,
    BlockTooShort,
}

impl fmt::Display for HeaderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeaderError::Missing => "no header of the PROXY protocol",
            HeaderError::LineTooLong => "a PROXY line longer than 107 octets",
            HeaderError::MalformedLine => "a malformed PROXY line",
            HeaderError::Version => "a version of the PROXY protocol other than 1 and 2",
            HeaderError::Command => "a command of the PROXY protocol other than LOCAL and PROXY",
            HeaderError::Family => "a PROXY header for something else than a stream over IP or a Unix socket",
            HeaderError::BlockTooLong => "a PROXY header longer than 4112 octets",
            HeaderError::BlockTooShort => "a PROXY header without room for its addresses",
        })
    }
}

/// Reads the header at the start of `octets`, which are all bytes received. Returns it with its
/// length once it is complete, and `None` before.
pub(crate) fn parse(octets: &[u8]) -> Result<Option<(Source, usize)>, HeaderError> {
    match octets.first() {
        None => Ok(None),
        Some(b'P') => parse_line(octets),
        Some(_) => parse_block(octets),
    }
}

/// Whether `octets` begin with `start`, as far as they have been received.
fn begins(octets: &[u8], start: &[u8]) -> bool {
    octets.iter().zip(start).all(|(octet, expected)| octet == expected)
}

/// Version 1 (section 2.1).
fn parse_line(octets: &[u8]) -> Result<Option<(Source, usize)>, HeaderError> {
    if !begins(octets, LINE_START) {
        return Err(HeaderError::Missing);
    }
    let Some(end) = octets.iter().take(MAX_LINE).position(|&octet| octet == b'\n') else {
        return if octets.len() < MAX_LINE { Ok(None) } else { Err(HeaderError::LineTooLong) };
    };
    let line = octets[..end].strip_suffix(b"\r").ok_or(HeaderError::MalformedLine)?;
    let line = line.strip_prefix(LINE_START).ok_or(HeaderError::MalformedLine)?;
    // The ignored rest after UNKNOWN need not be text.
    let source = source_of_line(&String::from_utf8_lossy(line)).ok_or(HeaderError::MalformedLine)?;
    Ok(Some((source, end + 1)))
}

/// The source in `line`, the text between `PROXY ` and the end of the line.
fn source_of_line(line: &str) -> Option<Source> {
    let mut words = line.split(' ');
    let protocol = words.next()?;
    if protocol == "UNKNOWN" {
        // The receiver ignores the rest of it.
        return Some(Source::Unnamed);
    }
    let mut ip = || {
        let ip: IpAddr = words.next()?.parse().ok()?;
        (protocol == if ip.is_ipv4() { "TCP4" } else { "TCP6" }).then_some(ip)
    };
    let (source, _destination) = (ip()?, ip()?);
    let mut port = || words.next().and_then(port);
    let (source_port, _destination_port) = (port()?, port()?);
    words.next().is_none().then_some(Source::Ip(SocketAddr::new(source, source_port)))
}

/// A number without a sign and without zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_decimal =
        text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    is_decimal.then(|| text.parse().ok())?
}

/// Version 2 (section 2.2).
fn parse_block(octets: &[u8]) -> Result<Option<(Source, usize)>, HeaderError> {
    if !begins(octets, SIGNATURE) {
        return Err(HeaderError::Missing);
    }
    let Some((&[.., version_and_command, family, high, low], rest)) = octets.split_first_chunk::<16>() else {
        return Ok(None);
    };
    if version_and_command >> 4 != 2 {
        return Err(HeaderError::Version);
    }
    let len = usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_BLOCK {
        return Err(HeaderError::BlockTooLong);
    }
    let Some(block) = rest.get(..len) else { return Ok(None) };
    let source = match version_and_command & 0xf {
        // The family and the addresses are ignored.
        0 => Source::Proxy,
        1 => source_of_block(family, block)?,
        _ => return Err(HeaderError::Command),
    };
    Ok(Some((source, 16 + len)))
}

/// The source in an address block of this family. The block holds source and destination, then
/// their ports.
fn source_of_block(family: u8, block: &[u8]) -> Result<Source, HeaderError> {
    let ip = |ip: IpAddr, ports: &[u8]| {
        let (port, _) = ports.split_first_chunk::<2>().expect("there are two ports");
        Source::Ip(SocketAddr::new(ip, u16::from_be_bytes(*port)))
    };
    let source = match family {
        0x00 => Some(Source::Unnamed),
        0x11 => block.first_chunk::<12>().map(|block| {
            let (source, rest) = block.split_first_chunk::<4>().expect("it has 12 octets");
            ip(Ipv4Addr::from(*source).into(), &rest[4..])
        }),
        0x21 => block.first_chunk::<36>().map(|block| {
            let (source, rest) = block.split_first_chunk::<16>().expect("it has 36 octets");
            ip(Ipv6Addr::from(*source).into(), &rest[16..])
        }),
        0x31 => block.first_chunk::<216>().map(|_| Source::Unnamed),
        _ => return Err(HeaderError::Family),
    };
    source.ok_or(HeaderError::BlockTooShort)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(addr: &str) -> Source {
        Source::Ip(addr.parse().expect("an address"))
    }

    /// A header of version 2.
    fn block(version_and_command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let len = u16::try_from(block.len()).expect("a short block").to_be_bytes();
        [SIGNATURE, &[version_and_command, family], &len, block].concat()
    }

    fn ipv4() -> [u8; 12] {
        [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x67, 1, 187]
    }

    fn ipv6() -> Vec<u8> {
        let [source, destination] =
            ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
        [&source[..], &destination, &[0x12, 0x67, 1, 187]].concat()
    }

    /// Correct headers, and the sources that they name.
    fn headers() -> Vec<(Vec<u8>, Source)> {
        let tlv = [4, 0, 1, 0];
        let longest = "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
             ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
        assert_eq!(longest.len(), MAX_LINE);
        vec![
            (b"PROXY TCP4 192.0.2.1 198.51.100.2 4711 443\r\n".to_vec(), source("192.0.2.1:4711")),
            (
                b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 0\r\n".to_vec(),
                source("255.255.255.255:65535"),
            ),
            (b"PROXY TCP6 2001:db8::1 2001:db8::2 4711 443\r\n".to_vec(), source("[2001:db8::1]:4711")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Source::Unnamed),
            (b"PROXY UNKNOWN what \xff ever\r\n".to_vec(), Source::Unnamed),
            (longest.as_bytes().to_vec(), Source::Unnamed),
            (block(0x20, 0x00, &[]), Source::Proxy),
            (block(0x20, 0xff, &ipv4()), Source::Proxy),
            (block(0x21, 0x00, &tlv), Source::Unnamed),
            (block(0x21, 0x11, &ipv4()), source("192.0.2.1:4711")),
            (block(0x21, 0x11, &[&ipv4()[..], &tlv].concat()), source("192.0.2.1:4711")),
            (block(0x21, 0x21, &ipv6()), source("[2001:db8::1]:4711")),
            (block(0x21, 0x21, &[&ipv6()[..], &[4; MAX_BLOCK - 36]].concat()), source("[2001:db8::1]:4711")),
            (block(0x21, 0x31, &[0; 216]), Source::Unnamed),
        ]
    }

    #[test]
    fn a_header_is_read_however_it_is_cut() {
        for (header, source) in headers() {
            for len in 0..header.len() {
                assert_eq!(parse(&header[..len]), Ok(None), "{len} of {}", header.escape_ascii());
            }
            assert_eq!(parse(&header), Ok(Some((source, header.len()))), "{}", header.escape_ascii());
            let more = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&more), Ok(Some((source, header.len()))), "{}", header.escape_ascii());
        }
    }

    #[test]
    fn what_breaks_a_rule_is_told() {
        for (octets, error) in [
            (&b"GET / HTTP/1.1\r\n"[..], HeaderError::Missing),
            (b"PUT / HTTP/1.1\r\n", HeaderError::Missing),
            (b"\x16\x03\x01", HeaderError::Missing),
            (b"\r\n\r\n\0\r\nQUIT\r", HeaderError::Missing),
            (b"proxy UNKNOWN\r\n", HeaderError::Missing),
            (b"PROXY\r\n", HeaderError::Missing),
            (b"PROXY \r\n", HeaderError::MalformedLine),
            (b"PROXY UNKNOWN\n", HeaderError::MalformedLine),
            (b"PROXY UNKNOWNS\r\n", HeaderError::MalformedLine),
            (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", HeaderError::MalformedLine),
            (b"PROXY TCP6 2001:db8::1%1 2001:db8::2 1 2\r\n", HeaderError::MalformedLine),
            (&[b"PROXY UNKNOWN ", &b"x".repeat(93)[..]].concat(), HeaderError::LineTooLong),
            (&block(0x11, 0x11, &ipv4()), HeaderError::Version),
            (&block(0x31, 0x11, &ipv4()), HeaderError::Version),
            (&block(0x22, 0x11, &ipv4()), HeaderError::Command),
            (&block(0x21, 0x12, &ipv4()), HeaderError::Family),
            (&block(0x21, 0x41, &ipv4()), HeaderError::Family),
            (&block(0x21, 0x10, &ipv4()), HeaderError::Family),
            (&block(0x21, 0x11, &ipv4()[..11]), HeaderError::BlockTooShort),
            (&block(0x21, 0x21, &ipv6()[..35]), HeaderError::BlockTooShort),
            (&block(0x21, 0x31, &[0; 215]), HeaderError::BlockTooShort),
            (&block(0x20, 0x00, &[0; MAX_BLOCK + 1])[..16], HeaderError::BlockTooLong),
        ] {
            assert_eq!(parse(octets), Err(error), "{}", octets.escape_ascii());
        }
    }

    /// A header that is changed, truncated and extended.
    fn altered() -> impl Strategy<Value = Vec<u8>> {
        let header = (0..headers().len()).prop_map(|index| headers()[index].0.clone());
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        let end = prop::collection::vec(any::<u8>(), 0..200);
        (header, changes, end).prop_map(|(mut header, changes, end)| {
            for (index, octet) in changes {
                let at = index.index(header.len().min(40));
                header[at] = octet;
            }
            [header, end].concat()
        })
    }

    proptest! {
        /// However the bytes are split, a header found in all of them is found, and as soon as it
        /// is complete. A fault is the same with more bytes.
        #[test]
        fn every_split_leads_to_the_same(octets in altered()) {
            let whole = parse(&octets);
            let first = (0..=octets.len()).find_map(|len| Some((len, parse(&octets[..len]).transpose()?)));
            match first {
                None => prop_assert_eq!(whole, Ok(None)),
                Some((len, Ok((source, header)))) => {
                    prop_assert_eq!(len, header);
                    prop_assert!(header <= MAX_HEADER);
                    prop_assert_eq!(whole, Ok(Some((source, header))));
                }
                Some((len, Err(error))) => {
                    for more in len..=octets.len() {
                        prop_assert_eq!(parse(&octets[..more]), Err(error));
                    }
                }
            }
        }
    }
}
