//! Deadlines on a virtual clock: the instants that `poll_timeout` names, and what happens at them
//! and not before.

use crate::support::{ROLES, from_peer, sent, sent_close};
use framewright::{
    CloseCode, Config, Connection, Delivery, Error, Negotiated, RecvBuffer, Role, State, Timeout,
};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};
use framewright_testkit::net::{Net, Settings};
use std::sync::Arc;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_nanos(1);

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Settings without any deadline but that of the closing handshake.
fn timeless() -> Config {
    Config { keep_alive_interval: None, write_timeout: None, message_timeout: None, ..Config::default() }
}

fn silent(role: Role, config: Config) -> Endpoint {
    Endpoint::new(role, config, 1, Behaviour::Silent)
}

/// Lets the next deadline come: nothing happens one nanosecond before it. It has to be this far
/// away.
fn expect_deadline(endpoint: &mut Endpoint, away: Duration) {
    assert_eq!(endpoint.deadline(), Some(away));
    let before = (endpoint.events.len(), endpoint.sent.len(), endpoint.connection.state());
    endpoint.advance(away - TICK);
    assert_eq!((endpoint.events.len(), endpoint.sent.len(), endpoint.connection.state()), before);
    assert_eq!(endpoint.deadline(), Some(TICK));
    endpoint.advance(TICK);
}

fn timed_out(endpoint: &Endpoint, timeout: Timeout, code: Option<u16>) {
    assert_eq!(endpoint.closure().cause, Some(Error::Timeout(timeout)));
    assert_eq!(sent_close(endpoint), code);
    assert_eq!(timeout.close_code().map(u16::from), code);
    assert!(endpoint.shutdown);
}

#[test]
fn no_deadline_is_waited_for_where_none_is_set() {
    for role in ROLES {
        let mut endpoint = silent(role, timeless());
        endpoint.feed(&from_peer(role, "text \"a\" !fin"));
        assert_eq!(endpoint.connection.poll_timeout(), None);
        endpoint.advance(secs(1 << 30));
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn a_keep_alive_ping_is_sent_each_interval_whatever_else_goes_on() {
    for role in ROLES {
        let mut endpoint = silent(role, Config::default());
        for round in 1..=3u32 {
            endpoint.advance(secs(60));
            endpoint.feed(&from_peer(role, "text \"traffic\"; ping"));
            endpoint.connection.send_text("traffic").unwrap();
            endpoint.drain();
            expect_deadline(&mut endpoint, secs(60));
            assert_eq!(sent(&endpoint).last().unwrap(), &(9, round.to_be_bytes().to_vec()));
        }
        assert_eq!(endpoint.connection.state(), State::Open, "what arrives puts the Pong off");
    }
}

#[test]
fn no_ping_storm_follows_a_pause() {
    for role in ROLES {
        let mut endpoint = silent(role, Config::default());
        endpoint.advance(secs(120 * 50));
        assert_eq!(endpoint.frames().len(), 1);
        assert_eq!(endpoint.deadline(), Some(secs(120)));
    }
}

/// A feed to a peer that only listens: its Pongs are all that a proxy sees of it, so that what is
/// sent puts no Ping off.
#[test]
fn a_ping_is_sent_each_interval_though_something_is_always_queued() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { high_water: 100, low_water: 50, ..Config::default() });
        endpoint.room = 0;
        for round in 1..=5u32 {
            for _ in 0..12 {
                let _ = endpoint.connection.send_binary(&[0; 90]);
                endpoint.make_room(60);
                endpoint.advance(secs(10));
            }
            assert!(endpoint.connection.buffered() > 0);
            endpoint.make_room(200 - endpoint.room);
            let mut pings = sent(&endpoint).into_iter().filter(|(opcode, _)| *opcode == 9);
            assert_eq!(pings.next_back(), Some((9, round.to_be_bytes().to_vec())));
            endpoint.feed(&from_peer(role, &format!("pong hex \"{round:08x}\"")));
        }
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn a_ping_that_has_not_left_is_not_followed_by_another_and_has_no_deadline() {
    for role in ROLES {
        let mut endpoint = silent(role, answered());
        endpoint.room = 0;
        endpoint.connection.send_text("waits").unwrap();
        let waiting = endpoint.connection.buffered();
        endpoint.advance(secs(100));
        let with_ping = endpoint.connection.buffered();
        assert!(with_ping > waiting);
        for _ in 0..5 {
            expect_deadline(&mut endpoint, secs(100));
        }
        assert_eq!(endpoint.connection.buffered(), with_ping, "one Ping is enough");
        endpoint.make_room(with_ping - 1);
        assert_eq!(endpoint.deadline(), Some(secs(100)), "its last octet is still here");
        endpoint.advance(secs(50));
        endpoint.make_room(usize::MAX);
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn no_keep_alive_ping_follows_a_close() {
    for role in ROLES {
        let config = Config { close_timeout: secs(1000), write_timeout: None, ..Config::default() };
        let mut endpoint = silent(role, config);
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        assert_eq!(endpoint.deadline(), Some(secs(1000)), "nor is anybody woken for one");
        endpoint.advance(secs(500));
        assert_eq!(endpoint.frames().len(), 1);
    }
}

#[test]
fn no_pong_is_waited_for_behind_a_close() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { close_timeout: secs(1000), ..answered() });
        expect_deadline(&mut endpoint, secs(100));
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        assert_eq!(endpoint.deadline(), Some(secs(1000)));
        endpoint.feed(&from_peer(role, "text \"late\"; pong hex \"00000001\""));
        expect_deadline(&mut endpoint, secs(1000));
        assert_eq!(endpoint.closure().cause, Some(Error::Timeout(Timeout::Close)));
    }
}

