//! Which sizes the messages have, and in which order: `--size 20:9,16K:1`.

use anyhow::ensure;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::fmt;
use std::str::FromStr;

/// Sizes of payload in octets, each with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mix {
    entries: Vec<(usize, usize)>,
}

impl Mix {
    /// One size.
    pub(super) fn of(size: usize) -> Mix {
        Mix { entries: vec![(size, 1)] }
    }

    pub(super) fn entries(&self) -> &[(usize, usize)] {
        &self.entries
    }

    /// As many messages of each size as its weight says, in an order that the seed decides.
    pub(super) fn order(&self, seed: u64) -> Vec<usize> {
        let repeated = self.entries.iter().flat_map(|&(size, weight)| std::iter::repeat_n(size, weight));
        let mut sizes: Vec<usize> = repeated.collect();
        sizes.shuffle(&mut StdRng::seed_from_u64(seed));
        sizes
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Mix> {
        let mut entries = Vec::new();
        for entry in text.split(',') {
            let (size, weight) = entry.split_once(':').unwrap_or((entry, "1"));
            let weight = weight.parse().ok().filter(|weight| (1..=MOST_WEIGHT).contains(weight));
            ensure!(weight.is_some(), "a weight is a number from 1 to {MOST_WEIGHT}");
            entries.push((parse_size(size).map_err(anyhow::Error::msg)?, weight.unwrap_or(1)));
        }
        let octets = |&(size, weight): &(usize, usize)| size * weight;
        let sum: usize = entries.iter().map(octets).sum();
        ensure!(sum <= MOST_OCTETS, "the sizes times their weights make more than 1 GiB");
        Ok(Mix { entries })
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entries[..] {
            [(size, _)] => write!(f, "{size} B"),
            _ => {
                let entries: Vec<_> =
                    self.entries.iter().map(|(size, weight)| format!("{size}:{weight}")).collect();
                write!(f, "{} B", entries.join(","))
            }
        }
    }
}

/// A number of octets; `K` and `M` behind it stand for KiB and MiB.
pub(super) fn parse_size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let size = digits.parse::<usize>().ok().and_then(|size| size.checked_mul(unit));
    size.filter(|&size| size <= MOST_OCTETS).ok_or_else(|| {
        "a size is a number of bytes, or of KiB or MiB with K or M behind it, up to 1024M".to_owned()
    })
}

/// The weights' sum is the length of the sequence that is sent again and again.
const MOST_WEIGHT: usize = 10_000;
/// All messages of the sequence are built before the first is sent.
const MOST_OCTETS: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_weights() {
        for (text, entries) in [
            ("0", &[(0, 1)][..]),
            ("20", &[(20, 1)]),
            ("16K", &[(16 << 10, 1)]),
            ("1M", &[(1 << 20, 1)]),
            ("20,125,4096", &[(20, 1), (125, 1), (4096, 1)]),
            ("20:9,16384:1", &[(20, 9), (16384, 1)]),
        ] {
            assert_eq!(text.parse::<Mix>().unwrap().entries(), entries, "{text}");
        }
        for wrong in ["", "K", "-1", "1.5", "20,", "20:", "20:0", "20:10001", "20:x", "1025M", "600M:2", "1G"]
        {
            assert!(wrong.parse::<Mix>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_order_has_each_size_as_often_as_its_weight_says() {
        let order = "20:9,16384:1".parse::<Mix>().unwrap().order(7);
        assert_eq!(order.len(), 10);
        assert_eq!(order.iter().filter(|&&size| size == 20).count(), 9);
        let mix: Mix = "1:50,2:50".parse().unwrap();
        assert_eq!(mix.order(7), mix.order(7));
        assert_ne!(mix.order(7), mix.order(8));
    }
}
