//! Who of an event loop is subscribed to what.
//!
//! ```text
//!   filter -> places, in order:   what a delivery walks through
//!   page   -> (place, filter):    what a connection is subscribed to; a page is 64 places
//! ```
//!
//! A subscription is an entry of 4 bytes in each of the two: about 11 bytes in the tree, and 4 to 8
//! in the list of a page. Nothing is kept for a connection without subscriptions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// The subscriptions of all connections of a loop.
#[derive(Debug, Default)]
pub(crate) struct Members {
    filters: Vec<Filter>,
    /// Numbers of filters that nobody uses.
    free: Vec<FilterId>,
    /// Numbers that become free at the next [`tidy`](Members::tidy): a delivery under way may still
    /// refer to them.
    freed: Vec<FilterId>,
    numbers: HashMap<Arc<str>, FilterId>,
    /// What the connections of each 64 places are subscribed to, ordered by place.
    pages: Vec<Vec<Entry>>,
    /// Filters that end with `#`.
    prefixes: usize,
    subscriptions: usize,
    /// Changes whenever a place is added to a filter or removed from it.
    version: u64,
}

/// The number of a filter in its loop.
pub(crate) type FilterId = u32;

#[derive(Debug)]
struct Filter {
    name: Arc<str>,
    /// The places that get its messages.
    places: BTreeSet<u32>,
    /// The subscriptions in `pages`, which include those that have not joined yet.
    subscriptions: u32,
}

/// A place within its page, and a filter, in one number that sorts by place first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Entry(u32);

/// Places of a page: as many as a page of the slab has.
const PAGE: u32 = 64;
/// The bits of an entry that hold the filter.
const FILTER_BITS: u32 = u32::BITS - PAGE.ilog2();
/// The most filters that a loop can have at a time.
pub(crate) const MOST_FILTERS: usize = 1 << FILTER_BITS;

impl Entry {
    fn new(place: u32, filter: FilterId) -> Entry {
        Entry((place % PAGE) << FILTER_BITS | filter)
    }

    fn filter(self) -> FilterId {
        self.0 & ((1 << FILTER_BITS) - 1)
    }
}

