//! The page, and requests that are no opening handshakes.

use crate::program::Program;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

#[test]
fn a_path_of_ones_own_replaces_ws_on_the_page_too() {
    let program = Program::echo(&["--path", "/chat"]);
    let mut client = program.open("/chat");
    client.send_text("hello");
    client.expect_text("hello");
    assert_eq!(program.connect().upgrade("/ws", "").status, 404);
    assert!(program.request("GET", "/").text().contains("data-path=\"/chat\""));
}

#[test]
fn any_path_echoes_everywhere_and_still_serves_the_page() {
    let program = Program::echo(&["--any-path"]);
    for path in ["/", "/ws", "/runCase?case=1&agent=x", "/a/b/c"] {
        let mut client = program.open(path);
        client.send_text(path);
        client.expect_text(path);
    }
    assert_eq!(program.request("GET", "/").status, 200);
    assert_eq!(program.request("GET", "/elsewhere").status, 400);
}

#[test]
fn the_root_can_be_the_path() {
    let program = Program::echo(&["--path", "/"]);
    let mut client = program.open("/");
    client.send_text("hello");
    client.expect_text("hello");
    assert_eq!(program.request("GET", "/").status, 200);
}

#[test]
fn the_page_comes_with_a_policy_that_allows_what_is_in_it_and_no_more() {
    let program = Program::echo(&[]);
    let answer = program.request("GET", "/");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("Content-Type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer.field("X-Content-Type-Options"), Some("nosniff"));
    assert_eq!(answer.field("Content-Length"), Some(answer.body.len().to_string().as_str()));
    let page = answer.text();
    assert!(page.contains("<h1>WebSocket Sample Application</h1>"));
    let inside = |tag: &str| {
        let (_, rest) = page.split_once(&format!("<{tag}>")).expect("the element");
        rest.split_once(&format!("</{tag}>")).expect("its end").0
    };
    let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    let policy = answer.field("Content-Security-Policy").expect("a policy");
    for directive in [
        "default-src 'none'".to_owned(),
        format!("style-src 'sha256-{}'", hash(inside("style"))),
        format!("script-src 'sha256-{}'", hash(inside("script"))),
        "base-uri 'none'".to_owned(),
        "form-action 'none'".to_owned(),
        "frame-ancestors 'none'".to_owned(),
    ] {
        assert!(policy.split("; ").any(|found| found == directive), "{directive:?} is not in {policy:?}");
    }
    assert!(!policy.contains("unsafe") && !policy.contains('*'));
    assert!(!page.contains(" style=\"") && !page.contains(" onclick="), "the policy would block it");
}

#[test]
fn who_has_the_page_is_not_sent_it_again() {
    for args in [&[][..], &["--any-path"], &["--path", "/"]] {
        let program = Program::echo(args);
        let tag = program.request("GET", "/").field("ETag").expect("a tag").to_owned();
        let mut client = program.connect();
        client.send(format!("GET / HTTP/1.1\r\nHost: localhost\r\nIf-None-Match: {tag}\r\n\r\n"));
        let answer = client.answer_head();
        assert_eq!((answer.status, answer.field("ETag")), (304, Some(&tag[..])), "{args:?}");
        client.expect_end();
    }
}

#[test]
fn a_page_beside_the_echo_allows_what_it_answers() {
    for args in [&["--any-path"][..], &["--path", "/"]] {
        let answer = Program::echo(args).request("POST", "/");
        assert_eq!((answer.status, answer.field("Allow")), (405, Some("GET, HEAD")), "{args:?}");
    }
}

#[test]
fn other_requests_are_answered_with_what_is_wrong() {
    let program = Program::echo(&[]);
    for (method, path, status, allow) in [
        ("GET", "/ws", 400, None),
        ("POST", "/ws", 405, Some("GET")),
        ("POST", "/", 405, Some("GET, HEAD")),
        ("GET", "/favicon.ico", 404, None),
        ("GET", "/ws/", 404, None),
        ("GET", "/index.html", 404, None),
    ] {
        let answer = program.request(method, path);
        assert_eq!((answer.status, answer.field("Allow")), (status, allow), "{method} {path}");
        assert_eq!(answer.field("Content-Type"), Some("text/plain; charset=utf-8"));
    }
    let mut client = program.connect();
    client.send("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer_head();
    assert_eq!(answer.status, 200);
    assert!(answer.field("Content-Length").expect("a length").len() >= 4);
    client.expect_end();
}
