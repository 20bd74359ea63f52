//! The extractor, and how it is refused.

use crate::graceful::Graceful;
use crate::socket::WebSocket;
use crate::task;
use axum::Error;
use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
#[cfg(feature = "deflate")]
use framewright_tokio::DeflatePolicy;
use framewright_tokio::hyper::{Refused, Upgrade};
use framewright_tokio::{AcceptOptions, AllowedOrigins, Config, Refusal};
use http::header::SEC_WEBSOCKET_PROTOCOL;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// Extracts an opening handshake: of HTTP/1.1 (RFC 6455) or, as an extended CONNECT, of HTTP/2
/// (RFC 8441).
///
/// Route it with [`any`](axum::routing::any): the method is `GET` in HTTP/1.1 and `CONNECT` in
/// HTTP/2.
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use framewright_axum::{WebSocket, WebSocketUpgrade};
///
/// let app: Router = Router::new().route("/ws", any(handler));
///
/// async fn handler(upgrade: WebSocketUpgrade) -> Response {
///     upgrade.max_message_size(64 << 10).protocols(["chat"]).on_upgrade(echo)
/// }
///
/// async fn echo(mut socket: WebSocket) {
///     while let Some(Ok(message)) = socket.recv().await {
///         if socket.send(message).await.is_err() {
///             break;
///         }
///     }
/// }
/// ```
///
/// # Settings
/// The settings are an [`AcceptOptions`]. They come from an `Extension(AcceptOptions)` that is laid
/// over the routes, and the methods here change them for one handler. Settings of a layer that
/// refuse a request (origins, hosts) do so before the handler runs. [`AcceptOptions::head`] and
/// [`AcceptOptions::handshake_timeout`] are not used: hyper reads the request.
///
/// # Rejections
/// A request that breaks a rule gets the status that belongs to it, and a line of text that names
/// the rule: see [`Refusal`].
#[must_use = "the response of `on_upgrade` must be returned"]
pub struct WebSocketUpgrade<F = DefaultOnFailedUpgrade> {
    upgrade: Upgrade,
    options: Cow<'static, AcceptOptions>,
    requested: Vec<HeaderValue>,
    selected: Option<HeaderValue>,
    graceful: Option<Graceful>,
    on_failed_upgrade: F,
}

impl<S: Send + Sync> FromRequestParts<S> for WebSocketUpgrade<DefaultOnFailedUpgrade> {
    type Rejection = WebSocketUpgradeRejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let upgrade = Upgrade::from_parts(parts)?;
        let options = parts.extensions.get::<AcceptOptions>().cloned().unwrap_or_default();
        upgrade.check(&options)?;
        let graceful = parts.extensions.get::<Graceful>().cloned();
        if graceful.as_ref().is_some_and(Graceful::has_started) {
            return Err(Refused::new(DRAINING, parts.version).into());
        }
        let value = |name: &str| HeaderValue::from_str(name).expect("a token is a value");
        let requested: Vec<_> = upgrade.request().subprotocols().map(value).collect();
        let served = options.subprotocols.iter();
        let selected = select(served.map(String::as_str), &requested);
        let options = Cow::Owned(options);
        let on_failed_upgrade = DefaultOnFailedUpgrade;
        Ok(WebSocketUpgrade { upgrade, options, requested, selected, graceful, on_failed_upgrade })
    }
}

/// The refusal while the server stops, with the value of Retry-After.
const DRAINING: Refusal = Refusal::Draining { retry_after: Duration::from_secs(5) };

/// The first of the served subprotocols that was requested.
fn select<'a>(mut served: impl Iterator<Item = &'a str>, requested: &[HeaderValue]) -> Option<HeaderValue> {
    served.find_map(|name| requested.iter().find(|requested| *requested == name).cloned())
}

impl<F> WebSocketUpgrade<F> {
    /// Sets all settings, and selects the subprotocol anew: call it before the other methods, whose
    /// settings it replaces.
    pub fn options(mut self, options: AcceptOptions) -> Self {
        self.selected = select(options.subprotocols.iter().map(String::as_str), &self.requested);
        self.options = Cow::Owned(options);
        self
    }

