//! The frame header (RFC 6455, section 5.2): encoded, and parsed as far as the bytes received
//! allow.
//!
//! This file decides whether a header is well formed and allowed for the receiver's role. Whether
//! the frame may follow the earlier frames is decided in [`crate::connection`].

use super::{MAX_CONTROL_PAYLOAD, OpCode};
use crate::error::PeerMisbehaved;
use crate::role::Role;
use framewright_simd::apply_mask;

/// The longest header: 2 bytes, 8 of extended payload length, 4 of masking key.
pub const MAX_HEADER_LEN: usize = 14;

/// A frame header.
///
/// ```text
///   0                   1                   2                   3
///   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
///  +-+-+-+-+-------+-+-------------+-------------------------------+
///  |F|R|R|R| opcode|M| Payload len |    Extended payload length    |
///  |I|S|S|S|  (4)  |A|     (7)     |             (16/64)           |
///  |N|V|V|V|       |S|             |   (if payload len==126/127)   |
///  | |1|2|3|       |K|             |                               |
///  +-+-+-+-+-------+-+-------------+ - - - - - - - - - - - - - - - +
///  |     Extended payload length continued, if payload len == 127  |
///  + - - - - - - - - - - - - - - - +-------------------------------+
///  |                               |Masking-key, if MASK set to 1  |
///  +-------------------------------+-------------------------------+
///  | Masking-key (continued)       |          Payload Data         |
///  +-------------------------------- - - - - - - - - - - - - - - - +
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "the fields of section 5.2")]
pub struct Header {
    /// FIN: this frame is the last fragment of its message.
    pub fin: bool,
    /// RSV1, RSV2 and RSV3 in bits 2, 1 and 0. Zero unless an extension gives them a meaning.
    pub rsv: u8,
    /// The opcode, which says what the payload data is.
    pub opcode: OpCode,
    /// The masking key; `None` if the MASK bit is not set.
    pub mask: Option<[u8; 4]>,
    /// The length of the payload data in bytes, at most 2^63 - 1.
    pub payload_len: u64,
}

/// Whether the MASK bit must be set in received frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "the three answers there are")]
pub enum MaskRule {
    /// Frames from a client: an unmasked one is refused.
    Required,
    /// Frames from a server: a masked one is refused.
    Forbidden,
    /// For tools that read both directions.
    Either,
}

/// What a receiver accepts in a header, beyond the rules of section 5.2 that bind every receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "built by hand by users of the frame codec")]
pub struct Rules {
    /// Whether frames must be masked.
    pub mask: MaskRule,
    /// The RSV bits that a negotiated extension uses, as in [`Header::rsv`]; 0 without extensions.
    /// [`RSV1`] is the "Per-Message Compressed" bit, which only a Text or Binary frame may have.
    pub rsv: u8,
}

impl Rules {
    /// The rules for a receiver of this `role`, without extensions.
    #[must_use]
    pub const fn for_receiver(role: Role) -> Rules {
        match role {
            Role::Server => Rules { mask: MaskRule::Required, rsv: 0 },
            Role::Client => Rules { mask: MaskRule::Forbidden, rsv: 0 },
        }
    }
}

/// RSV1 in [`Header::rsv`]: set in the first frame of a compressed message if permessage-deflate
/// was negotiated (RFC 7692, section 6).
pub const RSV1: u8 = 0b100;

pub(super) const FIN: u8 = 0x80;
const MASK: u8 = 0x80;
const LEN_16: u8 = 126;
const LEN_64: u8 = 127;
/// The first byte of a whole message: FIN, no RSV bit, and the opcode.
const TEXT_MESSAGE: u8 = FIN | OpCode::Text.bits();
const BINARY_MESSAGE: u8 = FIN | OpCode::Binary.bits();

/// The length of a header with a masking key and no extended length.
pub(crate) const SHORT_MASKED_LEN: usize = 6;

