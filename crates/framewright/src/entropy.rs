//! Where masking keys and nonces come from (RFC 6455, sections 5.3 and 10.3): never from this
//! crate.

/// A source of unpredictable octets, given by the driver.
///
/// A driver hands in a cryptographically strong generator; a test hands in a seeded one and can
/// replay every byte.
///
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.3
//# The masking key needs to be unpredictable; thus, the masking key MUST
//# be derived from a strong source of entropy, and the masking key for a
//# given frame MUST NOT make it simple for a server/proxy to predict the
//# masking key for a subsequent frame.
pub trait Entropy: Send {
    /// Overwrites the whole of `target` with fresh octets.
    fn fill(&mut self, target: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, target: &mut [u8]) {
        self(target);
    }
}
