//! An event loop, from within.

mod held_up;
#[cfg(unix)]
mod still;
mod stopping;
#[cfg(unix)]
mod timers;
#[cfg(unix)]
mod walks;
