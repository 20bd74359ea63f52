//! The way to other processes: what a backplane does, and what it is given.

use super::options::TopicOptions;
use super::publication::Publication;
use framewright::OwnedMessage;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The way to other processes. No method blocks, and each may be called from any thread.
///
/// The hub calls [`subscribe`](Backplane::subscribe), [`unsubscribe`](Backplane::unsubscribe) and
/// [`read`](Backplane::read) one at a time, in the order in which subscriptions have changed, and
/// holds no lock meanwhile.
pub trait Backplane: Send + Sync + 'static {
    /// Begins. Called once, before everything else. What others publish goes to `remote`, from
    /// threads of the backplane's own.
    ///
    /// # Errors
    /// If it cannot begin at all, such as for a wrong URL. A server that is away is no error.
    fn start(&self, remote: Remote) -> Result<(), BackplaneError>;

    /// Passes on what was published here.
    ///
    /// # Errors
    /// Nothing was passed on. The message is then delivered in this process only, or not at all if
    /// the topic is durable, and the publisher learns it.
    fn publish(
        &self,
        publication: &Arc<Publication>,
        options: &TopicOptions,
    ) -> Result<Passed, BackplaneError>;

    /// The filter, a topic or a prefix, has its first subscriber here.
    ///
    /// A topic that is published after this call, by this process, arrives even if the backplane is
    /// away now.
    ///
    /// # Errors
    /// What others publish on it will not arrive. The hub reports a gap.
    fn subscribe(&self, filter: &str, options: &TopicOptions) -> Result<(), BackplaneError>;

    /// The filter has lost its last subscriber here.
    fn unsubscribe(&self, filter: &str);

    /// Reads the next messages of a durable topic behind the position `after`, for a subscriber that
    /// comes back.
    ///
    /// `reply` is called once, from any thread. The hub asks again behind the last message of a page,
    /// until a page is empty.
    fn read(&self, topic: &str, after: &str, reply: Reply) {
        let _ = (topic, after);
        reply(Err(BackplaneError::Unsupported));
    }

    /// Stops. When it returns, what was accepted for publishing has been passed on, or `deadline` has
    /// passed. The only method that waits.
    fn stop(&self, deadline: Instant);
}

/// Takes the answer to [`Backplane::read`].
pub type Reply = Box<dyn FnOnce(Result<Page, BackplaneError>) + Send>;

/// Stored messages of a durable topic that follow each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "backplanes make it")]
pub struct Page {
    /// The messages, in their order. Empty: none is behind the position.
    pub stored: Vec<Stored>,
    /// Whether messages before these may be lost: the position is not kept any more.
    pub gap: bool,
}

/// A stored message of a durable topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_structs, reason = "backplanes make it")]
pub struct Stored {
    /// Its [`Position`], as text.
    pub id: String,
    /// The message.
    pub message: OwnedMessage,
    /// Its key.
    pub key: Option<String>,
}

/// A place in a durable topic: two numbers, written `milliseconds-sequence` by Redis. Later messages
/// have greater positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(clippy::exhaustive_structs, reason = "these are its two numbers")]
pub struct Position {
    /// The number that counts first.
    pub major: u64,
    /// The number that counts among equal `major`.
    pub minor: u64,
}

impl Position {
    /// Reads `major-minor`, or `major` alone, in decimal digits. `None` if it is something else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (major, minor) = text.split_once('-').unwrap_or((text, "0"));
        Some(Self { major: number(major)?, minor: number(minor)? })
    }
}

/// `u64::from_str` takes a sign as well.
fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

/// What becomes of a publication in this process, now that the backplane has accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// It is delivered now. The backplane does not give it back.
    Deliver,
    /// It comes back through [`Remote`], in the order of the topic, if the topic is subscribed here.
    ComesBack,
}

/// The reason for which a backplane did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackplaneError {
    /// It has no connection to its server.
    Away,
    /// Too many bytes wait to be passed on.
    Full {
        /// The limit, in bytes.
        limit: usize,
    },
    /// It will never do this; the text says why.
    Refused(String),
    /// This backplane has no durable topics.
    Unsupported,
}

impl fmt::Display for BackplaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackplaneError::Away => f.write_str("the backplane is away"),
            BackplaneError::Full { limit } => {
                write!(f, "more than {limit} bytes would wait for the backplane")
            }
            BackplaneError::Refused(why) => write!(f, "the backplane refuses it: {why}"),
            BackplaneError::Unsupported => f.write_str("the backplane stores no messages"),
        }
    }
}

impl std::error::Error for BackplaneError {}

/// Takes what other processes publish.
pub trait Sink: Send + Sync + 'static {
    /// Delivers a message. Returns false if there is no room now; nothing was delivered then.
    fn deliver(&self, topic: &str, message: OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool;

    /// Messages of a filter may have been lost; `None`: of any.
    fn gap(&self, filter: Option<&str>);
}

/// The hub's side of a backplane. Does nothing once the hub has gone.
#[derive(Clone)]
pub struct Remote(Arc<dyn Sink>);

impl Remote {
    /// Makes one that leads to any sink, such as one that changes messages on the way.
    #[must_use]
    pub fn to(sink: impl Sink) -> Self {
        Self(Arc::new(sink))
    }

    /// Delivers what another process has published, with its key and its position in a durable topic.
    /// Returns false if there is no room now; nothing was delivered then.
    #[must_use]
    pub fn deliver(&self, topic: &str, message: OwnedMessage, key: Option<&str>, id: Option<&str>) -> bool {
        self.0.deliver(topic, message, key, id)
    }

    /// Reports that messages of a subscribed filter may have been lost; `None`: of any.
    pub fn gap(&self, filter: Option<&str>) {
        self.0.gap(filter);
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Remote")
    }
}
