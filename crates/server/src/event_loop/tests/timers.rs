//! Timers of handlers, and periodic calls, at times that a test chooses.

use super::still::{LONG, Peer, stand_still};
use crate::event_loop::EventLoop;
use crate::event_loop::slab::Key;
use crate::event_loop::ticker::Ticker;
use crate::{
    CloseCode, Closed, Config, Decision, Handler, Incoming, Message, Options, Socket, TooManyTimers,
};
use framewright::frame::{OpCode, encode_frame};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than the delay of the wheel, and of a machine between two lines of a test.
const SLACK: Duration = Duration::from_secs(600);

type Script = Box<dyn Fn(&mut Socket<'_>, &str) + Send + Sync>;

/// Runs a test's script for each message and each timer, and records the events.
struct Timing {
    script: Script,
    saw: Arc<Mutex<Vec<String>>>,
}

impl Timing {
    fn see(&self, socket: &mut Socket<'_>, what: &str) {
        self.saw.lock().expect("no panic holds it").push(what.to_owned());
        (self.script)(socket, what);
    }
}

impl Handler for Timing {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_open(&self, socket: &mut Socket<'_>, _: &mut ()) {
        self.see(socket, "open");
    }

    fn on_message(&self, socket: &mut Socket<'_>, _: &mut (), message: Message<'_>) {
        let Message::Text(text) = message else { panic!("a text") };
        self.see(socket, text);
    }

    fn on_timer(&self, socket: &mut Socket<'_>, _: &mut (), token: u64) {
        self.see(socket, &token.to_string());
    }

    fn on_close(&self, _: &Closed<'_>, _: &mut ()) {
        self.saw.lock().expect("no panic holds it").push("closed".to_owned());
    }
}

/// A loop with its own time. Each turn reads the clock afterwards, which sets the loop's time back.
struct Bench {
    event_loop: EventLoop,
    saw: Arc<Mutex<Vec<String>>>,
    began: Instant,
    time: Instant,
}

impl Bench {
    fn new(script: impl Fn(&mut Socket<'_>, &str) + Send + Sync + 'static) -> Bench {
        // No other deadlines than those of timers.
        let connection = Config { keep_alive_interval: None, close_timeout: 24 * LONG, ..Config::default() };
        Bench::with(connection, script)
    }

    fn with(connection: Config, script: impl Fn(&mut Socket<'_>, &str) + Send + Sync + 'static) -> Bench {
        let saw = Arc::new(Mutex::new(Vec::new()));
        let handler = Timing { script: Box::new(script), saw: Arc::clone(&saw) };
        let options = Options { connection, ..Options::default() };
        let event_loop = stand_still(|builder| builder.route_with("/ws", options, handler));
        let began = event_loop.context.now;
        Bench { event_loop, saw, began, time: began }
    }

    /// Passes `time`, and takes the turns that follow without events.
    fn go(&mut self, time: Duration) {
        self.go_to(self.time.max(Instant::now()) + time);
    }

    fn go_to(&mut self, time: Instant) {
        self.pass_to(time);
        while self.event_loop.short_turns.len() + self.event_loop.long_turns.len() > 0 {
            self.take_turns();
        }
    }

    fn pass_to(&mut self, time: Instant) {
        self.time = time;
        self.event_loop.context.now = time;
        self.event_loop.handle_deadlines(LONG);
    }

    /// One turn of each list.
    fn take_turns(&mut self) {
        let lists: [fn(&mut EventLoop) -> &mut VecDeque<Key>; 2] =
            [|event_loop| &mut event_loop.short_turns, |event_loop| &mut event_loop.long_turns];
        for list in lists {
            self.event_loop.context.now = self.time;
            self.event_loop.take_listed(self.began, list);
        }
    }

    /// The recorded events, sorted: the order of the connections' turns does not matter.
    fn saw_in_any_order(&self) -> Vec<String> {
        let mut saw = std::mem::take(&mut *self.saw.lock().expect("no panic holds it"));
        saw.sort_unstable();
        saw
    }

    #[track_caller]
    fn expect_saw(&self, expected: &[&str]) {
        assert_eq!(std::mem::take(&mut *self.saw.lock().expect("no panic holds it")), expected);
    }

    fn say(&mut self, (key, peer): &mut (Key, Peer), text: &str) {
        write(peer, text);
        self.event_loop.announce(*key);
    }

    /// Whether no memory is held for timers, after the wheel has passed all entries.
    fn holds_nothing(&mut self) -> bool {
        format!("{:?}", self.event_loop.context.parts.timers.get_mut()).contains("sets: {}")
    }
}

fn write(peer: &mut Peer, text: &str) {
    let mut frame = Vec::new();
    encode_frame(&mut frame, true, OpCode::Text, text.as_bytes(), Some([1, 2, 3, 4]));
    peer.write(&frame);
}

#[test]
fn a_timer_comes_once_and_never_early_and_again_if_it_is_set_in_its_callback() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => socket.set_timer(7, 2 * SLACK).expect("room"),
        "7" => {
            socket.send_text("tick").expect("room");
            socket.set_timer(7, 2 * SLACK).expect("room");
        }
        _ => {}
    });
    let (_, mut peer) = bench.event_loop.open();
    bench.expect_saw(&["open"]);
    bench.go_to(bench.began + 2 * SLACK - Duration::from_millis(1));
    bench.expect_saw(&[]);
    for _ in 0..3 {
        bench.go(2 * SLACK);
        bench.expect_saw(&["7"]);
        assert!(peer.take().ends_with(b"\x81\x04tick"));
        bench.go(SLACK);
        bench.expect_saw(&[]);
    }
}

