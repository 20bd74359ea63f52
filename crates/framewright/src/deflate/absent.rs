//! permessage-deflate in a build without the feature `deflate`: the types that a
//! [`Connection`](crate::Connection), its driver and the settings of both sides name. With them,
//! that code is the same in both builds. A struct or an enum whose members depended on a feature
//! would break code that names all members, as soon as another crate turns the feature on.
//!
//! In such a build permessage-deflate is never negotiated. So [`DeflatePolicy`], [`DeflateOffer`],
//! [`DeflateParams`], [`Reservation`] and [`DeflateState`] have no values, and the compiler removes
//! the code that would use one. A [`Codec`] can be made, and holds nothing: a connection always
//! gives it back.

use crate::connection::{CompressionStats, Config};
use crate::role::Role;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// The parameters that an opening handshake has negotiated: without the feature `deflate` there is
/// no such value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "it has no values, and no variant to come")]
pub enum DeflateParams {}

/// What a server agrees on with clients that offer it: without the feature `deflate` there is no
/// such value, so that an `Option` of it is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "it has no values, and no variant to come")]
pub enum DeflatePolicy {}

/// What a client offers: without the feature `deflate` there is no such value, so that a list of
/// them is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(clippy::exhaustive_enums, reason = "it has no values, and no variant to come")]
pub enum DeflateOffer {}

/// Why a client fails the connection over the server's answer: the server's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AnswerError {
    /// An extension, of which none was offered.
    NotOffered,
}

impl fmt::Display for AnswerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server accepted an extension that was not offered (RFC 6455, section 4.1)")
    }
}

impl std::error::Error for AnswerError {}

/// Bytes reserved in a [`DeflateMemory`]: without the feature `deflate` there is no such value.
#[derive(Debug)]
#[allow(clippy::exhaustive_enums, reason = "it has no values, and no variant to come")]
pub enum Reservation {}

/// The compressors and decompressors that connections share: none, without the feature `deflate`.
#[derive(Debug)]
pub struct Codec(());

impl Codec {
    /// Makes a codec that holds nothing.
    #[must_use]
    pub fn new(_: Arc<DeflateMemory>) -> Codec {
        Codec(())
    }

    /// Does nothing: no turn inflates a message.
    pub fn allow_long_turns(&mut self, _: bool) {}

    /// Returns 0: no connection works with the codec.
    #[must_use]
    pub fn work(&self) -> usize {
        0
    }

    /// Does nothing: there is nothing to free.
    pub fn trim(&mut self) {}

    /// Returns zeros: no message is compressed or inflated.
    pub fn take_stats(&mut self) -> CompressionStats {
        CompressionStats::default()
    }
}

/// A limit on the memory of compression: of 0 bytes, without the feature `deflate`.
#[derive(Debug)]
pub struct DeflateMemory(());

impl DeflateMemory {
    /// Makes a limit under which nothing is ever reserved.
    #[must_use]
    pub fn new(_cap: usize) -> Arc<DeflateMemory> {
        Arc::new(DeflateMemory(()))
    }
}

/// The state of permessage-deflate on one connection: there is no such value.
#[derive(Debug)]
pub(crate) enum DeflateState {}

/// How a prepared message is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {}

/// The decompressor of one message.
#[derive(Debug)]
pub(crate) enum Inflater {}

/// How urgently a message needs a decompressor.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Arrived,
    Waits,
    Urgent,
}

/// The result of one call of inflating.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Progress {
    pub(crate) read: usize,
    pub(crate) written: usize,
    pub(crate) done: bool,
    pub(crate) corrupt: bool,
    pub(crate) too_far: bool,
}

impl DeflateState {
    pub(crate) fn new(params: DeflateParams) -> DeflateState {
        match params {}
    }

    pub(crate) fn params(&self) -> DeflateParams {
        match *self {}
    }

    pub(crate) fn lend(&mut self, _: Box<Codec>) -> Option<Box<Codec>> {
        match *self {}
    }

    pub(crate) fn reclaim(&mut self) -> Option<Box<Codec>> {
        match *self {}
    }

    pub(crate) fn free_own(&mut self) {
        match *self {}
    }

    pub(crate) fn hold_reservation(&mut self, _: Reservation) {
        match *self {}
    }

    pub(crate) fn is_paused(&self) -> bool {
        match *self {}
    }

    pub(crate) fn set_paused(&mut self, _: bool) {
        match *self {}
    }

    pub(crate) fn compress_message(&mut self, _: &[u8], _: Role, _: &Config) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn compress_fragment(
        &mut self,
        _: &[u8],
        _: bool,
        _: bool,
        _: Role,
        _: &Config,
    ) -> Option<&[u8]> {
        match *self {}
    }

    pub(crate) fn remember(&mut self, _: &[u8], _: Role, _: &Config) {
        match *self {}
    }

    pub(crate) fn remember_prepared(&mut self, _: &[u8], _: Role, _: &Config) {
        match *self {}
    }

    pub(crate) fn note_sent(&mut self, _: usize, _: usize, _: bool) {
        match *self {}
    }

    pub(crate) fn prepared_form(&self, _: usize, _: Role, _: &Config) -> Option<Form> {
        match *self {}
    }

    pub(crate) fn has_codec(&self) -> bool {
        match *self {}
    }

    pub(crate) fn compress_prepared(&mut self, _: &[u8], _: Form) -> &[u8] {
        match *self {}
    }

    pub(crate) fn take_inflater(&mut self, _: Need, _: Role) -> Option<Box<Inflater>> {
        match *self {}
    }

    pub(crate) fn put_inflater(&mut self, _: Box<Inflater>, _: Role, _: Instant) {
        match *self {}
    }

    pub(crate) fn has_forgotten(&self, _: Role) -> bool {
        match *self {}
    }

    pub(crate) fn may_inflate(&mut self) -> usize {
        match *self {}
    }

    pub(crate) fn note_inflated(&mut self, _: &Progress) {
        match *self {}
    }

    pub(crate) fn lets_run(&mut self, _: &mut Inflater) -> bool {
        match *self {}
    }

    pub(crate) fn lets_go(&self, _: &mut Inflater) -> bool {
        match *self {}
    }

    pub(crate) fn check_ratio(&self, _: u64, _: u64, _: &Config) -> Result<(), u32> {
        match *self {}
    }
}

impl Inflater {
    pub(crate) fn note_arrived(&self, _: bool) {
        match *self {}
    }

    pub(crate) fn inflate(&mut self, _: &[u8], _: bool, _: &mut [u8], _: Instant) -> Option<Progress> {
        match *self {}
    }

    pub(crate) fn inflated(&self) -> u64 {
        match *self {}
    }

    pub(crate) fn consumed(&self) -> u64 {
        match *self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Connection;
    use crate::handshake::Negotiated;

    #[test]
    fn a_connection_holds_nothing_for_it_and_gives_back_what_it_is_lent() {
        assert_eq!(size_of::<Option<DeflateState>>(), 0);
        let mut connection = Connection::server(Arc::default(), Negotiated::default(), Instant::now());
        assert!(!connection.driver_view().compresses() && connection.deflate().is_none());
        let codec = Box::new(Codec::new(DeflateMemory::new(usize::MAX)));
        assert!(connection.driver().lend_codec(codec).is_some());
        assert!(connection.driver().reclaim_codec().is_none());
    }
}
