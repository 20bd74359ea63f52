//! Redirects.

use super::server::{Nobody, Server, accept_on, field, read_head};
use super::{Driver, Options, request};
use crate::{ClientTls, ConnectError};
use framewright::handshake::{FieldName, FieldValue};
use std::io::Write as _;
use std::net::TcpListener;

/// A server that redirects `times` requests to `location`.
fn redirect(listener: &TcpListener, times: u8, location: &str) {
    for _ in 0..times {
        let (mut stream, _) = listener.accept().unwrap();
        read_head(&mut stream);
        let answer = format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 5\r\n\r\nthere");
        stream.write_all(answer.as_bytes()).unwrap();
    }
}

/// Follows at most `redirects` redirects, starting at `server`.
fn follow(server: &Server, redirects: u8) -> Result<super::Opened, ConnectError> {
    let mut driver = Driver::new();
    let uri = format!("ws://{}/start", server.address);
    let cookie = (FieldName::from_static("Cookie"), FieldValue::from_static("id=7"));
    let request = request(&uri).with_field(cookie.0, cookie.1);
    let mut opening = driver
        .start(request, Options { redirects, tls: ClientTls::of_the_stream(), ..Options::default() })?;
    driver.finish(&mut opening)
}

#[test]
fn none_is_followed_unless_asked_for() {
    let server = Server::new(|listener| redirect(listener, 1, "/next"));
    let Err(ConnectError::Refused(response)) = follow(&server, 0) else { panic!() };
    assert_eq!((response.status(), response.body()), (302, &b"there"[..]));
    assert_eq!(response.field("Location"), Some(&b"/next"[..]));
    server.join();
}

#[test]
fn a_redirect_on_the_same_server_keeps_the_fields_and_the_new_uri_is_told() {
    let server = Server::new(|listener| {
        redirect(listener, 1, "/next?a");
        let head = accept_on(&mut listener.accept().unwrap().0);
        assert!(head.starts_with("GET /next?a HTTP/1.1\r\n"), "{head}");
        assert_eq!(field(&head, "Cookie"), Some("id=7"));
    });
    assert_eq!(follow(&server, 1).unwrap().uri.resource_name(), "/next?a");
    server.join();
}

#[test]
fn a_redirect_to_another_server_leaves_credentials_behind_and_is_not_at_the_given_addresses() {
    let other = Server::once(|mut stream| {
        let head = accept_on(&mut stream);
        assert_eq!(field(&head, "Cookie"), None);
    });
    let location = format!("http://{}/other", other.address);
    let server = Server::new(move |listener| redirect(listener, 1, &location));
    let mut driver = Driver::new();
    let cookie = (FieldName::from_static("Cookie"), FieldValue::from_static("id=7"));
    let request = request("ws://server.example/").with_field(cookie.0, cookie.1);
    let options = Options { redirects: 1, ..super::at(&[server.address]) };
    let mut opening = driver.start(request, options).unwrap();
    let opened = driver.finish(&mut opening).unwrap();
    assert_eq!(opened.uri.to_string(), format!("ws://{}/other", other.address));
    server.join();
    other.join();
}

#[test]
fn a_loop_ends_with_the_count() {
    let server = Server::new(|listener| redirect(listener, 4, "/again"));
    let Err(ConnectError::TooManyRedirects { limit: 3, response }) = follow(&server, 3) else { panic!() };
    assert_eq!((response.status(), response.body()), (302, &b"there"[..]));
    server.join();
}

#[test]
fn where_a_redirect_leads_has_to_pass_the_same_checks() {
    let server = Server::new(|listener| redirect(listener, 1, "wss://server.example/"));
    assert!(matches!(follow(&server, 5), Err(ConnectError::TlsNotSupported)));
    server.join();
    for location in
        ["/next#part", "ftp://server.example/", "ws://user@server.example/", "ws://server.example:0/"]
    {
        let server = Server::new(move |listener| redirect(listener, 1, location));
        assert!(matches!(follow(&server, 5), Err(ConnectError::Redirect(_))), "{location}");
        server.join();
    }
}

#[test]
fn a_redirect_to_where_nobody_listens_is_an_error_of_connecting() {
    let nobody = Nobody::new();
    let location = format!("ws://{}/", nobody.address);
    let server = Server::new(move |listener| redirect(listener, 1, &location));
    let Err(ConnectError::Connect(failures)) = follow(&server, 1) else { panic!() };
    assert_eq!(failures[0].0, nobody.address);
    server.join();
}
