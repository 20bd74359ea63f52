//! The compressors of a codec: general ones for all connections, and followers, each of which stays
//! with a connection that sends often.
//!
//! To continue a connection's stream, any compressor needs only the last bytes that the connection
//! sent. But it has to clear its table of hashes and fill it anew. A compressor that has compressed
//! nothing else since needs neither, and knows the whole window.
//!
//! So with context takeover a compressor follows a busy connection, as long as there is memory. A
//! connection that is no longer followed loses only this advantage.

use super::history::{History, Stamp, newest};
use super::memory::{DeflateMemory, Reservation};
use super::{Compressor, Level, WindowBits};
use std::sync::Arc;

/// The most followers. More of them would not be in any cache, and so no faster than a general
/// compressor.
const FOLLOWERS: usize = 64;

/// A connection is busy if at most `BUSY` messages were compressed since its last one. Once it is
/// not, another connection can get its follower.
const BUSY: u64 = 4 * FOLLOWERS as u64;

/// See the [module's documentation](self).
pub(super) struct Compressors {
    memory: Arc<DeflateMemory>,
    /// The general compressors: one for each level in use.
    any: Vec<Held>,
    followers: Vec<Held>,
    /// The state of its compressor after the last message.
    stamp: Stamp,
    /// The payload of that message.
    payload: Vec<u8>,
}

/// The payload buffer is kept up to this size, in bytes. A larger one is freed at the next message.
const KEEP: usize = 256 << 10;

/// A compressor, its reservation, and its state.
struct Held {
    compressor: Compressor,
    stamp: Stamp,
    /// The state of the history before the last message. If that message was not sent, it still is.
    before: Stamp,
    /// It was used since the last [`trim`](Compressors::trim).
    used: bool,
    _held: Reservation,
}

impl Held {
    fn new(level: Level, held: Reservation) -> Held {
        Held {
            compressor: Compressor::new(level, WindowBits::MAX),
            stamp: Stamp::default(),
            before: Stamp::default(),
            used: false,
            _held: held,
        }
    }
}

impl Compressors {
    pub(super) fn new(memory: Arc<DeflateMemory>) -> Compressors {
        Compressors {
            memory,
            any: Vec::new(),
            followers: Vec::new(),
            stamp: Stamp::default(),
            payload: Vec::new(),
        }
    }

    /// Compresses a message, or a fragment of one. It refers to nothing before it but `history`,
    /// and to nothing further back than `window`. If it is sent compressed, the caller adds its
    /// bytes to the history.
    pub(super) fn compress(
        &mut self,
        data: &[u8],
        last: bool,
        level: Level,
        window: WindowBits,
        history: Option<&History>,
    ) -> &[u8] {
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        if payload.capacity() > KEEP {
            payload = Vec::new();
        }
        // A follower may refer to more than the history, up to the largest window.
        let history_followed = history.filter(|_| window == WindowBits::MAX);
        let parts = history.map_or([&[][..]; 2], History::parts);
        let before = history.map_or(0, History::len);
        let next = self.stamp.next();
        let held = self.choose(level, history_followed);
        if history_followed.is_some_and(|history| history.is_in(held.stamp)) {
            held.compressor.compress_part(data, last, &mut payload);
        } else if window == WindowBits::MAX || before + data.len() <= window.size() {
            held.compressor.begin_after(parts);
            held.compressor.compress_part(data, last, &mut payload);
        } else {
            in_parts(&mut held.compressor, data, last, window.size() / 2, parts, &mut payload);
        }
        held.before = history_followed.map(History::stamp).unwrap_or_default();
        held.stamp = next;
        held.used = true;
        self.stamp = next;
        self.payload = payload;
        &self.payload
    }

    /// The state of the compressor after the last call of [`compress`](Compressors::compress), for
    /// the history to which the compressed bytes are added.
    pub(super) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Frees the compressors that were not used since the last call.
    pub(super) fn trim(&mut self) {
        for compressors in [&mut self.any, &mut self.followers] {
            compressors.retain_mut(|held| std::mem::take(&mut held.used));
            compressors.shrink_to_fit();
        }
        self.payload = Vec::new();
    }

