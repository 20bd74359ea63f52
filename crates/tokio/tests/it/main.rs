//! The tests of framewright-tokio, one program.

mod accepting;
mod basics;
mod cancelling;
#[cfg(feature = "deflate")]
mod compression;
mod deadlines;
mod fairness;
mod interleaving;
mod scripted;
mod sending;
mod support;
mod together;
mod topics;
