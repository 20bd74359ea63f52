//! Names to addresses: by the system's resolver, which blocks, and so on a thread of its own.

use mio::Waker;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A lookup under way.
///
/// Dropping it gives it up. The thread cannot be interrupted: it ends by itself, and holds nothing until then but the place
/// for its answer, which nobody reads.
#[derive(Debug)]
pub(crate) struct Lookup {
    slot: Arc<Mutex<AnswerSlot>>,
}

type Answer = io::Result<Vec<SocketAddr>>;

#[derive(Debug)]
struct AnswerSlot {
    answer: Option<Answer>,
    /// Who waits for the answer; `None` once it has been given up.
    waker: Option<Arc<Waker>>,
}

impl Lookup {
    /// Starts to resolve `host`; `waker` is woken when the answer is there.
    ///
    /// # Errors
    /// If no thread can be had.
    pub(crate) fn start(host: &str, port: u16, waker: &Arc<Waker>) -> io::Result<Lookup> {
        let host = host.to_owned();
        Lookup::by(waker, move || Ok((host, port).to_socket_addrs()?.collect()))
    }

    /// Starts a lookup by other means than the system's.
    pub(crate) fn by(
        waker: &Arc<Waker>,
        resolve: impl FnOnce() -> Answer + Send + 'static,
    ) -> io::Result<Lookup> {
        let slot = Arc::new(Mutex::new(AnswerSlot { answer: None, waker: Some(Arc::clone(waker)) }));
        let ours = Arc::clone(&slot);
        thread::Builder::new().name("framewright-resolve".to_owned()).spawn(move || {
            let answer = resolve();
            let mut slot = lock(&slot);
            slot.answer = Some(answer);
            if let Some(waker) = slot.waker.take() {
                // Only a lack of kernel memory makes this fail; the answer is then seen with the loop's next event.
                let _ = waker.wake();
            }
        })?;
        Ok(Lookup { slot: ours })
    }

    /// The answer, once: `None` before it is there.
    pub(crate) fn take(&mut self) -> Option<Answer> {
        lock(&self.slot).answer.take()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        lock(&self.slot).waker = None;
    }
}

/// Locks, whatever happened to the thread that held the lock before: the slot is whole at any time.
fn lock(slot: &Mutex<AnswerSlot>) -> MutexGuard<'_, AnswerSlot> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::sync::mpsc;

    fn event_loop() -> (Poll, Arc<Waker>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, waker)
    }

    #[test]
    fn a_name_is_resolved_and_the_loop_woken() {
        let (mut poll, waker) = event_loop();
        let mut lookup = Lookup::start("localhost", 8080, &waker).unwrap();
        let mut events = Events::with_capacity(4);
        while events.is_empty() {
            poll.poll(&mut events, None).unwrap();
        }
        let addresses = lookup.take().unwrap().unwrap();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|it| it.ip().is_loopback() && it.port() == 8080));
        assert!(lookup.take().is_none());
    }

    #[test]
    fn a_lookup_that_is_given_up_lets_go_of_the_loop_at_once_and_ends_by_itself() {
        let (_poll, waker) = event_loop();
        let (answer, blocked) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let lookup = Lookup::by(&waker, move || {
            let answer = blocked.recv().unwrap();
            ended.send(()).unwrap();
            answer
        })
        .unwrap();
        assert_eq!(Arc::strong_count(&waker), 2);
        drop(lookup);
        assert_eq!(Arc::strong_count(&waker), 1);
        answer.send(Ok(Vec::new())).unwrap();
        end.recv().unwrap();
    }
}
