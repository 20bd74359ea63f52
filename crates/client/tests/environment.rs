//! What the environment says of proxies, to those who ask, and of certificate authorities. A program
//! of its own: the environment belongs to the whole process.

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod common;

use framewright_client::blocking::Client;
use framewright_client::{ClientRequest, ConnectError, Options, Proxy};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::{env, thread};

#[test]
fn environment_is_not_looked_at_unless_asked() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let server = thread::spawn(move || {
        // The server and the proxy in one: which it is taken for shows in the first line.
        [(); 2].map(|()| {
            let (mut stream, _) = listener.accept().unwrap();
            let head = BufReader::new(&stream).lines().map_while(Result::ok);
            let line = head.take_while(|line| !line.is_empty()).reduce(|first, _| first).unwrap();
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
            line
        })
    });
    let mut program = Command::new(env::current_exe().unwrap());
    for name in ["http_proxy", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY", "REQUEST_METHOD"] {
        program.env_remove(name);
    }
    let program = program
        .args(["--exact", "in_an_environment_with_a_proxy", "--ignored"])
        .env("HTTP_PROXY", format!("http://{address}"))
        .output()
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stdout));
    let [direct, through_proxy] = server.join().unwrap();
    assert_eq!(direct, "GET / HTTP/1.1");
    assert_eq!(through_proxy, format!("CONNECT {address} HTTP/1.1"));
}

#[test]
#[ignore = "run by the other test, which sets the environment"]
fn in_an_environment_with_a_proxy() {
    let proxy = env::var("HTTP_PROXY").unwrap();
    let request: ClientRequest = proxy.replace("http:", "ws:").parse().unwrap();
    let direct = Client::connect_with(request.clone(), &Options::default());
    assert!(matches!(direct, Err(ConnectError::Refused(_))));
    let proxy = Proxy::from_env(request.uri()).unwrap();
    let through_proxy = Client::connect_with(request, &Options { proxy, ..Options::default() });
    assert!(matches!(through_proxy, Err(ConnectError::ProxyRefused(_))));
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn authorities_of_the_platform_are_those_that_the_environment_names() {
    use common::certificates::Authority;
    use common::{Peer, Server};

    let authority = Authority::new("The Authority");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), authority.pem()).unwrap();
    let server = Server::open_tls(authority.issue(&["127.0.0.1"]).server(), Peer::answer_close);
    let program = Command::new(env::current_exe().unwrap())
        .args(["--exact", "in_an_environment_with_authorities", "--ignored"])
        .env("SSL_CERT_FILE", file.path())
        .env_remove("SSL_CERT_DIR")
        .env("SERVER", format!("wss://{}/", server.addr()))
        .output()
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stdout));
    server.end();
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
#[ignore = "run by the other test, which sets the environment"]
fn in_an_environment_with_authorities() {
    use framewright_client::{ClientTls, CloseCode};

    let mut client = Client::connect(&env::var("SERVER").unwrap()).unwrap();
    assert!(client.tls().is_some());
    assert!(client.close_and_wait(CloseCode::NORMAL, "").unwrap().clean);
    // Settings of one's own begin with the same.
    ClientTls::builder().build().unwrap();
}

/// A name of a file that a short line of a log would cut.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn a_file_of_authorities_that_is_missing_is_named_in_full() {
    let missing = env::temp_dir().join("not there ".repeat(20)).join("Let's encrypt.pem");
    run_with_authorities("in_an_environment_with_a_missing_file", &missing);
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
#[ignore = "run by the other test, which sets the environment"]
fn in_an_environment_with_a_missing_file() {
    use framewright_client::ClientTls;

    let said = ClientTls::builder().build().map(drop).unwrap_err().to_string();
    assert!(said.contains(&env::var("SSL_CERT_FILE").unwrap()), "{said}");
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
fn own_authorities_do_without_those_of_the_platform() {
    run_with_authorities("in_an_environment_without_authorities", "/dev/null".as_ref());
}

#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
#[test]
#[ignore = "run by the other test, which sets the environment"]
fn in_an_environment_without_authorities() {
    use common::certificates::Authority;
    use framewright_client::{ClientTls, TlsError};

    let none = ClientTls::builder().build().map(drop);
    assert!(matches!(none, Err(TlsError::NoAuthorities(_))), "{none:?}");
    ClientTls::builder().ca_pem(Authority::new("The Authority").pem()).build().unwrap();
}

/// Runs an ignored test of this program where the platform's authorities are those of `file`.
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
fn run_with_authorities(test: &str, file: &std::path::Path) {
    let program = Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--ignored"])
        .env("SSL_CERT_FILE", file)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    assert!(program.status.success(), "{}", String::from_utf8_lossy(&program.stdout));
    assert!(String::from_utf8_lossy(&program.stdout).contains("1 passed"));
}
