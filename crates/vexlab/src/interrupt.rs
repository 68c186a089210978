// SPDX-License-Identifier: GPL-2.0-only
//! The signals that stop a run.

use lab::cancel::Cancel;
use lab::error::{Context, Result};
use lab::verdict::Class;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::{SigId, flag, low_level};

/// What is done when a signal asks the program to stop.
pub(crate) struct Interrupt {
    keyboard: Vec<SigId>,
}

impl Interrupt {
    /// Has signals cancel what is going on. A second one ends the program at once.
    pub(crate) fn watch(cancel: &Cancel) -> Result<Self> {
        let mut keyboard = Vec::new();
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let stop = i32::from(Class::Interrupted.exit_status());
            let watch = || format!("watch for signal {signal}");
            let ids = [
                flag::register_conditional_shutdown(signal, stop, cancel.flag()).context(watch)?,
                flag::register(signal, cancel.flag()).context(watch)?,
            ];
            if signal == SIGINT {
                keyboard.extend(ids);
            }
        }
        Ok(Self { keyboard })
    }

    /// Leaves Ctrl-C to a program that shares our terminal: it does nothing here any more.
    pub(crate) fn ignore(&self) {
        self.keyboard.iter().for_each(|id| {
            low_level::unregister(*id);
        });
    }
}
