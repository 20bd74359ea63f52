//! Section 10.4: limits. They are checked on headers, add up over a message, and never allocate.

use crate::support::{ROLES, fails_with, from_peer, limit, receive_with, text};
use framewright::connection::SMALL_FRAME;
use framewright::{Config, Delivery, LimitExceeded, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::Endpoint;

fn too_large(announced: u64, most: u64) -> framewright::Error {
    limit(LimitExceeded::MessageTooLarge { announced, limit: most })
}

#[test]
fn a_message_limit_adds_up_over_fragments() {
    for delivery in [Delivery::Whole, Delivery::Chunks] {
        let config = Config { delivery, max_message: 10, ..Config::default() };
        for role in ROLES {
            fails_with(role, &config, "binary len=11", too_large(11, 10));
            fails_with(role, &config, "binary len=70000", too_large(70000, 10));
        }
    }
    let config = Config { max_message: 10, ..Config::default() };
    for role in ROLES {
        fails_with(role, &config, "text \"12345\" !fin; cont \"12345\" !fin; cont \"6\"", too_large(11, 10));
        let huge = LimitExceeded::FrameTooLarge { announced: u64::MAX >> 1, limit: 16 << 20 };
        fails_with(role, &config, "text \"1\" !fin; ping; cont len=0x7fffffffffffffff", limit(huge));
        let fits = "text \"12345\" !fin; cont \"12345\"; text \"0123456789\"; text \"next\"";
        let endpoint = receive_with(role, &config, Behaviour::Silent, fits);
        assert_eq!(endpoint.events, [text("1234512345"), text("0123456789"), text("next")]);
    }
}

#[test]
fn a_frame_limit_holds_for_each_frame() {
    let config = Config { max_frame: 8, ..Config::default() };
    for role in ROLES {
        let cause = |announced| limit(LimitExceeded::FrameTooLarge { announced, limit: 8 });
        fails_with(role, &config, "binary \"123456789\"", cause(9));
        fails_with(role, &config, "binary \"12345678\" !fin; cont len=300", cause(300));
        let endpoint = receive_with(
            role,
            &config,
            Behaviour::Silent,
            "text \"12345678\" !fin; cont \"12345678\"; ping \"123456789\"",
        );
        assert_eq!(endpoint.events[0], text("1234567812345678"));
        assert_eq!(endpoint.connection.state(), State::Open, "control frames have a limit of their own");
    }
}

#[test]
fn a_declared_length_allocates_nothing() {
    for role in ROLES {
        for delivery in [Delivery::Whole, Delivery::Chunks] {
            let config = Config { delivery, max_message: u64::MAX, max_frame: u64::MAX, ..Config::default() };
            let mut endpoint = Endpoint::new(role, config, 1, Behaviour::Silent);
            endpoint.feed(&from_peer(role, "binary len=0x0080000000000001"));
            assert_eq!(endpoint.connection.state(), State::Open);
            assert_eq!(endpoint.rx.frame_remaining(), 0x0080_0000_0000_0001);
            assert!(endpoint.rx.capacity() <= 14);
            endpoint.feed(&[0; 1000]);
            assert!(endpoint.rx.capacity() <= 1014);
        }
        let announced = 0x0080_0000_0000_0001;
        let cause = limit(LimitExceeded::FrameTooLarge { announced, limit: 16 << 20 });
        let endpoint = fails_with(role, &Config::default(), "binary len=0x0080000000000001", cause);
        assert!(endpoint.rx.capacity() <= 16);
    }
}

#[test]
fn announced_lengths_that_overflow_are_refused() {
    let config = Config { delivery: Delivery::Chunks, max_message: (1 << 63) + 5, ..Config::default() };
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, config.clone(), 1, Behaviour::Silent);
        endpoint.feed(&from_peer(role, "binary len=0x7fffffffffffffff !fin"));
        assert_eq!(endpoint.connection.state(), State::Open);
        assert_eq!(endpoint.rx.frame_remaining(), u64::MAX >> 1);
    }
}

#[test]
fn tiny_fragments_have_a_budget_and_empty_ones_count() {
    let config = Config { small_frame_budget: 3, ..Config::default() };
    let cause = || limit(LimitExceeded::SmallFrames { limit: 3 });
    for role in ROLES {
        for tiny in ["cont !fin", "cont \"x\" !fin", "cont \"x\" * 15 !fin"] {
            let source = format!("text \"a\" !fin; {tiny}; ping; {tiny}; {tiny}");
            fails_with(role, &config, &source, cause());
        }
        let fine = format!(
            "text \"a\" !fin; cont !fin; cont \"b\" !fin; cont \"x\" * {SMALL_FRAME} !fin; cont \"c\"; text \"d\" !fin; cont \"e\""
        );
        let endpoint = receive_with(role, &config, Behaviour::Silent, &fine);
        assert_eq!(
            endpoint.events,
            [text("abxxxxxxxxxxxxxxxxc"), text("de")],
            "each message has its own budget"
        );
    }
}

