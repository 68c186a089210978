// SPDX-License-Identifier: GPL-2.0-only
//! cargo: from a crate to a static library for the kernel's target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::fingerprint::{Fingerprint, Stamp};
use super::{Build, Options, ProofKey, TARGET, coverage, ktest, rust_flags};
use crate::cache::{Lock, make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::process::Program;
use crate::project::{Project, Rust};
use crate::toolchain::{self, RustToolchain};

/// The cargo feature that gives the smallest object.
const MINIMAL: &str = "kernel-minimal";

/// The variable through which the crate gets its key.
const KEY_VARIABLE: &str = "VEXLAB_PROOF_KEY";

/// The file in which cargo writes down the versions that it has chosen.
pub(crate) const LOCK: &str = "Cargo.lock";

/// A built static library.
pub(super) struct Library {
    /// The archive, `libNAME.a`.
    pub(super) archive: PathBuf,
    /// The crate's folder.
    pub(super) crate_dir: PathBuf,
    /// The key in it.
    pub(super) key: ProofKey,
    /// What it was made from.
    pub(super) fingerprint: String,
}

/// The crate, and all that decides what is made of it.
pub(super) struct Crate<'a> {
    build: &'a Build<'a>,
    /// Its folder.
    pub(super) dir: PathBuf,
    /// As the project's manifest names it.
    name: &'a Path,
    toolchain: RustToolchain,
    flags: Vec<String>,
    arguments: Vec<String>,
    key: ProofKey,
    /// Where its archive goes.
    out: PathBuf,
}

impl<'a> Crate<'a> {
    /// Finds the crate and its compiler.
    pub(super) fn find(build: &'a Build<'a>, manifest: &'a Rust) -> Result<Self> {
        let dir = crate_dir(build.project, manifest)?;
        let out = build.dir.join("rust");
        make_dir(&out)?;
        Ok(Self {
            build,
            name: &manifest.dir,
            toolchain: toolchain::find(build.lab, &dir)?,
            flags: rust_flags(build.kernel.config()),
            arguments: cargo_arguments(manifest, build.options, ktest::feature(&dir, build.options.tests)),
            key: proof_key(&build.project.output_dir().join("proof-key"))?,
            dir,
            out,
        })
    }

    /// The library as it was built before, if nothing has changed since.
    pub(super) fn fresh(&self) -> Option<Library> {
        let archive = find_archive(&self.out)?;
        let stamp = self.stamp(&sources(&archive, &self.dir), true);
        stamp.is_fresh(&[&archive]).then(|| self.library(archive, stamp))
    }

    /// Builds the library, with `core` and `alloc`, for this kernel.
    pub(super) fn build(&self) -> Result<Library> {
        if find_archive(&self.out).is_some() {
            self.stamp(&BTreeSet::new(), true).clear();
        }
        let started = SystemTime::now();
        let (build, target_dir) = (self.build, self.target_dir());
        let what = format!("compiling {} for {}", self.name.display(), build.kernel.name());
        build.lab.progress(&what, 0, 0);
        let finished = self.own(&target_dir).and_then(|turn| {
            let finished = self.cargo(&target_dir)?.run(&build.lab.cancel);
            keep_dep_info(&target_dir, &self.out, &self.dir);
            drop(turn);
            finished
        });
        build.lab.progress_end();
        let finished = finished?;
        if !finished.status.success() {
            return Err(build.failed("the Rust build", finished.output));
        }
        build.warn(&finished.output);
        let archive = find_archive(&self.out).ok_or_else(|| {
            Error::usage(format!("the crate in {} gives no static library", self.dir.display()))
                .with_remedy("put `crate-type = [\"staticlib\"]` under [lib] in its Cargo.toml")
        })?;
        let sources = sources(&archive, &self.dir);
        // A source that was saved while it was compiled may or may not be in the library.
        let settled = !sources.iter().any(|source| changed_since(source, started));
        let stamp = self.stamp(&sources, settled);
        if settled {
            stamp.store()?;
        }
        Ok(self.library(archive, stamp))
    }

    fn library(&self, archive: PathBuf, stamp: Stamp) -> Library {
        Library { archive, crate_dir: self.dir.clone(), key: self.key, fingerprint: stamp.into_fingerprint() }
    }

