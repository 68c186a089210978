// SPDX-License-Identifier: GPL-2.0-only
//! Machines that are started before there is work for them.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use super::boot::{self, Booting};
use super::{Options, new_dir};
use crate::Lab;
use crate::error::{Error, Result};
use crate::kernel::Kernel;
use crate::machine::Machine;
use crate::project::Project;
use crate::session::{Lost, Session};
use crate::splat::Splat;

/// How many machines are kept at most: each has the memory that its project asks for.
const MOST: usize = 2;

/// How long a machine that waits may take to answer.
const ANSWER: Duration = Duration::from_secs(2);

/// Machines whose agents wait, at most one for a kernel and two in all. They end with this value, and with the
/// thread that [prepared](Self::prepare) them.
///
/// Only a run that would describe the same machine gets one. What is kept is never a reason to fail: where a
/// machine can't be prepared, or has died meanwhile, the run starts its own.
#[derive(Debug, Default)]
pub struct Kept {
    machines: Vec<Ready>,
}

/// A machine whose agent has answered, and nothing else was asked of since. It is paused.
#[derive(Debug)]
pub(super) struct Ready {
    kernel: String,
    pub(super) machine: Machine,
    pub(super) session: Session,
    pub(super) dir: Dir,
}

/// A run's folder, removed with this value. What writes to it has to end first.
#[derive(Debug)]
pub(super) struct Dir(PathBuf);

impl Dir {
    /// The folder, to be kept.
    pub(super) fn keep(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // Another vexlab may have removed it as an old one.
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

impl Kept {
    /// Starts a machine for each of the first kernels that has none, as the next run of this project will want
    /// it, and ends those of other kernels. Waits until their agents have answered, or `lab` is to stop.
    pub fn prepare(&mut self, lab: &Lab, project: &Project, kernels: &[Kernel], options: Options) {
        let kernels = &kernels[..kernels.len().min(MOST)];
        self.machines.retain(|ready| kernels.iter().any(|kernel| kernel.name() == ready.kernel));
        for kernel in kernels {
            if self.machines.iter().all(|ready| ready.kernel != kernel.name()) {
                // The run will tell what is in the way.
                self.machines.extend(Ready::start(lab, project, kernel, options));
            }
        }
    }

    /// The machine that is kept for this kernel, if it is one like `wanted` and as good as new.
    pub(super) fn take(&mut self, lab: &Lab, kernel: &Kernel, wanted: &Machine) -> Option<Ready> {
        let index = self.machines.iter().position(|ready| ready.kernel == kernel.name())?;
        let mut ready = self.machines.swap_remove(index);
        // The marker is the digest of all that shapes a machine.
        if ready.machine.marker != wanted.marker || !ready.dir.0.is_dir() {
            return None;
        }
        let why = match ready.session.resume(&ready.machine, ANSWER) {
            Ok(()) => match ready.trouble() {
                None => return Some(ready),
                Some(splat) => format!("its kernel reported trouble while it waited: {}", splat.title),
            },
            Err(Lost::Interrupted(_)) => return None,
            Err(lost) => lost.to_string(),
        };
        let name = kernel.name();
        lab.note(&format!("the machine that was kept for {name} is of no use, so another is started: {why}"));
        None
    }
}

impl Ready {
    fn start(lab: &Lab, project: &Project, kernel: &Kernel, options: Options) -> Result<Self> {
        let manifest = project.manifest();
        let dir = Dir(new_dir(lab)?);
        let machine = boot::describe(lab, kernel, &manifest.machine, options.accelerator, &dir.0)?;
        let booting = Booting::start(lab, kernel, machine.clone(), &dir.0, options.cold)?;
        lab.progress(&format!("preparing a machine of {}", kernel.name()), 0, 0);
        let booted = booting.wait(manifest.timeouts.boot);
        lab.progress_end();
        let (mut session, _) = booted?;
        session.pause().map_err(|lost| Error::lab(lost.to_string()))?;
        Ok(Self { kernel: kernel.name().to_owned(), machine, session, dir })
    }

    /// What its kernel has complained of, which no run's module is to be blamed for.
    fn trouble(&self) -> Option<Splat> {
        self.session.splats().into_iter().next()
    }
}
