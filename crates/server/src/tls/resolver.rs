//! The certificate for each server name (SNI, RFC 6066, section 3), and the name that a client has
//! sent.

use rustls::SignatureScheme;
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

    /// The certificates for `name`, which may end with the dot of the root: those that name it, and
    /// then those with a wildcard in the place of its first label.
    fn of(&self, name: &str) -> impl Iterator<Item = &Arc<CertifiedKey>> + Clone {
        let name = name.strip_suffix('.').unwrap_or(name);
        let exact = self.names.get(name);
        // A wildcard stands for one whole label (RFC 6125, section 6.4.3).
        let wildcard = name.split_once('.').and_then(|(_, rest)| self.names.get(&*format!("*.{rest}")));
        exact.into_iter().chain(wildcard).flatten().map(|index| &self.all[*index])
    }

    /// The certificate for a client that names `name` and supports these signature schemes.
    fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<CertifiedKey>> {
        let fits = |certificate: &&Arc<CertifiedKey>| certificate.key.choose_scheme(schemes).is_some();
        // A name may have a certificate for each kind of key: the client decides.
        let mut candidates = name.map(|name| self.of(name)).into_iter().flatten().chain(&self.all);
        let first = candidates.clone().next();
        candidates.find(fits).or(first)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.choose(hello.server_name(), hello.signature_schemes()).cloned()
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::SignatureAlgorithm;
    use rustls::sign::{Signer, SigningKey};

    const ECDSA: SignatureScheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    const RSA: SignatureScheme = SignatureScheme::RSA_PSS_SHA256;

    /// A key that has one scheme, and never signs.
    #[derive(Debug)]
    struct Key(SignatureScheme);

    impl SigningKey for Key {
        fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
            offered.contains(&self.0).then(|| Box::new(Signs(self.0)) as Box<dyn Signer>)
        }

        fn algorithm(&self) -> SignatureAlgorithm {
            SignatureAlgorithm::ECDSA
        }
    }

    #[derive(Debug)]
    struct Signs(SignatureScheme);

    impl Signer for Signs {
        fn sign(&self, _: &[u8]) -> Result<Vec<u8>, rustls::Error> {
            Err(rustls::Error::DecryptError)
        }

        fn scheme(&self) -> SignatureScheme {
            self.0
        }
    }

    #[test]
    fn a_client_gets_a_certificate_for_its_name_that_it_can_check() {
        let own = [("a.x", ECDSA), ("b.y", RSA), ("*.x", RSA), ("c.x", RSA)];
        let certificate = |(name, scheme): (&str, _)| {
            (Arc::new(CertifiedKey::new(Vec::new(), Arc::new(Key(scheme)))), vec![name.into()])
        };
        let by_name = ByName::new(own.map(certificate).into());
        for (name, schemes, expected) in [
            (Some("a.x"), &[RSA, ECDSA][..], "a.x"),
            (Some("a.x."), &[ECDSA], "a.x"),
            (Some("a.x"), &[RSA], "*.x"),
            (Some("a.x."), &[RSA], "*.x"),
            (Some("c.x"), &[RSA], "c.x"),
            (Some("d.x"), &[RSA], "*.x"),
            (Some("b.y."), &[RSA], "b.y"),
            // Nobody's name, or no name; and a key that nothing fits.
            (Some("a.b.x"), &[ECDSA, RSA], "a.x"),
            (Some("a.x.."), &[ECDSA, RSA], "a.x"),
            (Some("."), &[RSA], "b.y"),
            (None, &[RSA], "b.y"),
            (None, &[ECDSA, RSA], "a.x"),
            (Some("b.y"), &[ECDSA], "a.x"),
            (Some("b.y"), &[], "b.y"),
        ] {
            let chosen = by_name.choose(name, schemes).expect("there are some");
            let index = by_name.all.iter().position(|other| Arc::ptr_eq(other, chosen)).expect("one of them");
            assert_eq!(own[index].0, expected, "{name:?} with {schemes:?}");
        }
    }
}