    /// Of what the library is made from, and whether all of that stayed the same meanwhile.
    fn stamp(&self, sources: &BTreeSet<PathBuf>, settled: bool) -> Stamp {
        let mut fingerprint = Fingerprint::default();
        fingerprint.text(identity(&self.toolchain)).text(self.flags.join(" ")).text(self.arguments.join(" "));
        fingerprint.text(key_text(&self.key));
        if self.build.options.coverage {
            fingerprint.text(coverage::rust_text());
        }
        for file in sources {
            fingerprint.file(file);
        }
        if !settled {
            fingerprint.text("changed while it was compiled");
        }
        Stamp::new(self.out.join("stamp"), fingerprint)
    }

    /// `core` and `alloc` are the same for every crate that is built with these flags: one folder serves all.
    fn target_dir(&self) -> PathBuf {
        let mut shared = Fingerprint::default();
        shared.text(identity(&self.toolchain)).text(self.flags.join(" "));
        self.build.lab.cache.path("cargo").join(&shared.finish()[..16])
    }

    /// Has the folder to this project alone, as long as the value is there. To cargo, two workspaces at different places
    /// are one if their packages have the same names: whichever was compiled last would count as the other one's, as
    /// long as its files are the newer ones. So what cargo knows of another project's packages is forgotten.
    fn own(&self, target_dir: &Path) -> Result<Lock> {
        let name = target_dir.file_name().unwrap_or_default().to_string_lossy();
        let turn = self.build.lab.cache.lock(&format!("cargo-{name}"), &self.build.lab.cancel)?;
        make_dir(target_dir)?;
        let (owner, mut ours) = (target_dir.join("owner"), self.dir.as_os_str().as_encoded_bytes().to_vec());
        // cargo doesn't know that what is compiled for coverage is another thing.
        if self.build.options.coverage {
            ours.extend(b"\nfor coverage");
        }
        if fs::read(&owner).is_ok_and(|owner| owner == ours) {
            return Ok(turn);
        }
        for known in
            ["release", "x86_64-unknown-none/release"].map(|dir| target_dir.join(dir).join(".fingerprint"))
        {
            for entry in fs::read_dir(known).into_iter().flatten().flatten() {
                if !is_library(&entry.file_name().to_string_lossy()) {
                    let what = || format!("remove {}", entry.path().display());
                    fs::remove_dir_all(entry.path()).context(what)?;
                }
            }
        }
        write_atomically(&owner, &ours)?;
        Ok(turn)
    }

    fn cargo(&self, target_dir: &Path) -> Result<Program> {
        let mut program = Program::new(&self.toolchain.cargo);
        if self.build.options.coverage {
            program = program.env("RUSTC_WRAPPER", coverage::rust_stand_in(self.build)?);
        }
        let settings = settings(&self.flags, &self.key);
        let program = settings.into_iter().fold(program, |program, (name, value)| program.env(name, value));
        Ok(program
            .env("RUSTC", &self.toolchain.rustc)
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO_BUILD_TARGET")
            .env_remove("RUSTUP_TOOLCHAIN")
            .args(&self.arguments)
            .args(["--artifact-dir".as_ref(), self.out.as_os_str()])
            .dir(&self.dir)
            .env("CARGO_TARGET_DIR", target_dir)
            .merged()
            .limit(self.build.limit()))
    }
}

/// The folder of a project's crate.
pub(super) fn crate_dir(project: &Project, manifest: &Rust) -> Result<PathBuf> {
    let dir = project.root().join(&manifest.dir);
    if dir.join("Cargo.toml").is_file() {
        return Ok(dir);
    }
    Err(Error::usage(format!("the crate's folder {} has no Cargo.toml", dir.display()))
        .with_remedy("set `crate` under [rust] in vexlab.toml to the folder that has it"))
}

/// What cargo is told in its environment, wherever it runs.
pub(super) fn settings(flags: &[String], key: &ProofKey) -> [(&'static str, String); 6] {
    [
        // `-Z` flags are for nightly compilers, unless one is told that it may.
        ("RUSTC_BOOTSTRAP", "1".to_owned()),
        ("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")),
        // One profile for every crate: what a kernel needs is not the crate's to choose, and `core` and
        // `alloc` are then built once for all. Optimising across crates also does away with the
        // allocator's shim functions, of which objtool can't see that one never returns.
        ("CARGO_PROFILE_RELEASE_PANIC", "abort".to_owned()),
        ("CARGO_PROFILE_RELEASE_LTO", "fat".to_owned()),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1".to_owned()),
        (KEY_VARIABLE, key_text(key)),
    ]
}

