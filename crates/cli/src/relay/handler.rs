//! The connections of the relay: who is let in, and what becomes of each request.

use crate::relay::access::{Access, token};
use crate::relay::answer;
use crate::relay::callback::{Question, unauthorized};
use crate::relay::error::{Code, Failure};
use crate::relay::faults::Faults;
use crate::relay::request::{Command, Request};
use crate::relay::rights::{Rights, covers};
use crate::relay::settings::{Of, Slow, longest};
use framewright_server::topics::{BackplaneError, check_filter, check_topic};
use framewright_server::{
    Accept, CloseCode, Decision, Handler, Incoming, Message, NameError, Observer, PublishError, Response,
    ServerHandle, Socket, StatusCode, SubscribeError, TopicLimits, choose_subprotocol,
};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

/// The name of the protocol in `Sec-WebSocket-Protocol`.
const SUBPROTOCOL: &str = "framewright.relay.v1";

/// Carries out what clients ask for.
pub(crate) struct Relay {
    pub(crate) access: Arc<Access>,
    /// Set before the first connection.
    pub(crate) server: Arc<OnceLock<ServerHandle>>,
    /// The relay's own policies.
    pub(crate) slow: Vec<Of<Slow>>,
    /// The filters of the topics that are kept.
    pub(crate) durable: Vec<String>,
}

/// A client that is connected.
pub(crate) struct Client {
    rights: Arc<Rights>,
    faults: Faults,
}

/// Tells subscribers that messages of other relays are missing.
pub(crate) struct Gaps(pub(crate) Arc<OnceLock<ServerHandle>>);

impl Observer for Gaps {
    fn on_gap(&self, filter: &str) {
        let Some(server) = self.0.get() else { return };
        if let Err(error) = server.publish_local(filter, answer::gap(filter).as_str()) {
            tracing::warn!("the subscribers of {filter:?} are not told of a gap: {error}");
        }
    }
}

impl Handler for Relay {
    type State = Client;

    fn on_request(&self, request: &Incoming<'_>) -> Decision<Client> {
        if !request.is_websocket() {
            return request.not_a_websocket_request().into();
        }
        let accept = match choose_subprotocol(request, &[SUBPROTOCOL]) {
            Some(chosen) => Accept::new().with_subprotocol(chosen.to_owned()),
            None if request.subprotocols().next().is_none() => Accept::new(),
            None => {
                let text = format!("the subprotocol here is {SUBPROTOCOL}\n");
                return Response::text(StatusCode::BAD_REQUEST, text).into();
            }
        };
        let client = request.client_addr().map(|client| client.to_string());
        match &*self.access {
            Access::Anybody(rights) => admit(accept, client.as_deref(), Arc::clone(rights)),
            Access::List(list) => {
                let rights =
                    token(request).and_then(|token| list.tokens().rights(&token).ok_or_else(unauthorized));
                match rights {
                    Ok(rights) => admit(accept, client.as_deref(), rights),
                    Err(response) => response.into(),
                }
            }
            Access::Service(callback) => {
                let token = match token(request) {
                    Ok(token) => token,
                    Err(response) => return response.into(),
                };
                let origin =
                    request.field("Origin").map(|origin| String::from_utf8_lossy(origin).into_owned());
                let path = request.path().to_owned();
                let question = Question { token, path, origin, client: client.clone() };
                let service = Arc::clone(callback);
                request.decide_later(&callback.threads, move || match service.ask(question) {
                    Ok(rights) => admit(accept, client.as_deref(), rights),
                    Err(response) => response.into(),
                })
            }
        }
    }

    fn on_message(&self, socket: &mut Socket<'_>, client: &mut Client, message: Message<'_>) {
        let Message::Text(text) = message else {
            refuse(socket, client, &Failure::new(Code::NotText, "a message is text"), None, None);
            return;
        };
        let Request { command, number } = match Request::parse(text) {
            Ok(request) => request,
            Err((failure, number)) => return refuse(socket, client, &failure, None, number),
        };
        let (topic, done) = match &command {
            Command::Subscribe { filter, .. } => (filter, self.subscribe(socket, client, &command)),
            Command::Unsubscribe { filter } => (filter, unsubscribe(socket, filter)),
            Command::Publish { topic, data, key } => {
                (topic, self.publish(socket, client, topic, key.as_deref(), data))
            }
        };
        let kind = match &command {
            Command::Subscribe { .. } => "subscribed",
            Command::Unsubscribe { .. } => "unsubscribed",
            Command::Publish { .. } => "published",
        };
        match done {
            Ok(()) if kind == "published" && number.is_none() => {}
            Ok(()) => send(socket, &answer::done(kind, topic, number)),
            // What is no topic is not repeated: it can be of any length.
            Err(failure) => {
                let named = check_filter(topic, TopicLimits::default().name_len).is_ok();
                refuse(socket, client, &failure, named.then_some(&**topic), number);
            }
        }
    }

    fn on_gap(&self, socket: &mut Socket<'_>, _: &mut Client, topic: &str) {
        send(socket, &answer::gap(topic));
    }
}

