// SPDX-License-Identifier: GPL-2.0-only
use std::ffi::CStr;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;

use crate::guard::Machine;
use crate::{kmsg, sys};

/// The modules to load at boot: one absolute path a line, in load order.
const MODULE_LIST: &str = "/vexlab/modules";

/// Something without which there is no session.
#[derive(Debug)]
pub(crate) struct BootError {
    pub(crate) action: String,
    pub(crate) cause: io::Error,
}

impl fmt::Display for BootError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.action, self.cause)
    }
}

struct Mount {
    kind: &'static CStr,
    target: &'static CStr,
    options: &'static CStr,
    needed: bool,
}

/// All but `/proc`, which the guard needed already.
const MOUNTS: &[Mount] = &[
    Mount { kind: c"sysfs", target: c"/sys", options: c"", needed: true },
    Mount { kind: c"devtmpfs", target: c"/dev", options: c"mode=0755", needed: true },
    Mount { kind: c"devpts", target: c"/dev/pts", options: c"mode=0620,ptmxmode=0666", needed: false },
    Mount { kind: c"tmpfs", target: c"/tmp", options: c"mode=1777", needed: true },
    Mount { kind: c"tmpfs", target: c"/run", options: c"mode=0755", needed: true },
    Mount { kind: c"debugfs", target: c"/sys/kernel/debug", options: c"", needed: false },
];

const DEVICE_LINKS: &[(&str, &str)] =
    &[("/proc/self/fd", "/dev/fd"), ("fd/0", "/dev/stdin"), ("fd/1", "/dev/stdout"), ("fd/2", "/dev/stderr")];

/// Mounts what programs expect. A file system that a kernel may lack is reported in its log and left
/// out: whoever needs it finds an empty folder, not a pretence.
pub(crate) fn mount_file_systems() -> Result<(), BootError> {
    for mount in MOUNTS {
        let target = mount.target.to_string_lossy();
        if let Err(cause) = mount_at(mount, &target) {
            let error = BootError { action: format!("mount {target}"), cause };
            if mount.needed {
                return Err(error);
            }
            kmsg::say(kmsg::WARNING, format_args!("{error}"));
        }
    }
    for (target, link) in DEVICE_LINKS {
        symlink(target, link)
            .map_err(|cause| BootError { action: format!("make the link {link}"), cause })?;
    }
    Ok(())
}

fn mount_at(mount: &Mount, target: &str) -> io::Result<()> {
    match sys::mount(mount.kind, mount.target, mount.kind, 0, mount.options) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(target)?;
            sys::mount(mount.kind, mount.target, mount.kind, 0, mount.options)
        }
        mounted => mounted,
    }
}

/// Loads the modules that the port to the host needs, and returns their names.
pub(crate) fn load_modules(machine: &Machine) -> Result<Vec<String>, BootError> {
    let list = match fs::read_to_string(MODULE_LIST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        list => list.map_err(|cause| BootError { action: format!("read {MODULE_LIST}"), cause })?,
    };
    let paths = list.lines().map(str::trim).filter(|line| !line.is_empty());
    paths.map(|path| load_module(machine, path).map(|()| module_name(path))).collect()
}

fn load_module(machine: &Machine, path: &str) -> Result<(), BootError> {
    let failed = |what| move |cause| BootError { action: format!("{what} {path}"), cause };
    let file = fs::File::open(path).map_err(failed("open"))?;
    match sys::load_module(machine, &file, c"") {
        // Built in, or loaded already.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        loaded => loaded.map_err(failed("load")),
    }
}

/// The name that the kernel gives to the module in this file.
fn module_name(path: &str) -> String {
    let file = path.rsplit_once('/').map_or(path, |(_, file)| file);
    file.split_once(".ko").map_or(file, |(stem, _)| stem).replace('-', "_")
}

/// Brings `lo` up, for programs that talk to themselves. A kernel without a network is none the worse.
pub(crate) fn bring_loopback_up() {
    if let Err(cause) = sys::bring_interface_up(b"lo") {
        kmsg::say(kmsg::WARNING, format_args!("bring lo up: {cause}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_named_as_the_kernel_names_it() {
        assert_eq!(module_name("/lib/modules/x/virtio-rng.ko"), "virtio_rng");
        assert_eq!(module_name("/m/virtio_console.ko.xz"), "virtio_console");
        assert_eq!(module_name("plain"), "plain");
    }

    #[test]
    fn a_boot_error_names_object_and_cause() {
        let error = BootError { action: "load /m/a.ko".into(), cause: io::Error::from_raw_os_error(8) };
        assert_eq!(error.to_string(), "load /m/a.ko: Exec format error (os error 8)");
    }
}
