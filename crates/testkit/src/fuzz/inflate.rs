//! Compressed messages against the law of connections: what is inflated depends on the octets
//! alone, in whatever pieces they come, and it is what the [naive inflater](crate::naive::inflate)
//! makes of them.
//!
//! The first five octets pick the settings and what was agreed on; the rest are frames, most of
//! them of one compressed message after the other:
//!
//! ```text
//!   | opcode, FIN, RSV1 | length | payload ... | the next frame ...
//! ```

use crate::fuzz::connection::Plan;
use crate::naive::inflate::{End, Inflation};
use crate::wire::masked;
use framewright::Role;
use framewright::deflate::{Decompressor, DeflateParams, InflateError, WindowBits};

/// Octets of a payload, at most: the naive inflater reads all that came of a message for each frame
/// of it.
const MOST: usize = 4096;

/// Checks a connection that receives what the octets say, and a decompressor that is given all of
/// them as one payload.
///
/// # Panics
/// If anything is wrong.
pub fn check(data: &[u8]) {
    let Some((picks, rest)) = data.split_first_chunk::<5>() else { return };
    let rest = &rest[..rest.len().min(MOST)];
    let &[modes, limits, marks, seed, agreed] = picks;
    let mut plan = Plan::pick([modes, limits, marks, seed]);
    plan.deflate = Some(params(agreed));
    plan.check(&stream(plan.role.peer(), rest));
    check_decompressor(rest, usize::from(limits) * 16);
}

/// Windows of 2^8 to 2^15 octets for what is received, and the largest for what is sent.
fn params(pick: u8) -> DeflateParams {
    let window = WindowBits::new(8 + pick % 8).expect("8 to 15");
    DeflateParams {
        server_no_context_takeover: pick & 8 != 0,
        client_no_context_takeover: pick & 16 != 0,
        server_max_window_bits: if pick & 32 == 0 { WindowBits::MAX } else { window.max(NINE) },
        client_max_window_bits: window,
    }
}

/// The least that a server compresses with.
const NINE: WindowBits = WindowBits::new(9).expect("8 to 15");

/// The frames that the octets say, as `sender` sends them: with a masking key that follows from the
/// payload.
fn stream(sender: Role, mut octets: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [first, len, rest @ ..] = octets {
        let opcode = match first % 16 {
            // Most frames belong to a message.
            other @ 8..=10 => other,
            even if even % 2 == 0 => 0,
            odd => 1 + odd / 2 % 2,
        };
        // FIN as it is; RSV1 where the bit is not set, on the first frames of messages, and else
        // seldom.
        let rsv1 = first & 0x40 == 0 && (matches!(opcode, 1 | 2) || first & 0x30 == 0x30);
        let (payload, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        let most = if opcode >= 8 { 125 } else { 255 };
        let payload = &payload[..payload.len().min(most)];
        let len = u8::try_from(payload.len()).expect("at most 255");
        let mask_bit = if sender == Role::Client { 0x80 } else { 0 };
        stream.push((first & 0x80) | u8::from(rsv1) << 6 | opcode);
        match len {
            0..126 => stream.push(mask_bit | len),
            _ => stream.extend([mask_bit | 126, 0, len]),
        }
        if sender == Role::Client {
            let key = [len, !len, *first, 0x55];
            stream.extend(key);
            stream.extend(masked(payload, key));
        } else {
            stream.extend(payload);
        }
        octets = behind;
    }
    stream
}

/// The decompressor and the naive inflater make the same of a payload, with and without one before
/// it.
fn check_decompressor(octets: &[u8], limit: usize) {
    let mut decompressor = Decompressor::new();
    let mut inflation = Inflation::new(true, 1 << 15);
    let middle = octets.len() / 2;
    for payload in [octets, &octets[..middle], &octets[middle..]] {
        let naive = inflation.complete(payload, limit);
        let expected = match naive.end {
            End::Between | End::Final => Ok(()),
            End::TooLong => Err(InflateError::TooLong { limit }),
            End::Within | End::Corrupt => Err(InflateError::Corrupt),
        };
        let mut out = Vec::new();
        assert_eq!(decompressor.decompress(payload, limit, &mut out), expected, "{payload:x?}");
        match expected {
            Ok(()) => {
                assert!(out == naive.octets, "other octets are inflated");
                inflation.remember(&out);
            }
            Err(_) => {
                assert!(naive.octets.starts_with(&out) && out.len() <= limit + 1);
                decompressor.reset();
                inflation = Inflation::new(true, 1 << 15);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::{Deflater, compressible, payload_in_blocks};
    use crate::naive::inflate::TAIL;
    use crate::rng::SplitMix64;

    #[test]
    fn messages_of_chance_pass_under_settings_of_chance() {
        let mut rng = SplitMix64::new(9);
        for _ in 0..300 {
            let mut data = rng.octets(5);
            // Keeps its context, whatever was agreed on.
            let mut keeper = Deflater::new(9);
            for _ in 0..rng.between(1, 8) {
                let len = rng.below(300);
                let message = compressible(&mut rng, len);
                let mut payload = match rng.below(6) {
                    0 => payload_in_blocks(&mut rng, &message),
                    1 => message,
                    2 => Vec::new(),
                    3 => Deflater::new(9).message(&message),
                    _ => keeper.message(&message),
                };
                if rng.one_in(4) {
                    payload.extend(TAIL);
                }
                let (head, tail) = payload.split_at(rng.below(payload.len() + 1));
                for (first, part) in [(0x01, head), (0x89, b"ping"), (0x80, tail)] {
                    let part = &part[..part.len().min(255)];
                    // Text or binary; a continuation stays one.
                    let kind = if first == 0x89 { 0 } else { rng.octets(1)[0] & 2 };
                    data.extend([first | kind, u8::try_from(part.len()).expect("short")]);
                    data.extend(part);
                }
            }
            if rng.one_in(3) {
                let at = rng.below(data.len());
                data[at] ^= 1 << rng.below(8);
            }
            check(&data);
        }
    }
}
