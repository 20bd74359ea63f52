//! How the transport ends after its connection has ended (RFC 6455, sections 7.1.1 and 7.1.7): the server closes it first after a
//! clean end, and has a moment to read our last octets after any other.

use crate::stream::{self, Io};
use framewright::{Closure, Error, Timeout};
use mio::net::TcpStream;
use std::net::Shutdown;
use std::time::{Duration, Instant};

/// How long to linger at the most.
const LINGER_FOR: Duration = Duration::from_secs(1);
/// How many octets to drop at the most.
const LINGER_OCTETS: usize = 256 << 10;
/// How many reads one call makes.
const READS: usize = 16;

/// Where the end of a transport is.
#[derive(Debug, Default)]
pub(crate) enum Ending {
    /// The connection goes on, has octets to send, or waits for the server to close the transport.
    #[default]
    Before,
    /// Our direction is ended; what comes is dropped, so that a reset does not overtake our last octets.
    Lingering { until: Instant, left: usize },
    /// Both directions are ended.
    Done,
}

/// What draining came to.
pub(crate) enum Ended {
    /// Nothing more has come yet.
    Blocked,
    /// There may be more.
    More,
    /// The end of the stream.
    Eof,
}

impl Ending {
    /// Everything is sent that will be. `eof`: the server has ended its direction.
    pub(crate) fn begin(&mut self, stream: &TcpStream, closure: &Closure, eof: bool, now: Instant) {
        if !matches!(self, Ending::Before) {
            return;
        }
        let gone = matches!(
            closure.cause,
            Some(Error::TransportLost | Error::Aborted | Error::Timeout(Timeout::Write | Timeout::Close))
        );
        if closure.clean || gone || eof {
            return self.be_done(stream);
        }
        // Fails where the connection is gone, which the next read tells.
        let _ = stream.shutdown(Shutdown::Write);
        *self = Ending::Lingering { until: now + LINGER_FOR, left: LINGER_OCTETS };
    }

    /// Reads and drops what has come.
    pub(crate) fn drain(&mut self, stream: &TcpStream, target: &mut [u8]) -> Ended {
        for _ in 0..READS {
            match stream::read(stream, target) {
                Io::Blocked => return Ended::Blocked,
                Io::Moved(0) | Io::Lost(_) => {
                    if matches!(self, Ending::Lingering { .. }) {
                        self.be_done(stream);
                    }
                    return Ended::Eof;
                }
                Io::Moved(count) => {
                    if let Ending::Lingering { left, .. } = self {
                        *left = left.saturating_sub(count);
                        if *left == 0 {
                            self.be_done(stream);
                            return Ended::More;
                        }
                    }
                }
            }
        }
        Ended::More
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        match self {
            Ending::Lingering { until, .. } => Some(*until),
            _ => None,
        }
    }

    pub(crate) fn handle_timeout(&mut self, stream: &TcpStream, now: Instant) {
        if self.deadline().is_some_and(|until| until <= now) {
            self.be_done(stream);
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Ending::Done)
    }

    /// Whoever waits for the socket in another thread wakes.
    fn be_done(&mut self, stream: &TcpStream) {
        let _ = stream.shutdown(Shutdown::Both);
        *self = Ending::Done;
    }
}
