//! What is sent, and whether that is what comes back.

use framewright_client::{Chunk, Config, DeflateConfig, Message};

/// Around the forms of a frame's length, the threshold of compression, the sizes of buffers; and
/// the largest.
const LENGTHS: [usize; 18] = [
    0,
    1,
    2,
    125,
    126,
    127,
    128,
    1000,
    4095,
    16_384,
    65_535,
    65_536,
    131_073,
    1 << 20,
    (1 << 20) + 1,
    3 << 20,
    16 << 20,
    64 << 20,
];

/// Messages up to this length are compressed, where that is agreed on.
const COMPRESSED: usize = 4 << 20;

/// Limits that let the largest message pass, at either end.
pub(crate) fn limits() -> Config {
    Config {
        max_message: 64 << 20,
        max_frame: 64 << 20,
        deflate: DeflateConfig { largest: COMPRESSED, ..DeflateConfig::default() },
        ..Config::default()
    }
}

/// Text and octets of all lengths, one after the other.
pub(crate) struct Messages {
    text: String,
    largest: usize,
    /// The index of the next one, two for each length.
    next: usize,
    /// How much of the expected message has come.
    come: usize,
}

impl Messages {
    pub(crate) fn up_to(largest: usize) -> Messages {
        let line = "{\"symbol\":\"FRMW\",\"price\":101.25,\"size\":300,\"venue\":\"loopback\"}";
        let mut text = String::with_capacity(largest + 2000);
        // Numbered, so that no piece is taken for another.
        for number in 0.. {
            if text.len() >= largest {
                break;
            }
            text += &format!("{number:08}");
            text += &line.repeat(15);
        }
        Messages { text, largest, next: 0, come: 0 }
    }

    /// The one to send now; `None` when all have come back.
    pub(crate) fn current(&self) -> Option<Message<'_>> {
        let length = LENGTHS.get(self.next / 2).filter(|&&length| length <= self.largest)?;
        let text = &self.text[..*length];
        Some(if self.next.is_multiple_of(2) { Message::Text(text) } else { Message::Binary(text.as_bytes()) })
    }

    /// A whole message has come back.
    pub(crate) fn take(&mut self, message: Message<'_>) {
        self.take_chunk(Chunk { data: message, first: true, last: true });
    }

    /// A piece of one has come back.
    pub(crate) fn take_chunk(&mut self, chunk: Chunk<'_>) {
        let expected = self.current().expect("a message is on its way");
        assert_eq!(chunk.data.is_text(), expected.is_text());
        assert_eq!(chunk.first, self.come == 0);
        let end = self.come + chunk.data.len();
        assert!(end <= expected.len(), "more came back than was sent");
        assert!(
            chunk.data.as_bytes() == &expected.as_bytes()[self.come..end],
            "message {} differs",
            self.next
        );
        assert_eq!(chunk.last && end == expected.len(), chunk.last, "message {} ends early", self.next);
        self.come = end;
        if chunk.last {
            self.come = 0;
            self.next += 1;
        }
    }
}
