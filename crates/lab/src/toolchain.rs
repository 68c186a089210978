// SPDX-License-Identifier: GPL-2.0-only
//! The Rust compiler that a project uses, with the source of `core` and `alloc`, which are built for the
//! kernel along with the module.
//!
//! Where the toolchain has no such source and it can't be added (rustup's servers can't be reached, or the
//! compiler is not from rustup), Debian's `rust-src` of exactly the same version stands in. The toolchain
//! itself is never changed: a folder of links in the cache, the same but for the source, is the sysroot that
//! a wrapper hands to the compiler.

mod remembered;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Lab;
use crate::apt::{self, Archive, Package, Suites};
use crate::cache::{Staging, make_dir};
use crate::error::{Context, Error, Result};
use crate::process::Program;

use remembered::{Answer, Question};

/// Where the source of the library is in a sysroot.
pub(crate) const LIBRARY: &str = "lib/rustlib/src/rust/library";

/// Where `rust-src` is looked for, in this order.
const SUITES: [Suites; 5] =
    [apt::TRIXIE_BACKPORTS, apt::BOOKWORM_BACKPORTS, apt::TRIXIE, apt::FORKY, apt::SID];

const REMEDY: &str = "rustup component add rust-src";

/// A Rust compiler that can build `core` and `alloc` for a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RustToolchain {
    /// The compiler, for cargo's `RUSTC`: it finds the library's source.
    pub rustc: PathBuf,
    /// The cargo that belongs to it.
    pub cargo: PathBuf,
    /// Its version: `1.95.0`.
    pub version: String,
    /// The commit it was built from; `unknown` where its builder didn't say.
    pub commit: String,
    /// The sysroot that `rustc` uses: `lib/rustlib/src/rust/library` is there.
    pub sysroot: PathBuf,
}

/// The toolchain that is in effect in a folder (`RUSTC`, `rust-toolchain.toml`, overrides of rustup), with the
/// library's source, which is fetched if it has none.
///
/// # Errors
///
/// When there is no compiler there, or the source of its version can't be had.
pub fn find(lab: &Lab, dir: &Path) -> Result<RustToolchain> {
    let rustc = std::env::var_os("RUSTC").map_or_else(|| PathBuf::from("rustc"), PathBuf::from);
    let question = Question::new(&rustc, dir);
    let answer = match question.as_ref().and_then(|question| question.answer(lab)) {
        Some(remembered) => remembered,
        None => {
            let answer = inquire(lab, &rustc, dir)?;
            if let Some(question) = question {
                question.keep(lab, &answer);
            }
            answer
        }
    };
    let Answer { sysroot, version, commit } = answer;
    let real = real(&sysroot, &rustc);
    let cargo = sysroot.join("bin/cargo");
    let cargo = if cargo.is_file() { cargo } else { PathBuf::from("cargo") };
    if has_library(&sysroot) {
        return Ok(RustToolchain { rustc: real, cargo, version, commit, sysroot });
    }
    let place = PathBuf::from("rust").join(key(&version, &commit, &sysroot));
    let shadow = lab.cache.path(&place);
    if !has_library(&shadow.join("sysroot")) {
        let library = library(lab, &version)?;
        let _lock = lab.cache.lock("rust", &lab.cancel)?;
        if !has_library(&shadow.join("sysroot")) {
            let staging = make_shadow(lab, &real, &sysroot, &shadow, &library)?;
            // A shadow whose source is gone is in the way of a new one.
            if shadow.exists() {
                fs::remove_dir_all(&shadow).context(|| format!("remove {}", shadow.display()))?;
            }
            lab.cache.publish(staging, &place)?;
        }
    }
    Ok(RustToolchain { rustc: shadow.join("rustc"), cargo, version, commit, sysroot: shadow.join("sysroot") })
}

/// Asks the compiler where and which it is.
fn inquire(lab: &Lab, rustc: &Path, dir: &Path) -> Result<Answer> {
    let sysroot = PathBuf::from(ask(lab, rustc, &["--print", "sysroot"], dir)?.trim());
    let (version, commit) = parse_version(&ask(lab, &real(&sysroot, rustc), &["-vV"], dir)?)?;
    Ok(Answer { sysroot, version, commit })
}

/// The compiler itself, which starts faster than rustup's stand-in for it.
fn real(sysroot: &Path, rustc: &Path) -> PathBuf {
    let real = sysroot.join("bin/rustc");
    if real.is_file() { real } else { rustc.to_owned() }
}

fn has_library(sysroot: &Path) -> bool {
    sysroot.join(LIBRARY).join("Cargo.lock").is_file()
}

