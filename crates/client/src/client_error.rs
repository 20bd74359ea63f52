//! One error type for everything that can go wrong.

use crate::blocking::ReceiveError;
use crate::{ConnectError, ProxyError, TlsError};
use framewright::handshake::{CredentialsError, FieldError, RequestError, UriError};
use framewright::{SendError, Unsent};
use std::fmt;
use std::io;

/// Any error of this crate: the type that `?` converts each of them into.
///
/// Its `Debug` form is its message, so that a `main` that returns it prints a sentence.
///
/// ```
/// use framewright_client::{ClientError, blocking::Client};
///
/// fn hello(url: &str) -> Result<(), ClientError> {
///     let mut client = Client::connect(url)?;
///     client.send_text("hello")?;
///     println!("{:?}", client.receive()?);
///     Ok(())
/// }
///
/// let error = hello("http://localhost/").unwrap_err();
/// assert_eq!(format!("{error:?}"), error.to_string());
/// ```
#[non_exhaustive]
pub enum ClientError {
    /// The request is not valid.
    Request(RequestError),
    /// A field of the request is not valid.
    Field(FieldError),
    /// The credentials cannot be sent.
    Credentials(CredentialsError),
    /// The proxy cannot be used.
    Proxy(ProxyError),
    /// No connection could be opened.
    Connect(ConnectError),
    /// A message or another frame could not be sent.
    Send(SendError),
    /// No message could be received, or none in time.
    Receive(ReceiveError),
    /// A system call of the application has failed, such as an event loop's poll.
    Io(io::Error),
}

impl ClientError {
    /// Whether connecting again would fail in the same way: the request or the proxy is not valid,
    /// or [`ConnectError::is_permanent`] says so. The end of an open connection is never permanent,
    /// whatever caused it.
    #[doc(alias = "retry")]
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            ClientError::Request(_)
            | ClientError::Field(_)
            | ClientError::Credentials(_)
            | ClientError::Proxy(_) => true,
            ClientError::Connect(error) => error.is_permanent(),
            ClientError::Send(_) | ClientError::Receive(_) | ClientError::Io(_) => false,
        }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Request(error) => write!(f, "the request: {error}"),
            ClientError::Field(error) => write!(f, "the request: {error}"),
            ClientError::Credentials(error) => write!(f, "the credentials: {error}"),
            ClientError::Proxy(error) => write!(f, "the proxy: {error}"),
            ClientError::Connect(error) => write!(f, "connecting: {error}"),
            ClientError::Send(error) => write!(f, "sending: {error}"),
            ClientError::Receive(error) => write!(f, "receiving: {error}"),
            ClientError::Io(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ClientError {
    /// The cause of the inner error: its own message is already part of this one's.
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Request(error) => error.source(),
            ClientError::Field(error) => error.source(),
            ClientError::Credentials(error) => error.source(),
            ClientError::Proxy(error) => error.source(),
            ClientError::Connect(error) => error.source(),
            ClientError::Send(error) => error.source(),
            ClientError::Receive(error) => error.source(),
            ClientError::Io(error) => error.source(),
        }
    }
}

/// Converts each of these errors into a [`ClientError`].
macro_rules! from {
    ($($error:ty => $variant:ident),* $(,)?) => {$(
        impl From<$error> for ClientError {
            fn from(error: $error) -> Self {
                ClientError::$variant(error)
            }
        }
    )*};
}

from! {
    RequestError => Request,
    FieldError => Field,
    CredentialsError => Credentials,
    ProxyError => Proxy,
    ConnectError => Connect,
    SendError => Send,
    ReceiveError => Receive,
    io::Error => Io,
}

impl From<UriError> for ClientError {
    fn from(error: UriError) -> Self {
        ClientError::Connect(error.into())
    }
}

impl From<TlsError> for ClientError {
    fn from(error: TlsError) -> Self {
        ClientError::Connect(error.into())
    }
}

impl From<Box<Unsent>> for ClientError {
    fn from(unsent: Box<Unsent>) -> Self {
        ClientError::Send(unsent.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::{Error, Timeout};
    use std::error::Error as _;

    /// Formats a chain of errors as most programs print it.
    fn chain(error: &dyn std::error::Error) -> String {
        error.source().map_or(error.to_string(), |source| format!("{error}: {}", chain(source)))
    }

    #[test]
    fn only_opening_fails_for_ever() {
        let no_uri = || "http://localhost/".parse::<framewright::handshake::WsUri>().unwrap_err();
        let no_field = framewright::handshake::FieldName::new("no name").unwrap_err();
        for error in [no_uri().into(), ConnectError::Proxy(Box::new(no_uri().into())).into(), no_field.into()]
        {
            let error: ClientError = error;
            assert!(error.is_permanent(), "{error}");
        }
        for error in [
            ConnectError::Proxy(Box::new(ConnectError::NoAddress)).into(),
            ConnectError::Lost(io::ErrorKind::ConnectionReset.into()).into(),
            SendError::Closed.into(),
            ReceiveError::Failed(Error::Timeout(Timeout::KeepAlive)).into(),
            io::Error::from(io::ErrorKind::ConnectionReset).into(),
        ] {
            let error: ClientError = error;
            assert!(!error.is_permanent(), "{error}");
        }
    }

    #[test]
    fn nothing_is_said_twice() {
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "told once");
        let lost = ConnectError::Proxy(Box::new(ConnectError::Lost(refused())));
        for error in [ClientError::from(lost), ConnectError::Resolve(refused()).into(), refused().into()] {
            assert_eq!(chain(&error).matches("told once").count(), 1, "{}", chain(&error));
        }
        let failed = ClientError::from(ReceiveError::Failed(Error::Timeout(Timeout::KeepAlive)));
        assert!(failed.source().is_none() && format!("{failed:?}").starts_with("receiving: "));
    }
}
