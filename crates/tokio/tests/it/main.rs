//! The tests of framewright-tokio, one program.

mod accepting;
mod basics;
mod deadlines;
mod support;
