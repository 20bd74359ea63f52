//! A well-behaved client: one small message at a time, and how long each echo takes.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::peer::{BINARY, FIN, Peer};

/// How long a neighbour rests between two messages.
const REST: Duration = Duration::from_millis(2);

/// What a neighbour has seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// How long each echo took, in microseconds, the shortest first.
    micros: Vec<u128>,
}

impl Seen {
    pub(super) fn messages(&self) -> usize {
        self.micros.len()
    }

    /// The time, in milliseconds, that `share` of the echoes took at most.
    #[allow(clippy::cast_precision_loss, reason = "a time for people to read")]
    pub(super) fn millis(&self, share: f64) -> f64 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index of the vector")]
        let at = ((self.micros.len() as f64) * share) as usize;
        self.micros
            .get(at.min(self.micros.len().saturating_sub(1)))
            .map_or(0.0, |&micros| micros as f64 / 1e3)
    }
}

/// Sends and receives until `over`. Times in which the server was paused, an odd number of
/// `pauses`, do not count.
///
/// # Errors
/// What went wrong: nothing may.
pub(super) fn keep_talking(addr: SocketAddr, over: &AtomicBool, pauses: &AtomicU64) -> Result<Seen, String> {
    let mut peer = Peer::open(addr, false, 1).map_err(|error| format!("opening: {error}"))?;
    let mut seen = Seen::default();
    for number in 0u64.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let message = [&number.to_be_bytes()[..], &[0xaa; 117]].concat();
        let before = pauses.load(Ordering::SeqCst);
        let sent = Instant::now();
        peer.send(FIN | BINARY, &message).map_err(|error| format!("message {number}: {error}"))?;
        let echo = peer.read().map_err(|error| format!("the echo of message {number}: {error}"))?;
        let took = sent.elapsed().as_micros();
        if echo.payload != message {
            return Err(format!("message {number} came back as {:?}", echo.header));
        }
        if before.is_multiple_of(2) && before == pauses.load(Ordering::SeqCst) {
            seen.micros.push(took);
        }
        thread::sleep(REST);
    }
    peer.close()?;
    seen.micros.sort_unstable();
    Ok(seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_times_is_counted_from_the_shortest() {
        let seen = Seen { micros: (1..=1000).collect() };
        assert!((seen.millis(0.99) - 0.991).abs() < 1e-9);
        assert!((seen.millis(1.0) - 1.0).abs() < 1e-9);
        assert!(Seen::default().millis(0.5).abs() < 1e-9);
    }
}
