// SPDX-License-Identifier: GPL-2.0-only
//! cargo: from a crate to a static library for the kernel's target.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::fingerprint::{Fingerprint, Stamp};
use super::{Build, Options, ProofKey, TARGET, rust_flags};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::process::Program;
use crate::project::Rust;
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

/// Builds the crate, with `core` and `alloc`, for this kernel.
pub(super) fn library(build: &Build<'_>, manifest: &Rust, options: Options) -> Result<Library> {
    let crate_dir = build.project.root().join(&manifest.dir);
    if !crate_dir.join("Cargo.toml").is_file() {
        return Err(Error::usage(format!("the crate's folder {} has no Cargo.toml", crate_dir.display()))
            .with_remedy("set `crate` under [rust] in vexlab.toml to the folder that has it"));
    }
    let toolchain = toolchain::find(build.lab, &crate_dir)?;
    let flags = rust_flags(build.kernel.config());
    let key = proof_key(&build.project.output_dir().join("proof-key"))?;
    let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let arguments = cargo_arguments(manifest, options);

    let out = build.dir.join("rust");
    make_dir(&out)?;
    let stamp = |archive: Option<&Path>| {
        let mut fingerprint = Fingerprint::default();
        fingerprint.text(identity(&toolchain)).text(flags.join(" ")).text(arguments.join(" ")).text(&hex);
        for file in archive.into_iter().flat_map(|archive| sources(archive, &crate_dir)) {
            fingerprint.file(&file);
        }
        Stamp::new(out.join("stamp"), fingerprint)
    };
    let existing = find_archive(&out);
    if let Some(archive) = existing {
        let stamp = stamp(Some(&archive));
        if stamp.is_fresh(&[&archive]) {
            let fingerprint = stamp.into_fingerprint();
            return Ok(Library { archive, crate_dir, key, fingerprint });
        }
        stamp.clear();
    }

    // `core` and `alloc` are the same for every crate that is built with these flags: one folder serves all.
    let mut shared = Fingerprint::default();
    shared.text(identity(&toolchain)).text(flags.join(" "));
    let target_dir = build.lab.cache.path("cargo").join(&shared.finish()[..16]);
    let what = format!("compiling {} for {}", manifest.dir.display(), build.kernel.name());
    build.lab.progress(&what, 0, 0);
    let finished = Program::new(&toolchain.cargo)
        .env("RUSTC", &toolchain.rustc)
        // `-Z` flags are for nightly compilers, unless one is told that it may.
        .env("RUSTC_BOOTSTRAP", "1")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_BUILD_TARGET")
        .env_remove("RUSTUP_TOOLCHAIN")
        .args(&arguments)
        .args(["--artifact-dir".as_ref(), out.as_os_str()])
        .dir(&crate_dir)
        .env("CARGO_TARGET_DIR", &target_dir)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        // One profile for every crate: what a kernel needs is not the crate's to choose, and `core` and
        // `alloc` are then built once for all. Optimising across crates also does away with the
        // allocator's shim functions, of which objtool can't see that one never returns.
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env(KEY_VARIABLE, &hex)
        .merged()
        .limit(build.limit())
        .run(&build.lab.cancel);
    build.lab.progress_end();
    let finished = finished?;
    if !finished.status.success() {
        return Err(build.failed("the Rust build", finished.output));
    }
    build.warn(&finished.output);
    keep_dep_info(&target_dir, &out, &crate_dir);
    let archive = find_archive(&out).ok_or_else(|| {
        Error::usage(format!("the crate in {} gives no static library", crate_dir.display()))
            .with_remedy("put `crate-type = [\"staticlib\"]` under [lib] in its Cargo.toml")
    })?;
    let stamp = stamp(Some(&archive));
    stamp.store()?;
    let fingerprint = stamp.into_fingerprint();
    Ok(Library { archive, crate_dir, key, fingerprint })
}

/// What of the compiler shapes what it makes.
fn identity(toolchain: &RustToolchain) -> String {
    format!("{} {} {}", toolchain.version, toolchain.commit, toolchain.rustc.display())
}

/// What a crate depends on has the lines of its code in its debug information, and nothing else.
const LIBRARIES: &str = "profile.release.package.'*'.debug = 'line-tables-only'";

fn cargo_arguments(manifest: &Rust, options: Options) -> Vec<String> {
    let mut arguments: Vec<String> =
        ["build", "--release", "--quiet", "--color=never"].map(str::to_owned).to_vec();
    arguments.extend(["-Zbuild-std=core,alloc", "-Zunstable-options", "--target", TARGET].map(str::to_owned));
    // Where no header is compared with the crate, its debug information is to be: that has the types of its
    // functions.
    let debug = if manifest.header.is_some() { "line-tables-only" } else { "full" };
    arguments.extend(["--config".to_owned(), format!("profile.release.debug = '{debug}'")]);
    arguments.extend(["--config", LIBRARIES].map(str::to_owned));
    if let Some(package) = &manifest.package {
        arguments.extend(["--package".to_owned(), package.clone()]);
    }
    let mut features = manifest.features.clone();
    if options.minimal {
        features = vec![MINIMAL.to_owned()];
    }
    if options.minimal || !manifest.default_features {
        arguments.push("--no-default-features".to_owned());
    }
    if !features.is_empty() {
        arguments.extend(["--features".to_owned(), features.join(",")]);
    }
    arguments
}

/// Copies cargo's list of the archive's sources beside the archive. When another project that shares the
/// folder has replaced it meanwhile, there is none, and cargo is asked again next time.
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
fn proof_key(path: &Path) -> Result<ProofKey> {
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
        let all = cargo_arguments(&manifest, Options::default()).join(" ");
        assert!(all.ends_with("--features a,b"), "{all}");
        let minimal = cargo_arguments(&manifest, Options { minimal: true, c_only: false }).join(" ");
        assert!(minimal.ends_with("--no-default-features --features kernel-minimal"), "{minimal}");
    }
}