impl Header {
    /// Parses the header at the start of `bytes`; returns it with its length in bytes (2 to 14).
    ///
    /// `Ok(None)` means that more bytes are needed. A fault in the first two bytes is reported as
    /// soon as the faulty byte is there, one in the extended length once all of that length is
    /// there. The result therefore does not depend on how the stream is split.
    ///
    /// # Errors
    /// The rule that the peer broke; see [`PeerMisbehaved`].
    #[inline]
    pub fn parse(bytes: &[u8], rules: Rules) -> Result<Option<(Header, usize)>, PeerMisbehaved> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, rsv, opcode) = check_first(first, rules)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let masked = second & MASK != 0;
        let short_len = second & !MASK;
        check_second(opcode, masked, short_len, rules)?;

        let (payload_len, at) = match short_len {
            LEN_16 => {
                let Some(octets) = bytes.get(2..4) else { return Ok(None) };
                let len = u64::from(u16::from_be_bytes([octets[0], octets[1]]));
                check_minimal(len, u64::from(LEN_16))?;
                (len, 4)
            }
            LEN_64 => {
                let Some(octets) = bytes.get(2..10) else { return Ok(None) };
                let len = u64::from_be_bytes(octets.try_into().expect("the slice has eight octets"));
                //= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
                //# If 127, the following 8 bytes interpreted as a
                //# 64-bit unsigned integer (the most significant bit MUST be 0) are
                //# the payload length.
                if len >> 63 != 0 {
                    return Err(PeerMisbehaved::LengthTopBit);
                }
                check_minimal(len, 1 << 16)?;
                (len, 10)
            }
            len => (u64::from(len), 2),
        };
        if !masked {
            return Ok(Some((Header { fin, rsv, opcode, mask: None, payload_len }, at)));
        }
        let Some(key) = bytes.get(at..at + 4) else { return Ok(None) };
        let key = key.try_into().expect("the slice has four octets");
        Ok(Some((Header { fin, rsv, opcode, mask: Some(key), payload_len }, at + 4)))
    }

    /// The length in bytes of the frame that starts `bytes`, header included, even if it breaks a
    /// rule. `None` if its length has not been received yet.
    pub(crate) fn frame_len(bytes: &[u8]) -> Option<u64> {
        let second = *bytes.get(1)?;
        let (payload_len, at) = match second & !MASK {
            LEN_16 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
            LEN_64 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
            len => (u64::from(len), 2),
        };
        let key_len = if second & MASK != 0 { 4 } else { 0 };
        Some(payload_len.saturating_add(at + key_len))
    }

    /// Parses the most frequent kind of header at once: a whole masked message of at most 125
    /// bytes. Returns its opcode, masking key and payload length; the header is
    /// [`SHORT_MASKED_LEN`] bytes long.
    ///
    /// `None` for every other header, valid or not, and for an incomplete one: use
    /// [`parse`](Header::parse) for those.
    #[inline]
    pub(crate) fn parse_short_masked(bytes: &[u8]) -> Option<(OpCode, [u8; 4], usize)> {
        let [first, second, key @ ..] = *bytes.first_chunk::<SHORT_MASKED_LEN>()?;
        let opcode = match first {
            TEXT_MESSAGE => OpCode::Text,
            BINARY_MESSAGE => OpCode::Binary,
            _ => return None,
        };
        let len = second ^ MASK;
        if len < LEN_16 { Some((opcode, key, usize::from(len))) } else { None }
    }

    /// Writes the header to the start of `target` and returns its length in bytes (2 to 14). It
    /// uses the shortest form of the length.
    ///
    /// # Panics
    /// If `payload_len` has its most significant bit set, or if `rsv` has more than three bits: the
    /// wire format has no room for either.
    #[inline]
    pub fn encode(&self, target: &mut [u8; MAX_HEADER_LEN]) -> usize {
        assert!(self.payload_len >> 63 == 0 && self.rsv < 8, "a header that section 5.2 cannot express");
        let mask_bit = if self.mask.is_some() { MASK } else { 0 };
        target[0] = if self.fin { FIN } else { 0 } | self.rsv << 4 | self.opcode.bits();
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
        //# Note that in all cases, the minimal number of bytes MUST be used to encode
        //# the length
        #[allow(clippy::cast_possible_truncation, reason = "each arm's range fits")]
        let at = match self.payload_len {
            0..=125 => {
                target[1] = mask_bit | self.payload_len as u8;
                2
            }
            126..=0xFFFF => {
                target[1] = mask_bit | LEN_16;
                target[2..4].copy_from_slice(&(self.payload_len as u16).to_be_bytes());
                4
            }
            _ => {
                target[1] = mask_bit | LEN_64;
                target[2..10].copy_from_slice(&self.payload_len.to_be_bytes());
                10
            }
        };
        let Some(key) = self.mask else { return at };
        target[at..at + 4].copy_from_slice(&key);
        at + 4
    }

    /// The length in bytes of the encoded header.
    #[must_use]
    pub const fn encoded_len(&self) -> usize {
        let len = match self.payload_len {
            0..=125 => 2,
            126..=0xFFFF => 4,
            _ => 10,
        };
        if self.mask.is_some() { len + 4 } else { len }
    }
}

