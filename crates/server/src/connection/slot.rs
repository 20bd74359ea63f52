//! One connection of an event loop, in any of its phases.
//!
//! ```text
//!   Opening --101 sent--> Open --all sent, not clean--> Lingering --> removed
//!      |                    |    (or more has come)         ^
//!      | refused, or a page | clean                         |
//!      +--------------------|-------------------------------+
//!                           v
//!                        removed
//! ```

use crate::api::connections::Connected;
use crate::api::erased::Errands;
use crate::api::route::RouteId;
use crate::connection::open::{Open, Sent, SlotParts, Unsent};
use crate::connection::opening::{Opening, OpeningNext};
use crate::context::LoopContext;
use crate::event_loop::limits::{Counted, LingerPlace};
use crate::event_loop::slab::Key;
use crate::event_loop::stream::Stream;
use crate::event_loop::wheel::Armed;
use crate::guard::guarded;
use framewright::CloseCode;
use framewright::connection::Batch;
use framewright_driver::{Leave, Lent, LingerNext, Lingering, Next, Ready};
use std::time::Instant;

/// A connection in any of its phases.
pub(crate) struct Slot {
    pub(crate) stream: Stream,
    phase: Phase,
    ready: PackedReady,
    /// Of an open connection.
    route: RouteId,
    /// Of an open connection.
    pub(crate) errands: Errands,
    /// The tick of this connection's entry in the wheel.
    pub(crate) armed: Armed,
    pub(crate) place: Place,
    counted: Option<Counted>,
}

/// A [`Ready`] in one byte, since each connection holds one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct PackedReady(u8);

impl PackedReady {
    #[inline]
    fn new(ready: Ready) -> PackedReady {
        let Ready { read, more_behind, write, due } = ready;
        PackedReady(u8::from(read) | u8::from(more_behind) << 1 | u8::from(write) << 2 | u8::from(due) << 3)
    }

    #[inline]
    fn get(self) -> Ready {
        let has = |bit: u8| self.0 & bit != 0;
        Ready { read: has(1), more_behind: has(2), write: has(4), due: has(8) }
    }
}

/// When a connection gets its next turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// With its next event, unless many other connections have events too. Nothing has been read
    /// since it opened, so how much work it needs is not known yet.
    New,
    /// With its next event, unless turns of other connections have taken long in this round.
    First,
    /// From the list of long turns, after its next event: its last turn was a long one.
    Last,
    /// The connection is in one of the loop's lists.
    Listed,
}

#[allow(
    clippy::large_enum_variant,
    reason = "most connections are open; a box would cost each an allocation"
)]
enum Phase {
    Opening(Box<Opening>),
    Open(Open),
    /// With its [`LingerPlace`], once it has lasted for more than a moment.
    Lingering(Lingering, Option<LingerPlace>),
}

/// What follows the turn of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotNext {
    /// Wait for readiness or for the deadline.
    Wait,
    /// Another turn: work is left that no event will announce.
    Again,
    /// The connection has ended.
    Remove,
}

impl Slot {
    pub(crate) fn new(stream: Stream, opening: Opening, counted: Option<Counted>) -> Slot {
        Slot {
            stream,
            phase: Phase::Opening(Box::new(opening)),
            ready: PackedReady::default(),
            route: RouteId::default(),
            errands: Errands::default(),
            armed: Armed::NONE,
            place: Place::New,
            counted,
        }
    }

    /// False for a connection over a limit, which exists only to be refused.
    pub(crate) fn is_counted(&self) -> bool {
        self.counted.is_some()
    }

    /// Changes what is ready on the socket.
    #[inline]
    pub(crate) fn with_ready(&mut self, change: impl FnOnce(&mut Ready)) {
        let mut ready = self.ready.get();
        change(&mut ready);
        self.ready = PackedReady::new(ready);
    }

    /// Does the pending work, through as many phases as it leads.
    #[inline]
    pub(crate) fn turn(&mut self, key: Key, context: &mut LoopContext) -> SlotNext {
        let mut ready = self.ready.get();
        let next = self.run(key, &mut ready, context);
        self.ready = PackedReady::new(ready);
        next
    }