#[test]
fn an_interval_of_zero_is_no_endless_loop() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: Some(Duration::ZERO), ..timeless() });
        endpoint.advance(Duration::ZERO);
        assert_eq!(endpoint.frames().len(), 1);
        assert_eq!(endpoint.deadline(), Some(Duration::from_millis(1)), "the next one is not due at once");
    }
}

fn answered() -> Config {
    Config { keep_alive_interval: Some(secs(100)), keep_alive_timeout: Some(secs(10)), ..timeless() }
}

#[test]
fn a_peer_that_answers_no_ping_is_failed_after_the_pong_timeout() {
    for role in ROLES {
        let mut endpoint = silent(role, answered());
        expect_deadline(&mut endpoint, secs(100));
        endpoint.feed(&from_peer(role, "text \"data is no Pong\""));
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn only_the_pong_of_the_newest_ping_counts() {
    for role in ROLES {
        let mut endpoint = silent(role, answered());
        expect_deadline(&mut endpoint, secs(100));
        endpoint.feed(&from_peer(role, "pong hex \"00000001\""));
        assert_eq!(endpoint.deadline(), Some(secs(100)));
        expect_deadline(&mut endpoint, secs(100));
        // Stale, empty, too long: none of them is the answer to the second Ping.
        endpoint.feed(&from_peer(role, "pong hex \"00000001\"; pong; pong hex \"0000000200\"; pong \"x\""));
        assert_eq!(endpoint.deadline(), Some(secs(10)));
        endpoint.feed(&from_peer(role, "pong hex \"00000002\"; pong hex \"00000002\""));
        assert_eq!(endpoint.deadline(), Some(secs(100)));
        expect_deadline(&mut endpoint, secs(100));
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn a_frame_that_is_still_arriving_puts_the_pong_off() {
    for role in ROLES {
        let mut endpoint = silent(role, answered());
        endpoint.feed(&from_peer(role, "binary \"start\" len=100"));
        expect_deadline(&mut endpoint, secs(100));
        for _ in 0..9 {
            endpoint.advance(secs(8));
            endpoint.feed(b"ten octets");
            assert_eq!(endpoint.deadline(), Some(secs(10)));
        }
        endpoint.advance(secs(8));
        endpoint.feed(b"fifth"); // the end of the frame
        assert_eq!(endpoint.events.len(), 1);
        endpoint.feed(&from_peer(role, "pong hex \"00000001\""));
        assert_eq!(endpoint.connection.state(), State::Open);
        assert_eq!(endpoint.deadline(), Some(secs(20)), "the next Ping, 180 seconds after the first");
    }
}

#[test]
fn a_frame_that_stops_arriving_does_not_put_the_pong_off() {
    for role in ROLES {
        let mut endpoint = silent(role, answered());
        endpoint.feed(&from_peer(role, "binary \"start\" len=100"));
        expect_deadline(&mut endpoint, secs(100));
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn whatever_arrives_puts_the_pong_off_but_not_for_ever() {
    let whole = ["text \"a\"", "ping", "pong \"x\"", "binary !fin", "cont \"a\" !fin", "ping", "cont"];
    let piece = [&[0u8; 3][..]];
    for role in ROLES {
        let frames: Vec<_> = whole.iter().map(|statement| from_peer(role, statement)).collect();
        let frames: Vec<&[u8]> = frames.iter().map(|frame| &frame[..]).collect();
        for (begun, arriving) in [("", &frames[..]), ("binary len=1000;", &piece)] {
            for delivery in [Delivery::Whole, Delivery::Chunks] {
                let config = Config { keep_alive_interval: Some(secs(1000)), delivery, ..answered() };
                let mut endpoint = silent(role, config);
                expect_deadline(&mut endpoint, secs(1000));
                endpoint.feed(&from_peer(role, begun));
                let mut arriving = arriving.iter().cycle();
                for _ in 0..21 {
                    endpoint.advance(secs(9));
                    endpoint.feed(arriving.next().unwrap());
                    assert_eq!(endpoint.deadline(), Some(secs(10)), "{begun} {delivery:?}");
                }
                endpoint.advance(secs(9));
                endpoint.feed(arriving.next().unwrap());
                // 198 seconds after the Ping.
                expect_deadline(&mut endpoint, secs(2));
                timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
            }
        }
    }
}

/// The Ping lies behind what the peer has yet to read, in a transport that holds minutes of it.
#[test]
fn a_slow_reader_is_not_cut_while_it_takes_what_waits() {
    for role in ROLES {
        for write_timeout in [Some(secs(30)), None] {
            let config = Config { keep_alive_interval: Some(secs(1000)), write_timeout, ..answered() };
            let mut endpoint = silent(role, config);
            expect_deadline(&mut endpoint, secs(1000));
            endpoint.room = 0;
            endpoint.connection.send_binary(&[0; 300]).unwrap();
            endpoint.drain();
            for _ in 0..15 {
                endpoint.advance(secs(9));
                endpoint.make_room(10);
                assert_eq!(endpoint.deadline(), Some(secs(10)));
            }
            endpoint.advance(secs(9));
            // All that is left: the transport was full until now. Without a deadline for writing
            // that is not known.
            endpoint.make_room(usize::MAX);
            assert_eq!(endpoint.deadline(), Some(secs(if write_timeout.is_some() { 10 } else { 1 })));
            // What the transport takes at once shows nothing.
            endpoint.connection.send_binary(&[0; 300]).unwrap();
            endpoint.drain();
            expect_deadline(&mut endpoint, secs(if write_timeout.is_some() { 10 } else { 1 }));
            timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
        }
    }
}

#[test]
fn a_pong_in_time_lifts_the_last_bound_too() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: Some(secs(1000)), ..answered() });
        expect_deadline(&mut endpoint, secs(1000));
        for _ in 0..22 {
            endpoint.advance(secs(9));
            endpoint.feed(&from_peer(role, "text \"a\""));
        }
        endpoint.feed(&from_peer(role, "pong hex \"00000001\""));
        assert_eq!(endpoint.deadline(), Some(secs(1000 - 198)));
        expect_deadline(&mut endpoint, secs(1000 - 198));
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn neither_deadline_for_the_pong_passes_while_nothing_is_read() {
    for role in ROLES {
        let config =
            Config { keep_alive_interval: Some(secs(1000)), high_water: 8, low_water: 4, ..answered() };
        let mut endpoint = silent(role, config);
        expect_deadline(&mut endpoint, secs(1000));
        endpoint.room = 0;
        endpoint.connection.send_text("more than the mark").unwrap();
        for _ in 0..50 {
            expect_deadline(&mut endpoint, secs(10));
            assert_eq!(endpoint.connection.state(), State::Open);
        }
        endpoint.make_room(usize::MAX);
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn an_awaited_pong_is_not_moved_by_the_next_ping() {
    for role in ROLES {
        let config = Config { keep_alive_interval: Some(secs(4)), ..answered() };
        let mut endpoint = silent(role, config);
        for ping in 1..=3 {
            expect_deadline(&mut endpoint, secs(4));
            assert_eq!(endpoint.frames().len(), ping, "one each interval");
        }
        expect_deadline(&mut endpoint, secs(2));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn a_pong_answers_the_pings_up_to_its_own() {
    for role in ROLES {
        let config = Config { keep_alive_interval: Some(secs(4)), ..answered() };
        let mut endpoint = silent(role, config.clone());
        endpoint.advance(secs(4));
        endpoint.advance(secs(4));
        endpoint.feed(&from_peer(role, "pong hex \"00000001\""));
        endpoint.advance(secs(4));
        endpoint.advance(secs(4));
        // The second has been waited for since the answer to the first.
        expect_deadline(&mut endpoint, secs(2));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));

        // Always one behind: the peer is slow, not gone.
        let mut endpoint = silent(role, config);
        endpoint.advance(secs(4));
        for round in 1..200 {
            endpoint.advance(secs(4));
            endpoint.feed(&from_peer(role, &format!("pong hex \"{round:08x}\"")));
            assert_eq!(endpoint.connection.state(), State::Open, "round {round}");
        }
        endpoint.feed(&from_peer(role, &format!("pong hex \"{:08x}\"", 200)));
        endpoint.feed(&from_peer(role, &format!("pong hex \"{:08x}\"", 199)));
        assert_eq!(endpoint.deadline(), Some(secs(4)), "none is awaited");
    }
}

#[test]
fn a_pong_is_awaited_after_256_pings_as_after_one() {
    let every = Duration::from_millis(20);
    for role in ROLES {
        let config = Config { keep_alive_interval: Some(every), ..answered() };
        let mut endpoint = silent(role, config);
        for _ in 0..256 {
            endpoint.advance(every);
        }
        endpoint.feed(&from_peer(role, "pong hex \"00000100\""));
        for _ in 0..197 {
            endpoint.advance(secs(1));
            endpoint.feed(&from_peer(role, "text \"a\""));
        }
        // 202 seconds after the first Ping, which the Pong has answered too; 197 after the next.
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn pings_are_told_apart_however_many_there_were() {
    let config =
        Config { keep_alive_interval: Some(secs(1)), keep_alive_timeout: Some(secs(1000)), ..timeless() };
    for role in ROLES {
        let mut endpoint = silent(role, config.clone());
        for _ in 0..300 {
            endpoint.advance(secs(1));
        }
        endpoint.feed(&from_peer(role, "pong hex \"0000012c\""));
        endpoint.sent.clear();
        // Their number begins anew after 65,536.
        for round in 301..=65_600u32 {
            endpoint.advance(secs(1));
            let data = (round & 0xFFFF).to_be_bytes();
            let mut pong = from_peer(role, "pong mask=00000000 len=4");
            if role == Role::Client {
                pong = from_peer(role, "pong len=4");
            }
            endpoint.feed(&[&pong[..], &data].concat());
            assert_eq!(endpoint.deadline(), Some(secs(1)));
            endpoint.events.clear();
            let last = endpoint.sent.split_off(endpoint.sent.len() - 4);
            assert!(role == Role::Client || last == data);
            endpoint.sent.clear();
        }
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn an_idle_peer_is_failed_and_any_frame_counts() {
    for role in ROLES {
        let mut endpoint = silent(role, timeless().expect_message_every(secs(5)));
        for statement in ["text \"a\"", "ping", "pong", "binary !fin", "ping", "cont"] {
            endpoint.advance(secs(9));
            assert_eq!(endpoint.deadline(), Some(secs(1)));
            endpoint.feed(&from_peer(role, statement));
            assert_eq!(endpoint.deadline(), Some(secs(10)), "twice the interval, anew after {statement}");
        }
        endpoint.connection.send_text("what we send does not count").unwrap();
        endpoint.drain();
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::Idle, Some(1001));
    }
}

#[test]
fn a_peer_in_the_middle_of_a_long_frame_is_not_idle() {
    for role in ROLES {
        let mut endpoint = silent(role, timeless().expect_message_every(secs(5)));
        endpoint.feed(&from_peer(role, "binary \"a\" len=100"));
        for _ in 0..5 {
            endpoint.advance(secs(9));
            endpoint.feed(b"b");
            assert_eq!(endpoint.deadline(), Some(secs(10)));
        }
        expect_deadline(&mut endpoint, secs(10));
        timed_out(&endpoint, Timeout::Idle, Some(1001));
    }
}

#[test]
fn silence_proves_nothing_while_too_much_waits_for_anything_to_be_read() {
    let config = Config {
        keep_alive_interval: Some(secs(10)),
        keep_alive_timeout: Some(secs(3)),
        idle_timeout: Some(secs(20)),
        high_water: 8,
        low_water: 4,
        write_timeout: None,
        ..timeless()
    };
    let now = Instant::now();
    let mut connection = Connection::server(Arc::new(config), Negotiated::default(), now);
    connection.handle_timeout(now + secs(10));
    connection.send_text("more than the mark").unwrap();
    assert!(!connection.wants_read(), "the Ping's answer stays unread");
    for elapsed in 11..100 {
        connection.handle_timeout(now + secs(elapsed));
        assert_eq!(connection.state(), State::Open, "after {elapsed} s");
    }
    let waiting = connection.buffered();
    connection.transmitted(now + secs(100), waiting);
    assert!(connection.wants_read());
    connection.handle_timeout(now + secs(103));
    assert_eq!(
        connection.closure().unwrap().cause,
        Some(Error::Timeout(Timeout::KeepAlive)),
        "now it counts"
    );
}

#[test]
fn a_peer_that_has_ended_its_direction_or_closed_may_take_its_time_as_long_as_it_takes_something() {
    let config = Config { write_timeout: Some(secs(30)), close_timeout: secs(5), ..timeless() };
    let close = |connection: &mut Connection, now| {
        let mut rx = RecvBuffer::new();
        rx.extend_from_slice(&from_peer(Role::Server, "close 1000"));
        while connection.next_event(now, &mut rx).is_some() {}
    };
    let eof = |connection: &mut Connection, now| connection.handle_eof(now);
    for end in [&close as &dyn Fn(&mut Connection, Instant), &eof] {
        let mut now = Instant::now();
        let mut connection = Connection::server(Arc::new(config.clone()), Negotiated::default(), now);
        connection.send_binary(&[0; 1000]).unwrap();
        connection.transmitted(now, 0);
        end(&mut connection, now);
        assert_eq!(connection.state(), State::Closed);
        while connection.buffered() > 100 {
            now += secs(29);
            connection.handle_timeout(now);
            connection.transmitted(now, 100);
        }
        let left = connection.buffered();
        assert!(left > 0 && connection.poll_timeout() == Some(now + secs(30)));
        connection.handle_timeout(now + secs(30));
        assert_eq!(connection.buffered(), 0, "given up: the peer took nothing for 30 s");
    }
}

#[test]
fn deadlines_without_length_are_no_endless_loop_while_nothing_is_read() {
    let zero = Some(Duration::ZERO);
    let config = Config { high_water: 1, low_water: 0, idle_timeout: zero, ..timeless() };
    let config = Config { keep_alive_timeout: zero, message_timeout: zero, ..config };
    let config = Config { keep_alive_interval: zero, ..config };
    let now = Instant::now();
    let mut connection = Connection::server(Arc::new(config), Negotiated::default(), now);
    connection.send_text("waits").unwrap();
    assert!(!connection.wants_read());
    for _ in 0..3 {
        connection.handle_timeout(now + secs(1));
        assert!(connection.poll_timeout() > Some(now + secs(1)));
    }
    assert_eq!(connection.state(), State::Open);
}

#[test]
fn a_closing_handshake_ends_in_time_though_writing_has_no_deadline() {
    let config = Config { write_timeout: None, close_timeout: secs(5), ..timeless() };
    let now = Instant::now();
    let mut connection = Connection::server(Arc::new(config), Negotiated::default(), now);
    connection.close(Some(CloseCode::NORMAL), "").unwrap();
    connection.transmitted(now, 0); // the transport takes nothing
    assert_eq!(connection.poll_timeout(), Some(now + secs(5)));
    connection.handle_timeout(now + secs(5));
    assert_eq!(connection.closure().unwrap().cause, Some(Error::Timeout(Timeout::Close)));
}

/// The deadline is kept in whole milliseconds, and set anew only where that moves it.
#[test]
fn pieces_that_come_within_a_millisecond_put_the_deadline_off_as_exactly_as_others() {
    let config = Config { message_timeout: Some(secs(7)), message_progress: 1, ..timeless() };
    for role in ROLES {
        for step in [Duration::from_micros(1), Duration::from_micros(300), Duration::from_micros(1001)] {
            let mut endpoint = silent(role, config.clone());
            endpoint.feed(&from_peer(role, "binary len=1000"));
            let mut elapsed = Duration::ZERO;
            for _ in 0..20 {
                endpoint.advance(step);
                elapsed += step;
                endpoint.feed(b"five!");
                let late = endpoint.deadline().expect("a deadline") - secs(7);
                assert!(late < Duration::from_millis(1), "{role:?}: {late:?} more after {elapsed:?}");
            }
        }
    }
}

#[test]
fn a_message_has_to_grow_in_time() {
    let config = Config { message_timeout: Some(secs(7)), message_progress: 10, ..timeless() };
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let mut endpoint = silent(role, Config { delivery, ..config.clone() });
            endpoint.feed(&from_peer(role, "text \"whole\""));
            assert_eq!(endpoint.deadline(), None, "a message that came whole has no deadline");
            endpoint.feed(&from_peer(role, "binary \"a\" !fin"));
            for left in [6, 5, 4, 3] {
                endpoint.advance(secs(1));
                endpoint.feed(&from_peer(role, "cont \"aa\" !fin; cont !fin; ping"));
                assert_eq!(endpoint.deadline(), Some(secs(left)), "not by ten octets yet");
            }
            endpoint.feed(&from_peer(role, "cont \"a\" !fin"));
            assert_eq!(endpoint.deadline(), Some(secs(7)), "by ten");
            endpoint.advance(secs(2));
            endpoint.feed(&from_peer(role, "cont len=1000"));
            for _ in 0..50 {
                endpoint.feed(b"five!");
                endpoint.advance(secs(3));
                endpoint.feed(b"five.");
                assert_eq!(endpoint.deadline(), Some(secs(7)));
                endpoint.advance(secs(3));
            }
            endpoint.feed(b"a drip");
            expect_deadline(&mut endpoint, secs(4));
            timed_out(&endpoint, Timeout::Message, Some(1008));
        }
    }
}

#[test]
fn each_message_has_a_time_of_its_own() {
    for role in ROLES {
        let config = Config { message_timeout: Some(secs(7)), message_progress: 10, ..timeless() };
        let mut endpoint = silent(role, config);
        endpoint.feed(&from_peer(role, "text \"123456789\" !fin; cont; binary !fin"));
        endpoint.advance(secs(6));
        endpoint.feed(&from_peer(role, "cont \"9 octets.\" !fin"));
        assert_eq!(endpoint.deadline(), Some(secs(1)), "those of the message before are none of its own");
        endpoint.feed(&from_peer(role, "cont"));
        assert_eq!(endpoint.deadline(), None);
    }
}

#[test]
fn the_whole_message_has_its_time_where_no_octets_are_progress() {
    let config = Config { message_timeout: Some(secs(7)), message_progress: u32::MAX, ..timeless() };
    for role in ROLES {
        let mut endpoint = silent(role, config.clone());
        endpoint.feed(&from_peer(role, "text \"a\" !fin"));
        for _ in 0..6 {
            endpoint.advance(secs(1));
            endpoint.feed(&from_peer(role, "cont \"a\" * 10_000 !fin; ping"));
        }
        expect_deadline(&mut endpoint, secs(1));
        timed_out(&endpoint, Timeout::Message, Some(1008));
    }
}

#[test]
fn fragments_without_octets_are_no_progress_whatever_is_asked_for() {
    for role in ROLES {
        let config = Config { message_timeout: Some(secs(7)), message_progress: 0, ..timeless() };
        let mut endpoint = silent(role, config);
        endpoint.feed(&from_peer(role, "text \"a\" !fin"));
        endpoint.advance(secs(6));
        endpoint.feed(&from_peer(role, "cont !fin"));
        assert_eq!(endpoint.deadline(), Some(secs(1)));
        endpoint.feed(&from_peer(role, "cont \"a\" !fin"));
        assert_eq!(endpoint.deadline(), Some(secs(7)));
    }
}

/// Peers that hold a place without a word.
#[test]
fn nobody_stays_silent_for_ever_by_default() {
    for role in ROLES {
        let mut endpoint = silent(role, Config::default());
        for _ in 0..2 {
            expect_deadline(&mut endpoint, secs(120));
        }
        assert_eq!(endpoint.frames().len(), 2, "two Pings");
        expect_deadline(&mut endpoint, secs(120));
        assert_eq!(endpoint.frames().len(), 3, "no third one before the Close");
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn no_message_stays_half_for_ever_by_default() {
    for role in ROLES {
        for half in ["binary len=16_000_000", "text \"a\" !fin", "text \"half\" len=8", "binary !fin; ping"] {
            let mut endpoint = silent(role, Config::default());
            endpoint.feed(&from_peer(role, half));
            expect_deadline(&mut endpoint, secs(60));
            timed_out(&endpoint, Timeout::Message, Some(1008));
        }
    }
}

#[test]
fn a_kibibyte_a_minute_is_progress_by_default() {
    for role in ROLES {
        let mut endpoint = silent(role, Config::default());
        endpoint.feed(&from_peer(role, "binary len=1_000_000"));
        let start = endpoint.now;
        while endpoint.connection.state() == State::Open {
            endpoint.advance(secs(59));
            endpoint.feed(&[0; 1024]);
        }
        // Within one frame no Ping can be answered: the first one was sent after two minutes, and
        // 20 times four is the bound.
        assert_eq!(endpoint.closure().cause, Some(Error::Timeout(Timeout::KeepAlive)));
        let elapsed = endpoint.now - start;
        assert!((secs(120 + 4800)..secs(120 + 4800 + 59 + 60)).contains(&elapsed), "{elapsed:?}");
    }
}

#[test]
fn a_peer_that_takes_nothing_is_dropped_after_the_write_timeout() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: None, ..Config::default() });
        endpoint.room = 3;
        endpoint.connection.send_text("Hello").unwrap();
        endpoint.drain();
        endpoint.advance(secs(10));
        endpoint.connection.send_text("more does not move it").unwrap();
        endpoint.drain();
        expect_deadline(&mut endpoint, secs(20));
        assert_eq!(endpoint.closure().cause, Some(Error::Timeout(Timeout::Write)));
        assert_eq!(endpoint.closure().sent, None);
        assert_eq!((endpoint.sent.len(), endpoint.connection.buffered()), (3, 0), "what waits is dropped");
        assert!(endpoint.shutdown);
    }
}

#[test]
fn a_trickle_moves_the_write_timeout_and_an_empty_queue_ends_it() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: None, ..Config::default() });
        endpoint.room = 0;
        endpoint.connection.send_binary(&[0; 20]).unwrap();
        endpoint.drain();
        for _ in 0..10 {
            endpoint.advance(secs(29));
            endpoint.make_room(1);
            assert_eq!(endpoint.deadline(), Some(secs(30)));
        }
        endpoint.make_room(usize::MAX);
        assert_eq!(endpoint.deadline(), None);
        assert_eq!(endpoint.connection.state(), State::Open);
    }
}

#[test]
fn the_close_timeout_starts_when_the_close_has_been_taken() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: None, ..Config::default() });
        endpoint.room = 0;
        endpoint.connection.close(None, "").unwrap();
        endpoint.drain();
        assert_eq!(endpoint.deadline(), Some(secs(30)), "the write timeout");
        endpoint.advance(secs(20));
        endpoint.make_room(usize::MAX);
        endpoint.feed(&from_peer(role, "text \"late\"; ping"));
        expect_deadline(&mut endpoint, secs(5));
        timed_out(&endpoint, Timeout::Close, endpoint.frames()[0].close_code().or(None));
    }
}

