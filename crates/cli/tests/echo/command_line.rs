//! What the program prints, and how it ends.

use crate::common::{Client, next};
use crate::program::{Program, run};
use std::net::{SocketAddr, TcpListener};

#[test]
fn it_prints_where_it_listens_and_how_it_is_set() {
    let program = Program::echo(&["--workers", "2", "--listen", "[::1]:0"]);
    let listening = program.listening();
    let addrs: Vec<SocketAddr> = listening.iter().map(|addr| addr.parse().expect("an address")).collect();
    assert!(addrs[0].is_ipv4() && addrs[1].is_ipv6() && addrs.iter().all(|addr| addr.port() != 0));
    let said = program.said.join("\n");
    let port = addrs[0].port();
    for part in [
        &format!("open http://localhost:{port}/ in a browser"),
        "echo on /ws, messages whole, up to 16777216 bytes",
        "keep-alive interval 120s, keep-alive timeout 240s, idle timeout off",
        "message timeout 60s, progress 1024 bytes",
        "workers 2, receive buffer ",
        "connections no limit",
        "compression shared, level 1, from 128 bytes, memory 67108864 bytes",
        "allowed origins: any",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
    for addr in addrs {
        let mut client = Client::connect(addr);
        client.open("/ws");
        client.send_text("hello");
        client.expect_text("hello");
    }
}

#[test]
fn the_printed_settings_are_the_ones_that_were_given() {
    let program = Program::echo(&[
        "--any-path",
        "--stream",
        "--max-message=1000",
        "--max-connections=7",
        "--memory=104857600",
        "--receive-buffer-size=4096",
        "--keep-alive-interval=0",
        "--keep-alive-timeout=2.5",
        "--idle-timeout=60",
        "--message-timeout=0",
        "--message-progress=1",
        "--allowed-origin=https://a.example",
        "--allowed-origin=http://localhost:8080",
        "--subprotocol=v2",
        "--subprotocol=v1",
        "--compress=takeover",
        "--compress-level=9",
        "--compress-threshold=1000",
        "--compress-memory=1048576",
    ]);
    let mut said = program.said.clone();
    said.push(next(&program.out));
    let said = said.join("\n");
    for part in [
        "echo on every path, messages in pieces, up to 1000 bytes",
        "keep-alive interval off, keep-alive timeout 2.5s, idle timeout 60s",
        "message timeout off, progress 1 bytes",
        "receive buffer 4096 bytes, connections 7, ",
        "memory of all connections 104857600 bytes",
        "compression takeover, level 9, from 1000 bytes, memory 1048576 bytes",
        "allowed origins: https://a.example, http://localhost:8080",
        "subprotocols: v2, v1",
    ] {
        assert!(said.contains(part), "{part:?} is not in:\n{said}");
    }
}

#[test]
fn a_port_in_use_is_one_clear_line_and_exit_code_1() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("an address").to_string();
    let output = run(&["echo", "--listen", &addr]);
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty());
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with(&format!("framewright: cannot listen on {addr}: ")), "{said}");
    assert!(said.contains("in use"), "{said}");
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    for (args, part) in [
        (&[][..], "Usage"),
        (&["eco"], "eco"),
        (&["echo", "--no-such-option"], "--no-such-option"),
        (&["echo", "extra"], "extra"),
        (&["echo", "--listen", "5000"], "ADDR:PORT"),
        (&["echo", "--listen", "127.0.0.1:65536"], "ADDR:PORT"),
        (&["echo", "--listen", "unix:"], "unix"),
        (&["echo", "--workers", "0"], "--workers"),
        (&["echo", "--path", "ws"], "--path"),
        (&["echo", "--path", "/a b"], "--path"),
        (&["echo", "--allowed-origin", "example.com"], "--allowed-origin"),
        (&["echo", "--allowed-origin", "https://a/path"], "--allowed-origin"),
        (&["echo", "--subprotocol", "a, b"], "--subprotocol"),
        (&["echo", "--subprotocol", ""], "--subprotocol"),
        (&["echo", "--keep-alive-interval", "-1"], "-1"),
        (&["echo", "--keep-alive-timeout", "soon"], "--keep-alive-timeout"),
        (&["echo", "--idle-timeout", "inf"], "--idle-timeout"),
        (&["echo", "--message-timeout", "x"], "--message-timeout"),
        (&["echo", "--message-progress", "-1"], "-1"),
        (&["echo", "--receive-buffer-size", "0"], "--receive-buffer-size"),
        (&["echo", "--receive-buffer-size", "1048577"], "1048577"),
        (&["echo", "--max-message", "1e6"], "--max-message"),
        (&["echo", "--max-connections", "many"], "--max-connections"),
        (&["echo", "--memory", "1G"], "--memory"),
        (&["echo", "--compress", "on"], "off, shared, takeover"),
        (&["echo", "--compress-level", "0"], "0 is not in 1..=9"),
        (&["echo", "--compress-level", "10"], "10 is not in 1..=9"),
        (&["echo", "--compress-threshold", "-1"], "-1"),
        (&["echo", "--compress-threshold", "1k"], "--compress-threshold"),
        (&["echo", "--compress-memory", "64M"], "--compress-memory"),
    ] {
        let output = run(args);
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_end_with_0() {
    for (args, part) in [(["--help"], "echo"), (["--version"], env!("CARGO_PKG_VERSION"))] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&output.stdout).contains(part));
    }
    let help = run(&["echo", "--help"]);
    let help = String::from_utf8_lossy(&help.stdout);
    for option in [
        "--listen",
        #[cfg(feature = "tls")]
        "--tls-listen",
        #[cfg(feature = "tls")]
        "--tls-cert",
        #[cfg(feature = "tls")]
        "--tls-key",
        #[cfg(feature = "tls")]
        "--tls-client-ca",
        #[cfg(feature = "aws-lc-rs")]
        "--tls-self-signed",
        "--workers",
        "--path",
        "--any-path",
        "--allowed-origin",
        "--trusted-proxy",
        "--forwarded-field",
        "--proxy-protocol",
        "--keep-alive-interval",
        "--keep-alive-timeout",
        "--idle-timeout",
        "--message-timeout",
        "--message-progress",
        "--receive-buffer-size",
        "--max-message",
        "--max-connections",
        "--memory",
        "--stream",
        "--subprotocol",
        "--compress",
        "--compress-level",
        "--compress-threshold",
        "--compress-memory",
        "--verbose",
    ] {
        assert!(help.contains(option), "{option}");
    }
}

#[test]
fn verbose_prints_one_line_a_connection_and_otherwise_nothing_is_printed() {
    for (args, expected) in [(&["-v"][..], 3), (&[], 0)] {
        let mut program = Program::echo(args);
        for number in 0..3 {
            program.open(&format!("/ws?{number}")).leave();
        }
        assert_eq!(program.request("GET", "/").status, 200);
        assert_eq!(program.interrupt(), Some(0));
        let lines: Vec<String> = program.err.iter().collect();
        assert_eq!(lines.len(), expected, "{lines:?}");
        assert!(lines.iter().all(|line| line.contains("127.0.0.1:") && line.contains("/ws")), "{lines:?}");
    }
}
