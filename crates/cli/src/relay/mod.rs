//! `framewright relay`: a server of topics for clients in any language. docs/RELAY.md is its
//! protocol.

mod access;
mod answer;
#[cfg(feature = "redis")]
mod backplane;
mod callback;
mod error;
mod faults;
mod handler;
mod request;
mod rights;
mod settings;

use crate::seconds::parse_seconds;
use crate::serving::{self, Beside, Serving, parse_path, say};
use crate::watch::Watch;
use access::{Access, TokenList};
use callback::Callback;
use framewright_server::{
    Config, Retain, Server, ServerHandle, TopicLimits, TopicOptions, TopicStats, Topics,
};
use handler::{Gaps, Relay};
use rights::Rights;
#[cfg(feature = "redis")]
use settings::parse_filter;
use settings::{Of, Slow, merge};
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    serving: serving::Args,
    /// The path that clients connect to.
    #[arg(long, default_value = "/ws", value_parser = parse_path)]
    path: String,
    /// Send the last N messages of a topic to new subscribers first; may be repeated. A FILTER is a
    /// topic, a topic and /#, or #; the longest that matches counts.
    #[arg(long, value_name = "FILTER=N")]
    retain: Vec<Of<usize>>,
    /// What happens to subscribers that do not keep up and ask for nothing else: disconnect,
    /// drop-newest, drop-oldest or latest, beyond LIMIT bytes; may be repeated. Without it:
    /// #=disconnect:1048576
    #[arg(long, value_name = "FILTER=POLICY:LIMIT")]
    slow_consumer: Vec<Of<Slow>>,
    /// Be one relay with all others on this Redis 7: redis://USER:PASSWORD@HOST:PORT/DB, where all
    /// but the host can be left out, or rediss:// with TLS. [default: serve alone]
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "URL")]
    redis: Option<String>,
    /// Keep the messages of these topics in Redis, so that clients can resume behind the last one
    /// that they have seen; may be repeated.
    #[cfg(feature = "redis")]
    #[arg(long, value_name = "FILTER", value_parser = parse_filter, requires = "redis")]
    durable: Vec<String>,
    /// The most subscriptions of a connection.
    #[arg(long, value_name = "N", default_value = "1000")]
    max_topics: usize,
    /// The longest message that a client may send, in bytes.
    #[arg(long, value_name = "BYTES", default_value = "1048576")]
    max_message: u64,
    /// Let in whoever has a token of this file: one JSON object a line, with token, name, subscribe
    /// and publish. It is read again when it changes. [default: everybody may do everything]
    #[arg(long, value_name = "FILE", conflicts_with = "auth_url")]
    token_file: Option<PathBuf>,
    /// Ask a service about each client, by a POST with JSON.
    #[arg(long, value_name = "URL", value_parser = callback::parse_url)]
    auth_url: Option<String>,
    /// Seconds that the service has for an answer.
    #[arg(long, value_name = "SECS", default_value = "5", value_parser = parse_seconds, requires = "auth_url")]
    auth_timeout: Duration,
    /// How many clients the service is asked about at a time.
    #[arg(long, value_name = "N", default_value = "8", requires = "auth_url")]
    auth_requests: NonZeroUsize,
}

impl Args {
    /// The topics that are kept.
    fn durable(&self) -> &[String] {
        #[cfg(feature = "redis")]
        return &self.durable;
        #[cfg(not(feature = "redis"))]
        return &[];
    }

    fn access(&self) -> anyhow::Result<Access> {
        if let Some(path) = &self.token_file {
            return Ok(Access::List(TokenList::read(path.clone())?));
        }
        match &self.auth_url {
            Some(url) => {
                let callback = Callback::new(url, self.auth_requests, self.auth_timeout)?;
                Ok(Access::Service(Arc::new(callback)))
            }
            None => Ok(Access::Anybody(Arc::new(Rights::all()))),
        }
    }

