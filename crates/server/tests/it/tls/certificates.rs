//! Which certificate a client is shown, and which it has to show.

use super::client::{Ca, Connector, Issued, provider};
use super::{expect_refused, start, tls};
use crate::common::{TestServer, next};
use crate::scripted::{Scripted, accept};
use framewright_server::{ClientCertificates, ServerTls, TlsInfo};
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, Error};
use std::io;
use std::sync::mpsc::{self, Receiver};

/// The error of rustls behind an error of its streams.
fn of_rustls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

#[test]
fn a_client_is_shown_the_certificate_of_the_name_that_it_asks_for() {
    let ca = Ca::new("the CA");
    let first = ca.issue(&["localhost", "127.0.0.1", "a.example"]);
    let second = ca.issue(&["b.example", "*.b.example", "Upper.Example"]);
    let exact = ca.issue(&["www.b.example"]);
    let mut builder = ServerTls::builder();
    for issued in [&first, &second, &exact] {
        builder = builder.certificate_pem(&*issued.chain, &*issued.key);
    }
    let (tell, told) = mpsc::channel();
    let handler = Scripted::echo().0.request(move |request| {
        let tls = request.tls().expect("TLS");
        let _ = tell.send(tls.server_name().map(str::to_owned));
        accept(request)
    });
    let server = start(builder.build().expect("settings"), handler, |builder| builder);
    for version in [&TLS12, &TLS13] {
        let connector = Connector::with(&ca, &[version], None);
        for (asked, heard, issued) in [
            ("localhost", Some("localhost"), &first),
            ("a.example", Some("a.example"), &first),
            ("b.example", Some("b.example"), &second),
            ("other.b.example", Some("other.b.example"), &second),
            ("UPPER.example", Some("upper.example"), &second),
            ("www.b.example", Some("www.b.example"), &exact),
            ("127.0.0.1", None, &first),
        ] {
            let client = connector.clone().named(asked).open(server.addr(), "/");
            assert_eq!(client.server_certificate(), issued.der(), "{asked}");
            assert_eq!(next(&told).as_deref(), heard);
            client.leave();
        }
        // A wildcard stands for one label, and not for none.
        for unknown in ["x.y.b.example", "example", "c.example"] {
            let error =
                connector.clone().named(unknown).try_connect(server.addr()).expect_err("another name");
            assert!(matches!(of_rustls(&error), Some(Error::InvalidCertificate(_))), "{unknown}: {error}");
        }
    }
}

