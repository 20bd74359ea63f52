//! A port that notes what is posted, and a backplane that does what a test tells it.

use framewright::OwnedMessage;
use framewright_driver::topics::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

/// A port whose subscribers are numbers.
#[derive(Default)]
pub(crate) struct Inbox {
    posts: Mutex<Vec<Post>>,
    pub(crate) is_full: AtomicBool,
    pub(crate) reads_on: AtomicBool,
}

impl Port for Inbox {
    fn post(&self, post: Post) {
        self.posts.lock().unwrap().push(post);
    }

    fn has_room(&self) -> bool {
        !self.is_full.load(Ordering::Relaxed)
    }

    fn reads_on(&self) -> bool {
        self.reads_on.load(Ordering::Relaxed)
    }
}

impl Inbox {
    /// Takes what was posted, as text: `key` for a message, `join key key` for a join.
    pub(crate) fn take(&self) -> Vec<String> {
        self.take_posts().iter().map(shown).collect()
    }

    pub(crate) fn take_posts(&self) -> Vec<Post> {
        std::mem::take(&mut *self.posts.lock().unwrap())
    }
}

fn shown(post: &Post) -> String {
    match post {
        Post::Deliver(publication) => publication.key().unwrap_or("-").to_owned(),
        Post::Join(join) => {
            let mut text = String::from(if join.admits { "join" } else { "part" });
            if join.gap {
                text.push_str(" gap");
            }
            for publication in &join.retained {
                text.push(' ');
                text.push_str(publication.key().unwrap_or("-"));
            }
            text
        }
    }
}

/// The messages that each subscriber of a port receives, by its number: what a real port does.
#[derive(Default)]
pub(crate) struct Members {
    /// Subscriber, filter, and whether it is admitted.
    pub(crate) all: Vec<(u64, String, bool)>,
    pub(crate) received: HashMap<u64, Vec<Arc<Publication>>>,
}

impl Members {
    pub(crate) fn handle(&mut self, posts: Vec<Post>) {
        for post in posts {
            match post {
                Post::Join(join) => {
                    let of = |(id, filter, _): &&mut (u64, String, bool)| {
                        *id == join.subscriber && **filter == *join.filter
                    };
                    if let Some(member) = self.all.iter_mut().find(of) {
                        member.2 |= join.admits;
                        self.received.entry(join.subscriber).or_default().extend(join.retained);
                    }
                }
                Post::Deliver(publication) => {
                    let mut to: Vec<u64> = self
                        .all
                        .iter()
                        .filter(|(_, filter, admitted)| {
                            *admitted && Filter::parse(filter, 256).unwrap().matches(publication.topic())
                        })
                        .map(|(id, ..)| *id)
                        .filter(|id| !publication.skips(*id))
                        .collect();
                    to.sort_unstable();
                    to.dedup();
                    for id in to {
                        self.received.entry(id).or_default().push(Arc::clone(&publication));
                    }
                }
            }
        }
    }
}

pub(crate) fn hub(builder: TopicsBuilder) -> (Arc<Hub>, Arc<Inbox>, PortId) {
    let hub = Hub::new(builder.build()).unwrap();
    let inbox = Arc::new(Inbox::default());
    let port = hub.add_port(Arc::clone(&inbox) as Arc<dyn Port>);
    (hub, inbox, port)
}

/// Publishes a message whose name, for the test, is its key.
pub(crate) fn publish(hub: &Hub, topic: &str, key: &str) {
    hub.publish(topic, "text".into(), Some(key), None).unwrap();
}

/// A backplane that notes calls. Clones are the same one.
#[derive(Clone, Default)]
pub(crate) struct Noting(pub(crate) Arc<Notes>);

#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) calls: Mutex<Vec<String>>,
    pub(crate) remote: Mutex<Option<Remote>>,
    pub(crate) replies: Mutex<Vec<Reply>>,
    pub(crate) is_away: AtomicBool,
}

impl Noting {
    pub(crate) fn calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.calls.lock().unwrap())
    }

    fn call(&self, text: String) {
        self.0.calls.lock().unwrap().push(text);
    }

    pub(crate) fn remote(&self) -> Remote {
        self.0.remote.lock().unwrap().clone().unwrap()
    }

    /// Another process publishes; the key is the position.
    pub(crate) fn live(&self, topic: &str, id: &str) {
        assert!(self.remote().deliver(topic, OwnedMessage::Text("text".into()), Some(id), Some(id)));
    }

    /// Answers the oldest read.
    pub(crate) fn answer(&self, ids: &[&str], gap: bool) {
        let stored = ids.iter().map(|id| Stored {
            id: (*id).to_owned(),
            message: OwnedMessage::Text("text".into()),
            key: Some((*id).to_owned()),
        });
        self.reply(Ok(Page { stored: stored.collect(), gap }));
    }

    pub(crate) fn reply(&self, page: Result<Page, BackplaneError>) {
        let reply = self.0.replies.lock().unwrap().remove(0);
        reply(page);
    }
}

impl Backplane for Noting {
    fn start(&self, remote: Remote) -> Result<(), BackplaneError> {
        *self.0.remote.lock().unwrap() = Some(remote);
        Ok(())
    }

    fn publish(
        &self,
        publication: &Arc<Publication>,
        options: &TopicOptions,
    ) -> Result<Passed, BackplaneError> {
        self.call(format!("publish {}", publication.topic()));
        match (self.0.is_away.load(Ordering::Relaxed), options.durable) {
            (true, _) => Err(BackplaneError::Away),
            (false, true) => Ok(Passed::ComesBack),
            (false, false) => Ok(Passed::Deliver),
        }
    }

    fn subscribe(&self, filter: &str, options: &TopicOptions) -> Result<(), BackplaneError> {
        self.call(format!("subscribe {filter}"));
        if options.durable && filter.ends_with('#') {
            return Err(BackplaneError::Refused("a prefix".into()));
        }
        Ok(())
    }

    fn unsubscribe(&self, filter: &str) {
        self.call(format!("unsubscribe {filter}"));
    }

    fn read(&self, topic: &str, after: &str, reply: Reply) {
        self.call(format!("read {topic} {after}"));
        self.0.replies.lock().unwrap().push(reply);
    }

    fn stop(&self, _: Instant) {
        self.call("stop".into());
    }
}
