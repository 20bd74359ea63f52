//! One pass through the records that have arrived, for either side of a session.

use super::buffers::Kept;
use rustls::ProtocolVersion;
use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus, WriteTraffic};

/// A session of rustls, of either side: [`UnbufferedClientConnection`] or
/// [`UnbufferedServerConnection`].
#[allow(private_bounds, reason = "implemented here alone")]
pub trait Session: sealed::Process {}

impl Session for UnbufferedClientConnection {}
impl Session for UnbufferedServerConnection {}

mod sealed {
    use super::UnbufferedStatus;

    /// What both sides have, each under a type of its own.
    pub trait Process {
        type Data;

        /// Whether this is the client's side.
        const IS_CLIENT: bool;

        fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

        fn is_handshaking(&self) -> bool;

        /// Whether a record of its own waits to be encoded.
        fn has_queued(&self) -> bool;

        /// Whether a session that has not failed queues nothing behind its handshake but session
        /// tickets (RFC 8446, section 4.6.1): the answer to a KeyUpdate waits for our next record.
        fn queues_tickets_only(&self) -> bool;
    }
}

impl sealed::Process for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    const IS_CLIENT: bool = true;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }

    fn has_queued(&self) -> bool {
        (**self).wants_write()
    }

    fn queues_tickets_only(&self) -> bool {
        !Self::IS_CLIENT && (**self).protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }
}

impl sealed::Process for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    const IS_CLIENT: bool = false;

    fn process<'c, 'i>(&'c mut self, incoming: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(incoming)
    }

    fn is_handshaking(&self) -> bool {
        (**self).is_handshaking()
    }

    fn has_queued(&self) -> bool {
        (**self).wants_write()
    }

    fn queues_tickets_only(&self) -> bool {
        !Self::IS_CLIENT && (**self).protocol_version() == Some(ProtocolVersion::TLSv1_3)
    }
}

/// Where the results of a pass go.
pub(super) struct Pass<'a> {
    target: &'a mut [u8],
    written: usize,
    kept: &'a mut Kept,
    /// Whether the peer's close_notify was among the records.
    pub(super) peer_ended: bool,
}

impl<'a> Pass<'a> {
    /// Decrypted bytes go to `target`, and then to `kept`, as do records of our own.
    pub(super) fn new(target: &'a mut [u8], kept: &'a mut Kept) -> Self {
        Pass { target, written: 0, kept, peer_ended: false }
    }

    /// The number of bytes decrypted into the target.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    fn push(&mut self, payload: &[u8]) {
        let room = &mut self.target[self.written..];
        let fits = payload.len().min(room.len());
        room[..fits].copy_from_slice(&payload[..fits]);
        self.written += fits;
        if fits < payload.len() {
            self.kept.push_plain(&payload[fits..]);
        }
    }
}

/// What is done with a session that can send.
type OnTraffic<'a, D> = &'a mut dyn FnMut(&mut WriteTraffic<'_, D>);

/// Processes the complete records at the front of `incoming`, and calls `traffic`, if there is one
/// and the session can send. Returns the number of bytes to drop from the front of `incoming`.
///
/// # Errors
/// The rule that a record breaks.
pub(super) fn run<S: Session>(
    session: &mut S,
    incoming: &mut [u8],
    pass: &mut Pass<'_>,
    mut traffic: Option<OnTraffic<'_, S::Data>>,
) -> (usize, Result<(), rustls::Error>) {
    let mut used = 0;
    loop {
        let UnbufferedStatus { mut discard, state } = session.process(&mut incoming[used..]);
        let goes_on = match state {
            Ok(ConnectionState::ReadTraffic(mut records)) => {
                let read = loop {
                    match records.next_record() {
                        Some(Ok(record)) => {
                            discard += record.discard;
                            pass.push(record.payload);
                        }
                        Some(Err(error)) => break Err(error),
                        None => break Ok(()),
                    }
                };
                // One more look would say that there is nothing more.
                let is_all = used + discard == incoming.len() && traffic.is_none();
                read.map(|()| !is_all || session.has_queued())
            }
            Ok(ConnectionState::EncodeTlsData(mut record)) => {
                encode(pass.kept.make_outgoing().own(), |target| record.encode(target)).map(|()| true)
            }
            // Whoever calls sends it, in this order.
            Ok(ConnectionState::TransmitTlsData(sent)) => {
                sent.done();
                Ok(true)
            }
            Ok(ConnectionState::PeerClosed) => {
                pass.peer_ended = true;
                Ok(true)
            }
            Ok(ConnectionState::WriteTraffic(mut state)) => {
                if let Some(traffic) = &mut traffic {
                    traffic(&mut state);
                }
                Ok(false)
            }
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(false),
            Ok(_) => Err(rustls::Error::General("early data is not supported".to_owned())),
            Err(error) => Err(error),
        };
        used += discard;
        match goes_on {
            Ok(true) => {}
            Ok(false) => return (used, Ok(())),
            Err(error) => return (used, Err(error)),
        }
    }
}

/// Encodes the records that the session has queued, without a look at what has arrived: for a
/// session that has failed.
pub(super) fn drain<S: Session>(session: &mut S, kept: &mut Kept) {
    while session.has_queued() {
        let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut record)), .. } =
            session.process(&mut [])
        else {
            return;
        };
        if encode(kept.make_outgoing().own(), |target| record.encode(target)).is_err() {
            return;
        }
    }
}

/// Appends a record to `outgoing`.
fn encode(
    outgoing: &mut Vec<u8>,
    mut record: impl FnMut(&mut [u8]) -> Result<usize, EncodeError>,
) -> Result<(), rustls::Error> {
    let start = outgoing.len();
    let mut room = 1 << 10;
    loop {
        outgoing.resize(start + room, 0);
        match record(&mut outgoing[start..]) {
            Ok(len) => {
                outgoing.truncate(start + len);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(needed)) if needed.required_size > room => {
                room = needed.required_size;
            }
            Err(error) => {
                outgoing.truncate(start);
                return Err(rustls::Error::General(error.to_string()));
            }
        }
    }
}
