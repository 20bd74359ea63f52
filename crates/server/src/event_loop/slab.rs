//! Storage of connections by key. A key is an index and a generation, so a stale one never reaches
//! another connection.

use mio::Token;
use std::collections::BTreeSet;

/// Names a connection for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// Bits of a token that hold the index: half of them where a token has 64, more than half where it
/// has 32.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 22 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// The last index is never assigned: tokens with it belong to the waker and the listeners.
const MOST: usize = INDEX_MASK - 1;
#[allow(clippy::cast_possible_truncation, reason = "all bits of a u32 where they fit, else the lower ones")]
const GENERATION_MASK: u32 = (usize::MAX >> INDEX_BITS) as u32;

impl Key {
    /// The token to register the connection's socket with.
    pub(crate) fn token(self) -> Token {
        Token(self.index as usize | (self.generation as usize) << INDEX_BITS)
    }

    /// The key as a number.
    pub(crate) fn bits(self) -> u64 {
        u64::from(self.index) | u64::from(self.generation) << 32
    }

    /// The key that this number was made of.
    #[allow(clippy::cast_possible_truncation, reason = "the lower half, and the upper one")]
    pub(crate) fn of_bits(bits: u64) -> Key {
        Key { index: bits as u32, generation: (bits >> 32) as u32 }
    }

    /// The index of its place, which other connections use after it.
    pub(crate) fn place(self) -> u32 {
        self.index
    }

    /// The connection that a token was made for.
    #[allow(clippy::cast_possible_truncation, reason = "masked to the index, and shifted to the generation")]
    pub(crate) fn of(token: Token) -> Key {
        Key { index: (token.0 & INDEX_MASK) as u32, generation: (token.0 >> INDEX_BITS) as u32 }
    }
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    /// Memory charged for the value: see [`Holders`](crate::memory::ledger::Holders). It is stored
    /// here because the generation leaves the space unused.
    charged: u32,
    value: Option<T>,
}

/// Places of a page: one for each bit of a word.
const PAGE: usize = u64::BITS as usize;

/// Places that are allocated together, and released together.
#[derive(Debug)]
struct Page<T> {
    /// One bit for each free place.
    free: u64,
    /// The generation with which its places were allocated last, or will be next. It does not wrap
    /// around; those of the places do.
    generation: u64,
    /// Empty before the first place is taken, and after the page has been released.
    entries: Box<[Entry<T>]>,
}

/// Places in pages. The first free place is taken next, so after a crowd the last pages are free
/// and can be released.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pages: Vec<Page<T>>,
    /// The indexes of the pages with free places.
    roomy: BTreeSet<usize>,
    /// The generation of a new page: no place of an earlier page at the same index had a later one.
    generation: u64,
    len: usize,
}

/// The bits of a generation that fit into a token.
#[allow(clippy::cast_possible_truncation, reason = "the lower bits are meant")]
fn wrapped(generation: u64) -> u32 {
    generation as u32 & GENERATION_MASK
}

impl<T> Page<T> {
    const ALL_FREE: u64 = u64::MAX;

    fn is_free(&self) -> bool {
        self.free == Self::ALL_FREE
    }

    fn new(generation: u64) -> Page<T> {
        Page { free: Self::ALL_FREE, generation, entries: Box::default() }
    }

    fn allocate(&mut self) {
        let generation = wrapped(self.generation);
        self.entries = (0..PAGE).map(|_| Entry { generation, charged: 0, value: None }).collect();
    }

    /// Releases the places, which are all free. The next places there get a generation that none of
    /// these had: the place that was reused most often determines it.
    fn give_back(&mut self) {
        let first = wrapped(self.generation);
        let uses = |entry: &Entry<T>| entry.generation.wrapping_sub(first) & GENERATION_MASK;
        self.generation += u64::from(self.entries.iter().map(uses).max().unwrap_or(0));
        self.entries = Box::default();
    }
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { pages: Vec::new(), roomy: BTreeSet::new(), generation: 0, len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a value. Returns `None`, and drops the value, when all places are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let page_index = self.roomy_page()?;
        let page = &mut self.pages[page_index];
        if page.entries.is_empty() {
            page.allocate();
        }
        let place = page.free.trailing_zeros() as usize;
        let entry = &mut page.entries[place];
        entry.value = Some(value);
        let index = u32::try_from(page_index * PAGE + place).expect("less than MOST");
        let key = Key { index, generation: entry.generation };
        page.free &= !(1 << place);
        if page.free == 0 {
            self.roomy.remove(&page_index);
        }
        self.len += 1;
        Some(key)
    }

    /// The index of the first page with a free place, which may be a new page; `None` if no more
    /// fit.
    fn roomy_page(&mut self) -> Option<usize> {
        if let Some(&first) = self.roomy.first() {
            return Some(first);
        }
        let index = self.pages.len();
        if index >= MOST / PAGE {
            return None;
        }
        self.pages.push(Page::new(self.generation));
        self.roomy.insert(index);
        Some(index)
    }

