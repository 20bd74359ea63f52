//! What the section tests share: a stream of the peer goes through every split, and the outcome has
//! to be the same.

use framewright::{CloseCode, Config, Error, LimitExceeded, PeerMisbehaved, Role, State};
use framewright_testkit::app::Behaviour;
use framewright_testkit::endpoint::{Endpoint, Seen};
use framewright_testkit::naive::{self, connection::Verdict};
use framewright_testkit::script;
use framewright_testkit::split::every_split;

pub(crate) const ROLES: [Role; 2] = [Role::Client, Role::Server];

/// A silent endpoint under default settings.
pub(crate) fn endpoint(role: Role) -> Endpoint {
    Endpoint::new(role, Config::default(), 6455, Behaviour::Silent)
}

/// The octets of a script that the peer of `role` sends.
pub(crate) fn from_peer(role: Role, source: &str) -> Vec<u8> {
    script::bytes(role.peer(), source)
}

/// Receives the script of the peer in every split. Every run has to see, send and become the same;
/// the last one is returned.
pub(crate) fn receive(role: Role, source: &str) -> Endpoint {
    receive_with(role, &Config::default(), Behaviour::Silent, source)
}

/// Receives the script of the peer in every split, with these settings and this application.
pub(crate) fn receive_with(role: Role, config: &Config, behaviour: Behaviour, source: &str) -> Endpoint {
    receive_by(|| Endpoint::new(role, config.clone(), 6455, behaviour), &from_peer(role, source))
}

/// Receives these bytes in every split, each time with an endpoint that `make` makes.
pub(crate) fn receive_by(make: impl Fn() -> Endpoint, bytes: &[u8]) -> Endpoint {
    let mut last: Option<Endpoint> = None;
    every_split(bytes, |_, pieces| {
        let mut endpoint = make();
        for piece in pieces {
            endpoint.feed(piece);
        }
        if let Some(last) = &last {
            assert_eq!(endpoint.events, last.events);
            assert_eq!(endpoint.sent, last.sent);
            assert_eq!(endpoint.connection.state(), last.connection.state());
            assert_eq!(endpoint.shutdown, last.shutdown);
        }
        last = Some(endpoint);
    });
    last.expect("there is at least one split")
}

/// The script has to fail the connection: with this cause, at the octet that proves it, with one
/// Close frame of its code and nothing behind it, and with the end of the transport after it.
pub(crate) fn fails(role: Role, source: &str, cause: impl Into<Error>) -> Endpoint {
    fails_with(role, &Config::default(), source, cause)
}

/// The script has to fail a silent endpoint with these settings: see [`fails`].
pub(crate) fn fails_with(role: Role, config: &Config, source: &str, cause: impl Into<Error>) -> Endpoint {
    fails_by(|| Endpoint::new(role, config.clone(), 6455, Behaviour::Silent), source, cause)
}

/// The script has to fail each endpoint that `make` makes, all with a silent application: see
/// [`fails`].
pub(crate) fn fails_by(make: impl Fn() -> Endpoint, source: &str, cause: impl Into<Error>) -> Endpoint {
    let cause = cause.into();
    let mut early = make();
    let role = early.connection.role();
    let bytes = from_peer(role, source);
    let endpoint = receive_by(&make, &bytes);
    let closure = endpoint.closure();
    assert_eq!(closure.cause, Some(cause.clone()), "{source}");
    assert!(!closure.clean && closure.received.is_none() && closure.code() == 1006);
    let code = cause.close_code().expect("a fault with a code");
    assert_eq!(closure.sent.as_ref().and_then(|frame| frame.code), Some(code));
    assert_eq!(sent_close(&endpoint), Some(code.get()));
    assert!(endpoint.shutdown, "the transport is ended in either role");

    let inflation = early.inflation_of(role.peer());
    let verdict =
        naive::connection::read_compressed(role, early.connection.config(), inflation, &bytes).verdict;
    let Verdict::Failed { code: naive_code, at } = verdict else { panic!("{verdict:?}") };
    assert_eq!(naive_code, code.get());
    early.feed(&bytes[..at - 1]);
    assert_eq!(early.connection.state(), State::Open, "{at} octets prove it, not fewer");
    early.feed(&bytes[at - 1..at]);
    assert_eq!(sent_close(&early), Some(code.get()), "the Close is sent before octet {at} of {source}");
    endpoint
}

pub(crate) fn misbehaved(rule: PeerMisbehaved) -> Error {
    Error::Peer(rule)
}

pub(crate) fn limit(limit: LimitExceeded) -> Error {
    Error::Limit(limit)
}

/// The code of the only and last frame that was sent, if it is a Close.
pub(crate) fn sent_close(endpoint: &Endpoint) -> Option<u16> {
    endpoint.frames().last()?.close_code()
}

/// Opcode and payload of every frame that was sent.
pub(crate) fn sent(endpoint: &Endpoint) -> Vec<(u8, Vec<u8>)> {
    endpoint.frames().into_iter().map(|frame| (frame.header.opcode, frame.payload)).collect()
}

pub(crate) fn text(text: &str) -> Seen {
    Seen::Text(text.to_owned())
}

pub(crate) fn binary(payload: &[u8]) -> Seen {
    Seen::Binary(payload.to_vec())
}

pub(crate) fn code(code: u16) -> CloseCode {
    CloseCode::new(code).expect("a code that may travel")
}
