// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab doctor`.

use lab::Lab;
use lab::doctor::{self, State};
use lab::error::Result;
use lab::verdict::Class;

use crate::output::print;

/// Prints what this machine has and lacks. The exit status is a pass only when nothing is missing.
pub(crate) fn doctor(lab: &Lab) -> Result<u8> {
    let findings = doctor::examine(lab)?;
    for finding in &findings {
        let (mark, text) = match &finding.state {
            State::Good(text) => ("  ok   ", text.clone()),
            State::Missing { why, .. } => ("MISSING", why.clone()),
            State::Without(why) => ("   -   ", why.clone()),
        };
        print(format!("{mark} {:<12} {text}", finding.what));
    }
    match doctor::remedy(&findings) {
        None => Ok(0),
        Some(command) => {
            print(format!("\nThis mends it:\n  {command}"));
            Ok(Class::LabFailed.exit_status())
        }
    }
}
