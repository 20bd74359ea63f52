//! Stands in for `compression` where the crate is built without permessage-deflate: every offer is declined.

use crate::api::route::Route;
use framewright::Connection;
use framewright::handshake::{Accept, Request};
use std::time::{Duration, Instant};

#[derive(Clone, Debug)]
pub(crate) struct Memory;

impl Memory {
    pub(crate) fn offer(&self, accept: Accept, _: &Request<'_>, _: &Route) -> (Accept, Terms) {
        (accept, Terms)
    }
}

pub(crate) struct Terms;

impl Terms {
    pub(crate) fn hand_over(self, _: &mut Connection) {}
}

pub(crate) struct Shared;

impl Shared {
    pub(crate) fn new(_: Memory) -> Shared {
        Shared
    }

    pub(crate) fn lend(&mut self, _: &mut Connection) {}

    pub(crate) fn reclaim(&mut self, _: &mut Connection, _: Instant) {}

    pub(crate) fn discard(&mut self, _: &mut Connection) {}

    pub(crate) fn trim(&mut self, _: Instant) -> Option<Duration> {
        None
    }
}
