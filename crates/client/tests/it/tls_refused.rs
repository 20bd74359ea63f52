//! Certificates and servers with which there is no connection by TLS, and what the user reads then.

use crate::common::certificates::{Authority, Identity, VERSIONS, provider, secure, secure_request};
use crate::common::{Kind, Peer, SOON, Server, through_both_apis};
use framewright_client::rustls::client::ResolvesClientCert;
use framewright_client::rustls::sign::{CertifiedKey, SingleCertAndKey};
use framewright_client::rustls::{CertificateError, ClientConfig, ServerConfig, SignatureScheme};
use framewright_client::{CertificateFault, ClientTls, ConnectError, Options, Proxy, TlsError};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

const HOST: &[&str] = &["localhost"];

/// Why there is no connection to a server with this certificate, by either API and with either
/// version.
fn refused(identity: &Identity, tls: &ClientTls) -> CertificateFault {
    let mut faults = Vec::new();
    for version in VERSIONS {
        for kind in [Kind::Blocking, Kind::EventLoop] {
            let config = identity.server_with(&[version], None);
            let server = Server::start_raw(config, |peer| peer.handshake().expect_err("the client leaves"));
            let error =
                kind.connect(secure_request(server.addr()), &secure(server.addr(), tls.clone())).err();
            // The server is told why, and not just cut off.
            let told = server.end().to_string();
            assert!(told.starts_with("received fatal alert"), "{told}");
            let is_permanent = error.as_ref().is_some_and(ConnectError::is_permanent);
            match error {
                Some(ConnectError::Tls(TlsError::Certificate(fault))) => faults.push((*fault, told)),
                other => panic!("{other:?}"),
            }
            // A certificate may be renewed, and a clock be set.
            let said = faults.last().expect("one more").0.to_string();
            assert_eq!(is_permanent, !said.contains(" UTC here"), "{said}");
        }
    }
    let (fault, told) = faults.pop().expect("four of them");
    // The clock goes on.
    let timeless = |fault: &CertificateFault| {
        let said = fault.to_string();
        said.split_once("; it is 20").map_or(said.clone(), |(said, _)| said.to_owned())
    };
    for (other, also_told) in faults {
        assert_eq!((timeless(&other), also_told), (timeless(&fault), told.clone()));
    }
    fault
}

//= https://www.rfc-editor.org/rfc/rfc6455#section-4.1
//= type=test
//# If /secure/ is true, the client MUST perform a TLS handshake over
//# the connection after opening the connection and before sending
//# the handshake data [RFC2818].  If this fails (e.g., the server's
//# certificate could not be verified), then the client MUST _Fail
//# the WebSocket Connection_ and abort the connection.  Otherwise,
//# all further communication on this channel MUST run through the
//# encrypted tunnel [RFC5246].
#[test]
fn an_expired_certificate_is_named_with_its_date() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue_with(HOST, |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    });
    let fault = refused(&identity, &authority.trusted());
    let said = fault.to_string();
    assert!(
        said.starts_with("the server's certificate (localhost) expired on 2024-02-29 00:00:00 UTC; it is 20"),
        "{said}"
    );
    assert!(said.ends_with(" UTC here"), "{said}");
    assert!(matches!(fault.reason(), CertificateError::ExpiredContext { .. }));
    assert_eq!((fault.subject(), fault.issuer()), (Some("localhost"), Some("The Authority")));
}

#[test]
fn a_certificate_of_the_future_is_named_with_its_date() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue_with(HOST, |params| {
        params.not_before = rcgen::date_time_ymd(2999, 12, 31);
        params.not_after = rcgen::date_time_ymd(3001, 1, 1);
    });
    let said = refused(&identity, &authority.trusted()).to_string();
    assert!(
        said.starts_with(
            "the server's certificate (localhost) is valid from 2999-12-31 00:00:00 UTC on; it is 20"
        ),
        "{said}"
    );
}

#[test]
fn an_expired_issuer_is_named_and_not_the_server() {
    let authority = Authority::new("The Authority");
    let between = authority.intermediate_with("In Between", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2024, 2, 29);
    });
    let fault = refused(&between.issue(HOST), &authority.trusted());
    let said = fault.to_string();
    assert!(
        said.starts_with(
            "a certificate that the server's depends on (In Between) expired on 2024-02-29 00:00:00 UTC"
        ),
        "{said}"
    );
    assert_eq!(fault.issuer(), Some("The Authority"));
}

