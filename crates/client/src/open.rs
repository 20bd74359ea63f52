//! From an opening handshake that is done to an open connection.

use crate::entropy::Csprng;
use crate::link::Link;
use crate::opening::Opened;
use framewright::handshake::{ServerResponse, WsUri};
use framewright::{Config, Connection};
use std::sync::Arc;
use std::time::Instant;

/// The connection on its socket; the frames that came with the server's answer; where it leads; and that answer.
pub(crate) fn open(
    opened: Opened,
    config: Arc<Config>,
    now: Instant,
) -> (Link, Vec<u8>, WsUri, ServerResponse) {
    let Opened { stream, negotiated, early, response, uri } = opened;
    let connection = Connection::client(config, negotiated, Box::new(Csprng), now);
    (Link::new(connection, stream), early, uri, response)
}
