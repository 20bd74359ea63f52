//! The parameters with which permessage-deflate (RFC 7692) is negotiated on a route, and the memory
//! that they reserve.

use crate::api::route::Route;
use framewright::deflate::{DeflateMemory, Reservation};
use framewright::handshake::{Accept, Request};
use std::sync::Arc;

/// Adds permessage-deflate to an acceptance, by the handler's policy or else by the route's. If
/// `memory` has no room for context takeover, negotiates without it. The connection owns the
/// reservation for takeover.
#[cfg(feature = "deflate")]
pub(crate) fn negotiate(
    memory: &Arc<DeflateMemory>,
    accept: Accept,
    request: &Request<'_>,
    route: &Route,
) -> (Accept, Option<Reservation>) {
    let Some(policy) = accept.deflate().or(route.options.compression) else {
        return (accept, None);
    };
    let agreed = policy.accept(request.extensions());
    let size = agreed
        .map_or(0, |answer| answer.params().takeover_size(framewright::Role::Server, &route.config.deflate));
    if size == 0 {
        return (accept.with_deflate(policy), None);
    }
    match memory.reserve(size) {
        Some(reservation) => (accept.with_deflate(policy), Some(reservation)),
        None => (accept.with_deflate(policy.without_takeover()), None),
    }
}

/// Declines every offer: this build has no permessage-deflate.
#[cfg(not(feature = "deflate"))]
pub(crate) fn negotiate(
    _: &Arc<DeflateMemory>,
    accept: Accept,
    _: &Request<'_>,
    _: &Route,
) -> (Accept, Option<Reservation>) {
    (accept, None)
}
