//! The masking of RFC 6455, section 5.3, at the speed at which the machine moves memory, behind two
//! safe functions.
//!
//! > Octet i of the transformed data ("transformed-octet-i") is the XOR of octet i of the original data
//! > ("original-octet-i") with octet at index i modulo 4 of the masking key ("masking-key-octet-j"):
//! >
//! > ```text
//! > j                   = i MOD 4
//! > transformed-octet-i = original-octet-i XOR masking-key-octet-j
//! > ```
//!
//! XOR is its own inverse: the same function masks and unmasks. If a payload arrives in pieces, the
//! *phase* says which byte of the key is XORed with the first byte of a piece. Each call returns
//! the phase of the next piece.
//!
//! ```
//! // The masked "Hello" of section 5.7, unmasked in two pieces.
//! let key = [0x37, 0xfa, 0x21, 0x3d];
//! let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
//! let (first, second) = payload.split_at_mut(2);
//! let phase = framewright_simd::apply_mask(first, key, 0);
//! framewright_simd::apply_mask(second, key, phase);
//! assert_eq!(&payload, b"Hello");
//! ```
//!
//! This file calls the chosen backend; the loops over the bytes are in `arch`. This crate is the
//! only one of the workspace that contains `unsafe`: loads and stores of vectors, and calls of
//! functions that need a CPU feature.

#![deny(unsafe_op_in_unsafe_fn)]
// On docs.rs, each item shows the feature that it needs.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod arch;
#[cfg(test)]
mod tests;

use arch::chosen;

/// The program of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// Applies (or removes) the masking key of RFC 6455, section 5.3, in place.
///
/// Byte `i` of `payload` is XORed with `key[(phase + i) % 4]`. The phase of a payload's first byte
/// is 0. Returns the phase for the byte after the last one, 0 to 3, so that a payload can be masked
/// piece by piece. An empty payload is allowed.
#[inline]
pub fn apply_mask(payload: &mut [u8], key: [u8; 4], phase: usize) -> usize {
    let next = next_phase(phase, payload.len());
    let key = arch::advance(u32::from_le_bytes(key), phase);
    // Most messages are short. They need no detection of CPU features, and no call.
    if payload.len() <= chosen::SHORT {
        chosen::apply_mask_short(payload, key);
    } else {
        chosen::apply_mask(payload, key);
    }
    next
}

/// Copies `source` to `target` and masks it in the same pass.
///
/// Byte `i` of `target` becomes `source[i] ^ key[(phase + i) % 4]`. This takes one read and one
/// write of each byte; a copy followed by [`apply_mask`] takes two of each. Returns the phase for
/// the byte after the last one, as [`apply_mask`] does.
///
/// # Panics
///
/// If `target` and `source` differ in length.
#[inline]
pub fn copy_masked(target: &mut [u8], source: &[u8], key: [u8; 4], phase: usize) -> usize {
    assert_eq!(target.len(), source.len(), "the target of a masked copy is as long as its source");
    let next = next_phase(phase, source.len());
    let key = arch::advance(u32::from_le_bytes(key), phase);
    if source.len() <= chosen::SHORT {
        chosen::copy_masked_short(target, source, key);
    } else {
        chosen::copy_masked(target, source, key);
    }
    next
}

/// The phase of the byte after a piece of `length` bytes: a sum modulo 4, which is correct even if
/// the addition wraps.
#[inline]
fn next_phase(phase: usize, length: usize) -> usize {
    phase.wrapping_add(length) & 3
}
