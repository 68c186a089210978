// SPDX-License-Identifier: GPL-2.0-only
//! A virtual machine as a description, and the QEMU command line that is a pure function of it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wire::Marker;

use crate::profile::Plugin;
use crate::project::Size;

/// What runs the guest's instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// The host's processor, through `/dev/kvm`.
    Kvm,
    /// QEMU's translator.
    Tcg,
}

impl Accelerator {
    /// QEMU's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        }
    }

    /// The processor that the guest sees; an emulated one with or without `cmpxchg16b`.
    pub(crate) fn processor(self, cmpxchg16b: bool) -> &'static str {
        match self {
            Self::Kvm => "host",
            // RDRAND fills the kernel's random pool at once; without it the first reader waits a second.
            Self::Tcg if cmpxchg16b => "qemu64,+rdrand",
            Self::Tcg => "qemu64,+rdrand,-cx16",
        }
    }
}

/// The machine's board, and with it how virtio devices are attached. A kernel that has virtio-mmio gets
/// the small one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Board {
    /// `microvm`: no PCI, virtio over MMIO; boots in the least time.
    Microvm,
    /// `q35`: a PC, virtio over PCI.
    Q35,
}

impl Board {
    /// The suffix of this board's virtio devices in QEMU.
    fn device(self, kind: &str) -> String {
        match self {
            Self::Microvm => format!("{kind}-device"),
            Self::Q35 => format!("{kind}-pci"),
        }
    }

    /// The kernel modules through which a guest on this board reaches the host.
    pub fn modules(self, disks: bool) -> Vec<&'static str> {
        let transport = match self {
            Self::Microvm => "virtio_mmio",
            Self::Q35 => "virtio_pci",
        };
        let mut modules = vec![transport, "virtio_console"];
        if disks {
            modules.push("virtio_blk");
        }
        modules
    }
}

/// What a machine's first instruction is, and where its memory is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// The kernel's; memory is QEMU's own.
    PowerOn,
    /// The kernel's; memory is this file, which is made and written to, so that the machine can be saved.
    ToBeSaved(PathBuf),
    /// The one it was saved before. Memory begins as this file, which is only read: any number of machines use
    /// it at once.
    Restored(PathBuf),
}

/// Everything that shapes a machine before it runs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// The board.
    pub board: Board,
    /// The kernel's image: an ELF file with a PVH entry, or a bzImage.
    pub image: PathBuf,
    /// Whether `image` is entered by PVH, so that QEMU's small firmware suffices.
    pub pvh: bool,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// Marks the machine as ours.
    pub marker: Marker,
    /// Its memory.
    pub memory: Size,
    /// Its processors.
    pub processors: u16,
    /// Images of its disks, raw.
    pub disks: Vec<PathBuf>,
    /// Whether an emulated processor has the instruction `cmpxchg16b`.
    pub cmpxchg16b: bool,
    /// The frequency of the host's time stamp counter, for an emulated machine to take over. Without it a
    /// guest calibrates its clock against emulated timers, which takes time and now and then fails.
    pub tsc_khz: Option<u32>,
    /// Whether the kernel prints from its first moment on. It costs time under emulation.
    pub talkative: bool,
    /// How it starts.
    pub start: Start,
    /// Where a debugger can connect: the path of a socket that QEMU makes.
    pub debugger: Option<PathBuf>,
    /// What counts what it executes. A machine that boots to be saved goes without.
    pub plugin: Option<Plugin>,
    /// Whether its clock counts instructions: each takes a nanosecond of its time, and its time stamp counter goes up
    /// by one. It is emulated, with one processor.
    pub counted: bool,
    /// Whether an emulated machine's timers are as fine as its clock; else they go by the kernel's ticks, of 4 ms each.
    pub fine_timers: bool,
}

/// QEMU's ends of sockets, as file descriptor numbers in its process.
#[derive(Debug, Clone, Copy)]
pub struct Sockets {
    /// Carries the agent's messages.
    pub agent: i32,
    /// Carries the serial console.
    pub console: i32,
    /// Carries QEMU's own protocol, where the machine is to be saved or restored.
    pub control: i32,
}

