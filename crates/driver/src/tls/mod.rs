//! TLS (RFC 8446, RFC 5246) over any transport, by rustls, as one more [`Transport`].
//!
//! ```text
//!              +----------------------- Tls::read ------------------------+
//!   transport  | ciphertext -> lent buffer -> one record after the other  |
//!   ---------> |   handshake, ticket, KeyUpdate: the answer is queued     | ---> reader's buffer
//!              |   part of a record: kept until the rest arrives          |
//!              +----------------------------------------------------------+
//!              +----------------------- Tls::write -----------------------+
//!   transport  | what is queued of our own                                |
//!   <--------- | all slices of a write in records of up to 16 KiB         | <--- frames
//!              |   ciphertext that the transport did not take is kept     |
//!              +----------------------------------------------------------+
//! ```
//!
//! The buffers for ciphertext belong to the thread, and are lent for one read or one write. A
//! connection at rest holds only the state of its session: 2.4 KB on the heap, and [`Tls`] itself.
//! rustls' buffered interface would keep a buffer for each connection, which grows to 18 KB with
//! the first long record and does not shrink.
//!
//! The handshake is done by reads and writes: each returns [`Io::Blocked`] until it is complete.

mod buffers;
mod outgoing;
mod provider;
mod session;

pub use provider::{NoProvider, provider};
pub use session::Session;

use crate::transport::{Io, Transport};
use buffers::{Buffers, Kept};
use outgoing::Records;
use rustls::InvalidMessage;
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::unbuffered::{EncryptError, WriteTraffic};
use session::{Pass, run};
use std::fmt;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::Arc;

/// A TLS session over a transport.
///
/// Box it: it is over a kilobyte in size.
pub struct Tls<S, T> {
    session: S,
    transport: T,
    /// Parts of records received, decrypted bytes that did not fit into the reader's buffer, and
    /// ciphertext that has not left.
    kept: Kept,
    /// Boxed, as few sessions have one.
    fault: Option<Box<Fault>>,
    /// Bytes that a record of ours is longer than its payload; 0 if that is not known yet.
    overhead: u16,
    /// Whether the peer has sent a record.
    heard: bool,
    /// Whether the handshake is complete.
    established: bool,
    /// Whether the last read has emptied the transport.
    emptied: bool,
    /// Whether the peer's close_notify has been received.
    peer_ended: bool,
    /// Whether our direction of the session has ended.
    ended: bool,
    /// Whether our direction of the transport ends when what is queued has left.
    shuts_down: bool,
    /// Whether the transport takes no more bytes.
    unsendable: bool,
}

/// Why reading or writing has failed: after [`Io::Lost`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A rule of TLS was broken, a certificate was not accepted, or the peer has sent an alert.
    Tls(rustls::Error),
    /// The first bytes of the peer are not those of TLS.
    NotTls {
        /// Whether they look like HTTP.
        is_http: bool,
    },
    /// The transport has ended without close_notify: bytes may be missing (RFC 8446, section 6.1).
    Truncated,
    /// The transport below has failed.
    Transport,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Tls(error) => write!(f, "{error}"),
            Fault::NotTls { is_http: true } => f.write_str("the peer speaks HTTP and not TLS"),
            Fault::NotTls { is_http: false } => f.write_str("the peer does not speak TLS"),
            Fault::Truncated => f.write_str("the stream ended without close_notify (RFC 8446, section 6.1)"),
            Fault::Transport => f.write_str("the transport has failed"),
        }
    }
}

impl std::error::Error for Fault {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Fault::Tls(error) => error.source(),
            _ => None,
        }
    }
}

impl<T: Transport> Tls<UnbufferedServerConnection, T> {
    /// Makes the server's side of a session. Nothing is read yet.
    ///
    /// # Errors
    /// If `config` allows early data: a request in early data could be one that somebody repeats
    /// (RFC 8446, section 8). Otherwise those of [`UnbufferedServerConnection::new`].
    pub fn server(config: Arc<ServerConfig>, transport: T) -> Result<Self, rustls::Error> {
        if config.max_early_data_size > 0 {
            return Err(rustls::Error::General("early data is not supported".to_owned()));
        }
        UnbufferedServerConnection::new(config).map(|session| Tls::new(session, transport))
    }
}

impl<T: Transport> Tls<UnbufferedClientConnection, T> {
    /// Makes the client's side of a session with the server of this name. The first write or read
    /// sends the ClientHello.
    ///
    /// # Errors
    /// Those of [`UnbufferedClientConnection::new`].
    pub fn client(
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
        transport: T,
    ) -> Result<Self, rustls::Error> {
        UnbufferedClientConnection::new(config, name).map(|session| Tls::new(session, transport))
    }
}

