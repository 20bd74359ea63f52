//! TLS, by the options of the program.

use crate::common::{Client, DEADLINE, next};
use crate::program::{PROGRAM, Program, run};
use crate::tls::{Ca, Connector, Issued, trust_anybody};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Files with a certificate, its key and its CA.
struct Files {
    folder: tempfile::TempDir,
    ca: Ca,
}

impl Files {
    fn new() -> Files {
        let files = Files { folder: tempfile::tempdir().expect("a folder"), ca: Ca::new("the CA") };
        files.write(&files.ca.issue(&["localhost"]));
        fs::write(files.path("ca.pem"), &files.ca.pem).expect("a file");
        files
    }

    fn write(&self, issued: &Issued) {
        fs::write(self.path("key.pem"), &issued.key).expect("a file");
        fs::write(self.path("chain.pem"), &issued.chain).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("a path in UTF-8").to_owned()
    }

    /// Starts the program with options that name the certificate, and more.
    fn start(&self, more: &[&str]) -> Program {
        let own = ["--tls-cert", &self.path("chain.pem"), "--tls-key", &self.path("key.pem")];
        start(&[&own, more].concat())
    }
}

fn start(args: &[&str]) -> Program {
    Program::start(Command::new(PROGRAM).arg("echo").args(args))
}

/// Where it says that it listens with TLS.
fn addr(program: &Program) -> SocketAddr {
    let addrs = program.listening();
    let mut addrs = addrs.iter().filter_map(|line| line.strip_suffix(" with TLS"));
    addrs.next().expect("an address with TLS").parse().expect("an address")
}

#[test]
fn both_kinds_are_served_at_once_and_the_page_over_https() {
    let files = Files::new();
    let program = files.start(&["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0"]);
    let (plain, with_tls) = (program.addr(), addr(&program));
    assert_eq!(program.listening().len(), 2);
    for line in [
        format!("open http://localhost:{}/ in a browser", plain.port()),
        format!("open https://localhost:{}/ in a browser", with_tls.port()),
    ] {
        assert!(program.said.contains(&line), "{line} is not in {:?}", program.said);
    }
    program.open("/ws").leave();
    let connector = Connector::new(&files.ca);
    let mut client = connector.open(with_tls, "/ws");
    client.send_text("hello");
    client.expect_text("hello");
    client.leave();
    let mut client = connector.connect(with_tls);
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let answer = client.answer();
    assert_eq!(answer.status, 200);
    // The page connects with the scheme that goes with its own.
    assert!(answer.text().contains("location.protocol === \"https:\" ? \"wss:\" : \"ws:\""));
    client.expect_end();
    // What watches the files ends with the server.
    let mut program = program;
    assert_eq!(program.interrupt(), Some(0));
}

#[test]
fn without_listen_there_is_tls_alone() {
    let files = Files::new();
    let program = files.start(&["--tls-listen", "127.0.0.1:0"]);
    assert_eq!(program.listening(), [format!("{} with TLS", addr(&program))]);
    Connector::new(&files.ca).open(addr(&program), "/ws").leave();
    let mut client = Client::connect(addr(&program));
    client.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(client.answer().status, 400);
}

#[test]
fn a_certificate_that_is_made_has_the_fingerprint_that_is_printed_and_names_the_host() {
    let program = start(&["--tls-self-signed", "--tls-listen", "127.0.0.1:0"]);
    let mut said = program.said.iter();
    let printed = said.find_map(|line| line.strip_prefix("certificate SHA-256 fingerprint "));
    let mut connector = Connector::new(&Ca::new("another"));
    let error = connector.try_connect(addr(&program)).expect_err("not trusted");
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    let seen = trust_anybody(&mut connector);
    connector.open(addr(&program), "/ws").leave();
    let shown = next(&seen);
    let digest: Vec<String> = Sha256::digest(&shown).iter().map(|octet| format!("{octet:02X}")).collect();
    assert_eq!(printed, Some(&*digest.join(":")));
    // Whoever trusts it by its fingerprint needs no other exception.
    for name in ["localhost", "127.0.0.1"] {
        Connector::trusting(&shown).named(name).open(addr(&program), "/ws").leave();
    }
}

#[test]
fn clients_need_a_certificate_of_the_ca_that_is_named() {
    let files = Files::new();
    let program = files.start(&["--tls-listen", "127.0.0.1:0", "--tls-client-ca", &files.path("ca.pem")]);
    let own = files.ca.issue(&["somebody"]);
    let version = [&rustls::version::TLS12];
    Connector::with(&files.ca, &version, Some(&own)).open(addr(&program), "/ws").leave();
    Connector::with(&files.ca, &version, None).try_connect(addr(&program)).expect_err("no certificate");
}

#[test]
fn files_that_have_changed_are_read_again_and_connections_stay() {
    let files = Files::new();
    let program = files.start(&["--tls-listen", "127.0.0.1:0", "-v"]);
    let (addr, connector) = (addr(&program), Connector::new(&files.ca));
    let mut client = connector.open(addr, "/ws");
    let before = client.server_certificate();
    let issued = files.ca.issue(&["localhost", "another-name-for-another-length.example"]);
    files.write(&issued);
    let until = Instant::now() + DEADLINE;
    loop {
        let now = connector.open(addr, "/ws").server_certificate();
        if now == issued.der() {
            break;
        }
        assert!(now == before && Instant::now() < until, "not before the deadline");
        thread::sleep(Duration::from_millis(50));
    }
    client.send_text("still here");
    client.expect_text("still here");
    // What cannot be used changes nothing, and is said.
    fs::write(files.path("key.pem"), "no key at all").expect("a file");
    while !next(&program.err).contains("cannot be used") {}
    assert_eq!(connector.open(addr, "/ws").server_certificate(), issued.der());
    client.leave();
}

#[test]
fn options_that_do_not_fit_together_are_told() {
    let files = Files::new();
    let missing = files.path("missing.pem");
    let (chain, key, ca) = (files.path("chain.pem"), files.path("key.pem"), files.path("ca.pem"));
    for (args, code, part) in [
        (&["--tls-listen", "127.0.0.1:0"][..], 2, "--tls-cert"),
        (&["--tls-client-ca", &ca], 2, "--tls-cert"),
        (&["--tls-cert", &chain], 2, "--tls-key"),
        (&["--tls-key", &key], 2, "--tls-cert"),
        (&["--tls-self-signed", "--tls-cert", &chain, "--tls-key", &key], 2, "cannot be used with"),
        (&["--tls-self-signed", "--listen", "127.0.0.1:0"], 1, "--tls-listen"),
        (&["--tls-cert", &chain, "--tls-key", &key, "--tls-key", &key], 1, "1 times --tls-cert, and 2"),
        (&["--tls-cert", &missing, "--tls-key", &key], 1, &missing),
        (&["--tls-cert", &chain, "--tls-key", &chain], 1, "no section with a PRIVATE KEY"),
    ] {
        let output = run(&[&["echo"], args].concat());
        let said = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(part), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}
