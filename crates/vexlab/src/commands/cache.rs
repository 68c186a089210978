// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab cache`.

use lab::Lab;
use lab::error::Result;
use lab::project::Size;
use lab::saved::{self, Listed};

use crate::cli;
use crate::output::{megabytes, print};

pub(crate) fn cache(lab: &Lab, command: &cli::Cache) -> Result<()> {
    match command {
        cli::Cache::Show => {
            let states = saved::list(lab);
            states.iter().for_each(|state| print(line(state)));
            print(format!("{} in all; at most {} are kept", sum(&states), megabytes(saved::BOUND.0)));
        }
        cli::Cache::Prune { keep } => {
            let removed = saved::prune(lab, keep.unwrap_or(Size(0)), None)?;
            removed.iter().for_each(|state| print(line(state)));
            print(format!("{} are removed", sum(&removed)));
        }
    }
    Ok(())
}

/// A state: its kernel, the machine's memory, its size on disk, and how long ago it was used.
fn line(state: &Listed) -> String {
    let kernel = state.kernel.as_deref().unwrap_or("unusable");
    let memory = format!("{} MiB of memory", state.memory.0 >> 20);
    let ago = state.used.elapsed().map_or(0, |ago| ago.as_secs() / 60);
    format!("{kernel:<18} {memory:<20} {:>7}   used {ago} minutes ago", megabytes(state.size))
}

fn sum(states: &[Listed]) -> String {
    let what = if states.len() == 1 { "saved machine" } else { "saved machines" };
    format!("{} {what}, {}", states.len(), megabytes(states.iter().map(|state| state.size).sum()))
}
