// SPDX-License-Identifier: GPL-2.0-only
//! Stopping early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Kind, Result};

/// How often something that waits looks whether it is to stop.
pub const POLL: Duration = Duration::from_millis(20);

/// A request to stop that everything which waits keeps an eye on. Clones are the same request.
#[derive(Debug, Clone, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }

    /// Asks everything to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes on, or stops.
    ///
    /// # Errors
    ///
    /// [`Kind::Interrupted`] once asked to stop.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::new(Kind::Interrupted, "interrupted")) } else { Ok(()) }
    }
}
