// SPDX-License-Identifier: GPL-2.0-only
//! The Rust side of a module that is built in a machine: compiled here or there, and linked here in either case, so that
//! it is held to the same.

use std::fs;
use std::path::{Path, PathBuf};

use super::fingerprint::Fingerprint;
use super::rust::{self, Library};
use super::{Build, Options, ProofKey, interface, ktest, link, objtool_arguments, rust_flags};
use crate::Lab;
use crate::cache::{make_dir, write_atomically};
use crate::error::{Error, Result};
use crate::kernel::{Config, Kernel};
use crate::project::{self, Project};
use crate::toolchain::LIBRARY;

/// The Rust side of a module that is built in a machine, and what is to be done with it there.
#[derive(Debug, Clone)]
pub(crate) struct RustPart {
    /// The linked object.
    pub(crate) object: PathBuf,
    /// Its name in the folder with the Kbuild file.
    pub(crate) name: String,
    /// Its exported functions.
    pub(crate) exports: Vec<String>,
    /// The key that was compiled into it.
    pub(crate) key: ProofKey,
    /// The arguments with which the kernel's objtool has to look at it, if it has to.
    pub(crate) objtool: Option<Vec<String>>,
    /// The files of a module that compiles only if the header and the Rust side agree; none without a header.
    pub(crate) interface: Vec<(&'static str, Vec<u8>)>,
}

/// Compiles the Rust side here, for a kernel of which only the configuration is here. The project is seen at `source`
/// where the rest is built.
///
/// # Errors
///
/// When it does not build.
pub(crate) fn rust_part(
    lab: &Lab,
    project: &Project,
    kernel: &Kernel,
    options: Options,
    source: &Path,
) -> Result<Option<RustPart>> {
    let Some(manifest) = wanted(project, options) else { return Ok(None) };
    let build = Build::new(lab, project, kernel, options)?;
    let _lock = build.lock()?;
    let source_crate = rust::Crate::find(&build, manifest)?;
    let library = source_crate.fresh().map_or_else(|| source_crate.build(), Ok)?;
    linked(&build, manifest, &library, source).map(Some)
}

/// The Rust side that is to be in the module, if there is to be one.
fn wanted(project: &Project, options: Options) -> Option<&project::Rust> {
    project.manifest().rust.as_ref().filter(|_| !options.c_only)
}

fn linked(build: &Build<'_>, manifest: &project::Rust, library: &Library, source: &Path) -> Result<RustPart> {
    let object = link::object_for_elsewhere(build, library)?;
    let interface = interface::files(build, manifest, library, &object, source)?;
    Ok(RustPart {
        object: object.path,
        name: manifest.object.clone(),
        exports: object.exports,
        key: library.key,
        objtool: objtool_arguments(build.kernel.config()),
        interface,
    })
}

/// The Rust side as a task for a machine's own compiler.
pub(crate) struct RustTask<'a> {
    build: Build<'a>,
    manifest: &'a project::Rust,
    /// Where the machine sees the project.
    source: &'a Path,
    /// The crate's folder, relative to the project.
    pub(crate) dir: PathBuf,
    /// What cargo is told, but for where the library goes.
    pub(crate) arguments: Vec<String>,
    /// The flags that the compiler has to know.
    pub(crate) flags: Vec<String>,
    /// The oldest compiler that the crate is for, where its manifest says so.
    pub(crate) oldest: Option<String>,
    /// Whether the crate depends on packages of a registry's.
    pub(crate) uses_registry: bool,
    key: ProofKey,
}