/// Runs the compiler and answers with what it prints.
fn ask(lab: &Lab, rustc: &Path, arguments: &[&str], dir: &Path) -> Result<String> {
    let finished =
        Program::new(rustc).args(arguments).dir(dir).run(&lab.cancel).map_err(|error| {
            match error.kind() {
                crate::error::Kind::Interrupted => error,
                _ => error.with_remedy("install Rust (https://rustup.rs), or put rustc on PATH"),
            }
        })?;
    if finished.status.success() {
        return Ok(finished.output);
    }
    let command = format!("{} {} in {}", rustc.display(), arguments.join(" "), dir.display());
    Err(Error::lab(format!("{command} failed")).with_source(finished.errors.trim().to_owned()))
}

/// Version and commit from what `rustc -vV` prints.
pub(crate) fn parse_version(text: &str) -> Result<(String, String)> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let version = field("release:")
        .filter(|v| v.chars().all(|c| c.is_ascii_alphanumeric() || ".-+".contains(c)))
        .filter(|v| v.starts_with(|c: char| c.is_ascii_digit()))
        .ok_or_else(|| Error::lab("rustc -vV names no release").with_source(text.trim().to_owned()))?;
    Ok((version.to_owned(), field("commit-hash:").unwrap_or("unknown").to_owned()))
}

/// The name of a shadow in the cache: another compiler, or one in another place, has another.
fn key(version: &str, commit: &str, sysroot: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(commit);
    hash.update("\0");
    hash.update(sysroot.as_os_str().as_encoded_bytes());
    let hash: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{version}-{hash}")
}

/// The source of the library of this version, in the cache; fetched if it isn't there.
fn library(lab: &Lab, version: &str) -> Result<PathBuf> {
    let place = PathBuf::from("rust").join(format!("source-{version}"));
    let library = lab.cache.path(&place).join("library");
    if library.is_dir() {
        return Ok(library);
    }
    let _lock = lab.cache.lock("rust-source", &lab.cancel)?;
    if library.is_dir() {
        return Ok(library);
    }
    let unpacked = lab.cache.staging()?;
    let downloads = lab.cache.staging()?;
    let (archive, package, deb) = fetch(lab, version, downloads.path())?;
    lab.progress(&format!("unpacking rust-src {version}"), 0, 0);
    let result = apt::unpack(lab, &deb, unpacked.path());
    lab.progress_end();
    result?;
    let staging = lab.cache.staging()?;
    let found = unpacked.path().join(format!("usr/src/rustc-{version}/library"));
    let linked = unpacked.path().join("usr").join(LIBRARY);
    let found = if found.is_dir() { found } else { linked };
    let found = fs::canonicalize(&found).ok().filter(|path| path.join("Cargo.lock").is_file());
    let found = found.ok_or_else(|| {
        Error::lab(format!("the package rust-src {} has no library/Cargo.lock", package.version))
            .with_remedy(REMEDY)
    })?;
    fs::rename(&found, staging.path().join("library"))
        .context(|| format!("move {} in the cache", found.display()))?;
    lab.cache.publish(staging, &place)?;
    archive.forget(&[package]);
    Ok(library)
}

/// `rust-src` of this version, from the first suite that has it, fetched into a folder.
fn fetch<'a>(lab: &'a Lab, version: &str, dir: &Path) -> Result<(Archive<'a>, Package, PathBuf)> {
    for suites in SUITES {
        let archive = Archive::open(lab, suites)?;
        let found = archive.with_lists("rust-src", || {
            let all = archive.versions(&["rust-src"])?.remove("rust-src").unwrap_or_default();
            let Some(package) = all.into_iter().find(|p| is_of_version(&p.version, version)) else {
                return Ok(None);
            };
            let deb = archive.fetch(std::slice::from_ref(&package), dir)?.remove(0);
            Ok(Some((package, deb)))
        });
        let found = found.map_err(|error| {
            let remedy = error.remedy().map_or(REMEDY.to_owned(), |remedy| format!("{remedy}; or: {REMEDY}"));
            error.with_remedy(remedy)
        });
        if let Some((package, deb)) = found? {
            return Ok((archive, package, deb));
        }
    }
    let suites = SUITES.map(|suites| suites.name).join(", ");
    Err(Error::lab(format!(
        "rustc {version} comes without its library's source, and Debian has no rust-src {version} \
         (looked in {suites})"
    ))
    .with_remedy(REMEDY))
}

/// Whether a version of Debian's (`1.95.0+dfsg1-1~bpo13+1`) is one of this version of Rust's.
fn is_of_version(debian: &str, version: &str) -> bool {
    debian.strip_prefix(version).is_some_and(|rest| rest.starts_with(['+', '-']))
}

