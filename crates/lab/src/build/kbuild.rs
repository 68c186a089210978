// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's own build system, run on a mirror of the project's sources.
//!
//! Kbuild writes beside its sources. The mirror, a folder of links, keeps the project clean and lets one
//! source be built for several kernels.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::fingerprint::{Fingerprint, Stamp};
use super::parts::Parts;
use super::sources::{is_leftover, is_source_dir};
use super::{Build, coverage, ktest};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Kind, Result};
use crate::kernel::Kernel;
use crate::process::{Finished, Program};
use crate::project;

/// A finished module.
pub(super) struct Made {
    /// With debug information.
    pub(super) module: PathBuf,
    /// Without.
    pub(super) stripped: PathBuf,
}

/// The make variable that tells a Kbuild file that the Rust object was left out on purpose.
pub(crate) const C_ONLY: &str = "VEXLAB_C_ONLY=y";

/// Compiles the C files and links the module, with the Rust object placed beside them.
pub(super) fn module(build: &Build<'_>, rust: Option<(&str, &Path)>) -> Result<Made> {
    let manifest = &build.project.manifest().module;
    let source_dir = build.project.module_dir()?;
    let root = build.project.root();
    let sources = sources(root)?;
    let mirror = build.dir.join("c");
    let relative = source_dir.strip_prefix(root).unwrap_or(Path::new(""));
    let mirrored_dir: PathBuf = mirror.join(relative).components().collect();
    let name = build.project.name();
    let made = Made { module: build.dir.join(format!("{name}.ko")), stripped: build.dir.join("stripped.ko") };

    let mut variables = ktest::make_variables(&build.project.output_dir(), build.options.tests);
    if build.options.coverage {
        coverage::link_too(build, &mut variables);
    }
    variables.extend(manifest.make.iter().cloned());
    if build.options.c_only {
        variables.push(C_ONLY.to_owned());
    }
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(kernel_identity(build.kernel)).text(variables.join("\0")).text(ktest::text());
    for path in sources.values() {
        fingerprint.file(path);
    }
    if let Some((object, path)) = rust {
        fingerprint.text(object).file(path);
    }
    let stamp = Stamp::new(build.dir.join("c-stamp"), fingerprint);
    if stamp.is_fresh(&[&made.module, &made.stripped]) {
        return Ok(made);
    }
    stamp.clear();

    let unfinished = Unfinished { mark: build.dir.join("c-unfinished"), mirror: &mirror };
    unfinished.clean()?;
    let extra = rust.map(|(object, _)| mirrored_dir.join(object));
    sync_mirror(&mirror, &sources, extra.as_deref())?;
    if let Some((object, path)) = rust {
        place_object(&mirrored_dir, object, path)?;
    }
    let what = format!("compiling {name} for {}", build.kernel.name());
    build.lab.progress(&what, 0, 0);
    unfinished.begin()?;
    let parts = Parts::new(build, &mirrored_dir, &variables, &sources);
    let finished = run_parts(build, parts.as_ref()).transpose();
    let finished = finished.unwrap_or_else(|| run_whole(build, &mirrored_dir, &variables, parts.as_ref()));
    build.lab.progress_end();
    let finished = finished?;
    unfinished.end();
    let output = compiler_output(&finished.output, &[(&mirrored_dir, &source_dir), (&mirror, root)]);
    if !finished.status.success() {
        let cause = build.options.coverage.then(|| coverage::cause(build, &output)).flatten();
        return Err(cause.unwrap_or_else(|| build.failed("the C build", output)));
    }
    build.warn(&output);
    let ko = mirrored_dir.join(format!("{name}.ko"));
    if !ko.is_file() {
        return Err(Error::new(
            Kind::Build,
            format!("the Kbuild file in {} makes no {name}.ko", source_dir.display()),
        )
        .with_remedy("set `name` under [module] in vexlab.toml to the NAME of its `obj-m := NAME.o`"));
    }
    fs::copy(&ko, &made.module).context(|| format!("copy {} to {}", ko.display(), made.module.display()))?;
    strip(build, &made)?;
    stamp.store()?;
    Ok(made)
}

/// Calls the parts of Kbuild as they were called before. Nothing where that isn't known, and where it fails: the top
/// Makefile is to say what is wrong.
fn run_parts(build: &Build<'_>, parts: Option<&Parts<'_>>) -> Result<Option<Finished>> {
    let Some(calls) = parts.and_then(Parts::kept) else { return Ok(None) };
    let mut whole: Option<Finished> = None;
    for call in calls {
        let finished = call.run(&build.lab.cancel)?;
        if !finished.status.success() {
            return Ok(None);
        }
        let before = whole.map(|before| before.output).unwrap_or_default();
        whole = Some(Finished { output: before + &finished.output, ..finished });
    }
    Ok(whole)
}