/// As docs/LIMITS.md has them.
#[test]
fn the_default_limits_are_where_they_are_said_to_be() {
    const LIMIT: u64 = 16 << 20;
    for role in ROLES {
        let open = |config: &Config, source: &str| {
            let mut endpoint = Endpoint::new(role, config.clone(), 1, Behaviour::Silent);
            endpoint.feed(&from_peer(role, source));
            assert_eq!(endpoint.connection.state(), State::Open, "{source}");
        };
        let whole = Config::default();
        open(&whole, "binary len=16_777_216");
        open(&whole, "binary \"x\" !fin; cont len=16_777_215");
        let announced = LIMIT + 1;
        let frame = limit(LimitExceeded::FrameTooLarge { announced, limit: LIMIT });
        fails_with(role, &whole, "binary len=16_777_217", frame);
        fails_with(role, &whole, "binary \"x\" !fin; cont len=16_777_216", too_large(announced, LIMIT));
        let chunks = Config { delivery: Delivery::Chunks, ..Config::default() };
        open(&chunks, "binary len=16_777_216");
        fails_with(role, &chunks, "binary len=16_777_217", too_large(announced, LIMIT));

        open(&whole, "binary !fin; repeat 16_383 { cont !fin }; cont; text");
        open(&whole, "binary !fin; repeat 16_383 { cont !fin }; ping");
        let mut endpoint = Endpoint::new(role, whole.clone(), 1, Behaviour::Silent);
        endpoint.feed(&from_peer(role, "binary !fin; repeat 16_384 { cont !fin }"));
        let cause = limit(LimitExceeded::SmallFrames { limit: 16_384 });
        assert_eq!(endpoint.closure().cause, Some(cause));
        assert_eq!((whole.high_water, whole.low_water), (1 << 20, 256 << 10));
    }
}

#[test]
fn a_fragment_of_sixteen_octets_or_the_last_one_costs_nothing_of_the_budget() {
    let config = Config { small_frame_budget: 3, ..Config::default() };
    let long = format!("cont \"{}\" !fin", "x".repeat(16));
    let tiny = "cont !fin; cont \"y\" * 15 !fin; cont \"z\" !fin";
    assert_eq!(SMALL_FRAME, 16);
    for role in ROLES {
        // Neither in front of the small ones nor behind them, however many.
        for source in [
            format!("binary \"{0}\" !fin; repeat 5 {{ {long} }}; {tiny}; cont", "x".repeat(16)),
            format!("binary \"{0}\" !fin; {tiny}; repeat 5 {{ {long} }}; cont", "x".repeat(17)),
            format!("binary \"{0}\" !fin; {tiny}; cont \"last\"; binary \"alone\"", "x".repeat(1000)),
        ] {
            let endpoint = receive_with(role, &config, Behaviour::Silent, &source);
            assert_eq!(
                endpoint.connection.state(),
                State::Open,
                "{source}: {:?}",
                endpoint.connection.closure()
            );
        }
        let cause = limit(LimitExceeded::SmallFrames { limit: 3 });
        fails_with(role, &config, &format!("binary \"x\" !fin; {tiny}"), cause.clone());
        fails_with(role, &config, &format!("binary \"{}\" !fin; {tiny}; cont !fin", "x".repeat(16)), cause);
    }
}

#[test]
fn endless_empty_fragments_end_with_1008_and_hold_nothing() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, Config::default(), 1, Behaviour::Silent);
        endpoint.feed(&from_peer(role, "binary !fin"));
        let fragments = from_peer(role, "repeat 100 { cont !fin }");
        let mut rounds = 0;
        while endpoint.connection.state() == State::Open {
            endpoint.feed(&fragments);
            rounds += 1;
            assert!(rounds <= 164 && endpoint.rx.capacity() <= 1000);
        }
        assert_eq!(endpoint.frames()[0].close_code(), Some(1008));
    }
}

#[test]
fn a_message_of_many_small_writes_passes_with_the_default_budget() {
    for role in ROLES {
        let mut endpoint = Endpoint::new(role, Config::default(), 1, Behaviour::Silent);
        endpoint.feed(&from_peer(role, "text \"ab\" !fin; repeat 10_000 { cont \"ab\" !fin }; cont \"end\""));
        assert_eq!(endpoint.events, [text(&format!("{}end", "ab".repeat(10_001)))]);
    }
}
