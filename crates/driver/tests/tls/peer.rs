//! A scripted peer: rustls itself, by its buffered interface. The test decides when its bytes arrive.

use crate::bench::{Read, Scripted, Write};
use crate::glass::{glass_client, glass_server, limited};
use crate::wire::{VERSIONS, client_config, client_config_of, localhost, server_config, server_config_of};
use framewright_driver::tls::{Fault, Tls};
use framewright_driver::{Io, Transport};
use rustls::client::{ClientConfig, UnbufferedClientConnection};
use rustls::server::{ServerConfig, UnbufferedServerConnection};
use rustls::{ClientConnection, Connection, ProtocolVersion, ServerConnection, SupportedProtocolVersion};
use std::io::{IoSlice, Read as _, Write as _};
use std::net::Shutdown;
use std::sync::Arc;

/// Our side, of either role, over a transport that does as it is told.
#[derive(Debug)]
pub(crate) enum Ours<T = Scripted> {
    Client(Box<Tls<UnbufferedClientConnection, T>>),
    Server(Box<Tls<UnbufferedServerConnection, T>>),
}

/// Calls a method of either.
macro_rules! either {
    ($ours:expr, $tls:ident => $call:expr) => {
        match $ours {
            Ours::Client($tls) => $call,
            Ours::Server($tls) => $call,
        }
    };
}

impl<T: Transport> Ours<T> {
    pub(crate) fn wire(&mut self) -> &mut T {
        either!(self, tls => tls.transport_mut())
    }

    pub(crate) fn fault(&self) -> Option<&Fault> {
        either!(self, tls => tls.fault())
    }

    pub(crate) fn held(&self) -> usize {
        either!(self, tls => tls.held())
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        either!(self, tls => tls.is_handshaking())
    }

    /// Reads until nothing more is there. The last result is not [`Io::Moved`] with bytes.
    pub(crate) fn read_all(&mut self, at_once: usize) -> (Vec<u8>, Io) {
        let (mut read, mut buffer) = (Vec::new(), vec![0; at_once]);
        loop {
            match self.read(&mut buffer) {
                Io::Moved(count @ 1..) => read.extend_from_slice(&buffer[..count]),
                io => return (read, io),
            }
        }
    }
}

impl Ours {
    /// What is written, taken off the wire.
    pub(crate) fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.wire().written)
    }

    /// Both directions of the wire have ended.
    pub(crate) fn cut(&mut self) {
        self.wire().reads.push_back(Read::End);
    }

    /// The wire takes this many bytes at once, and then no more.
    pub(crate) fn let_out(&mut self, count: usize) {
        let takes = (count > 0).then_some(Write::Take(count));
        self.wire().writes = takes.into_iter().chain([Write::Block]).collect();
    }

    /// The wire takes everything again.
    pub(crate) fn let_all_out(&mut self) {
        self.wire().writes.clear();
    }
}

impl<T: Transport> Ours<T> {
    pub(crate) fn flush_offered(&mut self) {
        either!(self, tls => tls.flush_offered());
    }
}

impl<T: Transport> Transport for Ours<T> {
    fn read(&mut self, target: &mut [u8]) -> Io {
        either!(self, tls => tls.read(target))
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        either!(self, tls => tls.write(slices))
    }

    fn write_last(&mut self, slices: &[IoSlice<'_>]) -> Io {
        either!(self, tls => tls.write_last(slices))
    }

    fn shutdown(&mut self, how: Shutdown) {
        either!(self, tls => tls.shutdown(how));
    }

    fn short_read_empties(&self) -> bool {
        either!(self, tls => tls.short_read_empties())
    }

    fn flush_own(&mut self) -> bool {
        either!(self, tls => tls.flush_own())
    }

    fn end(&mut self) -> bool {
        either!(self, tls => tls.end())
    }

    fn owes_reason(&self) -> bool {
        either!(self, tls => tls.owes_reason())
    }

    fn drop_queued(&mut self) {
        either!(self, tls => tls.drop_queued());
    }

    fn discard(&mut self, scratch: &mut [u8]) -> Io {
        either!(self, tls => tls.discard(scratch))
    }
}

/// The other side.
pub(crate) struct Peer(pub(crate) Connection);

impl Peer {
    /// The records that it has to send.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut bytes).expect("a vector takes everything");
        }
        bytes
    }

    /// A record with these bytes, or several.
    pub(crate) fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.0.writer().write_all(bytes).expect("room");
        self.take()
    }

    /// Its close_notify.
    pub(crate) fn notify(&mut self) -> Vec<u8> {
        self.0.send_close_notify();
        self.take()
    }

    /// A KeyUpdate that asks for one of ours (RFC 8446, section 4.6.3).
    pub(crate) fn update_keys(&mut self) -> Vec<u8> {
        self.0.refresh_traffic_keys().expect("TLS 1.3");
        self.take()
    }

    /// Gives it what it receives. Returns the bytes in it; `true` if close_notify was behind them.
    pub(crate) fn hear(&mut self, mut ciphertext: &[u8]) -> Result<(Vec<u8>, bool), rustls::Error> {
        let mut bytes = Vec::new();
        let mut is_ended = false;
        while !ciphertext.is_empty() && !is_ended {
            self.0.read_tls(&mut ciphertext).expect("a slice is read");
            let state = self.0.process_new_packets()?;
            is_ended = state.peer_has_closed();
            let mut part = vec![0; state.plaintext_bytes_to_read()];
            self.0.reader().read_exact(&mut part).expect("bytes that are there");
            bytes.append(&mut part);
        }
        Ok((bytes, is_ended))
    }
}