#[test]
fn a_certificate_for_other_hosts_is_told_with_its_hosts() {
    let authority = Authority::new("The Authority");
    for (hosts, expected) in [
        (&["a.example", "*.b.example", "192.0.2.1"][..], "a.example, *.b.example, 192.0.2.1"),
        (&["a", "b", "c", "d", "e", "f", "g"], "a, b, c, d, e and 2 more"),
    ] {
        let fault = refused(&authority.issue(hosts), &authority.trusted());
        let name = hosts[0];
        assert_eq!(
            fault.to_string(),
            format!("the server's certificate ({name}) is not for localhost, but for {expected}")
        );
    }
}

#[test]
fn an_issuer_that_nobody_knows_is_named() {
    let (authority, other) = (Authority::new("The Authority"), Authority::new("Somebody Else"));
    let fault = refused(&other.issue(HOST), &authority.trusted());
    assert_eq!(
        fault.to_string(),
        "the server's certificate (localhost) is issued by Somebody Else, which this client does not trust; \
         no other certificate was shown, one in between may be missing"
    );
    assert!(!fault.is_self_signed());
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_told() {
    let authority = Authority::new("The Authority");
    let (shown, other) = (authority.issue(HOST), authority.issue(HOST));
    let mismatched = CertifiedKey::new(shown.chain(), other.certified_key().key);
    let danger = ClientTls::builder().danger_accept_invalid_certs().build().expect("settings");
    for version in VERSIONS {
        let mut config = ServerConfig::clone(&shown.server_with(&[version], None));
        config.cert_resolver = Arc::new(SingleCertAndKey::from(mismatched.clone()));
        let config = Arc::new(config);
        for tls in [&authority.trusted(), &danger] {
            let server = Server::start_raw(Arc::clone(&config), |peer| {
                peer.handshake().expect_err("the client leaves")
            });
            let error = Kind::Blocking
                .connect(secure_request(server.addr()), &secure(server.addr(), tls.clone()))
                .err();
            server.end();
            assert_eq!(
                error.expect("no TLS").to_string(),
                "TLS: the server does not have the key of the certificate that it shows (localhost)"
            );
        }
    }
}

/// A new authority that has the name of an old one.
#[test]
fn another_authority_of_the_same_name_is_told() {
    let (trusted, other) = (Authority::new("The Authority"), Authority::new("The Authority"));
    for identity in [other.issue(HOST), other.intermediate("In Between").issue(HOST)] {
        assert_eq!(
            refused(&identity, &trusted.trusted()).to_string(),
            "a signature in the server's certificates does not fit the authority that this client trusts \
             by that name (The Authority)"
        );
    }
}

#[test]
fn a_missing_certificate_in_between_is_guessed() {
    let authority = Authority::new("The Authority");
    let identity = authority.intermediate("In Between").issue(HOST);
    let complete = Server::open_tls(identity.server(), Peer::answer_close);
    let mut client = Kind::Blocking
        .connect(secure_request(complete.addr()), &secure(complete.addr(), authority.trusted()))
        .expect("a connection");
    client.start_close(1000, "").expect("an open connection");
    client.rest();
    complete.end();

    let said = refused(&identity.alone(), &authority.trusted()).to_string();
    assert_eq!(
        said,
        "the server's certificate (localhost) is issued by In Between, which this client does not trust; \
         no other certificate was shown, one in between may be missing"
    );
}

#[test]
fn the_last_of_a_chain_is_named_if_its_issuer_is_unknown() {
    let (authority, other) = (Authority::new("The Authority"), Authority::new("Somebody Else"));
    let identity = other.intermediate("Far").intermediate("Near").issue(HOST);
    assert_eq!(
        refused(&identity, &authority.trusted()).to_string(),
        "a certificate that the server's depends on (Far) is issued by Somebody Else, \
         which this client does not trust"
    );
}

#[test]
fn a_certificate_that_is_signed_by_itself_is_told() {
    let authority = Authority::new("The Authority");
    let fault = refused(&Identity::self_signed(HOST), &authority.trusted());
    assert_eq!(
        fault.to_string(),
        "the server's certificate (localhost) is signed by itself, and not one that this client trusts"
    );
    assert!(fault.is_self_signed());
}

#[test]
fn a_certificate_that_is_signed_by_itself_can_be_trusted() {
    let identity = Identity::self_signed(HOST);
    let tls = ClientTls::builder().only_ca_pem(identity.chain_pem()).build().expect("settings");
    let server = Server::open_tls(identity.server(), Peer::answer_close);
    let connected = Kind::Blocking.connect(secure_request(server.addr()), &secure(server.addr(), tls));
    let mut client = connected.expect("a connection");
    client.start_close(1000, "").expect("an open connection");
    client.rest();
    server.end();
}

/// What `openssl req -x509` makes unless it is told otherwise.
#[test]
fn a_certificate_of_an_authority_is_not_one_of_a_server() {
    let identity = Identity::self_signed_with(HOST, |params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    });
    let tls = ClientTls::builder().only_ca_pem(identity.chain_pem()).build().expect("settings");
    let said = refused(&identity, &tls).to_string();
    assert_eq!(
        said,
        "the server's certificate (localhost) is one of an authority (CA:TRUE), and a server's must not be: \
         openssl req -x509 makes another one with -addext basicConstraints=CA:FALSE"
    );
}

