//! The backend of AArch64: NEON, for all lengths.

use super::neon;

pub(crate) use super::neon::SHORT;

/// Masks a payload of any length in place.
#[inline(never)]
pub(crate) fn apply_mask(payload: &mut [u8], key: u32) {
    // SAFETY: this module is compiled only for targets that have NEON.
    unsafe { neon::apply_mask(payload, key) }
}

/// Copies `source` onto `target`, of the same length, and masks it.
#[inline(never)]
pub(crate) fn copy_masked(target: &mut [u8], source: &[u8], key: u32) {
    // SAFETY: this module is compiled only for targets that have NEON.
    unsafe { neon::copy_masked(target, source, key) }
}

/// Masks at most [`SHORT`] octets in place.
#[inline]
pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
    // SAFETY: this module is compiled only for targets that have NEON.
    unsafe { neon::apply_mask_short(payload, key) }
}

/// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks them.
#[inline]
pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
    // SAFETY: this module is compiled only for targets that have NEON.
    unsafe { neon::copy_masked_short(target, source, key) }
}
