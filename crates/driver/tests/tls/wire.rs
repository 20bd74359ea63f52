//! A wire in memory that takes and hands out as many bytes as a test allows, and the configurations of
//! both sides.

use framewright_driver::tls::{Tls, provider};
use framewright_driver::{Io, Transport};
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::{RootCertStore, SupportedProtocolVersion};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// One direction of a wire.
#[derive(Debug, Default)]
pub(crate) struct Way {
    pub(crate) bytes: VecDeque<u8>,
    /// How many more bytes it takes.
    pub(crate) room: usize,
    pub(crate) ended: bool,
    /// The number of writes that it has taken bytes of.
    pub(crate) writes: usize,
}

/// One end of a wire, which hands out up to `at_once` bytes for each read.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) incoming: Rc<RefCell<Way>>,
    pub(crate) outgoing: Rc<RefCell<Way>>,
    pub(crate) at_once: usize,
}

impl Transport for End {
    fn read(&mut self, target: &mut [u8]) -> Io {
        let mut way = self.incoming.borrow_mut();
        let count = way.bytes.len().min(target.len()).min(self.at_once);
        if count == 0 {
            return if way.ended { Io::Moved(0) } else { Io::Blocked };
        }
        for (slot, byte) in target.iter_mut().zip(way.bytes.drain(..count)) {
            *slot = byte;
        }
        Io::Moved(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let mut way = self.outgoing.borrow_mut();
        assert!(!way.ended, "a write behind the end");
        let mut count = 0;
        for slice in slices {
            let part = slice.len().min(way.room);
            way.bytes.extend(&slice[..part]);
            way.room -= part;
            count += part;
        }
        if count == 0 {
            return Io::Blocked;
        }
        way.writes += 1;
        Io::Moved(count)
    }

    fn shutdown(&mut self, how: Shutdown) {
        assert_ne!(how, Shutdown::Read);
        self.outgoing.borrow_mut().ended = true;
    }

    fn short_read_empties(&self) -> bool {
        false
    }
}

pub(crate) type Client = Tls<UnbufferedClientConnection, End>;
pub(crate) type Server = Tls<UnbufferedServerConnection, End>;

/// The certificate of `localhost`, and its key.
fn certificate() -> &'static (CertificateDer<'static>, PrivatePkcs8KeyDer<'static>) {
    static MADE: OnceLock<(CertificateDer<'static>, PrivatePkcs8KeyDer<'static>)> = OnceLock::new();
    MADE.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        (made.cert.der().clone(), PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()))
    })
}

pub(crate) fn server_config(version: &'static SupportedProtocolVersion) -> ServerConfig {
    server_config_of(provider().expect("a provider"), version)
}

pub(crate) fn server_config_of(
    provider: Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> ServerConfig {
    let (certificate, key) = certificate();
    ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key.clone_key().into())
        .expect("a key")
}

pub(crate) fn client_config(version: &'static SupportedProtocolVersion) -> ClientConfig {
    client_config_of(provider().expect("a provider"), version)
}

pub(crate) fn client_config_of(
    provider: Arc<CryptoProvider>,
    version: &'static SupportedProtocolVersion,
) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(certificate().0.clone()).expect("a root");
    ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots)
        .with_no_client_auth()
}

pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").expect("a name")
}

/// Both ends of a wire that takes everything.
pub(crate) fn ends(at_once: usize) -> (End, End) {
    let there = Rc::new(RefCell::new(Way { room: usize::MAX, ..Way::default() }));
    let back = Rc::new(RefCell::new(Way { room: usize::MAX, ..Way::default() }));
    let ours = End { incoming: Rc::clone(&back), outgoing: Rc::clone(&there), at_once };
    (ours, End { incoming: there, outgoing: back, at_once })
}

pub(crate) fn sessions(version: &'static SupportedProtocolVersion, at_once: usize) -> (Client, Server) {
    sessions_of(&Arc::new(client_config(version)), &Arc::new(server_config(version)), at_once)
}

pub(crate) fn sessions_of(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    at_once: usize,
) -> (Client, Server) {
    let (ours, theirs) = ends(at_once);
    (
        Tls::client(Arc::clone(client), localhost(), ours).expect("a client"),
        Tls::server(Arc::clone(server), theirs).expect("a server"),
    )
}

pub(crate) fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        })
        .collect()
}

pub(crate) const VERSIONS: [&SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];
