//! Settings that cannot be used, and what is said about them.

use super::client::{Ca, Connector, provider};
use super::start;
use crate::common::TestServer;
use crate::scripted::Scripted;
use framewright_server::{ClientCertificates, Endpoint, Server, ServerTls, ServerTlsBuilder, SetTlsError};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

#[track_caller]
fn error(builder: ServerTlsBuilder) -> String {
    builder.build().map(drop).expect_err("settings that cannot be used").to_string()
}

#[test]
fn certificate_and_key_come_from_files_or_from_one() {
    let ca = Ca::new("the CA");
    let issued = ca.issue(&["localhost"]);
    let folder = tempfile::tempdir().expect("a folder");
    let (chain, key, both) =
        (folder.path().join("chain.pem"), folder.path().join("key.pem"), folder.path().join("both.pem"));
    fs::write(&chain, &issued.chain).expect("a file");
    fs::write(&key, &issued.key).expect("a file");
    fs::write(&both, format!("{}{}", issued.key, issued.chain)).expect("a file");
    for (chain, key) in [(&chain, &key), (&both, &both)] {
        let tls = ServerTls::from_pem_files(chain, key).expect("settings");
        let server = start(tls, Scripted::echo().0, |builder| builder);
        Connector::new(&ca).open(server.addr(), "/").leave();
    }
}

#[test]
fn errors_say_which_file_and_which_part_of_it() {
    let ca = Ca::new("the CA");
    let (issued, other) = (ca.issue(&["localhost"]), ca.issue(&["localhost"]));
    let folder = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a file");
        path
    };
    let (chain, key) = (file("chain.pem", &issued.chain), file("key.pem", &issued.key));
    let missing = folder.path().join("missing.pem");
    let found = error(ServerTls::builder().certificate_files(&chain, &missing));
    assert!(found.starts_with(&format!("{}: ", missing.display())), "{found}");

    let found = error(ServerTls::builder().certificate_files(&key, &chain));
    assert_eq!(found, format!("{}: no section with a CERTIFICATE, but PRIVATE KEY", key.display()));
    let found = error(ServerTls::builder().certificate_files(&chain, &chain));
    assert_eq!(found, format!("{}: no section with a PRIVATE KEY, but CERTIFICATE", chain.display()));

    let other_key = file("other.pem", &other.key);
    let found = error(ServerTls::builder().certificate_files(&chain, &other_key));
    let expected =
        format!("{}: the key does not belong to the certificate of {}", other_key.display(), chain.display());
    assert_eq!(found, expected);
    let wrong_order = file("order.pem", &format!("{}{}", ca.pem, issued.chain));
    let found = error(ServerTls::builder().certificate_files(&wrong_order, &key));
    assert!(found.contains(&format!("belongs to section 2 of {}", wrong_order.display())), "{found}");

    let no_key = "-----BEGIN PRIVATE KEY-----\nAAEC\n-----END PRIVATE KEY-----\n";
    let found = error(ServerTls::builder().certificate_pem(&*issued.chain, no_key));
    assert!(
        found.starts_with("the private key in memory: section 1 (PRIVATE KEY) cannot be used: "),
        "{found}"
    );
    let no_certificate = "-----BEGIN CERTIFICATE-----\nAAEC\n-----END CERTIFICATE-----\n";
    let found = error(ServerTls::builder().certificate_pem(no_certificate, &*issued.key));
    let expected = "the certificate chain in memory: section 1 (CERTIFICATE) cannot be used: ";
    assert!(found.starts_with(expected), "{found}");
    let with = || ServerTls::builder().certificate_pem(&*issued.chain, &*issued.key);
    let found = error(with().client_ca_pem(format!("{}{no_certificate}", ca.pem)));
    assert!(
        found.starts_with("the client CA in memory: section 2 (CERTIFICATE) cannot be used: "),
        "{found}"
    );

    assert_eq!(error(ServerTls::builder()), "no certificate for TLS");
    let found = error(with().client_certificates(ClientCertificates::Optional));
    assert_eq!(found, "client certificates are wanted, but of no CA");
}

#[test]
fn settings_of_ones_own_are_used_unless_they_accept_early_data() {
    let ca = Ca::new("the CA");
    let issued = ca.issue(&["localhost"]);
    let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).expect("a key");
    let builder = ServerConfig::builder_with_provider(Arc::new(provider()));
    let builder = builder.with_protocol_versions(&[&TLS13]).expect("a version").with_no_client_auth();
    let mut config = builder.with_single_cert(vec![issued.der()], key).expect("a certificate");
    config.max_early_data_size = 1000;
    let endpoint = |config: &ServerConfig| Endpoint::tcp("127.0.0.1:0").with_tls(config.clone());
    let found = Server::builder().endpoint(endpoint(&config)).build().expect_err("early data");
    assert_eq!(found.kind(), ErrorKind::InvalidInput);
    assert!(found.to_string().contains("early data"), "{found}");

    let early = config.clone();
    config.max_early_data_size = 0;
    let builder = Server::builder().endpoint(endpoint(&config)).fallback(Scripted::echo().0);
    let server = TestServer::run(builder.build().expect("a server"));
    let unusable = server.handle().set_tls(early);
    assert!(matches!(unusable, Err(SetTlsError::Unusable(_))), "{unusable:?}");
    Connector::new(&ca).open(server.addr(), "/").leave();
    Connector::with(&ca, &[&TLS12], None).try_connect(server.addr()).expect_err("only TLS 1.3");
}

#[test]
fn nothing_secret_is_in_what_is_printed_of_settings() {
    let issued = Ca::new("the CA").issue(&["localhost"]);
    let builder = ServerTls::builder().certificate_pem(&*issued.chain, &*issued.key);
    let line = issued.key.lines().nth(1).expect("a line of the key");
    assert!(!format!("{builder:?}").contains(line));
    assert_eq!(format!("{:?}", builder.build().expect("settings")), "ServerTls { .. }");
}

/// A variable of the environment or a form often makes one line of a PEM text.
#[test]
fn no_error_repeats_a_part_of_a_key() {
    let issued = Ca::new("the CA").issue(&["localhost"]);
    let secret: String = issued.key.lines().filter(|line| !line.starts_with("-----")).collect();
    for key in [issued.key.replace('\n', ""), issued.key.replace('\n', " ")] {
        for key in [format!("{key}{}", issued.chain), format!("{key}-----"), format!("{key}."), key] {
            for builder in [
                ServerTls::builder().certificate_pem(&*issued.chain, &*key),
                ServerTls::builder().certificate_pem(&*key, &*issued.key),
            ] {
                let error = builder.build().map(drop).expect_err("settings that cannot be used");
                let said = format!("{error} {error:?}");
                let mut parts =
                    secret.as_bytes().windows(16).map(|part| str::from_utf8(part).expect("base64"));
                assert_eq!(parts.find(|part| said.contains(part)), None, "{said}");
            }
        }
    }
}