fn key_text(key: &ProofKey) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether cargo means by this name one of the libraries that are the same for all: `core-0123456789abcdef`.
fn is_library(unit: &str) -> bool {
    STANDARD.iter().any(|library| {
        let hash = unit.strip_prefix(library).and_then(|rest| rest.strip_prefix('-'));
        hash.is_some_and(|hash| hash.len() == 16 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
    })
}

/// How far behind the time of a change may be: the clock of file systems ticks with the kernel.
const TICK: Duration = Duration::from_millis(10);

/// Whether a file may have changed at this time or later.
fn changed_since(file: &Path, time: SystemTime) -> bool {
    let changed = fs::metadata(file).and_then(|data| data.modified());
    changed.is_ok_and(|changed| changed + TICK >= time)
}

/// What of the compiler shapes what it makes.
fn identity(toolchain: &RustToolchain) -> String {
    format!("{} {} {}", toolchain.version, toolchain.commit, toolchain.rustc.display())
}

/// What a crate depends on has the lines of its code in its debug information, and nothing else.
const LIBRARIES: &str = "profile.release.package.'*'.debug = 'line-tables-only'";

/// What comes with the compiler is compiled as it is for programs, whatever a crate wants for itself: once for all, and
/// without checks of its arithmetic. What it computes for a caller (`Add`, `sum()`) is checked if the caller's is.
const STANDARD: [&str; 3] = ["core", "alloc", "compiler_builtins"];

/// What cargo is told whatever it compiles.
pub(super) fn common_arguments() -> Vec<String> {
    let mut arguments: Vec<String> =
        ["build", "--release", "--quiet", "--color=never"].map(str::to_owned).to_vec();
    arguments.extend(["-Zbuild-std=core,alloc", "-Zunstable-options", "--target", TARGET].map(str::to_owned));
    arguments.extend(["--config", LIBRARIES].map(str::to_owned));
    for package in STANDARD {
        for setting in ["opt-level = 3", "overflow-checks = false"] {
            arguments.extend(["--config".to_owned(), format!("profile.release.package.{package}.{setting}")]);
        }
    }
    arguments
}

/// `tests` is the feature that has the tests, if they are to be built.
pub(super) fn cargo_arguments(manifest: &Rust, options: Options, tests: Option<&str>) -> Vec<String> {
    let mut arguments = common_arguments();
    // Where no header is compared with the crate, its debug information is to be: that has the types of its
    // functions.
    let debug = if manifest.header.is_some() { "line-tables-only" } else { "full" };
    arguments.extend(["--config".to_owned(), format!("profile.release.debug = '{debug}'")]);
    if let Some(package) = &manifest.package {
        arguments.extend(["--package".to_owned(), package.clone()]);
    }
    let mut features = manifest.features.clone();
    if options.minimal {
        features = vec![MINIMAL.to_owned()];
    }
    features.extend(tests.map(str::to_owned));
    if options.minimal || !manifest.default_features {
        arguments.push("--no-default-features".to_owned());
    }
    if !features.is_empty() {
        arguments.extend(["--features".to_owned(), features.join(",")]);
    }
    arguments
}

/// Copies cargo's list of the archive's sources beside the archive.
fn keep_dep_info(target_dir: &Path, out: &Path, crate_dir: &Path) {
    let Some(archive) = find_archive(out) else { return };
    let list = archive.with_extension("d");
    let Some(name) = list.file_name() else { return };
    let text = fs::read_to_string(target_dir.join(TARGET).join("release").join(name)).unwrap_or_default();
    let ours = text.replace("\\ ", " ").contains(&crate_dir.display().to_string());
    // Without the list the archive counts as made from nothing known.
    let _ = if ours { fs::write(&list, text) } else { fs::remove_file(&list) };
}

/// The one `lib*.a` in a folder.
pub(super) fn find_archive(dir: &Path) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| path.extension().is_some_and(|e| e == "a"))
}

