// SPDX-License-Identifier: GPL-2.0-only

use std::ffi::OsString;
use std::path::PathBuf;

use super::seed::{MAC, PORT};
use crate::machine::{Accelerator, CommandLine, Sockets, Start, option_value};
use crate::project::Size;

/// The name under which the machine finds the host's folder.
pub(super) const SHARE: &str = "src";

/// Who starts the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loader {
    /// QEMU, with a kernel and a first file system from outside of the disk.
    Direct {
        /// The kernel, an ELF file.
        kernel: PathBuf,
        /// The first file system.
        initramfs: PathBuf,
    },
    /// What is on the disk.
    Firmware,
}

/// A folder of the host that the machine can mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// Where it is.
    pub path: PathBuf,
    /// Whether the machine may write to it.
    pub writable: bool,
}

/// Everything that shapes a machine with a distribution on its disk, before it runs.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The QEMU program.
    pub qemu: PathBuf,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// Who starts the kernel.
    pub loader: Loader,
    /// Its memory.
    pub memory: Size,
    /// Its processors.
    pub processors: u16,
    /// Its disk: an overlay, in the format qcow2.
    pub disk: PathBuf,
    /// The volume for cloud-init.
    pub seed: PathBuf,
    /// The port on 127.0.0.1 behind which ssh is.
    pub port: u16,
    /// The folder of the host that it can mount.
    pub share: Share,
    /// Whether an emulated processor has the instruction `cmpxchg16b`.
    pub cmpxchg16b: bool,
    /// The frequency of the host's time stamp counter.
    pub tsc_khz: Option<u32>,
    /// How it starts.
    pub start: Start,
}

