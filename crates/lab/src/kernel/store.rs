// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use super::{Config, Kernel, Modules, image, packages, unknown};
use crate::Lab;
use crate::apt::{self, Archive, Package, Suites};
use crate::cache::make_dir;
use crate::error::{Context, Error, Result};

/// A kernel that can be fetched.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// What the user calls it.
    pub name: &'static str,
    /// What it is, for lists.
    pub about: &'static str,
    suites: Suites,
    roots: [&'static str; 2],
}

const GENERIC: [&str; 2] = ["linux-image-amd64", "linux-headers-amd64"];
const CLOUD: [&str; 2] = ["linux-image-cloud-amd64", "linux-headers-cloud-amd64"];

/// The kernels that can be fetched. A new one is a new row.
pub const KNOWN: &[Known] = &[
    Known { name: "debian-6.1", about: "Debian 12, generic", suites: apt::BOOKWORM, roots: GENERIC },
    Known {
        name: "debian-6.1-cloud",
        about: "Debian 12, for virtual machines",
        suites: apt::BOOKWORM,
        roots: CLOUD,
    },
    Known {
        name: "debian-6.12",
        about: "Debian 12 backports, generic",
        suites: apt::BOOKWORM_BACKPORTS,
        roots: GENERIC,
    },
    Known {
        name: "debian-6.12-cloud",
        about: "Debian 12 backports, for virtual machines",
        suites: apt::BOOKWORM_BACKPORTS,
        roots: CLOUD,
    },
];

/// Where a known kernel stands.
#[derive(Debug)]
pub enum Condition {
    /// It isn't in the cache.
    Absent,
    /// It is there: its release, and the bytes it takes on disk.
    Present {
        /// `uname -r`.
        release: String,
        /// Bytes on disk.
        size: u64,
    },
    /// It is there, but its manifest can't be read.
    Damaged(Error),
}

/// A known kernel and where it stands.
#[derive(Debug)]
pub struct Listed {
    /// Which.
    pub known: Known,
    /// Where it stands.
    pub condition: Condition,
}

/// The form of the manifest; one of another form is not read.
const FORM: u32 = 1;
const MANIFEST: &str = "kernel.json";

/// What is known of a kernel in the cache. Paths are relative to its folder.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    form: u32,
    release: String,
    image: PathBuf,
    build: PathBuf,
    modules: PathBuf,
    config: PathBuf,
    symvers: PathBuf,
    index: PathBuf,
    packages: Vec<(String, String)>,
    size: u64,
}

pub(super) fn known(name: &str) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.name == name)
}

fn require_known(name: &str) -> Result<&'static Known> {
    known(name).ok_or_else(|| unknown(name))
}

/// The error for a file of a kernel in the cache that can't be read.
pub(super) fn damaged(
    name: &str,
    path: &Path,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    Error::lab(format!("the kernel {name} is damaged in the cache: {}", path.display()))
        .with_source(cause)
        .with_remedy(format!("vexlab kernel remove {name} && vexlab kernel add {name}"))
}

fn place(name: &str) -> PathBuf {
    Path::new("kernels").join(name)
}

fn read_manifest(lab: &Lab, name: &str) -> Result<Option<Manifest>> {
    let path = lab.cache.path(place(name)).join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        // A folder without a manifest is no kernel, but it is in the way of one.
        Err(error)
            if error.kind() == std::io::ErrorKind::NotFound && !lab.cache.path(place(name)).exists() =>
        {
            return Ok(None);
        }
        Err(error) => return Err(damaged(name, &path, error)),
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| damaged(name, &path, error))?;
    if manifest.form != FORM {
        let cause = format!("its form is {}, this program reads {FORM}", manifest.form);
        return Err(damaged(name, &path, cause));
    }
    Ok(Some(manifest))
}