    fn run(&mut self, key: Key, ready: &mut Ready, context: &mut LoopContext) -> SlotNext {
        let mut is_new = false;
        loop {
            // A callback may take long, so the deadlines of the next phase count from the start of
            // that phase.
            let Slot { stream, phase, route, errands, counted, .. } = self;
            let entered = match phase {
                Phase::Open(open) => {
                    let parts = SlotParts { stream, key, ready, route: *route, errands };
                    match open.turn(parts, is_new, context) {
                        Next::Wait => return SlotNext::Wait,
                        Next::Again => return SlotNext::Again,
                        Next::Leave(Leave::Close) => return SlotNext::Remove,
                        Next::Leave(Leave::Linger) => {
                            Phase::Lingering(open.linger(stream, ready, context.read_clock()), None)
                        }
                    }
                }
                Phase::Opening(opening) => {
                    let turn = || opening.turn(stream, key, ready, counted, context);
                    let next = guarded(turn).unwrap_or_else(|| {
                        tracing::error!("what a handler decided panicked when it was dropped");
                        context.restore_scratch();
                        OpeningNext::Remove
                    });
                    match next {
                        OpeningNext::Wait => return SlotNext::Wait,
                        OpeningNext::Again => return SlotNext::Again,
                        OpeningNext::Remove => return SlotNext::Remove,
                        // A connection that exists only to be refused lingers briefly.
                        OpeningNext::Linger if counted.is_none() => {
                            Phase::Lingering(Lingering::briefly(stream, context.read_clock()), None)
                        }
                        OpeningNext::Linger => {
                            Phase::Lingering(opening.linger(stream, ready, context.read_clock()), None)
                        }
                        OpeningNext::Open(opens) => {
                            *route = opens.route_id();
                            context.read_clock();
                            is_new = true;
                            Phase::Open(opens.open(context))
                        }
                    }
                }
                Phase::Lingering(lingering, place) => {
                    let LoopContext { server, scratch, now, .. } = context;
                    let may_stay = || {
                        *place = server.linger_places.take();
                        place.is_some()
                    };
                    return match lingering.turn(stream, ready, scratch, *now, may_stay) {
                        LingerNext::Wait => SlotNext::Wait,
                        LingerNext::Again => SlotNext::Again,
                        LingerNext::Close => SlotNext::Remove,
                    };
                }
            };
            let left = std::mem::replace(&mut self.phase, entered);
            // An open connection is dropped with its state, which is the application's.
            guarded(|| drop(left));
        }
    }

    /// Sends the messages of `batch` outside a turn, if the connection has nothing else to send.
    #[inline]
    pub(crate) fn send_batch(
        &mut self,
        key: Key,
        batch: &mut Batch,
        context: &mut LoopContext,
    ) -> Result<Sent, Unsent> {
        let Slot { stream, phase: Phase::Open(open), ready: packed, route, errands, .. } = self else {
            return Err(Unsent::Ended);
        };
        // What has waited goes first.
        if errands.has(Errands::WAITING) {
            return Err(Unsent::Waits);
        }
        let mut ready = packed.get();
        let parts = SlotParts { stream, key, ready: &mut ready, route: *route, errands };
        let sent = open.send_batch(parts, batch, context);
        if sent == Ok(Sent::Turn) {
            *packed = PackedReady::new(ready);
        }
        sent
    }

    /// The connection's number; `None` if it is not open.
    #[inline]
    pub(crate) fn id(&self) -> Option<u64> {
        match &self.phase {
            Phase::Open(open) => Some(open.id()),
            _ => None,
        }
    }

    /// The number of the connection, if it takes messages.
    pub(crate) fn receiving_id(&self) -> Option<u64> {
        match &self.phase {
            Phase::Open(open) => open.takes_messages().then(|| open.id()),
            _ => None,
        }
    }

    /// Fails an open connection outside a turn, which has to follow.
    pub(crate) fn fail(&mut self, code: CloseCode, reason: &str, now: Instant) {
        if let Phase::Open(open) = &mut self.phase {
            open.fail(code, reason, now);
        }
    }

