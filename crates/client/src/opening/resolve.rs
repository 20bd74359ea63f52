//! Resolves names to addresses with the system's resolver, which blocks, and so on separate
//! threads.
//!
//! Such a thread cannot be interrupted, and a name server that does not answer holds it for half a
//! minute. So the process has at most [`THREADS`] of them, of which one name may use
//! [`THREADS_OF_A_NAME`]. Further lookups wait, within the deadline for connecting.

use mio::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many names are looked up at a time in the whole process. A waiting thread costs about 10
/// KiB.
const THREADS: usize = 64;

/// How many of those threads one name may use, so that a name whose servers do not answer leaves
/// room for others.
const THREADS_OF_A_NAME: usize = 16;

/// The system's resolver.
static SYSTEM: Resolver = Resolver::new(THREADS, THREADS_OF_A_NAME, spawn);

/// Starts a thread that does `work`.
fn spawn(work: Work) -> io::Result<()> {
    thread::Builder::new().name("framewright-resolve".to_owned()).spawn(work).map(drop)
}

/// The work of a thread.
type Work = Box<dyn FnOnce() + Send>;

/// A lookup under way.
///
/// Dropping it gives it up. A lookup that waits for a thread is removed from the queue. A thread
/// that runs one ends by itself. Until then it holds nothing but the slot for the answer, which is
/// never read.
#[derive(Debug)]
pub(crate) struct Lookup {
    slot: Arc<Mutex<AnswerSlot>>,
    resolver: &'static Resolver,
}

type Answer = io::Result<Vec<SocketAddr>>;

#[derive(Debug)]
struct AnswerSlot {
    answer: Option<Answer>,
    /// Woken when the answer is there; `None` once the lookup was given up.
    waker: Option<Arc<Waker>>,
}

impl Lookup {
    /// Starts to resolve `host`; wakes `waker` when the answer is there.
    pub(crate) fn start(host: &str, port: u16, waker: &Arc<Waker>) -> Lookup {
        let name = host.to_owned();
        SYSTEM.lookup(host, waker, move || Ok((name, port).to_socket_addrs()?.collect()))
    }

    /// Takes the answer; `None` before it is there, and after it was taken.
    pub(crate) fn take(&mut self) -> Option<Answer> {
        lock(&self.slot).answer.take()
    }
}

impl Drop for Lookup {
    fn drop(&mut self) {
        lock(&self.slot).waker = None;
        lock(&self.resolver.queue).waiting.retain(|job| !Arc::ptr_eq(&job.slot, &self.slot));
    }
}

/// Threads that look up names: as many as there are names to look up, up to a limit.
#[derive(Debug)]
pub(crate) struct Resolver {
    most: usize,
    most_of_a_name: usize,
    spawn: fn(Work) -> io::Result<()>,
    queue: Mutex<Queue>,
}

#[derive(Debug)]
struct Queue {
    /// The name that each thread is looking up.
    running: Vec<String>,
    waiting: VecDeque<Job>,
}

/// A lookup that has no thread yet.
struct Job {
    name: String,
    slot: Arc<Mutex<AnswerSlot>>,
    resolve: Box<dyn FnOnce() -> Answer + Send>,
}

impl Resolver {
    pub(crate) const fn new(
        most: usize,
        most_of_a_name: usize,
        spawn: fn(Work) -> io::Result<()>,
    ) -> Resolver {
        let queue = Mutex::new(Queue { running: Vec::new(), waiting: VecDeque::new() });
        Resolver { most, most_of_a_name, spawn, queue }
    }

    /// Starts to look up `name` with `resolve`, or queues it. If no thread can be started, and none
    /// is running to wait for, the answer is that error.
    pub(crate) fn lookup(
        &'static self,
        name: &str,
        waker: &Arc<Waker>,
        resolve: impl FnOnce() -> Answer + Send + 'static,
    ) -> Lookup {
        let slot = Arc::new(Mutex::new(AnswerSlot { answer: None, waker: Some(Arc::clone(waker)) }));
        let lookup = Lookup { slot: Arc::clone(&slot), resolver: self };
        lock(&self.queue).waiting.push_back(Job { name: name.to_owned(), slot, resolve: Box::new(resolve) });
        if let Some(job) = self.next() {
            self.start(job);
        }
        lookup
    }

