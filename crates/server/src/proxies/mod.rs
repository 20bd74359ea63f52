//! The client of a connection, if proxies stand in front of the server.
//!
//! | file | decides |
//! |---|---|
//! | `trusted` | whose word counts, and which address is the client's |
//! | `forwarded` | what X-Forwarded-For and Forwarded say (RFC 7239) |
//! | `proxy_header` | what a header of the PROXY protocol says |

mod forwarded;
pub(crate) mod proxy_header;
pub(crate) mod trusted;