impl<S, T> Tls<S, T> {
    fn new(session: S, transport: T) -> Self {
        Tls {
            session,
            transport,
            kept: Kept::default(),
            fault: None,
            overhead: 0,
            heard: false,
            established: false,
            emptied: false,
            peer_ended: false,
            ended: false,
            shuts_down: false,
            unsendable: false,
        }
    }

    /// Appends ciphertext that was received before the session began: behind the header of a PROXY
    /// protocol.
    pub fn push_received(&mut self, ciphertext: &[u8]) {
        self.kept.push_tail(ciphertext);
    }

    /// The transport below.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    /// The transport below. Bytes that are read from it or written to it are missing in the
    /// session.
    pub fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The session, with the certificates of the peer and what was agreed on.
    pub fn session(&self) -> &S {
        &self.session
    }

    /// Whether the handshake is still to be completed.
    pub fn is_handshaking(&self) -> bool {
        !self.established
    }

    /// Why reading or writing has failed; `None` if it has not.
    pub fn fault(&self) -> Option<&Fault> {
        self.fault.as_deref().or(self.unsendable.then_some(&Fault::Transport))
    }

    /// Bytes held in buffers of this connection's own: parts of records, decrypted bytes that
    /// nobody has read, and ciphertext that the transport did not take. 0 at rest.
    pub fn held(&self) -> usize {
        self.kept.held()
    }
}

impl<S, T: Transport> Tls<S, T> {
    /// Writes what the transport has not taken when it was asked to. Session tickets that it was not
    /// offered yet leave with the next bytes of the application.
    pub fn flush_offered(&mut self) {
        if self.kept.outgoing().is_some_and(|outgoing| !outgoing.is_new()) {
            self.send_outgoing();
            self.kept.tidy();
        }
    }

    /// Writes what is queued. Returns [`Io::Moved`] when nothing is left. If writing has failed,
    /// what has arrived is still worth reading: it may say why.
    fn send_outgoing(&mut self) -> Io {
        if self.unsendable {
            self.kept.drop_outgoing();
            return Io::Lost;
        }
        let Some(outgoing) = self.kept.outgoing() else { return Io::Moved(0) };
        let io = outgoing.send(&mut self.transport);
        self.unsendable = io == Io::Lost;
        io
    }
}

impl<S: Session, T: Transport> Tls<S, T> {
    /// Reads records until `target` is full or the transport has no more. An empty `target` is for
    /// the handshake alone.
    fn read_records(&mut self, target: &mut [u8], lent: &mut Buffers) -> Io {
        let wanted = target.len();
        let mut incoming = lent.take_incoming(&self.kept.take_tail());
        let mut produced = 0;
        let mut read = 0;
        // A client speaks first, and what was received before the session began comes first.
        let mut has_news = !self.established;
        self.emptied = false;
        loop {
            if has_news {
                produced += self.process(&mut incoming, &mut target[produced..]);
            }
            let handshake_only = wanted == 0 && self.established;
            if handshake_only || self.peer_ended || self.fault.is_some() {
                break;
            }
            if produced > 0 && (produced == wanted || read >= READ_AT_ONCE) {
                break;
            }
            if incoming.len() > LONGEST_PART {
                self.give_up(InvalidMessage::HandshakePayloadTooLarge.into());
                break;
            }
            if read >= READ_AT_ONCE {
                self.give_up(rustls::Error::General("too many records without data".to_owned()));
                break;
            }
            let room = incoming.room(wanted - produced);
            let size = room.len();
            match self.transport.read(room) {
                Io::Moved(0) => {
                    self.fault = Some(Box::new(Fault::Truncated));
                    break;
                }
                Io::Moved(count) => {
                    incoming.add(count);
                    read += count;
                    produced += self.process(&mut incoming, &mut target[produced..]);
                    has_news = false;
                    if produced > 0 && count < size && self.transport.short_read_empties() {
                        self.emptied = true;
                        break;
                    }
                }
                Io::Blocked => {
                    self.emptied = true;
                    break;
                }
                Io::Lost => {
                    self.fault = Some(Box::new(Fault::Transport));
                    break;
                }
            }
        }
        if !self.peer_ended && !self.has_failed() {
            self.kept.set_tail(incoming.rest());
        }
        // A server that gets bytes writes or flushes next. Session tickets leave with its next
        // bytes: no client waits for them. For the end of a client's handshake the server may wait.
        let may_wait = produced > 0 || (self.established && self.session.queues_tickets_only());
        if self.fault.is_some() || S::IS_CLIENT || !may_wait {
            self.send_outgoing();
        }
        match produced {
            0 if self.peer_ended => Io::Moved(0),
            0 if self.fault.is_some() => Io::Lost,
            0 => Io::Blocked,
            count => Io::Moved(count),
        }
    }

