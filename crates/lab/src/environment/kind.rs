// SPDX-License-Identifier: GPL-2.0-only
//! The kinds of machines that can be kept, and how each is started.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::image::{self, Base, Loader, Share};
use crate::kernel;
use crate::machine::Accelerator;
use crate::project::{self, Project, Size};
use crate::run::{self, Wanted};
use crate::share::{self, Place, Root, Shown, Source, Unshared};

use super::Name;
use super::machine::Machine;

/// The kernel for a machine without a project, where the user names none.
pub const DEFAULT_KERNEL: &str = "debian-6.1-cloud";

/// All that a machine is started with, and started anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// What kind of machine it is.
    pub kind: Kind,
    /// The project's folder, as text, where it was made for one.
    pub project: Option<String>,
    /// Whether it starts from power-on.
    pub cold: bool,
}

/// A kind of machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A kernel, an initramfs with busybox, and the agent.
    Tiny(Tiny),
    /// A distribution, which is reached by ssh.
    Whole(Whole),
}

/// A machine with a distribution.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whole {
    /// Its image: the name of one that was built, or the absolute path of a file.
    pub image: String,
    /// The accelerator; nothing means that KVM is tried.
    pub accelerator: Option<Accelerator>,
    /// The folder that it sees as `/src`, as text.
    pub source: Option<String>,
    /// Whether it may write there.
    pub writable: bool,
}

/// A tiny machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiny {
    /// Its kernel, by name or by an absolute path.
    pub kernel: String,
    /// The accelerator; nothing means that KVM is tried.
    pub accelerator: Option<Accelerator>,
    /// Its memory, in bytes.
    pub memory: u64,
    /// Its processors.
    pub processors: u16,
    /// The sizes of its disks, in bytes. They are new and empty whenever it starts.
    pub disks: Vec<u64>,
    /// How many seconds it may take to boot.
    pub boot_limit: u64,
    /// What programs see in it.
    pub root: Root,
    /// The folder that is shown at `/src`.
    pub source: Option<Source>,
}

impl Tiny {
    fn shown(&self) -> Shown {
        Shown { root: self.root, source: self.source.clone(), program: None }
    }
}

/// What the user chose for a machine, beside what `vexlab.toml` says.
#[derive(Debug, Clone, Default)]
pub struct Choice<'a> {
    /// Its kernel: a name, `host`, or the path of a build tree.
    pub kernel: Option<&'a str>,
    /// Its image, where it is to have a distribution.
    pub image: Option<&'a str>,
    /// The accelerator.
    pub accelerator: Option<Accelerator>,
    /// Start from power-on.
    pub cold: bool,
    /// What programs see.
    pub root: Option<Root>,
    /// The folder to show, instead of the project's.
    pub source: Option<PathBuf>,
    /// Let the machine change what is in it.
    pub writable: bool,
}

impl Settings {
    /// For a machine that is made now.
    pub(super) fn new(project: Option<&Project>, choice: &Choice<'_>) -> Self {
        let manifest = project.map(Project::manifest);
        let machine = manifest.map(|manifest| manifest.machine.clone()).unwrap_or_default();
        let timeouts = manifest.map(|manifest| manifest.timeouts.clone()).unwrap_or_default();
        let tiny = Tiny {
            kernel: manifest.map_or(DEFAULT_KERNEL, |manifest| &manifest.kernels[0]).to_owned(),
            accelerator: None,
            memory: machine.memory.0,
            processors: machine.processors,
            disks: machine.disks.iter().map(|size| size.0).collect(),
            boot_limit: timeouts.boot.as_secs(),
            root: Root::default(),
            source: project.map(|project| Source { folder: project.root().to_owned(), writable: false }),
        };
        let project = project.map(|project| project.root().display().to_string());
        let kind = match choice.image {
            Some(image) => Kind::Whole(Whole {
                image: image.to_owned(),
                accelerator: None,
                source: project.clone(),
                writable: false,
            }),
            None => Kind::Tiny(tiny),
        };
        Self { kind, project, cold: false }.with(choice)
    }

    /// The same, but for what the user chose.
    pub(super) fn with(mut self, choice: &Choice<'_>) -> Self {
        match &mut self.kind {
            Kind::Tiny(tiny) => {
                if let Some(kernel) = choice.kernel {
                    tiny.kernel = kernel.to_owned();
                }
                tiny.accelerator = choice.accelerator.or(tiny.accelerator);
                tiny.root = choice.root.unwrap_or(tiny.root);
                if let Some(folder) = &choice.source {
                    tiny.source = Some(Source { folder: folder.clone(), writable: false });
                }
                if let Some(source) = &mut tiny.source {
                    source.writable |= choice.writable;
                }
            }
            Kind::Whole(whole) => {
                if let Some(image) = choice.image {
                    whole.image = image.to_owned();
                }
                if let Some(folder) = &choice.source {
                    whole.source = Some(folder.display().to_string());
                    whole.writable = false;
                }
                whole.writable |= choice.writable;
                whole.accelerator = choice.accelerator.or(whole.accelerator);
            }
        }
        self.cold = choice.cold;
        self
    }
}

/// A machine that has started.
pub(super) struct Started {
    pub(super) machine: Machine,
    pub(super) accelerator: Accelerator,
    /// Where its clients' programs run.
    pub(super) place: Place,
}

/// How long a machine may take to mount what it is shown.
const SHOW: Duration = Duration::from_secs(30);

