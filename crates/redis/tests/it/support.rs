//! A Redis of a test's own, and what a backplane has delivered.

use framewright::{Message, OwnedMessage, Prepared};
use framewright_driver::topics::{
    Backplane, BackplaneError, Page, Passed, Publication, Remote, Sink, TopicOptions,
};
use framewright_redis::{RedisBackplane, RedisBackplaneBuilder};
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long anything may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A `redis-server` on a free port of the loopback address, with a folder of its own. Dropping it ends it.
pub(crate) struct RedisServer {
    pub(crate) port: u16,
    folder: TempDir,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        Self::with(&[])
    }

    pub(crate) fn with(arguments: &[&str]) -> Self {
        let mut folder = tempfile::tempdir().expect("a temporary folder");
        let arguments: Vec<_> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        // Another process may take the port between the two steps.
        for _ in 0..10 {
            let mut server = Self { port: free_port(), folder, arguments: arguments.clone(), child: None };
            if server.run() {
                return server;
            }
            folder = server.folder_back();
        }
        panic!("redis-server does not start: {}", log(folder.path()));
    }

    fn folder_back(mut self) -> TempDir {
        self.kill();
        let empty = tempfile::tempdir().expect("a temporary folder");
        std::mem::replace(&mut self.folder, empty)
    }

    /// Starts the process. `false`: it has ended at once.
    fn run(&mut self) -> bool {
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.arg("--dir").arg(self.folder.path()).arg("--logfile").arg(self.folder.path().join("log"));
        command.args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().unwrap_or_else(|error| {
            panic!("these tests need `redis-server` (on Debian: apt-get install redis-server): {error}")
        });
        let child = self.child.insert(child);
        let begun = Instant::now();
        while begun.elapsed() < DEADLINE {
            if child.try_wait().expect("the state of a child").is_some() {
                return false;
            }
            if answers(self.port) {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server does not answer: {}", log(self.folder.path()));
    }

    /// Starts it again, with what it has on its disk.
    pub(crate) fn restart(&mut self) {
        self.kill();
        // A master that is killed leaves its port in no state that would hinder the next.
        assert!(self.run(), "redis-server does not start again: {}", log(self.folder.path()));
    }

    /// SIGKILL: nothing is told to anybody.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child can be killed");
            child.wait().expect("a child that was killed ends");
        }
    }

    /// Stops it without ending it.
    pub(crate) fn pause(&self) -> Paused<'_> {
        self.signal("-STOP");
        Paused(self)
    }

    fn signal(&self, signal: &str) {
        let child = self.child.as_ref().expect("it runs");
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status();
        assert!(status.expect("`kill` can be run").success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn client(&self) -> redis::Connection {
        let client = redis::Client::open(self.url()).expect("a URL");
        client.get_connection_with_timeout(DEADLINE).expect("a connection")
    }

    pub(crate) fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        ask(&mut self.client(), command)
    }

    /// Waits until a channel has so many subscribers.
    pub(crate) fn wait_for_subscribers(&self, channel: &str, subscribers: i64) {
        let mut client = self.client();
        eventually(&format!("{subscribers} subscribers of {channel}"), || {
            let reply: (String, i64) = ask(&mut client, &["PUBSUB", "NUMSUB", channel]);
            reply.1 == subscribers
        });
    }

    pub(crate) fn wait_for_patterns(&self, patterns: i64) {
        let mut client = self.client();
        eventually("patterns", || ask::<i64>(&mut client, &["PUBSUB", "NUMPAT"]) == patterns);
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Continues it when dropped.
pub(crate) struct Paused<'a>(&'a RedisServer);

impl Drop for Paused<'_> {
    fn drop(&mut self) {
        self.0.signal("-CONT");
    }
}

pub(crate) fn ask<T: redis::FromRedisValue>(client: &mut redis::Connection, command: &[&str]) -> T {
    let (name, arguments) = command.split_first().expect("a command");
    redis::cmd(name).arg(arguments).query(client).unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Asks again and again, until it is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < DEADLINE, "in vain: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn free_port() -> u16 {
    // The bus of a cluster has a port that is higher by 10,000.
    loop {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if port < 55_000 {
            return port;
        }
    }
}

