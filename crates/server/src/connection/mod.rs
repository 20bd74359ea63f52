//! One connection of an event loop, in its three phases.

pub(crate) mod open;
pub(crate) mod opening;
pub(crate) mod slot;