impl<'a> RustTask<'a> {
    /// The task for a machine with this kernel that sees the project at `source`; nothing for a module that is to have
    /// no Rust side.
    ///
    /// # Errors
    ///
    /// When there is no crate, or the machine would not see it.
    pub(crate) fn new(
        lab: &'a Lab,
        project: &'a Project,
        kernel: &'a Kernel,
        options: Options,
        source: &'a Path,
    ) -> Result<Option<Self>> {
        let Some(manifest) = wanted(project, options) else { return Ok(None) };
        let here = rust::crate_dir(project, manifest)?;
        let dir = seen(&here, project.root())?;
        Ok(Some(Self {
            build: Build::new(lab, project, kernel, options)?,
            manifest,
            source,
            dir,
            arguments: rust::cargo_arguments(manifest, options, ktest::feature(&here, options.tests)),
            flags: rust_flags(kernel.config()),
            oldest: oldest(&fs::read_to_string(here.join("Cargo.toml")).unwrap_or_default()),
            uses_registry: uses_registry(&here, project.root()),
            key: rust::proof_key(&project.output_dir().join("proof-key"))?,
        }))
    }

    /// What cargo is told in its environment, but for where its compiler and its folder are.
    pub(crate) fn settings(&self) -> Vec<(&'static str, String)> {
        rust::settings(&self.flags, &self.key).into()
    }

    /// The crate's folder as the project names it.
    pub(crate) fn name(&self) -> &Path {
        &self.manifest.dir
    }