    #[inline]
    fn entry(&mut self, key: Key) -> Option<&mut Entry<T>> {
        let (page, place) = place_of(key);
        let entry = self.pages.get_mut(page)?.entries.get_mut(place)?;
        if entry.generation == key.generation { Some(entry) } else { None }
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        self.entry(key)?.value.as_mut()
    }

    /// A value, and the memory charged for it.
    pub(crate) fn get_charged(&mut self, key: Key) -> Option<(&mut T, &mut u32)> {
        let Entry { charged, value, .. } = self.entry(key)?;
        Some((value.as_mut()?, charged))
    }

    /// All values, and the memory charged for each.
    pub(crate) fn charged(&mut self) -> impl Iterator<Item = (Key, &T, &mut u32)> {
        self.pages.iter_mut().enumerate().flat_map(|(page_index, page)| {
            page.entries.iter_mut().enumerate().filter_map(move |(place, entry)| {
                let index = u32::try_from(page_index * PAGE + place).expect("less than MOST");
                let key = Key { index, generation: entry.generation };
                Some((key, entry.value.as_ref()?, &mut entry.charged))
            })
        })
    }

    /// The key of the value in this place; `None` if the place is free.
    pub(crate) fn at(&self, place: u32) -> Option<Key> {
        let (page, in_page) = place_of(Key { index: place, generation: 0 });
        let entry = self.pages.get(page)?.entries.get(in_page)?;
        entry.value.is_some().then_some(Key { index: place, generation: entry.generation })
    }

    /// The value in this place, and its key.
    #[inline]
    pub(crate) fn at_mut(&mut self, place: u32) -> Option<(Key, &mut T)> {
        let (page, in_page) = place_of(Key { index: place, generation: 0 });
        let Entry { generation, value, .. } = self.pages.get_mut(page)?.entries.get_mut(in_page)?;
        Some((Key { index: place, generation: *generation }, value.as_mut()?))
    }

    /// The key of the value in this place, or in the next place that is taken.
    pub(crate) fn next_at(&self, place: u32) -> Option<Key> {
        let (first, in_page) = place_of(Key { index: place, generation: 0 });
        let mut beyond = u64::MAX << in_page;
        for (index, page) in self.pages.iter().enumerate().skip(first) {
            let taken = !page.free & std::mem::replace(&mut beyond, u64::MAX);
            if taken != 0 {
                let place = index * PAGE + taken.trailing_zeros() as usize;
                return self.at(u32::try_from(place).expect("less than MOST"));
            }
        }
        None
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entry(key)?;
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1) & GENERATION_MASK;
        let (page_index, place) = place_of(key);
        let page = &mut self.pages[page_index];
        if page.free == 0 {
            self.roomy.insert(page_index);
        }
        page.free |= 1 << place;
        self.len -= 1;
        Some(value)
    }

    /// Releases the pages that have no values.
    pub(crate) fn trim(&mut self) {
        self.pages.iter_mut().filter(|page| page.is_free()).for_each(Page::give_back);
        let in_use = |page: &Page<T>| !page.entries.is_empty();
        let pages = self.pages.iter().rposition(in_use).map_or(0, |last| last + 1);
        if pages < self.pages.len() {
            let cut = self.pages[pages..].iter().map(|page| page.generation);
            self.generation = cut.fold(self.generation, u64::max);
            // A new allocation instead of shrinking in place: an allocator that returns only the
            // memory after all that is in use would keep the crowd's memory before it.
            self.pages = self.pages.drain(..pages).collect();
            self.roomy.split_off(&pages);
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let places = self.pages.iter().enumerate().flat_map(|(page_index, page)| {
            page.entries.iter().enumerate().map(move |(place, entry)| (page_index * PAGE + place, entry))
        });
        let live = places.filter(|(_, entry)| entry.value.is_some());
        live.map(|(index, entry)| Key {
            index: u32::try_from(index).expect("less than MOST"),
            generation: entry.generation,
        })
        .collect()
    }
}