/// What differs from one exchange to the next.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) version: ProtocolVersion,
    pub(crate) server: ServerConfig,
    pub(crate) client: ClientConfig,
    /// Whether our side is the server.
    pub(crate) serves: bool,
}

impl Setting {
    /// Each role with each version, with cryptography of glass.
    pub(crate) fn of_glass() -> impl Iterator<Item = Setting> {
        VERSIONS.into_iter().flat_map(|version| {
            let (server, client) = (glass_server(version), glass_client(version));
            Setting::both(version, &server, &client)
        })
    }

    /// Each role with each version. A key encrypts `limit` records.
    pub(crate) fn limited(limit: u64) -> impl Iterator<Item = Setting> {
        VERSIONS.into_iter().flat_map(move |version| {
            let server = server_config_of(limited(limit), version);
            Setting::both(version, &server, &client_config_of(limited(limit), version))
        })
    }

    /// Each role with each version.
    pub(crate) fn all() -> impl Iterator<Item = Setting> {
        VERSIONS.into_iter().flat_map(Setting::of)
    }

    /// Each role with this version.
    pub(crate) fn of(version: &'static SupportedProtocolVersion) -> [Setting; 2] {
        Setting::both(version, &server_config(version), &client_config(version))
    }

    fn both(
        version: &'static SupportedProtocolVersion,
        server: &ServerConfig,
        client: &ClientConfig,
    ) -> [Setting; 2] {
        let version = version.version;
        [false, true].map(|serves| Setting {
            version,
            server: server.clone(),
            client: client.clone(),
            serves,
        })
    }

    /// Our side over this transport.
    pub(crate) fn ours<T: Transport>(&self, transport: T) -> Ours<T> {
        if self.serves {
            let server = Tls::server(Arc::new(self.server.clone()), transport);
            Ours::Server(Box::new(server.expect("a server")))
        } else {
            let client = Tls::client(Arc::new(self.client.clone()), localhost(), transport);
            Ours::Client(Box::new(client.expect("a client")))
        }
    }

    /// Both sides, before their handshake.
    pub(crate) fn start(&self) -> (Ours, Peer) {
        let peer = if self.serves {
            ClientConnection::new(Arc::new(self.client.clone()), localhost()).expect("a client").into()
        } else {
            ServerConnection::new(Arc::new(self.server.clone())).expect("a server").into()
        };
        (self.ours(Scripted::default()), Peer(peer))
    }

    /// Both sides, after their handshake. Nothing is under way.
    pub(crate) fn open(&self) -> (Ours, Peer) {
        let (mut ours, mut peer) = self.start();
        shake_hands(&mut ours, &mut peer);
        (ours, peer)
    }
}

/// Completes the handshake.
pub(crate) fn shake_hands(ours: &mut Ours, peer: &mut Peer) {
    for _ in 0..10 {
        assert_eq!(ours.read(&mut [0; 100]), Io::Blocked, "{:?}", ours.fault());
        assert!(ours.flush_own());
        let sent = ours.take_written();
        peer.hear(&sent).expect("no fault of ours");
        let answer = peer.take();
        if answer.is_empty() && sent.is_empty() && !ours.is_handshaking() {
            assert!(!peer.0.is_handshaking());
            return;
        }
        if !answer.is_empty() {
            ours.wire().reads.push_back(Read::Bytes(answer));
        }
    }
    panic!("the handshake does not end: {ours:?}");
}

/// These arrive at our side, each in a read of its own.
pub(crate) fn arrive<'a>(ours: &mut Ours, parts: impl IntoIterator<Item = &'a [u8]>) {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    ours.wire().reads.extend(parts.map(|part| Read::Bytes(part.to_vec())));
}