    fn topics(&self, gaps: Gaps) -> anyhow::Result<Topics> {
        let limits = TopicLimits { topics_per_connection: self.max_topics, ..TopicLimits::default() };
        let mut topics = Topics::builder().limits(limits).observe(gaps);
        #[cfg(feature = "redis")]
        if let Some(url) = &self.redis {
            topics = topics.backplane(backplane::Redis::new(url)?);
        }
        for settings in merge(&self.retain, &self.slow_consumer, self.durable()) {
            let options = TopicOptions {
                slow_consumer: settings.slow.as_slow_consumer(),
                retain: if settings.retain == 0 { Retain::Nothing } else { Retain::Last(settings.retain) },
                durable: settings.durable,
                ..TopicOptions::default()
            };
            topics = topics.try_options(&settings.filter, options)?;
        }
        Ok(topics.build())
    }
}

/// Serves until Ctrl-C.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    // Noted before the file is read: what changes from here on is read again.
    let watch = Watch::new(args.token_file.iter().cloned().collect());
    let access = Arc::new(args.access()?);
    let server: Arc<OnceLock<ServerHandle>> = Arc::default();
    let connection =
        Config { max_message: args.max_message, max_frame: args.max_message, ..Config::default() };
    let relay = Relay {
        access: Arc::clone(&access),
        server: Arc::clone(&server),
        slow: args.slow_consumer.clone(),
        durable: args.durable().to_vec(),
    };
    let serving = Serving::new(&args.serving);
    let builder = Server::builder()
        .options(args.serving.options(&connection)?)
        .topics(args.topics(Gaps(Arc::clone(&server)))?)
        .route(&args.path, relay);
    let mut beside: Vec<Beside<'_>> = Vec::new();
    if let Access::List(list) = &*access {
        beside.push(Box::new(move |_, over| watch.run(over, || read_again(list))));
    }
    let announce = |serving: &Serving<'_>, built: &Server, out: &mut dyn Write| {
        // Nothing runs before this.
        server.get_or_init(|| built.handle());
        announce(args, &access, serving, built, out)
    };
    serving.run(builder, announce, beside)?;
    if let Some(server) = server.get() {
        say(&counted(&server.topic_stats()));
    }
    say("ended");
    Ok(())
}

fn read_again(list: &TokenList) {
    match list.read_again() {
        Ok(()) => tracing::info!("{} has changed: {} tokens", list.path().display(), list.tokens().len()),
        Err(error) => tracing::warn!("the tokens have changed, and cannot be used: {error:#}"),
    }
}

/// Says where the server listens and how it is set.
fn announce(
    args: &Args,
    access: &Access,
    serving: &Serving<'_>,
    server: &Server,
    out: &mut dyn Write,
) -> io::Result<()> {
    serving.announce_addresses(server, out)?;
    let line = |url: &str| format!("clients connect to {url}{}", args.path);
    serving.announce_urls(server, ["ws", "wss"], line, out)?;
    writeln!(out, "messages up to {} bytes, topics of a connection {}", args.max_message, args.max_topics)?;
    writeln!(out, "{}", serving.keep_alive())?;
    #[cfg(feature = "redis")]
    writeln!(out, "other relays: {}", if args.redis.is_some() { "over Redis" } else { "none" })?;
    match access {
        Access::Anybody(_) => writeln!(out, "everybody may subscribe and publish")?,
        Access::List(list) => writeln!(out, "tokens: {}", list.tokens().len())?,
        Access::Service(_) => writeln!(out, "tokens: a service is asked")?,
    }
    serving.announce_settings(server, "", out)
}

/// What the topics have counted.
fn counted(stats: &TopicStats) -> String {
    let dropped = stats.dropped_newest + stats.dropped_oldest;
    format!(
        "published {}, received {}, delivered {}, dropped {dropped}, replaced {}, too slow {}",
        stats.published, stats.received, stats.delivered, stats.replaced, stats.disconnected
    )
}
