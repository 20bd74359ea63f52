//! What goes over the wire between a peer and a program of ours: recorded on the way ([`proxy`]),
//! then taken apart and compared with what both sides should have sent ([`exchange`], [`expect`]).
//!
//! A peer that gets its messages back does not prove that any of them was compressed. The octets
//! do.

mod exchange;
mod expect;
mod proxy;

pub(crate) use exchange::Exchange;
pub(crate) use expect::{Compresses, Expected, Message, ratio};
pub(crate) use proxy::Proxy;
