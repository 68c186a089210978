// SPDX-License-Identifier: GPL-2.0-only
//! The laboratory as a library: kernels, builds, machines, sessions and verdicts.
//!
//! Nothing here prints, knows a terminal, or exits: a caller hands in a [`Reporter`](event::Reporter) and
//! gets [events](event::Event) on the way and a [record](verdict) or an [error](error::Error) at the end.
#![forbid(unsafe_code)]

/// What is kept between runs.
pub mod cache;
/// Stopping early.
pub mod cancel;
/// Errors in the user's terms.
pub mod error;
/// What is told on the way.
pub mod event;
/// Programs of the host.
pub mod process;
/// What a run ends in.
pub mod verdict;

use std::sync::Arc;

/// What everything in the lab works with: where to keep things, whom to tell, when to stop.
#[derive(Clone)]
pub struct Lab {
    /// What is kept between runs.
    pub cache: cache::Cache,
    /// Who is told.
    pub reporter: Arc<dyn event::Reporter>,
    /// When to stop.
    pub cancel: cancel::Cancel,
}

impl Lab {
    /// Tells one line that the user should know.
    pub fn note(&self, line: &str) {
        self.reporter.event(&event::Event::Note(line));
    }

    /// Tells how far a piece of work is; `total` is 0 when that isn't known.
    pub fn progress(&self, what: &str, done: u64, total: u64) {
        self.reporter.event(&event::Event::Progress { what, done, total });
    }

    /// Tells that the work last told of is over.
    pub fn progress_end(&self) {
        self.reporter.event(&event::Event::ProgressEnd);
    }
}
