//! The types that an application implements, receives and sets.

pub(crate) mod connections;
pub(crate) mod decision;
pub(crate) mod decision_threads;
pub(crate) mod erased;
pub(crate) mod handle;
pub(crate) mod handler;
pub(crate) mod options;
pub(crate) mod route;
pub(crate) mod socket;
