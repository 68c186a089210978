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
    /// Its memory, in bytes.
    pub memory: u64,
    /// Its processors.
    pub processors: u16,
    /// Debian packages that it installs when it boots for the first time.
    pub packages: Vec<String>,
    /// How many seconds it may take to be ready.
    pub limit: u64,
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

impl Whole {
    fn options(&self) -> image::Options {
        image::Options {
            memory: Size(self.memory),
            processors: self.processors,
            accelerator: self.accelerator,
            cold: false,
            packages: self.packages.clone(),
            share: self.source.as_ref().map(|path| Share { path: path.into(), writable: self.writable }),
            limit: Duration::from_secs(self.limit),
        }
    }
}

impl Tiny {
    fn shown(&self) -> Shown {
        Shown { root: self.root, source: self.source.clone(), programs: Vec::new() }
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
    /// What a machine with a distribution is made with.
    pub made_with: MadeWith,
}

/// What the user chose for a machine with a distribution. What is not said is as [`image::Options`] has it.
#[derive(Debug, Clone, Default)]
pub struct MadeWith {
    /// Its memory.
    pub memory: Option<Size>,
    /// Its processors.
    pub processors: Option<u16>,
    /// Debian packages that it is to install when it boots for the first time.
    pub packages: Vec<String>,
    /// How many seconds it may take to be ready.
    pub limit: Option<u64>,
}

impl MadeWith {
    /// Has these options as they are chosen.
    pub fn choose(&self, options: &mut image::Options) {
        options.memory = self.memory.unwrap_or(options.memory);
        options.processors = self.processors.unwrap_or(options.processors);
        if !self.packages.is_empty() {
            options.packages.clone_from(&self.packages);
        }
        options.limit = self.limit.map_or(options.limit, Duration::from_secs);
    }

    /// Whether anything was chosen.
    pub fn is_empty(&self) -> bool {
        let Self { memory, processors, packages, limit } = self;
        memory.is_none() && processors.is_none() && packages.is_empty() && limit.is_none()
    }
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
        let options = image::Options::of(project);
        let project = project.map(|project| project.root().display().to_string());
        let kind = match choice.image {
            Some(image) => Kind::Whole(Whole {
                image: image.to_owned(),
                accelerator: None,
                source: project.clone(),
                writable: false,
                memory: options.memory.0,
                processors: options.processors,
                packages: options.packages,
                limit: options.limit.as_secs(),
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
                let mut options = whole.options();
                choice.made_with.choose(&mut options);
                (whole.memory, whole.processors) = (options.memory.0, options.processors);
                (whole.packages, whole.limit) = (options.packages, options.limit.as_secs());
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
            Self::Tiny(_) => {
                let size = (!choice.made_with.is_empty()).then_some("what is for images");
                ("a tiny one", choice.image.map(|_| "an image").or(size))
            }
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
                    counted: false,
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
                let options = image::Options { cold, ..whole.options() };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn project(machine: &str) -> (tempfile::TempDir, Project) {
        let dir = tempfile::tempdir().unwrap();
        let manifest = format!("kernels = [\"debian-6.1\"]\n[module]\nname = \"m\"\n[machine]\n{machine}");
        fs::write(dir.path().join("vexlab.toml"), manifest).unwrap();
        let project = Project::find(dir.path()).unwrap();
        (dir, project)
    }

    fn whole(settings: &Settings) -> (u64, u16, &[String], u64) {
        let Kind::Whole(whole) = &settings.kind else { panic!("an image was named") };
        (whole.memory >> 20, whole.processors, &whole.packages, whole.limit)
    }

    #[test]
    fn a_distribution_has_what_it_needs_what_the_project_asks_for_and_what_is_chosen() {
        let choice = Choice { image: Some("debian-12"), ..Choice::default() };
        let limit = image::READY.as_secs();
        assert_eq!(whole(&Settings::new(None, &choice)), (1024, 2, &[][..], limit));
        let (_small, small) = project("memory = \"128M\"\nprocessors = 1\n");
        assert_eq!(whole(&Settings::new(Some(&small), &choice)), (1024, 2, &[][..], limit));
        let (_large, large) = project("memory = \"3G\"\nprocessors = 4\n");
        let settings = Settings::new(Some(&large), &choice);
        assert_eq!(whole(&settings), (3072, 4, &[][..], limit));
        let made_with = MadeWith {
            memory: Some(Size(512 << 20)),
            processors: Some(1),
            packages: vec!["git".into()],
            limit: Some(9),
        };
        let settings = settings.with(&Choice { made_with, ..choice.clone() });
        assert_eq!(whole(&settings), (512, 1, &["git".to_owned()][..], 9));
        let again = settings.clone().with(&choice);
        assert_eq!(whole(&again), whole(&settings), "it stays as it was");
    }
}