    /// The compressor for a message after `history`.
    fn choose(&mut self, level: Level, history: Option<&History>) -> &mut Held {
        if let Some(history) = history
            && let Some(index) = self.follower(level, history)
        {
            return &mut self.followers[index];
        }
        let index = self.any(level);
        &mut self.any[index]
    }

    /// The index of the compressor that follows the connection with `history`. If none does, the
    /// connection gets one if it is busy and one is available.
    fn follower(&mut self, level: Level, history: &History) -> Option<usize> {
        let follows = |held: &Held| history.is_in(held.stamp) || history.is_in(held.before);
        if let Some(index) = self.followers.iter().position(follows) {
            return Some(index);
        }
        let now = self.stamp;
        if history.age(now).is_none_or(|age| age > BUSY)
            || self.any.iter().any(|held| history.is_in(held.stamp))
        {
            return None;
        }
        if self.followers.len() < FOLLOWERS
            && let Some(held) = self.memory.reserve_spare(Compressor::size(WindowBits::MAX))
        {
            self.followers.push(Held::new(level, held));
            return Some(self.followers.len() - 1);
        }
        let idle = |held: &Held| {
            held.compressor.level() == level && held.stamp.age(now).is_none_or(|age| age > BUSY)
        };
        self.followers.iter().position(idle)
    }

    /// The index of the general compressor of `level`, or of another level if there is no memory
    /// for it.
    fn any(&mut self, level: Level) -> usize {
        if let Some(index) = self.any.iter().position(|held| held.compressor.level() == level) {
            return index;
        }
        let size = Compressor::size(WindowBits::MAX);
        let held = if self.any.is_empty() {
            self.memory.count(size)
        } else {
            match self.memory.reserve_if_it_fits(size) {
                Some(held) => held,
                None => return 0,
            }
        };
        self.any.push(Held::new(level, held));
        self.any.len() - 1
    }
}

