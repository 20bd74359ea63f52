//! A stream whose every step a test decides. It keeps to the letter of the contract of polling: it
//! wakes only the waker of the latest poll, and only if that poll was not ready.

use std::collections::VecDeque;
use std::io::{self, Error};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How a stream behaves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    /// Every other poll is not ready, and a ready one moves this many bytes at most.
    pub(crate) halts: Option<usize>,
    /// Written bytes are held until the stream is flushed, as TLS does, and its end takes three
    /// polls.
    pub(crate) holds_back: bool,
}

pub(crate) const MANNERS: [Manner; 4] = [
    Manner { halts: None, holds_back: false },
    Manner { halts: None, holds_back: true },
    Manner { halts: Some(1), holds_back: false },
    Manner { halts: Some(1), holds_back: true },
];

#[derive(Debug, Default)]
struct State {
    manner: Manner,
    /// The halts of reading, writing, flushing and ending.
    halts: [bool; 4],
    arriving: VecDeque<u8>,
    ended: bool,
    /// How many bytes may still be written.
    room: usize,
    held: VecDeque<u8>,
    sent: Vec<u8>,
    shutdowns: u8,
    is_shut: bool,
    is_dropped: bool,
    is_lost: bool,
    /// Flushing fails, and what was held is lost.
    flush_fails: bool,
    panics: Option<bool>,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// The test's end of a [`Stream`].
#[derive(Clone, Debug)]
pub(crate) struct Script(Arc<Mutex<State>>);

/// The stream of the endpoint under test.
#[derive(Debug)]
pub(crate) struct Stream(Arc<Mutex<State>>);

/// A stream without a limit on what is written.
pub(crate) fn stream(manner: Manner) -> (Script, Stream) {
    let state = Arc::new(Mutex::new(State { manner, room: usize::MAX, ..State::default() }));
    (Script(Arc::clone(&state)), Stream(state))
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0)
    }

    pub(crate) fn deliver(&self, octets: &[u8]) {
        let mut state = self.state();
        state.arriving.extend(octets);
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }

    pub(crate) fn end(&self) {
        self.state().ended = true;
        self.deliver(&[]);
    }

    /// The transport is lost.
    pub(crate) fn fail(&self) {
        let mut state = self.state();
        state.is_lost = true;
        for waker in [state.reader.take(), state.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// What is flushed from now on is lost, and the caller is told.
    pub(crate) fn fail_flush(&self) {
        self.state().flush_fails = true;
    }

    /// The next poll for reading or writing panics.
    pub(crate) fn panic(&self, in_writing: bool) {
        let mut state = self.state();
        state.panics = Some(in_writing);
        for waker in [state.reader.take(), state.writer.take()].into_iter().flatten() {
            waker.wake();
        }
    }

    /// Sets how many bytes may be written from now on.
    pub(crate) fn set_room(&self, room: usize) {
        let mut state = self.state();
        state.room = room;
        if room > 0
            && let Some(waker) = state.writer.take()
        {
            waker.wake();
        }
    }

    /// What has reached the peer.
    pub(crate) fn sent(&self) -> Vec<u8> {
        self.state().sent.clone()
    }

    /// Whether something that was delivered is not read yet.
    pub(crate) fn has_more(&self) -> bool {
        !self.state().arriving.is_empty()
    }

    pub(crate) fn is_shut(&self) -> bool {
        self.state().is_shut
    }

    pub(crate) fn is_dropped(&self) -> bool {
        self.state().is_dropped
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn halts(&mut self, index: usize, context: &Context<'_>) -> bool {
        if self.manner.halts.is_none() {
            return false;
        }
        self.halts[index] = !self.halts[index];
        if self.halts[index] {
            context.waker().wake_by_ref();
        }
        self.halts[index]
    }

    fn panic_in(&self, writing: bool) {
        assert_ne!(self.panics, Some(writing), "the stream panics as the test wants it");
    }

    fn step(&self) -> usize {
        self.manner.halts.unwrap_or(usize::MAX)
    }

    fn poll_held(&mut self, context: &Context<'_>) -> Poll<()> {
        while !self.held.is_empty() {
            if self.halts(2, context) {
                return Poll::Pending;
            }
            let count = self.step().min(self.held.len());
            self.sent.extend(self.held.drain(..count));
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        target: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        state.reader = None;
        state.panic_in(false);
        if state.is_lost {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.arriving.is_empty() && !state.ended {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.halts(0, context) {
            return Poll::Pending;
        }
        let count = state.step().min(target.remaining()).min(state.arriving.len());
        target.put_slice(&state.arriving.drain(..count).collect::<Vec<_>>());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let mut state = lock(&self.0);
        state.writer = None;
        state.panic_in(true);
        assert!(!octets.is_empty());
        if state.is_lost {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.is_shut || state.shutdowns > 0 {
            return Poll::Ready(Err(Error::other("written behind the end")));
        }
        if state.room == 0 {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        if state.halts(1, context) {
            return Poll::Pending;
        }
        let count = state.step().min(octets.len()).min(state.room);
        state.room -= count;
        if state.manner.holds_back {
            state.held.extend(&octets[..count]);
        } else {
            state.sent.extend(&octets[..count]);
        }
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if std::mem::take(&mut state.flush_fails) {
            state.held.clear();
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        state.poll_held(context).map(Ok)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = lock(&self.0);
        if state.poll_held(context).is_pending() {
            return Poll::Pending;
        }
        if state.manner.holds_back && state.shutdowns < 3 {
            state.shutdowns += 1;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        state.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.0).is_dropped = true;
    }
}

/// A frame whose header has `first` as its first byte. With `masked` the masking key is fixed.
pub(crate) fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mut octets = vec![first];
    let mask = if masked { 0x80 } else { 0 };
    match u8::try_from(payload.len()) {
        Ok(len @ ..126) => octets.push(mask | len),
        _ => {
            octets.push(mask | 126);
            octets.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        }
    }
    if masked {
        octets.extend([1, 2, 3, 4]);
        octets.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
    } else {
        octets.extend(payload);
    }
    octets
}

/// The first byte and the unmasked payload of each frame; `None` if the last one is not complete.
pub(crate) fn frames(mut octets: &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = octets {
        let (len, rest) = match second & 0x7f {
            126 => (usize::from(u16::from_be_bytes(rest.get(..2)?.try_into().unwrap())), &rest[2..]),
            127 => {
                let len = u64::from_be_bytes(rest.get(..8)?.try_into().unwrap());
                (usize::try_from(len).unwrap(), &rest[8..])
            }
            len => (usize::from(len), rest),
        };
        let (mask, rest) = if second & 0x80 == 0 {
            ([0; 4], rest)
        } else {
            (rest.get(..4)?.try_into().unwrap(), &rest[4..])
        };
        let payload = rest.get(..len)?;
        frames.push((*first, payload.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect()));
        octets = &rest[len..];
    }
    octets.is_empty().then_some(frames)
}