/// A known kernel from the cache, if it is there.
///
/// # Errors
///
/// When the name isn't known, or what is in the cache is damaged.
pub fn get(lab: &Lab, name: &str) -> Result<Option<Kernel>> {
    require_known(name)?;
    let Some(manifest) = read_manifest(lab, name)? else { return Ok(None) };
    let dir = lab.cache.path(place(name));
    for part in [&manifest.image, &manifest.build, &manifest.modules, &manifest.symvers, &manifest.index] {
        let path = dir.join(part);
        fs::metadata(&path).map_err(|error| damaged(name, &path, error))?;
    }
    Ok(Some(Kernel {
        name: name.to_owned(),
        release: manifest.release,
        image: dir.join(manifest.image),
        build: dir.join(manifest.build),
        modules: dir.join(manifest.modules),
        symvers: dir.join(manifest.symvers),
        config: Config::read(&dir.join(&manifest.config))
            .map_err(|error| damaged(name, &dir.join(&manifest.config), error))?,
        packages: manifest.packages,
        index: Some(dir.join(manifest.index)),
        loaded: OnceLock::new(),
    }))
}

/// A known kernel, which is fetched if it isn't in the cache.
///
/// # Errors
///
/// When the name isn't known, or the kernel can't be fetched, checked or unpacked. Nothing half done stays;
/// packages that were fetched whole are kept for the next time.
pub fn add(lab: &Lab, name: &str) -> Result<Kernel> {
    let known = require_known(name)?;
    if let Some(kernel) = get(lab, name)? {
        return Ok(kernel);
    }
    let lock = lab.cache.lock(&format!("kernel-{name}"), &lab.cancel)?;
    // Whoever held the lock may have done it.
    if let Some(kernel) = get(lab, name)? {
        return Ok(kernel);
    }
    lab.cache.sweep();
    let archive = Archive::open(lab, known.suites)?;
    let downloads = lab.cache.staging()?;
    let (packages, debs) = fetch(lab, &archive, known, downloads.path())?;
    let staging = lab.cache.staging()?;
    let manifest = assemble(lab, name, &packages, &debs, staging.path());
    lab.progress_end();
    let manifest = serde_json::to_vec_pretty(&manifest?).context(|| "write a manifest".to_owned())?;
    let path = staging.path().join(MANIFEST);
    fs::write(&path, manifest).context(|| format!("write {}", path.display()))?;
    lab.cache.publish(staging, place(name))?;
    archive.forget(&packages);
    drop(lock);
    get(lab, name)?.ok_or_else(|| Error::lab(format!("the kernel {name} was removed while it was added")))
}

/// Fetches the packages of a kernel into a folder.
fn fetch(lab: &Lab, archive: &Archive, known: &Known, dir: &Path) -> Result<(Vec<Package>, Vec<PathBuf>)> {
    archive.with_lists(known.roots[0], || {
        let packages = packages::closure(
            &known.roots,
            |names| archive.versions(names),
            |version, operator, other| packages::satisfies(lab, version, operator, other),
        )?;
        let debs = archive.fetch(&packages, dir)?;
        Ok((packages, debs))
    })
}

