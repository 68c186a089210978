// SPDX-License-Identifier: GPL-2.0-only
//! A shell and its tools in one static program, for machines: Debian's `busybox-static`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Lab;
use crate::apt::{self, Archive};
use crate::error::{Context, Error, Result};
use crate::process::Program;

const PACKAGE: &str = "busybox-static";

/// Where it is in the cache, with its version behind it.
const PREFIX: &str = "busybox-";

/// A busybox in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Busybox {
    path: PathBuf,
    applets: Vec<String>,
}

impl Busybox {
    /// The program: static, for x86-64.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names under which it does something (`sh`, `ls`, …), as it lists them itself.
    pub fn applets(&self) -> &[String] {
        &self.applets
    }
}

/// The busybox in the cache, fetched if there is none.
///
/// # Errors
///
/// When it can't be fetched, checked or unpacked.
pub fn get(lab: &Lab) -> Result<Busybox> {
    if let Some(busybox) = find(lab) {
        return Ok(busybox);
    }
    let _lock = lab.cache.lock("busybox", &lab.cancel)?;
    if let Some(busybox) = find(lab) {
        return Ok(busybox);
    }
    let archive = Archive::open(lab, apt::BOOKWORM)?;
    let downloads = lab.cache.staging()?;
    let (package, deb) = archive.newest(PACKAGE, downloads.path())?;
    let unpacked = lab.cache.staging()?;
    apt::unpack(lab, &deb, unpacked.path())?;
    let program = ["bin/busybox", "usr/bin/busybox"]
        .iter()
        .map(|place| unpacked.path().join(place))
        .find(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()))
        .ok_or_else(|| Error::lab(format!("the package {PACKAGE} {} has no busybox", package.version)))?;
    let listed = Program::new(&program).args(["--list"]).run(&lab.cancel)?;
    if !listed.status.success() || parse(&listed.output).is_empty() {
        return Err(Error::lab(format!("{} --list failed", program.display()))
            .with_source(listed.errors.trim().to_owned()));
    }
    let staging = lab.cache.staging()?;
    let place = staging.path().join("busybox");
    fs::rename(&program, &place).context(|| format!("move {}", program.display()))?;
    let applets = staging.path().join("applets");
    fs::write(&applets, listed.output).context(|| format!("write {}", applets.display()))?;
    // Without its epoch: a colon in a path means something to too many programs.
    let version = package.version.rsplit(':').next().unwrap_or_default();
    let name = Path::new("tools").join(format!("{PREFIX}{version}"));
    // One that is there without being usable is in the way.
    if lab.cache.path(&name).exists() {
        let old = lab.cache.path(&name);
        fs::remove_dir_all(&old).context(|| format!("remove {}", old.display()))?;
    }
    lab.cache.publish(staging, name)?;
    archive.forget(&[package]);
    find(lab).ok_or_else(|| Error::lab("busybox was removed from the cache while it was added"))
}

/// The usable busybox in the cache, if there is one.
fn find(lab: &Lab) -> Option<Busybox> {
    let folders = fs::read_dir(lab.cache.path("tools")).ok()?.flatten();
    let ours = folders.filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX));
    ours.map(|entry| entry.path()).find_map(|dir| {
        let applets = parse(&fs::read_to_string(dir.join("applets")).ok()?);
        let path = dir.join("busybox");
        (path.is_file() && !applets.is_empty()).then_some(Busybox { path, applets })
    })
}

/// The names in what `busybox --list` prints. Each becomes a file name in a machine.
fn parse(text: &str) -> Vec<String> {
    let usable = |name: &&str| !name.is_empty() && !name.starts_with('.') && !name.contains('/');
    text.lines().map(str::trim).filter(usable).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_files_are_applets() {
        assert_eq!(parse("[\n[[\nash\n\n../x\na/b\nls\n"), ["[", "[[", "ash", "ls"]);
    }

    #[test]
    fn one_that_is_not_whole_is_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab {
            cache: crate::cache::Cache::at(dir.path().to_owned()).unwrap(),
            reporter: std::sync::Arc::new(crate::event::Silent),
            cancel: crate::cancel::Cancel::default(),
        };
        assert_eq!(find(&lab), None);
        lab.cache.write("tools/busybox-1/busybox", b"").unwrap();
        assert_eq!(find(&lab), None);
        lab.cache.write("tools/busybox-1/applets", b"sh\n").unwrap();
        assert_eq!(find(&lab).unwrap().applets(), ["sh"]);
    }
}
