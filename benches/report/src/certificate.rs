//! The certificate of the servers that are measured over TLS: made for a run, and forgotten with it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context as _;
use tempfile::TempDir;

/// A self-signed certificate for the IPv4 loopback address, with a key on the curve P-256, in a
/// folder that is removed with this value.
#[derive(Debug)]
pub(crate) struct Certificate {
    folder: TempDir,
}

impl Certificate {
    /// Makes one.
    ///
    /// # Errors
    /// If it cannot be written.
    pub(crate) fn make() -> anyhow::Result<Self> {
        let made = rcgen::generate_simple_self_signed([Ipv4Addr::LOCALHOST.to_string()])?;
        let folder = tempfile::tempdir().context("there is no room for a certificate")?;
        let certificate = Self { folder };
        fs::write(certificate.chain(), made.cert.pem())?;
        fs::write(certificate.key(), made.signing_key.serialize_pem())?;
        Ok(certificate)
    }

    /// The file with the certificate, in PEM. Whoever connects trusts it.
    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The file with its key, in PEM.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_what_they_are_said_to_be_and_go_with_the_run() {
        let certificate = Certificate::make().expect("a certificate");
        let (chain, key) = (certificate.chain(), certificate.key());
        let begins = |file: &PathBuf, what: &str| {
            let text = fs::read_to_string(file).expect("readable");
            assert!(text.starts_with(&format!("-----BEGIN {what}-----")), "{text}");
        };
        begins(&chain, "CERTIFICATE");
        begins(&key, "PRIVATE KEY");
        drop(certificate);
        assert!(!chain.exists() && !key.exists());
    }
}