/// Unpacks the packages of a kernel below `dir` and makes of them what a manifest describes.
fn assemble(lab: &Lab, name: &str, packages: &[Package], debs: &[PathBuf], dir: &Path) -> Result<Manifest> {
    let what = format!("unpacking {name}");
    let root = dir.join("root");
    make_dir(&root)?;
    let steps = debs.len() as u64 + 2;
    for (done, deb) in debs.iter().enumerate() {
        lab.progress(&what, done as u64, steps);
        let one = dir.join("package");
        apt::unpack(lab, deb, &one)?;
        // Documents, bug-report scripts and the like.
        let share = one.join("usr/share");
        if share.exists() {
            fs::remove_dir_all(&share).context(|| format!("remove {}", share.display()))?;
        }
        merge(&one, &root)?;
        fs::remove_dir_all(&one).context(|| format!("remove {}", one.display()))?;
    }
    lab.progress(&what, steps - 2, steps);
    let release = find_release(&root)?;
    let part = |path: PathBuf| if root.join(&path).exists() { Ok(path) } else { Err(lacks(&release, &path)) };
    let build = part(PathBuf::from(format!("usr/src/linux-headers-{release}")))?;
    let modules = part(format!("lib/modules/{release}").into())
        .or_else(|_| part(format!("usr/lib/modules/{release}").into()))?;
    let symvers = part(build.join("Module.symvers"))?;
    let config = part(build.join(".config"))?;
    make_relocatable(&root.join(&build).join("Makefile"))?;

    let bzimage = PathBuf::from(format!("boot/vmlinuz-{release}"));
    let path = root.join(&bzimage);
    let elf = image::unpack_image(&fs::read(&path).context(|| format!("read {}", path.display()))?)?;
    lab.cancel.check()?;
    lab.progress(&what, steps - 1, steps);
    let mut image = Path::new("root").join(&bzimage);
    if image::elf_has_pvh_entry(&elf[..]) {
        image = PathBuf::from("vmlinux");
        fs::write(dir.join(&image), &elf).context(|| format!("write the unpacked kernel of {release}"))?;
    }
    let index = PathBuf::from("modules.json");
    let content = Modules::walk_whole(name, &root.join(&modules), &lab.cancel)?.to_json()?;
    fs::write(dir.join(&index), content).context(|| "write the index of modules".to_owned())?;
    let below = |path: PathBuf| Path::new("root").join(path);
    Ok(Manifest {
        form: FORM,
        release,
        image,
        build: below(build),
        modules: below(modules),
        config: below(config),
        symvers: below(symvers),
        index,
        packages: packages.iter().map(|p| (p.name.clone(), p.version.clone())).collect(),
        size: size_on_disk(dir),
    })
}

/// Moves what is below `from` to below `to`, where folders may be there already.
fn merge(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).context(|| format!("read {}", from.display()))? {
        let entry = entry.context(|| format!("read {}", from.display()))?;
        let target = to.join(entry.file_name());
        let there = fs::symlink_metadata(&target).ok();
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        match there {
            Some(there) if there.is_dir() && is_dir => merge(&entry.path(), &target)?,
            Some(_) => return Err(Error::lab(format!("two packages hold {}", target.display()))),
            None => fs::rename(entry.path(), &target)
                .context(|| format!("move {} to {}", entry.path().display(), target.display()))?,
        }
    }
    Ok(())
}

/// The release of the only image there is.
fn find_release(root: &Path) -> Result<String> {
    let boot = root.join("boot");
    let mut releases = Vec::new();
    for entry in fs::read_dir(&boot).context(|| "the packages have no /boot".to_owned())? {
        let name = entry.context(|| format!("read {}", boot.display()))?.file_name();
        releases.extend(name.to_str().and_then(|n| n.strip_prefix("vmlinuz-")).map(str::to_owned));
    }
    match <[String; 1]>::try_from(releases) {
        Ok([release]) => Ok(release),
        Err(releases) => {
            Err(Error::lab(format!("the packages have {} kernel images instead of one", releases.len())))
        }
    }
}

fn lacks(release: &str, path: &Path) -> Error {
    Error::lab(format!("the packages of the kernel {release} lack /{}", path.display()))
}

/// Makes the headers' Makefile, which includes another by its absolute path, include it by one relative to
/// its own. Debian's headers have this one line and nothing else that is absolute.
fn make_relocatable(makefile: &Path) -> Result<()> {
    let text = fs::read_to_string(makefile).context(|| format!("read {}", makefile.display()))?;
    fs::write(makefile, relocatable(&text)).context(|| format!("write {}", makefile.display()))
}