/// Makes what is to be the folder `shadow`: `sysroot`, links to all of the real one, with the library's
/// source; and `rustc`, which uses it.
fn make_shadow(lab: &Lab, rustc: &Path, real: &Path, shadow: &Path, library: &Path) -> Result<Staging> {
    let staging = lab.cache.staging()?;
    let sysroot = staging.path().join("sysroot");
    let mut from = real.to_owned();
    let mut to = sysroot;
    // Down to the source, each folder is a real one, full of links.
    for part in Path::new(LIBRARY).parent().into_iter().flat_map(Path::components) {
        make_dir(&to)?;
        link_all_but(part.as_os_str(), &from, &to)?;
        from.push(part);
        to.push(part);
    }
    make_dir(&to)?;
    link(library, &to.join("library"))?;
    let wrapper = staging.path().join("rustc");
    let script =
        format!("#!/bin/sh\nexec {} --sysroot {} \"$@\"\n", quoted(rustc)?, quoted(&shadow.join("sysroot"))?);
    let write = || {
        fs::write(&wrapper, script)?;
        fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))
    };
    write().context(|| format!("write {}", wrapper.display()))?;
    Ok(staging)
}

/// Makes links in `to` to all that is in `from`, if that is a folder, but for one name.
fn link_all_but(name: &std::ffi::OsStr, from: &Path, to: &Path) -> Result<()> {
    if !from.is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(from).context(|| format!("read {}", from.display()))? {
        let entry = entry.context(|| format!("read {}", from.display()))?.file_name();
        if entry != name {
            link(&from.join(&entry), &to.join(&entry))?;
        }
    }
    Ok(())
}

fn link(target: &Path, place: &Path) -> Result<()> {
    symlink(target, place).context(|| format!("make the link {}", place.display()))
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> Result<String> {
    let text = path.to_str().ok_or_else(|| Error::lab(format!("{} is not UTF-8", path.display())))?;
    Ok(format!("'{}'", text.replace('\'', r"'\''")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_and_commit_are_read() {
        let text = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\ncommit-hash: 5980\nrelease: 1.95.0\n";
        assert_eq!(parse_version(text).unwrap(), ("1.95.0".to_owned(), "5980".to_owned()));
        assert_eq!(parse_version("release: 1.85.1\n").unwrap().1, "unknown");
        insta::assert_snapshot!(parse_version("clang\n").unwrap_err(), @"rustc -vV names no release");
        assert!(parse_version("release: ../..\n").is_err());
    }

    #[test]
    fn only_the_same_version_of_debians_will_do() {
        assert!(is_of_version("1.95.0+dfsg1-1~bpo13+1", "1.95.0"));
        assert!(is_of_version("1.95.0-1", "1.95.0"));
        assert!(!is_of_version("1.95.01+dfsg1-1", "1.95.0"));
        assert!(!is_of_version("1.94.1+dfsg1-1", "1.95.0"));
        assert!(!is_of_version("1.95.0~beta.3+dfsg1-1", "1.95.0"));
    }

    #[test]
    fn a_shadow_has_all_of_the_sysroot_and_the_source() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        for file in
            ["bin/rustc", "lib/librustc.so", "lib/rustlib/x86/lib/libcore.rlib", "lib/rustlib/src/old"]
        {
            let file = real.join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "").unwrap();
        }
        let source = dir.path().join("source");
        fs::create_dir_all(&source).unwrap();
        fs::write(source.join("Cargo.lock"), "").unwrap();
        let lab = Lab {
            cache: crate::cache::Cache::at(dir.path().join("it's")).unwrap(),
            reporter: std::sync::Arc::new(crate::event::Silent),
            cancel: crate::cancel::Cancel::default(),
        };
        let place = lab.cache.path("rust/key");
        let shadow = make_shadow(&lab, &real.join("bin/rustc"), &real, &place, &source).unwrap();
        let sysroot = shadow.path().join("sysroot");
        for file in
            ["bin/rustc", "lib/librustc.so", "lib/rustlib/x86/lib/libcore.rlib", "lib/rustlib/src/old"]
        {
            assert!(sysroot.join(file).is_file(), "{file}");
        }
        assert!(has_library(&sysroot));
        let script = fs::read_to_string(shadow.path().join("rustc")).unwrap();
        let script = script.replace(dir.path().to_str().unwrap(), "");
        insta::assert_snapshot!(script, @r#"
        #!/bin/sh
        exec '/real/bin/rustc' --sysroot '/it'\''s/rust/key/sysroot' "$@"
        "#);
    }
}
