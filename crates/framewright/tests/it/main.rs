//! The tests of the protocol crate against its RFCs: one module for each topic.

mod backpressure;
mod client_handshake;
#[cfg(feature = "deflate")]
mod client_handshake_deflate;
mod client_handshake_http;
mod client_handshake_properties;
mod client_handshake_proxy;
#[cfg(feature = "deflate")]
mod deflate_habit;
#[cfg(feature = "deflate")]
mod deflate_lending;
#[cfg(feature = "deflate")]
mod deflate_memory;
#[cfg(feature = "deflate")]
mod deflate_properties;
#[cfg(feature = "deflate")]
mod deflate_sending;
#[cfg(feature = "deflate")]
mod deflate_strangers;
#[cfg(feature = "deflate")]
mod deflate_support;
mod handshake;
mod handshake_http;
mod handshake_properties;
mod properties;
mod receiving;
mod section_10_4;
mod section_5_1;
mod section_5_2;
mod section_5_3;
mod section_5_4;
mod section_5_5;
mod section_7;
#[cfg(feature = "deflate")]
mod section_7692_6;
#[cfg(feature = "deflate")]
mod section_7692_7_1;
#[cfg(feature = "deflate")]
mod section_7692_7_2;
#[cfg(feature = "deflate")]
mod section_7692_8;
mod section_8_1;
mod sending;
#[cfg(feature = "deflate")]
mod shared_codec;
mod support;
mod timers;
