// SPDX-License-Identifier: GPL-2.0-only
//! From a kernel to a machine whose agent answers.

use std::fmt::Display;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use wire::frame::CHUNK;
use wire::{Marker, Process, Request, Stream};

use crate::Lab;
use crate::accel;
use crate::busybox;
use crate::emulator;
use crate::error::{Context, Error, Result};
use crate::host;
use crate::initramfs;
use crate::kernel::{self, Kernel};
use crate::link::Outgoing;
use crate::machine::{Accelerator, Board, Machine, Start, tsc_khz};
use crate::process;
use crate::profile;
use crate::project;
use crate::qmp::Version;
use crate::saved::{self, Key, State, Unfinished};
use crate::session::{Listener, Lost, Session};
use crate::share;
use crate::verdict::Phase;

/// The emulator's program.
const QEMU: &str = "qemu-system-x86_64";

/// The two ends of a program in the machine: where its output goes, and who feeds it.
pub struct Terminal<'a> {
    /// Takes the output.
    pub output: &'a mut dyn FnMut(Stream, &[u8]),
    /// Gets the means to send keys, sizes and signals to the program once it was started.
    pub input: &'a mut dyn FnMut(Outgoing),
}

impl Listener for Terminal<'_> {
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        (self.output)(stream, bytes);
    }
}

/// The emulator, looked up in `PATH`.
///
/// # Errors
///
/// When it isn't installed.
pub fn find_qemu() -> Result<PathBuf> {
    process::find(QEMU).ok_or_else(|| {
        Error::lab(format!("{QEMU} is not installed"))
            .with_remedy("apt-get install --no-install-recommends qemu-system-x86")
    })
}

/// Describes the machine for a run.
pub(super) fn describe(
    lab: &Lab,
    kernel: &Kernel,
    wanted: &project::Machine,
    accelerator: Option<Accelerator>,
    dir: &Path,
) -> Result<Machine> {
    let qemu = find_qemu()?;
    // What counts instructions is the emulator.
    let accelerator = if wanted.counted { Some(Accelerator::Tcg) } else { accelerator };
    let board = match kernel.config().state("CONFIG_VIRTIO_MMIO") {
        kernel::State::No => Board::Q35,
        kernel::State::Yes | kernel::State::Module => Board::Microvm,
    };
    let mut modules = board.modules(!wanted.disks.is_empty());
    let known = kernel.modules()?;
    let shares = share::MODULES.map(|(name, _)| name);
    modules.extend(shares.iter().filter(|name| known.path_of(name).is_some()));
    let modules = known.closure(modules)?;
    let busybox = busybox::get(lab)?;
    let cmpxchg16b = emulator::has_cmpxchg16b(lab, &qemu)?;
    let mut machine = Machine {
        qemu,
        accelerator: accelerator.unwrap_or(Accelerator::Tcg),
        board,
        image: kernel.image().to_owned(),
        pvh: is_elf(kernel.image())?,
        initramfs: initramfs::provide(lab, &busybox, kernel.config(), &modules)?,
        marker: Marker::new(crate::random_bytes().context(|| "read random bytes".to_owned())?),
        memory: wanted.memory,
        processors: if wanted.counted { 1 } else { wanted.processors },
        disks: Vec::new(),
        cmpxchg16b,
        tsc_khz: tsc_khz(&host::processor()),
        talkative: false,
        start: Start::PowerOn,
        debugger: None,
        plugin: None,
        counted: wanted.counted,
        fine_timers: false,
    };
    if accelerator.is_none() {
        machine.accelerator = accel::find(lab, &machine)?.accelerator();
    }
    for (index, size) in wanted.disks.iter().enumerate() {
        let path = dir.join(format!("disk{index}.img"));
        let file = fs::File::create(&path).and_then(|file| file.set_len(size.0));
        file.context(|| format!("make the disk {}", path.display()))?;
        machine.disks.push(path);
    }
    machine.marker = Key::of(&machine)?.marker();
    Ok(machine)
}