    /// The deadline by which the next turn is needed, if any.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Opening(opening) => opening.deadline(),
            Phase::Open(open) => open.deadline(),
            Phase::Lingering(lingering, _) => Some(lingering.deadline()),
        }
    }

    /// Whether the opening handshake is done.
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// See [`Turn::is_in_bulk`](framewright_driver::Turn::is_in_bulk).
    pub(crate) fn is_in_bulk(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.is_in_bulk())
    }

    /// Whether the connection is open and has nothing queued: no room will be announced for it.
    pub(crate) fn has_drained(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.has_drained())
    }

    /// Bytes that the connection holds between its turns, without those its handles have queued.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        let of_phase = match &self.phase {
            Phase::Open(open) => open.held(),
            Phase::Opening(opening) => opening.held(),
            Phase::Lingering(..) => 0,
        };
        of_phase + self.stream.held()
    }

    /// Bytes of [`held`](Self::held) that the last turn, just now, has moved.
    pub(crate) fn progress(&self, lent: &Lent) -> usize {
        match &self.phase {
            Phase::Open(open) => open.progress(lent),
            Phase::Opening(opening) => opening.progress(),
            Phase::Lingering(..) => 0,
        }
    }

    /// KiB charged for messages that its handles have queued.
    pub(crate) fn queued(&self) -> u32 {
        match &self.phase {
            Phase::Open(open) => open.queued(),
            _ => 0,
        }
    }

    /// Whether the connection was selected to give way because of messages that its handles have
    /// queued.
    pub(crate) fn is_told(&self) -> bool {
        matches!(&self.phase, Phase::Open(open) if open.is_told())
    }

    /// Begins to release the connection's memory for the sake of others. Returns whether a turn
    /// follows; otherwise the connection is to be removed.
    pub(crate) fn give_way(&mut self, context: &LoopContext) -> bool {
        match &mut self.phase {
            Phase::Open(open) => {
                let mut ready = self.ready.get();
                open.give_way(&mut self.stream, &mut ready, context.now);
                self.ready = PackedReady::new(ready);
                true
            }
            Phase::Opening(opening) => opening.give_way(&self.stream, context.server.limits.retry_after),
            // What it holds is a TLS session, which is given back with the connection alone.
            Phase::Lingering(..) => self.stream.held() == 0,
        }
    }

    /// Notes an errand for an open connection. Returns whether the connection is open.
    pub(crate) fn note(&mut self, errand: u8) -> bool {
        let is_open = self.is_open();
        if is_open {
            self.errands.note(errand);
        }
        is_open
    }

    /// An open connection, as walks through all connections see it; `None` in any other phase.
    pub(crate) fn connected<'a>(&'a self, key: Key, context: &'a LoopContext) -> Option<Connected<'a>> {
        match &self.phase {
            Phase::Open(open) => open.connected((&self.stream, key, self.route), context),
            _ => None,
        }
    }

    /// The connection's opening phase; `None` once it is over.
    pub(crate) fn opening(&mut self) -> Option<&mut Opening> {
        match &mut self.phase {
            Phase::Opening(opening) => Some(opening),
            _ => None,
        }
    }

    /// Begins to end the connection, because the server stops.
    pub(crate) fn drain(&mut self, context: &mut LoopContext) {
        match &mut self.phase {
            Phase::Opening(opening) => {
                opening.drain(context.server.limits.retry_after);
                if self.stream.is_handshaking() {
                    opening.hurry(context.now);
                }
            }
            Phase::Open(open) => open.drain(),
            Phase::Lingering(lingering, _) => lingering.hurry(&mut self.stream, context.now),
        }
    }

    /// Ends the connection on removal: the application is notified, if it has not been.
    pub(crate) fn finish(self, key: Key, context: &LoopContext) {
        let Slot { mut stream, phase, ready, route, mut errands, .. } = self;
        let mut ready = ready.get();
        match phase {
            Phase::Open(mut open) => {
                let slot =
                    SlotParts { stream: &mut stream, key, ready: &mut ready, route, errands: &mut errands };
                open.finish(slot, context);
            }
            Phase::Opening(opening) => opening.finish(context),
            Phase::Lingering(..) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_is_packed_and_unpacked() {
        for bits in 0..16 {
            assert_eq!(PackedReady::new(PackedReady(bits).get()), PackedReady(bits));
        }
        let ready = Ready { more_behind: true, due: true, ..Ready::default() };
        assert_eq!(PackedReady::new(ready).get(), ready);
    }

    /// Each connection has one, whether it has TLS or not.
    #[cfg(target_pointer_width = "64")]
    #[test]
    fn a_slot_takes_176_bytes() {
        // In builds with debug assertions mio keeps 12 bytes more of each socket, and an IPv6
        // address does not fit beside them.
        let most = if cfg!(debug_assertions) { 192 } else { 176 };
        assert!(size_of::<Slot>() <= most, "{}", size_of::<Slot>());
    }
}
