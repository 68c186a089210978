// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab gdb`.

use std::path::Path;
use std::process::Command;

use lab::Lab;
use lab::error::{Context, Result};
use lab::project::Project;
use lab::run::{self, Debugged};

use super::machine::one_kernel;
use super::our_root;
use crate::cli::GdbArgs;
use crate::interrupt::Interrupt;

/// Loads the project's module under gdb. Gives gdb's exit status.
pub(crate) fn gdb(lab: &Lab, dir: &Path, arguments: &GdbArgs, interrupt: &Interrupt) -> Result<u8> {
    let project = Project::find(dir)?;
    our_root(&arguments.run, "gdb")?;
    let kernel = one_kernel(lab, &arguments.run, Some(&project))?;
    let mut start = |script: &Path| {
        // From here on Ctrl-C is for gdb, which stops the machine with it.
        interrupt.ignore();
        let mut gdb = Command::new("gdb");
        gdb.arg("-q").arg("-x").arg(script).args(&arguments.gdb);
        gdb.status().context(|| "start gdb".to_owned())
    };
    match run::debug(lab, &project, &kernel, (&arguments.run).into(), &mut start)? {
        Debugged::Ended(status) => {
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
        }
        Debugged::Failed(record) => Ok(record.class.exit_status()),
    }
}
