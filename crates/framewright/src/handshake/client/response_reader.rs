//! How a client waits for the answer to one request, a server's or a proxy's: interim responses are skipped, and there is a deadline.

use std::time::{Duration, Instant};

use super::answer::ResponseHead;
use super::error::ResponseError;
use crate::http::head::{HeadLimits, HeadParser};
use crate::http::status_line::StatusLine;

/// How many interim responses are skipped: servers send one at most, a 100 or a 103.
const MAX_INTERIM_RESPONSES: usize = 5;

/// A reader of responses up to the final one, of which an `A` is made.
#[derive(Debug)]
pub(super) struct ResponseReader<A> {
    parser: HeadParser<StatusLine>,
    limits: HeadLimits,
    /// How many interim responses have been skipped.
    interim: usize,
    /// `None` for a deadline beyond the end of time.
    deadline: Option<Instant>,
    state: State<A>,
}

#[derive(Debug)]
enum State<A> {
    Reading,
    Complete(A),
    Failed(ResponseError),
}

impl<A: Clone> ResponseReader<A> {
    /// Starts at `now`; the final response's head has to be complete `timeout` later.
    pub(super) fn new(limits: HeadLimits, now: Instant, timeout: Duration) -> Self {
        ResponseReader {
            parser: HeadParser::response(0, limits),
            limits,
            interim: 0,
            deadline: now.checked_add(timeout),
            state: State::Reading,
        }
    }

    /// Reads on in `bytes`, which are all octets received. `judge` is asked about the head of the final response, once.
    pub(super) fn parse(
        &mut self,
        bytes: &[u8],
        judge: impl FnOnce(ResponseHead<'_>) -> Result<A, ResponseError>,
    ) -> Result<Option<A>, ResponseError> {
        match &self.state {
            State::Reading => {}
            State::Complete(answer) => return Ok(Some(answer.clone())),
            State::Failed(error) => return Err(*error),
        }
        match self.read(bytes, judge) {
            Ok(None) => Ok(None),
            Ok(Some(answer)) => {
                self.state = State::Complete(answer.clone());
                Ok(Some(answer))
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    fn read(
        &mut self,
        bytes: &[u8],
        judge: impl FnOnce(ResponseHead<'_>) -> Result<A, ResponseError>,
    ) -> Result<Option<A>, ResponseError> {
        loop {
            let Some(end) = self.parser.parse(bytes)? else { return Ok(None) };
            let head = ResponseHead::new(bytes, &self.parser);
            if !is_interim(head.status()) {
                return judge(head).map(Some);
            }
            if self.interim == MAX_INTERIM_RESPONSES {
                return Err(ResponseError::TooManyInterimResponses { limit: MAX_INTERIM_RESPONSES });
            }
            self.interim += 1;
            self.parser = HeadParser::response(end, self.limits);
        }
    }

    fn fail(&mut self, error: ResponseError) -> ResponseError {
        self.state = State::Failed(error);
        error
    }

    /// The head of the final response.
    pub(super) fn response<'a>(&'a self, bytes: &'a [u8]) -> ResponseHead<'a> {
        assert!(matches!(self.state, State::Complete(_)), "the answer is not complete");
        ResponseHead::new(bytes, &self.parser)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Reading => self.deadline,
            _ => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) -> Option<ResponseError> {
        if self.poll_timeout()? > now {
            return None;
        }
        Some(self.fail(ResponseError::Timeout))
    }

    pub(super) fn handle_eof(&mut self) -> ResponseError {
        match self.state {
            State::Failed(error) => error,
            State::Complete(_) => ResponseError::Truncated,
            State::Reading if self.parser.pos() == 0 => self.fail(ResponseError::Closed),
            State::Reading => self.fail(ResponseError::Truncated),
        }
    }
}

/// Whether another response follows.
//= https://www.rfc-editor.org/rfc/rfc9110#section-15.2
//# A client MUST be able to parse one or more 1xx responses received prior to a final response, even if the client
//# does not expect one.
fn is_interim(status: u16) -> bool {
    // After a 101 the connection no longer speaks HTTP.
    (100..200).contains(&status) && status != 101
}
