//! How a chore ends: its last line, and the exit code.

use std::fmt;

/// The error of a chore that has already printed what failed: nothing is left to say.
#[derive(Debug)]
pub(crate) struct Reported;

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the failures are in the report above")
    }
}

impl std::error::Error for Reported {}

/// Prints a chore's last line, and turns failures into the error that stands for them.
pub(crate) fn conclude(passed: usize, failed: usize) -> anyhow::Result<()> {
    println!("{passed} passed, {failed} failed");
    if failed == 0 { Ok(()) } else { Err(Reported.into()) }
}