#[test]
fn after_a_clean_end_a_peer_that_still_takes_what_waits_is_not_given_up() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { keep_alive_interval: None, ..Config::default() });
        endpoint.room = 0;
        endpoint.connection.send_binary(&[0; 20]).unwrap();
        endpoint.feed(&from_peer(role, "close 1000"));
        assert!(endpoint.closure().clean);
        for _ in 0..10 {
            assert_eq!(endpoint.deadline(), Some(secs(30)), "the write timeout");
            endpoint.advance(secs(29));
            endpoint.make_room(1);
        }
        endpoint.make_room(usize::MAX);
        assert_eq!(sent(&endpoint), [(2, vec![0; 20]), (8, vec![3, 232])]);
        assert_eq!(endpoint.shutdown, role == Role::Server);
        expect_deadline(&mut endpoint, secs(5));
        assert!(endpoint.shutdown, "a client has waited long enough for the end of the transport");
    }
}

#[test]
fn a_failed_connection_waits_no_longer_than_the_close_timeout_to_be_rid_of_its_close() {
    for role in ROLES {
        let mut endpoint = silent(role, timeless());
        endpoint.room = 0;
        endpoint.feed(&[0xff]);
        assert!(!endpoint.shutdown);
        expect_deadline(&mut endpoint, secs(5));
        assert!(endpoint.shutdown && endpoint.sent.is_empty());
        assert_eq!(endpoint.deadline(), None);
    }
}

