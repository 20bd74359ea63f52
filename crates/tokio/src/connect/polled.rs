//! A stream that is polled, as an opening uses it: what would wait is `WouldBlock`, and the stream
//! wakes the task when it is ready.

use super::maybe_tls::MaybeTls;
#[cfg(feature = "tls")]
use super::session::Shaking;
use framewright_driver::opening;
#[cfg(feature = "tls")]
use framewright_driver::opening::ConnectError;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The stream of an opening.
pub(super) struct Polled<S: AsyncRead + AsyncWrite + Unpin> {
    link: Link<S>,
    /// The waker of the current poll.
    waker: Waker,
}

enum Link<S> {
    /// Bytes can be read and written.
    Ready(MaybeTls<S>),
    /// The TLS handshake is not complete.
    #[cfg(feature = "tls")]
    Shaking(Box<Shaking<MaybeTls<S>>>),
    /// It has failed; why, until somebody asks.
    #[cfg(feature = "tls")]
    Failed(Option<Box<ConnectError>>),
    /// It was handed over.
    Gone,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Polled<S> {
    pub(super) fn new(stream: S) -> Self {
        Polled { link: Link::Ready(MaybeTls::plain(stream)), waker: Waker::noop().clone() }
    }

    /// Names the task that waits from now on.
    pub(super) fn wake_by(&mut self, waker: &Waker) {
        self.waker.clone_from(waker);
    }

    /// The stream, after the opening handshake.
    pub(super) fn into_stream(mut self) -> MaybeTls<S> {
        self.take().expect("the opening handshake is complete only if it can be written")
    }

    fn take(&mut self) -> Option<MaybeTls<S>> {
        match std::mem::replace(&mut self.link, Link::Gone) {
            Link::Ready(stream) => Some(stream),
            #[cfg(feature = "tls")]
            Link::Shaking(_) | Link::Failed(_) => None,
            Link::Gone => None,
        }
    }

    /// Polls the stream.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it has to be waited for.
    fn poll<T>(
        &mut self,
        poll: impl FnOnce(Pin<&mut MaybeTls<S>>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> io::Result<T> {
        if !opening::Stream::handshake(self)? {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Link::Ready(stream) = &mut self.link else { return Err(io::ErrorKind::ConnectionAborted.into()) };
        match poll(Pin::new(stream), &mut Context::from_waker(&self.waker)) {
            Poll::Ready(result) => result,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Polled<S> {
    /// Ends TLS (RFC 8446, section 6.1), as far as there is room, however the opening ends.
    fn drop(&mut self) {
        // A stream of the application's that panics here too would end the process.
        if !std::thread::panicking() {
            opening::Stream::end(self);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> opening::Stream for Polled<S> {
    const DOES_TLS: bool = cfg!(feature = "tls");

    fn read_once(&mut self, target: &mut [u8]) -> io::Result<usize> {
        let mut target = ReadBuf::new(target);
        self.poll(|stream, context| stream.poll_read(context, &mut target))?;
        Ok(target.filled().len())
    }

    fn write_once(&mut self, octets: &[u8]) -> io::Result<usize> {
        match self.poll(|stream, context| stream.poll_write(context, octets))? {
            // A stream that takes none of the given bytes will never take any.
            0 => Err(io::ErrorKind::WriteZero.into()),
            count => Ok(count),
        }
    }

    #[cfg(feature = "tls")]
    fn handshake(&mut self) -> io::Result<bool> {
        let shaking = match &mut self.link {
            Link::Shaking(shaking) => shaking,
            Link::Ready(_) => return Ok(true),
            Link::Failed(_) | Link::Gone => return Err(io::ErrorKind::ConnectionAborted.into()),
        };
        match shaking.poll(&mut Context::from_waker(&self.waker), MaybeTls::failure) {
            Poll::Pending => Ok(false),
            Poll::Ready(Ok(secured)) => {
                self.link = Link::Ready(MaybeTls::secured(secured));
                Ok(true)
            }
            Poll::Ready(Err(error)) => {
                self.link = Link::Failed(Some(Box::new(error)));
                Err(io::ErrorKind::ConnectionAborted.into())
            }
        }
    }

    #[cfg(feature = "tls")]
    fn check_protocol(&self) -> Result<(), ConnectError> {
        match &self.link {
            Link::Ready(stream) => stream.check_protocol(),
            _ => Ok(()),
        }
    }

    fn flush_own(&mut self) {
        // If that fails, a read says why.
        let _ = self.poll(AsyncWrite::poll_flush);
    }

    #[cfg(feature = "tls")]
    fn end(&mut self) {
        // Only a session has words for its end.
        if let Link::Ready(stream) = &mut self.link
            && stream.is_tls()
        {
            let _ = Pin::new(stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }

    #[cfg(feature = "tls")]
    fn failure(&mut self, error: io::Error) -> ConnectError {
        match &mut self.link {
            Link::Ready(stream) => stream.failure(error),
            Link::Failed(why) => why.take().map_or(ConnectError::Lost(error), |why| *why),
            Link::Shaking(_) | Link::Gone => ConnectError::Lost(error),
        }
    }

    #[cfg(feature = "tls")]
    fn secured(mut self, session: opening::Session) -> Result<Self, ConnectError> {
        let stream = self.take().expect("whoever is asked through a session has completed it");
        let link = Link::Shaking(Box::new(Shaking::start(session, stream)));
        Ok(Polled { link, waker: self.waker.clone() })
    }
}
