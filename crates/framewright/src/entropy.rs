//! The source of masking keys and nonces (RFC 6455, sections 5.3 and 10.3), which the driver
//! provides: this crate has none of its own.

/// A source of unpredictable bytes, provided by the driver.
///
/// A driver passes a cryptographically strong generator; a test passes a seeded one and can replay
/// every byte.
///
//= https://www.rfc-editor.org/rfc/rfc6455#section-5.3
//# The masking key needs to be unpredictable; thus, the masking key MUST
//# be derived from a strong source of entropy, and the masking key for a
//# given frame MUST NOT make it simple for a server/proxy to predict the
//# masking key for a subsequent frame.
pub trait Entropy: Send {
    /// Overwrites the whole of `target` with fresh bytes.
    fn fill(&mut self, target: &mut [u8]);
}

impl<F: FnMut(&mut [u8]) + Send> Entropy for F {
    fn fill(&mut self, target: &mut [u8]) {
        self(target);
    }
}
