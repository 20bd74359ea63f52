//! The tasks that wait for one connection: a stream remembers one waker for each direction, so
//! several tasks share one.

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

/// The wakers of those who wait. Waking it wakes all of them: each looks for itself whether it has
/// something to do.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    waiting: Mutex<[Option<Waker>; 3]>,
}

impl Tasks {
    /// Notes that `party` waits, and is to be woken by `waker`.
    pub(crate) fn wait(&self, party: Party, waker: &Waker) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = &mut waiting[party as usize];
        if !slot.as_ref().is_some_and(|before| before.will_wake(waker)) {
            *slot = Some(waker.clone());
        }
    }

    /// Wakes everybody but `party`, who is at work.
    pub(crate) fn wake_others(&self, party: Party) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let mut others = mem::take(&mut *waiting);
        waiting[party as usize] = others[party as usize].take();
        drop(waiting);
        others.into_iter().flatten().for_each(Waker::wake);
    }

    fn wake_all(&self) {
        let waiting = mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().flatten().for_each(Waker::wake);
    }
}

impl Wake for Tasks {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}
