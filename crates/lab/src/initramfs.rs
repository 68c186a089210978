// SPDX-License-Identifier: GPL-2.0-only
//! The machine's first file system: the agent, a busybox, and the kernel modules through which the host
//! is reached. It depends on nothing but those, so one file serves every run on a kernel; the module under
//! test and its company are sent once the machine runs.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Lab;
use crate::busybox::Busybox;
use crate::error::{Context, Result};
use crate::kernel::read_module;
use crate::newc::Archive;

/// The agent, statically linked.
const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));

/// The list of modules that the agent loads first.
const MODULE_LIST: &str = "vexlab/modules";

/// The initramfs with these kernel modules, in the order of loading; from the cache if it was made before.
///
/// # Errors
///
/// When a file can't be read, or the cache not written.
pub fn provide(lab: &Lab, busybox: &Busybox, modules: &[PathBuf]) -> Result<PathBuf> {
    let mut key = Sha256::new();
    key.update(AGENT);
    for path in modules.iter().map(PathBuf::as_path).chain([busybox.path()]) {
        let data = fs::metadata(path).context(|| format!("look at {}", path.display()))?;
        let modified = data.modified().context(|| format!("look at {}", path.display()))?;
        key.update(format!("{} {} {modified:?}\n", path.display(), data.len()));
    }
    let name: String = key.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    let relative = format!("initramfs/{name}.cpio");
    let place = lab.cache.path(&relative);
    if place.exists() {
        return Ok(place);
    }
    lab.cache.write(&relative, &archive(busybox, modules)?)
}

fn archive(busybox: &Busybox, modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "vexlab", "vexlab/boot"] {
        archive.directory(folder);
    }
    // The kernel opens it for the first process before anything is mounted.
    archive.device("dev/console", 5, 1);
    archive.file("init", 0o755, AGENT);
    let read = |path: &Path| fs::read(path).context(|| format!("read {}", path.display()));
    archive.file("bin/busybox", 0o755, &read(busybox.path())?);
    for applet in busybox.applets().iter().filter(|applet| *applet != "busybox") {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n");
    archive.file("etc/group", 0o644, b"root:x:0:\n");
    let mut list = String::new();
    for (index, path) in modules.iter().enumerate() {
        let place = format!("vexlab/boot/{index}.ko");
        archive.file(&place, 0o644, &read_module(path)?);
        list.push_str(&format!("/{place}\n"));
    }
    archive.file(MODULE_LIST, 0o644, list.as_bytes());
    Ok(archive.finish())
}
