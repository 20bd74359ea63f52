//! TLS under the connections: how `--ca`, `--insecure`, `--cipher-suite` and `--resume` become
//! settings of rustls, the stream, and what was agreed on.

use super::target::Target;
use anyhow::{Context, bail, ensure};
use framewright_driver::tls::{Fault, Tls, provider};
use framewright_driver::{Io, Transport, uninterrupted};
use mio::net::TcpStream;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue,
    UnbufferedClientConnection,
};
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, DigitallySignedStruct, HandshakeKind, NamedGroup,
    ProtocolVersion, RootCertStore, SignatureScheme, StreamOwned,
};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The options that are for `wss://` and `tls://` only.
#[derive(Debug, clap::Args)]
#[group(skip)]
pub(super) struct Args {
    /// Over TLS: the certificates to trust, a PEM file. The server's certificate has to be signed
    /// by one of them, or to be one of them that is no authority, and to name the host of the URL.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// DANGEROUS, over TLS: accept ANY certificate, of ANYBODY. Whoever is in between can read and
    /// change everything. Only for a server of your own, on a network of your own.
    #[arg(long, conflicts_with = "ca")]
    insecure: bool,
    /// Over TLS: offer only this cipher suite, such as TLS13_AES_128_GCM_SHA256. [default: all of
    /// the provider's]
    #[arg(long, value_name = "NAME")]
    cipher_suite: Option<String>,
    /// With --connect-rate over TLS: resume sessions, all but the first ones. Otherwise each
    /// handshake is a full one.
    #[arg(long, requires = "connect_rate")]
    resume: bool,
}

impl Args {
    /// What does not go together with the target.
    pub(super) fn check(&self, target: &Target) -> Result<(), String> {
        let Args { ca, insecure, cipher_suite, resume } = self;
        if target.tls {
            return match (ca, insecure) {
                (None, false) => Err("over TLS, --ca FILE says which certificates to trust".to_owned()),
                _ => Ok(()),
            };
        }
        if ca.is_some() || *insecure || cipher_suite.is_some() || *resume {
            return Err("--ca, --insecure, --cipher-suite and --resume are for wss:// and tls://".to_owned());
        }
        Ok(())
    }

    /// Whether sessions are resumed.
    pub(super) fn resumes(&self) -> bool {
        self.resume
    }
}

/// How TLS sessions with the server begin.
#[derive(Clone, Debug)]
pub(super) struct Client {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Client {
    /// As the options say; `None` if the target is not reached over TLS.
    ///
    /// # Errors
    /// If a file cannot be read, or there is no such cipher suite.
    pub(super) fn new(args: &Args, target: &Target) -> anyhow::Result<Option<Client>> {
        if !target.tls {
            return Ok(None);
        }
        let name = ServerName::try_from(target.host.clone())
            .with_context(|| format!("{} cannot be in a certificate", target.host))?;
        Ok(Some(Client { config: Arc::new(config(args)?), name }))
    }

    /// A session over a socket that blocks.
    pub(super) fn over(&self, socket: std::net::TcpStream) -> anyhow::Result<impl Read + Write + 'static> {
        let session = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(StreamOwned::new(session, socket))
    }
}

fn config(args: &Args) -> anyhow::Result<ClientConfig> {
    let provider = match &args.cipher_suite {
        Some(name) => Arc::new(with_suite(&*provider()?, name)?),
        None => provider()?,
    };
    let algorithms = provider.signature_verification_algorithms;
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let builder = match &args.ca {
        Some(file) => builder.with_root_certificates(roots(file)?),
        None if args.insecure => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(algorithms)))
        }
        None => bail!("over TLS, --ca FILE says which certificates to trust"),
    };
    let mut config = builder.with_no_client_auth();
    config.resumption =
        if args.resume { Resumption::store(Arc::new(Tickets::default())) } else { Resumption::disabled() };
    Ok(config)
}

/// The provider with one cipher suite.
fn with_suite(provider: &CryptoProvider, name: &str) -> anyhow::Result<CryptoProvider> {
    let mut provider = provider.clone();
    let names: Vec<String> =
        provider.cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
    provider.cipher_suites.retain(|suite| format!("{:?}", suite.suite()) == name);
    ensure!(
        !provider.cipher_suites.is_empty(),
        "there is no cipher suite {name}; there are: {}",
        names.join(", ")
    );
    Ok(provider)
}

fn roots(file: &Path) -> anyhow::Result<RootCertStore> {
    let read = || -> anyhow::Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(file)? {
            roots.add(certificate?)?;
        }
        ensure!(!roots.is_empty(), "there is no certificate in it");
        Ok(roots)
    };
    read().with_context(|| format!("cannot take certificates from {}", file.display()))
}

/// What resumes sessions with the one server that there is. Connections end in turn, and begin
/// again in turn: it takes more tickets than rustls' own store, which has eight for a server.
#[derive(Debug, Default)]
struct Tickets {
    tickets: Mutex<VecDeque<Tls13ClientSessionValue>>,
    session: Mutex<Option<Tls12ClientSessionValue>>,
}

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }

    fn set_tls12_session(&self, _: ServerName<'static>, session: Tls12ClientSessionValue) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, ticket: Tls13ClientSessionValue) {
        let mut tickets = self.tickets.lock().unwrap_or_else(PoisonError::into_inner);
        if tickets.len() == MOST_TICKETS {
            tickets.pop_front();
        }
        tickets.push_back(ticket);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner).pop_back()
    }
}

/// A server may send more tickets than are used.
const MOST_TICKETS: usize = 4096;

/// Accepts every certificate: `--insecure`. That the server has its key is still checked.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// TLS over a non-blocking socket. Its handshake is done by reads and writes.
#[derive(Debug)]
pub(super) struct Stream(Box<Tls<UnbufferedClientConnection, Socket>>);

