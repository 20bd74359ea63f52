//! The halves of a connection and its attendant in every order of their polls. The streams keep to
//! the letter of the contract: a wake-up is owed only to the latest poll, if that was not ready.

use crate::scripted::{Manner, Script, frame, frames, stream};
use crate::support::quiet;
use framewright_tokio::{
    CloseCode, Config, Message, Negotiated, Receiver, RecvError, Role, SendError, Sender, WebSocket,
};
use futures_core::Stream as _;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use tokio::task::coop::unconstrained;

type Stream = crate::scripted::Stream;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// Whether a task is to be polled.
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The decisions of a run: the first ones are given, the others are 0.
#[derive(Default)]
struct Choices {
    made: Vec<(usize, usize)>,
    at: usize,
}

impl Choices {
    fn choose(&mut self, count: usize) -> usize {
        if self.at == self.made.len() {
            self.made.push((0, count));
        }
        let (choice, before) = self.made[self.at];
        assert_eq!(before, count, "a run is repeatable");
        self.at += 1;
        choice
    }

    /// Goes on to the next run; false if there is none.
    fn next(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, count)) = self.made.pop() {
            if choice + 1 < count {
                self.made.push((choice + 1, count));
                return true;
            }
        }
        false
    }
}

/// Whether something happens now, and what it does.
type Happening = (Box<dyn Fn(&Script) -> bool>, Box<dyn FnOnce(&Script)>);

/// What the tasks and the peer do in one run.
struct Play {
    script: Script,
    tasks: Vec<(Arc<Flag>, Option<Task>)>,
    /// What happens besides, in this order: each as soon as it may, or later.
    happens: VecDeque<Happening>,
    /// Whether a task may panic.
    panics: bool,
}

impl Play {
    fn new(script: &Script) -> Play {
        Play { script: script.clone(), tasks: Vec::new(), happens: VecDeque::new(), panics: false }
    }

    fn task(&mut self, future: impl Future<Output = ()> + 'static) {
        self.tasks.push((Arc::new(Flag(AtomicBool::new(true))), Some(Box::pin(future))));
    }

    fn then(&mut self, act: impl FnOnce(&Script) + 'static) {
        self.when(|_| true, act);
    }

    fn when(&mut self, may: impl Fn(&Script) -> bool + 'static, act: impl FnOnce(&Script) + 'static) {
        self.happens.push_back((Box::new(may), Box::new(act)));
    }

    /// Polls the tasks that were woken, in the order that is chosen, until none is. Returns whether
    /// all are complete, and everything has happened.
    fn run(self, choices: &mut Choices) -> bool {
        let Play { script, mut tasks, mut happens, panics } = self;
        for _ in 0..1000 {
            let is_woken = |at: &usize| tasks[*at].1.is_some() && tasks[*at].0.0.load(Ordering::SeqCst);
            let woken: Vec<usize> = (0..tasks.len()).filter(is_woken).collect();
            let may_happen = happens.front().is_some_and(|(may, _)| may(&script));
            let count = woken.len() + usize::from(may_happen);
            if count == 0 {
                return happens.is_empty() && tasks.iter().all(|(_, task)| task.is_none());
            }
            let Some(&at) = woken.get(choices.choose(count)) else {
                let (_, act) = happens.pop_front().expect("it was counted");
                act(&script);
                continue;
            };
            let (flag, task) = &mut tasks[at];
            flag.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(flag));
            let future = task.as_mut().expect("it is not complete");
            let poll = AssertUnwindSafe(|| future.as_mut().poll(&mut Context::from_waker(&waker)));
            match catch_unwind(poll) {
                Ok(Poll::Pending) => {}
                // A runtime drops a task that panics.
                Err(panic) if panics => drop((panic, task.take())),
                Ok(Poll::Ready(())) => *task = None,
                Err(panic) => resume_unwind(panic),
            }
        }
        panic!("the tasks wake each other for ever");
    }
}

/// Runs a play in every order, and then `check`. Returns the number of orders.
fn in_every_order(open: impl Fn() -> (Script, Play), check: impl Fn(&Script)) -> usize {
    let mut choices = Choices::default();
    for runs in 1..100_000 {
        let (script, play) = open();
        assert!(play.run(&mut choices), "a wake-up was lost: {:?}", choices.made);
        check(&script);
        if !choices.next() {
            return runs;
        }
    }
    panic!("too many orders");
}

fn socket(config: Config) -> (Script, WebSocket<Stream>) {
    let (script, stream) = stream(Manner::default());
    (script, WebSocket::from_negotiated(stream, Role::Server, Negotiated::new(), &[], config))
}

/// Settings with which each message of 20 bytes fills the queue.
fn narrow() -> Config {
    Config { high_water: 20, low_water: 5, ..quiet() }
}