/// Whether QEMU gets the kernel as an ELF file, which it enters by PVH.
fn is_elf(image: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let read = fs::File::open(image).and_then(|mut file| file.read_exact(&mut magic));
    read.context(|| format!("read the kernel's image {}", image.display()))?;
    Ok(magic == *b"\x7fELF")
}

/// How long a restored machine may take until its agent answers. To boot one takes less than much longer.
const RESTORED: Duration = Duration::from_secs(5);

/// How long the agent may take for what it does before it is saved.
const REHEARSAL: Duration = Duration::from_secs(10);

/// How long the kernel has after that for what it has put off: to free what processes had, and to count. What is saved
/// before that is done, each run does.
const SETTLING: Duration = Duration::from_millis(150);

/// A machine on its way to its agent's first answer.
pub(super) struct Booting<'a> {
    lab: &'a Lab,
    kernel: &'a str,
    machine: Machine,
    dir: PathBuf,
    way: Way,
    session: Session,
    phases: Vec<(Phase, Duration)>,
    /// Why the machine that should have been saved did not start.
    unsaved: Option<Lost>,
}

/// What a machine starts from, and what is to become of it.
enum Way {
    /// From a saved state; and whether this run has made it, so that another one would be no better.
    Restored(State, bool),
    /// From power-on; it is saved once it has booted.
    ToBeSaved(Unfinished),
    /// From power-on.
    PowerOn,
}

impl Way {
    /// The saved state where there is a good one.
    fn choose(lab: &Lab, kernel: &str, machine: &Machine) -> Result<Self> {
        let key = Key::of(machine)?;
        if let Some(why) = saved::given_up(lab, &key) {
            let remedy = "`vexlab cache prune` has it tried again";
            lab.note(&not_saved(kernel, &format!("once saved, it was not restored; {why}; {remedy}")));
            return Ok(Self::PowerOn);
        }
        match State::find(lab, &key) {
            Ok(Some(state)) => return Ok(Self::Restored(state, false)),
            Ok(None) => {}
            Err(error) => {
                saved::remove(lab, &key);
                lab.note(&unusable(kernel, &error));
            }
        }
        Ok(Self::to_be_saved(lab, kernel, machine, key))
    }

    /// Without a saved state, where there is space for one.
    fn to_be_saved(lab: &Lab, kernel: &str, machine: &Machine, key: Key) -> Self {
        Unfinished::new(lab, key, machine.memory).map_or_else(
            |error| {
                lab.note(&not_saved(kernel, &error));
                Self::PowerOn
            },
            Self::ToBeSaved,
        )
    }

    fn start(&self, lab: &Lab, machine: &Machine, dir: &Path) -> Result<Session> {
        match self {
            Self::Restored(state, _) => {
                let machine = Machine { start: Start::Restored(state.memory()), ..machine.clone() };
                Session::restore(&machine, &state.devices(), state.qemu(), dir, &lab.cancel)
            }
            Self::ToBeSaved(unfinished) => {
                // What one left there that said nothing is no memory for the next.
                let _ = fs::remove_file(unfinished.memory());
                let start = Start::ToBeSaved(unfinished.memory());
                let machine = Machine { start, plugin: None, ..machine.clone() };
                Session::start(&machine, dir, &lab.cancel)
            }
            Self::PowerOn => Session::start(machine, dir, &lab.cancel),
        }
    }
}

impl<'a> Booting<'a> {
    /// Starts a machine: from its saved state where there is one, unless it is to start `cold`.
    pub(super) fn start(
        lab: &'a Lab,
        kernel: &'a Kernel,
        machine: Machine,
        dir: &Path,
        cold: bool,
    ) -> Result<Self> {
        let kernel = kernel.name();
        let way = if cold { Way::PowerOn } else { Way::choose(lab, kernel, &machine)? };
        let session = way.start(lab, &machine, dir)?;
        let dir = dir.to_owned();
        Ok(Self { lab, kernel, machine, dir, way, session, phases: Vec::new(), unsaved: None })
    }