/// How the files of a tiny machine's disks begin.
const DISK: &str = "disk";

impl Kind {
    /// What it runs: a kernel's name.
    pub fn what(&self) -> &str {
        match self {
            Self::Tiny(tiny) => &tiny.kernel,
            Self::Whole(whole) => &whole.image,
        }
    }

    /// Refuses a choice that only a machine of another kind could have.
    pub(super) fn require_same(&self, name: &Name, choice: &Choice<'_>) -> Result<()> {
        let (is, other) = match self {
            Self::Tiny(_) => ("a tiny one", choice.image.map(|_| "an image")),
            Self::Whole(_) => {
                let kernel = choice.kernel.map(|_| "a kernel of ours");
                ("one with a distribution", kernel.or(choice.root.map(|_| "another root")))
            }
        };
        other.map_or(Ok(()), |other| {
            Err(Error::usage(format!("the machine {name} is {is}, and can't be given {other}"))
                .with_remedy(format!("`vexlab rm {name}` removes it, or choose another name")))
        })
    }

    /// Has all that it is made of at hand, which may take a download. A kernel's path is absolute afterwards: who
    /// starts the machine is in another folder.
    pub(super) fn provide(&mut self, lab: &Lab) -> Result<()> {
        match self {
            Self::Tiny(tiny) => {
                let kernel = kernel::resolve(lab, &tiny.kernel)?;
                let known = kernel::KNOWN.iter().map(|known| known.name).chain([kernel::HOST]);
                if !known.into_iter().any(|known| known == tiny.kernel) {
                    let path = fs::canonicalize(&tiny.kernel);
                    let path = path.context(|| format!("find {}", kernel.name()))?;
                    tiny.kernel = path.display().to_string();
                }
                if let Some(source) = &mut tiny.source {
                    // One that isn't there is refused below.
                    source.folder = fs::canonicalize(&source.folder).unwrap_or(source.folder.clone());
                }
                share::check(&kernel, &tiny.shown())
            }
            Self::Whole(whole) => {
                let base = Base::find(lab, &whole.image)?;
                if base.loader == Loader::Firmware {
                    whole.image = base.disk.display().to_string();
                }
                if let Some(source) = &mut whole.source {
                    let path = fs::canonicalize(&*source);
                    *source = path.context(|| format!("find the folder {source}"))?.display().to_string();
                }
                Ok(())
            }
        }
    }

    /// Starts the machine with its files in `dir`, and waits until its agent answers.
    pub(super) fn start(&self, lab: &Lab, cold: bool, dir: &Path) -> Result<Started> {
        match self {
            Self::Tiny(tiny) => {
                let kernel = kernel::resolve(lab, &tiny.kernel)?;
                let machine = project::Machine {
                    memory: Size(tiny.memory),
                    processors: tiny.processors,
                    disks: tiny.disks.iter().copied().map(Size).collect(),
                };
                let limit = Duration::from_secs(tiny.boot_limit);
                let wanted = Wanted { machine, accelerator: tiny.accelerator, cold, limit };
                lab.progress(&format!("booting {}", kernel.name()), 0, 0);
                let started = run::machine(lab, &kernel, &wanted, dir);
                lab.progress_end();
                let (session, accelerator) = started?;
                let place = share::show(lab, &kernel, session.link(), &tiny.shown(), SHOW);
                let place = place.map_err(|unshared| match unshared {
                    Unshared::Refused(error) => error,
                    Unshared::Lost(lost) => {
                        Error::lab(format!("the machine was lost while it mounted: {lost}"))
                    }
                })?;
                Ok(Started { machine: Machine::Tiny(Box::new(session)), accelerator, place })
            }
            Self::Whole(whole) => {
                let base = Base::find(lab, &whole.image)?;
                let share =
                    whole.source.as_ref().map(|path| Share { path: path.into(), writable: whole.writable });
                let options = image::Options {
                    accelerator: whole.accelerator,
                    cold,
                    share,
                    ..image::Options::default()
                };
                let mut running = image::up(lab, &base, &options, dir)?;
                running.mount_source()?;
                let accelerator = running.accelerator();
                let machine = Machine::Whole(Box::new(running));
                Ok(Started { machine, accelerator, place: Place::default() })
            }
        }
    }

    /// Removes what belongs to one start and not to the next.
    pub(super) fn clean(&self, dir: &Path) {
        match self {
            Self::Tiny(_) => {
                let disks = fs::read_dir(dir).into_iter().flatten().flatten();
                for disk in disks.filter(|entry| entry.file_name().to_string_lossy().starts_with(DISK)) {
                    // What is left of it is written over by the next start.
                    let _ = fs::remove_file(disk.path());
                }
            }
            Self::Whole(_) => image::clean(dir),
        }
    }

    /// Sees to it that an ssh client reaches it.
    ///
    /// # Errors
    ///
    /// Where it has no ssh server.
    pub(super) fn require_ssh(&self, name: &Name) -> Result<()> {
        match self {
            Self::Whole(_) => Ok(()),
            Self::Tiny(_) => Err(Error::usage(format!(
                "the machine {name} has no ssh server: it is a tiny one"
            ))
            .with_remedy(format!(
                "`vexlab shell {name}` opens a shell in it, `vexlab exec {name} -- COMMAND` runs a command, \
                     `vexlab cp` copies files"
            ))),
        }
    }
}
