//! What the tests, fuzz targets and benches share.

pub mod app;
pub mod deflate;
pub mod endpoint;
pub mod fuzz_connection;
pub mod fuzz_frame;
pub mod fuzz_head;
#[cfg(feature = "deflate")]
pub mod fuzz_inflate;
#[cfg(feature = "deflate")]
pub mod fuzz_negotiation;
pub mod fuzz_response;
pub mod naive;
mod naive_handshake;
pub mod naive_head;
pub mod naive_inflate;
pub mod naive_response;
pub mod net;
pub mod rng;
pub mod script;
pub mod split;
pub mod traffic;
pub mod wire;

/// The examples of the README.
#[cfg(all(doctest, feature = "deflate"))]
#[doc = include_str!("../../../README.md")]
struct Readme;
