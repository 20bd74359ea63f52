//! The fuzz target `tls`: what a peer sends, cut in any way, has one outcome.
//!
//! The cryptography is [of glass](crate::glass): nothing is encrypted, and nothing is random. So a
//! fuzzer can change what lies in a record, and a recorded session is valid again each time.

use crate::glass::{glass_client, glass_server};
use framewright_driver::tls::{Fault, Session, Tls};
use framewright_driver::{Io, Transport};
use rustls::client::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::server::{NoServerSessionStorage, ServerConfig};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::net::Shutdown;
use std::sync::{Arc, OnceLock};

/// The bits of the first byte: the role and the version.
pub(crate) const SERVES: u8 = 1;
pub(crate) const IS_TLS13: u8 = 2;

/// Checks `data`: a byte of [bits](SERVES), a byte that the random cuts depend on, and what the peer
/// sends.
///
/// # Panics
/// If the outcome depends on the cuts, or anything else is wrong.
pub(crate) fn check(data: &[u8]) {
    // Behind that, the bounds of what is held may be met or not: that depends on the cuts.
    let Some(([bits, seed], stream)) = data.split_first_chunk().filter(|_| data.len() <= LONGEST) else {
        return;
    };
    let whole = run(*bits, stream, &mut Cuts::Whole);
    let random = |salt| Cuts::Random(u64::from(*seed) << 8 | salt);
    for mut cuts in [Cuts::Bytes, random(1), random(2)] {
        let outcome = run(*bits, stream, &mut cuts);
        assert_eq!(outcome, whole, "{cuts:?}");
    }
    let writing = run_writing(*bits, stream, *seed);
    assert_eq!((&writing.read, &writing.fault), (&whole.read, &whole.fault));
}

/// The longest input.
const LONGEST: usize = 60_000;

/// How a stream is cut.
#[derive(Debug)]
enum Cuts {
    Whole,
    Bytes,
    Random(u64),
}

impl Cuts {
    /// A size of a piece, or of a room.
    fn size(&mut self) -> usize {
        match self {
            Cuts::Whole => LONGEST,
            Cuts::Bytes => 1,
            Cuts::Random(state) => {
                *state =
                    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let bound = [2, 30, 500, 20_000][usize::from(state.to_be_bytes()[0] % 4)];
                1 + usize::from(u16::from_be_bytes([state.to_be_bytes()[1], state.to_be_bytes()[2]])) % bound
            }
        }
    }
}

/// What becomes of a stream.
#[derive(Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) established: bool,
    pub(crate) read: Vec<u8>,
    /// `None` if the peer has ended the stream.
    pub(crate) fault: Option<Fault>,
    /// What our side has sent.
    sent: Vec<u8>,
}

/// What has arrived and was not read, and what was sent.
#[derive(Debug, Default)]
struct Feed {
    arrived: VecDeque<u8>,
    ended: bool,
    sent: Vec<u8>,
    /// The room of the wire.
    room: usize,
    short_read_empties: bool,
}

impl Transport for Feed {
    fn read(&mut self, target: &mut [u8]) -> Io {
        assert!(!target.is_empty(), "a read into nothing looks like the end");
        let count = self.arrived.len().min(target.len());
        if count == 0 {
            return if self.ended { Io::Moved(0) } else { Io::Blocked };
        }
        for (slot, byte) in target.iter_mut().zip(self.arrived.drain(..count)) {
            *slot = byte;
        }
        Io::Moved(count)
    }

    fn write(&mut self, slices: &[IoSlice<'_>]) -> Io {
        let before = self.sent.len();
        for slice in slices {
            let part = slice.len().min(self.room);
            self.sent.extend_from_slice(&slice[..part]);
            self.room -= part;
        }
        if self.sent.len() == before { Io::Blocked } else { Io::Moved(self.sent.len() - before) }
    }

    fn shutdown(&mut self, _: Shutdown) {}

    fn short_read_empties(&self) -> bool {
        self.short_read_empties
    }
}

fn configs(is_tls13: bool) -> &'static (Arc<ServerConfig>, Arc<ClientConfig>) {
    static MADE: [OnceLock<(Arc<ServerConfig>, Arc<ClientConfig>)>; 2] = [OnceLock::new(), OnceLock::new()];
    MADE[usize::from(is_tls13)].get_or_init(|| {
        let version = if is_tls13 { &rustls::version::TLS13 } else { &rustls::version::TLS12 };
        let mut server = glass_server(version);
        // Nothing is remembered from one input to the next.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        (Arc::new(server), Arc::new(glass_client(version)))
    })
}

