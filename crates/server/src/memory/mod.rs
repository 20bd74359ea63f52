//! The memory that all connections of a server may hold together, and which are ended if it is
//! exceeded.

pub(crate) mod ledger;
pub(crate) mod limit;