/// Compresses in parts of `half` bytes, each of which refers only to the `half` bytes before it and
/// to itself: no distance is longer than twice `half`. So one compressor serves every negotiated
/// window.
fn in_parts(
    compressor: &mut Compressor,
    data: &[u8],
    last: bool,
    half: usize,
    history: [&[u8]; 2],
    out: &mut Vec<u8>,
) {
    let mut done = 0;
    loop {
        let part = &data[done..data.len().min(done + half)];
        if done == 0 {
            compressor.begin_after(newest(history, half));
        } else {
            compressor.begin_after([&data[done - half..done], &[]]);
        }
        done += part.len();
        compressor.compress_part(part, last && done == data.len(), out);
        if done == data.len() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deflate::Decompressor;

    /// A peer with takeover: the history of the messages sent to it, and its decompressor.
    struct Peer {
        history: History,
        decompressor: Decompressor,
        sent: u32,
    }

    impl Peer {
        fn new() -> Peer {
            Peer { history: History::new(1024), decompressor: Decompressor::new(), sent: 0 }
        }

        fn send(&mut self, compressors: &mut Compressors) {
            self.sent += 1;
            let message = format!("message {} of one of some peers, {}", self.sent, "a text, ".repeat(20));
            let history = Some(&self.history).filter(|history| history.len() > 0);
            let payload = compressors
                .compress(message.as_bytes(), true, Level::default(), WindowBits::MAX, history)
                .to_vec();
            self.history.push_compressed(message.as_bytes(), compressors.stamp());
            let mut inflated = Vec::new();
            self.decompressor.decompress(&payload, 10_000, &mut inflated).unwrap();
            assert_eq!(inflated, message.as_bytes());
        }
    }

    #[test]
    fn busy_connections_are_followed_and_others_take_over_from_those_that_are_not() {
        let memory = DeflateMemory::new(1 << 30);
        let mut compressors = Compressors::new(Arc::clone(&memory));
        let mut peers: Vec<_> = (0..2 * FOLLOWERS).map(|_| Peer::new()).collect();
        for _ in 0..3 {
            peers.iter_mut().for_each(|peer| peer.send(&mut compressors));
        }
        assert_eq!((compressors.followers.len(), compressors.any.len()), (FOLLOWERS, 1));
        let held = memory.stats().held;
        assert_eq!(held, (FOLLOWERS + 1) * Compressor::size(WindowBits::MAX));
        let follows = |compressors: &Compressors, peer: &Peer| {
            compressors.followers.iter().any(|held| peer.history.is_in(held.stamp))
        };
        let (first, second) = peers.split_at_mut(FOLLOWERS);
        assert!(first.iter().all(|peer| follows(&compressors, peer)));
        assert!(!second.iter().any(|peer| follows(&compressors, peer)));
        for _ in 0..8 {
            second.iter_mut().for_each(|peer| peer.send(&mut compressors));
        }
        // One of them may now have the general compressor to itself.
        assert!(second.iter().filter(|peer| follows(&compressors, peer)).count() >= FOLLOWERS - 1);
        // Connections that are no longer followed go on nevertheless.
        first.iter_mut().for_each(|peer| peer.send(&mut compressors));
        assert_eq!(memory.stats().held, held);
    }

    #[test]
    fn more_connections_than_could_be_followed_do_not_take_the_compressors_from_each_other() {
        let mut compressors = Compressors::new(DeflateMemory::new(1 << 30));
        let mut peers: Vec<_> = (0..usize::try_from(BUSY).unwrap() + 10).map(|_| Peer::new()).collect();
        for _ in 0..3 {
            peers.iter_mut().for_each(|peer| peer.send(&mut compressors));
        }
        assert_eq!(compressors.followers.len(), 0);
    }

    #[test]
    fn a_message_that_is_not_sent_costs_no_other_follower() {
        let mut compressors = Compressors::new(DeflateMemory::new(1 << 30));
        let (mut peer, mut other) = (Peer::new(), Peer::new());
        for _ in 0..3 {
            peer.send(&mut compressors);
            other.send(&mut compressors);
        }
        for _ in 0..5 {
            let history = Some(&peer.history);
            compressors.compress(b"not shorter", true, Level::default(), WindowBits::MAX, history);
            other.send(&mut compressors);
        }
        peer.send(&mut compressors);
        assert!(compressors.followers.len() <= 2, "{}", compressors.followers.len());
    }

    #[test]
    fn followers_leave_half_of_the_memory_to_others() {
        let size = Compressor::size(WindowBits::MAX);
        let memory = DeflateMemory::new(10 * size);
        let mut compressors = Compressors::new(Arc::clone(&memory));
        let mut peers: Vec<_> = (0..20).map(|_| Peer::new()).collect();
        for _ in 0..3 {
            peers.iter_mut().for_each(|peer| peer.send(&mut compressors));
        }
        assert_eq!(memory.stats().held, (5 + 1) * size, "the one for whatever comes is besides");
        assert_eq!(memory.stats().declined, 0);
    }

    #[test]
    fn those_of_connections_that_are_silent_are_freed_one_by_one() {
        let memory = DeflateMemory::new(1 << 30);
        let mut compressors = Compressors::new(Arc::clone(&memory));
        let mut peers: Vec<_> = (0..10).map(|_| Peer::new()).collect();
        for _ in 0..3 {
            peers.iter_mut().for_each(|peer| peer.send(&mut compressors));
        }
        // The last connection continues with the general compressor.
        assert_eq!((compressors.followers.len(), compressors.any.len()), (9, 1));
        compressors.trim();
        assert_eq!((compressors.followers.len(), compressors.any.len()), (9, 1), "all were used");
        peers[3].send(&mut compressors);
        compressors.trim();
        assert_eq!((compressors.followers.len(), compressors.any.len()), (1, 0));
        assert_eq!(memory.stats().held, Compressor::size(WindowBits::MAX));
        peers.iter_mut().for_each(|peer| peer.send(&mut compressors));
        compressors.trim();
        compressors.trim();
        assert_eq!(memory.stats().held, 0);
    }
}
