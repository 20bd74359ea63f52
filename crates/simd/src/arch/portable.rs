//! Masking in words of 64 bits, without `unsafe`: for targets that have no backend of their own, and for what is too
//! short for a vector on those that have one.

use super::advance;

/// [`apply_mask_short`] and [`copy_masked_short`] take up to this many octets.
pub(crate) const SHORT: usize = 2 * WORD;

const WORD: usize = size_of::<u64>();
const HALF: usize = size_of::<u32>();

/// Masks a payload of any length in place.
#[inline]
pub(crate) fn apply_mask(payload: &mut [u8], key: u32) {
    let Some(ends) = word_ends(payload, key) else {
        return apply_mask_short(payload, key);
    };
    for word in payload.as_chunks_mut().0 {
        *word = mask_word(*word, key);
    }
    set_ends(payload, ends);
}

/// Copies `source` onto `target`, of the same length, and masks it.
#[inline]
pub(crate) fn copy_masked(target: &mut [u8], source: &[u8], key: u32) {
    let Some(ends) = word_ends(source, key) else {
        return copy_masked_short(target, source, key);
    };
    for (to, from) in target.as_chunks_mut().0.iter_mut().zip(source.as_chunks().0) {
        *to = mask_word(*from, key);
    }
    set_ends(target, ends);
}

/// Masks at most [`SHORT`] octets in place.
#[inline]
pub(crate) fn apply_mask_short(payload: &mut [u8], key: u32) {
    if let Some(ends) = word_ends(payload, key) {
        set_ends(payload, ends);
    } else if let Some(ends) = half_ends(payload, key) {
        set_ends(payload, ends);
    } else if let Some(octets) = few_octets(payload, key) {
        set_few_octets(payload, octets);
    }
}

/// Copies at most [`SHORT`] octets of `source` onto `target`, of the same length, and masks them.
#[inline]
pub(crate) fn copy_masked_short(target: &mut [u8], source: &[u8], key: u32) {
    if let Some(ends) = word_ends(source, key) {
        set_ends(target, ends);
    } else if let Some(ends) = half_ends(source, key) {
        set_ends(target, ends);
    } else if let Some(octets) = few_octets(source, key) {
        set_few_octets(target, octets);
    }
}

/// The first and the last word of `source`, masked; `None` if it is shorter than a word.
#[inline]
fn word_ends(source: &[u8], key: u32) -> Option<([u8; WORD], [u8; WORD])> {
    let (first, last) = (source.first_chunk()?, source.last_chunk()?);
    Some((mask_word(*first, key), mask_word(*last, advance(key, source.len() - WORD))))
}

/// The first and the last four octets of `source`, masked; `None` if it is shorter than that.
#[inline]
fn half_ends(source: &[u8], key: u32) -> Option<([u8; HALF], [u8; HALF])> {
    let (first, last) = (source.first_chunk()?, source.last_chunk()?);
    Some((mask_half(*first, key), mask_half(*last, advance(key, source.len() - HALF))))
}

/// Writes what [`word_ends`] or [`half_ends`] returned for a source of the same length.
#[inline]
fn set_ends<const N: usize>(target: &mut [u8], (first, last): ([u8; N], [u8; N])) {
    if let Some(octets) = target.last_chunk_mut() {
        *octets = last;
    }
    if let Some(octets) = target.first_chunk_mut() {
        *octets = first;
    }
}

/// The first, the middle and the last of one to three octets, masked: with so few, these are all, some of them twice.
/// `None` if there are none.
#[inline]
fn few_octets(source: &[u8], key: u32) -> Option<[u8; 3]> {
    let last = source.len().checked_sub(1)?;
    Some([0, source.len() / 2, last].map(|index| source[index] ^ advance(key, index).to_le_bytes()[0]))
}

/// Writes what [`few_octets`] returned for a source of the same length.
#[inline]
fn set_few_octets(target: &mut [u8], [first, middle, last]: [u8; 3]) {
    let length = target.len();
    target[0] = first;
    target[length / 2] = middle;
    target[length - 1] = last;
}

#[inline]
fn mask_word(word: [u8; WORD], key: u32) -> [u8; WORD] {
    let key = u64::from(key);
    (u64::from_le_bytes(word) ^ (key << 32 | key)).to_le_bytes()
}

#[inline]
fn mask_half(half: [u8; HALF], key: u32) -> [u8; HALF] {
    (u32::from_le_bytes(half) ^ key).to_le_bytes()
}
