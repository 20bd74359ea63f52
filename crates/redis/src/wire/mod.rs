//! What is in Redis: names, envelopes, and the entries of streams.

pub(crate) mod entry;
pub(crate) mod envelope;
pub(crate) mod names;
