// SPDX-License-Identifier: GPL-2.0-only
//! What the benchmarks share: running programs, and the times of several rounds.

use std::process::{Command, Stdio};
use std::time::Instant;

/// Seconds of each round.
#[derive(Default)]
pub(crate) struct Times(pub(crate) Vec<f64>);

impl Times {
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    /// The median, and from the least to the most, with two digits after the point at least.
    pub(crate) fn text(&self) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        let digits = if self.median() < 0.1 { 4 } else { 2 };
        format!("{:.digits$} ({least:.digits$} to {most:.digits$})", self.median())
    }
}

/// How long a command takes, in seconds. It has to succeed.
pub(crate) fn timed(command: &mut Command) -> f64 {
    seconds(|| run(command))
}

/// How long something takes, in seconds.
pub(crate) fn seconds(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
