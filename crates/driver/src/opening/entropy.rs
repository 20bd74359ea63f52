//! The source of masking keys and nonces.

use framewright::Entropy;
use rand::Rng as _;

/// The thread's cryptographically strong generator, seeded and reseeded by the system.
#[derive(Clone, Copy, Debug)]
#[allow(clippy::exhaustive_structs, reason = "it has nothing in it")]
pub struct Csprng;

impl Entropy for Csprng {
    fn fill(&mut self, target: &mut [u8]) {
        rand::rng().fill_bytes(target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_nonce_comes_twice() {
        let mut seen = HashSet::new();
        for _ in 0..10_000 {
            let mut nonce = [0; 16];
            Csprng.fill(&mut nonce);
            assert!(seen.insert(nonce));
        }
    }
}
