//! What bad peers do, and a few that only look bad.

use std::io::Write as _;
use std::net::SocketAddr;
use std::thread::sleep;
use std::time::Duration;

use framewright_testkit::deflate::Deflater;
use framewright_testkit::rng::SplitMix64;

use super::peer::{BINARY, FIN, PING, Peer, RSV1, request};

/// A peer: what went wrong, if what it is owed did not come.
pub(super) type Attack = fn(&mut SplitMix64, SocketAddr) -> Result<(), String>;

/// All of them, each with its name.
pub(super) const ATTACKS: [(&str, Attack); 12] = [
    ("echo", echo),
    ("slow writer", slow_writer),
    ("slow reader", slow_reader),
    ("flood", flood),
    ("ping flood", ping_flood),
    ("half-close", half_close),
    ("reset", reset),
    ("endless handshake", endless_handshake),
    ("half frames", half_frames),
    ("bomb", bomb),
    ("garbage", garbage),
    ("crowd", crowd),
];

/// The largest message that the server takes here.
pub(super) const MAX_MESSAGE: usize = 1 << 20;

/// More connections than the server has descriptors.
const CROWD: usize = 400;

fn millis(rng: &mut SplitMix64, most: usize) -> Duration {
    Duration::from_millis(rng.below(most + 1) as u64)
}

/// Connects; `None` if the server has no descriptor left, as it is meant to come to.
fn open(rng: &mut SplitMix64, addr: SocketAddr, compressed: bool) -> Option<Peer> {
    Peer::open(addr, compressed, rng.next_u64()).ok()
}

/// The echo of a message, whole.
fn expect_echo(peer: &mut Peer, message: &[u8]) -> Result<(), String> {
    let echo = peer.read().map_err(|error| format!("an echo of {} bytes: {error}", message.len()))?;
    if echo.payload == message { Ok(()) } else { Err(format!("an echo came back as {:?}", echo.header)) }
}

/// Nothing bad: messages of all sizes.
fn echo(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Some(mut peer) = open(rng, addr, false) else { return Ok(()) };
    for _ in 0..rng.between(1, 8) {
        let len = if rng.one_in(4) { rng.below(200_000) } else { rng.below(2000) };
        let message = rng.octets(len);
        peer.send(FIN | BINARY, &message).map_err(|error| format!("{len} bytes: {error}"))?;
        expect_echo(&mut peer, &message)?;
    }
    peer.close()
}

/// A handshake and a message, a few bytes at a time. Its link is bad, it is not.
fn slow_writer(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Ok(mut peer) = Peer::connect(addr, rng.next_u64()) else { return Ok(()) };
    let message = rng.octets(300);
    let frame = peer.frame(FIN | BINARY, &message);
    let mut write = |peer: &mut Peer, bytes: &[u8]| {
        for piece in bytes.chunks(40) {
            if peer.stream.write_all(piece).is_err() {
                return false;
            }
            sleep(millis(rng, 8));
        }
        true
    };
    if !write(&mut peer, request(false).as_bytes()) || peer.read_head().is_err() {
        return Ok(()); // no descriptor for it
    }
    if !write(&mut peer, &frame) {
        return Err("it was cut in the middle of a frame".to_owned());
    }
    expect_echo(&mut peer, &message)?;
    peer.close()
}

/// Sends up to 2 MiB and reads nothing for a while, then some of it, then leaves.
fn slow_reader(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Some(mut peer) = open(rng, addr, false) else { return Ok(()) };
    let _ = peer.stream.set_write_timeout(Some(Duration::from_millis(50)));
    let message = rng.octets(16 << 10);
    let mut sent = 0;
    while sent < 128 && peer.send(FIN | BINARY, &message).is_ok() {
        sent += 1;
    }
    sleep(millis(rng, 300));
    for _ in 0..rng.below(sent.min(8) + 1) {
        expect_echo(&mut peer, &message)?;
    }
    Ok(())
}

/// Thousands of tiny messages at full speed; the answers are left unread.
fn flood(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Some(mut peer) = open(rng, addr, false) else { return Ok(()) };
    let _ = peer.stream.set_write_timeout(Some(Duration::from_millis(50)));
    let frames: Vec<u8> =
        (0..2000u32).flat_map(|number| peer.frame(FIN | BINARY, &number.to_be_bytes())).collect();
    for _ in 0..rng.between(1, 20) {
        if peer.stream.write_all(&frames).is_err() {
            break;
        }
    }
    Ok(())
}