#[test]
fn a_certificate_for_clients_only_is_told() {
    let authority = Authority::new("The Authority");
    let identity = authority.issue_with(HOST, |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    });
    assert_eq!(
        refused(&identity, &authority.trusted()).to_string(),
        "the server's certificate (localhost) is not one for servers (extended key usage)"
    );
}

/// Text of a certificate must not reach a terminal as it is.
#[test]
fn names_of_strangers_are_escaped() {
    let authority = Authority::new("The Authority");
    let identity = Authority::new("Evil\n\u{1b}[2J").issue_with(HOST, |params| {
        params.distinguished_name.push(rcgen::DnType::CommonName, "a\r\nb");
    });
    let said = refused(&identity, &authority.trusted()).to_string();
    assert!(said.contains("(a\\r\\nb) is issued by Evil\\n\\u{1b}[2J, which"), "{said}");
}

#[test]
fn every_certificate_is_accepted_by_those_who_ask_for_danger() {
    let identity = Identity::self_signed(&["elsewhere.example"]);
    let tls = ClientTls::builder().danger_accept_invalid_certs().build().expect("settings");
    for version in VERSIONS {
        let server = Server::open_tls(identity.server_with(&[version], None), Peer::answer_close);
        let connected =
            Kind::Blocking.connect(secure_request(server.addr()), &secure(server.addr(), tls.clone()));
        let mut client = connected.expect("a connection");
        client.start_close(1000, "").expect("an open connection");
        client.rest();
        server.end();
    }
}

/// How a connection to a server ends that requires a certificate, and how many it has seen.
fn with_certificate(config: Arc<ServerConfig>, tls: &ClientTls, kind: Kind) -> (Option<ConnectError>, usize) {
    let server = Server::start_raw(config, |peer| {
        if peer.try_read_request().is_ok() {
            peer.upgrade();
            peer.answer_close();
        } else {
            // The alert is not overtaken by a reset.
            let _ = std::io::copy(&mut peer.stream(), &mut std::io::sink());
        }
        peer.tls().peer_certificates().map_or(0, <[_]>::len)
    });
    let connected = kind.connect(secure_request(server.addr()), &secure(server.addr(), tls.clone()));
    let error = match connected {
        Ok(mut client) => {
            client.start_close(1000, "").expect("an open connection");
            client.rest();
            None
        }
        Err(error) => Some(error),
    };
    (error, server.end())
}

#[test]
fn a_server_that_requires_a_certificate_gets_it_or_says_so() {
    let authority = Authority::new("The Authority");
    let (identity, own) = (authority.issue(HOST), authority.issue(&["me.example"]));
    let trusted = || ClientTls::builder().only_ca_pem(authority.pem());
    let with_own = trusted().identity_pem(own.chain_pem(), own.key_pem()).build().expect("settings");
    for version in VERSIONS {
        let config = identity.server_with(&[version], Some(&authority));
        through_both_apis(|kind| {
            let (error, seen) = with_certificate(Arc::clone(&config), &with_own, kind);
            assert!(error.is_none() && seen == 1, "{error:?}");
            let (error, seen) = with_certificate(Arc::clone(&config), &authority.trusted(), kind);
            let said = error.expect("a refusal").to_string();
            assert!(
                said.starts_with("TLS: the server ended TLS: it ") && said.contains("certificate"),
                "{said}"
            );
            assert_eq!(seen, 0);
        });
    }
}

