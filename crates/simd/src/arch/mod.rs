//! The backends: one file for each instruction set, with the same four functions in each of them.
//!
//! | function            | takes                                              |
//! |---------------------|----------------------------------------------------|
//! | `apply_mask`        | a payload of any length, in place                  |
//! | `copy_masked`       | a target and a source of the same length, any      |
//! | `apply_mask_short`  | the same, at most `SHORT` octets: no loop          |
//! | `copy_masked_short` | the same, at most `SHORT` octets: no loop          |
//!
//! All of them take the masking key as a `u32` in little-endian order, rotated by the phase, so
//! that its low octet is the one for the first octet of the payload.
//!
//! Those of a module for vectors may be called only where the CPU has the vectors; `chosen` is the
//! module with the four functions that can be called on every CPU of the target.
//!
//! # How the octets are walked
//!
//! No backend goes octet by octet. Above one, 2 and 3 octets are two words of 2 that overlap, 4 to
//! 7 two of 4, 8 to 16 two of 8, 17 to 32 two vectors of 16, 33 to 64 two pairs of such vectors:
//!
//! ```text
//!          0       4       8      12      16      20
//! first    |===============================|
//! last             |===============================|    masked with the key advanced by 20 - 16 octets
//! ```
//!
//! Both are read before either is written, so where they overlap, the same octets are written
//! twice. The last one is written first: whoever reads the payload next begins at its start, and a
//! CPU passes a recent store on to a load only where one store holds all of it (measured: reading 8
//! of 20 octets right after took twice as long in the other order).
//!
//! A long payload has aligned vectors between the two, four at a time, then two and one where that
//! many are left. They too are masked from original octets, because the first and the last vector
//! are written after them:
//!
//! ```text
//! first    |=======|
//! between     |=======|=======|=======|=======|=======|        as many as it takes to meet the last
//! last                                             |=======|
//! ```
//!
//! Where the first or the last one covers all that one between them would, that one is left out: a
//! payload that begins or ends at an aligned octet has no vector twice. Every vector is a multiple
//! of 4 octets wide, so those between need the key in one rotation only. The alignment is that of
//! what is written; payloads begin wherever a frame header happens to end. At such an offset,
//! masking is 1.6 times as fast as a compiler's loop of 512-bit vectors at 256 to 1100 octets (the
//! median), and 2.2 times at 16 KiB. `benches/benches/mask` measures it.
//!
//! # What was tried and left out
//!
//! * AVX-512 with a mask register for up to 64 octets, without a branch: the fastest on its own,
//!   most of all where lengths vary; but the octets are read right after, and loads wait for a
//!   store under a mask to finish. Masking 20 octets and reading them one by one took 3 times as
//!   long as with two vectors.
//! * Four vectors that overlap in the place of the loop's odd ones and the last: 0.8 times as fast
//!   at 300 to 1024 octets.
//! * No alignment up to two times four vectors: 0.7 times as fast at 320 to 450 octets.
//! * Eight vectors at a time: as fast.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod aarch64;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon;
// Where another backend is the baseline, the long half of this one is there for the tests only.
#[cfg_attr(any(target_arch = "x86_64", target_arch = "aarch64"), allow(dead_code))]
pub(crate) mod portable;
#[cfg(target_arch = "x86_64")]
pub(crate) mod sse2;
#[cfg(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little")))]
mod vector;
#[cfg(target_arch = "x86_64")]
pub(crate) mod x86;

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) use aarch64 as chosen;
#[cfg(not(any(target_arch = "x86_64", all(target_arch = "aarch64", target_endian = "little"))))]
pub(crate) use portable as chosen;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86 as chosen;

/// The masking key for what comes `octets` octets later: in little-endian order, rotated by that
/// many octets.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder of 4 fits into anything")]
pub(crate) fn advance(key: u32, octets: usize) -> u32 {
    key.rotate_right(8 * (octets % 4) as u32)
}
