//! The tasks that wait for one connection. A stream remembers one waker for each direction, so tasks
//! that wait for the same connection share one.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

/// Who waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Receiver,
    Sender,
    Attendant,
}

/// Some of the parties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Parties(u8);

impl Parties {
    pub(crate) const NONE: Parties = Parties(0);
    pub(crate) const ALL: Parties = Parties(7);

    pub(crate) fn with(self, party: Party, is_in: bool) -> Parties {
        let bit = 1 << party as u8;
        Parties(if is_in { self.0 | bit } else { self.0 & !bit })
    }

    fn common(self, other: Parties) -> Parties {
        Parties(self.0 & other.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self == Parties::NONE
    }

    fn has(self, party: usize) -> bool {
        self.0 & (1 << party) != 0
    }
}

/// Who waits for a connection, and how to wake them.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    wakers: Wakers,
    /// Those whose last poll was not ready, and who were not woken since. The stream may have woken
    /// them, or their futures may be gone: to wake them once more does no harm.
    waiting: Parties,
}

#[derive(Debug, Default)]
enum Wakers {
    #[default]
    None,
    /// All polls came from this task.
    One(Waker),
    /// The second one wakes all tasks that the first one remembers.
    Many(Arc<Tasks>, Waker),
}

impl Waiters {
    /// Notes that `party` polls, and will be woken by `waker` if it has to wait. Returns the waker for
    /// the stream and the timer.
    pub(crate) fn enter(&mut self, party: Party, waker: &Waker) -> &Waker {
        match &self.wakers {
            Wakers::One(one) if one.will_wake(waker) => {}
            Wakers::None => self.wakers = Wakers::One(waker.clone()),
            Wakers::One(_) => {
                let tasks = Arc::new(Tasks::default());
                tasks.wait(party, waker);
                let shared = Waker::from(Arc::clone(&tasks));
                if let Wakers::One(before) = mem::replace(&mut self.wakers, Wakers::Many(tasks, shared)) {
                    // Its next poll says which party it is.
                    before.wake();
                }
            }
            Wakers::Many(tasks, _) => tasks.wait(party, waker),
        }
        match &self.wakers {
            Wakers::One(waker) | Wakers::Many(_, waker) => waker,
            Wakers::None => unreachable!("there is a waker now"),
        }
    }

    /// What wakes those who wait; `None` before the first poll.
    pub(crate) fn waker(&self) -> Option<&Waker> {
        match &self.wakers {
            Wakers::None => None,
            Wakers::One(waker) | Wakers::Many(_, waker) => Some(waker),
        }
    }

    /// Notes whether `party` waits after its poll.
    pub(crate) fn leave(&mut self, party: Party, waits: bool) {
        self.waiting = self.waiting.with(party, waits);
    }

    /// Whether anybody but `party` waits.
    pub(crate) fn has_others(&self, party: Option<Party>) -> bool {
        !party.map_or(self.waiting, |party| self.waiting.with(party, false)).is_empty()
    }

    /// Wakes those of `parties` who wait.
    pub(crate) fn wake(&mut self, parties: Parties) {
        let woken = self.waiting.common(parties);
        if woken.is_empty() {
            return;
        }
        self.waiting = Parties(self.waiting.0 & !woken.0);
        match &self.wakers {
            Wakers::None => {}
            Wakers::One(waker) => waker.wake_by_ref(),
            Wakers::Many(tasks, _) => tasks.wake_some(woken),
        }
    }
}

/// The wakers of several tasks. Waking it wakes all of them: each looks for itself whether it has
/// something to do.
#[derive(Debug, Default)]
struct Tasks {
    waiting: Mutex<[Option<Waker>; 3]>,
}

impl Tasks {
    fn wait(&self, party: Party, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut waiting[party as usize];
        if !slot.as_ref().is_some_and(|before| before.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    fn wake_some(&self, parties: Parties) {
        let mut woken = [const { None }; 3];
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (party, waker) in waiting.iter_mut().enumerate() {
            woken[party] = waker.take_if(|_| parties.has(party));
        }
        drop(waiting);
        woken.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_some(Parties::ALL);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_some(Parties::ALL);
    }
}
