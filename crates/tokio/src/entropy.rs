//! The source of masking keys and nonces.

use framewright::Entropy;
use rand::Rng as _;

/// The thread's cryptographically strong generator, seeded and reseeded by the system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Csprng;

impl Entropy for Csprng {
    fn fill(&mut self, target: &mut [u8]) {
        rand::rng().fill_bytes(target);
    }
}
