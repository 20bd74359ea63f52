//! Events that arrived while the application was sending. They are decoded, so that Pings and the
//! server's Close are answered, and kept for the calls that receive.

use framewright::{Chunk, CloseCode, Event, OwnedMessage};
use std::collections::VecDeque;

/// How many Pings and Pongs are kept. All of them are answered, and the newest are the most useful.
const CONTROL: usize = 64;

/// The cost in bytes of keeping an event, besides its payload.
const OVERHEAD: u64 = 64;

/// The events kept, in their order.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Pings and Pongs. The oldest are discarded, however many other events lie before them.
    control: VecDeque<Numbered>,
    others: VecDeque<Numbered>,
    /// The number of the next event.
    next: u64,
    /// The bytes that the other events hold.
    held: u64,
    /// The event that the application is looking at.
    current: Option<KeptEvent>,
}

/// An event, and its position among all of them.
#[derive(Debug)]
struct Numbered {
    number: u64,
    event: KeptEvent,
}

/// An event that borrows nothing. There is none for the end of the connection, which the connection
/// itself reports.
#[derive(Debug)]
pub(super) enum KeptEvent {
    Message(OwnedMessage),
    Chunk { data: OwnedMessage, first: bool, last: bool },
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    CloseReceived { code: Option<CloseCode>, reason: String },
}

impl Kept {
    /// The bytes that messages and chunks hold.
    pub(super) fn held(&self) -> u64 {
        self.held
    }

    /// Keeps an event behind the others.
    pub(super) fn push(&mut self, event: &Event<'_>) {
        let Some(event) = KeptEvent::of(event) else { return };
        self.held += event.cost();
        let queue = if event.is_control() { &mut self.control } else { &mut self.others };
        queue.push_back(Numbered { number: self.next, event });
        self.next += 1;
        if self.control.len() > CONTROL {
            self.control.pop_front();
        }
    }

    /// Takes the oldest event.
    pub(super) fn pop(&mut self) -> Option<KeptEvent> {
        let first = |queue: &VecDeque<Numbered>| queue.front().map_or(u64::MAX, |front| front.number);
        let control_first = first(&self.control) < first(&self.others);
        let queue = if control_first { &mut self.control } else { &mut self.others };
        let Numbered { event, .. } = queue.pop_front()?;
        self.held -= event.cost();
        if queue.is_empty() {
            *queue = VecDeque::new();
        }
        Some(event)
    }

    /// Lends an event that was taken.
    pub(super) fn lend(&mut self, event: KeptEvent) -> Event<'_> {
        self.current.insert(event).as_event()
    }

    /// Frees the event that was lent last.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }
}

impl KeptEvent {
    /// `None` for an event that need not be kept.
    fn of(event: &Event<'_>) -> Option<KeptEvent> {
        Some(match *event {
            Event::Message(message) => KeptEvent::Message(message.into()),
            Event::Chunk(Chunk { data, first, last }) => KeptEvent::Chunk { data: data.into(), first, last },
            Event::Ping(data) => KeptEvent::Ping(data.to_vec()),
            Event::Pong(data) => KeptEvent::Pong(data.to_vec()),
            Event::CloseReceived { code, reason } => {
                KeptEvent::CloseReceived { code, reason: reason.to_owned() }
            }
            _ => return None,
        })
    }

    pub(super) fn is_message(&self) -> bool {
        matches!(self, KeptEvent::Message(_))
    }

    pub(super) fn is_chunk(&self) -> bool {
        matches!(self, KeptEvent::Chunk { .. })
    }

    fn is_control(&self) -> bool {
        matches!(self, KeptEvent::Ping(_) | KeptEvent::Pong(_))
    }

    /// The bytes that the event counts for.
    fn cost(&self) -> u64 {
        match self {
            KeptEvent::Message(data) | KeptEvent::Chunk { data, .. } => {
                data.as_message().len() as u64 + OVERHEAD
            }
            // There are few of these.
            _ => 0,
        }
    }

    fn as_event(&self) -> Event<'_> {
        match self {
            KeptEvent::Message(message) => Event::Message(message.as_message()),
            KeptEvent::Chunk { data, first, last } => {
                Event::Chunk(Chunk { data: data.as_message(), first: *first, last: *last })
            }
            KeptEvent::Ping(data) => Event::Ping(data),
            KeptEvent::Pong(data) => Event::Pong(data),
            KeptEvent::CloseReceived { code, reason } => Event::CloseReceived { code: *code, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use framewright::Message;

    #[test]
    fn events_come_back_in_their_order_and_cost_nothing_then() {
        let events = || {
            let chunk = |first, last| Event::Chunk(Chunk { data: Message::Binary(b"piece"), first, last });
            [
                Event::Message(Message::Text("text")),
                Event::Ping(b"ping"),
                chunk(true, false),
                chunk(false, true),
                Event::Pong(b""),
                Event::CloseReceived { code: Some(CloseCode::NORMAL), reason: "bye" },
            ]
        };
        let mut kept = Kept::default();
        kept.push(&Event::Writable);
        events().iter().for_each(|event| kept.push(event));
        assert_eq!(kept.held(), 4 + 2 * 5 + 3 * OVERHEAD);
        for event in events() {
            let taken = kept.pop().expect("another one");
            assert_eq!(kept.lend(taken), event);
        }
        assert!(kept.pop().is_none());
        assert_eq!((kept.held(), kept.control.len(), kept.others.len()), (0, 0, 0));
    }

    #[test]
    fn of_pings_and_pongs_the_newest_are_kept_and_of_messages_all() {
        let mut kept = Kept::default();
        for number in 0..=255_u8 {
            kept.push(&Event::Ping(&[number]));
            kept.push(&Event::Message(Message::Binary(&[number])));
            kept.push(&Event::Pong(&[number]));
        }
        let (mut control, mut messages) = (Vec::new(), Vec::new());
        while let Some(event) = kept.pop() {
            match event {
                KeptEvent::Ping(data) | KeptEvent::Pong(data) => control.push(data[0]),
                KeptEvent::Message(OwnedMessage::Binary(data)) => messages.push(data[0]),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(control, (224..=255).flat_map(|number| [number; 2]).collect::<Vec<_>>());
        assert!(messages.into_iter().eq(0..=255));
    }

    /// Every Ping behind these messages costs as much as the first. A search past them for the
    /// oldest Ping would take hours.
    #[test]
    fn pings_behind_many_messages_are_forgotten_one_by_one() {
        const MESSAGES: usize = 1_000_000;
        let mut kept = Kept::default();
        for _ in 0..MESSAGES {
            kept.push(&Event::Message(Message::Binary(b"")));
        }
        for number in 0..1_000_000_u32 {
            kept.push(&Event::Ping(&number.to_be_bytes()));
        }
        for _ in 0..MESSAGES {
            assert!(kept.pop().is_some_and(|event| event.is_message()));
        }
        for number in 1_000_000 - 64..1_000_000_u32 {
            assert!(matches!(kept.pop(), Some(KeptEvent::Ping(data)) if data == number.to_be_bytes()));
        }
        assert!(kept.pop().is_none());
    }
}