impl Machine {
    /// QEMU's arguments.
    pub fn arguments(&self, sockets: Sockets) -> Vec<OsString> {
        let Sockets { agent, console, control } = sockets;
        let mut line = CommandLine::default();
        line.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
        line.option("-display", "none").option("-name", "vexlab");
        line.option("-machine", self.machine_option());
        // Without it a kernel takes the processor's timer for one that may stop when it sleeps.
        let timers = if self.fine_timers && self.accelerator == Accelerator::Tcg { ",+arat" } else { "" };
        line.option("-cpu", format!("{}{timers}", self.accelerator.processor(self.cmpxchg16b)));
        line.option("-smp", self.processors.to_string());
        if self.counted {
            // A processor that waits does so in the host's time. With `sleep=off` it would have its next timer at once,
            // and keep a processor of the host busy as long as the machine is there.
            line.option("-icount", "shift=0,sleep=on");
        }
        line.option("-m", format!("{}k", self.memory.0 >> 10));
        if self.pvh {
            line.option("-bios", "qboot.rom");
        }
        // A restored machine has its kernel in memory; QEMU would take longer to read it than for all the rest.
        if !matches!(self.start, Start::Restored(_)) {
            line.option("-kernel", &self.image).option("-initrd", &self.initramfs);
            line.option("-append", self.kernel_parameters());
        }
        line.option("-chardev", format!("socket,id=console,fd={console}"));
        line.option("-serial", "chardev:console");
        line.option("-chardev", format!("socket,id=agent,fd={agent}"));
        line.option("-device", format!("{},max_ports=2", self.board.device("virtio-serial")));
        line.option("-device", format!("virtserialport,chardev=agent,name={}", wire::PORT));
        for (index, disk) in self.disks.iter().enumerate() {
            let file = option_value(disk);
            line.option("-drive", format!("if=none,id=disk{index},format=raw,cache=unsafe,file={file}"));
            line.option("-device", format!("{},drive=disk{index}", self.board.device("virtio-blk")));
        }
        if let Some(socket) = &self.debugger {
            let path = option_value(socket);
            line.option("-chardev", format!("socket,id=debugger,path={path},server=on,wait=off"));
            line.option("-gdb", "chardev:debugger");
        }
        if let Some(Plugin { file, out }) = &self.plugin {
            line.option("-plugin", format!("file={},out={}", option_value(file), option_value(out)));
        }
        line.starting(&self.start, self.memory, control);
        line.into_words()
    }

    fn machine_option(&self) -> String {
        let accelerator = self.accelerator.name();
        let memory = if self.start == Start::PowerOn { "" } else { ",memory-backend=ram" };
        match self.board {
            // The machine's own devices are left out where nothing of ours needs them.
            Board::Microvm => {
                format!("microvm,accel={accelerator},pit=off,pic=off,rtc=on,auto-kernel-cmdline=off{memory}")
            }
            Board::Q35 => format!("q35,accel={accelerator}{memory}"),
        }
    }

    /// The kernel's command line.
    fn kernel_parameters(&self) -> String {
        let mut parameters = vec![
            "console=ttyS0".to_owned(),
            if self.talkative { "earlyprintk=serial,ttyS0" } else { "quiet" }.to_owned(),
            // A panic ends the machine instead of keeping it.
            "panic=-1".to_owned(),
            // By a triple fault, which ends it at once: a restored machine's firmware has no kernel to start.
            "reboot=t".to_owned(),
            "cryptomgr.notests".to_owned(),
            // What a kernel does for fairness among users takes each process longer to start and to end.
            "psi=0".to_owned(),
            "noautogroup".to_owned(),
            format!("{}={}", wire::MARKER_PARAMETER, self.marker),
        ];
        if self.processors == 1 {
            parameters.push("noreplace-smp".to_owned());
        }
        // What counts instructions of a nanosecond each has this frequency, whatever the host's.
        let khz = if self.counted { Some(1_000_000) } else { self.tsc_khz };
        if let (Accelerator::Tcg, Some(khz)) = (self.accelerator, khz) {
            parameters.push(format!("tsc_early_khz={khz}"));
            // On a busy host the guest would see its counter drift, and say so.
            parameters.push("tsc=reliable".to_owned());
        }
        parameters.join(" ")
    }
}

