//! What the callers and the tasks of a backplane share.

pub(crate) mod incoming;
pub(crate) mod queue;
pub(crate) mod seen;
pub(crate) mod shared;
pub(crate) mod streams;
pub(crate) mod wanted;