/// Whether a Redis answers that has loaded its data. It may want a password first.
fn answers(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, DEADLINE) else { return false };
    let _ = stream.set_read_timeout(Some(DEADLINE));
    let mut start = [0; 7];
    let asked = stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut start));
    asked.is_ok() && (&start == b"+PONG\r\n" || &start == b"-NOAUTH")
}

fn log(folder: &Path) -> String {
    fs::read_to_string(folder.join("log")).unwrap_or_else(|error| error.to_string())
}

/// What one backplane has handed over.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<(Mutex<Received>, Condvar)>);

#[derive(Default)]
pub(crate) struct Received {
    pub(crate) messages: Vec<Delivery>,
    /// Filters with gaps, in the order in which they were told.
    pub(crate) gaps: Vec<String>,
    /// Whether nothing more is taken.
    pub(crate) full: bool,
    /// Whether the next message meets a panic.
    pub(crate) panics: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) topic: String,
    pub(crate) message: OwnedMessage,
    pub(crate) key: Option<String>,
    pub(crate) id: Option<String>,
}

impl Delivery {
    pub(crate) fn text(&self) -> &str {
        match &self.message {
            OwnedMessage::Text(text) => text,
            OwnedMessage::Binary(_) => panic!("a text was expected: {self:?}"),
        }
    }
}

impl Sink for Inbox {
    fn deliver(&self, topic: &str, message: OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool {
        let mut received = self.0.0.lock().expect("the inbox");
        if received.full {
            return false;
        }
        if std::mem::take(&mut received.panics) {
            drop(received);
            panic!("the receiver panics as the test wants it");
        }
        let (topic, key, id) = (topic.to_owned(), key.map(str::to_owned), id.map(str::to_owned));
        received.messages.push(Delivery { topic, message, key, id });
        self.0.1.notify_all();
        true
    }

    fn gap(&self, filter: Option<&str>) {
        let mut received = self.0.0.lock().expect("the inbox");
        received.gaps.push(filter.unwrap_or("(all)").to_owned());
        self.0.1.notify_all();
    }
}

impl Inbox {
    /// Waits until it is so, and returns what was asked for.
    pub(crate) fn wait<T>(&self, what: &str, mut look: impl FnMut(&Received) -> Option<T>) -> T {
        let begun = Instant::now();
        let mut received = self.0.0.lock().expect("the inbox");
        loop {
            if let Some(found) = look(&received) {
                return found;
            }
            let left = DEADLINE.saturating_sub(begun.elapsed());
            assert!(
                !left.is_zero(),
                "in vain: {what}; {} messages, the last {:?}; gaps {:?}",
                received.messages.len(),
                received.messages.last(),
                received.gaps
            );
            received = self.0.1.wait_timeout(received, left).expect("the inbox").0;
        }
    }

    /// Waits for a text on a topic.
    pub(crate) fn wait_for(&self, topic: &str, text: &str) -> Delivery {
        self.wait(&format!("{text:?} on {topic}"), |received| {
            let is_it = |delivery: &&Delivery| {
                delivery.topic == topic && delivery.message.as_message() == Message::Text(text)
            };
            received.messages.iter().find(is_it).cloned()
        })
    }

    /// Waits until so many gaps of a filter were told.
    pub(crate) fn wait_for_gaps(&self, filter: &str, gaps: usize) {
        self.wait(&format!("{gaps} gaps of {filter}"), |received| {
            (received.gaps.iter().filter(|gap| *gap == filter).count() >= gaps).then_some(())
        });
    }

    pub(crate) fn look<T>(&self, look: impl FnOnce(&mut Received) -> T) -> T {
        look(&mut self.0.0.lock().expect("the inbox"))
    }

    /// The texts on a topic, in their order.
    pub(crate) fn texts(&self, topic: &str) -> Vec<String> {
        self.look(|received| {
            let of = received.messages.iter().filter(|delivery| delivery.topic == topic);
            of.map(|delivery| delivery.text().to_owned()).collect()
        })
    }

