// SPDX-License-Identifier: GPL-2.0-only
//! Machines with a distribution, for as long as a command needs them.

use std::path::PathBuf;

use lab::Lab;
use lab::cache::Staging;
use lab::environment::{self, MadeWith, Name};
use lab::error::{Error, Result};
use lab::image::{self, Base, Share, Ssh};
use lab::machine::Accelerator;
use lab::project::Project;
use lab::run;
use lab::run::inside::{self, Place};

use crate::cli::WholeArgs;

/// A machine with a distribution, for as long as this value is there.
pub(super) enum Whole {
    /// One that is kept, and stays.
    Kept { name: String, image: String, ssh: Ssh, console: PathBuf, accelerator: Accelerator },
    /// A fresh one of an image.
    Fresh { image: String, machine: Box<image::Running>, _dir: Staging },
}

/// A project's folder, as a machine sees it.
pub(super) fn the_project(project: &Project) -> Share {
    Share { path: project.root().to_owned(), writable: false }
}

/// The error for a kernel that is named beside an image.
pub(super) fn its_own_kernel() -> Error {
    Error::usage("a machine with a distribution has the kernel of its image")
        .with_remedy("leave --kernel away, or --root IMAGE")
}

impl Whole {
    /// One that is kept, or else a fresh one of an image, that sees a project.
    pub(super) fn named(
        lab: &Lab,
        project: &Project,
        name: &str,
        options: run::Options,
        made_with: &WholeArgs,
    ) -> Result<Self> {
        inside::has_rust(project, options)?;
        let Some(kept) = Name::parse(name).ok().filter(|kept| environment::is_whole(lab, kept)) else {
            return Self::fresh(lab, name, Some(project), Some(the_project(project)), options, made_with);
        };
        if !MadeWith::from(made_with).is_empty() {
            return Err(Error::usage(format!("the machine {name} is there already, and stays as it is"))
                .with_remedy(format!(
                    "`vexlab stop {name}`, then `vexlab up {name}` with what it is to have"
                )));
        }
        let ssh = environment::ssh(lab, &kept)?;
        let console = environment::console(lab, &kept);
        let record = environment::list(lab).into_iter().find(|(other, _)| *other == kept);
        let record = record.and_then(|(_, record)| record.ok());
        let accelerator = record.as_ref().and_then(|record| record.accelerator).unwrap_or(Accelerator::Tcg);
        let image = environment::kind(lab, &kept)?.what().to_owned();
        Ok(Self::Kept { name: name.to_owned(), image, ssh, console, accelerator })
    }

    /// A fresh one of an image, with this folder on `/src`.
    pub(super) fn fresh(
        lab: &Lab,
        image: &str,
        project: Option<&Project>,
        share: Option<Share>,
        options: run::Options,
        made_with: &WholeArgs,
    ) -> Result<Self> {
        project.map_or(Ok(()), |project| inside::has_rust(project, options))?;
        let base = Base::find(lab, image)?;
        let run::Options { accelerator, cold, .. } = options;
        let mut options = image::Options { accelerator, cold, share, ..image::Options::of(project) };
        MadeWith::from(made_with).choose(&mut options);
        let dir = lab.cache.staging()?;
        let mut machine = image::up(lab, &base, &options, dir.path())?;
        machine.mount_source()?;
        lab.progress_end();
        Ok(Self::Fresh { image: image.to_owned(), machine: Box::new(machine), _dir: dir })
    }

    pub(super) fn place(&self) -> Place<'_> {
        match self {
            Self::Kept { name, image, ssh, console, accelerator } => {
                Place { name, image, ssh, console, accelerator: *accelerator }
            }
            Self::Fresh { image, machine, .. } => {
                let (ssh, console) = (machine.ssh(), machine.console());
                Place { name: image, image, ssh, console, accelerator: machine.accelerator() }
            }
        }
    }
}
