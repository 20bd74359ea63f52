//! What an application decides about its topics: options by filter, limits, the backplane, and who
//! is told of subscriptions.

use super::backplane::Backplane;
use super::names::{Filter, NameError};
use super::options::{OptionsTable, TopicLimits, TopicOptions};
use std::fmt;

/// Learns who subscribes, and of messages that were lost.
///
/// Its methods run on the thread that subscribes, and hold no lock: they may publish and subscribe.
/// Calls for different connections may overlap.
pub trait Observer: Send + Sync + 'static {
    /// A connection has subscribed.
    fn on_subscribed(&self, presence: &Presence<'_>) {
        let _ = presence;
    }

    /// A subscription has ended, by itself or with its connection.
    fn on_unsubscribed(&self, presence: &Presence<'_>) {
        let _ = presence;
    }

    /// Messages of other processes may have been lost for the subscribers of this filter.
    ///
    /// Called for filters that have subscribers in this process. A backplane may report a gap when it
    /// begins and when it has ended.
    fn on_gap(&self, filter: &str) {
        let _ = filter;
    }
}

/// A subscription that has begun or ended.
#[derive(Debug)]
pub struct Presence<'a> {
    pub(super) topic: &'a str,
    pub(super) connection: u64,
    pub(super) subscribers: usize,
}

impl Presence<'_> {
    /// The topic or prefix.
    #[must_use]
    pub fn topic(&self) -> &str {
        self.topic
    }

    /// The number of the connection.
    #[must_use]
    pub fn connection(&self) -> u64 {
        self.connection
    }

    /// The number of subscribers of this process, after the change.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        self.subscribers
    }
}

/// The settings of the topics of a process.
#[derive(Default)]
pub struct Topics {
    pub(super) limits: TopicLimits,
    pub(super) options: OptionsTable,
    pub(super) observer: Option<Box<dyn Observer>>,
    pub(super) backplane: Option<Box<dyn Backplane>>,
}

impl fmt::Debug for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics")
            .field("limits", &self.limits)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Topics {
    /// Starts with the defaults: no options, no observer, no backplane.
    #[must_use]
    pub fn builder() -> TopicsBuilder {
        TopicsBuilder::default()
    }
}

/// Collects settings for [`Topics`].
#[derive(Debug, Default)]
pub struct TopicsBuilder(Topics);

impl TopicsBuilder {
    /// Sets the options of a topic, or of all topics that a prefix matches.
    ///
    /// Of several filters that match a topic, the most specific counts: its name, then the longest
    /// prefix.
    ///
    /// # Panics
    /// If `filter` is not a valid filter; see [`try_options`](TopicsBuilder::try_options).
    #[must_use]
    pub fn options(self, filter: &str, options: TopicOptions) -> Self {
        match self.try_options(filter, options) {
            Ok(builder) => builder,
            Err(error) => panic!("options of {filter:?}: {error}"),
        }
    }

    /// Sets options for a filter that comes from a file or a user.
    ///
    /// # Errors
    /// The rule that the filter breaks. Its length has no limit here.
    pub fn try_options(mut self, filter: &str, options: TopicOptions) -> Result<Self, NameError> {
        self.0.options.insert(Filter::parse(filter, usize::MAX)?, options);
        Ok(self)
    }

    /// Sets the limits.
    #[must_use]
    pub fn limits(mut self, limits: TopicLimits) -> Self {
        self.0.limits = limits;
        self
    }

    /// Sets who is told of subscriptions and gaps.
    #[must_use]
    pub fn observe(mut self, observer: impl Observer) -> Self {
        self.0.observer = Some(Box::new(observer));
        self
    }

    /// Sets the way to other processes.
    #[must_use]
    pub fn backplane(mut self, backplane: impl Backplane) -> Self {
        self.0.backplane = Some(Box::new(backplane));
        self
    }

    /// Ends the collection.
    #[must_use]
    pub fn build(self) -> Topics {
        self.0
    }
}
