//! What the crate under test should do, written down the slow and obvious way.
//!
//! A reference is given everything at once, copies what it finds, and shares no code with what it
//! checks.
//!
//! | module | what it judges |
//! |---|---|
//! | [`connection`] | a stream of frames, as a receiver reads it |
//! | [`inflate`] | a compressed payload |
//! | [`fields`] | the syntax that both heads have |
//! | [`head`] | the head of a request, as a server reads it |
//! | [`handshake`] | a complete request: is it an opening handshake, and a correct one? |
//! | [`response`] | the answer of a server, as a client reads it |

pub mod connection;
pub mod fields;
pub mod handshake;
pub mod head;
pub mod inflate;
pub mod response;
