//! permessage-deflate (RFC 7692): messages compressed one by one with DEFLATE.
//!
//! A server negotiates it in the opening handshake with
//! [`Accept::with_deflate`](crate::handshake::Accept::with_deflate). A
//! [`Connection`](crate::Connection) with such a [`Negotiated`](crate::Negotiated) then compresses
//! messages where that pays, and inflates received ones. Its driver lends it the compressors and
//! decompressors, in a [`Codec`].
//!
//! | file | decides |
//! |---|---|
//! | `negotiate`, `offer`, `policy`, `answer` | what is offered and agreed on (section 7.1) |
//! | `compress`, `decompress` | from a message to the payload of its frames, and back (section 7.2) |
//! | `history` | the window that a peer's next message may refer to |
//! | `habit` | what becomes of a peer that was to forget its window, and does not |
//! | `kept` | what is kept of a peer for that, and how it loses it |
//! | `codec` | what all connections of an event loop share, and the work that one may do in a turn |
//! | `compressors` | which compressor goes on for which connection |
//! | `inflater` | what inflates one message, and who loses it to whom |
//! | `memory` | how much all of it may hold |
//! | `giving_way` | who is asked first where that is used up |
//! | `state` | what a connection holds for it, and which of its messages are compressed |
//! | `config` | what an application can set |

mod answer;
mod codec;
mod compress;
mod compressors;
mod config;
mod decompress;
mod giving_way;
mod habit;
mod history;
mod inflater;
mod kept;
mod memory;
mod negotiate;
mod offer;
mod policy;
mod state;

pub use answer::{AnswerError, check_answer};
pub use codec::Codec;
pub(crate) use codec::Need;
pub use compress::Compressor;
pub use config::{DeflateConfig, Level};
pub(crate) use decompress::Progress;
pub use decompress::{Decompressor, InflateError};
use history::{History, Stamp};
pub(crate) use inflater::Inflater;
pub use memory::{DeflateMemory, DeflateMemoryStats, Reservation};
pub use negotiate::{DeflateParams, WindowBits};
pub use offer::{ClientWindow, DeflateOffer};
pub use policy::{DeflateAnswer, DeflatePolicy};
pub(crate) use state::{DeflateState, Form};

/// The bytes that the sender removes from the end of each message, and the receiver appends
/// (sections 7.2.1 and 7.2.2).
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];
