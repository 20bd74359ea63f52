//! An opening that is given up leaves nothing behind, whatever phase it was in.

use super::connecting::resolving;
use super::server::{Server, listener, read_head, read_to_end};
use super::{Driver, Opening, has_asked, progress, reaching, stage};
#[cfg(target_os = "linux")]
use crate::stream::ClientStream;
use framewright_driver::opening::Stage;
use std::io::Write as _;
use std::sync::Arc;

/// Drops the opening: afterwards nothing holds its event loop, its sockets are closed, and its
/// place at the gate is free.
fn give_up(driver: &Driver, opening: Opening) {
    let sockets = sockets(&opening);
    assert!(Arc::strong_count(&driver.waker) > 1);
    drop(opening);
    assert_eq!(Arc::strong_count(&driver.waker), 1);
    assert!(sockets.iter().all(|socket| !is_open(socket)), "{sockets:?}");
}

#[test]
fn while_a_name_is_resolved() {
    let driver = Driver::new();
    let (opening, answer) = resolving(&driver);
    give_up(&driver, opening);
    answer.send(Ok(Vec::new())).unwrap(); // the thread is there still, and ends with this
}

#[test]
fn while_it_waits_for_its_turn() {
    let silent = listener();
    let (holder, driver) = (Driver::new(), Driver::new());
    let _first = holder.open(&[silent.local_addr().unwrap()]);
    let opening = driver.open(&[silent.local_addr().unwrap()]);
    assert_eq!(stage(&opening), Stage::Connecting);
    give_up(&driver, opening);
}

#[cfg(target_os = "linux")]
#[test]
fn while_it_connects() {
    let holes = [super::connecting::BlackHole::new(), super::connecting::BlackHole::new()];
    let driver = Driver::new();
    let mut opening = driver.open(&[holes[0].address, holes[1].address]);
    let second = std::time::Duration::from_millis(250);
    assert!(driver.turn(&mut opening, second).unwrap().is_none());
    assert_eq!(sockets(&opening).len(), 2);
    give_up(&driver, opening);
}

#[test]
fn while_it_waits_for_the_answer() {
    let server = Server::once(|mut stream| {
        read_head(&mut stream);
        assert_eq!(read_to_end(&mut stream), b"");
    });
    let mut driver = Driver::new();
    let mut opening = driver.open(&[server.address]);
    driver.until(&mut opening, has_asked);
    give_up(&driver, opening);
    server.join();
}

#[test]
fn inside_the_answer_and_inside_the_body_of_a_refusal() {
    for (answer, expected) in [("HTTP/1.1 10", (11, false)), ("HTTP/1.1 404 \r\n\r\nwhat", (17, true))] {
        let server = Server::once(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(answer.as_bytes()).unwrap();
            assert_eq!(read_to_end(&mut stream), b"");
        });
        let mut driver = Driver::new();
        let mut opening = driver.open(&[server.address]);
        driver.until(&mut opening, |opening| progress(opening) == expected);
        give_up(&driver, opening);
        server.join();
    }
}

#[test]
fn after_an_error_nothing_is_left_of_it_even_if_it_is_kept() {
    let server = Server::answering("SSH-2.0-OpenSSH\r\n");
    let mut driver = Driver::new();
    let mut opening = driver.open(&[server.address]);
    let sockets = sockets(&opening);
    assert!(driver.finish(&mut opening).is_err());
    assert_eq!(stage(&opening), Stage::Ended);
    assert!(sockets.iter().all(|socket| !is_open(socket)));
    server.join();
}

/// The system's names for the sockets of an opening, which no other socket has.
#[cfg(target_os = "linux")]
fn sockets(opening: &Opening) -> Vec<std::path::PathBuf> {
    use std::os::fd::AsRawFd as _;

    let name = |stream: &mio::net::TcpStream| {
        std::fs::read_link(format!("/proc/self/fd/{}", stream.as_raw_fd())).unwrap()
    };
    let opening = reaching(opening);
    let connected = opening.stream().map(|stream| match stream {
        ClientStream::Tcp(stream) => name(stream),
        other => panic!("{other:?}"),
    });
    opening.attempts().map(name).chain(connected).collect()
}

#[cfg(target_os = "linux")]
fn is_open(socket: &std::path::Path) -> bool {
    std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| std::fs::read_link(entry.unwrap().path()).ok())
        .any(|name| name == socket)
}

/// Elsewhere the open sockets cannot be listed.
#[cfg(not(target_os = "linux"))]
fn sockets(_: &Opening) -> Vec<std::path::PathBuf> {
    Vec::new()
}

#[cfg(not(target_os = "linux"))]
fn is_open(_: &std::path::Path) -> bool {
    false
}