    /// Processes the complete records of `incoming`. Returns the number of bytes that it has
    /// decrypted into `target`; what does not fit is kept.
    fn process(&mut self, incoming: &mut buffers::Incoming<'_>, target: &mut [u8]) -> usize {
        if !self.heard && is_start_of_a_word(incoming.bytes()) {
            return 0;
        }
        let mut pass = Pass::new(target, &mut self.kept);
        let (used, result) = run(&mut self.session, incoming.bytes(), &mut pass, None);
        let produced = pass.written();
        self.peer_ended |= pass.peer_ended;
        self.heard |= used > 0;
        if let Err(error) = result {
            self.fail(error, &incoming.bytes()[used..]);
        }
        self.established |= !self.session.is_handshaking();
        incoming.consume(used);
        produced
    }

    /// Notes that the session has failed, and queues the alert that tells the peer.
    #[cold]
    fn fail(&mut self, error: rustls::Error, incoming: &[u8]) {
        let is_type = matches!(error, rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType));
        if is_type && !self.heard && !matches!(incoming.first(), None | Some(20..=24)) {
            // A peer that speaks something else does not understand an alert.
            self.fault = Some(Box::new(Fault::NotTls { is_http: is_http(incoming) }));
            return;
        }
        self.give_up(error);
    }

    /// Ends the session for `error`, and queues what tells the peer.
    #[cold]
    fn give_up(&mut self, error: rustls::Error) {
        self.fault = Some(Box::new(Fault::Tls(error)));
        session::drain(&mut self.session, &mut self.kept);
    }

    /// Encrypts `slices` and writes them, until the transport takes no more. What is encrypted and
    /// not taken is at most [`WRITE_AT_ONCE`] bytes and a record. Behind the `last` bytes of our
    /// direction close_notify leaves.
    fn write_records(&mut self, slices: &[IoSlice<'_>], last: bool, lent: &mut Buffers) -> Io {
        if !self.established && !self.peer_ended && self.fault.is_none() {
            self.read_records(&mut [], lent);
        }
        let most = slices.iter().map(|slice| slice.len()).sum();
        if let Some(outgoing) = self.kept.outgoing() {
            // Records of our own that wait leave together with those of `slices`.
            let joins = self.established && !self.ended && self.fault.is_none() && !self.unsendable;
            let sent = if joins && outgoing.is_new() { Io::Moved(0) } else { self.send_outgoing() };
            match self.report(most) {
                0 => {}
                count => return Io::Moved(count),
            }
            if sent != Io::Moved(0) {
                return sent;
            }
        }
        if self.has_failed() || self.ended || self.unsendable {
            return Io::Lost;
        }
        if !self.established {
            return Io::Blocked;
        }
        let mut written = 0;
        loop {
            let (encrypted, moved, sent) =
                self.encrypt(slices, written, last, lent).unwrap_or_else(|error| {
                    self.give_up(error);
                    self.send_outgoing();
                    (0, 0, Io::Lost)
                });
            written += moved;
            if sent != Io::Moved(0) || encrypted < WRITE_AT_ONCE || written == most {
                return if written > 0 { Io::Moved(written) } else { sent };
            }
        }
    }

    /// The number of bytes of the writer's that have left since the last call, `most` at the most.
    fn report(&mut self, most: usize) -> usize {
        self.kept.outgoing().map_or(0, |outgoing| outgoing.report(most))
    }

    /// Encrypts bytes of `slices`, behind the first `skip`, and writes their records. Returns how
    /// many bytes were encrypted and how many of them have left, and [`Io::Moved`] if no record is
    /// left. Fewer than [`WRITE_AT_ONCE`] are encrypted if there are no more, or if the keys are used
    /// up.
    fn encrypt(
        &mut self,
        slices: &[IoSlice<'_>],
        skip: usize,
        last: bool,
        lent: &mut Buffers,
    ) -> Result<(usize, usize, Io), rustls::Error> {
        if self.overhead == 0 {
            self.measure()?;
        }
        let (gather, ciphertext) = lent.for_writing();
        let mut encrypted = Ok((0, 0));
        let mut behind = None;
        self.run_writing(|traffic| {
            encrypted =
                outgoing::encrypt(slices, skip, WRITE_AT_ONCE, gather, ciphertext, |chunk, target| {
                    traffic.encrypt(chunk, target)
                });
            let is_all = |count| skip + count == slices.iter().map(|slice| slice.len()).sum();
            if let Ok((count, end)) = encrypted
                && last
                && is_all(count)
            {
                ciphertext.resize(ciphertext.len().max(end + CLOSE_NOTIFY), 0);
                // Without room for it, the alert would be queued in the session.
                behind = Some(traffic.queue_close_notify(&mut ciphertext[end..]).unwrap_or(0));
            }
        })?;
        self.ended |= behind.is_some();
        let (count, len) = encrypted?;
        let overhead = usize::from(self.overhead);
        let ciphertext = &ciphertext[..len + behind.unwrap_or(0)];
        let (moved, sent) = self.offer(Records { ciphertext, len, count, overhead });
        Ok((count, moved, sent))
    }

    /// Writes `records`, behind those of our own that wait, and keeps what the transport does not
    /// take. Returns the number of the writer's bytes that have left, and [`Io::Moved`] if nothing is
    /// kept.
    fn offer(&mut self, records: Records<'_>) -> (usize, Io) {
        if self.kept.outgoing().is_some() {
            self.kept.make_outgoing().queue(records, 0);
        } else {
            match self.transport.write(&[IoSlice::new(records.ciphertext)]) {
                Io::Moved(sent) if sent == records.ciphertext.len() => return (records.count, Io::Moved(0)),
                Io::Moved(sent) => self.kept.make_outgoing().queue(records, sent),
                Io::Blocked => {
                    self.kept.make_outgoing().queue(records, 0);
                    return (0, Io::Blocked);
                }
                // What has failed fails again.
                Io::Lost => self.kept.make_outgoing().queue(records, 0),
            }
        }
        let sent = self.send_outgoing();
        (self.report(records.count), sent)
    }

    /// Finds out how much longer a record is than its payload.
    #[cold]
    fn measure(&mut self) -> Result<(), rustls::Error> {
        let mut size = 0;
        // A KeyUpdate that waits for our next record counts the first time, and is then queued.
        for _ in 0..2 {
            self.run_writing(|traffic| {
                if let Err(EncryptError::InsufficientSize(needed)) = traffic.encrypt(&[0], &mut []) {
                    size = needed.required_size;
                }
            })?;
        }
        self.overhead = u16::try_from(size.saturating_sub(1)).unwrap_or(u16::MAX);
        Ok(())
    }

    /// Calls `traffic` if the session can send. Records of its own are queued before.
    fn run_writing(
        &mut self,
        mut traffic: impl FnMut(&mut WriteTraffic<'_, S::Data>),
    ) -> Result<(), rustls::Error> {
        let mut tail = self.kept.take_tail();
        let mut pass = Pass::new(&mut [], &mut self.kept);
        let (used, result) = run(&mut self.session, &mut tail, &mut pass, Some(&mut traffic));
        self.peer_ended |= pass.peer_ended;
        tail.drain(..used);
        self.kept.set_tail(tail);
        result
    }

    /// Ends our direction, and queues our close_notify if there is a peer that understands it.
    fn queue_end(&mut self) {
        if std::mem::replace(&mut self.ended, true) || !self.established || self.has_failed() {
            return;
        }
        // Without room for it, the alert is queued in the session. If the keys are used up, nothing
        // more can be sent.
        let _ = self.run_writing(|traffic| {
            let _ = traffic.queue_close_notify(&mut []);
        });
        session::drain(&mut self.session, &mut self.kept);
        if self.fault.is_some() {
            self.kept.take_tail();
        }
    }

    /// Whether the session has failed in both directions. A truncation behind the handshake leaves
    /// our own direction open.
    fn has_failed(&self) -> bool {
        self.fault.as_ref().is_some_and(|fault| **fault != Fault::Truncated || !self.established)
    }
}

impl<S: Session, T: Transport> Transport for Tls<S, T> {
    fn read(&mut self, target: &mut [u8]) -> Io {
        let before = self.kept.read_plain(target);
        let target = &mut target[before..];
        let io = match before {
            0 if self.peer_ended => return Io::Moved(0),
            0 if self.fault.is_some() => return Io::Lost,
            1.. if target.is_empty() || self.peer_ended || self.fault.is_some() => Io::Blocked,
            _ => Buffers::lend(|lent| self.read_records(target, lent)),
        };
        self.kept.tidy();
        match io {
            Io::Moved(count) => Io::Moved(before + count),
            // The next read tells the rest.
            _ if before > 0 => Io::Moved(before),
            io => io,
        }
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let io = Buffers::lend(|lent| self.write_records(slices, false, lent));
        self.kept.tidy();
        io
    }

    /// close_notify (RFC 8446, section 6.1) leaves with the bytes.
    fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let io = Buffers::lend(|lent| self.write_records(slices, true, lent));
        self.kept.tidy();
        io
    }

    /// Ends our direction with close_notify (RFC 8446, section 6.1). If the transport does not take
    /// it yet, the transport's own direction ends when it has.
    fn shutdown(&mut self, how: Shutdown) {
        self.queue_end();
        let sent = self.send_outgoing();
        self.kept.tidy();
        if sent == Io::Blocked && how == Shutdown::Write {
            self.shuts_down = true;
        } else {
            self.transport.shutdown(how);
        }
    }

    fn short_read_empties(&self) -> bool {
        self.emptied && self.kept.plain_len() == 0 && !self.peer_ended && self.fault.is_none()
    }

    fn flush_own(&mut self) -> bool {
        let sent = self.send_outgoing();
        self.kept.tidy();
        if sent == Io::Blocked {
            return false;
        }
        if std::mem::take(&mut self.shuts_down) {
            self.transport.shutdown(Shutdown::Write);
        }
        // A session in which this one runs has an end of its own.
        if self.ended { self.transport.end() } else { self.transport.flush_own() }
    }

    fn end(&mut self) -> bool {
        self.queue_end();
        self.flush_own()
    }

    fn owes_reason(&self) -> bool {
        let is_ours = |error: &rustls::Error| !matches!(error, rustls::Error::AlertReceived(_));
        !self.unsendable && matches!(self.fault.as_deref(), Some(Fault::Tls(error)) if is_ours(error))
    }

    fn drop_queued(&mut self) {
        if self.kept.has_ciphertext_to_send() {
            self.unsendable = true;
            self.kept.drop_outgoing();
        }
        self.kept.tidy();
        self.transport.drop_queued();
    }

    /// Reads ciphertext, which is missing in the session: nothing can be read behind it.
    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        // What was received before, but not read.
        let held = self.kept.tail().len() + self.kept.plain_len();
        if held > 0 {
            self.kept.drop_received();
            self.kept.tidy();
            self.emptied = false;
            return Io::Moved(held.min(scratch.len()));
        }
        let io = self.transport.discard(scratch);
        self.emptied = self.transport.short_read_empties();
        io
    }
}

