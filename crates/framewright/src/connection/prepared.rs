//! Messages that are encoded once and sent on many connections, compressed where that was agreed on.

use super::Connection;
use super::event::Message;
#[cfg(feature = "deflate")]
use super::next_key;
use super::send::opcode;
#[cfg(feature = "deflate")]
use crate::deflate::{Codec, Level, WindowBits};
use crate::error::SendError;
use crate::frame::{OpCode, encode_frame};
use std::sync::Arc;

/// A message encoded once, to be sent on many connections. Cloning shares it.
///
/// A server sends its octets as they are, without a copy where they are many; a client has to mask them anew each time. For
/// connections with permessage-deflate it holds the compressed form too, for each level and size of window in use: made by the
/// first connection that needs it.
#[derive(Clone, Debug)]
pub struct Prepared {
    plain: Encoded,
    text: bool,
    /// `None` if it is never to be compressed.
    #[cfg(feature = "deflate")]
    forms: Option<Arc<forms::Forms>>,
}

/// An unmasked frame.
#[derive(Clone, Debug)]
struct Encoded {
    frame: Arc<[u8]>,
    header_len: usize,
}

impl Encoded {
    fn payload(&self) -> &[u8] {
        &self.frame[self.header_len..]
    }
}

impl Prepared {
    /// Encodes a message.
    #[must_use]
    pub fn new(message: Message<'_>) -> Prepared {
        Prepared {
            #[cfg(feature = "deflate")]
            forms: Some(Arc::default()),
            ..Prepared::uncompressed(message)
        }
    }

    /// Encodes a message that is sent as it is, whatever a connection has agreed on.
    #[must_use]
    pub fn uncompressed(message: Message<'_>) -> Prepared {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, opcode(message), message.as_bytes(), None);
        let header_len = frame.len() - message.len();
        Prepared {
            plain: Encoded { frame: frame.into(), header_len },
            text: message.is_text(),
            #[cfg(feature = "deflate")]
            forms: None,
        }
    }

    /// Octets of payload data, uncompressed.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.plain.payload().len()
    }

    fn opcode(&self) -> OpCode {
        if self.text { OpCode::Text } else { OpCode::Binary }
    }
}

impl Connection {
    /// Queues a message that was encoded before.
    ///
    /// # Errors
    /// Those of [`send`](Connection::send).
    pub fn send_prepared(&mut self, prepared: &Prepared) -> Result<(), SendError> {
        self.check_message()?;
        if !self.push_prepared_compressed(prepared) {
            match self.next_mask() {
                None => self.outbox.push_shared(&prepared.plain.frame),
                mask => self.outbox.push(true, prepared.opcode(), prepared.plain.payload(), mask),
            }
        }
        self.count_sent(prepared.payload_len(), true);
        self.note_queued();
        Ok(())
    }

    /// Queues the compressed form, if this connection compresses and it is shorter: whether it was.
    #[cfg(feature = "deflate")]
    fn push_prepared_compressed(&mut self, prepared: &Prepared) -> bool {
        let Some(forms) = &prepared.forms else { return false };
        let Some((level, window)) = self.prepared_form(prepared.payload_len()) else { return false };
        let codec = self.codec_mut();
        let Some(encoded) = forms.get(prepared, level, window, codec) else { return false };
        let Connection { outbox, extra, .. } = self;
        match next_key(extra) {
            None => outbox.push_shared(&encoded.frame),
            mask => outbox.push_frame(true, crate::frame::RSV1, prepared.opcode(), encoded.payload(), mask),
        }
        self.remember_sent(prepared.plain.payload());
        true
    }

    #[cfg(not(feature = "deflate"))]
    #[allow(clippy::unused_self, reason = "as where something is compressed")]
    fn push_prepared_compressed(&mut self, _: &Prepared) -> bool {
        false
    }
}

#[cfg(feature = "deflate")]
mod forms {
    use super::{Codec, Encoded, Level, Prepared, WindowBits};
    use crate::frame::{Header, MAX_HEADER_LEN, RSV1};
    use std::sync::{Mutex, PoisonError};

    /// The compressed forms of a message.
    #[derive(Debug, Default)]
    pub(super) struct Forms(Mutex<Vec<Form>>);

    #[derive(Debug)]
    struct Form {
        level: Level,
        window: WindowBits,
        /// `None` if it is no shorter.
        encoded: Option<Encoded>,
    }

    impl Forms {
        /// The form for this level and window, made now if nobody has asked for it; `None` if it is no shorter. Others that need
        /// it wait meanwhile.
        pub(super) fn get(
            &self,
            prepared: &Prepared,
            level: Level,
            window: WindowBits,
            codec: &mut Codec,
        ) -> Option<Encoded> {
            // A form is added whole, so that one panicking elsewhere leaves nothing half done.
            let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(form) = forms.iter().find(|form| form.level == level && form.window == window) {
                return form.encoded.clone();
            }
            let payload = codec.compress(prepared.plain.payload(), true, level, window, None);
            let encoded = (payload.len() < prepared.payload_len()).then(|| encode(prepared, payload));
            forms.push(Form { level, window, encoded: encoded.clone() });
            encoded
        }
    }

    fn encode(prepared: &Prepared, payload: &[u8]) -> Encoded {
        let header = Header {
            fin: true,
            rsv: RSV1,
            opcode: prepared.opcode(),
            mask: None,
            payload_len: payload.len() as u64,
        };
        let mut octets = [0; MAX_HEADER_LEN];
        let header_len = header.encode(&mut octets);
        Encoded { frame: [&octets[..header_len], payload].concat().into(), header_len }
    }
}
