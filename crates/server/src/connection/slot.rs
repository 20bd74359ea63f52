//! One connection of an event loop, in whichever phase it is.
//!
//! ```text
//!   Opening --101 sent--> Open --all sent, not clean--> Lingering --> removed
//!      |                    |                               ^
//!      | refused, or a page | clean                         |
//!      +--------------------|-------------------------------+
//!                           v
//!                        removed
//! ```

use crate::connection::linger::Lingering;
use crate::connection::open::Open;
use crate::connection::opening::Opening;
use crate::context::Context;
use crate::event_loop::limits::Counted;
use crate::event_loop::slab::Key;
use crate::event_loop::stream::Stream;
use crate::event_loop::wheel::Tick;
use crate::guard::guarded;
use std::time::Instant;

/// A connection.
pub(crate) struct Slot {
    pub(crate) stream: Stream,
    pub(crate) phase: Phase,
    pub(crate) ready: Ready,
    /// The tick that the wheel has this connection at.
    pub(crate) armed: Option<Tick>,
    /// In the loop's list of connections with work left.
    pub(crate) listed: bool,
    counted: Option<Counted>,
}

#[allow(
    clippy::large_enum_variant,
    reason = "most connections are open; a box would cost each an allocation"
)]
pub(crate) enum Phase {
    Opening(Box<Opening>),
    Open(Open),
    Lingering(Lingering),
}

/// What the kernel has said about the socket, edge by edge, and what has become of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    /// There may be something to read.
    pub(crate) read: bool,
    /// The peer has ended its direction: the end of the stream is to be read.
    pub(crate) read_closed: bool,
    /// The connection is gone in both directions.
    pub(crate) lost: bool,
    /// There may be room to write where there was none.
    pub(crate) write: bool,
    /// A deadline may have passed.
    pub(crate) timer: bool,
}

/// What a turn of a connection came to.
#[allow(clippy::large_enum_variant, reason = "made once a connection; what is returned each turn is a word")]
pub(crate) enum Next {
    /// Wait for readiness or for the deadline.
    Wait,
    /// There is work left that no event will announce.
    Again,
    /// The connection is over.
    Remove,
    /// Go on in another phase at once.
    Enter(Phase),
}

impl Slot {
    pub(crate) fn new(stream: Stream, phase: Phase, counted: Option<Counted>) -> Slot {
        Slot { stream, phase, ready: Ready::default(), armed: None, listed: false, counted }
    }

    /// Whether this connection is over a limit, and only here to be told so.
    pub(crate) fn is_uncounted(&self) -> bool {
        self.counted.is_none()
    }

    /// Does what there is to do, through as many phases as it leads.
    pub(crate) fn turn(&mut self, key: Key, context: &mut Context) -> Next {
        loop {
            let Slot { stream, phase, ready, .. } = self;
            let next = match phase {
                Phase::Opening(opening) => {
                    let turn = || opening.turn(stream, key, ready, context);
                    guarded(turn).unwrap_or_else(|| {
                        tracing::error!("what a handler decided panicked when it was dropped");
                        context.restore();
                        Next::Remove
                    })
                }
                Phase::Open(open) => open.turn(stream, key, ready, context),
                Phase::Lingering(lingering) => lingering.turn(stream, ready, context),
            };
            match next {
                Next::Enter(phase) => {
                    let left = std::mem::replace(&mut self.phase, phase);
                    // With an open connection goes its state, which is the application's.
                    guarded(|| drop(left));
                }
                next => return next,
            }
        }
    }

    /// When to come back at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening(opening) => opening.deadline(),
            Phase::Open(open) => open.deadline(),
            Phase::Lingering(lingering) => Some(lingering.deadline()),
        }
    }

    /// The server stops: begins to end the connection.
    pub(crate) fn drain(&mut self, context: &mut Context) {
        match &mut self.phase {
            Phase::Opening(opening) => opening.drain(context.site.limits.retry_after),
            Phase::Open(open) => open.drain(),
            Phase::Lingering(_) => {}
        }
    }

    /// The connection is being removed: the application hears of it, if it has not.
    pub(crate) fn finish(self, key: Key, context: &mut Context) {
        if let Slot { phase: Phase::Open(mut open), mut stream, .. } = self {
            open.finish(&mut stream, key, context);
        }
    }
}

/// Whether a read of fewer octets than were asked for has emptied the socket, so that the next ones come with an event.
pub(crate) const SHORT_READ_EMPTIES: bool = cfg!(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios",
    target_os = "freebsd",
    target_os = "netbsd",
    target_os = "openbsd",
    target_os = "dragonfly",
));

impl Ready {
    /// Notes a read of `count` octets that had room for `room`.
    #[inline]
    pub(crate) fn note_read(&mut self, count: usize, room: usize) {
        if SHORT_READ_EMPTIES && count < room && !self.read_closed {
            self.read = false;
        }
    }
}
