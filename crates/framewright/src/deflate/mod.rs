//! permessage-deflate (RFC 7692): messages compressed one by one with DEFLATE.
//!
//! | file | decides |
//! |---|---|
//! | `negotiate`, `offer`, `answer` | what is offered and agreed on (section 7.1) |
//! | `compress`, `decompress` | from a message to the payload of its frames, and back (section 7.2) |
//! | `history` | the window that a peer's next message may refer to |

mod answer;
mod compress;
mod decompress;
mod history;
mod negotiate;
mod offer;

pub use answer::{AnswerError, check_answer};
pub use compress::{Compressor, Level};
pub use decompress::{Decompressor, InflateError};
pub use negotiate::{DeflateAnswer, DeflateParams, DeflatePolicy, WindowBits};
pub use offer::{ClientWindow, DeflateOffer};

/// What the sender removes from the end of each message, and the receiver appends (sections 7.2.1 and 7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
