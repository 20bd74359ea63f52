//! An event loop as the registry of topics sees it: a mailbox, and what waits in it.

use crate::event_loop::mailbox::{Command, Mailbox};
use crate::topics::subscriptions::Subscriptions;
use crate::topics::work::{Backlog, TopicsPort, Work};
use framewright_driver::topics::{Hub, Port, Post, Topics};
use std::io;
use std::sync::Arc;

/// The way to an event loop.
#[derive(Debug)]
struct LoopPort {
    mailbox: Arc<Mailbox>,
    backlog: Arc<Backlog>,
}

impl Port for LoopPort {
    fn post(&self, post: Post) {
        let work = match post {
            Post::Deliver(publication) => Work::Publish(publication),
            Post::Join(join) => Work::Join(join),
        };
        self.backlog.more(&work);
        // A loop that has ended has no subscribers.
        let _ = self.mailbox.post(Command::Work(work));
    }

    fn has_room(&self) -> bool {
        self.backlog.has_room()
    }

    /// The loop asks when the connection has taken the last page.
    fn reads_on(&self) -> bool {
        true
    }
}

/// The registry of topics, and the ports of all loops there.
pub(crate) struct LoopPorts {
    pub(crate) hub: Arc<Hub>,
    ports: Vec<TopicsPort>,
}

impl LoopPorts {
    /// Makes the registry of a server whose loops have these mailboxes.
    ///
    /// # Errors
    /// If the way to other servers cannot be opened.
    pub(crate) fn new(topics: Topics, mailboxes: &[Arc<Mailbox>]) -> io::Result<LoopPorts> {
        let hub = Hub::new(topics).map_err(io::Error::other)?;
        let port = |mailbox: &Arc<Mailbox>| {
            let backlog = Arc::<Backlog>::default();
            let port = LoopPort { mailbox: Arc::clone(mailbox), backlog: Arc::clone(&backlog) };
            let port = TopicsPort { port: hub.add_port(Arc::new(port)), hub: Arc::clone(&hub), backlog };
            mailbox.set_topics(&port);
            port
        };
        let ports = mailboxes.iter().map(port).collect();
        Ok(LoopPorts { hub, ports })
    }

    /// The subscriptions of the loop with this index.
    pub(crate) fn of_loop(&self, index: usize) -> Subscriptions {
        Subscriptions::new(self.ports[index].clone())
    }
}
