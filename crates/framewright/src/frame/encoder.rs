//! Appends whole frames to a byte vector (RFC 6455, section 5.2): one reservation, one pass over the payload.

use super::{Header, MAX_HEADER_LEN, OpCode};
use framewright_simd::copy_masked;

/// The octets that a frame with this payload takes on the wire.
#[must_use]
pub const fn encoded_len(payload_len: usize, masked: bool) -> usize {
    let header = match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + payload_len + if masked { 4 } else { 0 }
}

/// Appends one frame to `out`, masked where a key is given. The caller's payload is not changed.
///
/// Whether such a frame may be sent now (fragmentation, the 125 octets of a control frame, the role's masking) is the
/// caller's to know; [`Connection`](crate::Connection) does.
///
/// ```
/// use framewright::frame::{OpCode, encode_frame};
///
/// // Section 5.7: a single-frame unmasked text message, "Hello".
/// let mut bytes = Vec::new();
/// encode_frame(&mut bytes, true, OpCode::Text, b"Hello", None);
/// assert_eq!(bytes, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
/// ```
#[inline]
pub fn encode_frame(out: &mut Vec<u8>, fin: bool, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
    let header = Header { fin, rsv: 0, opcode, mask, payload_len: payload.len() as u64 };
    let mut octets = [0; MAX_HEADER_LEN];
    if mask.is_none() && payload.len() <= SHORT {
        header.encode(&mut octets);
        out.reserve(2 + payload.len());
        out.extend_from_slice(&[octets[0], octets[1]]);
        return extend_short(out, payload);
    }
    let header_len = header.encode(&mut octets);
    out.reserve(header_len + payload.len());
    out.extend_from_slice(&octets[..header_len]);
    match mask {
        None => out.extend_from_slice(payload),
        Some(key) => {
            let start = out.len();
            out.resize(start + payload.len(), 0);
            copy_masked(&mut out[start..], payload, key, 0);
        }
    }
}

/// Payloads up to this length are copied in pieces of fixed lengths, without a call.
const SHORT: usize = 64;

/// Appends a short payload. The last two pieces may overlap: the octets that both have are taken back in between.
#[inline]
fn extend_short(out: &mut Vec<u8>, payload: &[u8]) {
    let end = out.len() + payload.len();
    if let Some(last) = payload.last_chunk::<16>() {
        for piece in payload.as_chunks::<16>().0 {
            out.extend_from_slice(piece);
        }
        out.truncate(end - 16);
        out.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (payload.first_chunk::<8>(), payload.last_chunk::<8>()) {
        out.extend_from_slice(first);
        out.truncate(end - 8);
        out.extend_from_slice(last);
    } else if let (Some(first), Some(last)) = (payload.first_chunk::<4>(), payload.last_chunk::<4>()) {
        out.extend_from_slice(first);
        out.truncate(end - 4);
        out.extend_from_slice(last);
    } else {
        payload.iter().for_each(|&octet| out.push(octet));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_around_the_short_ones_is_copied_whole_behind_what_is_there() {
        let payload: Vec<u8> = (0..200).collect();
        for len in 0..=payload.len() {
            let mut out = b"before".to_vec();
            encode_frame(&mut out, true, OpCode::Binary, &payload[..len], None);
            assert_eq!(out.len(), 6 + encoded_len(len, false));
            assert!(out.starts_with(b"before\x82"));
            assert!(out.ends_with(&payload[..len]), "{len} octets");
        }
    }
}
