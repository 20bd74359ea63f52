//! Passwords and TLS: what is told, and what is not.

#[cfg(feature = "tls")]
use crate::support::channel;
use crate::support::{Node, RedisServer, eventually};
use framewright_driver::topics::Backplane;
use framewright_redis::{BuildError, RedisBackplane};
#[cfg(feature = "tls")]
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
#[cfg(feature = "tls")]
use std::fs;

const PASSWORD: &str = "s3cret-pass";
const USER: &str = "app-user";

#[test]
fn a_wrong_password_is_a_clear_error_that_does_not_show_it() {
    let server = RedisServer::with(&["--requirepass", "another one"]);
    let node = Node::of(RedisBackplane::builder(&format!("redis://{USER}:{PASSWORD}@{}", server.address())));
    let error = node.backplane.check().expect_err("a wrong password").to_string();
    assert_eq!(error, "Redis cannot be used: Redis refuses the user name or the password");
    eventually("a failure", || node.backplane.last_failure().is_some());
    for text in [error, node.backplane.last_failure().expect("a failure"), format!("{:?}", node.backplane)] {
        assert!(!text.contains(PASSWORD) && !text.contains(USER), "{text}");
    }
    assert!(!node.backplane.is_connected());
}

#[test]
fn no_password_where_one_is_needed_is_a_clear_error() {
    let server = RedisServer::with(&["--requirepass", PASSWORD]);
    let backplane = RedisBackplane::builder(&server.url()).build().expect("settings");
    let error = backplane.check().expect_err("no password").to_string();
    assert_eq!(error, "Redis cannot be used: Redis demands a password");
}

#[test]
fn user_password_and_database_of_the_url_are_used() {
    let server = RedisServer::start();
    let name = format!("{USER}%40x");
    let user = format!("{USER}@x");
    let _: String =
        server.ask(&["ACL", "SETUSER", &user, "on", &format!(">{PASSWORD}/"), "~*", "&*", "+@all"]);
    let url = format!("redis://{name}:{PASSWORD}%2F@{}/5", server.address());
    let node = Node::of(RedisBackplane::builder(&url));
    node.backplane.check().expect("the right password");
    node.subscribe_durable("t");
    node.publish_durable("t", "m");
    node.inbox.wait_for("t", "m");
    let mut client = server.client();
    redis::cmd("SELECT").arg(5).exec(&mut client).expect("a database");
    let keys: Vec<String> = crate::support::ask(&mut client, &["KEYS", "*"]);
    assert_eq!(keys, ["framewright:5:s:t"]);
    let clients: String = server.ask(&["CLIENT", "LIST"]);
    assert!(clients.contains(&format!("user={user}")), "{clients}");
}

#[test]
fn settings_that_cannot_be_used_are_told_without_the_url() {
    let wrong = |url: &str| RedisBackplane::builder(url).build().expect_err("a wrong URL");
    for url in [
        format!("http://{USER}:{PASSWORD}@localhost"),
        format!("redis://{USER}:{PASSWORD}@localhost/notanumber"),
        format!("redis://{USER}:{PASSWORD}@localhost:99999"),
        format!("redis://{USER}:{PASSWORD}@0.0.0.0"),
        format!("{USER}:{PASSWORD}"),
    ] {
        let error = wrong(&url);
        assert!(matches!(error, BuildError::Url(_)), "{url}: {error:?}");
        for text in [error.to_string(), format!("{error:?}")] {
            assert!(!text.contains(PASSWORD) && !text.contains(USER), "{text}");
        }
    }
    let builder = RedisBackplane::builder(&format!("redis://{USER}:{PASSWORD}@localhost/2"));
    assert!(!format!("{builder:?}").contains(PASSWORD));
    assert_eq!(builder.cluster([]).build().expect_err("a database"), BuildError::DatabaseOfCluster(2));
    for url in ["redis://user:secret@further:6379", "user:secret@further:6379", "redis://secret/0"] {
        let builder = RedisBackplane::builder("redis://localhost").cluster([url]);
        assert!(!format!("{builder:?}").contains("secret"), "{builder:?}");
        let error = builder.build().expect_err("a URL");
        assert_eq!(error, BuildError::UrlOfServer);
        assert!(!format!("{error} {error:?}").contains("secret"), "{error}");
    }
    let builder = RedisBackplane::builder("redis://localhost").cluster(["localhost"]);
    assert_eq!(builder.build().expect_err("no port"), BuildError::Server("localhost".to_owned()));
}

#[cfg(feature = "tls")]
#[test]
fn a_redis_behind_tls_is_trusted_by_its_authority_only() {
    let files = Certificates::make();
    let server = RedisServer::with(&[
        "--tls-port",
        &files.port.to_string(),
        "--tls-cert-file",
        &files.path("cert.pem"),
        "--tls-key-file",
        &files.path("key.pem"),
        "--tls-ca-cert-file",
        &files.path("ca.pem"),
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{}", files.port);
    let node = Node::of(RedisBackplane::builder(&url).certificate_authorities(files.authority.clone()));
    node.backplane.check().expect("a trusted server");
    node.subscribe("t");
    server.wait_for_subscribers(&channel("t"), 1);
    let publisher = Node::on(&server);
    publisher.publish("t", "by TCP");
    node.inbox.wait_for("t", "by TCP");

    let other = Certificates::make().authority;
    let stranger = RedisBackplane::builder(&url).certificate_authorities(other).build().expect("settings");
    let error = stranger.check().expect_err("another authority").to_string();
    assert!(error.contains("certificate") || error.contains("UnknownIssuer"), "{error}");
    let broken =
        RedisBackplane::builder(&url).certificate_authorities("-----BEGIN CERTIFICATE-----\nx").build();
    assert!(matches!(broken, Err(BuildError::Tls(_))), "{broken:?}");
}

#[cfg(feature = "tls")]
struct Certificates {
    folder: tempfile::TempDir,
    authority: String,
    port: u16,
}

#[cfg(feature = "tls")]
impl Certificates {
    fn make() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = KeyPair::generate().expect("a key");
        let mut authority = CertificateParams::new(Vec::new()).expect("parameters");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = authority.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(authority, key);
        let own_key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("parameters");
        let own = own.signed_by(&own_key, &issuer).expect("a certificate");
        fs::write(folder.path().join("ca.pem"), certificate.pem()).expect("a file");
        fs::write(folder.path().join("cert.pem"), own.pem()).expect("a file");
        fs::write(folder.path().join("key.pem"), own_key.serialize_pem()).expect("a file");
        Self { folder, authority: certificate.pem(), port: crate::support::free_port() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().expect("UTF-8").to_owned()
    }
}

#[test]
fn a_second_start_is_refused() {
    let server = RedisServer::start();
    let node = Node::on(&server);
    let again = node.backplane.start(framewright_driver::topics::Remote::to(node.inbox.clone()));
    assert!(again.expect_err("it runs").to_string().contains("already"));
}
