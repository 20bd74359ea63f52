//! One error for all that can go wrong.

use crate::blocking::ReceiveError;
use crate::error::ConnectError;
use framewright::handshake::UriError;
use framewright::{SendError, Unsent};
use std::fmt;

/// Why a client could not go on, whatever it was doing: what `?` makes of each error of this crate.
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
    /// There is no connection.
    Connect(ConnectError),
    /// Something could not be sent.
    Send(SendError),
    /// Nothing more could be received, or not in time.
    Receive(ReceiveError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Connect(error) => write!(f, "connecting: {error}"),
            ClientError::Send(error) => write!(f, "sending: {error}"),
            ClientError::Receive(error) => write!(f, "receiving: {error}"),
        }
    }
}

impl fmt::Debug for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Connect(error) => error.source(),
            ClientError::Send(error) => error.source(),
            ClientError::Receive(error) => error.source(),
        }
    }
}

impl From<ConnectError> for ClientError {
    fn from(error: ConnectError) -> Self {
        ClientError::Connect(error)
    }
}

impl From<UriError> for ClientError {
    fn from(error: UriError) -> Self {
        ClientError::Connect(error.into())
    }
}

impl From<SendError> for ClientError {
    fn from(error: SendError) -> Self {
        ClientError::Send(error)
    }
}

impl From<Box<Unsent>> for ClientError {
    fn from(unsent: Box<Unsent>) -> Self {
        ClientError::Send(unsent.error)
    }
}

impl From<ReceiveError> for ClientError {
    fn from(error: ReceiveError) -> Self {
        ClientError::Receive(error)
    }
}
