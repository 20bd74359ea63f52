//! Memory that was used goes back: after crowds and floods the server holds what it held before,
//! and at most a tenth more.
//!
//! The server runs in a process of its own, which is this program started again, and its
//! allocations are counted: this is about what it holds itself, whatever an allocator keeps of it.
//! What each allocator gives back to the system is measured by the example `given_back`. The tests
//! print what they measure: see it with `--nocapture`.
#![cfg(all(target_os = "linux", feature = "deflate"))]
#![allow(clippy::print_stdout, reason = "what is measured is worth seeing")]

#[path = "../common/mod.rs"]
mod common;

mod crowds;
#[allow(dead_code, reason = "shared with the tests of resources")]
#[path = "../resources/process.rs"]
mod process;
mod service;

/// Counts only where a profiler was started: in the server's process.
#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;
