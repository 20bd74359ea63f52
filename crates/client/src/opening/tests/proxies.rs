//! Connections through an HTTP proxy.

use super::server::{Server, accept_on, field, read_head, read_to_end};
use super::{Driver, Opened, Options, has_asked, request};
use crate::{ConnectError, Proxy};
use framewright::handshake::{BasicCredentials, ResponseError};
use framewright_driver::opening::Stage;
use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier};
use std::time::Duration;

fn through(proxy: SocketAddr) -> Options {
    Options { proxy: Some(Proxy::new(&format!("http://{proxy}")).unwrap()), ..Options::default() }
}

/// Opens a connection to a host whose name only the proxy could resolve.
fn open(proxy: SocketAddr) -> Result<Opened, ConnectError> {
    open_with(through(proxy))
}

fn open_with(options: Options) -> Result<Opened, ConnectError> {
    let mut driver = Driver::new();
    let mut opening = driver.start(request("ws://no-such-host.invalid/chat"), options)?;
    driver.finish(&mut opening)
}

/// True if all bytes received have been read.
fn is_silent(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let result = stream.peek(&mut [0]);
    stream.set_nonblocking(false).unwrap();
    result.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# _Proxy Usage_: If the client is configured to use a proxy when
//# using the WebSocket Protocol to connect to host /host/ and port
//# /port/, then the client SHOULD connect to that proxy and ask it
//# to open a TCP connection to the host given by /host/ and the
//# port given by /port/.
#[test]
fn handshake_goes_through_the_tunnel_and_waits_for_it() {
    let proxy = Server::once(|mut stream| {
        let connect = read_head(&mut stream);
        assert!(connect.starts_with("CONNECT no-such-host.invalid:80 HTTP/1.1\r\n"), "{connect}");
        assert_eq!(field(&connect, "Host"), Some("no-such-host.invalid:80"));
        assert_eq!(field(&connect, "Proxy-Authorization"), None);
        for piece in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 ", "OK\r\nContent-Length: 5\r\n\r"] {
            stream.write_all(piece.as_bytes()).unwrap();
            assert!(is_silent(&stream));
        }
        stream.write_all(b"\n").unwrap();
        let head = accept_on(&mut stream);
        assert!(head.starts_with("GET /chat HTTP/1.1\r\nHost: no-such-host.invalid\r\n"), "{head}");
        stream.write_all(b"\x81\x05Hello").unwrap();
    });
    let opened = open(proxy.address).unwrap();
    assert_eq!(opened.uri.host(), "no-such-host.invalid");
    assert_eq!(opened.response.status(), 101);
    proxy.join();
}

#[test]
fn credentials_are_shown_to_the_proxy_and_not_to_the_server() {
    let credentials = BasicCredentials::new("Aladdin", "open sesame").unwrap();
    let proxy = Server::once(|mut stream| {
        let connect = read_head(&mut stream);
        assert_eq!(field(&connect, "Proxy-Authorization"), Some("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="));
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        assert!(!accept_on(&mut stream).contains("Authorization"));
    });
    let mut options = through(proxy.address);
    options.proxy = options.proxy.map(|proxy| proxy.with_credentials(credentials));
    open_with(options).unwrap();
    proxy.join();
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If the connection could not be opened, either because a direct
//# connection failed or because any proxy used returned an error,
//# then the client MUST _Fail the WebSocket Connection_ and abort
//# the connection attempt.
#[test]
fn a_proxy_that_refuses_is_told_from_a_server_that_does() {
    for (answer, status, body) in [
        ("HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 3\r\n\r\nwho", 407, "who"),
        ("HTTP/1.0 403 Filtered\r\n\r\nno", 403, "no"),
        ("HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", 302, ""),
        ("HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n", 101, ""),
    ] {
        let proxy = Server::answering(answer);
        let options = Options { redirects: 5, ..through(proxy.address) };
        let Err(ConnectError::ProxyRefused(response)) = open_with(options) else { panic!("{answer}") };
        assert_eq!((response.status(), response.body()), (status, body.as_bytes()));
        proxy.join();
    }
    let proxy = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
    });
    assert!(matches!(open(proxy.address), Err(ConnectError::Refused(response)) if response.status() == 404));
    proxy.join();
}

#[test]
fn octets_behind_the_proxys_answer_are_not_taken_for_the_servers() {
    let proxy = Server::answering("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
    assert!(matches!(open(proxy.address), Err(ConnectError::ProxyEarlyData)));
    proxy.join();
}

#[test]
fn a_proxy_that_breaks_a_rule_or_closes_fails() {
    let proxy = Server::answering("SSH-2.0-OpenSSH\r\n");
    assert!(matches!(open(proxy.address), Err(ConnectError::ProxyHandshake(ResponseError::NotHttp))));
    proxy.join();
    let proxy = Server::answering("");
    assert!(matches!(open(proxy.address), Err(ConnectError::ProxyHandshake(ResponseError::Closed))));
    proxy.join();
    let proxy = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n").unwrap();
        while stream.write_all(b"X-More: and more\r\n").is_ok() {}
    });
    let result = open(proxy.address);
    assert!(matches!(result, Err(ConnectError::ProxyHandshake(ResponseError::TooManyFields { .. }))));
    proxy.join();
}