    /// Starts a thread for `job`, which may be an earlier lookup than the one just queued.
    fn start(&'static self, job: Job) {
        // A thread that cannot be started drops its closure, but not this job.
        let job = Arc::new(Mutex::new(Some(job)));
        let theirs = Arc::clone(&job);
        let work = move || {
            let job = lock(&theirs).take();
            job.into_iter().for_each(|job| self.work(job));
        };
        if let Err(error) = (self.spawn)(Box::new(work))
            && let Some(job) = lock(&job).take()
        {
            self.go_without_thread(job, &error);
        }
    }

    /// Handles a failure to start a thread for `job`. The job returns to the front of the queue,
    /// which the running threads work off. If there are none, every job in the queue gets this
    /// error as its answer.
    fn go_without_thread(&self, job: Job, error: &io::Error) {
        let mut queue = lock(&self.queue);
        queue.done(&job.name);
        if !job.is_given_up() {
            queue.waiting.push_front(job);
        }
        let failed =
            if queue.running.is_empty() { std::mem::take(&mut queue.waiting) } else { VecDeque::new() };
        drop(queue);
        for job in failed {
            answer(
                &job.slot,
                Err(io::Error::new(error.kind(), format!("no thread to look names up: {error}"))),
            );
        }
    }

    /// Takes the first job in the queue that may have a thread, if there is one.
    fn next(&self) -> Option<Job> {
        let mut queue = lock(&self.queue);
        if queue.running.len() >= self.most {
            return None;
        }
        let Queue { running, waiting } = &mut *queue;
        let may_run = |job: &Job| running.iter().filter(|it| **it == job.name).count() < self.most_of_a_name;
        let job = waiting.iter().position(may_run).and_then(|at| waiting.remove(at))?;
        running.push(job.name.clone());
        Some(job)
    }

    /// The work of a thread: does its first job, and then those that have waited.
    fn work(&self, first: Job) {
        let mut next = Some(first);
        while let Some(Job { name, slot, resolve }) = next {
            // A panic ends neither the thread, which others may be waiting for, nor the wait for
            // this answer.
            let result = panic::catch_unwind(AssertUnwindSafe(resolve));
            let result = result.unwrap_or_else(|_| Err(io::Error::other("the resolver panicked")));
            // Before the answer is announced: a client that then starts another lookup finds the
            // place free.
            lock(&self.queue).done(&name);
            answer(&slot, result);
            next = self.next();
        }
    }
}

/// Stores an answer, and wakes the event loop that waits for it.
fn answer(slot: &Mutex<AnswerSlot>, answer: Answer) {
    let mut slot = lock(slot);
    slot.answer = Some(answer);
    if let Some(waker) = slot.waker.take() {
        // This fails only for lack of kernel memory; the loop then sees the answer with its next
        // event.
        let _ = waker.wake();
    }
}

impl Job {
    /// True if the lookup was given up.
    fn is_given_up(&self) -> bool {
        lock(&self.slot).waker.is_none()
    }
}

impl Queue {
    /// Removes `name` from those being looked up.
    fn done(&mut self, name: &str) {
        if let Some(at) = self.running.iter().position(|it| it == name) {
            self.running.swap_remove(at);
        }
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Locks `mutex` even if a thread has panicked with it: the guarded data is consistent at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    fn event_loop() -> (Poll, Arc<Waker>) {
        let poll = Poll::new().unwrap();
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, waker)
    }

    #[test]
    fn a_name_is_resolved_and_the_loop_woken() {
        let (mut poll, waker) = event_loop();
        let mut lookup = Lookup::start("localhost", 8080, &waker);
        let addresses = answer(&mut poll, &mut lookup).unwrap();
        assert!(!addresses.is_empty());
        assert!(addresses.iter().all(|it| it.ip().is_loopback() && it.port() == 8080));
        assert!(lookup.take().is_none());
    }