    /// Waits until the agent answers. A machine that can't be restored is booted; one that has booted is saved,
    /// and then restored like any other. Gives the time of each phase.
    pub(super) fn wait(mut self, limit: Duration) -> Result<(Session, Vec<(Phase, Duration)>)> {
        loop {
            let next = match std::mem::replace(&mut self.way, Way::PowerOn) {
                Way::Restored(state, own) => self.restored(state.into_key(), own)?,
                Way::ToBeSaved(unfinished) => self.saved(unfinished, limit)?,
                Way::PowerOn => {
                    self.boot(&Way::PowerOn, limit)?.map_err(|lost| self.not_booted(&lost))?;
                    if let Some(lost) = &self.unsaved {
                        self.lab.note(&not_saved(self.kernel, lost));
                    }
                    None
                }
            };
            let Some(way) = next else { return Ok((self.session, self.phases)) };
            self.session.end();
            self.session = way.start(self.lab, &self.machine, &self.dir)?;
            self.way = way;
        }
    }

    /// Waits for a machine that was restored. Gives what to do where it wasn't.
    fn restored(&mut self, key: Key, own: bool) -> Result<Option<Way>> {
        match self.session.wait_for_boot(RESTORED) {
            Ok(time) => {
                self.phases.push((Phase::Restore, time));
                Ok(None)
            }
            Err(Lost::Interrupted(error)) => Err(error),
            Err(lost) if plugin_refused(&self.machine, &lost).is_some() => Err(self.not_booted(&lost)),
            Err(lost) => {
                self.session.end();
                self.lab.note(&unusable(self.kernel, &lost));
                if own {
                    saved::give_up(self.lab, &key, &in_one_line(&lost.to_string()))?;
                    return Ok(Some(Way::PowerOn));
                }
                saved::remove(self.lab, &key);
                Ok(Some(Way::to_be_saved(self.lab, self.kernel, &self.machine, key)))
            }
        }
    }

    /// Waits for a machine that boots, and saves it. Gives what to do next, or nothing where it can't be saved
    /// and is none the worse.
    fn saved(&mut self, unfinished: Unfinished, limit: Duration) -> Result<Option<Way>> {
        let way = Way::ToBeSaved(unfinished);
        if let Err(lost) = self.boot(&way, limit)? {
            // It may be for want of what only a machine needs that is to be saved.
            if matches!(lost, Lost::Ended { .. }) && self.session.console().is_silent() {
                self.unsaved = Some(lost);
                return Ok(Some(Way::PowerOn));
            }
            return Err(self.not_booted(&lost));
        }
        let Way::ToBeSaved(unfinished) = way else { return Ok(None) };
        let started = Instant::now();
        let lost = match self.save(&unfinished) {
            Ok(qemu) => match unfinished.publish(self.lab, self.kernel, qemu) {
                Ok(state) => {
                    self.phases.push((Phase::Save, started.elapsed()));
                    return Ok(Some(Way::Restored(state, true)));
                }
                Err(error) => {
                    self.lab.note(&not_saved(self.kernel, &error));
                    return Ok(Some(Way::PowerOn));
                }
            },
            Err(Lost::Interrupted(error)) => return Err(error),
            Err(lost) => lost,
        };
        self.lab.note(&not_saved(self.kernel, &lost));
        // Its memory is still a file, which it may fill.
        let goes_on = matches!(lost, Lost::Control(_))
            && self.lab.cache.require_space(self.machine.memory.0, "its memory").is_ok();
        Ok(if goes_on { None } else { Some(Way::PowerOn) })
    }