/// Checks the first byte: FIN, RSV bits and opcode.
#[inline]
fn check_first(first: u8, rules: Rules) -> Result<(bool, u8, OpCode), PeerMisbehaved> {
    let rsv = (first >> 4) & 0x7;
    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    //# If a nonzero value is
    //# received and none of the negotiated extensions defines the meaning
    //# of such a nonzero value, the receiving endpoint MUST _Fail the
    //# WebSocket Connection_.
    if rsv & !rules.rsv != 0 {
        return Err(PeerMisbehaved::ReservedBits(rsv));
    }
    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.2
    //# If an unknown
    //# opcode is received, the receiving endpoint MUST _Fail the
    //# WebSocket Connection_.
    let Some(opcode) = OpCode::from_bits(first & 0xF) else {
        return Err(PeerMisbehaved::UnknownOpcode(first & 0xF));
    };
    //= https://www.rfc-editor.org/rfc/rfc7692#section-6.1
    //# An endpoint MUST NOT set the "Per-Message Compressed"
    //# bit of control frames and non-first fragments of a data message.
    if rsv & RSV1 != 0 && !matches!(opcode, OpCode::Text | OpCode::Binary) {
        return Err(PeerMisbehaved::MisplacedRsv1(opcode));
    }
    let fin = first & FIN != 0;
    //= https://www.rfc-editor.org/rfc/rfc6455#section-5.5
    //# All control frames MUST have a payload length of 125 bytes or less
    //# and MUST NOT be fragmented.
    if opcode.is_control() && !fin {
        return Err(PeerMisbehaved::FragmentedControl(opcode));
    }
    Ok((fin, rsv, opcode))
}

/// Checks the second byte: MASK and the short length.
#[inline]
fn check_second(opcode: OpCode, masked: bool, short_len: u8, rules: Rules) -> Result<(), PeerMisbehaved> {
    match (rules.mask, masked) {
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
        //# The server MUST close the connection upon receiving a
        //# frame that is not masked.
        (MaskRule::Required, false) => return Err(PeerMisbehaved::UnmaskedFrame),
        //= https://www.rfc-editor.org/rfc/rfc6455#section-5.1
        //# A client MUST close a connection if it detects a masked
        //# frame.
        (MaskRule::Forbidden, true) => return Err(PeerMisbehaved::MaskedFrame),
        _ => {}
    }
    if opcode.is_control() && usize::from(short_len) > MAX_CONTROL_PAYLOAD {
        return Err(PeerMisbehaved::ControlTooLong(opcode));
    }
    Ok(())
}

#[inline]
fn check_minimal(len: u64, least: u64) -> Result<(), PeerMisbehaved> {
    if len < least { Err(PeerMisbehaved::NonMinimalLength(len)) } else { Ok(()) }
}

/// A frame, and the bytes after it.
type FrameAndRest<'a> = (Frame<'a>, &'a mut [u8]);

/// A whole frame within the slice that it was decoded from, with its payload unmasked.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame<'a> {
    /// The header as it was received. [`Header::mask`] still names the key that was applied.
    pub header: Header,
    /// The payload data, unmasked in place.
    pub payload: &'a mut [u8],
}

