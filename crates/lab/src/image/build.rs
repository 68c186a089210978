// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::recipe::Recipe;
use crate::Lab;
use crate::apt;
use crate::build;
use crate::busybox;
use crate::cache::make_dir;
use crate::error::{Context, Error, Kind, Result};
use crate::initramfs;
use crate::kernel::{Config, unpack_image};
use crate::process::Program;

/// The folder of images in the cache.
const IMAGES: &str = "cloud-images";

/// How an image is made and kept: one that was made in another way is not used.
const FORM: u32 = 1;

const MANIFEST: &str = "image.json";
const DISK: &str = "disk.img";
const KERNEL: &str = "vmlinux";
const INITRAMFS: &str = "initramfs.cpio";

/// What an image takes at most while it is made, in bytes: its file system twice.
const SPACE: u64 = 4 << 30;

/// The size of the file system in bytes. Its file has holes where it is empty.
const DISK_SIZE: &str = "8G";

/// The longest that fetching and unpacking of all packages may take.
const PACKAGES_LIMIT: Duration = Duration::from_secs(60 * 60);

/// The longest that all other steps may take, each.
const STEP_LIMIT: Duration = Duration::from_secs(10 * 60);

/// An image in the cache: a disk, and what a machine with it is started with.
#[derive(Debug, Clone)]
pub struct Image {
    dir: PathBuf,
    manifest: Manifest,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Manifest {
    form: u32,
    name: String,
    release: String,
}

impl Image {
    /// The image of this name, if it was built.
    ///
    /// # Errors
    ///
    /// When it is there, but damaged.
    pub fn get(lab: &Lab, name: &str) -> Result<Option<Self>> {
        let dir = lab.cache.path(place(name));
        if !dir.exists() {
            return Ok(None);
        }
        let read = || -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
            let manifest: Manifest = serde_json::from_slice(&fs::read(dir.join(MANIFEST))?)?;
            if manifest.form != FORM {
                return Err("another version of vexlab made it".into());
            }
            let image = Self { dir: dir.clone(), manifest };
            for path in [image.disk(), image.kernel(), image.initramfs()] {
                fs::metadata(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            }
            Ok(image)
        };
        read().map(Some).map_err(|cause| {
            Error::lab(format!("the image {name} is damaged in the cache"))
                .with_source(cause)
                .with_remedy(format!("vexlab image remove {name} && vexlab image build {name}"))
        })
    }

    /// What the user calls it.
    pub fn name(&self) -> &str {
        &self.manifest.name
    }

    /// `uname -r` of its kernel.
    pub fn release(&self) -> &str {
        &self.manifest.release
    }

    /// Its disk: an ext4 file system, raw, with holes.
    pub fn disk(&self) -> PathBuf {
        self.dir.join(DISK)
    }

    /// Its kernel, an ELF file.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join(KERNEL)
    }

    /// What finds the disk.
    pub fn initramfs(&self) -> PathBuf {
        self.dir.join(INITRAMFS)
    }
}

fn place(name: &str) -> PathBuf {
    Path::new(IMAGES).join(name)
}

/// An image that can be had, and how it stands.
#[derive(Debug)]
pub struct Listed {
    /// What the user calls it.
    pub recipe: Recipe,
    /// The kernel's release and the bytes on disk, where it is here; the error where it is damaged.
    pub built: Result<Option<(String, u64)>>,
}

/// All images that can be had.
pub fn list(lab: &Lab) -> Vec<Listed> {
    let built = |recipe: &Recipe| {
        let image = Image::get(lab, recipe.name)?;
        Ok(image.map(|image| (image.release().to_owned(), size_on_disk(&image.dir))))
    };
    super::RECIPES.iter().map(|recipe| Listed { recipe: *recipe, built: built(recipe) }).collect()
}

