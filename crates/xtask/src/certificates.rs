//! Certificates made for a test: an authority, one between it and the servers, and what is wrong
//! with a certificate on purpose. All of it is valid for the names of this machine only.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// The names that a good certificate is for.
pub(crate) const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "other.test"];

/// An authority, and one that it has given a certificate to.
pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    between: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
}

/// The files of a certificate, for a server or a client.
#[derive(Clone, Debug)]
pub(crate) struct Certificate {
    /// The certificate, and the one between it and the root.
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    /// The chain and the key in one file.
    pub(crate) both: PathBuf,
}

/// What a certificate is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Well,
    /// Its time is over.
    Expired,
    /// For another name.
    ForAnotherName,
    /// The server does not show the certificate between its own and the root.
    WithoutTheOneBetween,
}

impl Authority {
    /// Makes one of this name, whose files go to `folder`.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn new(folder: &Path, name: &str) -> anyhow::Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("{name} Root"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root = CertifiedIssuer::self_signed(params.clone(), KeyPair::generate()?)?;
        params.distinguished_name.push(DnType::CommonName, format!("{name} Issuer"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let between = CertifiedIssuer::signed_by(params, KeyPair::generate()?, &root)?;
        let folder = folder.join(name);
        fs::create_dir(&folder)?;
        let authority = Self { root, between, folder };
        fs::write(authority.file(), authority.root.pem())?;
        Ok(authority)
    }

    /// The folder with its files.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file with the certificate of the root.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join("root.pem")
    }

    /// Makes a certificate; its files have this name.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub(crate) fn certificate(&self, name: &str, made: Made) -> anyhow::Result<Certificate> {
        let names: &[&str] = if made == Made::ForAnotherName { &["other.test"] } else { &NAMES };
        let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        if made == Made::Expired {
            params.not_before = date_time_ymd(2019, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 29);
        }
        let key = KeyPair::generate()?;
        let mut chain = params.signed_by(&key, &self.between)?.pem();
        if made != Made::WithoutTheOneBetween {
            chain += &self.between.pem();
        }
        let key = key.serialize_pem();
        let file = |kind: &str| self.folder.join(format!("{name}.{kind}.pem"));
        let certificate = Certificate { chain: file("chain"), key: file("key"), both: file("both") };
        fs::write(&certificate.both, format!("{chain}{key}"))?;
        fs::write(&certificate.chain, chain)?;
        fs::write(&certificate.key, key)?;
        Ok(certificate)
    }
}
