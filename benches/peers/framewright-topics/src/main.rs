//! A server on framewright-server that sends what comes on `/pub` to all connections of `/sub`.
//!
//! All listen to one topic. With `/sub?topics=N` a connection listens to N topics that all such
//! connections share, with `/sub?of=N` to one of N, in turn.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use framewright_server::{
    Config, Decision, DeflateConfig, DeflatePolicy, Handler, Incoming, ListenAddr, Message, Options, Server,
    SlowConsumer, Socket, TopicOptions, Topics,
};
use peer_common::Compress;

/// The topic of those that ask for nothing else.
const TOPIC: &str = "all";

/// Octets that may wait for a connection that does not read: the oldest message is dropped then.
const WAITING: usize = 64 << 10;

#[derive(Default)]
struct Listeners {
    /// Connections of `/sub?of=N` so far.
    spread: AtomicUsize,
}

/// What a connection listens to.
enum Wish {
    Nothing,
    Topic,
    /// So many topics.
    Topics(usize),
    /// The topic of this number.
    Numbered(usize),
}

impl Handler for Listeners {
    type State = Wish;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Wish> {
        let number = |name| request.query_value(name).and_then(|value| value.parse().ok());
        let wish = match (request.path(), number("topics"), number("of")) {
            ("/none", ..) => Wish::Nothing,
            (_, Some(topics), _) => Wish::Topics(topics),
            (_, _, Some(of @ 1..)) => Wish::Numbered(self.spread.fetch_add(1, Ordering::Relaxed) % of),
            _ => Wish::Topic,
        };
        request.accept(wish)
    }

    fn on_open(&self, socket: &mut Socket<'_>, wish: &mut Wish) {
        let subscribed = match wish {
            Wish::Nothing => Ok(()),
            Wish::Topic => socket.subscribe(TOPIC),
            Wish::Numbered(number) => socket.subscribe(&format!("topic/{number}")),
            Wish::Topics(count) => {
                (0..*count).try_for_each(|number| socket.subscribe(&format!("topic/{number}")))
            }
        };
        if subscribed.is_err() {
            socket.abort();
        }
    }
}

struct Publishers;

impl Handler for Publishers {
    type State = ();

    fn on_request(&self, request: &Incoming<'_>) -> Decision<()> {
        request.accept(())
    }

    fn on_message(&self, socket: &mut Socket<'_>, (): &mut (), message: Message<'_>) {
        // Refused only while 16 MiB wait to be sent: nothing that is measured comes to that.
        let _ = socket.publish(TOPIC, message);
    }
}

fn main() -> anyhow::Result<()> {
    let drops = TopicOptions {
        slow_consumer: SlowConsumer::DropOldest { limit: WAITING },
        ..TopicOptions::default()
    };
    let server = Server::builder()
        .options(options(Compress::from_args()?))
        .topics(Topics::builder().options("#", drops).build())
        .workers(1)
        .route("/none", Listeners::default())
        .route("/sub", Listeners::default())
        .route("/pub", Publishers)
        .listen(peer_common::any_port())
        .build()?;
    let addr = server.local_addrs().iter().find_map(|addr| match addr {
        ListenAddr::Ip(addr) => Some(*addr),
        _ => None,
    });
    peer_common::announce(addr.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))))?;
    server.run()?;
    Ok(())
}

/// The peers compress short messages too, and keep no connection alive.
fn options(compress: Option<Compress>) -> Options {
    let connection = Config {
        deflate: DeflateConfig { threshold: 0, ..DeflateConfig::default() },
        keep_alive_interval: None,
        ..Config::default()
    };
    Options {
        connection,
        compression: compress.map(|compress| match compress {
            Compress::Shared => DeflatePolicy::default(),
            Compress::Takeover => DeflatePolicy::default().with_takeover(),
        }),
        ..Options::default()
    }
}
