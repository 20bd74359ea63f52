//! Topics over real sockets: what subscribers receive, and in which order.

mod board;
#[cfg(feature = "deflate")]
mod compressed;
mod delivery;
mod ends;
mod limits;
mod model;
mod resume;
mod slow;