const CLOSE: [u8; 2] = 1000_u16.to_be_bytes();

async fn receive(receiver: &mut Receiver<Stream>, messages: usize) {
    for _ in 0..messages {
        assert!(receiver.recv().await.unwrap().is_ok());
    }
    assert!(receiver.recv().await.is_none());
    assert!(receiver.closure().unwrap().clean);
}

async fn try_to_send_two(sender: &mut Sender<Stream>) -> Result<(), SendError> {
    sender.feed(Message::Binary(&[0; 20])).await?;
    sender.send(Message::Binary(&[1; 20])).await
}

async fn send_two(sender: &mut Sender<Stream>) {
    try_to_send_two(sender).await.unwrap();
}

/// The bytes of two messages.
const TWO: usize = 44;

/// The peer sends a message, reads slowly, and closes the connection once it has two messages.
fn slow_peer(play: &mut Play) {
    play.script.set_room(0);
    play.then(|script| script.deliver(&frame(0x81, true, b"text")));
    play.then(|script| script.set_room(23));
    play.then(|script| script.set_room(usize::MAX));
    play.when(|script| script.sent().len() >= TWO, |script| script.deliver(&frame(0x88, true, &CLOSE)));
}

fn has_two_messages_and_a_close(script: &Script) {
    let sent = frames(&script.sent()).unwrap();
    assert_eq!(sent, [(0x82, vec![0; 20]), (0x82, vec![1; 20]), (0x88, CLOSE.to_vec())]);
    assert!(script.is_dropped());
}

#[tokio::test(start_paused = true)]
async fn halves_in_two_tasks_progress_in_every_order() {
    let play = || {
        let (script, socket) = socket(narrow());
        let (mut receiver, mut sender) = socket.split();
        let mut play = Play::new(&script);
        slow_peer(&mut play);
        play.task(async move { send_two(&mut sender).await });
        play.task(async move { receive(&mut receiver, 1).await });
        (script, play)
    };
    let runs = unconstrained(async { in_every_order(play, has_two_messages_and_a_close) }).await;
    assert!(runs > 100, "{runs}");
}

#[tokio::test(start_paused = true)]
async fn halves_and_an_attendant_in_three_tasks_progress_in_every_order() {
    let play = || {
        let (script, socket) = socket(narrow());
        let mut play = Play::new(&script);
        let attendant = socket.attendant();
        let (mut receiver, mut sender) = socket.split();
        script.set_room(23);
        play.when(|script| script.sent().len() == 23, |script| script.set_room(usize::MAX));
        play.when(|script| script.sent().len() >= TWO, |script| script.deliver(&frame(0x88, true, &CLOSE)));
        play.task(async move { send_two(&mut sender).await });
        play.task(async move { receive(&mut receiver, 0).await });
        play.task(attendant);
        (script, play)
    };
    unconstrained(async { in_every_order(play, has_two_messages_and_a_close) }).await;
}

#[tokio::test(start_paused = true)]
async fn both_halves_in_one_task_progress_in_every_order() {
    let play = || {
        let (script, mut socket) = socket(narrow());
        let mut play = Play::new(&script);
        slow_peer(&mut play);
        play.task(async move {
            let (receiver, sender) = socket.parts();
            let sending = async {
                send_two(sender).await;
            };
            tokio::join!(biased; sending, receive(receiver, 1));
        });
        (script, play)
    };
    unconstrained(async { in_every_order(play, has_two_messages_and_a_close) }).await;
}

