//! Connections to Redis: which server, in which role, and what a failure means.

use crate::settings::{Address, Settings};
use crate::wire::names::PARTITIONS;
use redis::aio::{AsyncPushSender, MultiplexedConnection};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, FromRedisValue, RedisError, ServerErrorKind,
    Value,
};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Where the slot of each part is, as far as known, and the servers of the cluster.
#[derive(Debug)]
pub(crate) struct Homes {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    homes: Vec<Option<Address>>,
    servers: Vec<Address>,
}

impl Homes {
    pub(crate) fn new(servers: Vec<Address>) -> Self {
        Self { inner: Mutex::new(Inner { homes: vec![None; usize::from(PARTITIONS)], servers }) }
    }

    /// Where a part is now, by what a server has said.
    pub(crate) fn moved(&self, partition: u16, home: Option<Address>) {
        self.lock().homes[usize::from(partition)] = home;
    }

    fn get(&self, partition: u16) -> Option<Address> {
        self.lock().homes[usize::from(partition)].clone()
    }

    fn servers(&self) -> Vec<Address> {
        self.lock().servers.clone()
    }

    /// Adds a server that may be asked. They are as many as a cluster has; the oldest are kept.
    fn add_server(&self, server: &Address) {
        let mut inner = self.lock();
        if inner.servers.len() < MOST_SERVERS && !inner.servers.contains(server) {
            inner.servers.push(server.clone());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const MOST_SERVERS: usize = 1_000;

/// Connects to the server that has a part, and makes sure that it is a master.
///
/// A replica accepts PUBLISH, and reaches only those who are subscribed at itself.
pub(crate) async fn connect(
    settings: &Settings,
    homes: &Homes,
    partition: u16,
    pushes: Option<Arc<dyn AsyncPushSender>>,
) -> Result<MultiplexedConnection, Failure> {
    let result = connect_at_home(settings, homes, partition, pushes).await;
    if result.is_err() {
        homes.moved(partition, None);
    }
    result
}

async fn connect_at_home(
    settings: &Settings,
    homes: &Homes,
    partition: u16,
    pushes: Option<Arc<dyn AsyncPushSender>>,
) -> Result<MultiplexedConnection, Failure> {
    let address = match (settings.is_cluster(), homes.get(partition)) {
        (false, _) => None,
        (true, Some(home)) => Some(home),
        (true, None) => Some(find_home(settings, homes, partition).await?),
    };
    let mut connection = open(settings, address.as_ref(), pushes).await?;
    require_master(&mut connection).await?;
    Ok(connection)
}

async fn open(
    settings: &Settings,
    address: Option<&Address>,
    pushes: Option<Arc<dyn AsyncPushSender>>,
) -> Result<MultiplexedConnection, Failure> {
    let mut info = settings.info.clone();
    if let Some((host, port)) = address {
        let (host, port) = (host.clone(), *port);
        let addr = match info.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        info = info.set_addr(addr);
    }
    let mut config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(settings.timeout))
        .set_response_timeout(Some(settings.timeout));
    if let Some(pushes) = pushes {
        config = config.set_push_sender(pushes);
    }
    Ok(Client::open(info)?.get_multiplexed_async_connection_with_config(&config).await?)
}

/// Asks a connection's server for its role. Without the permission to ask, it counts as a master.
pub(crate) async fn require_master(connection: &mut MultiplexedConnection) -> Result<(), Failure> {
    let role = redis::cmd("ROLE").query_async(connection).await;
    check_role(role)
}

pub(crate) fn check_role(role: Result<Value, RedisError>) -> Result<(), Failure> {
    match role {
        Ok(Value::Array(fields)) if fields.first().is_some_and(|role| !is_text(role, "master")) => {
            Err(Failure::Replica)
        }
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn is_text(value: &Value, text: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == text.as_bytes(),
        Value::SimpleString(string) => string == text,
        _ => false,
    }
}

/// Asks the servers of the cluster, one after the other, who has the slot of a part.
async fn find_home(settings: &Settings, homes: &Homes, partition: u16) -> Result<Address, Failure> {
    let slot = settings.names.slot(partition);
    let mut failure = Failure::NoOwner(slot);
    for server in homes.servers() {
        match ask_for_slots(settings, &server).await {
            Ok(ranges) => {
                for range in &ranges {
                    homes.add_server(&range.owner);
                }
                if let Some(range) = ranges.iter().find(|range| (range.first..=range.last).contains(&slot)) {
                    homes.moved(partition, Some(range.owner.clone()));
                    return Ok(range.owner.clone());
                }
            }
            Err(error) => failure = error,
        }
    }
    Err(failure)
}

async fn ask_for_slots(settings: &Settings, server: &Address) -> Result<Vec<Range>, Failure> {
    let mut connection = open(settings, Some(server), None).await?;
    let reply: Value = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut connection).await?;
    let Value::Array(ranges) = reply else { return Ok(Vec::new()) };
    Ok(ranges.iter().filter_map(|range| Range::read(range, &server.0)).collect())
}

struct Range {
    first: u16,
    last: u16,
    owner: Address,
}

impl Range {
    /// Reads `[first, last, [host, port, ..], ..]`: the first server is the master. A server that does
    /// not know its own name leaves it out; then it is the one that was asked.
    fn read(range: &Value, asked: &str) -> Option<Self> {
        let Value::Array(fields) = range else { return None };
        let [first, last, Value::Array(master), ..] = fields.as_slice() else { return None };
        let [host, port, ..] = master.as_slice() else { return None };
        let host = String::from_redis_value_ref(host).ok().filter(|host| !host.is_empty() && host != "?");
        let number = |value: &Value| u16::from_redis_value_ref(value).ok();
        let owner = (host.unwrap_or_else(|| asked.to_owned()), number(port)?);
        Some(Self { first: number(first)?, last: number(last)?, owner })
    }
}

/// Why a connection could not be had, or cannot be used any more.
#[derive(Debug)]
pub(crate) enum Failure {
    Redis(RedisError),
    Replica,
    NoOwner(u16),
    /// The connection ended.
    Ended,
    /// The slot has moved to another server of the cluster.
    Moved,
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        Failure::Redis(error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Redis(error) => describe(error, f),
            Failure::Replica => f.write_str(
                "the server is a replica: what is published there reaches only its own subscribers; name the master",
            ),
            Failure::NoOwner(slot) => write!(f, "no server of the cluster has slot {slot}"),
            Failure::Ended => f.write_str("the connection has ended"),
            Failure::Moved => f.write_str("the slot has moved to another server of the cluster"),
        }
    }
}

fn describe(error: &RedisError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match error.kind() {
        _ if error.code() == Some("WRONGPASS") => f.write_str("Redis refuses the user name or the password"),
        _ if error.code() == Some("NOAUTH") => f.write_str("Redis demands a password"),
        ErrorKind::AuthenticationFailed => f.write_str("Redis refuses the user name or the password"),
        ErrorKind::RESP3NotSupported => f.write_str("the server is older than Redis 6: it has no RESP3"),
        _ if error.is_timeout() => f.write_str("Redis does not answer"),
        ErrorKind::Server(ServerErrorKind::Moved) => {
            write!(f, "{error}: the server belongs to a cluster, or the cluster is changing")
        }
        _ => write!(f, "{error}"),
    }
}

/// What to do about the error of one command.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The connection cannot be used any more, and the command may have been carried out.
    Lost,
    /// Another server has the slot now. The command was not carried out.
    Moved(Option<Address>),
    /// Redis cannot do it now, and may be able to soon. The command was not carried out.
    Later,
    /// It will not be done.
    Refused,
}

pub(crate) fn judge(error: &RedisError) -> Verdict {
    match error.kind() {
        ErrorKind::Server(kind) => match kind {
            ServerErrorKind::Moved => Verdict::Moved(redirection(error)),
            // A replica says so. The master is found by connecting anew.
            ServerErrorKind::ReadOnly => Verdict::Moved(None),
            ServerErrorKind::BusyLoading
            | ServerErrorKind::Ask
            | ServerErrorKind::TryAgain
            | ServerErrorKind::ClusterDown
            | ServerErrorKind::MasterDown => Verdict::Later,
            _ => Verdict::Refused,
        },
        // Memory is short, the disk is full, too few replicas: conditions of the server that pass.
        ErrorKind::Extension => match error.code() {
            Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY" | "UNBLOCKED") => Verdict::Later,
            Some("NOAUTH") => Verdict::Lost,
            _ => Verdict::Refused,
        },
        ErrorKind::UnexpectedReturnType => Verdict::Refused,
        _ => Verdict::Lost,
    }
}

fn redirection(error: &RedisError) -> Option<Address> {
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| Some((host.to_owned(), port.parse().ok()?))).flatten()
}
