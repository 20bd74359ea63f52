//! The choice among the backends of x86-64: SSE2, which is part of the architecture, for what is
//! short; the widest vectors that the CPU has for what is long.
//!
//! The standard library's detection remembers its answers too, but a call of it that may have to
//! ask the CPU first makes the caller save registers. Here, what is left of it is a load, a compare
//! and a jump.

use std::sync::atomic::{AtomicU8, Ordering};

use super::{avx2, avx512, sse2};

pub(crate) use super::sse2::SHORT;

/// The widest vectors of this CPU: [`UNKNOWN`], [`WIDTH_128`], [`WIDTH_256`] or [`WIDTH_512`]. A
/// value is stored only where the CPU was found to have what it stands for, and it is the only fact
/// told, so `Relaxed` is enough.
static WIDEST: AtomicU8 = AtomicU8::new(UNKNOWN);

const UNKNOWN: u8 = 0;
const WIDTH_128: u8 = 1;
const WIDTH_256: u8 = 2;
const WIDTH_512: u8 = 3;

/// Masks a payload of any length in place.
#[inline]
pub(crate) fn apply_mask(payload: &mut [u8], key: u32) {
    match WIDEST.load(Ordering::Relaxed) {
        // SAFETY: this CPU has AVX-512F, see `WIDEST`.
        WIDTH_512 => unsafe { avx512::apply_mask(payload, key) },
        // SAFETY: this CPU has AVX2, see `WIDEST`.
        WIDTH_256 => unsafe { avx2::apply_mask(payload, key) },
        // SAFETY: every x86-64 CPU has SSE2.
        WIDTH_128 => unsafe { sse2::apply_mask(payload, key) },
        _ => detect_and_apply_mask(payload, key),
    }
}

/// Copies `source` onto `target`, of the same length, and masks it.
#[inline]
pub(crate) fn copy_masked(target: &mut [u8], source: &[u8], key: u32) {
    match WIDEST.load(Ordering::Relaxed) {
        // SAFETY: this CPU has AVX-512F, see `WIDEST`.
        WIDTH_512 => unsafe { avx512::copy_masked(target, source, key) },
        // SAFETY: this CPU has AVX2, see `WIDEST`.
        WIDTH_256 => unsafe { avx2::copy_masked(target, source, key) },
        // SAFETY: every x86-64 CPU has SSE2.
        WIDTH_128 => unsafe { sse2::copy_masked(target, source, key) },
        _ => detect_and_copy_masked(target, source, key),
    }
}

/// [`apply_mask`] for the first time.
#[cold]
#[inline(never)]
fn detect_and_apply_mask(payload: &mut [u8], key: u32) {
    detect();
    apply_mask(payload, key);
}

/// [`copy_masked`] for the first time.
#[cold]
#[inline(never)]
fn detect_and_copy_masked(target: &mut [u8], source: &[u8], key: u32) {
    detect();
    copy_masked(target, source, key);
}

/// Finds out what [`WIDEST`] is.
fn detect() {
    let widest = if is_x86_feature_detected!("avx512f") {
        WIDTH_512
    } else if is_x86_feature_detected!("avx2") {
        WIDTH_256
    } else {
        WIDTH_128
    };
    WIDEST.store(widest, Ordering::Relaxed);
}

/// Masks at most [`SHORT`] octets in place.
#[inline]
pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe { sse2::apply_mask_short(payload, key) }
}

/// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks them.
#[inline]
pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
    // SAFETY: every x86-64 CPU has SSE2.
    unsafe { sse2::copy_masked_short(target, source, key) }
}