#[test]
fn the_longest_durations_are_no_deadline_and_no_panic() {
    let longest = Some(Duration::MAX);
    let config = Config {
        write_timeout: longest,
        close_timeout: Duration::MAX,
        keep_alive_interval: longest,
        keep_alive_timeout: longest,
        idle_timeout: longest,
        message_timeout: longest,
        ..Config::default()
    };
    for role in ROLES {
        let mut endpoint = silent(role, config.clone().expect_message_every(Duration::MAX));
        endpoint.room = 1;
        endpoint.connection.send_text("x").unwrap();
        endpoint.feed(&from_peer(role, "text \"a\" !fin"));
        assert_eq!(endpoint.connection.poll_timeout(), None);
        endpoint.advance(secs(1 << 32));
        endpoint.feed(&from_peer(role, "cont; close"));
        assert_eq!(endpoint.connection.poll_timeout(), None);
        assert!(endpoint.closure().clean);
    }
}

#[test]
fn early_and_repeated_calls_do_nothing() {
    for role in ROLES {
        let mut endpoint = silent(role, Config { idle_timeout: Some(secs(10)), ..timeless() });
        for _ in 0..3 {
            endpoint.advance(secs(3));
            assert_eq!(endpoint.connection.state(), State::Open);
        }
        endpoint.advance(secs(1));
        for _ in 0..3 {
            endpoint.advance(secs(100));
        }
        assert_eq!(endpoint.events.iter().filter(|event| matches!(event, Seen::Closed(_))).count(), 1);
        assert_eq!(endpoint.frames().len(), 1);
        assert_eq!(endpoint.deadline(), None);
    }
}