    pub(crate) fn gaps(&self) -> Vec<String> {
        self.look(|received| received.gaps.clone())
    }
}

/// A started backplane with what it has handed over.
pub(crate) struct Node {
    pub(crate) backplane: RedisBackplane,
    pub(crate) inbox: Inbox,
}

impl Node {
    pub(crate) fn on(server: &RedisServer) -> Self {
        Self::of(RedisBackplane::builder(&server.url()))
    }

    /// With short pauses after failures.
    pub(crate) fn of(builder: RedisBackplaneBuilder) -> Self {
        let builder = builder.backoff(Duration::from_millis(5), Duration::from_millis(50));
        Self::exactly(builder)
    }

    pub(crate) fn exactly(builder: RedisBackplaneBuilder) -> Self {
        let backplane = builder.build().expect("settings");
        let inbox = Inbox::default();
        backplane.start(Remote::to(inbox.clone())).expect("a thread");
        Self { backplane, inbox }
    }

    pub(crate) fn subscribe(&self, filter: &str) {
        self.backplane.subscribe(filter, &plain()).expect("a subscription");
    }

    pub(crate) fn subscribe_durable(&self, topic: &str) {
        self.backplane.subscribe(topic, &durable()).expect("a subscription");
    }

    /// Subscribes to a durable topic, and waits until it is in effect.
    pub(crate) fn begin_durable(&self, topic: &str) -> Delivery {
        self.subscribe_durable(topic);
        self.publish_durable(topic, "begin");
        self.inbox.wait_for(topic, "begin")
    }

    pub(crate) fn publish(&self, topic: &str, text: &str) {
        let passed = self.try_publish(topic, Message::Text(text), None, &plain());
        assert_eq!(passed, Ok(Passed::Deliver));
    }

    pub(crate) fn publish_durable(&self, topic: &str, text: &str) {
        let passed = self.try_publish(topic, Message::Text(text), None, &durable());
        assert_eq!(passed, Ok(Passed::ComesBack));
    }

    pub(crate) fn try_publish(
        &self,
        topic: &str,
        message: Message<'_>,
        key: Option<&str>,
        options: &TopicOptions,
    ) -> Result<Passed, BackplaneError> {
        let publication = Publication::new(topic, Prepared::new(message), key);
        self.backplane.publish(&Arc::new(publication), options)
    }

    pub(crate) fn read(&self, topic: &str, after: &str) -> Result<Page, BackplaneError> {
        let (sender, receiver) = mpsc::channel();
        self.backplane.read(topic, after, Box::new(move |page| sender.send(page).expect("somebody waits")));
        receiver.recv_timeout(DEADLINE).expect("an answer")
    }

    pub(crate) fn wait_until_published(&self, messages: u64) {
        eventually("published", || self.backplane.stats().published >= messages);
    }

    pub(crate) fn wait_until_connected(&self, connected: bool) {
        eventually("connected", || self.backplane.is_connected() == connected);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.backplane.stop(Instant::now());
    }
}

pub(crate) fn plain() -> TopicOptions {
    TopicOptions::default()
}

pub(crate) fn durable() -> TopicOptions {
    TopicOptions { durable: true, ..TopicOptions::default() }
}

/// The channel of a topic on one server.
pub(crate) fn channel(topic: &str) -> String {
    format!("framewright:0:t:{topic}")
}

/// The stream of a durable topic on one server.
pub(crate) fn stream(topic: &str) -> String {
    format!("framewright:0:s:{topic}")
}

/// An envelope as the documentation has it, of a publisher that is named by one byte.
pub(crate) fn envelope(publisher: u8, sequence: u64, previous: u64, topic: &str, text: &str) -> Vec<u8> {
    let mut bytes = b"FW\x01\x01".to_vec();
    bytes.extend_from_slice(&[publisher; 16]);
    bytes.extend_from_slice(&sequence.to_be_bytes());
    bytes.extend_from_slice(&previous.to_be_bytes());
    bytes.extend_from_slice(&u16::try_from(topic.len()).expect("a short topic").to_be_bytes());
    bytes.extend_from_slice(topic.as_bytes());
    bytes.extend_from_slice(text.as_bytes());
    bytes
}
