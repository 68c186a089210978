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
use crate::kernel::{Config, read_module};
use crate::newc::Archive;

/// The agent, statically linked.
const AGENT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/agent"));

/// Which form the file has: one made by a vexlab that did it in another way is not used.
const FORM: &str = "form 2";

/// The list of modules that the agent loads first.
const MODULE_LIST: &str = "vexlab/modules";

/// The initramfs with these kernel modules, in the order of loading; from the cache if it was made before.
///
/// # Errors
///
/// When a file can't be read, or the cache not written.
pub fn provide(lab: &Lab, busybox: &Busybox, config: &Config, modules: &[PathBuf]) -> Result<PathBuf> {
    let mut key = Sha256::new();
    // A kernel that takes only signed modules gets them as they are.
    let signed = config.is_set("CONFIG_MODULE_SIG_FORCE");
    key.update(format!("{FORM} {signed}\n"));
    key.update(env!("AGENT_DIGEST"));
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
    lab.cache.write(&relative, &archive(busybox, modules, signed)?)
}

fn archive(busybox: &Busybox, modules: &[PathBuf], signed: bool) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "vexlab", "vexlab/boot"] {
        archive.directory(folder);
    }
    archive.directory(wire::PAYLOAD.trim_start_matches('/'));
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
        let module = read_module(path)?;
        archive.file(&place, 0o644, if signed { &module } else { without_signature(&module) });
        list.push_str(&format!("/{place}\n"));
    }
    archive.file(MODULE_LIST, 0o644, list.as_bytes());
    Ok(archive.finish())
}

/// The first steps of a machine that has a whole distribution on its disk: from here to there.
const TO_DISK: &str = r#"#!/bin/busybox sh
busybox=/bin/busybox
$busybox mount -t devtmpfs dev /dev
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sys /sys
for module in /vexlab/boot/*; do
	$busybox insmod "$module"
done
left=200
until [ -b /dev/vda ]; do
	left=$((left - 1))
	if [ "$left" = 0 ]; then
		echo "vexlab: there is no disk /dev/vda"
		exit 1
	fi
	$busybox usleep 50000
done
$busybox mount -t ext4 -o noatime /dev/vda /mnt || exit 1
for place in dev proc sys; do
	$busybox mount -o move "/$place" "/mnt/$place"
done
exec $busybox switch_root /mnt /sbin/init
"#;

/// An initramfs that loads these modules, in their order, and goes on with the file system on the first disk.
///
/// # Errors
///
/// When a file can't be read.
pub(crate) fn to_disk(busybox: &Busybox, config: &Config, modules: &[PathBuf]) -> Result<Vec<u8>> {
    let mut archive = Archive::default();
    for folder in ["bin", "dev", "mnt", "proc", "sys", "vexlab", "vexlab/boot"] {
        archive.directory(folder);
    }
    archive.device("dev/console", 5, 1);
    archive.file("init", 0o755, TO_DISK.as_bytes());
    let path = busybox.path();
    archive.file("bin/busybox", 0o755, &fs::read(path).context(|| format!("read {}", path.display()))?);
    for (index, path) in modules.iter().enumerate() {
        let module = read_module(path)?;
        let signed = config.is_set("CONFIG_MODULE_SIG_FORCE");
        let content = if signed { &module[..] } else { without_signature(&module) };
        archive.file(&format!("vexlab/boot/{index:02}.ko"), 0o644, content);
    }
    Ok(archive.finish())
}

/// A module without the signature at its end, which costs a slow processor more to check than the rest of
/// loading.
///
/// Source: `scripts/sign-file.c` of Linux: the signature, a description of 12 bytes whose last four are the
/// signature's length, and a fixed text.
fn without_signature(module: &[u8]) -> &[u8] {
    let signed = || {
        let rest = module.strip_suffix(b"~Module signature appended~\n")?;
        let (rest, length) = rest.split_last_chunk::<4>()?;
        let content = rest.len().checked_sub(8)?.checked_sub(u32::from_be_bytes(*length) as usize)?;
        rest.get(..content)
    };
    signed().unwrap_or(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_signature_is_taken_off() {
        let mut module = b"\x7fELF content".to_vec();
        assert_eq!(without_signature(&module), module, "a module without one");
        module.extend_from_slice(b"SIGNATURE");
        module.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0]);
        module.extend_from_slice(&9u32.to_be_bytes());
        module.extend_from_slice(b"~Module signature appended~\n");
        assert_eq!(without_signature(&module), b"\x7fELF content");
        let lying = module.len() - 29;
        module[lying] = 0xff;
        assert_eq!(without_signature(&module), module, "a length beyond the file's");
    }
}