/// Calls the kernel's top Makefile, and keeps what it calls.
fn run_whole(
    build: &Build<'_>,
    dir: &Path,
    variables: &[String],
    parts: Option<&Parts<'_>>,
) -> Result<Finished> {
    let mut make = make(build, dir).args(variables);
    if let Some(parts) = parts {
        make = parts.watch(make)?;
    }
    let finished = make.args(["modules"]).run(&build.lab.cancel)?;
    if let Some(parts) = parts {
        // What it says of itself (that the compiler is not the kernel's, say) is to be said each time.
        let silent = compiler_output(&finished.output, &[]).is_empty();
        if finished.status.success() && silent { parts.keep() } else { parts.forget() }
    }
    Ok(finished)
}

/// A mark that stands as long as `make` runs. When that is killed, an object may be half written, or written and not
/// yet looked at by objtool, and would be newer than its source the next time.
struct Unfinished<'a> {
    mark: PathBuf,
    mirror: &'a Path,
}

impl Unfinished<'_> {
    /// Removes what was made since the mark was set, if it still stands.
    fn clean(&self) -> Result<()> {
        let Ok(since) = fs::metadata(&self.mark).and_then(|mark| mark.modified()) else { return Ok(()) };
        for entry in WalkDir::new(self.mirror).into_iter().flatten() {
            // The links to the sources are no files here.
            let made = entry.file_type().is_file().then(|| entry.metadata().ok()).flatten();
            if made.and_then(|data| data.modified().ok()).is_some_and(|time| time >= since) {
                fs::remove_file(entry.path()).context(|| format!("remove {}", entry.path().display()))?;
            }
        }
        self.end();
        Ok(())
    }

    fn begin(&self) -> Result<()> {
        fs::write(&self.mark, "").context(|| format!("write {}", self.mark.display()))
    }

    /// `make` has ended by itself: it leaves nothing half done.
    fn end(&self) {
        // Where it stays, more is made again than has to be.
        let _ = fs::remove_file(&self.mark);
    }
}

/// `make` for a folder of module sources, with nothing of the caller's environment that changes a build.
pub(super) fn make(build: &Build<'_>, dir: &Path) -> Program {
    let mut program = Program::new("make")
        .from_package("make")
        .args(["-s", "-C"])
        .args([build.kernel.build_dir()])
        .args([format!("M={}", dir.display()), format!("-j{}", jobs())])
        // The kernel's vmlinux, which module BTF is made against, is not part of the headers.
        .args(["CONFIG_DEBUG_INFO_BTF_MODULES="])
        .env("LC_ALL", "C")
        .merged()
        .limit(build.limit());
    for name in [
        "MAKEFLAGS",
        "MFLAGS",
        "MAKELEVEL",
        "MAKEFILES",
        "ARCH",
        "CROSS_COMPILE",
        "KCFLAGS",
        "KBUILD_OUTPUT",
        "O",
        "M",
    ] {
        program = program.env_remove(name);
    }
    let (mirror, root) = (build.dir.join("c"), build.project.root());
    let mut flags = ktest::compiler_flags(&build.project.output_dir(), build.options.tests);
    if build.options.coverage {
        flags.push_str(&coverage::compiler_flags(build));
    }
    program.env("KCFLAGS", format!("-ffile-prefix-map={}={} {flags}", mirror.display(), root.display()))
}

/// How many things `make` may do at once.
pub(super) fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// What of a kernel shapes a module that is built for it.
pub(super) fn kernel_identity(kernel: &Kernel) -> String {
    format!("{} {} {:?}", kernel.release(), kernel.build_dir().display(), kernel.packages())
}

/// What a compiler said, without make's own words, with files named as the user knows them.
pub(crate) fn compiler_output(output: &str, places: &[(&Path, &Path)]) -> String {
    let noise = |line: &&str| {
        let from_make = line.starts_with("make[") || line.starts_with("make: ");
        let missing = line.contains("No rule to make target");
        let skipped_btf = line.starts_with("Skipping BTF generation");
        (!from_make || missing) && !skipped_btf
    };
    let mut text = output.lines().filter(noise).collect::<Vec<_>>().join("\n");
    for (mirrored, original) in places {
        text = text.replace(&mirrored.display().to_string(), &original.display().to_string());
    }
    text
}

/// The project's files that a C build may read, which the one that describes it is not: relative path to absolute path.
pub(crate) fn sources(root: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut files = BTreeMap::new();
    for entry in WalkDir::new(root).into_iter().filter_entry(|entry| is_source_dir(root, entry)) {
        let entry = entry.context(|| format!("read the sources in {}", root.display()))?;
        let is_dir = fs::metadata(entry.path()).is_ok_and(|data| data.is_dir());
        if is_dir || is_leftover(entry.file_name()) || entry.path() == root.join(project::FILE) {
            continue;
        }
        if let Ok(relative) = entry.path().strip_prefix(root) {
            files.insert(relative.to_owned(), entry.path().to_owned());
        }
    }
    Ok(files)
}