#[test]
fn setting_replaces_and_cancelling_removes_and_one_of_zero_comes_with_the_next_tick() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => {
            socket.set_timer(1, SECOND).expect("room");
            socket.set_timer(2, SECOND).expect("room");
            socket.set_timer(3, Duration::ZERO).expect("room");
            socket.set_timer(4, Duration::ZERO).expect("room");
            socket.set_timer(4, Duration::MAX).expect("that is never");
            socket.set_timer(1, 5 * SLACK).expect("in its place");
            assert!(socket.cancel_timer(2) && !socket.cancel_timer(2));
        }
        "3" => socket.set_timer(3, Duration::ZERO).expect("room"),
        _ => {}
    });
    let (_, _peer) = bench.event_loop.open();
    bench.expect_saw(&["open"]);
    bench.go(SLACK);
    bench.expect_saw(&["3"]);
    bench.go(SLACK);
    bench.expect_saw(&["3"]);
    bench.go(10 * SLACK);
    bench.expect_saw(&["3", "1"]);
}

/// The message that cancels the timer was in the socket when the timer became due.
#[test]
fn what_has_arrived_comes_before_a_timer_and_can_cancel_it() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => socket.set_timer(1, SECOND).expect("room"),
        "wait" => assert!(socket.cancel_timer(1)),
        _ => {}
    });
    let (_, mut peer) = bench.event_loop.open();
    write(&mut peer, "wait");
    bench.go(SLACK);
    bench.expect_saw(&["open", "wait"]);
    bench.go(SLACK);
    bench.expect_saw(&[]);
    assert!(bench.holds_nothing());
}

#[test]
fn a_deadline_of_the_connection_that_has_passed_too_comes_before_a_timer() {
    let connection = Config { keep_alive_interval: None, idle_timeout: Some(SECOND), ..Config::default() };
    let mut bench = Bench::with(connection, |socket, _| socket.set_timer(1, SECOND).expect("room"));
    let (_, mut peer) = bench.event_loop.open();
    bench.go(SLACK);
    bench.expect_saw(&["open", "closed"]);
    assert_eq!(peer.take()[2..4], 1001_u16.to_be_bytes());
}

#[test]
fn those_that_a_callback_cancels_do_not_come_though_they_are_due() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => (1..=4).for_each(|token| socket.set_timer(token, SECOND).expect("room")),
        "1" => assert!(socket.cancel_timer(2)),
        "3" => socket.set_timer(4, 10 * SLACK).expect("room"),
        _ => {}
    });
    let (_, _peer) = bench.event_loop.open();
    bench.go(SLACK);
    bench.expect_saw(&["open", "1", "3"]);
}

#[test]
fn a_connection_has_64_timers_at_the_most() {
    let mut bench = Bench::new(|socket, saw| {
        if saw == "open" {
            for token in 0..64 {
                socket.set_timer(token, SECOND).expect("room");
            }
            assert_eq!(socket.set_timer(64, SECOND), Err(TooManyTimers));
            socket.set_timer(63, SECOND).expect("in its place");
            assert!(socket.cancel_timer(0));
            socket.set_timer(64, SECOND).expect("room again");
        }
    });
    let (_, _peer) = bench.event_loop.open();
    bench.go(SLACK);
    assert_eq!(bench.saw.lock().expect("no panic").len(), 1 + 64);
    assert!(bench.holds_nothing());
}

