//! A connection and the hub that it has joined.

use crate::shared::Shared;
use crate::topics::{Hub, Member, PublishError, SubscribeError};
use std::sync::Arc;

impl<S> Shared<S> {
    pub(crate) fn member(&self) -> Option<Arc<Member>> {
        self.lock().member.clone()
    }

    pub(crate) fn join_hub(&self, hub: &Hub) {
        let mut linked = self.lock();
        if linked.stream().is_none() || linked.member.as_ref().is_some_and(|member| member.is_of(hub)) {
            return;
        }
        let member = Member::join(hub, linked.waker());
        let before = linked.member.replace(member);
        drop(linked);
        if let Some(before) = before {
            before.end();
        }
    }

    pub(crate) fn to_subscribe(&self) -> Result<Arc<Member>, SubscribeError> {
        let linked = self.lock();
        if !linked.is_open() {
            return Err(SubscribeError::Closed);
        }
        linked.member.clone().ok_or(SubscribeError::NotJoined)
    }

    pub(crate) fn to_publish(&self) -> Result<Arc<Member>, PublishError> {
        self.member().ok_or(PublishError::NotJoined)
    }

    /// The connection has ended: so do its subscriptions.
    pub(crate) fn end_topics(&self) {
        if let Some(member) = self.member() {
            member.end();
        }
    }
}
