//! Signals: the program stops, pauses and goes on.

use crate::program::Program;
use framewright::CloseCode;
use framewright::frame::{OpCode, encode_frame};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn ctrl_c_tells_the_open_connections_and_says_so_and_ends_with_0() {
    for signal in ["-INT", "-TERM"] {
        let mut program = Program::echo(&[]);
        let mut clients = [program.open("/ws"), program.open("/ws")];
        for client in &mut clients {
            client.send_text("hello");
            client.expect_text("hello");
        }
        program.signal(signal);
        for client in &mut clients {
            assert_eq!(client.expect_close(1001), "server shutting down");
            client.send_close(CloseCode::GOING_AWAY, "");
            client.expect_end();
        }
        assert_eq!(program.wait().code(), Some(0), "{signal}");
        assert_eq!(program.err.iter().collect::<Vec<_>>(), [""; 0], "nothing to complain about");
        let said: Vec<_> = program.out.iter().collect();
        assert_eq!(said, ["stopping; told to leave within 5 s: 2 open connections", "ended"]);
    }
}

#[test]
fn without_connections_ctrl_c_ends_it_at_once() {
    assert_eq!(Program::echo(&["--workers", "3"]).interrupt(), Some(0));
}

#[test]
fn a_second_ctrl_c_does_not_wait_for_the_drain() {
    let mut program = Program::echo(&[]);
    let mut client = program.open("/ws");
    program.signal("-INT");
    client.expect_close(1001);
    // The client does not answer.
    assert_eq!(program.interrupt(), Some(1));
    client.expect_gone();
}

/// Stops the program's process, or lets it go on.
fn signal(program: &Program, name: &str) {
    let status = Command::new("kill").args([name, &program.child.id().to_string()]).status();
    assert!(status.expect("kill is there").success());
}

/// Whoever has closed the lid of a laptop, or runs in a container that was throttled, does not lose
/// healthy peers.
#[test]
fn a_pong_behind_much_else_counts_though_the_process_was_stopped_beyond_its_deadline() {
    // Until the machine is fast enough to be stopped in time.
    let seconds = [0.3, 3.0, 20.0];
    let tried = seconds.into_iter().any(|seconds: f64| {
        let timeout = Duration::from_secs_f64(seconds);
        let text = seconds.to_string();
        let program = Program::echo(&[
            "--keep-alive-interval",
            &text,
            "--keep-alive-timeout",
            &text,
            "--receive-buffer-size",
            "16384",
            "--workers",
            "1",
        ]);
        let mut client = program.connect();
        client.open("/ws");
        let ping = client.frame();
        let begun = Instant::now();
        assert_eq!(ping.opcode, OpCode::Ping);
        signal(&program, "-STOP");
        if begun.elapsed() > timeout / 2 {
            signal(&program, "-CONT");
            return false;
        }
        let mut bytes = Vec::new();
        for _ in 0..480 {
            encode_frame(&mut bytes, true, OpCode::Pong, &[7; 100], Some([1, 2, 3, 4]));
        }
        encode_frame(&mut bytes, true, OpCode::Pong, &ping.payload, Some([1, 2, 3, 4]));
        encode_frame(&mut bytes, true, OpCode::Text, b"still here", Some([1, 2, 3, 4]));
        let mut writer = client.try_clone();
        let (sent, all_sent) = mpsc::channel();
        thread::spawn(move || {
            writer.send(bytes);
            let _ = sent.send(()); // the test may be over
        });
        thread::sleep(timeout);
        // Where the kernel's buffers are too small for all of it there is nothing to see.
        let arrived = all_sent.try_recv().is_ok();
        signal(&program, "-CONT");
        if arrived {
            client.expect_text("still here");
        }
        true
    });
    assert!(tried, "a machine that needs ten seconds to stop a process");
}