#[test]
fn a_certificate_of_this_end_is_not_shown_to_other_origins_nor_to_proxies() {
    let authority = Authority::new("The Authority");
    let (identity, own) = (authority.issue(&["localhost", "127.0.0.1"]), authority.issue(&["me.example"]));
    let with_own = ClientTls::builder()
        .only_ca_pem(authority.pem())
        .identity_pem(own.chain_pem(), own.key_pem())
        .build()
        .expect("settings");
    let late = Arc::new(Late { has_certs: AtomicBool::new(false), key: Arc::new(own.certified_key()) });
    let config = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&VERSIONS);
    let config = config.expect("versions").with_root_certificates(authority.roots());
    let with_late = ClientTls::from(Arc::new(config.with_client_cert_resolver(late.clone())));
    // A certificate that is there only after the settings are.
    late.has_certs.store(true, Ordering::SeqCst);
    let asking = identity.server_with(&VERSIONS, Some(&authority));
    through_both_apis(|kind| expect_shown_to_origins(kind, &identity, &asking, &with_own));
    through_both_apis(|kind| expect_shown_to_origins(kind, &identity, &asking, &with_late));
}

/// A resolver of certificates that gets its certificate later.
#[derive(Debug)]
struct Late {
    has_certs: AtomicBool,
    key: Arc<CertifiedKey>,
}

impl ResolvesClientCert for Late {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.has_certs().then(|| Arc::clone(&self.key))
    }

    fn has_certs(&self) -> bool {
        self.has_certs.load(Ordering::SeqCst)
    }
}

/// The servers and proxies that may see the certificate of these settings, and those that may not.
fn expect_shown_to_origins(
    kind: Kind,
    identity: &Identity,
    asking: &Arc<ServerConfig>,
    with_own: &ClientTls,
) {
    let seen_by = |config: Arc<ServerConfig>, options: &Options, url: &dyn Fn(SocketAddr) -> String| {
        let server = Server::start_raw(config, |peer| {
            let _ = peer.try_read_request();
            peer.tls().peer_certificates().map_or(0, <[_]>::len)
        });
        let (request, options) = match url(server.addr()) {
            url if url.starts_with("https:") => {
                let mut proxy = Proxy::new(&url).expect("a proxy");
                if let Some(tls) = options.proxy.as_ref().and(Some(with_own)) {
                    proxy = proxy.with_tls(tls.clone());
                }
                let options = Options { proxy: Some(proxy), ..options.clone() };
                ("ws://server.example/".to_owned(), options)
            }
            url => (url, options.clone()),
        };
        assert!(kind.connect(request.parse().expect("a URI"), &options).is_err());
        server.end()
    };
    let options = Options { redirects: 1, tls: with_own.clone(), ..crate::common::plain() };
    let proxy_url = |addr: SocketAddr| format!("https://{addr}");
    assert_eq!(seen_by(Arc::clone(asking), &options, &|addr| format!("wss://{addr}/")), 1);
    assert_eq!(seen_by(Arc::clone(asking), &options, &proxy_url), 0);
    let any_proxy = Some(Proxy::new("http://proxy.example").expect("a proxy"));
    let of_proxy = Options { proxy: any_proxy, ..options.clone() };
    assert_eq!(seen_by(Arc::clone(asking), &of_proxy, &proxy_url), 1);

    let redirected = |addr: SocketAddr| {
        let first = Server::start_tls(identity.server(), move |peer| {
            peer.send(format!("HTTP/1.1 302 Found\r\nLocation: wss://{addr}/\r\nContent-Length: 0\r\n\r\n"));
            peer.wait_gone();
        });
        format!("wss://{}/", first.addr())
    };
    assert_eq!(seen_by(Arc::clone(asking), &options, &redirected), 0);
}

/// A server without TLS that does this with its client.
fn raw(play: impl FnOnce(std::net::TcpStream) + Send + 'static) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let addr = listener.local_addr().expect("a bound socket");
    (addr, thread::spawn(move || play(listener.accept().expect("a client").0)))
}

