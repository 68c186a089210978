// SPDX-License-Identifier: GPL-2.0-only
//! From a kernel to a machine whose agent answers.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use wire::{Marker, Stream};

use crate::Lab;
use crate::accel;
use crate::busybox;
use crate::error::{Context, Error, Result};
use crate::initramfs;
use crate::kernel::{Kernel, State};
use crate::machine::{Accelerator, Board, Machine, tsc_khz};
use crate::process;
use crate::project;
use crate::session::{Listener, Lost, Outgoing, Session};

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
    let board = match kernel.config().state("CONFIG_VIRTIO_MMIO") {
        State::No => Board::Q35,
        State::Yes | State::Module => Board::Microvm,
    };
    let modules = kernel.modules()?.closure(board.modules(!wanted.disks.is_empty()))?;
    let busybox = busybox::get(lab)?;
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let mut machine = Machine {
        qemu,
        accelerator: accelerator.unwrap_or(Accelerator::Tcg),
        board,
        image: kernel.image().to_owned(),
        pvh: is_elf(kernel.image())?,
        initramfs: initramfs::provide(lab, &busybox, kernel.config(), &modules)?,
        marker: Marker::new(crate::random_bytes().context(|| "read random bytes".to_owned())?),
        memory: wanted.memory,
        processors: wanted.processors,
        disks: Vec::new(),
        tsc_khz: tsc_khz(&cpuinfo),
        talkative: false,
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
    Ok(machine)
}

/// Whether QEMU gets the kernel as an ELF file, which it enters by PVH.
fn is_elf(image: &Path) -> Result<bool> {
    let mut magic = [0; 4];
    let read = fs::File::open(image).and_then(|mut file| file.read_exact(&mut magic));
    read.context(|| format!("read the kernel's image {}", image.display()))?;
    Ok(magic == *b"\x7fELF")
}

/// Waits for the agent of a machine that was started. One that stays silent is ended and booted once more.
/// Gives the time it took.
pub(super) fn wait(
    lab: &Lab,
    session: &mut Session,
    machine: &Machine,
    dir: &Path,
    limit: Duration,
) -> Result<Duration> {
    let mut again = false;
    loop {
        let lost = match session.wait_for_boot(limit) {
            Ok(time) => return Ok(time),
            Err(Lost::Interrupted(error)) => return Err(error),
            Err(lost) => lost,
        };
        let silent = matches!(lost, Lost::TimedOut { .. }) && session.console().is_silent();
        session.let_die(Duration::from_millis(500));
        if !silent || again {
            return Err(not_booted(machine, session, &lost, dir));
        }
        again = true;
        lab.note(&format!(
            "the machine said nothing for {} s; it was ended and is booted once more",
            limit.as_secs_f64()
        ));
        *session = Session::start(machine, dir, &lab.cancel)?;
    }
}

fn not_booted(machine: &Machine, session: &Session, lost: &Lost, dir: &Path) -> Error {
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
