//! The methods that send, in one place for both types that have them: the socket and its sending
//! half.

/// Methods for a type that has `poll_send`, which queues a message and waits until the stream has
/// taken it, and `poll_feed`, which only queues.
macro_rules! commands {
    ($type:ident) => {
        impl<S: AsyncRead + AsyncWrite + Unpin> $type<S> {
            /// Sends a message: waits for room in the queue, and then until the stream has taken
            /// everything that is queued. It does not wait for the peer's answer. A stream that
            /// writes later, such as one of HTTP/2, may lose what it has taken if it is dropped
            /// before a closing handshake.
            ///
            /// *Cancel safety*: a message is queued whole or not at all. If this is dropped after
            /// that, the message still leaves with the next call. A caller that has to know uses
            /// [`feed`](Self::feed) and [`flush`](Self::flush).
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed), or
            /// [`SendError::FragmentInProgress`](framewright::SendError::FragmentInProgress).
            pub async fn send(&mut self, message: Message<'_>) -> Result<(), SendError> {
                let mut queued = false;
                let len = message.len();
                poll_fn(|context| self.poll_send(context, &mut queued, (len, &mut |work| work.send(message))))
                    .await
            }

            /// Sends a text message.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub async fn send_text(&mut self, text: &str) -> Result<(), SendError> {
                self.send(Message::Text(text)).await
            }

            /// Sends a binary message.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub async fn send_binary(&mut self, payload: &[u8]) -> Result<(), SendError> {
                self.send(Message::Binary(payload)).await
            }

            /// Sends one fragment of a message; `last` marks the final one (RFC 6455, section 5.4).
            /// Other messages have to wait until the last fragment is sent.
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed), or
            /// [`SendError::FragmentType`](framewright::SendError::FragmentType).
            pub async fn send_fragment(&mut self, data: Message<'_>, last: bool) -> Result<(), SendError> {
                let mut queued = false;
                poll_fn(|context| {
                    self.poll_send(
                        context,
                        &mut queued,
                        (0, &mut |work| work.turn.connection.send_fragment(data, last)),
                    )
                })
                .await
            }

            /// Sends a message that was encoded once for many connections.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub async fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
                let mut queued = false;
                poll_fn(|context| {
                    self.poll_send(
                        context,
                        &mut queued,
                        (0, &mut |work| work.turn.connection.send_prepared(prepared)),
                    )
                })
                .await
            }

            /// Sends a Ping with at most 125 bytes of data; its Pong arrives as an event. Keep-alive
            /// Pings are sent without this call.
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed), or
            /// [`SendError::ControlTooLong`](framewright::SendError::ControlTooLong).
            pub async fn ping(&mut self, data: &[u8]) -> Result<(), SendError> {
                let mut queued = false;
                poll_fn(|context| {
                    self.poll_send(context, &mut queued, (0, &mut |work| work.turn.connection.ping(data)))
                })
                .await
            }

            /// Queues a message, as soon as there is room for it. It leaves with the next
            /// [`flush`](Self::flush) or [`send`](Self::send), or before the receiver waits; what the
            /// stream takes of a long one leaves at once, and is not copied.
            ///
            /// *Cancel safety*: the message is queued if and only if this has returned `Ok`.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub async fn feed(&mut self, message: Message<'_>) -> Result<(), SendError> {
                if let Some(done) = self.shared().lock().feed(message) {
                    return done;
                }
                poll_fn(|context| self.poll_feed(context, (message.len(), &mut |work| work.send(message))))
                    .await
            }

            /// Waits until the stream has taken everything that is queued.
            ///
            /// *Cancel safety*: nothing is lost, and a further call goes on.
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed) if the connection has ended
            /// before.
            pub async fn flush(&mut self) -> Result<(), SendError> {
                poll_fn(|context| self.poll_flush(context)).await
            }

            /// Waits until there is room for a message in the queue. The next
            /// [`start_send`](Self::start_send) then gets that room, even if a Pong has taken it
            /// meanwhile.
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed).
            pub fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), SendError>> {
                self.poll_feed(context, (0, &mut |work| work.promise_room()))
            }

            /// Queues a message, without waiting.
            ///
            /// # Errors
            /// Those of [`send`](Self::send), and [`SendError::Full`](framewright::SendError::Full) if
            /// there is no room and [`poll_ready`](Self::poll_ready) has promised none.
            pub fn start_send(&mut self, message: Message<'_>) -> Result<(), SendError> {
                self.shared().lock().send_now(message)
            }

            /// Queues a Ping with at most 125 bytes of data, without waiting.
            ///
            /// # Errors
            /// Those of [`ping`](Self::ping), and [`SendError::Full`](framewright::SendError::Full) if
            /// there is no room.
            pub fn start_ping(&mut self, data: &[u8]) -> Result<(), SendError> {
                self.shared().lock().command(|connection| connection.ping(data))
            }

            /// Queues an unsolicited Pong with at most 125 bytes of data (RFC 6455, section 5.5.3),
            /// without waiting. Pings are answered without this call.
            ///
            /// # Errors
            /// Those of [`start_ping`](Self::start_ping).
            pub fn start_pong(&mut self, data: &[u8]) -> Result<(), SendError> {
                self.shared().lock().command(|connection| connection.pong(data))
            }

            /// Starts the closing handshake: queues a Close frame behind everything queued before.
            /// Messages still arrive until the peer has answered. A `code` of `None` sends a Close
            /// frame without a code, which cannot have a reason either.
            ///
            /// # Errors
            /// [`SendError::Closed`](framewright::SendError::Closed), or
            /// [`SendError::CloseReason`](framewright::SendError::CloseReason) if `reason` has more
            /// than 123 bytes, or is not empty without a `code`.
            pub fn start_close(
                &mut self,
                code: impl Into<Option<CloseCode>>,
                reason: &str,
            ) -> Result<(), SendError> {
                let code = code.into();
                self.shared().lock().command(|connection| connection.close(code, reason))
            }

            /// Drops the connection and its stream: no Close frame is sent, and what is queued is
            /// discarded.
            pub fn abort(&mut self) {
                self.shared().lock().abort();
                self.shared().end_topics();
            }

            /// Whether messages can be sent: the closing handshake has not begun.
            pub fn is_open(&self) -> bool {
                self.shared().lock().is_open()
            }

            /// The subprotocol that was agreed on, if any.
            pub fn subprotocol(&self) -> Option<String> {
                self.shared().lock().turn.connection.subprotocol().map(String::from)
            }

            /// The parameters of permessage-deflate; `None` if it was not negotiated.
            pub fn deflate(&self) -> Option<framewright::deflate::DeflateParams> {
                self.shared().lock().turn.connection.deflate()
            }

            /// Returns a future that keeps the deadlines while nobody receives: see [`Attendant`].
            pub fn attendant(&self) -> Attendant<S> {
                Attendant::new(self.shared())
            }
        }

        impl<S: AsyncRead + AsyncWrite + Unpin> Sink<OwnedMessage> for $type<S> {
            type Error = SendError;

            fn poll_ready(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                $type::poll_ready(&mut self, context)
            }

            fn start_send(mut self: Pin<&mut Self>, message: OwnedMessage) -> Result<(), SendError> {
                $type::start_send(&mut self, message.as_message())
            }

            fn poll_flush(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                $type::poll_flush(&mut self, context)
            }

            /// Sends a Close frame with 1000. The stream of messages ends when the peer has answered.
            fn poll_close(
                mut self: Pin<&mut Self>,
                context: &mut Context<'_>,
            ) -> Poll<Result<(), SendError>> {
                if self.is_open() {
                    self.start_close(CloseCode::NORMAL, "")?;
                }
                $type::poll_flush(&mut self, context)
            }
        }
    };
}

pub(crate) use commands;