    /// Waits for the answer.
    fn answer(poll: &mut Poll, lookup: &mut Lookup) -> Answer {
        let mut events = Events::with_capacity(4);
        loop {
            if let Some(answer) = lookup.take() {
                return answer;
            }
            poll.poll(&mut events, Some(Duration::from_secs(60))).unwrap();
            assert!(!events.is_empty(), "nothing happens any more");
        }
    }

    #[test]
    fn a_lookup_that_is_given_up_lets_go_of_the_loop_at_once_and_ends_by_itself() {
        static RESOLVER: Resolver = Resolver::new(1, 1, spawn);
        let (_poll, waker) = event_loop();
        let (answer, blocked) = mpsc::channel();
        let (ended, end) = mpsc::channel();
        let resolve = move || {
            let answer = blocked.recv().unwrap();
            ended.send(()).unwrap();
            answer
        };
        let lookup = RESOLVER.lookup("a", &waker, resolve);
        assert_eq!(Arc::strong_count(&waker), 2);
        drop(lookup);
        assert_eq!(Arc::strong_count(&waker), 1);
        answer.send(Ok(Vec::new())).unwrap();
        end.recv().unwrap();
    }

    /// A name server that answers when it is told to.
    #[derive(Clone)]
    struct Silent {
        asked: mpsc::Sender<(&'static str, mpsc::Sender<()>)>,
        /// How many threads use it at a time, now and at the most.
        threads: Arc<[AtomicUsize; 2]>,
    }

    impl Silent {
        fn look_up(&self, resolver: &'static Resolver, name: &'static str, waker: &Arc<Waker>) -> Lookup {
            let Silent { asked, threads } = self.clone();
            let resolve = move || {
                threads[1].fetch_max(threads[0].fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let (go_on, told) = mpsc::channel();
                asked.send((name, go_on)).unwrap();
                let _ = told.recv();
                threads[0].fetch_sub(1, Ordering::SeqCst);
                Ok(Vec::new())
            };
            resolver.lookup(name, waker, resolve)
        }
    }

    #[test]
    fn lookups_that_hang_are_bounded_in_number_and_a_name_leaves_room_for_others() {
        static RESOLVER: Resolver = Resolver::new(3, 2, spawn);
        let (mut poll, waker) = event_loop();
        let (asked, questions) = mpsc::channel();
        let silent = Silent { asked, threads: Arc::default() };
        // Most of these lookups will be given up; two of them hold threads.
        let dead: Vec<Lookup> = (0..50).map(|_| silent.look_up(&RESOLVER, "dead", &waker)).collect();
        let mut alive = silent.look_up(&RESOLVER, "alive", &waker);
        let next = || questions.recv_timeout(Duration::from_secs(60)).unwrap();
        let mut begun = [next(), next(), next()];
        begun.sort_by_key(|(name, _)| *name);
        assert_eq!(begun.each_ref().map(|(name, _)| *name), ["alive", "dead", "dead"]);
        assert!(questions.try_recv().is_err());
        assert_eq!(lock(&RESOLVER.queue).waiting.len(), 48);

        // After they are given up, they leave the queue, and their threads stay.
        let last = silent.look_up(&RESOLVER, "last", &waker);
        drop(dead);
        assert_eq!(lock(&RESOLVER.queue).waiting.len(), 1, "only the last one");
        // A free place goes to the next lookup.
        begun[0].1.send(()).unwrap();
        assert!(answer(&mut poll, &mut alive).is_ok());
        let (name, go_on) = next();
        assert_eq!(name, "last");
        assert_eq!(silent.threads[1].load(Ordering::SeqCst), 3);
        drop((last, go_on));
    }

    #[test]
    fn a_queue_is_worked_off_in_order() {
        static RESOLVER: Resolver = Resolver::new(1, 1, spawn);
        let (mut poll, waker) = event_loop();
        let (asked, questions) = mpsc::channel();
        let silent = Silent { asked, threads: Arc::default() };
        let mut lookups = ["a", "b", "a", "c"].map(|name| (name, silent.look_up(&RESOLVER, name, &waker)));
        for (name, lookup) in &mut lookups {
            let (asked, go_on) = questions.recv_timeout(Duration::from_secs(60)).unwrap();
            assert_eq!(asked, *name);
            assert!(questions.try_recv().is_err());
            go_on.send(()).unwrap();
            assert!(answer(&mut poll, lookup).is_ok());
        }
        assert_eq!(silent.threads[1].load(Ordering::SeqCst), 1);
    }

