//! What any thread does for one connection: subscribe it, and end a subscription.

use super::work::Work;
use crate::api::handle::{Handle, HandleError};
use crate::event_loop::mailbox::Command;
use framewright_driver::topics::SubscribeError;
use std::sync::Arc;

/// # Topics
impl Handle {
    /// Subscribes the connection to a topic or a prefix, from any thread, as
    /// [`Socket::subscribe`](crate::Socket::subscribe) does. A message that this thread publishes
    /// afterwards is received.
    ///
    /// The event loop checks the number of the connection's topics later. If there are too many, the
    /// subscription ends at once, with a warning in the log.
    ///
    /// # Errors
    /// A [`SubscribeError`]; nothing has changed.
    pub fn subscribe(&self, filter: &str) -> Result<(), SubscribeError> {
        if !self.is_open() {
            return Err(SubscribeError::Closed);
        }
        let (mailbox, key) = self.place();
        let topics = mailbox.topics().ok_or(SubscribeError::Closed)?;
        if !topics.backlog.has_room_for_joins() {
            return Err(SubscribeError::Busy);
        }
        topics.hub.subscribe(topics.port, key.bits(), self.id(), &Arc::from(filter))?;
        Ok(())
    }

    /// Ends a subscription of the connection, from any thread. It ends behind the messages that were
    /// published before this call.
    ///
    /// # Errors
    /// [`HandleError::Closed`]; [`HandleError::Full`] if too much waits for the event loop.
    pub fn unsubscribe(&self, filter: &str) -> Result<(), HandleError> {
        if !self.is_open() {
            return Err(HandleError::Closed);
        }
        let (mailbox, key) = self.place();
        let topics = mailbox.topics().ok_or(HandleError::Closed)?;
        if !topics.backlog.has_room_for_joins() {
            return Err(HandleError::Full);
        }
        let leave = Work::Leave(key, Arc::from(filter));
        topics.backlog.more(&leave);
        mailbox.post(Command::Work(leave)).map_err(|_| HandleError::Closed)
    }
}