    /// Sets the settings of the connection: limits, keep-alive, deadlines, backpressure. Connections
    /// share an `Arc`. It replaces what methods such as
    /// [`max_message_size`](Self::max_message_size) have set before.
    pub fn config(mut self, config: impl Into<Arc<Config>>) -> Self {
        self.options.to_mut().connection = config.into();
        self
    }

    fn with_config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(Arc::make_mut(&mut self.options.to_mut().connection));
        self
    }

    /// Sets the largest message in bytes ([`Config::max_message`]). Default 16 MiB.
    pub fn max_message_size(self, bytes: usize) -> Self {
        self.with_config(|config| config.max_message = bytes as u64)
    }

    /// Sets the largest frame in bytes ([`Config::max_frame`]). Default 16 MiB.
    pub fn max_frame_size(self, bytes: usize) -> Self {
        self.with_config(|config| config.max_frame = bytes as u64)
    }

    /// Sets how many bytes may wait to be sent before [`send`](WebSocket::send) waits
    /// ([`Config::high_water`]). Default 1 MiB. A single message may be larger.
    pub fn max_write_buffer_size(self, bytes: usize) -> Self {
        self.with_config(|config| {
            config.high_water = bytes;
            config.low_water = bytes / 4;
        })
    }

    /// Sets how often a Ping is sent, and how long the peer may be silent after it
    /// ([`Config::keep_alive_interval`] and [`Config::keep_alive_timeout`]). Default 2 and 4 minutes.
    /// Behind a proxy, 45 seconds are short enough for most.
    pub fn keep_alive(
        self,
        interval: impl Into<Option<Duration>>,
        timeout: impl Into<Option<Duration>>,
    ) -> Self {
        let (interval, timeout) = (interval.into(), timeout.into());
        self.with_config(|config| {
            config.keep_alive_interval = interval;
            config.keep_alive_timeout = timeout;
        })
    }

    /// Sets the web pages that may connect, by their origin. Others are answered with 403 by
    /// [`on_upgrade`](Self::on_upgrade). Default: any, unless a layer says otherwise.
    pub fn allowed_origins(mut self, origins: AllowedOrigins) -> Self {
        self.options.to_mut().allowed_origins = origins;
        self
    }

    #[cfg(feature = "deflate")]
    #[cfg_attr(docsrs, doc(cfg(feature = "deflate")))]
    /// Sets how permessage-deflate is negotiated (RFC 7692); `None` declines it. Default: without
    /// context takeover.
    pub fn compression(mut self, policy: impl Into<Option<DeflatePolicy>>) -> Self {
        self.options.to_mut().compression = policy.into();
        self
    }

    /// Ends the connection when the server stops. An `Extension(Graceful)` layer does the same for
    /// all routes below it.
    pub fn graceful(mut self, graceful: &Graceful) -> Self {
        self.graceful = Some(graceful.clone());
        self
    }

    /// Sets the subprotocols that are served, in the order of preference. The first one that the
    /// client has requested is selected.
    pub fn protocols<I>(mut self, protocols: I) -> Self
    where
        I: IntoIterator,
        I::Item: Into<Cow<'static, str>>,
    {
        let served: Vec<Cow<'static, str>> = protocols.into_iter().map(Into::into).collect();
        self.selected = select(served.iter().map(AsRef::as_ref), &self.requested);
        self
    }

    /// The subprotocols that the client has requested, in its order of preference.
    pub fn requested_protocols(&self) -> impl Iterator<Item = &HeaderValue> {
        self.requested.iter()
    }

    /// Selects a subprotocol. One that the client has not requested is answered with 500 by
    /// [`on_upgrade`](Self::on_upgrade): the client would fail the connection.
    pub fn set_selected_protocol(&mut self, protocol: HeaderValue) {
        self.selected = Some(protocol);
    }

    /// The subprotocol that is selected, if any.
    pub fn selected_protocol(&self) -> Option<&HeaderValue> {
        self.selected.as_ref()
    }

    /// Calls `callback` if the response has been returned and the connection cannot be upgraded.
    /// Default: nothing happens then.
    pub fn on_failed_upgrade<C: OnFailedUpgrade>(self, callback: C) -> WebSocketUpgrade<C> {
        let WebSocketUpgrade { upgrade, options, requested, selected, graceful, .. } = self;
        WebSocketUpgrade { upgrade, options, requested, selected, graceful, on_failed_upgrade: callback }
    }

    /// Accepts the handshake: returns the response, and runs `callback` with the connection in a task
    /// of its own once the response has left.
    ///
    /// The task polls the callback's future and the connection's
    /// [`Attendant`](framewright_tokio::Attendant). So Pings are sent and deadlines are kept while
    /// the callback waits for something else, and a peer that is gone ends the connection: the next
    /// call of the callback's reports it. What the peer sends is read, and its Pings are answered, by
    /// a call that receives.
    ///
    /// If the settings refuse the request, the response says so and `callback` is not called. If
    /// the server has begun to stop meanwhile, the response is 503.
    #[must_use = "the response must be returned"]
    pub fn on_upgrade<C, Fut>(self, callback: C) -> Response
    where
        C: FnOnce(WebSocket) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
        F: OnFailedUpgrade,
    {
        let WebSocketUpgrade { upgrade, options, selected, graceful, on_failed_upgrade, .. } = self;
        if let Err(refused) = upgrade.check(&options) {
            return refused.into_response();
        }
        let version = upgrade.version();
        // It is counted first: a shutdown that starts after the look at it waits for this socket.
        let counted = graceful.as_ref().map(Graceful::count);
        if graceful.as_ref().is_some_and(Graceful::has_started) {
            return Refused::new(DRAINING, version).into_response();
        }
        let mut accept = framewright_tokio::Accept::new();
        if let Some(protocol) = &selected {
            let Ok(protocol) = protocol.to_str() else {
                return Refused::new(Refusal::Internal, version).into_response();
            };
            accept = accept.with_subprotocol(protocol.to_owned());
        }
        #[cfg(feature = "deflate")]
        if let Some(policy) = options.compression {
            accept = accept.with_deflate(policy);
        }
        let Ok((response, upgrading)) = upgrade.accept::<Body>(accept, &options) else {
            return Refused::new(Refusal::Internal, version).into_response();
        };
        let selected = response.headers().get(SEC_WEBSOCKET_PROTOCOL).cloned();
        tokio::spawn(async move {
            let upgraded = tokio::select! {
                biased;
                upgraded = upgrading => upgraded,
                () = task::time_is_up(graceful.as_ref()) => return,
            };
            match upgraded {
                Ok(socket) => {
                    let attendant = socket.attendant();
                    let handler = callback(WebSocket::new(socket, selected));
                    task::run(handler, attendant, graceful).await;
                }
                Err(error) => on_failed_upgrade.call(Error::new(error)),
            }
            drop(counted);
        });
        response
    }
}