    /// Links the library that was compiled there, which is called `name`.
    ///
    /// # Errors
    ///
    /// As for one that was compiled here.
    pub(crate) fn link(&self, name: &str, bytes: &[u8]) -> Result<RustPart> {
        let _lock = self.build.lock()?;
        let dir = self.build.dir.join("rust-inside");
        make_dir(&dir)?;
        let archive = dir.join(Path::new(name).file_name().unwrap_or("library.a".as_ref()));
        if !fs::read(&archive).is_ok_and(|there| there == bytes) {
            write_atomically(&archive, bytes)?;
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.text("compiled inside").text(bytes);
        let crate_dir = rust::crate_dir(self.build.project, self.manifest)?;
        let library = Library { archive, crate_dir, key: self.key, fingerprint: fingerprint.finish() };
        linked(&self.build, self.manifest, &library, self.source)
    }
}

/// Where machines compile. A machine of an image with a compiler has `core` and `alloc` there already.
pub(crate) const COMPILED: &str = "/var/lib/vexlab/rust";

/// A crate that is nothing but a reason to compile `core` and `alloc`: its manifest, and its source.
const NOTHING: [&str; 2] = [
    "[workspace]\n[package]\nname = \"nothing\"\nversion = \"0.0.0\"\nedition = \"2024\"\n[lib]\ncrate-type = [\"staticlib\"]\n",
    "#![no_std]\n#[panic_handler]\nfn panic(_: &core::panic::PanicInfo<'_>) -> ! { loop {} }\n",
];

/// The shell script that compiles, in an image's file system, `core` and `alloc` for the image's kernel, as a machine of
/// it would have to, which takes an emulated processor many minutes.
pub(crate) fn library_script(config: &Config) -> String {
    let [manifest, source] = NOTHING.map(quoted);
    let settings = rust::settings(&rust_flags(config), &ProofKey::default());
    let settings: String =
        settings.iter().map(|(name, value)| format!("export {name}={}\n", quoted(value))).collect();
    let words: Vec<String> = rust::common_arguments().iter().map(|word| quoted(word)).collect();
    let from: Vec<String> = from_folder("$library/vendor").iter().map(|word| format!("\"{word}\"")).collect();
    let (words, from) = (words.join(" "), from.join(" "));
    format!(
        r#"set -e
unset CARGO_HOME RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER RUSTFLAGS CARGO_BUILD_TARGET
RUSTC=$(command -v rustc)
library=$($RUSTC --print sysroot)/{LIBRARY}
export HOME=/root RUSTC CARGO_TARGET_DIR={COMPILED}/target
{settings}mkdir -p /tmp/nothing/src
cd /tmp/nothing
printf %s {manifest} >Cargo.toml
printf %s {source} >src/lib.rs
cargo {words} {from}
cd /
rm -rf /tmp/nothing
"#
    )
}

/// A text as a word of the shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Has cargo take from a folder what it would else ask a registry for. That is for all packages, and the folder that comes
/// with the library has what that depends on, nothing else.
pub(crate) fn from_folder(folder: &str) -> [String; 5] {
    [
        "--config".to_owned(),
        "source.crates-io.replace-with = 'vendored-with-rust'".to_owned(),
        "--config".to_owned(),
        format!("source.vendored-with-rust.directory = '{folder}'"),
        "--offline".to_owned(),
    ]
}

/// The path of a crate's folder from the project's, beyond which no machine sees anything.
fn seen(dir: &Path, project: &Path) -> Result<PathBuf> {
    let real = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    real.strip_prefix(project).map(Path::to_owned).map_err(|_| {
        Error::usage(format!(
            "the crate's folder {} is outside of the project, which is all that the machine sees",
            real.display()
        ))
        .with_remedy("compile it here: --rust host")
    })
}

/// Whether the versions that cargo has chosen, for the crate or the workspace that it is in, are of packages that it fetches.
fn uses_registry(dir: &Path, project: &Path) -> bool {
    let folders = dir.ancestors().take_while(|folder| folder.starts_with(project));
    let lock = folders.map(|folder| folder.join(rust::LOCK)).find_map(|lock| fs::read_to_string(lock).ok());
    lock.is_some_and(|lock| lock.contains("\nsource = "))
}

/// The `rust-version` in a crate's manifest, where it is there and not inherited.
fn oldest(manifest: &str) -> Option<String> {
    let manifest: toml::Table = toml::from_str(manifest).ok()?;
    Some(manifest.get("package")?.get("rust-version")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_that_the_machine_does_not_see_is_refused() {
        assert_eq!(
            seen(Path::new("/none/p/kernel/glue"), Path::new("/none/p")).unwrap(),
            Path::new("kernel/glue")
        );
        let error = seen(Path::new("/none/other"), Path::new("/none/p")).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.remedy().unwrap_or_default()), @r"
        the crate's folder /none/other is outside of the project, which is all that the machine sees
        compile it here: --rust host
        ");
    }

    #[test]
    fn the_script_for_an_image_compiles_as_a_machine_would() {
        let script = library_script(&Config::parse("CONFIG_X86_64=y\n"));
        let checked = std::process::Command::new("sh").args(["-n", "-c", &script]).status();
        assert!(checked.unwrap().success(), "{script}");
        let folder = r#" "source.vendored-with-rust.directory = '$library/vendor'" "#;
        for part in [folder, "export CARGO_PROFILE_RELEASE_LTO='fat'\n", " '--target' 'x86_64-unknown-none' "]
        {
            assert!(script.contains(part), "{part}: {script}");
        }
    }

    #[test]
    fn what_cargo_fetches_is_in_its_list_of_versions() {
        let dir = tempfile::tempdir().unwrap();
        let rust = dir.path().join("rust");
        make_dir(&rust).unwrap();
        assert!(!uses_registry(&rust, dir.path()), "there is no list");
        fs::write(dir.path().join("Cargo.lock"), "[[package]]\nname = \"a\"\nsource = \"registry+x\"\n")
            .unwrap();
        assert!(uses_registry(&rust, dir.path()), "the workspace's");
        fs::write(rust.join("Cargo.lock"), "[[package]]\nname = \"a\"\n").unwrap();
        assert!(!uses_registry(&rust, dir.path()));
    }

    #[test]
    fn the_oldest_compiler_is_what_the_manifest_says() {
        assert_eq!(oldest("[package]\nrust-version = '1.95'\n").as_deref(), Some("1.95"));
        assert_eq!(oldest("[package]\nrust-version.workspace = true\n"), None);
        assert_eq!(oldest("no manifest"), None);
    }
}