/// The page of a connection, and the place in that page.
#[inline]
fn place_of(key: Key) -> (usize, usize) {
    let index = key.index as usize;
    (index / PAGE, index % PAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_key_reaches_nobody() {
        let mut slab = Slab::new();
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(first.index, second.index, "the place is used again");
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn tokens_carry_keys_and_never_meet_the_reserved_ones() {
        for key in [
            Key { index: 0, generation: 0 },
            Key { index: 7, generation: GENERATION_MASK },
            Key { index: u32::try_from(MOST - 1).unwrap(), generation: GENERATION_MASK },
        ] {
            assert_eq!(Key::of(key.token()), key);
            assert!(key.token().0 < usize::MAX - 1024 || key.index as usize != INDEX_MASK);
        }
    }

    #[test]
    fn after_a_crowd_the_places_are_given_back_and_a_stale_key_reaches_nobody_in_new_ones() {
        let mut slab = Slab::new();
        let base: Vec<Key> = (0..10).map(|number| slab.insert(number).unwrap()).collect();
        let crowd: Vec<Key> = (10..5000).map(|number| slab.insert(number).unwrap()).collect();
        assert!(crowd.iter().all(|&key| slab.remove(key).is_some()));
        assert_eq!(slab.pages.len(), 5000_usize.div_ceil(PAGE));
        slab.trim();
        assert_eq!((slab.pages.len(), slab.len()), (1, 10));
        assert!(slab.pages.capacity() < 8 && slab.roomy.iter().eq(&[0]));
        assert!((0..5000).all(|number| slab.insert(number).is_some()));
        assert!(crowd.iter().all(|&key| slab.get_mut(key).is_none()));
        assert!(base.iter().zip(0..).all(|(&key, number)| slab.get_mut(key) == Some(&mut { number })));
    }

    #[test]
    fn a_walk_by_places_comes_to_everybody_once() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..5 * PAGE).map(|number| slab.insert(number).unwrap()).collect();
        let is_gone = |number: usize| number.is_multiple_of(3) || (PAGE..3 * PAGE).contains(&number);
        keys.iter().enumerate().filter(|(number, _)| is_gone(*number)).for_each(|(_, &key)| {
            slab.remove(key).unwrap();
        });
        let walk = std::iter::successors(slab.next_at(0), |key| slab.next_at(key.place() + 1));
        assert_eq!(walk.collect::<Vec<_>>(), slab.keys());
        assert_eq!(slab.next_at(1000), None);
        assert_eq!(Slab::<()>::new().next_at(0), None);
    }

    #[test]
    fn who_stays_in_the_last_page_keeps_only_that() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..10 * PAGE).map(|number| slab.insert(number).unwrap()).collect();
        let (last, others) = keys.split_last().unwrap();
        assert!(others.iter().all(|&key| slab.remove(key).is_some()));
        slab.trim();
        assert_eq!(slab.pages.iter().filter(|page| !page.entries.is_empty()).count(), 1);
        assert_eq!(slab.keys(), [*last]);
        // The first places are taken again first.
        let first = slab.insert(7).unwrap();
        assert_eq!((first.index, slab.get_mut(*last)), (0, Some(&mut (10 * PAGE - 1))));
        assert_ne!(first, keys[0]);
    }

    #[test]
    fn generations_that_begin_anew_do_so_in_new_places_too() {
        let mut slab = Slab::new();
        let key = slab.insert(()).unwrap();
        slab.remove(key);
        slab.pages[0].entries[0].generation = GENERATION_MASK;
        slab.trim();
        assert!(slab.pages.is_empty());
        let last = slab.insert(()).unwrap();
        assert_eq!(last, Key { index: 0, generation: GENERATION_MASK });
        slab.remove(last);
        slab.trim();
        let first = slab.insert(()).unwrap();
        assert_eq!(first, Key { index: 0, generation: 0 });
        assert_eq!(slab.get_mut(last), None);
        assert_eq!(slab.get_mut(first), Some(&mut ()));
    }

    /// Places that are reused all the time do not use up the generations of those that only a crowd
    /// needs.
    #[test]
    fn pages_are_given_back_however_often_others_were_used() {
        let mut slab = Slab::new();
        let keys: Vec<Key> = (0..3 * PAGE).map(|_| slab.insert(()).unwrap()).collect();
        for &key in &keys[..2 * PAGE] {
            slab.remove(key);
        }
        slab.pages[0].entries[0].generation = GENERATION_MASK / 2 + 10;
        slab.trim();
        let in_use = |slab: &Slab<()>| slab.pages.iter().filter(|page| !page.entries.is_empty()).count();
        assert_eq!(in_use(&slab), 1, "only the last page is in use");
        let again: Vec<Key> = (0..2 * PAGE).map(|_| slab.insert(()).unwrap()).collect();
        assert_eq!(again[0].generation, GENERATION_MASK / 2 + 10);
        assert!(again[PAGE..].iter().all(|key| key.generation == 1), "each page has its own");
        assert!(keys[..2 * PAGE].iter().all(|&key| slab.get_mut(key).is_none()));
        // The pages at the end are cut off: a later page there has a later generation than all of
        // them.
        keys[2 * PAGE..].iter().chain(&again).for_each(|&key| slab.remove(key).unwrap());
        slab.trim();
        assert!(slab.pages.is_empty());
        assert_eq!(slab.insert(()).unwrap().generation, GENERATION_MASK / 2 + 11);
    }
}