#[test]
fn timers_end_with_the_connection_and_not_with_the_beginning_of_its_end() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => {
            socket.set_timer(1, SECOND).expect("room");
            socket.set_timer(2, 2 * SLACK).expect("room");
        }
        "1" => socket.close(CloseCode::NORMAL, "").expect("it is open"),
        _ => {}
    });
    let (_, mut peer) = bench.event_loop.open();
    let (_, other) = bench.event_loop.open();
    bench.expect_saw(&["open", "open"]);
    drop(other);
    // No event has announced the end of `other`, which is still unread in the socket when its timer
    // is due.
    bench.go(2 * SECOND);
    assert_eq!(bench.saw_in_any_order(), ["1", "closed"]);
    assert!(peer.take().ends_with(&[0x88, 2, 0x03, 0xe8]));
    // A new connection now has the place of the one that ended.
    let mut third = bench.event_loop.open();
    bench.expect_saw(&["open"]);
    bench.say(&mut third, "hello");
    bench.expect_saw(&["hello"]);
    peer.write(&[0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8]);
    let keys = bench.event_loop.slots.keys();
    keys.into_iter().for_each(|key| bench.event_loop.announce(key));
    bench.expect_saw(&["closed"]);
    drop(third);
    let keys = bench.event_loop.slots.keys();
    keys.into_iter().for_each(|key| bench.event_loop.announce(key));
    bench.expect_saw(&["closed"]);
    assert!(bench.holds_nothing());
    bench.go(3 * SLACK);
    bench.expect_saw(&[]);
}

#[test]
fn a_callback_that_panics_costs_its_connection_and_no_other() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => socket.set_timer(socket.id(), SECOND).expect("room"),
        "1" => panic!("of the application"),
        _ => {}
    });
    let (_, mut first) = bench.event_loop.open();
    let (_, mut second) = bench.event_loop.open();
    bench.go(SLACK);
    assert_eq!(bench.saw_in_any_order(), ["1", "2", "closed", "open", "open"]);
    let said = first.take();
    assert_eq!(said[..1], [0x88]);
    assert_eq!(said[2..4], 1011_u16.to_be_bytes());
    assert_eq!(second.take(), b"");
    assert!(bench.holds_nothing());
}

#[test]
fn timers_go_on_while_the_server_stops_and_can_be_set_then() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => socket.set_timer(1, SECOND).expect("room"),
        "1" => {
            assert!(!socket.is_open() && socket.send_text("late").is_err());
            socket.set_timer(2, SECOND).expect("room");
        }
        "2" => socket.abort(),
        _ => {}
    });
    let (_, mut peer) = bench.event_loop.open();
    bench.event_loop.stop(bench.time + LONG);
    bench.event_loop.handle_walks(LONG);
    assert_eq!(peer.take()[2..4], 1001_u16.to_be_bytes());
    bench.go(2 * SECOND);
    bench.go(2 * SECOND);
    bench.expect_saw(&["open", "1", "2", "closed"]);
    assert_eq!(bench.event_loop.slots.len(), 0);
}

/// A connection that sets many timers has one turn for all of them, from the list.
#[test]
fn a_flood_of_timers_is_a_turn_among_others() {
    let mut bench = Bench::new(|socket, saw| match saw {
        "open" => (0..60).for_each(|token| socket.set_timer(token, SECOND).expect("room")),
        "quiet" => {
            (0..60).for_each(|token| assert!(socket.cancel_timer(token)));
            socket.set_timer(100, SECOND).expect("room");
        }
        "100" => {}
        token => socket.set_timer(token.parse().expect("a token"), Duration::ZERO).expect("room"),
    });
    let _flooders: Vec<_> = (0..3).map(|_| bench.event_loop.open()).collect();
    let mut quiet = bench.event_loop.open();
    bench.say(&mut quiet, "quiet");
    bench.saw.lock().expect("no panic").clear();
    bench.pass_to(Instant::now() + SLACK);
    (0..4).for_each(|_| bench.take_turns());
    let saw = std::mem::take(&mut *bench.saw.lock().expect("no panic"));
    assert_eq!(saw.len(), 3 * 60 + 1);
    assert!(saw.contains(&"100".to_owned()));
}

#[test]
fn a_loop_waits_for_its_tickers_and_calls_none_once_it_stops() {
    let mut event_loop = stand_still(|builder| builder);
    let calls = Arc::new(Mutex::new(0));
    let counting = Arc::clone(&calls);
    let now = event_loop.context.now;
    let call = Box::new(move || *counting.lock().expect("no panic") += 1);
    event_loop.set_tickers(vec![Ticker::new(SECOND, now, call)]);
    assert_eq!(event_loop.wait(), Some(SECOND));
    event_loop.context.now = now + SECOND;
    event_loop.call_tickers();
    assert_eq!(*calls.lock().expect("no panic"), 1);
    event_loop.stop(now + LONG);
    event_loop.context.now = now + 10 * SECOND;
    event_loop.call_tickers();
    assert_eq!((*calls.lock().expect("no panic"), event_loop.tickers.len()), (1, 0));
}