/// Pings at full speed; the Pongs are left unread.
fn ping_flood(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Some(mut peer) = open(rng, addr, false) else { return Ok(()) };
    let _ = peer.stream.set_write_timeout(Some(Duration::from_millis(50)));
    let frames: Vec<u8> = (0..2000).flat_map(|_| peer.frame(FIN | PING, &[0x55; 125])).collect();
    for _ in 0..rng.between(1, 10) {
        if peer.stream.write_all(&frames).is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends its direction without a Close frame: the server has to end the other.
fn half_close(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let compressed = rng.one_in(2);
    let Some(mut peer) = open(rng, addr, compressed) else { return Ok(()) };
    let message = rng.octets(1000);
    let (Ok(()), Ok(())) = (peer.send(FIN | BINARY, &message), peer.shutdown_write()) else {
        return Err("it was cut before it ended its direction".to_owned());
    };
    peer.read_to_end().map(drop).map_err(|error| format!("the server's end: {error}"))
}

/// A reset, in whichever state.
fn reset(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Ok(mut peer) = Peer::connect(addr, rng.next_u64()) else { return Ok(()) };
    let head = request(rng.one_in(2));
    let large = rng.octets(400_000);
    let stream =
        [head.as_bytes(), &peer.frame(FIN | BINARY, &large), &peer.frame(FIN | 8, &[3, 232])].concat();
    let until = if rng.one_in(2) { rng.below(head.len() + 20) } else { rng.below(stream.len() + 1) };
    let _ = peer.stream.set_write_timeout(Some(Duration::from_millis(200)));
    let _ = peer.stream.write_all(&stream[..until]);
    sleep(millis(rng, 5));
    peer.reset().map_err(|error| error.to_string())
}

/// A head without an end.
fn endless_handshake(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Ok(mut peer) = Peer::connect(addr, rng.next_u64()) else { return Ok(()) };
    let head = request(false);
    let _ = peer.stream.write_all(&head.as_bytes()[..rng.below(head.len() - 3)]);
    sleep(millis(rng, 300));
    Ok(())
}

/// Frames that hold memory and never come to an end.
fn half_frames(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let mut peers = Vec::new();
    for _ in 0..rng.between(1, 40) {
        let Some(mut peer) = open(rng, addr, false) else { break };
        let message = rng.octets(60_000);
        let frame = peer.frame(FIN | BINARY, &message);
        let _ = peer.stream.write_all(&frame[..rng.between(1, frame.len() - 1)]);
        peers.push(peer);
    }
    sleep(millis(rng, 300));
    Ok(())
}

/// A small compressed message that comes to four times as much as the server takes.
fn bomb(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let Some(mut peer) = open(rng, addr, true) else { return Ok(()) };
    let payload = Deflater::new(9).message(&vec![0; 4 * MAX_MESSAGE]);
    peer.send(FIN | RSV1 | BINARY, &payload).map_err(|error| error.to_string())?;
    match peer.read_to_end() {
        Ok(Some(1009)) => Ok(()),
        Ok(other) => Err(format!("the Close code is {other:?}")),
        Err(error) => Err(format!("the server's end: {error}")),
    }
}

/// Bytes that mean nothing, then the end of its direction: the server has to end the other.
fn garbage(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let compressed = rng.one_in(2);
    let Some(mut peer) = open(rng, addr, compressed) else { return Ok(()) };
    let len = rng.below(400);
    let octets = rng.octets(len);
    let _ = peer.stream.write_all(&octets);
    let _ = peer.shutdown_write();
    match peer.read_to_end() {
        Ok(_) => Ok(()),
        // What it has sent behind its fault may be answered with a reset.
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => Ok(()),
        Err(error) => Err(format!("the server's end: {error}")),
    }
}

/// More connections than there are descriptors, of which some begin a handshake.
fn crowd(rng: &mut SplitMix64, addr: SocketAddr) -> Result<(), String> {
    let mut peers = Vec::new();
    for _ in 0..CROWD {
        let Ok(mut peer) = Peer::connect(addr, 0) else { break };
        if rng.one_in(2) {
            let _ = peer.stream.write_all(request(false).as_bytes());
        }
        peers.push(peer);
    }
    sleep(millis(rng, 300));
    Ok(())
}
