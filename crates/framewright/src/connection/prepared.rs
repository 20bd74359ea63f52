//! Messages that are encoded once and sent on many connections, compressed where that was agreed on.

use super::event::Message;
use super::send::opcode;
use super::{Connection, next_key};
use crate::deflate::{DeflateState, Form};
use crate::error::SendError;
use crate::frame::{Header, MAX_HEADER_LEN, OpCode, RSV1, encode_frame};
use std::sync::{Arc, Mutex, PoisonError};

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
    forms: Option<Arc<Forms>>,
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
        Prepared { forms: cfg!(feature = "deflate").then(Arc::default), ..Prepared::uncompressed(message) }
    }

    /// Encodes a message that is sent as it is, whatever a connection has agreed on.
    #[must_use]
    pub fn uncompressed(message: Message<'_>) -> Prepared {
        let mut frame = Vec::new();
        encode_frame(&mut frame, true, opcode(message), message.as_bytes(), None);
        let header_len = frame.len() - message.len();
        Prepared { plain: Encoded { frame: frame.into(), header_len }, text: message.is_text(), forms: None }
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
    fn push_prepared_compressed(&mut self, prepared: &Prepared) -> bool {
        let Some(forms) = &prepared.forms else { return false };
        let Connection { deflate: Some(deflate), outbox, extra, config, role, .. } = self else {
            return false;
        };
        let form = deflate.prepared_form(prepared.payload_len(), *role, config);
        let Some(form) = form else { return false };
        let Some(encoded) = forms.get(prepared, form, deflate) else { return false };
        match next_key(extra) {
            None => outbox.push_shared(&encoded.frame),
            mask => outbox.push_frame(true, RSV1, prepared.opcode(), encoded.payload(), mask),
        }
        deflate.remember_prepared(prepared.plain.payload(), *role, config);
        true
    }
}

/// The compressed forms of a message.
#[derive(Debug, Default)]
struct Forms(Mutex<Vec<Compressed>>);

#[derive(Debug)]
struct Compressed {
    form: Form,
    /// `None` if it is no shorter.
    encoded: Option<Encoded>,
}

impl Forms {
    /// The message in this form, made now if nobody has asked for it; `None` if it is no shorter. Others that need it wait
    /// meanwhile.
    fn get(&self, prepared: &Prepared, form: Form, deflate: &mut DeflateState) -> Option<Encoded> {
        // A form is added whole, so that one panicking elsewhere leaves nothing half done.
        let mut forms = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compressed) = forms.iter().find(|compressed| compressed.form == form) {
            return compressed.encoded.clone();
        }
        let payload = deflate.compress_prepared(prepared.plain.payload(), form);
        let encoded = (payload.len() < prepared.payload_len()).then(|| encode(prepared, payload));
        forms.push(Compressed { form, encoded: encoded.clone() });
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
