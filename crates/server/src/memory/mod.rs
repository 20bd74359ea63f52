//! What all connections of a server may hold together, and who gives way where that is too much.

pub(crate) mod ledger;
pub(crate) mod limit;