impl<S, T: fmt::Debug> fmt::Debug for Tls<S, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The session holds secrets.
        let Tls { transport, established, fault, .. } = self;
        f.debug_struct("Tls")
            .field("transport", transport)
            .field("established", established)
            .field("fault", fault)
            .finish_non_exhaustive()
    }
}

/// Whether `first`, the first bytes of a peer, are too few to tell HTTP from other protocols.
fn is_start_of_a_word(first: &[u8]) -> bool {
    matches!(first.len(), 1 | 2) && first[0].is_ascii_uppercase()
}

/// Whether the first bytes of a peer that does not speak TLS are those of HTTP.
pub(crate) fn is_http(first: &[u8]) -> bool {
    first.get(..3).is_some_and(|first| HTTP.contains(&first))
}

/// How HTTP begins: its methods (RFC 9110, section 9.3; RFC 5789), its version, and the preface of
/// HTTP/2.
const HTTP: [&[u8]; 11] =
    [b"GET", b"HEA", b"POS", b"PUT", b"DEL", b"CON", b"OPT", b"TRA", b"PAT", b"HTT", b"PRI"];

/// The most ciphertext in bytes that is kept for the rest of a message of the handshake. rustls accepts
/// messages of up to 64 KiB, however many records they lie in, and however these are padded.
const LONGEST_PART: usize = 80 << 10;

/// Bytes of ciphertext after which a read returns what it has, so that other connections have their
/// turns. If there is no data in them, the session fails: no peer has so much else to say.
const READ_AT_ONCE: usize = 256 << 10;

/// Bytes that are encrypted together. What the transport does not take of them has to be kept.
const WRITE_AT_ONCE: usize = 256 << 10;

/// Room for the record of close_notify, and for one of TLS itself in front of it.
const CLOSE_NOTIFY: usize = 256;
