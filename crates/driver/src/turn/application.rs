//! The application, to which a turn hands its events, and the operations that it has meanwhile.

use crate::transport::{Io, Transport};
use framewright::{Connection, Event, Message, RecvBuffer, SendError};
use std::io::IoSlice;
use std::time::Instant;

/// Receives the events of a connection: a closure, or a type that also has something to send.
pub trait Application<T> {
    /// Whether the application is notified of the end before the last bytes are written, our Close
    /// frame among them.
    ///
    /// If `true`, the application knows of the end before the peer can see the Close frame: a
    /// client that reconnects finds its place free. If `false`, the application is notified once
    /// the fate of the Close frame is known: [`Closure::clean`](framewright::Closure::clean) says
    /// whether it was sent.
    const KNOWS_THE_END_FIRST: bool = false;

    /// The most bytes that a read of short frames asks for.
    fn read_size(&self) -> usize {
        128 << 10
    }

    /// Called at the beginning of each turn.
    fn on_turn(&mut self, current: &mut Current<'_, T>) {
        let _ = current;
    }

    /// Handles an event. A payload lies in the receive buffer, so the connection can send
    /// meanwhile.
    fn on_event(&mut self, current: &mut Current<'_, T>, event: Event<'_>);

    /// Handles a whole message. This is the usual event; its separate method keeps the common path
    /// straight.
    #[inline]
    fn on_message(&mut self, current: &mut Current<'_, T>, message: Message<'_>) {
        self.on_event(current, Event::Message(message));
    }

    /// Queues messages that were left for this connection elsewhere. It is called once a turn,
    /// after the events of the read and before the last write.
    fn queue(&mut self, current: &mut Current<'_, T>) {
        let _ = current;
    }

    /// Called before a write that may inform the peer of what has happened to the connection.
    fn before_write(&mut self, connection: &Connection) {
        let _ = connection;
    }

    /// Whether [`queue`](Application::queue) has messages that `connection` would accept now.
    fn has_queued(&self, connection: &Connection) -> bool {
        let _ = connection;
        false
    }
}

impl<T, F: FnMut(&mut Current<'_, T>, Event<'_>)> Application<T> for F {
    #[inline]
    fn on_event(&mut self, current: &mut Current<'_, T>, event: Event<'_>) {
        self(current, event);
    }
}

/// The connection whose turn it is, and its transport.
#[derive(Debug)]
pub struct Current<'a, T> {
    /// The connection, for commands.
    pub connection: &'a mut Connection,
    /// Its transport.
    pub transport: &'a mut T,
    /// The time of the turn.
    pub now: Instant,
    pub(super) broken: &'a mut bool,
    /// Bytes that this turn may still write.
    pub(super) share: &'a mut usize,
}

impl<T> Current<'_, T> {
    /// Reborrows this value for a shorter lifetime.
    #[inline]
    pub fn reborrow(&mut self) -> Current<'_, T> {
        let Current { connection, transport, now, broken, share } = self;
        Current { connection, transport, now: *now, broken, share }
    }

    /// Hands over all decoded events, except that there is room to send: that is returned, for the
    /// caller to report later.
    //
    // A separate function, so that the loop over messages has all registers.
    #[inline(never)]
    pub(super) fn hand_over(&mut self, rx: &mut RecvBuffer, application: &mut impl Application<T>) -> bool {
        let mut has_room = false;
        while self.connection.wants_read() {
            match self.connection.next_event(self.now, rx) {
                Some(Event::Message(message)) => application.on_message(self, message),
                Some(Event::Writable) => has_room = true,
                Some(event) => application.on_event(self, event),
                None => break,
            }
        }
        has_room
    }
}

impl<T: Transport> Current<'_, T> {
    /// Sends a long message without copying what the kernel accepts at once.
    ///
    /// `send` queues the message with
    /// [`DriverAccess::send_with_writer`](framewright::connection::DriverAccess::send_with_writer)
    /// or
    /// [`DriverAccess::send_fragment_with_writer`](framewright::connection::DriverAccess::send_fragment_with_writer).
    /// These write what the kernel accepts, and copy the rest. Once the turn has written its share,
    /// the whole message is copied.
    ///
    /// # Errors
    /// Those of `send`.
    #[inline(never)]
    pub fn write_through(
        &mut self,
        send: impl FnOnce(&mut Connection, &mut dyn FnMut(&[IoSlice<'_>]) -> usize) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        let Current { connection, transport, now, broken, share } = self;
        send(connection, &mut |slices| {
            if **broken || **share == 0 {
                return 0;
            }
            match transport.write(slices) {
                Io::Moved(count) => {
                    **share = share.saturating_sub(count);
                    count
                }
                Io::Blocked => 0,
                Io::Lost => {
                    **broken = true;
                    0
                }
            }
        })?;
        connection.transmitted(*now, 0);
        Ok(())
    }
}