/// Calls `act` with our side.
macro_rules! with_ours {
    ($bits:expr, $feed:expr, $tls:ident => $act:expr) => {{
        let (server, client) = configs($bits & IS_TLS13 != 0);
        if $bits & SERVES != 0 {
            let $tls = Tls::server(Arc::clone(server), $feed).expect("a server");
            $act
        } else {
            let name = ServerName::try_from("localhost").expect("a name");
            let $tls = Tls::client(Arc::clone(client), name, $feed).expect("a client");
            $act
        }
    }};
}

/// Reads `stream`, and writes nothing but what the session has to say itself.
fn run(bits: u8, stream: &[u8], cuts: &mut Cuts) -> Outcome {
    let short_read_empties = cuts.size().is_multiple_of(2);
    let feed = Feed { room: usize::MAX, short_read_empties, ..Feed::default() };
    with_ours!(bits, feed, tls => read_stream(tls, stream, cuts))
}

pub(crate) fn outcome(bits: u8, stream: &[u8]) -> Outcome {
    run(bits, stream, &mut Cuts::Whole)
}

fn read_stream<S: Session>(mut tls: Tls<S, Feed>, mut stream: &[u8], cuts: &mut Cuts) -> Outcome {
    let mut read = Vec::new();
    let mut is_over = read_all(&mut tls, &mut read, cuts);
    while !is_over {
        let (piece, rest) = stream.split_at(cuts.size().min(stream.len()));
        stream = rest;
        tls.transport_mut().arrived.extend(piece);
        tls.transport_mut().ended = piece.is_empty();
        is_over = read_all(&mut tls, &mut read, cuts);
        assert!(tls.held() <= 200_000, "{}", tls.held());
    }
    finish(tls, read)
}

/// Reads until there is nothing more. Returns whether the stream is over.
fn read_all<S: Session>(tls: &mut Tls<S, Feed>, read: &mut Vec<u8>, cuts: &mut Cuts) -> bool {
    loop {
        let mut room = vec![0; cuts.size()];
        match tls.read(&mut room) {
            Io::Moved(0) | Io::Lost => return true,
            Io::Moved(count) => {
                read.extend_from_slice(&room[..count]);
                // As a driver that waits for an event.
                if count < room.len() && tls.short_read_empties() {
                    assert!(tls.transport().arrived.is_empty() || tls.transport().ended);
                    return false;
                }
            }
            Io::Blocked => {
                assert!(tls.transport().arrived.is_empty(), "what has arrived is read");
                return false;
            }
        }
    }
}

fn finish<S: Session>(mut tls: Tls<S, Feed>, read: Vec<u8>) -> Outcome {
    let fault = tls.fault().cloned();
    assert_eq!(tls.read(&mut [0; 10]), if fault.is_none() { Io::Moved(0) } else { Io::Lost }, "for ever");
    assert!(tls.end(), "the wire takes everything");
    assert_eq!(tls.held(), 0, "nothing is held at the end");
    assert_eq!(tls.write(&[IoSlice::new(b"behind the end")]), Io::Lost);
    let established = !tls.is_handshaking();
    Outcome { established, read, fault, sent: std::mem::take(&mut tls.transport_mut().sent) }
}

/// Reads `stream`, and writes between the reads over a wire that takes little at a time.
fn run_writing(bits: u8, stream: &[u8], seed: u8) -> Outcome {
    let mut cuts = Cuts::Random(u64::from(seed) << 8);
    with_ours!(bits, Feed::default(), tls => write_and_read(tls, stream, &mut cuts))
}

fn write_and_read<S: Session>(mut tls: Tls<S, Feed>, mut stream: &[u8], cuts: &mut Cuts) -> Outcome {
    let bytes = [7; 3000];
    let (mut read, mut written) = (Vec::new(), 0);
    loop {
        tls.transport_mut().room = cuts.size();
        let from = written % bytes.len();
        let until = bytes.len().min(from + cuts.size());
        match tls.write(&[IoSlice::new(&bytes[from..until]), IoSlice::new(&bytes)]) {
            Io::Moved(count) => {
                assert!(count > 0 && count <= until - from + bytes.len());
                written += count;
            }
            Io::Blocked => assert!(tls.transport().room == 0 || tls.is_handshaking()),
            Io::Lost => assert!(tls.fault().is_some()),
        }
        if read_all(&mut tls, &mut read, cuts) {
            break;
        }
        let (piece, rest) = stream.split_at(cuts.size().min(stream.len()));
        stream = rest;
        tls.transport_mut().arrived.extend(piece);
        tls.transport_mut().ended = piece.is_empty();
    }
    tls.transport_mut().room = usize::MAX;
    assert!(tls.end());
    // What was encrypted before is still reported.
    while let Io::Moved(count) = tls.write(&[IoSlice::new(&bytes)]) {
        assert!(count > 0 && count <= bytes.len());
    }
    finish(tls, read)
}
