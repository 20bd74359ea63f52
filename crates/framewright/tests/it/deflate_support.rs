//! What the tests of permessage-deflate share: endpoints that have agreed on it, in all ways there
//! are.

use crate::support::from_peer;
use framewright::deflate::{Codec, DeflateMemory, DeflateParams, WindowBits};
use framewright::{Config, Delivery, Role};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::Endpoint;
use framewright_testkit::wire::WireFrame;

/// Context takeover by both, and the largest windows.
pub(crate) const TAKEOVER: DeflateParams = DeflateParams {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: WindowBits::MAX,
    client_max_window_bits: WindowBits::MAX,
};

/// No context takeover.
pub(crate) const NO_TAKEOVER: DeflateParams =
    DeflateParams { server_no_context_takeover: true, client_no_context_takeover: true, ..TAKEOVER };

/// Settings under which whatever gets shorter is compressed.
pub(crate) fn eager() -> Config {
    let mut config = Config::default();
    config.deflate.threshold = 0;
    config
}

/// Settings under which whatever gets shorter is compressed, with chunk delivery.
pub(crate) fn eager_chunks() -> Config {
    Config { delivery: Delivery::Chunks, ..eager() }
}

/// A silent endpoint with these parameters that compresses whatever gets shorter.
pub(crate) fn deflating(role: Role, params: DeflateParams) -> Endpoint {
    deflating_with(role, eager(), params)
}

/// A silent endpoint with these parameters and settings.
pub(crate) fn deflating_with(role: Role, config: Config, params: DeflateParams) -> Endpoint {
    Endpoint::deflating(role, config, params, 7692, Behaviour::Silent)
}

/// A codec with plenty of memory.
pub(crate) fn codec() -> Codec {
    Codec::new(DeflateMemory::new(usize::MAX))
}

/// Silent endpoints under these settings, with and without takeover, with a codec of their own and
/// a lent one.
pub(crate) fn every_kind(role: Role, config: &Config) -> Vec<impl Fn() -> Endpoint> {
    let kinds = [(TAKEOVER, false), (TAKEOVER, true), (NO_TAKEOVER, false), (NO_TAKEOVER, true)];
    let make = move |(params, lent)| {
        let config = config.clone();
        move || {
            let endpoint = deflating_with(role, config.clone(), params);
            if lent { endpoint.with_codec(codec()) } else { endpoint }
        }
    };
    kinds.map(make).into_iter().collect()
}

/// A frame of the peer with these octets behind its header; masked with zeros where it has to be.
pub(crate) fn frame(role: Role, statement: &str, payload: &[u8]) -> Vec<u8> {
    let mask = if role == Role::Server { "mask=00000000" } else { "" };
    let mut frame = from_peer(role, &format!("{statement} {mask} len={}", payload.len()));
    frame.extend_from_slice(payload);
    frame
}

/// The frames that an endpoint has sent, unmasked, one after the other.
pub(crate) fn bare(endpoint: &Endpoint) -> Vec<u8> {
    let mut octets = Vec::new();
    for WireFrame { header, payload, .. } in endpoint.frames() {
        octets.push(u8::from(header.fin) << 7 | header.rsv << 4 | header.opcode);
        octets.push(u8::try_from(payload.len()).expect("a short frame"));
        octets.extend(payload);
    }
    octets
}
