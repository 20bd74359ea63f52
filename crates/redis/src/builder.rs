//! The builder of a backplane, and what may be wrong with its settings.

use crate::backplane::RedisBackplane;
use crate::settings::{Address, Settings};
use crate::wire::names::Names;
use redis::{ConnectionAddr, IntoConnectionInfo, ProtocolVersion};
use std::fmt;
use std::time::Duration;

/// Settings of a [`RedisBackplane`]: from [`RedisBackplane::builder`].
#[must_use = "call `build`"]
pub struct RedisBackplaneBuilder {
    url: String,
    prefix: String,
    cluster: Option<Vec<String>>,
    waiting_messages: usize,
    waiting_bytes: usize,
    first_pause: Duration,
    longest_pause: Duration,
    timeout: Duration,
    keep: usize,
    durable_topics: usize,
    #[cfg(feature = "tls")]
    authorities: Option<Vec<u8>>,
    #[cfg(feature = "tls")]
    identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl RedisBackplane {
    /// Begins with the settings of a backplane.
    ///
    /// The URL is `redis://user:password@host:port/database`; all but the host may be left out.
    /// `rediss:` is TLS. `unix:///path?db=1&user=..&pass=..` is a Unix socket.
    pub fn builder(url: &str) -> RedisBackplaneBuilder {
        RedisBackplaneBuilder::new(url)
    }
}

impl RedisBackplaneBuilder {
    fn new(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: "framewright:".to_owned(),
            cluster: None,
            waiting_messages: 10_000,
            waiting_bytes: 16 << 20,
            first_pause: Duration::from_millis(50),
            longest_pause: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            keep: 10_000,
            durable_topics: 1_000,
            #[cfg(feature = "tls")]
            authorities: None,
            #[cfg(feature = "tls")]
            identity: None,
        }
    }

    /// Sets what the names of all channels and streams begin with. `framewright:` by default.
    ///
    /// Servers with the same prefix and the same database number share their topics. Others on the same
    /// Redis do not hear them.
    pub fn prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.to_owned();
        self
    }

    /// Says that the server belongs to a cluster, and names further servers of it, as `host:port`.
    ///
    /// Then pub/sub is sharded (`SPUBLISH`, `SSUBSCRIBE`): a message goes to one server of the cluster
    /// and its replicas. Prefix subscriptions are refused, because sharded pub/sub has no patterns. The
    /// further servers are asked when the one of the URL does not answer; the cluster's other servers
    /// become known by themselves. The topics are divided into 16 parts with up to three connections
    /// each, which are made when they are needed.
    pub fn cluster<'a>(mut self, servers: impl IntoIterator<Item = &'a str>) -> Self {
        self.cluster = Some(servers.into_iter().map(str::to_owned).collect());
        self
    }

    /// Sets how much may wait for Redis: 10,000 messages and 16 MiB by default.
    ///
    /// A message counts until Redis has accepted it, with its payload, its names and 128 bytes. Beyond
    /// this, publishing says `Full`, or `Away` if Redis cannot be reached.
    pub fn waiting(mut self, messages: usize, bytes: usize) -> Self {
        self.waiting_messages = messages;
        self.waiting_bytes = bytes;
        self
    }

    /// Sets the pause after a connection has failed. From 50 ms it doubles up to 5 s by default.
    ///
    /// Each pause is shortened at random, by up to a half.
    pub fn backoff(mut self, first: Duration, longest: Duration) -> Self {
        self.first_pause = first;
        self.longest_pause = longest;
        self
    }

    /// Sets how long connecting, or an answer of Redis, may take before the connection is given up.
    /// 10 seconds by default, 100 ms at least.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout.max(Duration::from_millis(100));
        self
    }

    /// Sets how many messages the stream of a durable topic keeps: 10,000 by default.
    ///
    /// Redis is asked with `MAXLEN ~`, so up to a node of its tree (100 entries by default) more are
    /// kept. `usize::MAX` keeps all. A reader that falls further behind has lost something, and is told.
    pub fn keep(mut self, messages: usize) -> Self {
        self.keep = messages;
        self
    }

    /// Sets how many durable topics may have subscribers here at a time: 1,000 by default.
    ///
    /// One command waits for all of them, and names all of them each time.
    pub fn durable_topics(mut self, topics: usize) -> Self {
        self.durable_topics = topics;
        self
    }

    /// Trusts these certificate authorities, in PEM, instead of the platform's. For `rediss:` URLs.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn certificate_authorities(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(pem.into());
        self
    }

    /// Shows a certificate to Redis, both in PEM. For `rediss:` URLs.
    #[cfg(feature = "tls")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls")))]
    pub fn client_certificate(mut self, chain: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.identity = Some((chain.into(), key.into()));
        self
    }

    /// Checks the settings. Nothing is connected yet.
    ///
    /// # Errors
    /// [`BuildError`] says which setting is wrong. It does not repeat the URL, which has the password.
    pub fn build(self) -> Result<RedisBackplane, BuildError> {
        let info =
            self.url.as_str().into_connection_info().map_err(|error| BuildError::Url(reason(&error)))?;
        let database = info.redis_settings().db();
        let servers = match &self.cluster {
            None => Vec::new(),
            Some(_) if database != 0 => return Err(BuildError::DatabaseOfCluster(database)),
            Some(further) => {
                let mut servers = vec![address_of(info.addr()).ok_or(BuildError::SocketOfCluster)?];
                for server in further {
                    if server.contains(['@', '/']) {
                        return Err(BuildError::UrlOfServer);
                    }
                    let address = server.rsplit_once(':').and_then(|(host, port)| {
                        let host = host.trim_start_matches('[').trim_end_matches(']');
                        (!host.is_empty()).then(|| Some((host.to_owned(), port.parse().ok()?))).flatten()
                    });
                    servers.push(address.ok_or_else(|| BuildError::Server(server.clone()))?);
                }
                servers
            }
        };
        let redis = info
            .redis_settings()
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("framewright", env!("CARGO_PKG_VERSION"));
        let info = info.set_redis_settings(redis);
        #[cfg(feature = "tls")]
        let info = self.with_tls(info)?;
        let names = Names::new(&self.prefix, database, self.cluster.is_some());
        Ok(RedisBackplane::new(Settings {
            info,
            names,
            servers,
            waiting_messages: self.waiting_messages,
            waiting_bytes: self.waiting_bytes,
            first_pause: self.first_pause,
            longest_pause: self.longest_pause.max(self.first_pause),
            timeout: self.timeout,
            keep: self.keep,
            durable_topics: self.durable_topics,
        }))
    }

    #[cfg(feature = "tls")]
    fn with_tls(&self, info: redis::ConnectionInfo) -> Result<redis::ConnectionInfo, BuildError> {
        if !matches!(info.addr(), ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        // The `redis` crate takes the provider of the process, and panics if it is not clear which.
        let provider =
            framewright_driver::tls::provider().map_err(|error| BuildError::Tls(error.to_string()))?;
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Whoever was faster has installed one, which is as good.
            let _ = provider.as_ref().clone().install_default();
        }
        if self.authorities.is_none() && self.identity.is_none() {
            return Ok(info);
        }
        let client_tls = self
            .identity
            .clone()
            .map(|(client_cert, client_key)| redis::ClientTlsConfig { client_cert, client_key });
        let certificates = redis::TlsCertificates { client_tls, root_cert: self.authorities.clone() };
        let client = redis::Client::build_with_tls(info, certificates)
            .map_err(|error| BuildError::Tls(reason(&error)))?;
        Ok(client.get_connection_info().clone())
    }
}

