//! The program itself: what it prints, what it serves, how it ends.

#![cfg(unix)]

#[path = "../../../server/tests/common/mod.rs"]
mod common;
#[cfg(feature = "aws-lc-rs")]
#[path = "../../../server/tests/common/tls.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod tls;

mod command_line;
mod compression;
mod connections;
mod page;
mod program;
mod signals;
#[cfg(feature = "aws-lc-rs")]
mod with_tls;