#[test]
fn a_client_is_shown_a_certificate_whose_key_it_supports() {
    let ca = Ca::new("the CA");
    let of = |algorithm| ca.issue_for(&["localhost"], &KeyPair::generate_for(algorithm).expect("a key"));
    let (first, second) = (of(&PKCS_ECDSA_P384_SHA384), of(&PKCS_ED25519));
    let builder = ServerTls::builder().certificate_pem(&*first.chain, &*first.key);
    let builder = builder.certificate_pem(&*second.chain, &*second.key);
    let server = start(builder.build().expect("settings"), Scripted::echo().0, |builder| builder);
    let client = Connector::new(&ca).open(server.addr(), "/");
    assert_eq!(client.server_certificate(), first.der());

    let mut provider = provider();
    // The CA's own key is of P-256, whose signatures have to be understood.
    let wanted = [rustls::SignatureScheme::ED25519, rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
    let mapping = provider.signature_verification_algorithms.mapping;
    let mapping: Vec<_> = mapping.iter().filter(|(scheme, _)| wanted.contains(scheme)).copied().collect();
    provider.signature_verification_algorithms.mapping = mapping.leak();
    let client = Connector::by(provider, &ca, &[&TLS13], None).open(server.addr(), "/");
    assert_eq!(client.server_certificate(), second.der());
}

/// A server that asks for certificates of this CA, and tells those of each request.
fn start_asking(
    ca: &Ca,
    clients_ca: &Ca,
    clients: Option<ClientCertificates>,
) -> (TestServer, Receiver<Option<Vec<Vec<u8>>>>) {
    let issued = ca.issue(&["localhost"]);
    let mut builder = ServerTls::builder().certificate_pem(&*issued.chain, &*issued.key);
    builder = builder.client_ca_pem(&*clients_ca.pem);
    if let Some(clients) = clients {
        builder = builder.client_certificates(clients);
    }
    let (tell, told) = mpsc::channel();
    let handler = Scripted::echo().0.request(move |request| {
        let chain = request.tls().and_then(|tls: TlsInfo<'_>| tls.peer_certificates());
        let _ = tell.send(chain.map(|chain| chain.iter().map(|one| one.to_vec()).collect()));
        accept(request)
    });
    (start(builder.build().expect("settings"), handler, |builder| builder), told)
}

/// Connects, and echoes a message. In TLS 1.3 a client learns only then that it was refused.
fn try_echo(server: &TestServer, connector: &Connector) -> io::Result<()> {
    let mut client = connector.try_connect(server.addr())?;
    client.try_send(crate::common::upgrade_request("/", ""))?;
    let mut octets = [0; 12];
    match client.read_some(&mut octets)? {
        12 => assert_eq!(&octets, b"HTTP/1.1 101"),
        count => panic!("{count} octets"),
    }
    Ok(())
}

#[test]
fn a_client_without_a_certificate_of_the_ca_does_not_get_through_where_one_is_required() {
    let (ca, clients_ca) = (Ca::new("the CA"), Ca::new("the CA of clients"));
    for clients in [None, Some(ClientCertificates::Required)] {
        let (server, told) = start_asking(&ca, &clients_ca, clients);
        let mut refused = 0;
        for version in [&TLS12, &TLS13] {
            let own = clients_ca.issue(&["somebody"]);
            try_echo(&server, &Connector::with(&ca, &[version], Some(&own)))
                .expect("a certificate of the CA");
            assert_eq!(next(&told), Some(vec![own.der().to_vec()]));

            let none: (Option<Issued>, &[AlertDescription]) =
                (None, &[AlertDescription::CertificateRequired, AlertDescription::HandshakeFailure]);
            let other = (Some(ca.issue(&["somebody"])), &[AlertDescription::UnknownCA][..]);
            for (own, expected) in [none, other] {
                let error = try_echo(&server, &Connector::with(&ca, &[version], own.as_ref()));
                let error = error.expect_err("no certificate of the CA");
                let Some(Error::AlertReceived(alert)) = of_rustls(&error) else { panic!("{error}") };
                assert!(expected.contains(alert), "{alert:?}");
                refused += 1;
                expect_refused(&server, refused, |refused| refused.tls);
            }
        }
        assert_eq!(told.try_recv().ok(), None, "no handler was asked");
    }
}

#[test]
fn a_client_may_come_without_a_certificate_where_it_is_optional_and_not_with_a_wrong_one() {
    let (ca, clients_ca) = (Ca::new("the CA"), Ca::new("the CA of clients"));
    let (server, told) = start_asking(&ca, &clients_ca, Some(ClientCertificates::Optional));
    for version in [&TLS12, &TLS13] {
        try_echo(&server, &Connector::with(&ca, &[version], None)).expect("no certificate");
        assert_eq!(next(&told), None);
        let own = clients_ca.issue(&["somebody"]);
        try_echo(&server, &Connector::with(&ca, &[version], Some(&own))).expect("a certificate of the CA");
        assert_eq!(next(&told), Some(vec![own.der().to_vec()]));
        let wrong = ca.issue(&["somebody"]);
        try_echo(&server, &Connector::with(&ca, &[version], Some(&wrong))).expect_err("of another CA");
    }
    expect_refused(&server, 2, |refused| refused.tls);
}

#[test]
fn a_client_that_does_not_trust_the_server_is_counted() {
    let (ca, other) = (Ca::new("the CA"), Ca::new("another CA"));
    let server = start(tls(&ca.issue(&["localhost"])), Scripted::echo().0, |builder| builder);
    let error = Connector::new(&other).try_connect(server.addr()).expect_err("another CA");
    assert!(matches!(of_rustls(&error), Some(Error::InvalidCertificate(_))), "{error}");
    expect_refused(&server, 1, |refused| refused.tls);
}

#[test]
fn a_client_that_offers_only_other_protocols_is_refused() {
    let ca = Ca::new("the CA");
    let server = start(tls(&ca.issue(&["localhost"])), Scripted::echo().0, |builder| builder);
    let mut connector = Connector::new(&ca);
    connector.config.alpn_protocols = vec![b"h2".to_vec()];
    let error = connector.try_connect(server.addr()).expect_err("no protocol");
    let alert = Some(&Error::AlertReceived(AlertDescription::NoApplicationProtocol));
    assert_eq!(of_rustls(&error), alert);
    expect_refused(&server, 1, |refused| refused.tls);
}