impl Stream {
    pub(super) fn new(socket: TcpStream, client: &Client) -> io::Result<Stream> {
        let socket = Socket { stream: socket, error: None };
        let tls = Tls::client(Arc::clone(&client.config), client.name.clone(), socket);
        tls.map(|tls| Stream(Box::new(tls))).map_err(io::Error::other)
    }

    pub(super) fn socket(&mut self) -> &mut TcpStream {
        &mut self.0.transport_mut().stream
    }

    pub(super) fn is_established(&self) -> bool {
        !self.0.is_handshaking()
    }

    /// Whether an event announces what can be read next.
    #[inline]
    pub(super) fn is_emptied(&self) -> bool {
        self.0.short_read_empties()
    }

    /// Reads content. An end without close_notify is an end as well: the frames tell whether it is
    /// one too early.
    #[inline]
    pub(super) fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        match self.0.read(target) {
            Io::Moved(count) => Ok(count),
            Io::Blocked => Err(ErrorKind::WouldBlock.into()),
            Io::Lost if self.0.fault() == Some(&Fault::Truncated) => Ok(0),
            Io::Lost => Err(self.failure()),
        }
    }

    #[inline]
    pub(super) fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self.0.write(&[IoSlice::new(octets)]) {
            Io::Moved(count) => Ok(count),
            Io::Blocked => Err(ErrorKind::WouldBlock.into()),
            Io::Lost => Err(self.failure()),
        }
    }

    /// Writes what TLS has to say by itself. Says whether all of it has left.
    #[inline]
    pub(super) fn flush(&mut self) -> bool {
        self.0.flush_own()
    }

    #[cold]
    fn failure(&mut self) -> io::Error {
        if let Some(error) = self.0.transport_mut().error.take() {
            return error;
        }
        match self.0.fault() {
            Some(fault) => io::Error::other(fault.clone()),
            None => ErrorKind::ConnectionAborted.into(),
        }
    }
}

/// A socket as what TLS runs over.
#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    /// Why it has failed.
    error: Option<io::Error>,
}

impl Socket {
    #[inline]
    fn moved(&mut self, result: io::Result<usize>) -> Io {
        match result {
            Ok(count) => Io::Moved(count),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::NotConnected) => {
                Io::Blocked
            }
            Err(error) => {
                self.error = Some(error);
                Io::Lost
            }
        }
    }
}

impl Transport for Socket {
    #[inline]
    fn read(&mut self, target: &mut [u8]) -> Io {
        let result = uninterrupted(|| self.stream.read(target));
        self.moved(result)
    }

    #[inline]
    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let result = uninterrupted(|| match slices {
            [slice] => self.stream.write(slice),
            _ => self.stream.write_vectored(slices),
        });
        self.moved(result)
    }

    fn shutdown(&mut self, how: Shutdown) {
        // A failure means that it is gone.
        let _ = self.stream.shutdown(how);
    }
}

/// What the two sides agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Agreed {
    version: ProtocolVersion,
    suite: CipherSuite,
    group: Option<NamedGroup>,
}

impl fmt::Display for Agreed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {:?}", self.version, self.suite)?;
        self.group.map_or(Ok(()), |group| write!(f, ", {group:?}"))
    }
}

/// The sessions that have begun: figures of different ciphers are not to be mixed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sessions {
    agreed: Option<Agreed>,
    full: u64,
    resumed: u64,
}

impl Sessions {
    /// Takes note of a session whose handshake is complete.
    ///
    /// # Errors
    /// If something else was agreed on than with a session before.
    pub(super) fn note(&mut self, stream: &Stream) -> anyhow::Result<()> {
        let session = stream.0.session();
        let (Some(version), Some(suite)) = (session.protocol_version(), session.negotiated_cipher_suite())
        else {
            bail!("the TLS session does not say what was agreed on");
        };
        let group = session.negotiated_key_exchange_group().map(SupportedKxGroup::name);
        let agreed = Agreed { version, suite: suite.suite(), group };
        let before = *self.agreed.get_or_insert(agreed);
        ensure!(before == agreed, "the server agrees on {agreed}, and on {before} with a connection before");
        if session.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.resumed += 1;
        } else {
            self.full += 1;
        }
        Ok(())
    }

    /// Sessions with a full handshake.
    pub(super) fn full(&self) -> u64 {
        self.full
    }

    /// Counts from zero again.
    pub(super) fn count_anew(&mut self) {
        (self.full, self.resumed) = (0, 0);
    }

    /// # Errors
    /// If not all were resumed.
    pub(super) fn check_resumed(&self) -> anyhow::Result<()> {
        let Sessions { full, resumed, .. } = self;
        ensure!(*full == 0, "the server did not resume {full} of {} sessions", full + resumed);
        Ok(())
    }

    pub(super) fn to_json(self) -> Value {
        let Some(agreed) = self.agreed else { return Value::Null };
        json!({
            "version": format!("{:?}", agreed.version),
            "cipher_suite": format!("{:?}", agreed.suite),
            "key_exchange": agreed.group.map(|group| format!("{group:?}")),
            "full": self.full,
            "resumed": self.resumed,
        })
    }

    /// In words; `None` without TLS.
    pub(super) fn to_text(self) -> Option<String> {
        let Sessions { agreed, full, resumed } = self;
        Some(format!("{}; {full} full handshakes, {resumed} resumed", agreed?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted_unless_the_options_say_so() {
        let args = |insecure| Args { ca: None, insecure, cipher_suite: None, resume: false };
        assert!(config(&args(false)).is_err());
        assert!(config(&args(true)).is_ok());
    }
}
