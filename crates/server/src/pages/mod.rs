//! Pages and static files: fixed content, answered to GET and HEAD, with an `ETag`, so that a
//! client that already has it gets a 304.
//!
//! All content is in memory before the server runs. A request is a lookup in a table: no path of a
//! request ever reaches the file system, and no event loop waits for a disk.

pub(crate) mod files;
pub(crate) mod page;
mod preconditions;
mod types;
