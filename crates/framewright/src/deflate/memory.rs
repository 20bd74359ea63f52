//! An allowance of octets for the states of compression: what context takeover costs is bounded, and can be told.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// How many octets the compressors, decompressors and windows of a server, or of any other group of connections, may hold.
///
/// What is agreed on with context takeover is reserved in the opening handshake; where it does not fit, the answer is the same
/// without takeover. What every event loop needs, one compressor and one decompressor, is counted and never refused.
#[derive(Debug)]
pub struct DeflateMemory {
    cap: usize,
    held: AtomicUsize,
    declined: AtomicU64,
}

/// What a [`DeflateMemory`] tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeflateMemoryStats {
    /// The most octets that may be reserved.
    pub cap: usize,
    /// Octets that are reserved or held now.
    pub held: usize,
    /// How often [`DeflateMemory::reserve`] was refused: how many connections had to do without context takeover.
    pub declined: u64,
}

impl DeflateMemory {
    /// An allowance of so many octets.
    #[must_use]
    pub fn new(cap: usize) -> Arc<DeflateMemory> {
        Arc::new(DeflateMemory { cap, held: AtomicUsize::new(0), declined: AtomicU64::new(0) })
    }

    /// Reserves so many octets until the reservation is dropped; `None` if they do not fit.
    #[must_use]
    pub fn reserve(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        let reservation = self.reserve_if_it_fits(octets);
        if reservation.is_none() {
            self.declined.fetch_add(1, Ordering::Relaxed);
        }
        reservation
    }

    /// The same for what is asked for again and again: it is no news that it does not fit.
    pub(crate) fn reserve_if_it_fits(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.reserve_below(octets, self.cap)
    }

    fn reserve_below(self: &Arc<Self>, octets: usize, most: usize) -> Option<Reservation> {
        let more = |held: usize| held.checked_add(octets).filter(|&held| held <= most);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Reservation { memory: Arc::clone(self), octets })
    }

    /// The same for what is a gain and no need: as long as half of the memory stays free.
    pub(crate) fn reserve_spare(self: &Arc<Self>, octets: usize) -> Option<Reservation> {
        self.reserve_below(octets, self.cap / 2)
    }

    /// Counts octets that are needed whether they fit or not.
    pub(crate) fn count(self: &Arc<Self>, octets: usize) -> Reservation {
        self.held.fetch_add(octets, Ordering::Relaxed);
        Reservation { memory: Arc::clone(self), octets }
    }

    /// What is held now.
    #[must_use]
    pub fn stats(&self) -> DeflateMemoryStats {
        DeflateMemoryStats {
            cap: self.cap,
            held: self.held.load(Ordering::Relaxed),
            declined: self.declined.load(Ordering::Relaxed),
        }
    }
}

/// Octets of a [`DeflateMemory`], given back when this is dropped.
#[derive(Debug)]
pub struct Reservation {
    memory: Arc<DeflateMemory>,
    octets: usize,
}

impl Reservation {
    /// How many octets are reserved.
    #[must_use]
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Gives back what is above so many octets.
    pub fn shrink_to(&mut self, octets: usize) {
        let surplus = self.octets.saturating_sub(octets);
        self.octets -= surplus;
        self.memory.held.fetch_sub(surplus, Ordering::Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_reserved_and_given_back() {
        let memory = DeflateMemory::new(100);
        let mut first = memory.reserve(60).unwrap();
        assert!(memory.reserve(41).is_none());
        first.shrink_to(50);
        let second = memory.reserve(50).unwrap();
        let counted = memory.count(7);
        assert_eq!(memory.stats(), DeflateMemoryStats { cap: 100, held: 107, declined: 1 });
        drop((first, second, counted));
        assert_eq!(memory.stats().held, 0);
        assert!(memory.reserve(usize::MAX).is_none());
    }
}
