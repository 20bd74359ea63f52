//! `framewright bench` against the program's own echo, and against servers that do what no echo
//! should.

#![cfg(unix)]

mod compress;
mod fan_out;
mod support;
#[cfg(all(feature = "tls", any(feature = "aws-lc-rs", feature = "ring")))]
mod tls;

use framewright::frame::{OpCode, encode_frame};
use std::net::TcpListener;
use support::{Echo, answer_frames, bench, complaint, frame, number, raw_echo, report, serve, url};

#[test]
fn a_closed_loop_is_counted_and_timed() {
    let echo = Echo::start();
    let report = report(&echo.url, "--in-flight 4 --size 20 --seed 7");
    assert_eq!(report["url"], echo.url.as_str());
    assert_eq!(report["version"], env!("CARGO_PKG_VERSION"));
    let workload = &report["workload"];
    assert_eq!((&workload["mode"], &workload["kind"]), (&"echo".into(), &"binary".into()));
    assert_eq!((&workload["connections"], &workload["in_flight"]), (&3.into(), &4.into()));
    assert_eq!(workload["sizes"], serde_json::json!([[20, 1]]));
    assert!(workload["rate"].is_null() && workload["flooders"] == 0);
    let (messages, seconds) = (number(&report["messages"]), number(&report["duration_s"]));
    assert!(messages > 0.0 && seconds >= 0.2);
    assert!((number(&report["messages_per_s"]) * seconds / messages - 1.0).abs() < 1e-6);
    assert!((number(&report["payload_bytes_per_s"]) - 20.0 * messages / seconds).abs() < 1.0);
    let latency = &report["latency_us"];
    assert_eq!(latency["count"], report["messages"]);
    let order = ["min", "p50", "p90", "p99", "p99_9", "p99_99", "max"].map(|name| number(&latency[name]));
    assert!(order[0] > 0.0 && order.is_sorted(), "{order:?}");
    assert!((order[0]..=order[6]).contains(&number(&latency["mean"])));
    for absent in ["server", "idle", "flood", "schedule"] {
        assert!(report[absent].is_null(), "{absent}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn the_time_and_memory_of_the_server_are_told() {
    let echo = Echo::start();
    let report = report(&echo.url, &format!("--pid {}", echo.pid()));
    let (server, client) = (&report["server"], &report["client"]);
    let cpu = number(&server["cpu_s"]);
    assert!(cpu > 0.0);
    assert!((number(&server["user_s"]) + number(&server["system_s"]) - cpu).abs() < 1e-6);
    assert!((number(&server["busy"]) - cpu / number(&report["duration_s"])).abs() < 1e-6);
    let messages = number(&report["messages"]);
    assert!((number(&server["messages_per_cpu_s"]) * cpu / messages - 1.0).abs() < 1e-6);
    assert!((number(&server["cpu_ns_per_message"]) * messages / cpu / 1e9 - 1.0).abs() < 1e-6);
    assert!(number(&server["user_ns_per_message"]) <= number(&server["cpu_ns_per_message"]));
    assert!(number(&server["rss_bytes"]) > 0.0);
    assert!(number(&server["peak_rss_bytes"]) >= number(&server["rss_bytes"]));
    assert!(number(&client["cpu_s"]) > 0.0 && (0.0..=1.0).contains(&number(&client["busy"])));
    assert!(report["client_limited"].is_boolean());
}

#[test]
fn content_of_every_kind_comes_back_as_it_was_sent() {
    let echo = Echo::start();
    for kind in ["binary", "ascii", "json", "utf8", "random"] {
        let report = report(&echo.url, &format!("--verify --kind {kind} --size 20:3,1000,70K --in-flight 5"));
        assert!(number(&report["messages"]) > 0.0, "{kind}");
        assert_eq!(report["workload"]["verify"], true);
    }
    assert!(number(&report(&echo.url, "--verify --size 0 --in-flight 3")["messages"]) > 0.0);
}

#[test]
fn large_messages_are_skipped_and_counted() {
    let echo = Echo::start();
    let report = report(&echo.url, "--size 2M --in-flight 2");
    let messages = number(&report["messages"]);
    let octets = number(&report["payload_bytes_per_s"]) * number(&report["duration_s"]);
    assert!(messages > 0.0 && (octets / messages / f64::from(2 << 20) - 1.0).abs() < 1e-6);
}

#[test]
fn an_open_loop_times_every_message_that_was_due() {
    let echo = Echo::start();
    let report = report(&echo.url, "--rate 1000");
    assert_eq!((&report["workload"]["mode"], &report["workload"]["rate"]), (&"rate".into(), &1000.0.into()));
    let count = number(&report["latency_us"]["count"]);
    assert!((199.0..=201.0).contains(&count), "{count} of 200 in 0.2 seconds");
    let schedule = &report["schedule"];
    assert!(number(&schedule["late_us"]["count"]) >= 199.0);
    assert_eq!(schedule["unanswered"], 0);
}

#[test]
fn flooders_are_counted_apart() {
    let echo = Echo::start();
    let report = report(&echo.url, "--flooders 1 --flood-in-flight 8 --flood-size 1K --size 10");
    assert!(number(&report["flood"]["messages"]) > 0.0 && number(&report["flood"]["messages_per_s"]) > 0.0);
    let payload = number(&report["payload_bytes_per_s"]) / number(&report["messages_per_s"]);
    assert!((payload - 10.0).abs() < 1e-6, "the flood is not in it");
    assert_eq!(report["latency_us"]["count"], report["messages"]);
}

#[cfg(target_os = "linux")]
#[test]
fn the_processor_time_of_a_flood_is_not_laid_on_the_others() {
    let echo = Echo::start();
    let load = "--flooders 1 --flood-in-flight 8 --flood-size 1K --size 10";
    let report = report(&echo.url, &format!("{load} --pid {}", echo.pid()));
    let messages = number(&report["messages"]) + number(&report["flood"]["messages"]);
    let all = number(&report["server"]["cpu_ns_per_message"]) * messages / 1e9;
    assert!((all - number(&report["server"]["cpu_s"])).abs() < 1e-6, "{report}");
}

#[test]
fn connections_are_opened_and_closed_again_and_again() {
    let echo = Echo::start();
    let report = report(&echo.url, "--connect-rate");
    assert_eq!(report["workload"]["mode"], "connect-rate");
    assert!(number(&report["messages"]) > 3.0);
    assert_eq!(report["latency_us"]["count"], report["messages"]);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_are_weighed() {
    let echo = Echo::start();
    let report = report(&echo.url, &format!("--idle --connections 200 --pid {}", echo.pid()));
    let idle = &report["idle"];
    assert_eq!(idle["connections"], 200);
    let (baseline, with) = (number(&idle["baseline_bytes"]), number(&idle["bytes"]));
    assert!(baseline > 0.0 && with > baseline);
    assert!((number(&idle["bytes_per_connection"]) - (with - baseline) / 200.0).abs() < 1e-6);
}

#[cfg(target_os = "linux")]
#[test]
fn idle_connections_can_be_weighed_after_messages() {
    let echo = Echo::start();
    let options = "--idle --idle-messages 2 --connections 50 --in-flight 3 --pid";
    let report = report(&echo.url, &format!("{options} {}", echo.pid()));
    assert_eq!(report["workload"]["idle_messages"], 2);
    assert!(number(&report["idle"]["bytes"]) > 0.0);
}

#[test]
fn an_echo_without_a_protocol_is_the_floor() {
    let url = format!("tcp://{}", serve(raw_echo));
    for args in ["--verify --size 20,3000 --in-flight 3", "--size 1M", "--connect-rate", "--rate 500"] {
        assert!(number(&report(&url, args)["messages"]) > 0.0, "{args}");
    }
}

#[test]
fn text_has_the_figures_and_a_drawing() {
    let echo = Echo::start();
    let output = bench(&echo.url, "");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    for part in [&echo.url, "3 connections", "125 B", "messages", "a second", "p99.9", "█"] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn fragments_and_control_frames_between_replies_are_taken() {
    let addr = serve(|stream| {
        answer_frames(stream, |_, opcode, payload| {
            let mut octets = frame(OpCode::Ping, b"still there?");
            match opcode {
                OpCode::Binary => {
                    encode_frame(&mut octets, false, opcode, &payload[..payload.len() / 2], None);
                    octets.extend(frame(OpCode::Pong, b""));
                    octets.extend(frame(OpCode::Continuation, &payload[payload.len() / 2..]));
                }
                OpCode::Close => octets.extend(frame(opcode, payload)),
                // A Pong must say what the Ping said; other octets would be answered in a way that
                // no echo has.
                OpCode::Pong if payload == b"still there?" => octets.clear(),
                _ => octets = frame(OpCode::Close, b""),
            }
            octets
        })
    });
    let report = report(&url(addr), "--verify --in-flight 3");
    assert!(number(&report["messages"]) > 0.0);
}

#[test]
fn a_wrong_reply_ends_the_run() {
    let changed = serve(|stream| {
        answer_frames(stream, |number, opcode, payload| {
            payload[17] ^= u8::from(number == 5);
            frame(opcode, payload)
        })
    });
    let old = serve(|stream| {
        let mut last = Vec::new();
        answer_frames(stream, move |number, opcode, payload| {
            if number != 5 {
                last = frame(opcode, payload);
            }
            last.clone()
        })
    });
    for (addr, part) in [(changed, "wrong reply: byte 17"), (old, "wrong reply: byte")] {
        let (code, said) = complaint(&url(addr), "--verify");
        assert!(code == Some(1) && said.contains(part) && said.lines().count() == 1, "{code:?} {said}");
    }
    let longer = serve(|stream| {
        answer_frames(stream, |_, opcode, payload| frame(opcode, &[&*payload, b"!"].concat()))
    });
    let typed = serve(|stream| answer_frames(stream, |_, _, payload| frame(OpCode::Text, payload)));
    for (addr, part) in [(longer, "a message of 126 bytes, where 125 were sent"), (typed, "Text")] {
        let (code, said) = complaint(&url(addr), "");
        assert!(code == Some(1) && said.contains(part), "{code:?} {said}");
    }
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//# If the status code received from the server is not 101, the
//# client handles the response per HTTP [RFC2616] procedures.
#[test]
fn what_ends_a_run_is_told_in_words() {
    let echo = Echo::start();
    let nowhere = echo.url.replace("/ws", "/nowhere");
    let closing = serve(|stream| answer_frames(stream, |_, _, _| frame(OpCode::Close, b"\x03\xe9busy")));
    let ending = serve(|stream| {
        let both = stream.try_clone()?;
        answer_frames(stream, |_, _, _| {
            let _ = both.shutdown(std::net::Shutdown::Both);
            Vec::new()
        })
    });
    let silent = serve(|stream| answer_frames(stream, |_, _, _| Vec::new()));
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for (url, args, part) in [
        (nowhere.clone(), "", "404"),
        (nowhere, "--connect-rate", "404"),
        (url(closing), "", "closed the connection with code 1001 (\"busy\")"),
        (url(ending), "", "ended the connection without a Close frame"),
        (url(silent), "--timeout 0.1", "did not answer for 0.1 seconds"),
        (url(silent), "--timeout 0.1 --connect-rate", "did not answer for 0.1 seconds"),
        (url(gone), "", "cannot connect"),
        ("ws://name.invalid/".to_owned(), "", "name.invalid"),
        (echo.url.clone(), "--pid 999999999", "999999999"),
    ] {
        let (code, said) = complaint(&url, args);
        assert!(code == Some(1) && said.contains(part), "{url} {args}: {code:?} {said}");
        assert!(said.starts_with("framewright: ") && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn wrong_usage_ends_with_2() {
    for (url, args, part) in [
        ("wss://localhost/", "", if cfg!(feature = "tls") { "--ca" } else { "without TLS" }),
        ("http://localhost/", "", "scheme"),
        ("ws://localhost/", "--idle", "--pid"),
        ("ws://localhost/", "--size 0 --kind json", "json"),
        ("ws://localhost/", "--size big", "--size"),
        ("tcp://localhost:7", "--compress shared", "without a protocol"),
    ] {
        let (code, said) = complaint(url, args);
        assert!(code == Some(2) && said.contains(part), "{url} {args}: {code:?} {said}");
    }
}
