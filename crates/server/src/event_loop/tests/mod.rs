//! An event loop, from within.

mod held_up;
mod stopping;
