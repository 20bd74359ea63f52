//! The certificate for each server name (SNI, RFC 6066, section 3), and the name that a client has
//! sent.

use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Chooses the certificate by the names that stand in the certificates.
pub(crate) struct ByName {
    /// The first one is for clients that name nobody, or somebody else.
    all: Vec<Arc<CertifiedKey>>,
    /// The certificates for each name in small letters, `*.example.com` among them.
    names: HashMap<Box<str>, Vec<usize>>,
}

impl fmt::Debug for ByName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByName").field("names", &self.names).finish_non_exhaustive()
    }
}

impl ByName {
    /// `certificates` are not empty, and each has its own DNS names.
    pub(crate) fn new(certificates: Vec<(Arc<CertifiedKey>, Vec<Box<str>>)>) -> Self {
        let mut names: HashMap<Box<str>, Vec<usize>> = HashMap::new();
        let mut all = Vec::new();
        for (index, (certificate, own)) in certificates.into_iter().enumerate() {
            for name in own {
                names.entry(name).or_default().push(index);
            }
            all.push(certificate);
        }
        ByName { all, names }
    }

    /// The certificates for `name`: those that name it, else those with a wildcard in the place of
    /// its first label.
    fn of(&self, name: &str) -> &[usize] {
        // A wildcard stands for one whole label (RFC 6125, section 6.4.3).
        let wildcard = || name.split_once('.').and_then(|(_, rest)| self.names.get(&*format!("*.{rest}")));
        self.names.get(name).or_else(wildcard).map_or(&[], |indices| &indices[..])
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().map_or(&[][..], |name| self.of(name));
        let schemes = hello.signature_schemes();
        let fits = |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(schemes).is_some();
        // A name may have a certificate for each kind of key: the client decides.
        let mut candidates = named.iter().map(|index| &self.all[*index]).chain(&self.all);
        let first = candidates.clone().next();
        candidates.find(fits).or(first).cloned()
    }
}

thread_local! {
    /// The server name in the last ClientHello that this thread has handled.
    static NAMED: RefCell<Option<Box<str>>> = const { RefCell::new(None) };
}

/// Notes the server name of each handshake, and leaves the choice to another resolver.
///
/// The API of rustls that this server uses (`UnbufferedServerConnection`) tells the name to nobody
/// but the resolver, which runs inside of the read that has received it.
#[derive(Debug)]
pub(crate) struct Noting(pub(crate) Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for Noting {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        NAMED.set(hello.server_name().map(Into::into));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// The server name of the ClientHello that was handled since the last call; `None` if there was
/// none, or it names nobody.
pub(crate) fn take_server_name() -> Option<Box<str>> {
    NAMED.take()
}