impl<'a> Frame<'a> {
    /// Decodes the frame at the start of `bytes` and unmasks it in place; returns the frame and the
    /// bytes after it.
    ///
    /// `Ok(None)` means that the frame is incomplete; `bytes` is unchanged. To limit the length of
    /// frames, call [`Header::parse`] first.
    ///
    /// ```
    /// use framewright::Role;
    /// use framewright::frame::{Frame, OpCode, Rules};
    ///
    /// // Section 5.7: a single-frame masked text message, "Hello".
    /// let mut bytes = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    /// let (frame, rest) = Frame::decode(&mut bytes, Rules::for_receiver(Role::Server)).unwrap().unwrap();
    /// assert_eq!((frame.header.opcode, &*frame.payload), (OpCode::Text, &b"Hello"[..]));
    /// assert!(rest.is_empty());
    /// ```
    ///
    /// # Errors
    /// The rule that the peer broke; see [`PeerMisbehaved`].
    pub fn decode(bytes: &'a mut [u8], rules: Rules) -> Result<Option<FrameAndRest<'a>>, PeerMisbehaved> {
        let Some((header, header_len)) = Header::parse(bytes, rules)? else { return Ok(None) };
        let available = (bytes.len() - header_len) as u64;
        if available < header.payload_len {
            return Ok(None);
        }
        let payload_len = usize::try_from(header.payload_len).expect("no longer than the slice");
        let (payload, rest) = bytes[header_len..].split_at_mut(payload_len);
        if let Some(key) = header.mask {
            apply_mask(payload, key, 0);
        }
        Ok(Some((Frame { header, payload }, rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EITHER: Rules = Rules { mask: MaskRule::Either, rsv: 0 };

    fn parse_at_every_prefix(bytes: &[u8], rules: Rules) -> Result<(Header, usize), PeerMisbehaved> {
        for end in 0..bytes.len() {
            match Header::parse(&bytes[..end], rules) {
                Ok(None) => {}
                Ok(Some(_)) => panic!("a header of {} octets was taken from {end}", bytes.len()),
                Err(early) => {
                    assert_eq!(
                        Header::parse(bytes, rules),
                        Err(early),
                        "the whole must fail as the prefix does"
                    );
                    return Err(early);
                }
            }
        }
        Header::parse(bytes, rules).map(|parsed| parsed.expect("all octets are there"))
    }

    #[test]
    fn the_short_look_sees_what_parsing_says_and_nothing_else() {
        let rules = Rules::for_receiver(Role::Server);
        for first in 0..=u8::MAX {
            for second in 0..=u8::MAX {
                let bytes = [first, second, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
                let expected = match Header::parse(&bytes, rules) {
                    Ok(Some((header, SHORT_MASKED_LEN)))
                        if header.fin && matches!(header.opcode, OpCode::Text | OpCode::Binary) =>
                    {
                        Some((header.opcode, [1, 2, 3, 4], usize::try_from(header.payload_len).unwrap()))
                    }
                    _ => None,
                };
                assert_eq!(Header::parse_short_masked(&bytes), expected, "{first:02x} {second:02x}");
                assert_eq!(Header::parse_short_masked(&bytes[..SHORT_MASKED_LEN]), expected);
                assert_eq!(Header::parse_short_masked(&bytes[..SHORT_MASKED_LEN - 1]), None);
            }
        }
    }

    #[test]
    fn every_length_form_and_mask_state_survives_a_round_trip() {
        for payload_len in [0, 1, 125, 126, 127, 0xFFFF, 0x1_0000, u64::from(u32::MAX) + 1, u64::MAX >> 1] {
            for mask in [None, Some([1, 2, 3, 4])] {
                for fin in [false, true] {
                    let header = Header { fin, rsv: 0, opcode: OpCode::Binary, mask, payload_len };
                    let mut bytes = [0; MAX_HEADER_LEN];
                    let len = header.encode(&mut bytes);
                    assert_eq!(len, header.encoded_len());
                    assert_eq!(parse_at_every_prefix(&bytes[..len], EITHER), Ok((header, len)));
                }
            }
        }
    }

    #[test]
    fn the_longest_header_has_fourteen_octets() {
        let header =
            Header { fin: true, rsv: 0, opcode: OpCode::Text, mask: Some([0; 4]), payload_len: 1 << 40 };
        assert_eq!(header.encode(&mut [0; MAX_HEADER_LEN]), MAX_HEADER_LEN);
    }

    #[test]
    fn non_minimal_lengths_are_refused() {
        for len in [0u16, 1, 125] {
            let [high, low] = len.to_be_bytes();
            let parsed = parse_at_every_prefix(&[0x82, 126, high, low], EITHER);
            assert_eq!(parsed, Err(PeerMisbehaved::NonMinimalLength(u64::from(len))));
        }
        for len in [0u64, 125, 126, 0xFFFF] {
            let mut bytes = vec![0x82, 127];
            bytes.extend(len.to_be_bytes());
            assert_eq!(parse_at_every_prefix(&bytes, EITHER), Err(PeerMisbehaved::NonMinimalLength(len)));
        }
    }

    #[test]
    fn the_top_bit_of_a_64_bit_length_is_refused() {
        let bytes = [0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0];
        assert_eq!(parse_at_every_prefix(&bytes, EITHER), Err(PeerMisbehaved::LengthTopBit));
    }

    #[test]
    fn every_first_octet_is_judged_at_once() {
        for first in 0..=255u8 {
            let parsed = Header::parse(&[first], EITHER);
            let rsv = (first >> 4) & 7;
            let bits = first & 0xF;
            let expected = if rsv != 0 {
                Err(PeerMisbehaved::ReservedBits(rsv))
            } else {
                match OpCode::from_bits(bits) {
                    None => Err(PeerMisbehaved::UnknownOpcode(bits)),
                    Some(opcode) if opcode.is_control() && first & FIN == 0 => {
                        Err(PeerMisbehaved::FragmentedControl(opcode))
                    }
                    Some(_) => Ok(None),
                }
            };
            assert_eq!(parsed, expected, "{first:#04x}");
        }
    }

    #[test]
    fn rsv_bits_of_a_negotiated_extension_pass() {
        let rules = Rules { mask: MaskRule::Either, rsv: 0b100 };
        let (header, _) = Header::parse(&[0xC1, 0], rules).unwrap().unwrap();
        assert_eq!(header.rsv, 0b100);
        assert_eq!(Header::parse(&[0xA1, 0], rules), Err(PeerMisbehaved::ReservedBits(0b010)));
    }

    #[test]
    fn the_mask_bit_is_judged_by_role() {
        let server = Rules::for_receiver(Role::Server);
        let client = Rules::for_receiver(Role::Client);
        assert_eq!(Header::parse(&[0x81, 0x00], server), Err(PeerMisbehaved::UnmaskedFrame));
        assert_eq!(Header::parse(&[0x81, 0x80], client), Err(PeerMisbehaved::MaskedFrame));
        assert!(Header::parse(&[0x81, 0x80, 1, 2, 3, 4], server).unwrap().is_some());
        assert!(Header::parse(&[0x81, 0x00], client).unwrap().is_some());
    }

    #[test]
    fn control_frames_over_125_octets_are_refused_by_the_second_octet() {
        for opcode in [OpCode::Close, OpCode::Ping, OpCode::Pong] {
            for short_len in [126, 127] {
                let parsed = Header::parse(&[FIN | opcode.bits(), short_len], EITHER);
                assert_eq!(parsed, Err(PeerMisbehaved::ControlTooLong(opcode)));
            }
            assert!(Header::parse(&[FIN | opcode.bits(), 125], EITHER).unwrap().is_some());
        }
    }

    #[test]
    fn a_frame_is_not_touched_before_it_is_whole() {
        let whole = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        for end in 0..whole.len() {
            let mut bytes = whole[..end].to_vec();
            assert_eq!(Frame::decode(&mut bytes, EITHER), Ok(None));
            assert_eq!(bytes, whole[..end]);
        }
    }
}
