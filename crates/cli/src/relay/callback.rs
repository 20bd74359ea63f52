//! Asking a service about a client: `--auth-url`.

use crate::relay::rights::Rights;
use anyhow::{Context, bail};
use framewright_server::{DecisionThreads, FieldName, FieldValue, Response, StatusCode};
use serde_json::{Map, Value};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The longest answer of the service, in bytes.
const MAX_ANSWER: u64 = 64 << 10;

/// A service that knows the rights of clients.
pub(crate) struct Callback {
    url: String,
    agent: ureq::Agent,
    /// The threads that wait for its answers.
    pub(crate) threads: DecisionThreads,
    /// Its last answer could be used: a change is logged, not each failure.
    works: AtomicBool,
}

/// What the service is told of a client.
pub(crate) struct Question {
    pub(crate) token: String,
    pub(crate) path: String,
    pub(crate) origin: Option<String>,
    pub(crate) client: Option<String>,
}

impl Question {
    fn json(self) -> String {
        let Question { token, path, origin, client } = self;
        let fields = [("token", Some(token)), ("path", Some(path)), ("origin", origin), ("client", client)];
        let known = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Value::Object(known.collect::<Map<_, _>>()).to_string()
    }
}

impl Callback {
    /// Of the service at `url`, which gets at most `requests` requests at a time and has `timeout`
    /// for each.
    ///
    /// # Errors
    /// If the URL is none, or no thread can be started.
    pub(crate) fn new(url: &str, requests: NonZeroUsize, timeout: Duration) -> anyhow::Result<Callback> {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_idle_connections_per_host(requests.get())
            .max_idle_connections(requests.get())
            // Tokens go to nobody but the service.
            .proxy(None)
            .user_agent(concat!("framewright/", env!("CARGO_PKG_VERSION")));
        #[cfg(feature = "tls")]
        let config = if url.starts_with("https:") { config.tls_config(tls()?) } else { config };
        let agent = config.build().new_agent();
        let threads = DecisionThreads::new(requests.get()).context("cannot start a thread")?;
        Ok(Callback { url: url.to_owned(), agent, threads, works: AtomicBool::new(true) })
    }

    /// Asks the service. Waits for its answer.
    ///
    /// # Errors
    /// What the client is answered.
    pub(crate) fn ask(&self, question: Question) -> Result<Arc<Rights>, Response> {
        let answer = self.exchange(question);
        match &answer {
            Ok(_) if !self.works.swap(true, Ordering::Relaxed) => tracing::warn!("--auth-url answers again"),
            Err(error) if self.works.swap(false, Ordering::Relaxed) => {
                tracing::warn!("--auth-url does not answer as it should: {error:#}");
            }
            Ok(_) | Err(_) => {}
        }
        match answer {
            Ok(Answer::Rights(rights)) => Ok(Arc::new(rights)),
            Ok(Answer::Unauthorized) => Err(unauthorized()),
            Ok(Answer::Forbidden) => Err(Response::text(StatusCode::FORBIDDEN, "not allowed\n")),
            Err(_) => Err(Response::text(StatusCode::SERVICE_UNAVAILABLE, "cannot check the token now\n")
                .with_field(FieldName::from_static("Retry-After"), FieldValue::from_static("5"))),
        }
    }

    fn exchange(&self, question: Question) -> anyhow::Result<Answer> {
        let request = self.agent.post(&self.url).header("Content-Type", "application/json");
        let mut response = request.send(question.json())?;
        match response.status().as_u16() {
            200 => {}
            401 => return Ok(Answer::Unauthorized),
            403 => return Ok(Answer::Forbidden),
            status => bail!("status {status}"),
        }
        let text = response.body_mut().with_config().limit(MAX_ANSWER).read_to_string()?;
        let rights: Rights = serde_json::from_str(&text).context("its answer")?;
        rights.check()?;
        Ok(Answer::Rights(rights))
    }
}

/// An answer that can be used.
enum Answer {
    Rights(Rights),
    Unauthorized,
    Forbidden,
}

