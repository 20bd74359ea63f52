//! Masking in words of 64 bits, without `unsafe`: for targets that have no backend of their own,
//! and for what is too short for a vector on those that have one.

use super::advance;

/// [`apply_mask_short`] and [`copy_masked_short`] take up to this many octets.
pub(crate) const SHORT: usize = 2 * WORD;

const WORD: usize = size_of::<u64>();
const HALF: usize = WORD / 2;
const QUARTER: usize = WORD / 4;

/// Masks a payload of any length in place.
#[inline]
pub(crate) fn apply_mask(payload: &mut [u8], key: u32) {
    let Some(ends) = masked_ends::<WORD>(payload, key) else {
        return apply_mask_short(payload, key);
    };
    for word in payload.as_chunks_mut::<WORD>().0 {
        *word = masked(*word, key);
    }
    set_ends(payload, ends);
}

/// Copies `source` onto `target`, of the same length, and masks it.
#[inline]
pub(crate) fn copy_masked(target: &mut [u8], source: &[u8], key: u32) {
    let Some(ends) = masked_ends::<WORD>(source, key) else {
        return copy_masked_short(target, source, key);
    };
    for (to, from) in target.as_chunks_mut::<WORD>().0.iter_mut().zip(source.as_chunks().0) {
        *to = masked(*from, key);
    }
    set_ends(target, ends);
}

/// Masks at most [`SHORT`] octets in place.
#[inline]
pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
    if let Some(ends) = masked_ends::<WORD>(payload, key) {
        set_ends(payload, ends);
    } else if let Some(ends) = masked_ends::<HALF>(payload, key) {
        set_ends(payload, ends);
    } else if let Some(ends) = masked_ends::<QUARTER>(payload, key) {
        set_ends(payload, ends);
    } else if let [octet] = payload {
        [*octet] = masked([*octet], key);
    }
}

/// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks them.
#[inline]
pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
    if let Some(ends) = masked_ends::<WORD>(source, key) {
        set_ends(target, ends);
    } else if let Some(ends) = masked_ends::<HALF>(source, key) {
        set_ends(target, ends);
    } else if let Some(ends) = masked_ends::<QUARTER>(source, key) {
        set_ends(target, ends);
    } else if let ([to], [from]) = (target, source) {
        [*to] = masked([*from], key);
    }
}

/// The first and the last `N` octets of `source`, masked; `None` if it is shorter than that.
#[inline]
fn masked_ends<const N: usize>(source: &[u8], key: u32) -> Option<([u8; N], [u8; N])> {
    let (first, last) = (source.first_chunk()?, source.last_chunk()?);
    Some((masked(*first, key), masked(*last, advance(key, source.len() - N))))
}

/// Writes what [`masked_ends`] returned for a source of the same length.
#[inline]
fn set_ends<const N: usize>(target: &mut [u8], (first, last): ([u8; N], [u8; N])) {
    if let Some(octets) = target.last_chunk_mut() {
        *octets = last;
    }
    if let Some(octets) = target.first_chunk_mut() {
        *octets = first;
    }
}

/// Up to a word of octets, masked as the low octets of a word.
#[inline]
fn masked<const N: usize>(octets: [u8; N], key: u32) -> [u8; N] {
    let mut word = [0; WORD];
    word[..N].copy_from_slice(&octets);
    let key = u64::from(key);
    let word = (u64::from_le_bytes(word) ^ (key << 32 | key)).to_le_bytes();
    core::array::from_fn(|index| word[index])
}
