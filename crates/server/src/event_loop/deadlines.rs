//! Deadlines that are due: the wheel's entries become turns of their connections.

use crate::api::erased::Errands;
use crate::event_loop::wheel::{Armed, Tick};
use crate::event_loop::{EventLoop, FEW};
use std::time::{Duration, Instant};

/// Wheel entries examined between two readings of the clock.
pub(super) const DUE: usize = 256;

impl EventLoop {
    /// Examines the entries of the wheel that are due, during `slice` and at least [`DUE`] of them.
    /// The rest come first in the next round.
    pub(super) fn handle_deadlines(&mut self, slice: Duration) {
        if self.due.is_empty() {
            self.wheel.take_due(self.context.now, &mut self.due);
            if self.due.is_empty() {
                return;
            }
            // Entries are popped from the end.
            self.due.reverse();
        }
        if self.due.len() > FEW {
            self.trim_later();
        }
        let begun = Instant::now();
        loop {
            for _ in 0..DUE {
                let Some((tick, place)) = self.due.pop() else { return };
                self.reach(tick, place);
            }
            if begun.elapsed() >= slice {
                return;
            }
        }
    }

    /// Handles one due entry of the wheel.
    fn reach(&mut self, tick: Tick, place: u32) {
        let Some(key) = self.slots.at(place) else { return };
        let slot = self.slots.get_mut(key).expect("it is there");
        let timers = self.context.parts.timers.get_mut();
        if timers.reach(key, tick, &mut self.wheel, self.context.now) && slot.note(Errands::TIMERS) {
            // As for a deadline, below.
            slot.with_ready(|ready| ready.read = true);
            self.list(key);
        }
        let slot = self.slots.get_mut(key).expect("it is there");
        if !slot.armed.is_at(tick) {
            return; // an earlier deadline has taken this entry's place
        }
        slot.armed = Armed::NONE;
        if slot.deadline().is_some_and(|deadline| deadline <= self.context.now) {
            // One poll reports a bounded number of sockets. Bytes already received by this one
            // count before its deadline.
            slot.with_ready(|ready| (ready.due, ready.read) = (true, true));
            self.list(key);
        } else if let Some(deadline) = slot.deadline() {
            slot.armed = self.wheel.arm_own(key, Armed::NONE, deadline);
        }
    }
}
