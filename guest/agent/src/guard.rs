// SPDX-License-Identifier: GPL-2.0-only
use std::fmt;
use std::fs;
use std::io::{self, BufRead};

use wire::{MARKER_PARAMETER, Marker};

use crate::sys;

/// `RAMFS_MAGIC` and `TMPFS_MAGIC` of `linux/magic.h`: what an initramfs is unpacked into.
const MEMORY_FILE_SYSTEMS: [i64; 2] = [0x8584_58f6, 0x0102_1994];

/// Proof that this process is the first one of a throw-away machine that some `vexlab` started. Only
/// [`admit`] makes one, and what changes a kernel (loading a module, unloading one) asks for it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    marker: Marker,
}

impl Machine {
    /// The marker on the kernel's command line.
    pub(crate) fn marker(&self) -> Marker {
        self.marker
    }
}

/// What [`admit`] looks at, in the order in which it does. Each is asked for only when those before it
/// were as they must be.
pub(crate) trait Facts {
    /// This process's number.
    fn process(&self) -> u32;
    /// The magic number of the file system at `/`.
    fn root_file_system(&self) -> io::Result<i64>;
    /// The kernel's command line. The first that may change something: it needs `/proc`.
    fn command_line(&self) -> io::Result<String>;
    /// The processor's flags, as `/proc/cpuinfo` has them.
    fn processor_flags(&self) -> io::Result<String>;
}

/// Why the agent won't work here.
#[derive(Debug)]
pub(crate) enum Refusal {
    NotFirstProcess { process: u32 },
    RootUnreadable(io::Error),
    RootNotInMemory { magic: i64 },
    CommandLineUnreadable(io::Error),
    NoMarker,
    MarkerMalformed { value: String },
    ProcessorUnreadable(io::Error),
    NoHypervisor,
}

impl Refusal {
    /// Whether this process is first, on a root file system that is gone with it: then nobody is left to
    /// read an exit status, and nothing is lost by powering off.
    pub(crate) fn in_throwaway_machine(&self) -> bool {
        match self {
            Self::NotFirstProcess { .. } | Self::RootUnreadable(_) | Self::RootNotInMemory { .. } => false,
            Self::CommandLineUnreadable(_)
            | Self::NoMarker
            | Self::MarkerMalformed { .. }
            | Self::ProcessorUnreadable(_)
            | Self::NoHypervisor => true,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFirstProcess { process } => {
                write!(f, "this is process {process}, not process 1 of a virtual machine")
            }
            Self::RootUnreadable(cause) => write!(f, "the root file system can't be looked at: {cause}"),
            Self::RootNotInMemory { magic } => {
                write!(f, "the root file system (type {magic:#x}) is not an initramfs")
            }
            Self::CommandLineUnreadable(cause) => {
                write!(f, "the kernel's command line can't be read: {cause}")
            }
            Self::NoMarker => write!(f, "the kernel's command line has no {MARKER_PARAMETER}="),
            Self::MarkerMalformed { value } => {
                write!(f, "{MARKER_PARAMETER}={value} on the kernel's command line is no machine's marker")
            }
            Self::ProcessorUnreadable(cause) => write!(f, "the processor's flags can't be read: {cause}"),
            Self::NoHypervisor => write!(f, "the processor is not a virtual one"),
        }
    }
}

/// Decides whether the agent may work here.
pub(crate) fn admit(facts: &impl Facts) -> Result<Machine, Refusal> {
    let process = facts.process();
    if process != 1 {
        return Err(Refusal::NotFirstProcess { process });
    }
    let magic = facts.root_file_system().map_err(Refusal::RootUnreadable)?;
    if !MEMORY_FILE_SYSTEMS.contains(&magic) {
        return Err(Refusal::RootNotInMemory { magic });
    }
    let marker = marker_in(&facts.command_line().map_err(Refusal::CommandLineUnreadable)?)?;
    let flags = facts.processor_flags().map_err(Refusal::ProcessorUnreadable)?;
    if !flags.split_whitespace().any(|flag| flag == "hypervisor") {
        return Err(Refusal::NoHypervisor);
    }
    Ok(Machine { marker })
}

fn marker_in(command_line: &str) -> Result<Marker, Refusal> {
    let value = command_line
        .split_whitespace()
        .find_map(|parameter| parameter.strip_prefix(MARKER_PARAMETER)?.strip_prefix('='))
        .ok_or(Refusal::NoMarker)?;
    value.parse().map_err(|_| Refusal::MarkerMalformed { value: value.to_owned() })
}

/// The facts of the place that this process runs in.
pub(crate) struct Surroundings;

impl Facts for Surroundings {
    fn process(&self) -> u32 {
        std::process::id()
    }

    fn root_file_system(&self) -> io::Result<i64> {
        sys::file_system_type(c"/")
    }

