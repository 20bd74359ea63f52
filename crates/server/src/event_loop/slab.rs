//! Connections by number. A number is an index and a generation, so that a stale one never reaches another connection.

use mio::Token;

/// Names a connection for as long as it lives, and nothing afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    index: u32,
    generation: u32,
}

/// How many bits of a token hold the index: half of them where a token has 64, more than half where it has 32.
const INDEX_BITS: u32 = if usize::BITS >= 64 { 32 } else { 22 };
const INDEX_MASK: usize = (1 << INDEX_BITS) - 1;
/// The last index is never given away: tokens with it belong to the waker and the listeners.
const MOST: usize = INDEX_MASK - 1;
#[allow(clippy::cast_possible_truncation, reason = "all bits of a u32 where they fit, else the lower ones")]
const GENERATION_MASK: u32 = (usize::MAX >> INDEX_BITS) as u32;

impl Key {
    /// The token to register the connection's socket with.
    pub(crate) fn token(self) -> Token {
        Token(self.index as usize | (self.generation as usize) << INDEX_BITS)
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
    /// What the value has charged: see [`Holders`](crate::memory::ledger::Holders). It lies here since the generation leaves the
    /// room.
    charged: u32,
    value: Option<T>,
}

/// A vector whose free places are used again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Slab<T> {
        Slab { entries: Vec::new(), free: Vec::new(), len: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Adds a value. `None`, and the value is dropped, when all places are taken.
    pub(crate) fn insert(&mut self, value: T) -> Option<Key> {
        let index = match self.free.pop() {
            Some(index) => index,
            None if self.entries.len() < MOST => {
                self.entries.push(Entry { generation: 0, charged: 0, value: None });
                u32::try_from(self.entries.len() - 1).expect("less than MOST")
            }
            None => return None,
        };
        let entry = &mut self.entries[index as usize];
        let key = Key { index, generation: entry.generation };
        entry.value = Some(value);
        self.len += 1;
        Some(key)
    }

    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation == key.generation { entry.value.as_mut() } else { None }
    }

    /// A value, and what it has charged.
    pub(crate) fn get_charged(&mut self, key: Key) -> Option<(&mut T, &mut u32)> {
        let entry = self.entries.get_mut(key.index as usize)?;
        let Entry { generation, charged, value } = entry;
        if *generation == key.generation { Some((value.as_mut()?, charged)) } else { None }
    }

    /// What all values have charged.
    pub(crate) fn charged(&mut self) -> impl Iterator<Item = (Key, &mut u32)> {
        self.entries.iter_mut().enumerate().filter(|(_, entry)| entry.value.is_some()).map(
            |(index, entry)| {
                let index = u32::try_from(index).expect("less than MOST");
                (Key { index, generation: entry.generation }, &mut entry.charged)
            },
        )
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.index as usize)?;
        if entry.generation != key.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1) & GENERATION_MASK;
        self.free.push(key.index);
        self.len -= 1;
        Some(value)
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let live = self.entries.iter().enumerate().filter(|(_, entry)| entry.value.is_some());
        live.map(|(index, entry)| Key {
            index: u32::try_from(index).expect("less than MOST"),
            generation: entry.generation,
        })
        .collect()
    }
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
}