impl<F> fmt::Debug for WebSocketUpgrade<F> {
    /// Without the request, which has the credentials of the client.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketUpgrade")
            .field("upgrade", &self.upgrade)
            .field("selected", &self.selected)
            .finish_non_exhaustive()
    }
}

/// What happens if a connection cannot be upgraded: any `FnOnce(axum::Error)`.
pub trait OnFailedUpgrade: Send + 'static {
    /// Receives the error.
    fn call(self, error: Error);
}

impl<F: FnOnce(Error) + Send + 'static> OnFailedUpgrade for F {
    fn call(self, error: Error) {
        self(error);
    }
}

/// Ignores the error.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct DefaultOnFailedUpgrade;

impl OnFailedUpgrade for DefaultOnFailedUpgrade {
    fn call(self, _: Error) {}
}

/// The reason why [`WebSocketUpgrade`] does not accept a request. It is a response.
#[derive(Clone, Debug)]
pub struct WebSocketUpgradeRejection(Refused);

impl WebSocketUpgradeRejection {
    /// The rule that the request broke.
    #[must_use]
    pub fn refusal(&self) -> Option<Refusal> {
        self.0.refusal()
    }

    /// The status code of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status()
    }

    /// The text of the response: one line that names the rule.
    #[must_use]
    pub fn body_text(&self) -> String {
        self.0.to_string()
    }
}

impl From<Refused> for WebSocketUpgradeRejection {
    fn from(refused: Refused) -> Self {
        WebSocketUpgradeRejection(refused)
    }
}

impl IntoResponse for WebSocketUpgradeRejection {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}

impl fmt::Display for WebSocketUpgradeRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for WebSocketUpgradeRejection {}
