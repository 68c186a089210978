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
pub struct Cancel {
    own: Arc<AtomicBool>,
    above: Option<Arc<AtomicBool>>,
}

impl Cancel {
    /// The flag itself, for a signal handler to set.
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.own)
    }

    /// A request for a part of the work: it is made with this one, and can be made, and taken back, without it.
    pub fn of_part(&self) -> Self {
        Self { own: Arc::default(), above: Some(self.flag()) }
    }

    /// Takes the request back, for the next piece of work. One that was made for the whole stays.
    pub fn take_back(&self) {
        self.own.store(false, Ordering::SeqCst);
    }

    /// Asks everything to stop.
    pub fn cancel(&self) {
        self.own.store(true, Ordering::SeqCst);
    }

    /// Whether to stop.
    pub fn is_cancelled(&self) -> bool {
        let is_set = |flag: &Arc<AtomicBool>| flag.load(Ordering::SeqCst);
        is_set(&self.own) || self.above.as_ref().is_some_and(is_set)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stops_with_the_whole_and_alone() {
        let whole = Cancel::default();
        let part = whole.of_part();
        part.cancel();
        assert!(part.clone().is_cancelled() && !whole.is_cancelled());
        part.take_back();
        assert!(part.check().is_ok());
        whole.cancel();
        part.take_back();
        assert_eq!(part.check().unwrap_err().kind(), Kind::Interrupted);
    }
}
