//! What connections cost, and what is left of them: memory, descriptors, the processor's time.
//!
//! Each test has a server in a process of its own, which is this program started again, so that
//! nothing but the server is measured and its limits can be lowered. The tests run one after the
//! other. They print what they measure: see it with `--nocapture`.
#![cfg(target_os = "linux")]
#![allow(clippy::print_stdout, reason = "what is measured is worth seeing")]

#[path = "../common/mod.rs"]
mod common;

mod descriptors;
mod memory;
mod process;
mod service;
#[cfg(any(feature = "aws-lc-rs", feature = "ring"))]
mod tls;
