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
