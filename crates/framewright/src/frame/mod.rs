//! The base framing protocol (RFC 6455, section 5): headers, whole frames, close codes.
//!
//! It is usable alone: [`Header::parse`] and [`Header::encode`] know nothing of a connection, and
//! [`Frame::decode`] is a zero-copy frame codec over a slice. The rules that depend on earlier
//! frames (fragmentation, text split over frames, the closing handshake) are in
//! [`crate::connection`].

mod close;
mod encoder;
mod header;
mod opcode;

pub use close::{CloseCode, CloseFrame, MAX_CLOSE_REASON};
pub use encoder::{encode_frame, encoded_len};
pub use header::{Frame, Header, MAX_HEADER_LEN, MaskRule, RSV1, Rules};
pub use opcode::{MAX_CONTROL_PAYLOAD, OpCode};

pub(crate) use encoder::{SHORT_FRAME, encode_short};
pub(crate) use header::SHORT_MASKED_LEN;
