//! The extractor and its connections, over HTTP/1.1 and HTTP/2.

mod examples;
mod graceful;
mod handshake;
mod http2;
mod socket;
mod support;
