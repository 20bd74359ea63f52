//! What has come of the exchanges, told and counted.

use crate::wire::{Exchange, ratio};

/// How many exchanges went as they had to, and how many did not.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
}

impl Tally {
    /// Prints what has come of an exchange, and counts it.
    pub(super) fn note(&mut self, what: &str, result: anyhow::Result<String>) {
        match result {
            Ok(seen) => {
                self.passed += 1;
                println!("  ok {what}{}", if seen.is_empty() { seen } else { format!("\n     -> {seen}") });
            }
            Err(error) => {
                self.failed += 1;
                println!("  FAILED {what}: {error:#}");
            }
        }
    }
}

/// What was agreed on, and how much was saved by that.
pub(super) fn saved(exchange: &Exchange) -> String {
    let Some(answer) = &exchange.answered else {
        return if exchange.offered.is_some() { "declined".to_owned() } else { String::new() };
    };
    let ((sent, as_sent), (back, as_back)) = (ratio(&exchange.client), ratio(&exchange.server));
    format!("{answer}\n     {sent} octets in {as_sent}, back {back} in {as_back}")
}