/// One deadline covers the tunnel and the handshake inside it.
#[test]
fn a_silent_proxy_and_a_silent_server_behind_it_end_at_the_same_handshake_timeout() {
    for tunnel in [&b""[..], b"HTTP/1.1 200 OK\r\n\r\n"] {
        let proxy = Server::once(move |mut stream| {
            read_head(&mut stream);
            stream.write_all(tunnel).unwrap();
            read_to_end(&mut stream);
        });
        let mut driver = Driver::new();
        let mut opening =
            driver.start(request("ws://no-such-host.invalid/"), through(proxy.address)).unwrap();
        driver
            .until(&mut opening, |opening| has_asked(opening) && is_in_tunnel(opening) != tunnel.is_empty());
        assert_eq!(driver.due(&opening), Some(Duration::from_secs(10)));
        assert!(driver.turn(&mut opening, Duration::from_millis(9_999)).unwrap().is_none());
        let result = driver.turn(&mut opening, Duration::from_secs(10));
        assert!(matches!(result, Err(ConnectError::HandshakeTimeout)));
        proxy.join();
    }
}

fn is_in_tunnel(opening: &super::Opening) -> bool {
    matches!(super::stage(opening), Stage::Exchange { is_with_server: true, .. })
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If the client cannot determine the IP address of the remote host
//# (for example, because all communication is being done through a
//# proxy server that performs DNS queries itself), then the client
//# MUST assume for the purposes of this step that each host name
//# refers to a distinct remote host
#[test]
fn through_a_proxy_only_openings_to_the_same_name_wait_for_each_other() {
    let looked = Arc::new(Barrier::new(2));
    let wait = Arc::clone(&looked);
    let proxy = Server::new(move |listener| {
        let mut streams = [listener.accept().unwrap().0, listener.accept().unwrap().0];
        for stream in &mut streams {
            read_head(stream);
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        }
        wait.wait();
        for stream in &mut streams {
            accept_on(stream);
        }
        let mut third = listener.accept().unwrap().0;
        assert!(read_head(&mut third).starts_with("CONNECT A.invalid:80 "));
    });
    let (mut one, mut other, mut another) = (Driver::new(), Driver::new(), Driver::new());
    let start = |driver: &Driver, uri| driver.start(request(uri), through(proxy.address)).unwrap();
    let mut first = start(&one, "ws://a.invalid/");
    let mut second = start(&other, "ws://b.invalid/");
    let mut third = start(&another, "ws://A.invalid/");
    one.until(&mut first, is_in_tunnel);
    other.until(&mut second, is_in_tunnel);
    assert!(another.turn(&mut third, Duration::ZERO).unwrap().is_none());
    assert_eq!(super::stage(&third), Stage::Connecting);
    looked.wait();
    one.finish(&mut first).unwrap();
    other.finish(&mut second).unwrap();
    assert!(matches!(another.finish(&mut third), Err(ConnectError::ProxyHandshake(ResponseError::Closed))));
    proxy.join();
}

#[test]
fn a_redirect_goes_through_the_proxy_again() {
    let proxy = Server::new(|listener| {
        let tunnel = |host| {
            let (mut stream, _) = listener.accept().unwrap();
            assert!(read_head(&mut stream).starts_with(&format!("CONNECT {host} ")));
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            stream
        };
        let mut stream = tunnel("no-such-host.invalid:80");
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: ws://other.invalid:8080/\r\n\r\n").unwrap();
        accept_on(&mut tunnel("other.invalid:8080"));
    });
    let opened = open_with(Options { redirects: 1, ..through(proxy.address) }).unwrap();
    assert_eq!(opened.uri.to_string(), "ws://other.invalid:8080/");
    proxy.join();
}

#[test]
fn given_addresses_are_those_of_the_proxy() {
    let proxy = Server::once(|mut stream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        accept_on(&mut stream);
    });
    let named = Proxy::new("http://proxy.invalid:3128").unwrap();
    open_with(Options { proxy: Some(named), ..super::at(&[proxy.address]) }).unwrap();
    proxy.join();
}

/// The wait for other openings of this process is not the proxy's fault.
#[test]
fn waiting_too_long_for_a_turn_at_a_proxy_is_told_as_that() {
    let proxy = super::server::listener();
    let address = proxy.local_addr().unwrap();
    let start = |driver: &Driver| driver.start(request("ws://busy.invalid/"), through(address)).unwrap();
    let (holder, driver) = (Driver::new(), Driver::new());
    let _first = start(&holder);
    let mut second = start(&driver);
    assert!(driver.turn(&mut second, Duration::from_secs(119)).unwrap().is_none());
    assert_eq!(driver.due(&second), Some(Duration::from_secs(120)));
    let result = driver.turn(&mut second, Duration::from_secs(120));
    assert!(matches!(result, Err(ConnectError::TurnTimeout)), "{result:?}");
}

#[test]
fn a_proxy_that_cannot_be_connected_to_is_named() {
    let nobody = super::server::Nobody::new();
    let Err(ConnectError::Proxy(error)) = open(nobody.address) else { panic!("no such error") };
    assert!(matches!(*error, ConnectError::Connect(_)), "{error:?}");
}
