// SPDX-License-Identifier: GPL-2.0-only
//! The machine that the lab runs on, and what must never happen to it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::error::{Context, Result};

/// The system calls that change which code runs in a kernel, by their number on x86-64.
///
/// Source: `arch/x86/entry/syscalls/syscall_64.tbl`.
const FORBIDDEN: [(&str, i64); 5] = [
    ("init_module", 175),
    ("delete_module", 176),
    ("kexec_load", 246),
    ("finit_module", 313),
    ("kexec_file_load", 320),
];

/// The same calls are reached by these numbers too, where the kernel has the x32 interface.
const X32: i64 = 0x4000_0000;

/// Makes it impossible for this process, and for every process it starts from now on, to load or unload a
/// module in the kernel it runs on: the kernel answers such a call with `EPERM`, whoever the user is, and
/// nothing can undo that. It holds for the calling thread and those started by it, so it is called first.
///
/// # Errors
///
/// When the kernel has no seccomp filters: then nothing may be started.
pub fn forbid_module_loading() -> Result<()> {
    let install = || -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let rules: BTreeMap<i64, Vec<_>> =
            FORBIDDEN.iter().flat_map(|(_, number)| [(*number, vec![]), (*number | X32, vec![])]).collect();
        let refuse = SeccompAction::Errno(rustix::io::Errno::PERM.raw_os_error() as u32);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, TargetArch::x86_64)?;
        seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
        Ok(())
    };
    install().context(|| "forbid the loading of modules on this machine".to_owned())
}

/// The host's kernel, as `uname -r` says it.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// What `/proc/cpuinfo` says of the first processor. All of it takes long to read where there are many.
pub fn processor() -> String {
    let Ok(file) = File::open("/proc/cpuinfo") else { return String::new() };
    let lines = BufReader::new(file).lines().map_while(|line| line.ok().filter(|line| !line.is_empty()));
    lines.map(|line| line + "\n").collect()
}

/// What this machine's processor is sold as; `unknown` where nobody says it.
pub fn processor_name() -> String {
    let all = processor();
    let line = all.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(": ")).map(|(_, name)| name.trim());
    name.unwrap_or("unknown").to_owned()
}

/// Which of its lives this machine is in: another one after each time it was switched on.
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What perl's `syscall` of `finit_module(-1, "", 0)` fails with. Nothing is loaded: there is no file -1.
    fn finit_module_errno() -> i32 {
        let script = "my $none = \"\"; syscall(313, -1, $none, 0); print $!+0;";
        let output =
            std::process::Command::new("perl").args(["-e", script]).output().expect("perl is installed");
        String::from_utf8(output.stdout).unwrap().parse().unwrap()
    }

    #[test]
    fn processes_started_afterwards_cannot_load_modules() {
        // On a thread of its own: the filter stays with the thread that installs it.
        std::thread::spawn(|| {
            let before = finit_module_errno();
            if rustix::process::geteuid().is_root() {
                assert_ne!(before, 1, "root may try");
            }
            forbid_module_loading().unwrap();
            assert_eq!(finit_module_errno(), 1, "EPERM");
            let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("Seccomp:\t2"), "{status}");
        })
        .join()
        .unwrap();
    }
}
