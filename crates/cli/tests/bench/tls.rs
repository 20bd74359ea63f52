//! `framewright bench` over TLS, against servers on threads, on rustls.

use crate::support::{answer_frames, bench, complaint, frame, number, raw_echo, report, serve};
use framewright_driver::tls::provider;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::server::NoServerSessionStorage;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use tempfile::TempDir;

type Stream = StreamOwned<ServerConnection, TcpStream>;

/// A server over TLS, and the folder with its certificate, `cert.pem`.
struct Server {
    addr: SocketAddr,
    folder: TempDir,
}

impl Server {
    /// With a certificate for this name, which resumes sessions or not.
    fn start(name: &str, resumes: bool, each: fn(Stream) -> io::Result<()>) -> Server {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).expect("a certificate");
        let folder = tempfile::tempdir().expect("a folder for scratch files");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("written");
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let mut config = ServerConfig::builder_with_provider(provider().expect("one is compiled in"))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .expect("a key of this certificate");
        if !resumes {
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        let config = Arc::new(config);
        let addr = serve(move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            each(StreamOwned::new(session, stream))
        });
        Server { addr, folder }
    }

    fn cert(&self) -> PathBuf {
        self.folder.path().join("cert.pem")
    }

    /// The option that trusts it.
    fn ca(&self) -> String {
        format!("--ca {}", self.cert().display())
    }

    fn url(&self) -> String {
        format!("wss://127.0.0.1:{}/", self.addr.port())
    }
}

/// Sends messages back, and a Close.
fn echo(stream: Stream) -> io::Result<()> {
    answer_frames(stream, |_, opcode, payload| frame(opcode, payload))
}

#[test]
fn messages_of_every_size_come_back_over_tls() {
    let server = Server::start("127.0.0.1", true, echo);
    let load = "--verify --in-flight 3 --size 0,20:3,3000,17K,300K";
    let report = report(&server.url(), &format!("{load} {}", server.ca()));
    assert!(number(&report["messages"]) > 0.0);
    assert_eq!(report["tls"]["version"], "TLSv1_3");
    assert_eq!((&report["tls"]["full"], &report["tls"]["resumed"]), (&3.into(), &0.into()));
}

#[test]
fn an_echo_without_a_protocol_is_the_floor_under_tls() {
    let server = Server::start("127.0.0.1", true, raw_echo);
    let url = format!("tls://{}", server.addr);
    for args in ["--verify --size 20,3000 --in-flight 3", "--size 1M", "--connect-rate", "--rate 500"] {
        assert!(number(&report(&url, &format!("{args} {}", server.ca()))["messages"]) > 0.0, "{args}");
    }
}

#[test]
fn a_cipher_suite_can_be_chosen() {
    let server = Server::start("127.0.0.1", true, echo);
    for suite in ["TLS13_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384"] {
        let report = report(&server.url(), &format!("--cipher-suite {suite} {}", server.ca()));
        assert_eq!(report["tls"]["cipher_suite"], suite);
    }
    let (code, said) = complaint(&server.url(), &format!("--cipher-suite NULL {}", server.ca()));
    assert!(code == Some(1) && said.contains("NULL") && said.contains("TLS13_AES_128_GCM_SHA256"), "{said}");
}

#[test]
fn sessions_are_resumed_when_that_is_asked_for() {
    let server = Server::start("127.0.0.1", true, echo);
    let full = report(&server.url(), &format!("--connect-rate {}", server.ca()));
    assert!(number(&full["tls"]["full"]) > 0.0 && full["tls"]["resumed"] == 0, "{full}");
    // As many as may begin in one turn of the loop.
    let options = "--connect-rate --resume --connections 40";
    let resumed = report(&server.url(), &format!("{options} {}", server.ca()));
    assert!(number(&resumed["tls"]["resumed"]) > 0.0 && resumed["tls"]["full"] == 0, "{resumed}");
}

#[test]
fn a_server_that_does_not_resume_is_told_of() {
    let server = Server::start("127.0.0.1", false, echo);
    let (code, said) = complaint(&server.url(), &format!("--connect-rate --resume {}", server.ca()));
    assert!(code == Some(1) && said.contains("did not resume"), "{code:?} {said}");
}

#[test]
fn a_certificate_is_accepted_from_whom_it_should_be() {
    let server = Server::start("127.0.0.1", true, echo);
    let other = Server::start("elsewhere.test", true, echo);
    for (url, args, part) in [
        (server.url(), other.ca(), "invalid peer certificate"),
        (other.url(), other.ca(), "elsewhere.test"),
        (server.url(), "--ca /nowhere.pem".to_owned(), "/nowhere.pem"),
    ] {
        let (code, said) = complaint(&url, &args);
        assert!(code == Some(1) && said.contains(part) && said.lines().count() == 1, "{args}: {said}");
    }
    assert!(number(&report(&other.url(), "--insecure")["messages"]) > 0.0);
}

#[test]
fn options_of_tls_are_for_tls() {
    for (url, args, part) in [
        ("ws://localhost/", "--insecure", "wss://"),
        ("tcp://localhost:7", "--cipher-suite TLS13_AES_128_GCM_SHA256", "wss://"),
        ("wss://localhost/", "--insecure --ca /x", "--ca"),
        ("wss://localhost/", "--insecure --resume", "--connect-rate"),
    ] {
        let (code, said) = complaint(url, args);
        assert!(code == Some(2) && said.contains(part), "{url} {args}: {code:?} {said}");
    }
}

#[test]
fn a_server_without_tls_is_told_of() {
    let addr = serve(|mut stream| stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    let (code, said) = complaint(&format!("wss://{addr}/"), "--insecure");
    assert!(code == Some(1) && said.contains("speaks HTTP"), "{code:?} {said}");
}

#[test]
fn compression_is_agreed_on_over_tls() {
    let server = Server::start("127.0.0.1", true, echo);
    // This server knows no extension.
    let (code, said) = complaint(&server.url(), &format!("--compress shared {}", server.ca()));
    assert!(code == Some(1) && said.contains("permessage-deflate"), "{code:?} {said}");
}

#[test]
fn text_names_what_was_agreed_on() {
    let server = Server::start("127.0.0.1", true, echo);
    let output = bench(&server.url(), &server.ca());
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(said.contains("tls         TLSv1_3, "), "{said}");
}