fn address_of(addr: &ConnectionAddr) -> Option<Address> {
    match addr {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// What is wrong, without what was given: it may have a password.
fn reason(error: &redis::RedisError) -> String {
    let text = error.to_string();
    text.split(" - ").next().unwrap_or_default().to_owned()
}

/// Shows no user name, password or certificate.
impl fmt::Debug for RedisBackplaneBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackplaneBuilder")
            .field("prefix", &self.prefix)
            .field("cluster", &self.cluster.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// Which setting of a [`RedisBackplaneBuilder`] is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BuildError {
    /// The URL is not one of Redis.
    Url(String),
    /// A server of the cluster is not `host:port`.
    Server(String),
    /// A further server of the cluster is given by a URL, which may have a password and is not
    /// repeated here, instead of as `host:port`.
    UrlOfServer,
    /// A cluster has only the database 0.
    DatabaseOfCluster(i64),
    /// A cluster is not reached by a Unix socket.
    SocketOfCluster,
    /// The certificates, or the provider of cryptography, cannot be used.
    Tls(String),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::Url(reason) => {
                write!(
                    f,
                    "the URL of Redis cannot be used: {reason}; redis://user:password@host:port/database is expected"
                )
            }
            BuildError::Server(server) => {
                write!(f, "{server:?} is no server of a cluster: host:port is expected")
            }
            BuildError::UrlOfServer => {
                f.write_str("a further server of the cluster is given by a URL: host:port is expected")
            }
            BuildError::DatabaseOfCluster(database) => {
                write!(f, "a cluster of Redis has no database {database}: only 0")
            }
            BuildError::SocketOfCluster => f.write_str("a cluster of Redis is not reached by a Unix socket"),
            BuildError::Tls(reason) => write!(f, "TLS to Redis cannot be used: {reason}"),
        }
    }
}

impl std::error::Error for BuildError {}