/// Makes the mirror have a link for each source, and no link for anything else.
fn sync_mirror(mirror: &Path, sources: &BTreeMap<PathBuf, PathBuf>, keep: Option<&Path>) -> Result<()> {
    make_dir(mirror)?;
    for entry in WalkDir::new(mirror) {
        let entry = entry.context(|| format!("read {}", mirror.display()))?;
        let relative = entry.path().strip_prefix(mirror).unwrap_or(Path::new(""));
        let stale = entry.path_is_symlink() && !sources.contains_key(relative) && keep != Some(entry.path());
        if stale {
            fs::remove_file(entry.path()).context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    for (relative, original) in sources {
        let link = mirror.join(relative);
        if fs::read_link(&link).is_ok_and(|target| target == *original) {
            continue;
        }
        if let Some(parent) = link.parent() {
            make_dir(parent)?;
        }
        // What Kbuild made under this name before there was a source of that name.
        fs::remove_file(&link).ok();
        symlink(original, &link).context(|| format!("link {} to {}", link.display(), original.display()))?;
    }
    Ok(())
}

/// Puts the Rust object where Kbuild looks for it, with the `.cmd` file that Kbuild wants beside an object.
fn place_object(dir: &Path, name: &str, object: &Path) -> Result<()> {
    let place = dir.join(name);
    let unchanged = |a: &Path, b: &Path| matches!((fs::read(a), fs::read(b)), (Ok(a), Ok(b)) if a == b);
    if !unchanged(&place, object) {
        fs::remove_file(&place).ok();
        fs::copy(object, &place).context(|| format!("copy {} to {}", object.display(), place.display()))?;
    }
    let command = format!("cmd_{} := linked by vexlab\n", place.display());
    write_atomically(&dir.join(format!(".{name}.cmd")), command.as_bytes())
}

fn strip(build: &Build<'_>, made: &Made) -> Result<()> {
    let finished = Program::new("objcopy")
        .from_package("binutils")
        .args(["--strip-debug".as_ref(), made.module.as_os_str(), made.stripped.as_os_str()])
        .merged()
        .run(&build.lab.cancel)?;
    if finished.status.success() { Ok(()) } else { Err(build.failed("the stripping", finished.output)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_follows_the_sources() {
        let dir = tempfile::tempdir().unwrap();
        let (root, mirror) = (dir.path().join("project"), dir.path().join("mirror"));
        for (file, text) in [
            ("vexlab.toml", ""),
            ("a.c", "a"),
            (".a.c.swp", ""),
            ("sub/b.h", "b"),
            ("crate/Cargo.toml", ""),
            (".git/x", ""),
            ("target/y", ""),
        ] {
            make_dir(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
        let found = sources(&root).unwrap();
        assert_eq!(found.keys().map(|p| p.to_str().unwrap()).collect::<Vec<_>>(), ["a.c", "sub/b.h"]);
        sync_mirror(&mirror, &found, None).unwrap();
        fs::write(mirror.join("a.o"), "made").unwrap();
        assert_eq!(fs::read_to_string(mirror.join("sub/b.h")).unwrap(), "b");

        fs::remove_file(root.join("a.c")).unwrap();
        sync_mirror(&mirror, &sources(&root).unwrap(), None).unwrap();
        assert!(fs::symlink_metadata(mirror.join("a.c")).is_err());
        assert!(mirror.join("a.o").exists(), "what Kbuild made stays");
    }

    #[test]
    fn what_a_killed_make_has_made_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (mirror, source) = (dir.path().join("mirror"), dir.path().join("a.c"));
        fs::create_dir(&mirror).unwrap();
        let old = mirror.join("old.o");
        fs::write(&old, "").unwrap();
        let before = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
        fs::File::open(&old).unwrap().set_modified(before).unwrap();
        let unfinished = Unfinished { mark: dir.path().join("mark"), mirror: &mirror };
        let make = || {
            unfinished.begin().unwrap();
            fs::write(mirror.join("new.o"), "half").unwrap();
            fs::write(&source, "edited meanwhile").unwrap();
            symlink(&source, mirror.join("a.c")).ok();
        };
        make();
        unfinished.clean().unwrap();
        assert!(!mirror.join("new.o").exists() && old.exists() && mirror.join("a.c").exists());
        make();
        unfinished.end();
        unfinished.clean().unwrap();
        assert!(mirror.join("new.o").exists(), "a make that ended by itself has made whole files");
    }

    #[test]
    fn makes_own_words_are_left_out_and_files_are_named_as_the_user_knows_them() {
        let output = "make[2]: *** [scripts/Makefile.build:250: /m/c/a.o] Error 1\n/m/c/a.c:3:1: error: no\n";
        assert_eq!(compiler_output(output, &[(Path::new("/m/c"), Path::new("/p"))]), "/p/a.c:3:1: error: no");
        let missing = "make[2]: *** No rule to make target '/m/c/rust.o', needed by '/m/c/m.o'.  Stop.\n";
        assert!(compiler_output(missing, &[]).contains("rust.o"));
    }
}