#[test]
fn a_peer_that_vanishes_is_noticed_by_keep_alive() {
    let config = Config {
        keep_alive_interval: Some(secs(20)),
        keep_alive_timeout: Some(secs(5)),
        ..Config::default()
    };
    let settings = Settings { server: (config, Behaviour::Echo), ..Settings::default() };
    let mut net = Net::new(settings);
    net.run_for(secs(90));
    assert_eq!(net.server.connection.state(), State::Open, "the client answers each Ping");
    net.lose(Role::Client);
    net.run_for(secs(26));
    assert_eq!(net.server.closure().cause, Some(Error::Timeout(Timeout::KeepAlive)));
}

#[test]
fn time_in_which_the_driver_did_nothing_is_no_idleness_of_the_peer() {
    for role in ROLES {
        let config = Config { idle_timeout: Some(secs(130)), keep_alive_interval: None, ..timeless() };
        let mut endpoint = silent(role, config);
        endpoint.advance(secs(100));
        endpoint.connection.driver().extend_idle_deadline(secs(1000));
        assert_eq!(endpoint.deadline(), Some(secs(1030)));
        endpoint.advance(secs(1030));
        timed_out(&endpoint, Timeout::Idle, Some(1001));
    }
}

#[test]
fn a_late_pong_or_message_is_not_excused() {
    for role in ROLES {
        let config = Config {
            keep_alive_interval: Some(secs(20)),
            keep_alive_timeout: Some(secs(10)),
            message_timeout: Some(secs(50)),
            ..timeless()
        };
        let mut endpoint = silent(role, config);
        endpoint.advance(secs(20)); // a Ping
        endpoint.connection.driver().extend_idle_deadline(secs(1000));
        assert_eq!(endpoint.deadline(), Some(secs(10)));
        endpoint.advance(secs(10));
        timed_out(&endpoint, Timeout::KeepAlive, Some(1011));
    }
}

#[test]
fn a_thread_that_only_writes_has_deadlines_of_its_own() {
    for role in ROLES {
        let config = Config {
            keep_alive_interval: Some(secs(100)),
            keep_alive_timeout: Some(secs(10)),
            idle_timeout: Some(secs(50)),
            ..timeless()
        };
        let mut endpoint = silent(role, config);
        let start = endpoint.now;
        assert_eq!(endpoint.connection.poll_timeout(), Some(start + secs(50)));
        assert_eq!(endpoint.connection.driver_view().poll_send_timeout(), Some(start + secs(100)));
        endpoint.connection.driver().handle_send_timeout(start + secs(100));
        assert_eq!(endpoint.connection.state(), State::Open, "who is silent is for others to know");
        endpoint.drain();
        assert_eq!(sent(&endpoint), [(9, 1u32.to_be_bytes().to_vec())]);
        assert_eq!(endpoint.connection.driver_view().poll_send_timeout(), Some(start + secs(200)));
        endpoint.connection.handle_timeout(start + secs(100));
        assert_eq!(endpoint.connection.state(), State::Closed);
    }
}
