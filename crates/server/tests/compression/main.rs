//! What compression holds, octet for octet: at rest, against bombs, with a crowd that sends at
//! once.
//!
//! Each test has a server in a process of its own, which is this program started again, and whose
//! allocations are counted. The tests print what they measure: see it with `--nocapture`.
#![cfg(all(target_os = "linux", feature = "deflate"))]
#![allow(clippy::print_stdout, reason = "what is measured is worth seeing")]

#[path = "../common/mod.rs"]
mod common;

mod at_rest;
mod bombs;
mod crowd;
#[allow(dead_code, reason = "shared with the tests of resources")]
#[path = "../resources/process.rs"]
mod process;
mod service;

/// Counts only where a profiler was started: in the server's process.
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;
