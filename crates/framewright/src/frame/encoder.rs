//! Appends whole frames to a byte vector (RFC 6455, section 5.2): one reservation, one pass over
//! the payload.

use super::header::FIN;
use super::{Header, MAX_HEADER_LEN, OpCode};
use framewright_simd::copy_masked;

/// The length in bytes of a frame with a payload of `payload_len` bytes, header included.
#[must_use]
pub const fn encoded_len(payload_len: usize, masked: bool) -> usize {
    let header = match payload_len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    header + payload_len + if masked { 4 } else { 0 }
}

/// Appends one frame to `out`, masked if `mask` is a key. `payload` itself is not changed.
///
/// The caller decides whether such a frame may be sent now: the order of fragments, the 125 bytes
/// of a control frame, the role's masking. [`Connection`](crate::Connection) does all of that.
///
/// ```
/// use framewright::frame::{OpCode, encode_frame};
///
/// // Section 5.7: a single-frame unmasked text message, "Hello".
/// let mut bytes = Vec::new();
/// encode_frame(&mut bytes, true, OpCode::Text, b"Hello", None);
/// assert_eq!(bytes, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
/// ```
pub fn encode_frame(out: &mut Vec<u8>, fin: bool, opcode: OpCode, payload: &[u8], mask: Option<[u8; 4]>) {
    let header = Header { fin, rsv: 0, opcode, mask, payload_len: payload.len() as u64 };
    let mut octets = [0; MAX_HEADER_LEN];
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

/// The longest payload that [`encode_short`] takes.
pub(crate) const SHORT_PAYLOAD: usize = 64;

/// The longest frame in bytes that [`encode_short`] writes.
pub(crate) const SHORT_FRAME: usize = 2 + SHORT_PAYLOAD;

/// Writes a whole unmasked message of up to [`SHORT_PAYLOAD`] bytes to the start of `target`.
/// Returns the length of the frame, or `None` if the payload is longer.
///
/// It copies pieces of fixed lengths, which need no function call. The last two pieces may overlap.
#[inline]
pub(crate) fn encode_short(target: &mut [u8; SHORT_FRAME], opcode: OpCode, payload: &[u8]) -> Option<usize> {
    let len = payload.len();
    if len > SHORT_PAYLOAD {
        return None;
    }
    #[allow(clippy::cast_possible_truncation, reason = "at most SHORT_PAYLOAD")]
    let header = [FIN | opcode.bits(), len as u8];
    let (start, rest) = target.split_at_mut(2);
    start.copy_from_slice(&header);
    // Not a loop: the compiler would turn it into a call.
    if let (Some(first), Some(last)) = (payload.first_chunk::<16>(), payload.last_chunk::<16>()) {
        rest[..16].copy_from_slice(first);
        if len > 32 {
            rest[16..32].copy_from_slice(&payload[16..32]);
        }
        if len > 48 {
            rest[32..48].copy_from_slice(&payload[32..48]);
        }
        rest[len - 16..len].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (payload.first_chunk::<8>(), payload.last_chunk::<8>()) {
        rest[..8].copy_from_slice(first);
        rest[len - 8..len].copy_from_slice(last);
    } else if let (Some(first), Some(last)) = (payload.first_chunk::<4>(), payload.last_chunk::<4>()) {
        rest[..4].copy_from_slice(first);
        rest[len - 4..len].copy_from_slice(last);
    } else if let [first, .., last] | [first @ last] = payload {
        rest[0] = *first;
        rest[len / 2] = payload[len / 2];
        rest[len - 1] = *last;
    }
    Some(2 + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_frame_is_what_any_encoding_makes_of_it() {
        let payload: Vec<u8> = (0..200).collect();
        for opcode in [OpCode::Text, OpCode::Binary] {
            for len in 0..=payload.len() {
                let mut expected = Vec::new();
                encode_frame(&mut expected, true, opcode, &payload[..len], None);
                let mut target = [0xEE; SHORT_FRAME];
                match encode_short(&mut target, opcode, &payload[..len]) {
                    Some(written) => assert_eq!(target[..written], expected),
                    None => assert!(len > SHORT_PAYLOAD),
                }
            }
        }
    }
}
