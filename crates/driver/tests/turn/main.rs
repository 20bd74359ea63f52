//! The rules of a turn, over a transport whose reads and writes are scripted: in both roles.

mod bench;
mod deadlines;
mod ending;
mod lingering;
mod memory;
mod reading;
mod writing;
