//! The backends: one file for each instruction set, with the same four functions in each of them.
//!
//! | function            | takes                                              |
//! |---------------------|----------------------------------------------------|
//! | `apply_mask`        | a payload of any length, in place                  |
//! | `copy_masked`       | a target and a source of the same length, any      |
//! | `apply_mask_short`  | like `apply_mask`, at most `SHORT` bytes: no loop  |
//! | `copy_masked_short` | like `copy_masked`, at most `SHORT` bytes: no loop |
//!
//! All of them take the masking key as a `u32` in little-endian order. The key is rotated by the
//! phase: its low byte masks the first byte of the payload.
//!
//! The functions of a vector module may be called only on a CPU that has these vectors. The module
//! `chosen` may be called on every CPU of the target.
//!
//! # The order of reads and writes
//!
//! No backend masks byte by byte. A short payload is covered by two pieces that may overlap:
//!
//! | bytes | pieces |
//! |---|---|
//! | 2, 3 | two words of 2 bytes |
//! | 4 to 7 | two words of 4 |
//! | 8 to 16 | two words of 8 |
//! | 17 to 32 | two vectors of 16 |
//! | 33 to 64 | two pairs of vectors of 16 |
//!
//! ```text
//!          0       4       8      12      16      20
//! first    |===============================|
//! last             |===============================|    masked with the key advanced by 20 - 16 bytes
//! ```
//!
//! Both are read before either is written. So where they overlap, the same bytes are written twice.
//! The last piece is written first, because the next reader begins at the start of the payload: a
//! CPU forwards a recent store to a load only if that one store holds all bytes of the load. In the
//! other order, reading 8 of 20 bytes at once took twice as long.
//!
//! In a long payload there are aligned vectors between the first and the last one. A loop masks
//! four of them at a time; the remaining ones are masked as two and one. All of them read original
//! bytes, because the first and the last vector are written after them:
//!
//! ```text
//! first    |=======|
//! between     |=======|=======|=======|=======|=======|        as many as it takes to meet the last
//! last                                             |=======|
//! ```
//!
//! A payload that begins or ends at an aligned byte has no vector twice: a vector that the first or
//! the last one covers wholly is left out. Every vector is a multiple of 4 bytes wide, so all
//! vectors between need one rotation of the key.
//!
//! Writes are aligned, reads are not: a payload begins where its frame header ends. At such an
//! offset, masking 256 to 1100 bytes is 1.6 times as fast (the median) as a compiler's loop of
//! 512-bit vectors, and masking 16 KiB is 2.2 times as fast. `benches/benches/mask` measures it.
//!
//! # What was tried and left out
//!
//! * AVX-512 with a mask register for up to 64 bytes, without a branch. It is the fastest on its
//!   own, most of all for lengths that vary. But the bytes are read next, and loads wait for a
//!   masked store to finish. Masking 20 bytes and reading them one by one took 3 times as long as
//!   with two vectors.
//! * Four overlapping vectors for the end of a long payload, in place of two, one and the last: 0.8
//!   times as fast at 300 to 1024 bytes.
//! * No alignment for payloads of up to eight vectors: 0.7 times as fast at 320 to 450 bytes.
//! * Eight vectors at a time: as fast as four.

#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod aarch64;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;
#[cfg(all(target_arch = "aarch64", target_endian = "little"))]
pub(crate) mod neon;
// On these targets only the functions for short payloads are used; the tests use the others too.
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

/// The masking key for the part of the payload that begins `octets` bytes later, in little-endian
/// order.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a remainder of 4 fits into anything")]
pub(crate) fn advance(key: u32, octets: usize) -> u32 {
    key.rotate_right(8 * (octets % 4) as u32)
}
