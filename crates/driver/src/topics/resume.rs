//! A subscription of a durable topic that resumes behind a message the subscriber has received.
//!
//! ```text
//!             read                        page: posted to the subscriber
//!   begins -----------> Reading: live ---------------------------------> read again behind it
//!                       messages are                                         |
//!                       held back        an empty page, a failure, a limit   |
//!                            ^-----------------------------------------------+
//!                                                |
//!               live messages have passed -------+------- or not yet
//!               the last stored one: what is              Behind: those at or before it are
//!               held back is posted, admitted             doubles; the first one after it admits
//! ```
//!
//! The backplane delivers live messages in the order of their positions, from the subscription on.
//! It may lag behind what it reads, so positions are compared on both sides. Live messages are stored
//! too: those that are too many to be held back are forgotten, and read instead.

use super::backplane::Position;
use super::port::{Join, PortId};
use super::publication::Publication;
use std::sync::Arc;

/// A subscriber that is not admitted yet. Lives in its topic, under the lock of the shard.
#[derive(Debug)]
pub(super) struct Resume {
    pub(super) port: PortId,
    pub(super) connection: u64,
    pub(super) serial: u64,
    subscriber: u64,
    filter: Arc<str>,
    /// The position of the last message that the subscriber has.
    after: Position,
    stage: Stage,
    /// Bytes of what was read.
    read: usize,
    /// The last message that was held back and forgotten.
    forgotten: Option<Position>,
    /// Whether the last page was empty, though it should have had what was forgotten.
    asked_again: bool,
    /// Whether the port is to ask for the next page.
    pub(super) awaits_port: bool,
}

#[derive(Debug)]
enum Stage {
    Reading { held: Vec<Arc<Publication>>, bytes: usize },
    Behind,
}

/// What a step of a resumption asks for.
#[derive(Debug)]
pub(super) struct Step {
    /// To be posted.
    pub(super) join: Option<Join>,
    /// What becomes of the resumption.
    pub(super) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Read(Position),
    Stay,
    End,
}

/// Who resumes.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) port: PortId,
    pub(super) subscriber: u64,
    pub(super) connection: u64,
}

impl Resume {
    pub(super) fn new(who: &Subscriber, filter: &Arc<str>, serial: u64, after: Position) -> Self {
        Self {
            port: who.port,
            connection: who.connection,
            serial,
            subscriber: who.subscriber,
            filter: Arc::clone(filter),
            after,
            stage: Stage::Reading { held: Vec::new(), bytes: 0 },
            read: 0,
            forgotten: None,
            asked_again: false,
            awaits_port: false,
        }
    }

    /// A message was published on the topic. What this asks for comes before the message.
    pub(super) fn on_live(
        &mut self,
        publication: &Arc<Publication>,
        at: Option<Position>,
        limit: usize,
    ) -> Step {
        match &mut self.stage {
            Stage::Reading { held, bytes } => {
                if *bytes + publication.cost() > limit {
                    self.forgotten = self.forgotten.max(held.last().and_then(position));
                    held.clear();
                    *bytes = 0;
                }
                *bytes += publication.cost();
                held.push(Arc::clone(publication));
                Step { join: None, then: Then::Stay }
            }
            Stage::Behind if at.is_some_and(|at| at <= self.after) => Step { join: None, then: Then::Stay },
            Stage::Behind => Step { join: Some(self.join(Vec::new(), true, false)), then: Then::End },
        }
    }

    /// The port asks for the next page. `None` if it is not to.
    pub(super) fn read_on(&mut self) -> Option<Position> {
        std::mem::take(&mut self.awaits_port).then_some(self.after)
    }

    /// Messages were read. `live`: the position of the last message that the backplane has delivered.
    /// `limit`: the bytes that are read in all.
    pub(super) fn on_page(
        &mut self,
        stored: Vec<(Position, Arc<Publication>)>,
        gap: bool,
        live: Option<Position>,
        limit: usize,
    ) -> Step {
        let is_last = stored.is_empty();
        // A backplane that answers with what came before would be asked for ever.
        let mut retained = Vec::with_capacity(stored.len());
        let mut advances = false;
        for (at, publication) in stored {
            if at > self.after {
                self.after = at;
                self.read += publication.cost();
                advances = true;
                retained.push(publication);
            }
        }
        if is_last && self.forgotten > Some(self.after) && !std::mem::replace(&mut self.asked_again, true) {
            let join = gap.then(|| self.join(Vec::new(), false, true));
            return Step { join, then: Then::Read(self.after) };
        }
        if advances && self.read <= limit {
            self.asked_again = false;
            return Step { join: Some(self.join(retained, false, gap)), then: Then::Read(self.after) };
        }
        let is_missing = self.forgotten > Some(self.after);
        self.end(retained, gap || !is_last || is_missing, live)
    }

    /// Nothing more is read.
    pub(super) fn end(
        &mut self,
        mut retained: Vec<Arc<Publication>>,
        gap: bool,
        live: Option<Position>,
    ) -> Step {
        let stage = std::mem::replace(&mut self.stage, Stage::Behind);
        let Stage::Reading { held, .. } = stage else { return Step { join: None, then: Then::Stay } };
        let after = self.after;
        retained.extend(held.into_iter().filter(|held| position(held).is_none_or(|at| at > after)));
        let admits = live.is_some_and(|live| live >= after);
        let is_nothing = retained.is_empty() && !gap && !admits;
        let join = (!is_nothing).then(|| self.join(retained, admits, gap));
        Step { join, then: if admits { Then::End } else { Then::Stay } }
    }

    /// The subscription has ended. The port is told, so that it does not wait for the join.
    pub(super) fn cancel(&self) -> Join {
        self.join(Vec::new(), true, false)
    }

    fn join(&self, retained: Vec<Arc<Publication>>, admits: bool, gap: bool) -> Join {
        Join {
            subscriber: self.subscriber,
            connection: self.connection,
            filter: Arc::clone(&self.filter),
            serial: self.serial,
            retained,
            admits,
            gap,
        }
    }
}

fn position(publication: &Arc<Publication>) -> Option<Position> {
    publication.id().and_then(Position::parse)
}