/// The files that cargo says the archive was made from, with the manifests beside and above them.
fn sources(archive: &Path, crate_dir: &Path) -> BTreeSet<PathBuf> {
    let mut files = listed(archive);
    files.extend(manifests(&files, crate_dir));
    files
}

/// The files that cargo says the archive was made from.
pub(super) fn listed(archive: &Path) -> BTreeSet<PathBuf> {
    let mut files = BTreeSet::new();
    let dep_info = fs::read_to_string(archive.with_extension("d")).unwrap_or_default();
    for line in dep_info.lines() {
        let Some((_, sources)) = line.split_once(": ") else { continue };
        // A space in a name is written `\ `.
        let sources = sources.replace("\\ ", "\0");
        files.extend(sources.split_whitespace().map(|name| PathBuf::from(name.replace('\0', " "))));
    }
    files
}

/// Where manifests of cargo's may be that a crate in this folder, with these files, is made by.
pub(super) fn manifests(files: &BTreeSet<PathBuf>, crate_dir: &Path) -> BTreeSet<PathBuf> {
    let mut folders: BTreeSet<PathBuf> =
        files.iter().filter_map(|f| f.parent().map(Path::to_owned)).collect();
    folders.insert(crate_dir.join("src"));
    let above: BTreeSet<PathBuf> =
        folders.iter().flat_map(|d| d.ancestors().take(6)).map(Path::to_owned).collect();
    let names = ["Cargo.toml", LOCK, "build.rs", ".cargo/config.toml", "rust-toolchain.toml"];
    above.iter().flat_map(|folder| names.map(|name| folder.join(name))).collect()
}

/// The project's key: made once, 128 random bits.
pub(super) fn proof_key(path: &Path) -> Result<ProofKey> {
    if let Ok(bytes) = fs::read(path)
        && let Ok(key) = ProofKey::try_from(bytes.as_slice())
    {
        return Ok(key);
    }
    let key = crate::random_bytes().context(|| "read random bytes for the proof key".to_owned())?;
    write_atomically(path, &key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_those_that_cargo_lists_and_the_manifests_around_them() {
        let dir = tempfile::tempdir().unwrap();
        let archive = dir.path().join("libx.a");
        fs::write(dir.path().join("libx.d"), "/t/libx.a: /p/a\\ b/src/lib.rs /p/c/src/lib.rs\n").unwrap();
        let files = sources(&archive, Path::new("/p/c"));
        for file in ["/p/a b/src/lib.rs", "/p/c/src/lib.rs", "/p/a b/Cargo.toml", "/p/c/Cargo.lock"] {
            assert!(files.contains(Path::new(file)), "{file}");
        }
    }

    #[test]
    fn a_source_saved_while_it_was_compiled_has_changed() {
        let source = tempfile::NamedTempFile::new().unwrap();
        let saved = fs::metadata(source.path()).unwrap().modified().unwrap();
        assert!(changed_since(source.path(), saved));
        assert!(!changed_since(source.path(), saved + 2 * TICK));
        assert!(!changed_since(Path::new("/nonexistent"), saved), "no manifest is there");
    }

    #[test]
    fn the_key_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let key = proof_key(&path).unwrap();
        assert_ne!(key, [0; 16]);
        assert_eq!(proof_key(&path).unwrap(), key);
        fs::write(&path, "short").unwrap();
        assert_ne!(proof_key(&path).unwrap(), key, "a damaged key is replaced");
    }

    #[test]
    fn minimal_means_only_that_feature() {
        let manifest: Rust = toml::from_str("crate = \"c\"\nfeatures = [\"a\", \"b\"]\n").unwrap();
        let all = cargo_arguments(&manifest, Options::default(), None).join(" ");
        assert!(all.ends_with("--features a,b"), "{all}");
        let options = Options { minimal: true, ..Options::default() };
        let minimal = cargo_arguments(&manifest, options, None).join(" ");
        assert!(minimal.ends_with("--no-default-features --features kernel-minimal"), "{minimal}");
        let tested = cargo_arguments(&manifest, options, Some("ktest")).join(" ");
        assert!(tested.ends_with("--features kernel-minimal,ktest"), "{tested}");
    }
}