/// Removes an image. Machines that run go on with the files that they have opened. Gives the bytes that are free
/// again, or nothing where it was not here.
///
/// # Errors
///
/// When there is no such image, or it can't be removed.
pub fn remove(lab: &Lab, name: &str) -> Result<Option<u64>> {
    Recipe::find(name)?;
    let _lock = lock(lab, name)?;
    let dir = lab.cache.path(place(name));
    if !dir.exists() {
        return Ok(None);
    }
    let freed = size_on_disk(&dir);
    let staging = lab.cache.staging()?;
    fs::rename(&dir, staging.path().join("image")).context(|| format!("move {}", dir.display()))?;
    Ok(Some(freed))
}

fn size_on_disk(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|entry| entry.metadata().ok()).map(|data| data.blocks() * 512).sum()
}

fn lock(lab: &Lab, name: &str) -> Result<crate::cache::Lock> {
    lab.cache.lock(&format!("image-{name}"), &lab.cancel)
}

/// Builds an image; one that is here already is given as it is.
///
/// # Errors
///
/// When there is no such recipe, a program is missing, the packages can't be had, or there is no space.
pub fn build(lab: &Lab, name: &str) -> Result<Image> {
    let recipe = Recipe::find(name)?;
    let _lock = lock(lab, name)?;
    if let Some(image) = Image::get(lab, name)? {
        return Ok(image);
    }
    let sources = apt::source_lines(recipe.suites)?;
    require_programs()?;
    lab.cache.require_space(SPACE, &format!("the image {name}"))?;
    make_dir(&lab.cache.path(IMAGES))?;
    let tree = Tree::new(lab, recipe)?;
    let staging = lab.cache.staging()?;
    let outside = staging.path().join("outside");
    make_dir(&outside)?;

    let root = tree.root().to_string_lossy().into_owned();
    let mut packages = vec!["mmdebstrap".to_owned()];
    let mode = if is_root() { "root" } else { "fakechroot" };
    packages.extend(recipe.mmdebstrap(mode, &sources, &root));
    step(lab, recipe, &tree, "fetching and unpacking its packages", packages, PACKAGES_LIMIT)?;
    let out = outside.to_string_lossy().into_owned();
    let script = recipe.finishing_script();
    let finish = ["sh", "-c", &script, "sh", &root, &out].map(str::to_owned).into();
    step(lab, recipe, &tree, "setting it up", finish, STEP_LIMIT)?;
    if recipe.has_rust {
        compile_library(lab, recipe, &tree, &Config::read(&outside.join("config"))?)?;
    }
    let disk = staging.path().join(DISK).to_string_lossy().into_owned();
    let make = ["mke2fs", "-q", "-t", "ext4", "-E", "root_owner=0:0", "-d", &root, &disk, DISK_SIZE];
    step(lab, recipe, &tree, "making its disk", make.map(str::to_owned).into(), STEP_LIMIT)?;
    drop(tree);

    finish_outside(lab, recipe, staging.path(), &outside)?;
    lab.cache.publish(staging, place(name))?;
    Image::get(lab, name)?
        .ok_or_else(|| Error::lab(format!("the image {name} was removed while it was built")))
}

/// Makes what a machine is started with from what the build has left outside of the disk.
fn finish_outside(lab: &Lab, recipe: &Recipe, dir: &Path, outside: &Path) -> Result<()> {
    let read = |name: &str| {
        let path = outside.join(name);
        fs::read(&path).context(|| format!("read {}", path.display()))
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.join(name);
        fs::write(&path, bytes).context(|| format!("write {}", path.display()))
    };
    let modules = outside.join("modules");
    let entries = fs::read_dir(&modules).context(|| format!("read {}", modules.display()))?;
    let mut modules: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    modules.sort();
    let config = Config::read(&outside.join("config"))?;
    let busybox = busybox::get(lab)?;
    write(INITRAMFS, &initramfs::to_disk(&busybox, &config, &modules)?)?;
    write(KERNEL, &unpack_image(&read("vmlinuz")?)?)?;
    let release = String::from_utf8_lossy(&read("release")?).trim().to_owned();
    let manifest = Manifest { form: FORM, name: recipe.name.to_owned(), release };
    let bytes = serde_json::to_vec(&manifest).context(|| "write a manifest".to_owned())?;
    write(MANIFEST, &bytes)?;
    fs::remove_dir_all(outside).context(|| format!("remove {}", outside.display()))
}

