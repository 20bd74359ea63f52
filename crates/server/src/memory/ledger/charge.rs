//! What one holder is charged: KiB, and whether a small holder has made progress.

/// A holder of more than this many KiB is large. A turn of short messages ends with less.
pub(crate) const LARGE: u32 = 64;

/// A bit in the charge of a small holder. It is set when the holder is seen, and cleared when the
/// holder makes progress. Meanwhile the charge also counts the bytes moved: the bits above the KiB
/// hold their number in steps of [`MOVED_STEP`] bytes.
pub(super) const SEEN: u32 = 1 << 31;
const MOVED_SHIFT: u32 = 8;
const MOVED_STEP: usize = 64;

/// A small holder has made progress when it has moved this part of what it holds since it was seen.
const PROGRESS_OF_SMALL: usize = 4;

/// `bytes` in whole KiB. Less than half a KiB counts as nothing, such as the cost of each
/// connection at rest.
#[inline]
pub(crate) fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.saturating_add(512) >> 10).map_or(SEEN - 1, |kib| kib.min(SEEN - 1))
}

/// The KiB in a holder's charge.
#[inline]
pub(super) fn kib_of(charged: u32) -> u32 {
    if charged & SEEN == 0 { charged } else { charged & ((1 << MOVED_SHIFT) - 1) }
}

/// The new charge for `kib`, given the charge `before` and the bytes `moved` since then.
#[inline]
pub(super) fn charge(before: u32, kib: u32, moved: usize) -> u32 {
    if before & SEEN == 0 || kib == 0 || kib > LARGE { kib } else { charge_seen(before, kib, moved) }
}

#[cold]
fn charge_seen(before: u32, kib: u32, moved: usize) -> u32 {
    let steps = ((before & !SEEN) >> MOVED_SHIFT) as usize + moved / MOVED_STEP;
    let enough = (kib as usize * 1024).div_ceil(PROGRESS_OF_SMALL * MOVED_STEP);
    match u32::try_from(steps) {
        Ok(steps) if (steps as usize) < enough => SEEN | steps << MOVED_SHIFT | kib,
        _ => kib,
    }
}

pub(super) fn signed(kib: u32) -> isize {
    isize::try_from(kib).unwrap_or(isize::MAX)
}