impl Machine {
    /// QEMU's arguments. The sockets are those of an ordinary machine; that of the agent is the keeper's.
    pub fn arguments(&self, sockets: Sockets) -> Vec<OsString> {
        let Sockets { agent: keeper, console: console_fd, control } = sockets;
        let mut line = CommandLine::default();
        line.flag("-nodefaults").flag("-no-user-config").flag("-no-reboot");
        line.option("-display", "none").option("-name", "vexlab");
        let memory = if self.start == Start::PowerOn { "" } else { ",memory-backend=ram" };
        // Firmware and boot loader speak on the serial console then, since there is no screen.
        let console = if self.loader == Loader::Firmware { ",graphics=off" } else { "" };
        line.option("-machine", format!("q35,accel={}{console}{memory}", self.accelerator.name()));
        line.option("-cpu", self.accelerator.processor(self.cmpxchg16b));
        line.option("-smp", self.processors.to_string());
        line.option("-m", format!("{}k", self.memory.0 >> 10));
        if let Loader::Direct { kernel, initramfs } = &self.loader {
            line.option("-kernel", kernel).option("-initrd", initramfs);
            line.option("-append", self.kernel_parameters());
        }
        line.option("-chardev", format!("socket,id=console,fd={console_fd}"));
        line.option("-serial", "chardev:console");
        let disk = option_value(&self.disk);
        line.option("-drive", format!("if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file={disk}"));
        line.option("-device", "virtio-blk-pci,drive=disk");
        let seed = option_value(&self.seed);
        line.option("-drive", format!("if=none,id=seed,format=raw,readonly=on,file={seed}"));
        line.option("-device", "virtio-blk-pci,drive=seed");
        line.option("-netdev", format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", self.port));
        line.option("-device", format!("virtio-net-pci,netdev=net,mac={MAC},romfile="));
        line.option("-device", "virtio-rng-pci");
        line.option("-chardev", format!("socket,id=keeper,fd={keeper}"));
        line.option("-device", "virtio-serial-pci,max_ports=2");
        line.option("-device", format!("virtserialport,chardev=keeper,name={PORT}"));
        let path = option_value(&self.share.path);
        // What is written belongs to whoever runs QEMU; that it can't be given to others is not reported.
        let access = if self.share.writable { "" } else { ",readonly=on" };
        line.option(
            "-fsdev",
            format!("local,id=share,security_model=none,multidevs=remap{access},path={path}"),
        );
        line.option("-device", format!("virtio-9p-pci,fsdev=share,mount_tag={SHARE}"));
        line.starting(&self.start, self.memory, control);
        line.into_words()
    }

    /// The kernel's command line, where it is started from outside.
    fn kernel_parameters(&self) -> String {
        let mut parameters =
            "console=ttyS0 root=/dev/vda rw quiet panic=-1 cryptomgr.notests net.ifnames=0".to_owned();
        if let (Accelerator::Tcg, Some(khz)) = (self.accelerator, self.tsc_khz) {
            parameters.push_str(&format!(" tsc_early_khz={khz} tsc=reliable"));
        }
        parameters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine {
            qemu: "qemu-system-x86_64".into(),
            accelerator: Accelerator::Tcg,
            loader: Loader::Direct { kernel: "/i/vmlinux".into(), initramfs: "/i/initramfs.cpio".into() },
            memory: Size(1 << 30),
            processors: 2,
            disk: "/run/a,b.qcow2".into(),
            seed: "/run/seed.img".into(),
            port: 40022,
            share: Share { path: "/home/me/project".into(), writable: false },
            cmpxchg16b: true,
            tsc_khz: Some(2_600_000),
            start: Start::PowerOn,
        }
    }

    fn text(machine: &Machine) -> String {
        let words = machine.arguments(Sockets { agent: 3, console: 4, control: 5 });
        let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ").replace(" -", "\n-")
    }

    fn difference(other: &Machine) -> String {
        let (one, two) = (text(&machine()), text(other));
        let only = |a: &str, b: &str, sign: &str| -> Vec<String> {
            a.lines().filter(|l| !b.lines().any(|other| other == *l)).map(|l| format!("{sign} {l}")).collect()
        };
        [only(&one, &two, "<"), only(&two, &one, ">")].concat().join("\n")
    }

    #[test]
    fn the_command_line_of_an_image_of_ours() {
        insta::assert_snapshot!(text(&machine()), @r"
        -nodefaults
        -no-user-config
        -no-reboot
        -display none
        -name vexlab
        -machine q35,accel=tcg
        -cpu qemu64,+rdrand
        -smp 2
        -m 1048576k
        -kernel /i/vmlinux
        -initrd /i/initramfs.cpio
        -append console=ttyS0 root=/dev/vda rw quiet panic=-1 cryptomgr.notests net.ifnames=0 tsc_early_khz=2600000 tsc=reliable
        -chardev socket,id=console,fd=4
        -serial chardev:console
        -drive if=none,id=disk,format=qcow2,cache=unsafe,discard=unmap,file=/run/a,,b.qcow2
        -device virtio-blk-pci,drive=disk
        -drive if=none,id=seed,format=raw,readonly=on,file=/run/seed.img
        -device virtio-blk-pci,drive=seed
        -netdev user,id=net,hostfwd=tcp:127.0.0.1:40022-:22
        -device virtio-net-pci,netdev=net,mac=52:54:00:76:65:78,romfile=
        -device virtio-rng-pci
        -chardev socket,id=keeper,fd=3
        -device virtio-serial-pci,max_ports=2
        -device virtserialport,chardev=keeper,name=vexlab.keeper
        -fsdev local,id=share,security_model=none,multidevs=remap,readonly=on,path=/home/me/project
        -device virtio-9p-pci,fsdev=share,mount_tag=src
        ");
    }

    #[test]
    fn a_vendors_image_is_started_by_the_firmware() {
        insta::assert_snapshot!(difference(&Machine { loader: Loader::Firmware, ..machine() }), @r"
        < -machine q35,accel=tcg
        < -kernel /i/vmlinux
        < -initrd /i/initramfs.cpio
        < -append console=ttyS0 root=/dev/vda rw quiet panic=-1 cryptomgr.notests net.ifnames=0 tsc_early_khz=2600000 tsc=reliable
        > -machine q35,accel=tcg,graphics=off
        ");
    }

    #[test]
    fn a_folder_may_be_written_to_by_choice_only() {
        let share = Share { writable: true, ..machine().share };
        insta::assert_snapshot!(difference(&Machine { share, ..machine() }), @r"
        < -fsdev local,id=share,security_model=none,multidevs=remap,readonly=on,path=/home/me/project
        > -fsdev local,id=share,security_model=none,multidevs=remap,path=/home/me/project
        ");
    }

    #[test]
    fn a_restored_machine_only_reads_its_memory() {
        insta::assert_snapshot!(difference(&Machine { start: Start::Restored("/s/memory".into()), ..machine() }), @r"
        < -machine q35,accel=tcg
        > -machine q35,accel=tcg,memory-backend=ram
        > -object memory-backend-file,id=ram,size=1073741824,share=off,mem-path=/s/memory
        > -chardev socket,id=control,fd=5
        > -mon chardev=control,mode=control
        > -incoming defer
        ");
    }
}
