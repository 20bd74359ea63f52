//! The `--tls-*` options of the programs that serve: certificates, and reading them again when their
//! files change.

use crate::listen::Listen;
use crate::watch::Watch;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use anyhow::Context;
use framewright_server::{ServerHandle, ServerTls};
use std::path::PathBuf;
use std::sync::mpsc::Receiver;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
use std::time::{Duration, SystemTime};

#[derive(Debug, clap::Args)]
#[group(skip)]
pub(crate) struct Args {
    /// Where to listen with TLS, for wss and https: as for --listen; may be repeated. [default with a
    /// certificate and without --listen: port 5001 on both loopback addresses]
    #[arg(long, value_name = "ADDR:PORT", requires = "certificate")]
    pub(crate) tls_listen: Vec<Listen>,
    /// The server's certificate with its chain, a PEM file; may be repeated, each with its --tls-key:
    /// a client gets the certificate for the name that it asks for, else the first. The files are
    /// read again when they change.
    #[arg(long, value_name = "FILE", requires = "tls_key", group = "certificate")]
    tls_cert: Vec<PathBuf>,
    /// The private key of the certificate, a PEM file that is not encrypted.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,
    /// Make a certificate for this run, to try TLS, and print its SHA-256 fingerprint. It names
    /// localhost and the hosts of --tls-listen; browsers warn of it.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    #[arg(long, group = "certificate")]
    tls_self_signed: bool,
    /// Demand a certificate of clients with TLS, of a CA in this PEM file.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    tls_client_ca: Option<PathBuf>,
}

/// A certificate and its key, in PEM.
struct Pem {
    certificate: String,
    key: String,
}

/// Where the certificates come from.
pub(crate) struct Certificates<'a> {
    args: &'a Args,
    /// Made for this run.
    made: Option<Pem>,
    /// The SHA-256 fingerprint of the certificate that was made.
    pub(crate) fingerprint: Option<String>,
    /// The files, as they looked before they were read for the first time.
    watch: Watch,
}

impl Args {
    /// The certificates; `None` if no option asks for TLS.
    ///
    /// # Errors
    /// If the options do not fit together, or no certificate can be made.
    pub(crate) fn certificates(&self) -> anyhow::Result<Option<Certificates<'_>>> {
        let (certificates, keys) = (self.tls_cert.len(), self.tls_key.len());
        anyhow::ensure!(certificates == keys, "{certificates} times --tls-cert, and {keys} times --tls-key");
        #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
        if self.tls_self_signed {
            let (made, fingerprint) = self.make().context("cannot make a certificate")?;
            return Ok(Some(Certificates::new(self, Some((made, fingerprint)))));
        }
        Ok((certificates > 0).then(|| Certificates::new(self, None)))
    }

    /// A certificate for localhost, and for the hosts that are listened at.
    #[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
    fn make(&self) -> anyhow::Result<(Pem, String)> {
        use sha2::{Digest as _, Sha256};
        const DAY: Duration = Duration::from_secs(86400);
        let local = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let listened = self.tls_listen.iter().filter_map(Listen::host);
        let mut names: Vec<String> = local.into_iter().chain(listened).collect();
        names.sort_unstable();
        names.dedup();
        let key = rcgen::KeyPair::generate()?;
        let mut params = rcgen::CertificateParams::new(names)?;
        // Clocks differ; and browsers take no certificate for longer than about a year.
        params.not_before = (SystemTime::now() - DAY).into();
        params.not_after = (SystemTime::now() + 90 * DAY).into();
        params.distinguished_name.push(rcgen::DnType::CommonName, "framewright");
        let certificate = params.self_signed(&key)?;
        let digest = Sha256::digest(certificate.der());
        let octets: Vec<String> = digest.iter().map(|octet| format!("{octet:02X}")).collect();
        Ok((Pem { certificate: certificate.pem(), key: key.serialize_pem() }, octets.join(":")))
    }
}

impl<'a> Certificates<'a> {
    /// With what was made for this run, and its fingerprint.
    fn new(args: &'a Args, made: Option<(Pem, String)>) -> Self {
        let (made, fingerprint) = made.unzip();
        let Args { tls_cert, tls_key, tls_client_ca, .. } = args;
        let files = tls_cert.iter().chain(tls_key).chain(tls_client_ca).cloned().collect();
        Certificates { args, made, fingerprint, watch: Watch::new(files) }
    }

    /// Reads the files, and makes the settings.
    ///
    /// # Errors
    /// If a file cannot be read or used, which the error says.
    pub(crate) fn load(&self) -> anyhow::Result<ServerTls> {
        let Args { tls_cert, tls_key, tls_client_ca, .. } = self.args;
        let mut builder = ServerTls::builder();
        if let Some(Pem { certificate, key }) = &self.made {
            builder = builder.certificate_pem(certificate.as_str(), key.as_str());
        }
        for (certificate, key) in tls_cert.iter().zip(tls_key) {
            builder = builder.certificate_files(certificate, key);
        }
        if let Some(path) = tls_client_ca {
            builder = builder.client_ca_file(path);
        }
        Ok(builder.build()?)
    }

    /// Reads the files again whenever they have changed, until the server has ended. What cannot be
    /// used is logged, and the server goes on with what it has.
    pub(crate) fn watch(&self, server: &ServerHandle, over: &Receiver<()>) {
        self.watch.clone().run(over, || match self.load() {
            Ok(tls) => match server.set_tls(tls) {
                Ok(()) => tracing::info!("the certificates have changed"),
                Err(error) => tracing::warn!("the certificates have changed: {error}"),
            },
            Err(error) => tracing::warn!("the certificates have changed, and cannot be used: {error:#}"),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;
    use std::fs;

    #[derive(Debug, clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    /// A certificate that is renewed before the first look of `watch` is not missed.
    #[test]
    fn files_count_as_they_were_before_the_first_load() {
        let folder = tempfile::tempdir().expect("a folder");
        let (chain, key) = (folder.path().join("chain.pem"), folder.path().join("key.pem"));
        for path in [&chain, &key] {
            fs::write(path, "old").expect("a file");
        }
        let options = ["echo".into(), "--tls-cert".into(), chain.clone(), "--tls-key".into(), key];
        let Command { args } = Command::try_parse_from(options).expect("options");
        let certificates = args.certificates().expect("options that fit").expect("certificates");
        assert!(!certificates.watch.clone().has_changed());
        assert!(certificates.load().is_err(), "they are none");
        fs::write(&chain, "renewed").expect("a file");
        assert!(certificates.watch.clone().has_changed());
    }
}