/// Sends this, ends its direction, and waits for the client's end.
fn answers(octets: &'static [u8]) -> impl FnOnce(std::net::TcpStream) + Send {
    use std::io::{Read as _, Write as _};
    move |mut stream| {
        assert!(stream.read(&mut [0; 4096]).expect("a ClientHello") > 0);
        stream.write_all(octets).expect("the client reads");
        let _ = stream.shutdown(Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
}

#[test]
fn a_server_without_tls_is_found_out() {
    let authority = Authority::new("The Authority");
    let tls = authority.trusted();
    type Expected = fn(&TlsError) -> bool;
    let cases: [(&[u8], Expected, &str); 5] = [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            |error| matches!(error, TlsError::NotTls { is_http: true }),
            "TLS: the server answered in plain text (HTTP): use ws:// or another port",
        ),
        (
            b"220 mail.example ESMTP\r\n",
            |error| matches!(error, TlsError::NotTls { is_http: false }),
            "TLS: the server does not speak TLS on this port: what it sent is something else",
        ),
        (
            b"",
            |error| matches!(error, TlsError::NotBegun),
            "TLS: the server ended the connection before TLS began: it may not speak TLS on this port",
        ),
        // Half the header of a record, and an alert that the handshake has failed.
        (
            b"\x16\x03",
            |error| matches!(error, TlsError::NotBegun),
            "TLS: the server ended the connection before TLS began: it may not speak TLS on this port",
        ),
        (
            b"\x15\x03\x03\x00\x02\x02\x28",
            |error| matches!(error, TlsError::Alert(_)),
            "TLS: the server ended TLS: it shares no way of encrypting with this client",
        ),
    ];
    through_both_apis(|kind| {
        for (octets, expected, said) in cases {
            let (addr, server) = raw(answers(octets));
            match kind.connect(secure_request(addr), &secure(addr, tls.clone())).err() {
                Some(error @ ConnectError::Tls(_)) => {
                    assert!(error.to_string().starts_with(said), "{error}");
                    assert_eq!(error.is_permanent(), !said.contains("ended the connection"), "{error}");
                    let ConnectError::Tls(error) = error else { unreachable!() };
                    assert!(expected(&error), "{error:?}");
                }
                other => panic!("{other:?} for {octets:?}"),
            }
            server.join().expect("no panic");
        }
    });
}

#[test]
fn a_proxy_without_tls_is_named_as_the_proxy() {
    let authority = Authority::new("The Authority");
    let elsewhere = authority.issue(&["elsewhere.example"]).server();
    let refused = |kind: Kind, addr: SocketAddr| {
        let proxy = Some(Proxy::new(&format!("https://localhost:{}", addr.port())).expect("a proxy"));
        let options = Options { proxy, ..secure(addr, authority.trusted()) };
        kind.connect(secure_request(addr), &options).err().expect("no tunnel").to_string()
    };
    through_both_apis(|kind| {
        let (addr, server) = raw(answers(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
        assert_eq!(
            refused(kind, addr),
            "TLS: the proxy answered in plain text (HTTP): use http:// or another port"
        );
        server.join().expect("no panic");

        let (addr, server) = raw(answers(b""));
        assert_eq!(
            refused(kind, addr),
            "TLS: the proxy ended the connection before TLS began: it may not speak TLS on this port"
        );
        server.join().expect("no panic");

        // The alert unrecognized_name.
        let (addr, server) = raw(answers(b"\x15\x03\x03\x00\x02\x02\x70"));
        assert_eq!(
            refused(kind, addr),
            "TLS: the proxy ended TLS: it does not serve the host that this client names \
             (alert UnrecognisedName)"
        );
        server.join().expect("no panic");

        let config = Arc::clone(&elsewhere);
        let server = Server::start_raw(config, |peer| drop(peer.handshake().expect_err("the client leaves")));
        assert_eq!(
            refused(kind, server.addr()),
            "TLS: the proxy's certificate (elsewhere.example) is not for localhost, but for elsewhere.example"
        );
        server.end();
    });
}

#[test]
fn a_silent_server_has_the_time_of_the_handshake() {
    use std::io::Read as _;
    let authority = Authority::new("The Authority");
    through_both_apis(|kind| {
        let (addr, server) = raw(|mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let options = Options { handshake_timeout: SOON, ..secure(addr, authority.trusted()) };
        let error = kind.connect(secure_request(addr), &options).err();
        assert!(matches!(error, Some(ConnectError::HandshakeTimeout)), "{error:?}");
        server.join().expect("no panic");
    });
}

#[test]
fn a_server_of_another_version_is_told_of() {
    let authority = Authority::new("The Authority");
    // A ServerHello of TLS 1.1.
    let mut hello = vec![0x16, 3, 2, 0, 42, 2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0x13, 1, 0]);
    let hello: &'static [u8] = hello.leak();
    let (addr, server) = raw(answers(hello));
    let error = Kind::Blocking.connect(secure_request(addr), &secure(addr, authority.trusted())).err();
    let said = error.expect("no TLS").to_string();
    assert_eq!(
        said,
        "TLS: the server shares no version of TLS with this client: TLS 1.2 and 1.3 are supported"
    );
    server.join().expect("no panic");
}

#[test]
fn what_cannot_be_set_up_is_told_before_anybody_is_connected_to() {
    let authority = Authority::new("The Authority");
    let own = authority.issue(&["me.example"]);
    let build =
        |change: &dyn Fn(framewright_client::ClientTlsBuilder) -> framewright_client::ClientTlsBuilder| {
            change(ClientTls::builder().only_ca_pem(authority.pem())).build().map(drop).unwrap_err()
        };
    let folder = tempfile::tempdir().expect("a folder");
    let missing = folder.path().join("missing.pem");
    let error = build(&|builder| builder.ca_file(&missing));
    assert!(matches!(&error, TlsError::File { path, .. } if *path == missing), "{error:?}");
    assert!(error.to_string().starts_with(&missing.display().to_string()), "{error}");
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "nothing").expect("a file");
    let error = build(&|builder| builder.ca_file(&empty));
    assert!(error.to_string().contains("empty.pem: no certificate"), "{error}");
    let error =
        build(&|builder| builder.ca_pem("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"));
    assert!(matches!(error, TlsError::Pem { path: None, .. }), "{error:?}");
    let said = "PEM text: certificate 1 in it cannot be an authority: ";
    let why = error.to_string();
    assert!(why.strip_prefix(said).is_some_and(|why| !why.contains("peer")), "{why}");
    let error = build(&|builder| builder.identity_pem(own.chain_pem(), own.chain_pem()));
    assert!(error.to_string().starts_with("PEM text: no private key"), "{error}");
    let error = build(&|builder| builder.identity_pem(authority.pem(), own.key_pem()));
    assert!(matches!(error, TlsError::Identity(_)), "{error:?}");
    let error = ClientTls::builder().without_platform_roots().build().map(drop).unwrap_err();
    assert!(matches!(error, TlsError::NoAuthorities(_)), "{error:?}");
    let files = folder.path().join("own.pem");
    std::fs::write(&files, own.key_pem() + &own.chain_pem()).expect("a file");
    ClientTls::builder()
        .only_ca_file(&files)
        .identity_files(&files, &files)
        .build()
        .expect("one file for all");

    // No certificate can be for a host that is no name.
    let addr = SocketAddr::from(([127, 0, 0, 1], 9));
    let request = "wss://a!b/".parse().expect("a URI");
    let error = Kind::Blocking.connect(request, &secure(addr, authority.trusted())).err();
    assert!(matches!(&error, Some(ConnectError::Tls(TlsError::Name(host))) if host == "a!b"), "{error:?}");
}

/// A variable of the environment or a form often makes one line of a PEM text.
#[test]
fn no_error_repeats_a_part_of_a_key() {
    let own = Authority::new("The Authority").issue(&["me.example"]);
    let secret: String = own.key_pem().lines().filter(|line| !line.starts_with("-----")).collect();
    for key in [own.key_pem().replace('\n', ""), own.key_pem().replace('\n', " ")] {
        for key in [format!("{key}{}", own.chain_pem()), format!("{key}-----"), format!("{key}."), key] {
            let builder = || ClientTls::builder().danger_accept_invalid_certs();
            for builder in [
                builder().identity_pem(own.chain_pem(), key.clone()),
                builder().identity_pem(key.clone(), own.key_pem()),
            ] {
                let error = builder.build().map(drop).expect_err("settings that cannot be used");
                let said = format!("{error} {error:?}");
                let bytes = |text: &str| format!("{:?}", text.as_bytes()).replace(['[', ']'], "");
                let mut parts =
                    secret.as_bytes().windows(16).map(|part| str::from_utf8(part).expect("base64"));
                let repeated = parts.find(|part| said.contains(part) || said.contains(&bytes(part)));
                assert_eq!(repeated, None, "{said}");
            }
        }
    }
}