    /// Saves the machine when its agent has done once what each run will have it do: what a kernel does for the
    /// first time takes longer. It waits for a moment: on a very busy host a kernel may find its timer wanting, and do
    /// without any, and nobody who waits in such a machine ever comes to an end.
    fn save(&mut self, unfinished: &Unfinished) -> Result<Version, Lost> {
        // In two pieces, the second of which takes the memory that the first has left.
        self.session.put("/dev/null", 0o666, &[0; 2 * CHUNK], REHEARSAL)?;
        let program = Process::new(vec!["sleep".to_owned(), "0.01".to_owned()]);
        self.session.send(&Request::Run(program))?;
        self.session.request(&Request::StdinEnd, REHEARSAL)?;
        self.session.leave_alone(SETTLING)?;
        if let Some(splat) = self.session.splats().first() {
            // Each run is to see what the kernel says of itself.
            return Err(Lost::Control(format!(
                "the kernel reported trouble while it booted: {}",
                splat.title
            )));
        }
        self.session.save(&unfinished.devices())
    }

    /// Waits for the agent of a machine that boots. One that stays silent is ended and booted once more.
    fn boot(&mut self, way: &Way, limit: Duration) -> Result<Result<(), Lost>> {
        let mut again = false;
        loop {
            let lost = match self.session.wait_for_boot(limit) {
                Ok(time) => {
                    self.phases.push((Phase::Boot, time));
                    return Ok(Ok(()));
                }
                Err(Lost::Interrupted(error)) => return Err(error),
                Err(lost) => lost,
            };
            let silent = matches!(lost, Lost::TimedOut { .. }) && self.session.console().is_silent();
            self.session.let_die(Duration::from_millis(500));
            if !silent || again {
                return Ok(Err(lost));
            }
            again = true;
            self.lab.note(&format!(
                "the machine said nothing for {} s; it was ended and is booted once more",
                limit.as_secs_f64()
            ));
            self.session = way.start(self.lab, &self.machine, &self.dir)?;
        }
    }

    fn not_booted(&self, lost: &Lost) -> Error {
        not_booted(&self.machine, &self.session, lost, &self.dir)
    }
}

/// The note that a saved state is of no use.
fn unusable(kernel: &str, why: &dyn Display) -> String {
    in_one_line(&format!("the saved machine of {kernel} can't be used, so one is booted: {why}"))
}

/// The note that there will be no saved state.
fn not_saved(kernel: &str, why: &dyn Display) -> String {
    in_one_line(&format!("the machine of {kernel} is not saved, so the next one is booted, too: {why}"))
}

fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Why QEMU ended, if it was because it was to load a plugin.
fn plugin_refused(machine: &Machine, lost: &Lost) -> Option<Error> {
    match lost {
        Lost::Ended { qemu } if machine.plugin.is_some() => profile::refusal(&machine.qemu, qemu),
        _ => None,
    }
}

fn not_booted(machine: &Machine, session: &Session, lost: &Lost, dir: &Path) -> Error {
    if let Some(refused) = plugin_refused(machine, lost) {
        return refused;
    }
    let console = dir.join("console.log");
    let tail = session.console().tail().join("\n");
    match lost {
        Lost::Ended { qemu } if session.console().is_silent() => {
            let what = format!("{} could not start the machine", machine.qemu.display());
            Error::lab(what).with_source(qemu.trim().to_owned()).with_remedy("`vexlab doctor` looks at QEMU")
        }
        _ if tail.is_empty() => Error::lab("the machine did not boot: it said nothing")
            .with_source(lost.to_string())
            .with_remedy(match machine.accelerator {
                Accelerator::Kvm => "try `--accel tcg`",
                Accelerator::Tcg => "on a very slow machine, raise `boot` under [timeouts] in vexlab.toml",
            }),
        _ => Error::lab("the machine did not boot")
            .with_source(format!("{lost}; its last words were:\n{tail}"))
            .with_remedy(format!("the whole console is in {}", console.display())),
    }
}