/// Compiles `core` and `alloc` for the image's kernel in its file system. Where that can't be done, its machines do it.
fn compile_library(lab: &Lab, recipe: &Recipe, tree: &Tree, config: &Config) -> Result<()> {
    let (root, script) = (tree.root().to_string_lossy().into_owned(), build::library_script(config));
    let command = ["chroot", &root, "sh", "-c", &script].map(str::to_owned).into();
    match step(lab, recipe, tree, "compiling Rust's core and alloc for its kernel", command, PACKAGES_LIMIT) {
        Err(error) if error.kind() == Kind::Interrupted => Err(error),
        Err(error) => {
            lab.note(&left_to_machines(recipe, &error));
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// What is told where an image has to do without a compiled library.
fn left_to_machines(recipe: &Recipe, error: &Error) -> String {
    let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
    format!(
        "the image {} has no compiled `core` and `alloc`, so each of its machines compiles them the first time, which \
         takes minutes: {}",
        recipe.name,
        cause.lines().last().unwrap_or_default()
    )
}

/// Runs one step of a build.
fn step(
    lab: &Lab,
    recipe: &Recipe,
    tree: &Tree,
    what: &str,
    command: Vec<String>,
    limit: Duration,
) -> Result<()> {
    lab.progress(&format!("building {}: {what}", recipe.name), 0, 0);
    let finished = tree.program(&command).merged().limit(limit).run(&lab.cancel);
    lab.progress_end();
    let finished = finished?;
    if finished.status.success() {
        return Ok(());
    }
    Err(failed(recipe, what, &finished.output))
}

/// The error for a step that failed, with the last things that it said.
fn failed(recipe: &Recipe, what: &str, output: &str) -> Error {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let errors: Vec<&str> =
        lines.iter().copied().filter(|line| line.starts_with("E:") || line.starts_with("W:")).collect();
    let said = if errors.is_empty() { lines } else { errors };
    let cause = said[said.len().saturating_sub(5)..].join("\n");
    let error = Error::lab(format!("building the image {} failed: {what}", recipe.name));
    let says = |words: &[&str]| words.iter().any(|word| output.contains(word));
    let remedy = if says(&["No space left", "enough free space"]) {
        "make space on that file system, then run the command again".to_owned()
    } else if says(&["Failed to fetch", "Could not resolve", "Unable to connect", "Temporary failure"]) {
        format!(
            "check that the mirror can be reached ({} names another), then run the command again",
            apt::MIRROR_VARIABLE
        )
    } else {
        return error.with_source(cause);
    };
    error.with_source(cause).with_remedy(remedy)
}

/// The folder in which an image's file system is put together. It has a fixed place, so that what a build has left
/// that was killed is found by the next.
struct Tree(PathBuf);

/// Starts the program that remembers owners, which puts itself into the background, and notes its number.
const FAKED: &str = r#"#!/bin/sh
said=$(faked-sysv "$@") || exit
echo "${said##*:}" >"${0%/*}/faked.pid"
echo "$said"
"#;

impl Tree {
    fn new(lab: &Lab, recipe: &Recipe) -> Result<Self> {
        let tree = Self(lab.cache.path(IMAGES).join(format!("{}.tree", recipe.name)));
        tree.clear();
        make_dir(&tree.0)?;
        // Who owns what, where that is only noted down.
        for (name, content, mode) in [("owners", "", 0o600), ("faked", FAKED, 0o700)] {
            let path = tree.0.join(name);
            let write = fs::write(&path, content)
                .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
            write.context(|| format!("write {}", path.display()))?;
        }
        Ok(tree)
    }

    /// The root of the image's file system.
    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    /// A program for which files have the owners that they are to have in the image. Run by root they have them.
    /// For others `fakeroot` remembers who they would be, and `fakechroot` has programs see the folder as the root:
    /// a user's range of identities would need `newuidmap`, which gets no privileges from a vexlab, as nothing does.
    fn program(&self, command: &[String]) -> Program {
        let place = |name: &str| self.0.join(name).to_string_lossy().into_owned();
        let (faked, owners) = (place("faked"), place("owners"));
        let as_root = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--"];
        let as_user = ["fakechroot", "fakeroot", "-f", &faked, "-i", &owners, "-s", &owners, "--"];
        let around: &[&str] = if is_root() { &as_root } else { &as_user };
        Program::new(around[0])
            .from_package("util-linux")
            .args(&around[1..])
            .args(command)
            // Of the machine that this runs on nothing is to be seen in an image.
            .env("LC_ALL", "C.UTF-8")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env("PATH", path())
            .env_remove("TMPDIR")
            // The kernel's package would have one made that nobody starts.
            .env("INITRD", "No")
    }

    fn clear(&self) {
        let number = fs::read_to_string(self.0.join("faked.pid")).unwrap_or_default();
        if let Some(number) = number.trim().parse().ok().and_then(rustix::process::Pid::from_raw)
            && let Ok(line) = fs::read(format!("/proc/{}/cmdline", number.as_raw_nonzero()))
            && String::from_utf8_lossy(&line).contains(&*self.0.to_string_lossy())
        {
            // It outlives what it was started for where that was killed.
            let _ = rustix::process::kill_process(number, rustix::process::Signal::KILL);
        }
        // What stays is in nobody's way, and the next build's to remove.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        self.clear();
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Where the programs of a build are: in the user's `PATH`, and where root's are, which it may lack.
fn path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/sbin:/sbin")
}

/// Looks for the programs that a build needs.
fn require_programs() -> Result<()> {
    let path = path();
    let needs = |name: &str, package: &str, why: &str| {
        if path.split(':').any(|dir| Path::new(dir).join(name).is_file()) {
            return Ok(());
        }
        Err(Error::lab(format!("{name} is not installed: {why}"))
            .with_remedy(format!("apt-get install --no-install-recommends {package}")))
    };
    needs("mmdebstrap", "mmdebstrap", "it makes a file system of Debian's packages")?;
    needs("mke2fs", "e2fsprogs", "it makes an image's disk")?;
    if !is_root() {
        let both = "fakechroot fakeroot";
        needs("fakechroot", both, "it takes the place of root when an image is built")?;
        needs("fakeroot", both, "it takes the place of root when an image is built")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn an_image_without_a_compiled_library_says_what_that_costs() {
        let recipe = Recipe::find("debian-13-rust").unwrap();
        let error = failed(recipe, "compiling Rust's core and alloc for its kernel", "cargo: not found\n");
        insta::assert_snapshot!(left_to_machines(recipe, &error), @"the image debian-13-rust has no compiled `core` and `alloc`, so each of its machines compiles them the first time, which takes minutes: cargo: not found");
    }

    #[test]
    fn a_failed_step_says_what_the_program_said_and_what_to_do() {
        let said = |output: &str| {
            let error = failed(&super::super::RECIPES[0], "fetching and unpacking its packages", output);
            format!("{error}\n{}\n{}", error.source().unwrap(), error.remedy().unwrap_or("-"))
        };
        insta::assert_snapshot!(said("I: fine\nE: Failed to fetch http://m/p.deb  404  Not Found\nE: mmdebstrap failed to run\n"), @r"
        building the image debian-12 failed: fetching and unpacking its packages
        E: Failed to fetch http://m/p.deb  404  Not Found
        E: mmdebstrap failed to run
        check that the mirror can be reached (VEXLAB_DEBIAN_MIRROR names another), then run the command again
        ");
        insta::assert_snapshot!(said("cp: error writing 'x': No space left on device\n"), @r"
        building the image debian-12 failed: fetching and unpacking its packages
        cp: error writing 'x': No space left on device
        make space on that file system, then run the command again
        ");
        insta::assert_snapshot!(said("something else\n"), @r"
        building the image debian-12 failed: fetching and unpacking its packages
        something else
        -
        ");
    }
}
