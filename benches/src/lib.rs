//! What the benchmarks share: the floor that servers are measured against, a load generator, and the process that runs a
//! server apart from it.

#![forbid(unsafe_code)]

pub mod floor;
pub mod load;
pub mod process;