/// TLS to the service: the provider of everything else here, and what the system trusts.
#[cfg(feature = "tls")]
fn tls() -> anyhow::Result<ureq::tls::TlsConfig> {
    use ureq::tls::{Certificate, RootCerts, TlsConfig, TlsProvider};
    let provider = framewright_driver::tls::provider()?;
    let found = rustls_native_certs::load_native_certs();
    let certificates: Vec<_> =
        found.certs.iter().map(|certificate| Certificate::from_der(certificate).to_owned()).collect();
    anyhow::ensure!(!certificates.is_empty(), "--auth-url: this system has no certificates of authorities");
    Ok(TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::from(certificates.into_iter()))
        .unversioned_rustls_crypto_provider(provider)
        .build())
}

/// A URL of `--auth-url`.
///
/// # Errors
/// In words, for whoever typed it.
pub(crate) fn parse_url(text: &str) -> Result<String, String> {
    let (scheme, rest) = text.split_once("://").unwrap_or_default();
    let secure = cfg!(feature = "tls") && scheme.eq_ignore_ascii_case("https");
    if !(secure || scheme.eq_ignore_ascii_case("http")) || rest.is_empty() || rest.starts_with('/') {
        return Err("expected http://HOST/PATH".to_owned());
    }
    Ok(text.to_owned())
}

/// 401, for a client without a token, or with an unknown one.
pub(crate) fn unauthorized() -> Response {
    let name = FieldName::from_static("WWW-Authenticate");
    let answer = Response::text(
        StatusCode::UNAUTHORIZED,
        "a token is needed: Authorization: Bearer, or access_token in the query\n",
    );
    answer.with_field(name, FieldValue::from_static("Bearer"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    /// What a client gets if the service answers with this, and what the service was asked.
    fn asked(answer: &'static str) -> (Result<Arc<Rights>, u16>, String) {
        let service = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/rights", service.local_addr().expect("an address"));
        let serving = thread::spawn(move || {
            let (mut stream, _) = service.accept().expect("a request");
            let mut request = String::new();
            let mut piece = [0; 4096];
            while !request.ends_with('}') {
                let count = stream.read(&mut piece).expect("a request");
                assert!(count > 0, "the request ends early: {request}");
                request.push_str(std::str::from_utf8(&piece[..count]).expect("UTF-8"));
            }
            stream.write_all(answer.as_bytes()).expect("it reads");
            // Without an answer it waits until its time is over, and leaves.
            if answer.is_empty() {
                let _ = stream.read(&mut piece);
            }
            request
        });
        let timeout = Duration::from_millis(if answer.is_empty() { 200 } else { 20_000 });
        let callback = Callback::new(&url, NonZeroUsize::MIN, timeout).expect("a service");
        let question =
            Question { token: "s3cret".into(), path: "/ws".into(), origin: None, client: Some("::1".into()) };
        let result = callback.ask(question).map_err(|response| response.status().as_u16());
        drop(callback);
        (result, serving.join().expect("the service"))
    }

    #[test]
    fn the_service_decides_and_a_broken_one_means_503() {
        let rights =
            "HTTP/1.1 200 OK\r\nContent-Length: 34\r\n\r\n{\"name\":\"ann\",\"subscribe\":[\"a/#\"]}";
        let (result, request) = asked(rights);
        let ann = result.expect("rights");
        assert!(ann.name.as_deref() == Some("ann") && ann.may_subscribe("a/b") && !ann.may_publish("a/b"));
        assert!(request.starts_with("POST /rights HTTP/1.1\r\n"), "{request}");
        // The order of the fields depends on a feature of serde_json that other crates can turn on.
        let (_, body) = request.split_once("\r\n\r\n").expect("a body");
        let body: Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(body, serde_json::json!({"token": "s3cret", "path": "/ws", "client": "::1"}));
        for (answer, status) in [
            ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", 403),
            ("HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", 401),
            ("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n", 503),
            ("HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n", 503),
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{]", 503),
            ("hello\r\n\r\n", 503),
            ("", 503),
        ] {
            assert_eq!(asked(answer).0.expect_err(answer), status, "{answer:?}");
        }
    }

    #[test]
    fn a_url_is_one_of_http() {
        assert!(parse_url("http://localhost:8080/rights").is_ok());
        for wrong in ["", "localhost", "http://", "http:///rights", "ftp://localhost/"] {
            assert!(parse_url(wrong).is_err(), "{wrong}");
        }
    }
}
