//! Pages and static files: fixed content, answered to GET and HEAD, with an `ETag`, so that who has
//! it already is told so (304).
//!
//! All of it is in memory before the server runs. A request is a look into a table: no path of a
//! request ever reaches the file system, and no event loop waits for a disk.

pub(crate) mod files;
pub(crate) mod page;
mod preconditions;
mod types;
