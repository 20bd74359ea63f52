//! The methods that send, in one place for everything that sends: the blocking client, its sending
//! half, and the socket of an event loop. They differ in how the queued bytes are then written.

/// Methods for a type that has `fn transmit(&mut self, &mut dyn FnMut(&mut Connection) ->
/// Result<(), SendError>)`.
macro_rules! commands {
    ($type:ty) => {
        impl $type {
            /// Sends a message. The payload is masked while it is copied. If compression was
            /// negotiated and pays, it is compressed first. The caller's bytes stay unchanged (RFC
            /// 6455, section 5.3).
            ///
            /// # Errors
            /// [`SendError::Closed`](crate::SendError::Closed),
            /// [`SendError::Full`](crate::SendError::Full), or
            /// [`SendError::FragmentInProgress`](crate::SendError::FragmentInProgress).
            pub fn send(&mut self, message: framewright::Message<'_>) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.send(message))
            }

            /// Sends a text message.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub fn send_text(&mut self, text: &str) -> Result<(), framewright::SendError> {
                self.send(framewright::Message::Text(text))
            }

            /// Sends a binary message.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub fn send_binary(&mut self, payload: &[u8]) -> Result<(), framewright::SendError> {
                self.send(framewright::Message::Binary(payload))
            }

            /// Sends a message uncompressed, even if permessage-deflate was negotiated. Use it for
            /// data that does not compress, and for secrets next to attacker-controlled text (RFC
            /// 7692, section 8).
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub fn send_uncompressed(
                &mut self,
                message: framewright::Message<'_>,
            ) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.send_uncompressed(message))
            }

            /// Sends a message and takes its ownership: a long payload is masked in place instead
            /// of being copied.
            ///
            /// # Errors
            /// Those of [`send`](Self::send). [`Unsent`](crate::Unsent) returns the message
            /// unchanged. If the connection failed while the message was being sent, the error is
            /// `Closed` and the message is empty.
            pub fn send_owned(
                &mut self,
                message: impl Into<framewright::OwnedMessage>,
            ) -> Result<(), Box<framewright::Unsent>> {
                let mut message = message.into();
                let sent = self.transmit(&mut |connection| {
                    let handed_over =
                        std::mem::replace(&mut message, framewright::OwnedMessage::Binary(Vec::new()));
                    connection.send_owned(handed_over).map_err(|unsent| {
                        message = unsent.message;
                        unsent.error
                    })
                });
                sent.map_err(|error| Box::new(framewright::Unsent { error, message }))
            }

            /// Sends one fragment of a message; `last` marks the final one (RFC 6455, section 5.4).
            /// A text is cut between characters. Other messages have to wait until the last
            /// fragment is sent.
            ///
            /// # Errors
            /// [`SendError::Closed`](crate::SendError::Closed),
            /// [`SendError::Full`](crate::SendError::Full), or
            /// [`SendError::FragmentType`](crate::SendError::FragmentType).
            pub fn send_fragment(
                &mut self,
                data: framewright::Message<'_>,
                last: bool,
            ) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.send_fragment(data, last))
            }

            /// Sends a message that was encoded once for many connections.
            ///
            /// # Errors
            /// Those of [`send`](Self::send).
            pub fn send_prepared(
                &mut self,
                prepared: &framewright::Prepared,
            ) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.send_prepared(prepared))
            }

            /// Sends a Ping with at most 125 bytes of data; its Pong arrives as an event.
            /// Keep-alive Pings are sent without this call.
            ///
            /// # Errors
            /// [`SendError::Closed`](crate::SendError::Closed),
            /// [`SendError::Full`](crate::SendError::Full), or
            /// [`SendError::ControlTooLong`](crate::SendError::ControlTooLong).
            pub fn ping(&mut self, data: &[u8]) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.ping(data))
            }

            /// Sends an unsolicited Pong with at most 125 bytes of data. Pings are answered without
            /// this call.
            ///
            /// # Errors
            /// Those of [`ping`](Self::ping).
            pub fn pong(&mut self, data: &[u8]) -> Result<(), framewright::SendError> {
                self.transmit(&mut |connection| connection.pong(data))
            }

            /// Starts the closing handshake: sends a Close frame, as a message is sent. Messages
            /// still arrive until the server has answered with its own Close. A `code` of `None`
            /// sends a Close frame without a code, which cannot have a reason either.
            ///
            /// # Errors
            /// [`SendError::Closed`](crate::SendError::Closed), or
            /// [`SendError::CloseReason`](crate::SendError::CloseReason) if `reason` has more than 123 bytes, or is not
            /// empty without a `code`. Never `Full`.
            pub fn close(
                &mut self,
                code: impl Into<Option<framewright::CloseCode>>,
                reason: &str,
            ) -> Result<(), framewright::SendError> {
                let code = code.into();
                self.transmit(&mut |connection| connection.close(code, reason))
            }
        }
    };
}

pub(crate) use commands;