impl Members {
    /// Whether nobody is subscribed to anything.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.subscriptions == 0
    }

    /// Changes whenever the places of a filter do.
    #[inline]
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// The number of a filter that somebody is subscribed to.
    pub(crate) fn find(&self, name: &str) -> Option<FilterId> {
        self.numbers.get(name).copied()
    }

    /// Whether any filter ends with `#`.
    #[inline]
    pub(crate) fn has_prefixes(&self) -> bool {
        self.prefixes > 0
    }

    pub(crate) fn name(&self, filter: FilterId) -> &Arc<str> {
        &self.filters[filter as usize].name
    }

    /// Notes a subscription, which gets messages once it has been [admitted](Members::admit).
    /// Returns the filter's number; `None` if the loop has too many filters.
    pub(crate) fn add(&mut self, place: u32, name: &Arc<str>) -> Option<FilterId> {
        let filter = match self.numbers.get(name) {
            Some(&filter) => filter,
            None => self.make(name)?,
        };
        let page = (place / PAGE) as usize;
        if self.pages.len() <= page {
            self.pages.resize_with(page + 1, Vec::new);
        }
        let (entries, entry) = (&mut self.pages[page], Entry::new(place, filter));
        if let Err(at) = entries.binary_search(&entry) {
            entries.insert(at, entry);
            self.filters[filter as usize].subscriptions += 1;
            self.subscriptions += 1;
        }
        Some(filter)
    }

    fn make(&mut self, name: &Arc<str>) -> Option<FilterId> {
        let filter = Filter { name: Arc::clone(name), places: BTreeSet::new(), subscriptions: 0 };
        let number = match self.free.pop() {
            Some(number) => {
                self.filters[number as usize] = filter;
                number
            }
            None if self.filters.len() < MOST_FILTERS => {
                self.filters.push(filter);
                u32::try_from(self.filters.len() - 1).ok()?
            }
            None => return None,
        };
        self.prefixes += usize::from(is_prefix(name));
        self.numbers.insert(Arc::clone(name), number);
        Some(number)
    }

    /// From now on, the place gets the messages of a filter to which it is subscribed.
    pub(crate) fn admit(&mut self, place: u32, filter: FilterId) {
        debug_assert!(self.has(place, filter));
        self.version += u64::from(self.filters[filter as usize].places.insert(place));
    }

    /// Whether the place is subscribed.
    pub(crate) fn has(&self, place: u32, filter: FilterId) -> bool {
        let entries = self.pages.get((place / PAGE) as usize);
        entries.is_some_and(|entries| entries.binary_search(&Entry::new(place, filter)).is_ok())
    }

    /// The filters that a place is subscribed to.
    pub(crate) fn of(&self, place: u32) -> impl ExactSizeIterator<Item = FilterId> + '_ {
        let entries = self.pages.get((place / PAGE) as usize).map_or(&[][..], |entries| &entries[..]);
        entries[range_of(entries, place)].iter().map(|entry| entry.filter())
    }

    /// The next places, from `from` up to but not including `to`, that get the messages of a filter.
    pub(crate) fn places(&self, filter: FilterId, from: u32, to: u32) -> impl Iterator<Item = u32> + '_ {
        self.filters[filter as usize].places.range(from..to).copied()
    }

    /// The first place, from `from` on, that gets the messages of a filter.
    pub(crate) fn first_place(&self, filter: FilterId, from: u32) -> Option<u32> {
        self.filters[filter as usize].places.range(from..).next().copied()
    }

    /// Ends a subscription. Returns whether there was one.
    pub(crate) fn remove(&mut self, place: u32, filter: FilterId) -> bool {
        let Some(entries) = self.pages.get_mut((place / PAGE) as usize) else { return false };
        let Ok(at) = entries.binary_search(&Entry::new(place, filter)) else { return false };
        entries.remove(at);
        shrink(entries);
        self.leave(place, filter);
        true
    }

    /// Ends all subscriptions of a place, and returns their filters.
    pub(crate) fn remove_all(&mut self, place: u32) -> Vec<Arc<str>> {
        let Some(entries) = self.pages.get_mut((place / PAGE) as usize) else { return Vec::new() };
        let range = range_of(entries, place);
        if range.is_empty() {
            return Vec::new();
        }
        let filters: Vec<FilterId> = entries.drain(range).map(Entry::filter).collect();
        shrink(entries);
        let name = |&filter: &FilterId| Arc::clone(&self.filters[filter as usize].name);
        let names = filters.iter().map(name).collect();
        filters.into_iter().for_each(|filter| self.leave(place, filter));
        names
    }

    fn leave(&mut self, place: u32, number: FilterId) {
        let filter = &mut self.filters[number as usize];
        self.version += u64::from(filter.places.remove(&place));
        filter.subscriptions -= 1;
        self.subscriptions -= 1;
        if filter.subscriptions == 0 {
            self.prefixes -= usize::from(is_prefix(&filter.name));
            self.numbers.remove(&filter.name);
            self.freed.push(number);
        }
    }

    /// Makes the numbers of filters without subscriptions free for others, while no delivery refers
    /// to them.
    pub(crate) fn tidy(&mut self) {
        self.free.append(&mut self.freed);
        if self.subscriptions == 0 && !self.filters.is_empty() {
            *self = Members { version: self.version + 1, ..Members::default() };
        }
    }
}

/// Whether a filter ends with `#`.
fn is_prefix(name: &str) -> bool {
    name.ends_with('#')
}

/// Where the entries of a place are in its page.
fn range_of(entries: &[Entry], place: u32) -> std::ops::Range<usize> {
    let begin = entries.partition_point(|entry| *entry < Entry::new(place, 0));
    let len = entries[begin..].partition_point(|entry| entry.0 >> FILTER_BITS == place % PAGE);
    begin..begin + len
}