    fn command_line(&self) -> io::Result<String> {
        const PATH: &str = "/proc/cmdline";
        match fs::read_to_string(PATH) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                sys::mount(c"proc", c"/proc", c"proc", 0, c"").or_else(|_| {
                    fs::create_dir("/proc")?;
                    sys::mount(c"proc", c"/proc", c"proc", 0, c"")
                })?;
                fs::read_to_string(PATH)
            }
            read => read,
        }
    }

    fn processor_flags(&self) -> io::Result<String> {
        for line in io::BufReader::new(fs::File::open("/proc/cpuinfo")?).lines() {
            if let Some((key, flags)) = line?.split_once(':')
                && key.trim_end() == "flags"
            {
                return Ok(flags.to_owned());
            }
        }
        Ok(String::new())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const MARKER: &str = "000102030405060708090a0b0c0d0e0f";

    struct Fake {
        process: u32,
        root: Result<i64, i32>,
        command_line: Result<String, i32>,
        flags: Result<&'static str, i32>,
        asked: RefCell<Vec<&'static str>>,
    }

    impl Fake {
        fn machine() -> Self {
            Self {
                process: 1,
                root: Ok(0x0102_1994),
                command_line: Ok(format!("console=ttyS0 quiet vexlab.machine={MARKER}\n")),
                flags: Ok("fpu sse2 hypervisor lahf_lm"),
                asked: RefCell::default(),
            }
        }

        fn refusal(&self) -> String {
            admit(self).expect_err("must be refused").to_string()
        }
    }

    impl Facts for Fake {
        fn process(&self) -> u32 {
            self.asked.borrow_mut().push("process");
            self.process
        }

        fn root_file_system(&self) -> io::Result<i64> {
            self.asked.borrow_mut().push("root");
            self.root.map_err(io::Error::from_raw_os_error)
        }

        fn command_line(&self) -> io::Result<String> {
            self.asked.borrow_mut().push("command line");
            self.command_line.clone().map_err(io::Error::from_raw_os_error)
        }

        fn processor_flags(&self) -> io::Result<String> {
            self.asked.borrow_mut().push("flags");
            self.flags.map(str::to_owned).map_err(io::Error::from_raw_os_error)
        }
    }

    #[test]
    fn a_machine_of_ours_is_admitted() {
        assert_eq!(admit(&Fake::machine()).unwrap().marker(), MARKER.parse().unwrap());
        assert!(admit(&Fake { root: Ok(0x8584_58f6), ..Fake::machine() }).is_ok(), "ramfs");
    }

    #[test]
    fn an_ordinary_process_is_refused_and_nothing_else_is_asked() {
        let host = Fake { process: 4711, ..Fake::machine() };
        assert_eq!(host.refusal(), "this is process 4711, not process 1 of a virtual machine");
        assert_eq!(*host.asked.borrow(), ["process"]);
        assert!(!admit(&host).unwrap_err().in_throwaway_machine());
    }

    #[test]
    fn a_root_on_disk_is_refused_before_proc_is_needed() {
        let host = Fake { root: Ok(0xef53), ..Fake::machine() };
        assert_eq!(host.refusal(), "the root file system (type 0xef53) is not an initramfs");
        assert_eq!(*host.asked.borrow(), ["process", "root"]);
        assert!(!admit(&host).unwrap_err().in_throwaway_machine());
        assert!(matches!(
            admit(&Fake { root: Err(libc::EACCES), ..Fake::machine() }),
            Err(Refusal::RootUnreadable(_))
        ));
    }

    #[test]
    fn a_command_line_without_our_marker_is_refused() {
        for line in ["console=ttyS0 quiet", "xvexlab.machine=1", "vexlab.machinex=1", "vexlab.machine", ""] {
            let stranger = Fake { command_line: Ok(line.to_owned()), ..Fake::machine() };
            assert_eq!(stranger.refusal(), "the kernel's command line has no vexlab.machine=", "{line}");
            assert!(admit(&stranger).unwrap_err().in_throwaway_machine());
        }
        assert!(matches!(
            admit(&Fake { command_line: Err(libc::ENOENT), ..Fake::machine() }),
            Err(Refusal::CommandLineUnreadable(_))
        ));
    }

    #[test]
    fn a_marker_that_is_none_is_refused() {
        for value in ["", "12", &"g".repeat(32), &format!("{MARKER}0")] {
            let line = format!("vexlab.machine={value} quiet");
            let stranger = Fake { command_line: Ok(line), ..Fake::machine() };
            assert!(matches!(admit(&stranger), Err(Refusal::MarkerMalformed { .. })), "{value}");
        }
    }

    #[test]
    fn a_processor_that_is_not_virtual_is_refused() {
        for flags in ["fpu sse2 lahf_lm", "hypervisors", ""] {
            let metal = Fake { flags: Ok(flags), ..Fake::machine() };
            assert_eq!(metal.refusal(), "the processor is not a virtual one", "{flags}");
        }
        assert!(matches!(
            admit(&Fake { flags: Err(libc::ENOENT), ..Fake::machine() }),
            Err(Refusal::ProcessorUnreadable(_))
        ));
    }
}
