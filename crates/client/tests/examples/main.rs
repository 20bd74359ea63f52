//! The examples, run as a reader would, against servers that play a script.

#[path = "../common/mod.rs"]
mod common;

use crate::common::{DEADLINE, Listener, Server};
use framewright_testkit::programs::workspace::example;
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Runs an example to its end, which comes before the deadline.
fn run(name: &str, arguments: &[String]) -> Output {
    let program = example(name).expect("an example that is built");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program that runs");
    let begun = Instant::now();
    // It prints less than a pipe holds, so that it ends without being read.
    while child.try_wait().expect("a child").is_none() {
        if begun.elapsed() > DEADLINE {
            child.kill().expect("a child");
        }
        thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

#[track_caller]
fn expect_output(output: &Output, succeeds: bool, stdout: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.success(), succeeds, "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), stdout, "{said}");
}

#[test]
fn hello_prints_the_answer() {
    let server = Server::open(|peer| {
        peer.expect_text("hello");
        peer.script("text \"hello yourself\"");
        assert_eq!(peer.expect_close(1000), "done");
        peer.script("close 1000");
    });
    let output = run("hello", &[format!("ws://{}/", server.addr())]);
    expect_output(&output, true, "Text(\"hello yourself\")\nclosed with 1000, clean: true\n");
    server.end();
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn hello_trusts_the_platform_and_says_why_it_trusts_somebody_not() {
    let authority = common::certificates::Authority::new("The Authority");
    let config = authority.issue(&["localhost"]).server();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), authority.pem()).expect("a file");
    let run = |addr: std::net::SocketAddr, with_file: bool| {
        let mut command = Command::new(example("hello").expect("an example that is built"));
        command.arg(format!("wss://localhost:{}/", addr.port())).stdin(Stdio::null());
        if with_file {
            command.env("SSL_CERT_FILE", file.path()).env_remove("SSL_CERT_DIR");
        }
        command.output().expect("a program that runs")
    };
    let server = Server::open_tls(std::sync::Arc::clone(&config), |peer| {
        peer.expect_text("hello");
        peer.script("text \"hello yourself\"");
        peer.answer_close();
    });
    let output = run(server.addr(), true);
    expect_output(&output, true, "Text(\"hello yourself\")\nclosed with 1000, clean: true\n");
    server.end();

    let server = Server::start_raw(config, |peer| drop(peer.handshake().expect_err("the client leaves")));
    let output = run(server.addr(), false);
    expect_output(&output, false, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("Error: connecting: TLS: ") && said.contains("The Authority"), "{said}");
    server.end();
}

#[test]
fn hello_says_in_a_sentence_why_there_is_no_connection() {
    let server =
        Server::start(|peer| peer.answer_with("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let output = run("hello", &[format!("ws://{}/", server.addr())]);
    expect_output(&output, false, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("Error: connecting: ") && said.contains("403"), "{said}");
    server.end();
}

#[test]
fn feed_connects_again_until_it_is_closed_with_1000() {
    let server = Listener::bind().run(|listener| {
        listener.serve(|peer| {
            peer.upgrade();
            peer.script("text \"one\"; text \"two\"; close 1012");
            peer.expect_close(1012);
        });
        listener.serve(|peer| {
            peer.upgrade();
            peer.script("text \"three\"; close 1000");
            peer.expect_close(1000);
        });
    });
    let output = run("feed", &[format!("ws://{}/feed", server.addr())]);
    expect_output(&output, true, "one\ntwo\nthree\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.matches("connecting again in ").count(), 1, "{said}");
    server.end();
}

#[test]
fn feed_ends_where_the_next_attempt_would_fail_too() {
    let server =
        Server::start(|peer| peer.answer_with("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"));
    let output = run("feed", &[format!("ws://{}/feed", server.addr())]);
    expect_output(&output, false, "");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("403") && !said.contains("again"), "{said}");
    server.end();
}

#[test]
fn several_clients_each_print_their_answer() {
    let servers: Vec<Server> = (0..3)
        .map(|index| {
            Server::open(move |peer| {
                peer.expect_text(&format!("hello from {index}"));
                peer.script(&format!("text \"welcome {index}\""));
                assert_eq!(peer.expect_close(1000), "done");
                peer.script("close 1000");
            })
        })
        .collect();
    let uris: Vec<String> = servers.iter().map(|server| format!("ws://{}/", server.addr())).collect();
    let output = run("several", &uris);
    let mut lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    lines.sort();
    let expected = [0, 1, 2].map(|index| format!("{index}: Text(\"welcome {index}\")"));
    assert_eq!(lines, expected, "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success());
    servers.into_iter().for_each(Server::end);
}
