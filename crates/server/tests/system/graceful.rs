//! The example `graceful`, as a service manager stops it.

use crate::common::{Client, DEADLINE, wait_until};
use framewright_server::CloseCode;
use framewright_testkit::programs::process::{Running, found_in};
use framewright_testkit::programs::workspace::example;
use std::process::{Command, Stdio};

#[test]
fn the_example_says_goodbye_to_everybody_on_sigterm() {
    let mut command = Command::new(example("graceful").expect("an example that is built"));
    let mut program =
        Running::start("graceful", command.arg("127.0.0.1:0").stdout(Stdio::piped())).expect("it starts");
    let lines = found_in(program.0.stdout.take().expect("a pipe"), |line| Some(line.trim_end().to_owned()));
    let line = lines.recv_timeout(DEADLINE).expect("it says where it listens");
    let addr = line.strip_prefix("listening on ").expect("where it listens").parse().expect("an address");
    assert!(lines.recv_timeout(DEADLINE).is_ok_and(|hint| hint.starts_with("connect to ")));

    let mut client = Client::connect(addr);
    client.open("/ws");
    client.send_text("hello");
    client.expect_text("hello");
    let kill = Command::new("kill").args(["-TERM", &program.0.id().to_string()]).status();
    assert!(kill.expect("kill is there").success());
    client.expect_close(1001);
    client.send_close(CloseCode::GOING_AWAY, "");
    client.expect_end();
    assert_eq!(lines.recv_timeout(DEADLINE).as_deref(), Ok("stopped"));
    wait_until("the end of the program", || program.ended().is_some());
    assert!(program.ended().expect("just now").success());
}