fn relocatable(text: &str) -> String {
    let line = |line: &str| match line.strip_prefix("include /usr/src/") {
        Some(rest) => format!("include $(dir $(lastword $(MAKEFILE_LIST)))../{rest}\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// Bytes that a folder takes on disk.
fn size_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    WalkDir::new(dir).into_iter().flatten().filter_map(|e| e.metadata().ok()).map(|m| m.blocks() * 512).sum()
}

/// All known kernels and where each stands.
pub fn list(lab: &Lab) -> Vec<Listed> {
    let condition = |known: &Known| match read_manifest(lab, known.name) {
        Ok(None) => Condition::Absent,
        Ok(Some(manifest)) => Condition::Present { release: manifest.release, size: manifest.size },
        Err(error) => Condition::Damaged(error),
    };
    KNOWN.iter().map(|known| Listed { known: *known, condition: condition(known) }).collect()
}

/// Removes a kernel from the cache, damaged or not, and answers with the bytes that were freed; nothing when
/// it wasn't there.
///
/// # Errors
///
/// When the name isn't known, or the kernel can't be removed.
pub fn remove(lab: &Lab, name: &str) -> Result<Option<u64>> {
    require_known(name)?;
    let _lock = lab.cache.lock(&format!("kernel-{name}"), &lab.cancel)?;
    let path = lab.cache.path(place(name));
    if !path.exists() {
        return Ok(None);
    }
    let size = size_on_disk(&path);
    // Moved first: a removal that is interrupted doesn't leave half a kernel in its place.
    let staging = lab.cache.staging()?;
    fs::rename(&path, staging.path().join("kernel")).context(|| format!("remove {}", path.display()))?;
    staging.close().context(|| format!("remove {}", path.display()))?;
    Ok(Some(size))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{cache::Cache, cancel::Cancel, event::Silent};

    fn lab(dir: &Path) -> Lab {
        Lab {
            cache: Cache::at(dir.to_owned()).unwrap(),
            reporter: Arc::new(Silent),
            cancel: Cancel::default(),
        }
    }

    #[test]
    fn the_include_of_the_headers_makefile_becomes_relative() {
        let text = "include /usr/src/linux-headers-6.1.0-56-common/Makefile\n# /usr/src\n";
        insta::assert_snapshot!(relocatable(text), @r"
        include $(dir $(lastword $(MAKEFILE_LIST)))../linux-headers-6.1.0-56-common/Makefile
        # /usr/src
        ");
    }

    #[test]
    fn a_damaged_manifest_is_named_listed_and_can_be_removed() {
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        assert!(get(&lab, "debian-6.1").unwrap().is_none());
        lab.cache.write("kernels/debian-6.1/kernel.json", b"{ \"form\": 1").unwrap();
        let error = add(&lab, "debian-6.1").unwrap_err();
        let message = error.to_string();
        assert!(message.starts_with("the kernel debian-6.1 is damaged in the cache: /"), "{message}");
        assert!(message.ends_with("/kernels/debian-6.1/kernel.json"), "{message}");
        insta::assert_snapshot!(
            error.remedy().unwrap(),
            @"vexlab kernel remove debian-6.1 && vexlab kernel add debian-6.1"
        );
        assert!(matches!(list(&lab)[0].condition, Condition::Damaged(_)));
        assert!(remove(&lab, "debian-6.1").unwrap().is_some());
        assert!(remove(&lab, "debian-6.1").unwrap().is_none());
        assert!(matches!(list(&lab)[0].condition, Condition::Absent));
    }

    #[test]
    fn trees_are_merged_but_files_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir_all(from.join("usr/src")).unwrap();
        fs::create_dir_all(to.join("usr/lib")).unwrap();
        fs::write(from.join("usr/src/file"), "1").unwrap();
        merge(&from, &to).unwrap();
        assert!(to.join("usr/src/file").exists() && to.join("usr/lib").exists());
        fs::create_dir_all(from.join("usr/src")).unwrap();
        fs::write(from.join("usr/src/file"), "2").unwrap();
        assert!(merge(&from, &to).is_err());
        // A link is not followed, even to a folder.
        std::os::unix::fs::symlink("/tmp", to.join("opt")).unwrap();
        fs::create_dir_all(from.join("opt/x")).unwrap();
        assert!(merge(&from, &to).is_err());
    }
}