    /// While this is set, no threads can be started.
    static NO_THREADS: AtomicBool = AtomicBool::new(false);

    fn spawn_unless_there_are_none(work: Work) -> io::Result<()> {
        if NO_THREADS.load(Ordering::SeqCst) { Err(io::ErrorKind::WouldBlock.into()) } else { spawn(work) }
    }

    #[test]
    fn where_no_thread_can_be_had_a_lookup_waits_for_one_that_there_is_and_fails_without() {
        static RESOLVER: Resolver = Resolver::new(3, 3, spawn_unless_there_are_none);
        let (mut poll, waker) = event_loop();
        let (asked, questions) = mpsc::channel();
        let silent = Silent { asked, threads: Arc::default() };
        let mut first = silent.look_up(&RESOLVER, "a", &waker);
        let (_, go_on) = questions.recv_timeout(Duration::from_secs(60)).unwrap();
        NO_THREADS.store(true, Ordering::SeqCst);
        let mut second = silent.look_up(&RESOLVER, "b", &waker);
        let given_up = silent.look_up(&RESOLVER, "c", &waker);
        assert!(second.take().is_none(), "it waits for the thread of the first");
        drop(given_up);
        go_on.send(()).unwrap();
        assert!(answer(&mut poll, &mut first).is_ok());
        let (name, go_on) = questions.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(name, "b");
        go_on.send(()).unwrap();
        assert!(answer(&mut poll, &mut second).is_ok());
        // No thread is left that would take this one.
        while !lock(&RESOLVER.queue).running.is_empty() {
            thread::yield_now();
        }
        let mut third = silent.look_up(&RESOLVER, "d", &waker);
        let error = answer(&mut poll, &mut third).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(lock(&RESOLVER.queue).waiting.is_empty());
        NO_THREADS.store(false, Ordering::SeqCst);
        let mut fourth = silent.look_up(&RESOLVER, "e", &waker);
        questions.recv_timeout(Duration::from_secs(60)).unwrap().1.send(()).unwrap();
        assert!(answer(&mut poll, &mut fourth).is_ok());
    }

    /// A lookup that arrives while a place is free starts a thread for the first in the queue,
    /// which has waited longer.
    #[test]
    fn a_thread_that_cannot_be_started_loses_nobodys_lookup() {
        static RESOLVER: Resolver = Resolver::new(2, 2, |_| Err(io::ErrorKind::OutOfMemory.into()));
        let (mut poll, waker) = event_loop();
        let slot = || Arc::new(Mutex::new(AnswerSlot { answer: None, waker: Some(Arc::clone(&waker)) }));
        let earlier = slot();
        lock(&RESOLVER.queue).waiting.push_back(Job {
            name: "earlier".to_owned(),
            slot: Arc::clone(&earlier),
            resolve: Box::new(|| Ok(Vec::new())),
        });
        let mut earlier = Lookup { slot: earlier, resolver: &RESOLVER };
        let mut later = RESOLVER.lookup("later", &waker, || Ok(Vec::new()));
        for lookup in [&mut earlier, &mut later] {
            assert_eq!(answer(&mut poll, lookup).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        }
        let queue = lock(&RESOLVER.queue);
        assert!(queue.running.is_empty() && queue.waiting.is_empty());
    }

    #[test]
    fn a_resolver_that_panics_has_answered_and_its_place_is_free() {
        static RESOLVER: Resolver = Resolver::new(1, 1, spawn);
        let (mut poll, waker) = event_loop();
        let mut lookup = RESOLVER.lookup("a", &waker, || panic!("as it may"));
        let mut next = RESOLVER.lookup("a", &waker, || Ok(Vec::new()));
        assert!(answer(&mut poll, &mut lookup).is_err());
        assert!(answer(&mut poll, &mut next).is_ok());
    }
}