/// Lets a client in, with these rights.
fn admit(accept: Accept, client: Option<&str>, rights: Arc<Rights>) -> Decision<Client> {
    // Written as Debug: a name cannot put control characters into a log.
    tracing::info!(client = client.unwrap_or("unknown"), name = ?rights.name, "connection");
    Decision::accept_with(accept, Client { rights, faults: Faults::default() })
}

/// Answers. Fails only when the connection is closing: nothing is read while too much waits to be
/// sent.
fn send(socket: &mut Socket<'_>, text: &str) {
    let _ = socket.send(Message::Text(text));
}

fn refuse(
    socket: &mut Socket<'_>,
    client: &mut Client,
    failure: &Failure,
    topic: Option<&str>,
    number: Option<&str>,
) {
    send(socket, &answer::error(failure, topic, number));
    if failure.code.counts_as_fault() && !client.faults.note(Instant::now()) {
        // It may be closing already.
        let _ = socket.close(CloseCode::POLICY_VIOLATION, "too many mistakes");
    }
}

impl Relay {
    fn subscribe(
        &self,
        socket: &mut Socket<'_>,
        client: &Client,
        command: &Command<'_>,
    ) -> Result<(), Failure> {
        let Command::Subscribe { filter, policy, limit, after } = command else { return Ok(()) };
        check_filter(filter, TopicLimits::default().name_len).map_err(of_name)?;
        if !client.rights.may_subscribe(filter) {
            return Err(Failure::new(Code::Forbidden, "you may not subscribe to this topic"));
        }
        let is_prefix = filter.ends_with('#');
        if is_prefix && self.durable.iter().any(|durable| covers(durable, filter)) {
            return Err(Failure::new(Code::BadTopic, "durable topics are subscribed to by name"));
        }
        let most = longest(&self.slow, filter).copied().unwrap_or_default().limit;
        let limit = limit.unwrap_or(most);
        if limit > most {
            return Err(Failure::bad_field("limit", &format!("at most {most}")));
        }
        if let Some(after) = after {
            socket.subscribe_after(filter, after).map_err(of_subscription)?;
        }
        match policy {
            Some(policy) => socket.subscribe_with(filter, Slow { policy: *policy, limit }.as_slow_consumer()),
            None => socket.subscribe(filter),
        }
        .map_err(of_subscription)
    }

    fn publish(
        &self,
        socket: &Socket<'_>,
        client: &Client,
        topic: &str,
        key: Option<&str>,
        data: &str,
    ) -> Result<(), Failure> {
        check_topic(topic, TopicLimits::default().name_len).map_err(of_name)?;
        if !client.rights.may_publish(topic) {
            return Err(Failure::new(Code::Forbidden, "you may not publish on this topic"));
        }
        let envelope = answer::envelope(topic, key, data);
        let published = match (key, self.server.get()) {
            (Some(key), Some(server)) => server.publish_keyed(topic, key, envelope.as_str()),
            _ => socket.publish_to_all(topic, envelope.as_str()),
        };
        published.map_err(|error| of_publication(&error))
    }
}

fn unsubscribe(socket: &mut Socket<'_>, filter: &str) -> Result<(), Failure> {
    check_filter(filter, TopicLimits::default().name_len).map_err(of_name)?;
    if socket.unsubscribe(filter) {
        Ok(())
    } else {
        Err(Failure::new(Code::NotSubscribed, "there is no such subscription"))
    }
}

fn of_name(error: NameError) -> Failure {
    match error {
        NameError::TooLong { limit } => {
            Failure::new(Code::TooLong, format!("`topic` has more than {limit} bytes"))
        }
        other => Failure::new(Code::BadTopic, other.to_string()),
    }
}

fn of_subscription(error: SubscribeError) -> Failure {
    match error {
        SubscribeError::Name(error) => of_name(error),
        SubscribeError::TopicsPerConnection { limit } => {
            Failure::new(Code::TooMany, format!("a connection has at most {limit} subscriptions"))
        }
        SubscribeError::Topics { limit } => {
            Failure::new(Code::TooMany, format!("the relay has at most {limit} topics"))
        }
        SubscribeError::Prefixes { limit } => {
            Failure::new(Code::TooMany, format!("the relay has at most {limit} prefixes"))
        }
        SubscribeError::NotDurable => Failure::new(Code::NotDurable, "nothing of this topic is kept"),
        SubscribeError::Position => Failure::bad_field("after", "the `id` of a message"),
        // The connection is closing, or too much waits.
        other => Failure::new(Code::Busy, other.to_string()),
    }
}

fn of_publication(error: &PublishError) -> Failure {
    match error {
        PublishError::Name(error) => of_name(*error),
        PublishError::Topics { limit } => {
            Failure::new(Code::TooMany, format!("the relay has at most {limit} topics"))
        }
        PublishError::NotPassedOn(BackplaneError::Full { .. }) => Failure::new(Code::Busy, error.to_string()),
        PublishError::NotPassedOn(_) => Failure::new(Code::Unavailable, error.to_string()),
        // The server is ending, or too much waits.
        other => Failure::new(Code::Busy, other.to_string()),
    }
}
