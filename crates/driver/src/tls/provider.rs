//! The provider of cryptography, which the application chooses.

use rustls::crypto::CryptoProvider;
use std::fmt;
use std::sync::Arc;

/// There is no provider of cryptography: neither one that the process has installed nor one that was
/// compiled in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NoProvider;

impl fmt::Display for NoProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "TLS has no provider of cryptography: enable the feature `aws-lc-rs` or `ring`, or call CryptoProvider::install_default",
        )
    }
}

impl std::error::Error for NoProvider {}

/// Returns the provider of cryptography: the one that the process has installed
/// ([`CryptoProvider::install_default`]); otherwise AWS-LC or ring, whichever is compiled in, AWS-LC
/// first.
///
/// # Errors
/// [`NoProvider`] if there is none.
pub fn provider() -> Result<Arc<CryptoProvider>, NoProvider> {
    CryptoProvider::get_default().cloned().or_else(compiled_in).ok_or(NoProvider)
}

#[cfg(feature = "aws-lc-rs")]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

#[cfg(all(feature = "ring", not(feature = "aws-lc-rs")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    Some(Arc::new(rustls::crypto::ring::default_provider()))
}

#[cfg(not(any(feature = "ring", feature = "aws-lc-rs")))]
fn compiled_in() -> Option<Arc<CryptoProvider>> {
    None
}
