//! The line that tells what goes on: on stderr, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    pub(super) fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.with_style(ProgressStyle::with_template("{spinner} {msg}").expect("a template of two parts"))
        });
        Progress(bar)
    }

    /// What is done now, for how long it will be, and how many messages a second there were.
    pub(super) fn show(&self, phase: &str, left: Duration, rate: Option<f64>) {
        let Some(bar) = &self.0 else { return };
        let rate = rate.map_or_else(String::new, |rate| format!(", {rate:.0} messages/s"));
        bar.set_message(format!("{phase}, {:.1} s left{rate}", left.as_secs_f64()));
        bar.tick();
    }

    /// What is done now, where nobody knows how long it takes.
    pub(super) fn say(&self, what: &str) {
        let Some(bar) = &self.0 else { return };
        bar.set_message(what.to_owned());
        bar.tick();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
