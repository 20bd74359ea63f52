//! The part of HTTP/1.1 (RFC 9110, RFC 9112) that an opening handshake needs: the syntax of a head,
//! and what servers and clients read alike. Nothing in this module depends on a side of the
//! handshake.
//!
//! | file | decides |
//! |---|---|
//! | `bytes`, `scan` | which octet may stand where, and where a name or a value ends |
//! | `span` | how a place in a head is kept |
//! | `head` | how a head is read as it arrives, and how long it may be |
//! | `request_line`, `status_line` | the first line |
//! | `field_lines` | the lines behind it |
//! | `known`, `section` | which fields there are rules for, and how any field is read |
//! | `body` | how long a body is, and how one is read |
//! | `field` | which fields an application may set |
//! | `authority` | what a host with a port is |
//! | `reference` | what a URI is, and what stands for one beside another |

pub(crate) mod authority;
pub(crate) mod body;
pub(crate) mod bytes;
pub(crate) mod field;
pub(crate) mod field_lines;
pub(crate) mod head;
pub(crate) mod known;
pub(crate) mod reference;
pub(crate) mod request_line;
pub(crate) mod scan;
pub(crate) mod section;
pub(crate) mod span;
pub(crate) mod status_line;