/// Releases the memory of a page of which little is left.
fn shrink(entries: &mut Vec<Entry>) {
    if entries.len() < entries.capacity() / 4 {
        entries.shrink_to(2 * entries.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn names(count: u32) -> Vec<Arc<str>> {
        (0..count).map(|number| Arc::from(format!("topic/{number}"))).collect()
    }

    /// A step of the model below: what happens to which place and which filter.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Subscribe(u32, usize),
        Unsubscribe(u32, usize),
        End(u32),
        Tidy,
    }

    fn step() -> impl Strategy<Value = Step> {
        let place = prop_oneof![0..4u32, 60..70u32, Just(1000)];
        prop_oneof![
            5 => (place.clone(), 0..6usize).prop_map(|(place, name)| Step::Subscribe(place, name)),
            3 => (place.clone(), 0..6usize).prop_map(|(place, name)| Step::Unsubscribe(place, name)),
            1 => place.prop_map(Step::End),
            1 => Just(Step::Tidy),
        ]
    }

    proptest! {
        #[test]
        fn both_tables_tell_the_same(steps in proptest::collection::vec(step(), 0..200)) {
            let names = names(6);
            let mut members = Members::default();
            let mut model: BTreeMap<u32, BTreeSet<usize>> = BTreeMap::new();
            for step in steps {
                let before = members.version();
                let changed = match step {
                    Step::Subscribe(place, name) => {
                        let filter = members.add(place, &names[name]).expect("room");
                        members.admit(place, filter);
                        model.entry(place).or_default().insert(name)
                    }
                    Step::Unsubscribe(place, name) => {
                        let removed = members.find(&names[name]).is_some_and(|filter| members.remove(place, filter));
                        prop_assert_eq!(removed, model.entry(place).or_default().remove(&name));
                        removed
                    }
                    Step::End(place) => {
                        let removed: BTreeSet<Arc<str>> = members.remove_all(place).into_iter().collect();
                        let wanted = model.remove(&place).unwrap_or_default();
                        prop_assert_eq!(&removed, &wanted.iter().map(|&name| Arc::clone(&names[name])).collect());
                        !removed.is_empty()
                    }
                    Step::Tidy => {
                        members.tidy();
                        false
                    }
                };
                prop_assert!(!changed || members.version() != before);
                for (number, name) in names.iter().enumerate() {
                    let wanted: Vec<u32> =
                        model.iter().filter(|(_, of)| of.contains(&number)).map(|(place, _)| *place).collect();
                    let found: Vec<u32> = members
                        .find(name)
                        .map(|filter| members.places(filter, 0, u32::MAX).collect())
                        .unwrap_or_default();
                    prop_assert_eq!(found, wanted);
                }
                for (&place, of) in &model {
                    let found: BTreeSet<&str> = members.of(place).map(|filter| &**members.name(filter)).collect();
                    prop_assert_eq!(found, of.iter().map(|&name| &*names[name]).collect());
                }
                prop_assert_eq!(members.is_empty(), model.values().all(BTreeSet::is_empty));
            }
        }
    }

    #[test]
    fn a_number_serves_again_only_when_no_delivery_can_refer_to_it() {
        let names = names(3);
        let mut members = Members::default();
        let first = members.add(1, &names[0]).unwrap();
        members.admit(1, first);
        members.add(1, &names[1]).unwrap();
        assert!(members.remove(1, first));
        let other = members.add(2, &names[2]).unwrap();
        assert_ne!(other, first);
        assert_eq!(members.first_place(first, 0), None);
        members.tidy();
        assert_eq!(members.add(3, &names[0]), Some(first));
    }

    #[test]
    fn who_has_not_joined_is_subscribed_and_gets_nothing() {
        let [name] = &names(1)[..] else { unreachable!() };
        let mut members = Members::default();
        let filter = members.add(7, name).unwrap();
        assert!(members.has(7, filter) && members.of(7).eq([filter]));
        assert_eq!(members.first_place(filter, 0), None);
        members.admit(7, filter);
        assert_eq!(members.first_place(filter, 0), Some(7));
    }
}
