//! Publications that are delivered together: to each connection in one write, whatever their topics.
//!
//! A round goes through the places of all its subscribers in their order, so it can stop after any
//! of them and go on later. It holds no iterator: it copies the next places, and does so again when
//! the subscriptions have changed.

use super::members::{FilterId, Members};
use super::subscriptions::filters_of;
use super::work::{Backlog, Work};
use framewright::connection::Batch;
use framewright_driver::topics::Publication;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

/// The limits for delivering together: publications, and bytes of their payloads. A larger
/// publication is delivered alone.
const TOGETHER: (usize, usize) = (64, 64 << 10);

/// Places are copied in portions of about this many.
const PORTION: usize = 256;

/// Publications that are being delivered.
#[derive(Debug, Default)]
pub(crate) struct Round {
    publications: Vec<Arc<Publication>>,
    audiences: Vec<Audience>,
    /// The next places, each with an audience that it belongs to, in order.
    portion: Vec<(u32, usize)>,
    /// The next entry of `portion`.
    at: usize,
    /// The first place that was not reached.
    next: u32,
    /// The first place behind those that were copied.
    covered: u32,
    /// The range of places that is copied next.
    width: u32,
    /// The version of the subscriptions when they were copied.
    version: u64,
    /// The messages for a place of several audiences, or without those that it has published itself.
    own: Batch,
    /// The indexes of these messages.
    which: Vec<usize>,
}

/// The subscribers of one filter.
#[derive(Debug)]
struct Audience {
    filter: FilterId,
    /// The indexes of its publications.
    which: Vec<usize>,
    batch: Batch,
    /// Some publication is not for the connection that has published it.
    has_absent: bool,
}

/// What a round has for one place.
pub(crate) struct Parcel<'a> {
    pub(crate) batch: &'a mut Batch,
    pub(crate) publications: &'a [Arc<Publication>],
    /// The indexes of those in `batch`.
    pub(crate) which: &'a [usize],
}

impl Parcel<'_> {
    /// The publications, in order.
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Publication>> {
        self.which.iter().map(|&index| &self.publications[index])
    }
}

impl Round {
    /// Takes publications from the front of `queue`. Those without subscribers here are dropped.
    /// Returns how many were taken.
    pub(crate) fn begin(
        &mut self,
        queue: &mut VecDeque<Work>,
        members: &Members,
        backlog: &Backlog,
    ) -> usize {
        self.publications.clear();
        self.audiences.clear();
        self.portion.clear();
        (self.at, self.next, self.covered, self.version) = (0, 0, 0, members.version());
        self.width = u32::try_from(PORTION).unwrap_or(u32::MAX);
        let (mut taken, mut octets) = (0, 0);
        while self.publications.len() < TOGETHER.0
            && let Some(work @ Work::Publish(next)) = queue.front()
        {
            octets += next.message().payload_len();
            if octets > TOGETHER.1 && !self.publications.is_empty() {
                break;
            }
            backlog.less(work);
            let next = Arc::clone(next);
            self.add(next, members);
            queue.pop_front();
            taken += 1;
        }
        taken
    }

    /// How many publications, from the first on, are delivered together.
    pub(crate) fn together(publications: &[Arc<Publication>]) -> usize {
        let mut octets = 0;
        let fits = |publication: &Arc<Publication>| {
            octets += publication.message().payload_len();
            octets <= TOGETHER.1
        };
        publications.iter().take(TOGETHER.0).map(fits).take_while(|fits| *fits).count().max(1)
    }

    fn add(&mut self, publication: Arc<Publication>, members: &Members) {
        let index = self.publications.len();
        let mut is_wanted = false;
        for filter in filters_of(members, &publication) {
            if members.first_place(filter, 0).is_none() {
                continue;
            }
            is_wanted = true;
            let found = self.audiences.iter_mut().find(|audience| audience.filter == filter);
            let audience = match found {
                Some(audience) => audience,
                None => {
                    self.audiences.push(Audience {
                        filter,
                        which: Vec::new(),
                        batch: Batch::new(),
                        has_absent: false,
                    });
                    self.audiences.last_mut().expect("it was added just now")
                }
            };
            audience.which.push(index);
            audience.batch.push(publication.message().clone());
            audience.has_absent |= publication.has_publisher();
        }
        if is_wanted {
            self.publications.push(publication);
        }
    }

    /// The next place, and the entries of its audiences; `None` at the end of the round.
    #[inline]
    pub(crate) fn step(&mut self, members: &Members) -> Option<(u32, Range<usize>)> {
        if self.version != members.version() {
            self.version = members.version();
            self.portion.clear();
            (self.at, self.covered) = (0, self.next);
        }
        while self.at == self.portion.len() {
            if !self.copy(members) {
                return None;
            }
        }
        let (begin, place) = (self.at, self.portion[self.at].0);
        while self.portion.get(self.at).is_some_and(|entry| entry.0 == place) {
            self.at += 1;
        }
        self.next = place + 1;
        Some((place, begin..self.at))
    }

    /// Copies the next places. Returns whether there are any.
    fn copy(&mut self, members: &Members) -> bool {
        self.portion.clear();
        self.at = 0;
        let first = |audience: &Audience| members.first_place(audience.filter, self.covered);
        let Some(from) = self.audiences.iter().filter_map(first).min() else { return false };
        let to = from.saturating_add(self.width);
        for (index, audience) in self.audiences.iter().enumerate() {
            self.portion.extend(members.places(audience.filter, from, to).map(|place| (place, index)));
        }
        if self.audiences.len() > 1 {
            self.portion.sort_unstable();
        }
        // Sparse subscribers of many topics would take a look at each topic for a few of them.
        if self.portion.len() < PORTION {
            self.width = self.width.saturating_mul(2);
        } else if self.portion.len() > 8 * PORTION {
            self.width = (self.width / 2).max(1);
        }
        self.covered = to;
        true
    }

    /// What the place with these `entries` gets, which is the connection `id`; `None` if it has
    /// published all of it.
    #[inline]
    pub(crate) fn parcel(&mut self, entries: Range<usize>, id: u64) -> Option<Parcel<'_>> {
        if let [(_, index)] = self.portion[entries.clone()]
            && !self.audiences[index].skips(&self.publications, id)
        {
            let Audience { batch, which, .. } = &mut self.audiences[index];
            return Some(Parcel { batch, publications: &self.publications, which });
        }
        self.own_parcel(entries, id)
    }

    fn own_parcel(&mut self, entries: Range<usize>, id: u64) -> Option<Parcel<'_>> {
        let Round { publications, audiences, portion, own, which, .. } = self;
        which.clear();
        portion[entries].iter().for_each(|(_, index)| which.extend_from_slice(&audiences[*index].which));
        which.sort_unstable();
        // Somebody subscribed to a topic and to a prefix of it.
        which.dedup();
        which.retain(|&index| !publications[index].skips(id));
        own.clear();
        which.iter().for_each(|&index| own.push(publications[index].message().clone()));
        (!which.is_empty()).then_some(Parcel { batch: own, publications, which })
    }

    /// Drops the publications.
    pub(crate) fn end(&mut self) {
        self.publications.clear();
        self.audiences.clear();
        self.own.clear();
        if self.portion.capacity() > 8 * PORTION {
            self.portion = Vec::new();
        }
    }
}

impl Audience {
    fn skips(&self, publications: &[Arc<Publication>], id: u64) -> bool {
        self.has_absent && self.which.iter().any(|&index| publications[index].skips(id))
    }
}