/// The frequency of this host's time stamp counter in kHz, from the text of `/proc/cpuinfo`. Where the
/// processor says at which frequency it is sold, that is its counter's; otherwise the current one is
/// taken.
pub fn tsc_khz(cpuinfo: &str) -> Option<u32> {
    let value = |key: &str| {
        cpuinfo.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let sold = value("model name").and_then(|name| name.rsplit_once("@ ")).and_then(|(_, frequency)| {
        let ghz: f64 = frequency.strip_suffix("GHz")?.trim().parse().ok()?;
        Some(ghz * 1e6)
    });
    let khz = sold.or_else(|| value("cpu MHz")?.parse::<f64>().ok().map(|mhz| mhz * 1e3))?;
    (1e5..1e8).contains(&khz).then_some(khz as u32)
}

/// A path as the last value in an option: a comma would end it unless it is doubled.
pub(crate) fn option_value(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

/// QEMU's arguments as they are put together.
#[derive(Default)]
pub(crate) struct CommandLine {
    words: Vec<OsString>,
}

impl CommandLine {
    pub(crate) fn flag(&mut self, name: &str) -> &mut Self {
        self.words.push(name.into());
        self
    }

    pub(crate) fn option(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.words.push(name.into());
        self.words.push(value.into());
        self
    }

    /// How the machine starts, as its board's option `memory-backend=ram` expects it, and the socket through which it
    /// is saved or restored.
    pub(crate) fn starting(&mut self, start: &Start, memory: Size, control: i32) {
        let (file, share) = match start {
            Start::PowerOn => return,
            Start::ToBeSaved(file) => (file, "on"),
            Start::Restored(file) => (file, "off"),
        };
        let (size, file) = (memory.0, option_value(file));
        self.option(
            "-object",
            format!("memory-backend-file,id=ram,size={size},share={share},mem-path={file}"),
        );
        self.option("-chardev", format!("socket,id=control,fd={control}"));
        self.option("-mon", "chardev=control,mode=control");
        if let Start::Restored(_) = start {
            self.option("-incoming", "defer");
        }
    }

    pub(crate) fn into_words(self) -> Vec<OsString> {
        self.words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            qemu: "qemu-system-x86_64".into(),
            accelerator: Accelerator::Tcg,
            board: Board::Microvm,
            image: "/k/vmlinux".into(),
            pvh: true,
            initramfs: "/i/base.cpio".into(),
            marker: Marker::new(*b"0123456789abcdef"),
            memory: Size(256 << 20),
            processors: 1,
            disks: vec!["/run/a,b.img".into()],
            cmpxchg16b: true,
            tsc_khz: Some(2_600_000),
            talkative: false,
            start: Start::PowerOn,
            debugger: None,
            plugin: None,
            counted: false,
            fine_timers: false,
        }
    }

    const SOCKETS: Sockets = Sockets { agent: 3, console: 4, control: 5 };

    fn text(machine: &Machine) -> String {
        let words: Vec<_> =
            machine.arguments(SOCKETS).iter().map(|w| w.to_string_lossy().into_owned()).collect();
        words.join(" ").replace(" -", "\n-")
    }

    #[test]
    fn the_command_line_of_an_emulated_microvm() {
        insta::assert_snapshot!(text(&machine()), @r"
        -nodefaults
        -no-user-config
        -no-reboot
        -display none
        -name vexlab
        -machine microvm,accel=tcg,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off
        -cpu qemu64,+rdrand
        -smp 1
        -m 262144k
        -bios qboot.rom
        -kernel /k/vmlinux
        -initrd /i/base.cpio
        -append console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests psi=0 noautogroup vexlab.machine=30313233343536373839616263646566 noreplace-smp tsc_early_khz=2600000 tsc=reliable
        -chardev socket,id=console,fd=4
        -serial chardev:console
        -chardev socket,id=agent,fd=3
        -device virtio-serial-device,max_ports=2
        -device virtserialport,chardev=agent,name=vexlab.agent
        -drive if=none,id=disk0,format=raw,cache=unsafe,file=/run/a,,b.img
        -device virtio-blk-device,drive=disk0
        ");
    }

    #[test]
    fn the_command_line_of_a_pc_with_kvm() {
        let machine = Machine {
            accelerator: Accelerator::Kvm,
            board: Board::Q35,
            pvh: false,
            processors: 2,
            disks: Vec::new(),
            ..machine()
        };
        insta::assert_snapshot!(text(&machine), @r"
        -nodefaults
        -no-user-config
        -no-reboot
        -display none
        -name vexlab
        -machine q35,accel=kvm
        -cpu host
        -smp 2
        -m 262144k
        -kernel /k/vmlinux
        -initrd /i/base.cpio
        -append console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests psi=0 noautogroup vexlab.machine=30313233343536373839616263646566
        -chardev socket,id=console,fd=4
        -serial chardev:console
        -chardev socket,id=agent,fd=3
        -device virtio-serial-pci,max_ports=2
        -device virtserialport,chardev=agent,name=vexlab.agent
        ");
    }

    /// What this machine has and an ordinary one has not, and the reverse.
    fn difference(other: Machine) -> String {
        let (ordinary, other) = (text(&machine()), text(&other));
        let lines = |one: &str, sign: &str, two: &str| -> Vec<String> {
            let only = one.lines().filter(|line| !two.lines().any(|other| other == *line));
            only.map(|line| format!("{sign} {line}")).collect()
        };
        [lines(&ordinary, "<", &other), lines(&other, ">", &ordinary)].concat().join("\n")
    }

    #[test]
    fn a_machine_that_is_to_be_saved_has_its_memory_in_a_file() {
        insta::assert_snapshot!(difference(Machine { start: Start::ToBeSaved("/s/a,b/memory".into()), ..machine() }), @r"
        < -machine microvm,accel=tcg,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off
        > -machine microvm,accel=tcg,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,memory-backend=ram
        > -object memory-backend-file,id=ram,size=268435456,share=on,mem-path=/s/a,,b/memory
        > -chardev socket,id=control,fd=5
        > -mon chardev=control,mode=control
        ");
    }

    #[test]
    fn a_restored_machine_only_reads_its_memory_and_needs_no_kernel() {
        insta::assert_snapshot!(difference(Machine { start: Start::Restored("/s/memory".into()), ..machine() }), @r"
        < -machine microvm,accel=tcg,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off
        < -kernel /k/vmlinux
        < -initrd /i/base.cpio
        < -append console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests psi=0 noautogroup vexlab.machine=30313233343536373839616263646566 noreplace-smp tsc_early_khz=2600000 tsc=reliable
        > -machine microvm,accel=tcg,pit=off,pic=off,rtc=on,auto-kernel-cmdline=off,memory-backend=ram
        > -object memory-backend-file,id=ram,size=268435456,share=off,mem-path=/s/memory
        > -chardev socket,id=control,fd=5
        > -mon chardev=control,mode=control
        > -incoming defer
        ");
    }

    #[test]
    fn a_debugger_connects_to_a_socket_of_this_host() {
        let socket = Some("/t/a,b/gdb".into());
        insta::assert_snapshot!(difference(Machine { debugger: socket, ..machine() }), @"
        > -chardev socket,id=debugger,path=/t/a,,b/gdb,server=on,wait=off
        > -gdb chardev:debugger
        ");
    }

    #[test]
    fn a_plugin_is_given_its_file() {
        let plugin = Plugin { file: "/c/a,b.so".into(), out: "/r/profile".into() };
        insta::assert_snapshot!(difference(Machine { plugin: Some(plugin), ..machine() }), @"> -plugin file=/c/a,,b.so,out=/r/profile");
    }

    #[test]
    fn a_counted_machine_has_a_clock_of_instructions() {
        insta::assert_snapshot!(difference(Machine { counted: true, ..machine() }), @"
        < -append console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests psi=0 noautogroup vexlab.machine=30313233343536373839616263646566 noreplace-smp tsc_early_khz=2600000 tsc=reliable
        > -icount shift=0,sleep=on
        > -append console=ttyS0 quiet panic=-1 reboot=t cryptomgr.notests psi=0 noautogroup vexlab.machine=30313233343536373839616263646566 noreplace-smp tsc_early_khz=1000000 tsc=reliable
        ");
    }

    #[test]
    fn a_machine_with_fine_timers_has_one_that_never_stops() {
        insta::assert_snapshot!(difference(Machine { fine_timers: true, ..machine() }), @"
        < -cpu qemu64,+rdrand
        > -cpu qemu64,+rdrand,+arat
        ");
    }

    #[test]
    fn the_counter_frequency_is_the_one_the_processor_is_sold_with() {
        let sold = "model name\t: Intel(R) Xeon(R) CPU @ 2.60GHz\ncpu MHz\t\t: 3100.000\n";
        assert_eq!(tsc_khz(sold), Some(2_600_000));
        assert_eq!(tsc_khz("model name : AMD EPYC\ncpu MHz : 2445.406\n"), Some(2_445_406));
        assert_eq!(tsc_khz("model name : x\ncpu MHz : 0.000\n"), None);
        assert_eq!(tsc_khz(""), None);
    }
}
