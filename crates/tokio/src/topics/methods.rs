//! The methods for topics, in one place for both types that have them: the socket and its sending
//! half.

/// Methods for a type that has `shared`, the connection.
macro_rules! topics {
    ($type:ident) => {
        /// # Topics
        ///
        /// A connection that is subscribed to a topic receives what anybody publishes on it. It is
        /// written while the connection is polled: see [`topics`](crate::topics). Subscriptions end
        /// when the connection was dropped or aborted, when its end was received, or with its
        /// attendant.
        impl<S> $type<S> {
            /// Joins a hub. Without this, there is nothing to subscribe to, and nothing that topics
            /// cost. A connection that has joined another hub leaves that one, and its subscriptions
            /// there end.
            pub fn join(&mut self, hub: &crate::topics::Hub) {
                self.shared().join_hub(hub);
            }

            /// Subscribes the connection to a topic, or to all topics below a name: `prices/#` is
            /// `prices`, `prices/EUR`, `prices/EUR/1` and so on, and `#` is every topic.
            ///
            /// First come the messages that were kept for new subscribers
            /// ([`Retain`](crate::topics::Retain)), then every message that is published from now on:
            /// none is missed and none comes twice, even if it matches several subscriptions of the
            /// connection. Only the kept ones come with each of these subscriptions. Messages on one
            /// topic arrive in the order in which they were published. Subscribing again changes
            /// nothing.
            ///
            /// # Errors
            /// A [`SubscribeError`](crate::topics::SubscribeError); nothing has changed.
            pub fn subscribe(&mut self, filter: &str) -> Result<(), crate::topics::SubscribeError> {
                self.shared().to_subscribe()?.subscribe(filter, None, None)
            }

            /// Subscribes the connection as [`subscribe`](Self::subscribe) does, with a policy of its
            /// own for messages that wait. For a subscription that exists, it changes the policy.
            ///
            /// # Errors
            /// A [`SubscribeError`](crate::topics::SubscribeError); nothing has changed.
            pub fn subscribe_with(
                &mut self,
                filter: &str,
                policy: crate::topics::SlowConsumer,
            ) -> Result<(), crate::topics::SubscribeError> {
                self.shared().to_subscribe()?.subscribe(filter, Some(policy), None)
            }

            /// Subscribes the connection to a durable topic, behind the message with the position
            /// `after`, the last one that its peer has received.
            ///
            /// First come the stored messages behind it, then all that are published from now on. If
            /// some of them are not stored any more, or the backplane is away, the topic is among the
            /// [gaps](Self::take_gaps). For a subscription that exists, nothing changes.
            ///
            /// # Errors
            /// A [`SubscribeError`](crate::topics::SubscribeError); nothing has changed.
            pub fn subscribe_after(
                &mut self,
                topic: &str,
                after: &str,
            ) -> Result<(), crate::topics::SubscribeError> {
                self.shared().to_subscribe()?.subscribe(topic, None, Some(after))
            }

            /// Takes the topics in which messages may be lost for this connection since the last call:
            /// those of [`subscribe_after`](Self::subscribe_after) of which not all is stored.
            pub fn take_gaps(&mut self) -> Vec<Arc<str>> {
                self.shared().member().map_or_else(Vec::new, |member| member.take_gaps())
            }

            /// Ends a subscription. Returns whether there was one.
            ///
            /// Nothing that is published on it is queued any more, not even what waits, unless
            /// another subscription of the connection matches it.
            pub fn unsubscribe(&mut self, filter: &str) -> bool {
                self.shared().member().is_some_and(|member| member.unsubscribe(filter))
            }

            /// The topics and prefixes that the connection is subscribed to, in no order.
            #[must_use]
            pub fn topics(&self) -> Vec<Arc<str>> {
                self.shared().member().map_or_else(Vec::new, |member| member.topics())
            }

            /// Publishes a message to all other subscribers of a topic: a [`Message`], a `&str` for
            /// text, or a [`Prepared`]. Returns at once, as
            /// [`Hub::publish`](crate::topics::Hub::publish) does.
            ///
            /// # Errors
            /// Those of [`Hub::publish`](crate::topics::Hub::publish), and
            /// [`PublishError::NotJoined`](crate::topics::PublishError::NotJoined).
            pub fn publish(
                &self,
                topic: &str,
                message: impl Into<Prepared>,
            ) -> Result<(), crate::topics::PublishError> {
                self.shared().to_publish()?.publish(topic, None, message.into(), false)
            }

            /// Publishes a message with a key, as
            /// [`Hub::publish_keyed`](crate::topics::Hub::publish_keyed) does, to all other
            /// subscribers.
            ///
            /// # Errors
            /// Those of [`publish`](Self::publish).
            pub fn publish_keyed(
                &self,
                topic: &str,
                key: &str,
                message: impl Into<Prepared>,
            ) -> Result<(), crate::topics::PublishError> {
                self.shared().to_publish()?.publish(topic, Some(key), message.into(), false)
            }

            /// Publishes a message as [`publish`](Self::publish) does, to this connection too if it
            /// is subscribed.
            ///
            /// # Errors
            /// Those of [`publish`](Self::publish).
            pub fn publish_to_all(
                &self,
                topic: &str,
                message: impl Into<Prepared>,
            ) -> Result<(), crate::topics::PublishError> {
                self.shared().to_publish()?.publish(topic, None, message.into(), true)
            }
        }
    };
}

pub(crate) use topics;