/// As `futures_util::StreamExt::split` does it: two tasks poll the same socket in turn.
#[tokio::test(start_paused = true)]
async fn a_stream_and_a_sink_that_two_tasks_poll_progress_in_every_order() {
    let play = || {
        let (script, socket) = socket(narrow());
        let mut play = Play::new(&script);
        slow_peer(&mut play);
        let socket = Rc::new(RefCell::new(socket));
        let sink = Rc::clone(&socket);
        play.task(async move {
            for number in 0..2 {
                poll_fn(|context| sink.borrow_mut().poll_ready(context)).await.unwrap();
                sink.borrow_mut().start_send(Message::Binary(&[number; 20])).unwrap();
            }
            poll_fn(|context| sink.borrow_mut().poll_flush(context)).await.unwrap();
        });
        play.task(async move {
            let next = || poll_fn(|context| Pin::new(&mut *socket.borrow_mut()).poll_next(context));
            assert!(next().await.unwrap().is_ok());
            assert!(next().await.is_none());
        });
        (script, play)
    };
    unconstrained(async { in_every_order(play, has_two_messages_and_a_close) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_half_progresses_though_the_other_one_is_dropped_at_any_time() {
    let only_sender = || {
        let (script, socket) = socket(narrow());
        let mut play = Play::new(&script);
        script.set_room(0);
        let (mut receiver, mut sender) = socket.split();
        play.then(|script| script.set_room(23));
        play.then(|script| script.set_room(usize::MAX));
        play.task(async move { send_two(&mut sender).await });
        let mut polls = 0;
        play.task(poll_fn(move |context| {
            polls += 1;
            if polls < 3 && receiver.poll_recv(context).is_pending() {
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        (script, play)
    };
    let only_receiver = || {
        let (script, socket) = socket(narrow());
        let mut play = Play::new(&script);
        script.set_room(0);
        let (mut receiver, mut sender) = socket.split();
        play.then(|script| script.deliver(&frame(0x88, true, &CLOSE)));
        play.then(|script| script.set_room(23));
        play.then(|script| script.set_room(usize::MAX));
        play.task(async move { receive(&mut receiver, 0).await });
        let mut polls = 0;
        play.task(async move {
            // The peer's Close may come first.
            let mut sending = pin!(try_to_send_two(&mut sender));
            poll_fn(move |context| {
                polls += 1;
                if polls < 3 && sending.as_mut().poll(context).is_pending() {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Poll::Ready(())
            })
            .await;
        });
        (script, play)
    };
    unconstrained(async {
        in_every_order(only_sender, |script| {
            assert_eq!(frames(&script.sent()).unwrap(), [(0x82, vec![0; 20]), (0x82, vec![1; 20])]);
        });
        in_every_order(only_receiver, |script| {
            let sent = frames(&script.sent()).unwrap();
            assert_eq!(sent.last(), Some(&(0x88, CLOSE.to_vec())));
            assert!(script.is_dropped());
        });
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_attendant_ends_when_both_halves_are_dropped_and_keeps_no_stream() {
    let play = || {
        let (script, socket) = socket(quiet());
        let mut play = Play::new(&script);
        play.task(socket.attendant());
        let (mut receiver, sender) = socket.split();
        let mut polled = false;
        play.task(poll_fn(move |context| {
            if !std::mem::replace(&mut polled, true) {
                assert!(receiver.poll_recv(context).is_pending());
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        }));
        play.task(async move { drop(sender) });
        (script, play)
    };
    unconstrained(async { in_every_order(play, |script| assert!(script.is_dropped())) }).await;
}

#[tokio::test(start_paused = true)]
async fn a_close_that_the_sender_starts_leaves_with_the_receiver_that_waits() {
    let play = || {
        let (script, socket) = socket(quiet());
        let mut play = Play::new(&script);
        let (mut receiver, mut sender) = socket.split();
        play.task(async move {
            sender.start_close(CloseCode::NORMAL, "").unwrap();
            assert!(!sender.is_open());
        });
        play.task(async move { receive(&mut receiver, 0).await });
        play.when(|script| !script.sent().is_empty(), |script| script.deliver(&frame(0x88, true, &CLOSE)));
        (script, play)
    };
    unconstrained(async {
        in_every_order(play, |script| {
            assert_eq!(frames(&script.sent()).unwrap(), [(0x88, CLOSE.to_vec())]);
            assert!(script.is_dropped());
        })
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_abort_by_one_half_ends_the_other() {
    for in_one_task in [true, false] {
        let play = || {
            let (script, mut socket) = socket(narrow());
            let mut play = Play::new(&script);
            script.set_room(0);
            if in_one_task {
                play.task(async move {
                    let (receiver, sender) = socket.parts();
                    let receiving = async { assert!(receiver.recv().await.unwrap().is_err()) };
                    let sending = async { sender.abort() };
                    tokio::join!(biased; receiving, sending);
                });
            } else {
                let (mut receiver, mut sender) = socket.split();
                play.task(
                    async move { assert_eq!(try_to_send_two(&mut sender).await, Err(SendError::Closed)) },
                );
                play.task(async move {
                    assert!(matches!(receiver.recv().await, Some(Err(RecvError::Failed(_)))));
                });
                play.then(Script::fail);
            }
            (script, play)
        };
        unconstrained(async { in_every_order(play, |script| assert!(script.is_dropped())) }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_in_one_half_ends_the_other() {
    for while_sending in [true, false] {
        let play = || {
            let (script, socket) = socket(narrow());
            let mut play = Play::new(&script);
            script.set_room(if while_sending { 0 } else { usize::MAX });
            let (mut receiver, mut sender) = socket.split();
            let attendant = sender.attendant();
            play.panics = true;
            play.task(async move {
                let sent = try_to_send_two(&mut sender).await;
                assert!(!while_sending || sent == Err(SendError::Closed));
            });
            play.task(async move { assert!(receiver.recv().await.unwrap().is_err()) });
            play.task(attendant);
            play.then(move |script| script.panic(while_sending));
            (script, play)
        };
        unconstrained(async { in_every_order(play, |script| assert!(script.is_dropped())) }).await;
    }
}
