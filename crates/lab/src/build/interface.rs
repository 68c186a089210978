// SPDX-License-Identifier: GPL-2.0-only
//! The interface between C and Rust: one header, compared with the Rust functions by the C compiler.
//!
//! cbindgen writes the prototypes of what the crate exports and of what it declares as foreign; a C file
//! that includes the project's header and has those prototypes compiles only if they are compatible.

use std::collections::BTreeSet;
use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use super::fingerprint::{Fingerprint, Stamp};
use super::link::Object;
use super::rust::Library;
use super::{Build, kbuild};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Kind, Result};
use crate::project::Rust;

/// What the C compiler found to be compatible with the header: the crate's prototypes.
pub(super) struct Compared(String);

/// The header that a project names.
fn header(build: &Build<'_>, manifest: &Rust) -> Result<Option<PathBuf>> {
    let Some(header) = &manifest.header else { return Ok(None) };
    let header = build.project.root().join(header);
    if header.is_file() {
        return Ok(Some(header));
    }
    Err(Error::usage(format!("the interface's header {} is not there", header.display()))
        .with_remedy("correct `header` under [rust] in vexlab.toml"))
}

/// What of the C side shapes the comparison: the header, and those that it may include.
fn c_side(build: &Build<'_>, header: &Path) -> Result<Fingerprint> {
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(build.kernel.release()).file(header);
    let sources = kbuild::sources(build.project.root())?;
    for source in sources.values().filter(|path| path.extension().is_some_and(|end| end == "h")) {
        fingerprint.file(source);
    }
    Ok(fingerprint)
}

/// Compares the project's header, if it names one, with the crate. It needs nothing but their source, so it
/// can be done while that is compiled.
pub(super) fn compare(build: &Build<'_>, manifest: &Rust, crate_dir: &Path) -> Result<Option<Compared>> {
    let Some(header) = header(build, manifest)? else { return Ok(None) };
    let dir = build.dir.join("interface");
    make_dir(&dir)?;
    let prototypes = prototypes(crate_dir)?;
    let mut fingerprint = c_side(build, &header)?;
    fingerprint.text(&prototypes);
    // Most changes to a crate leave its functions' types as they are.
    let stamp = Stamp::new(dir.join("compiled"), fingerprint);
    if !stamp.is_fresh(&[]) {
        stamp.clear();
        compile(build, &dir, &header, &prototypes)?;
        stamp.store()?;
    }
    Ok(Some(Compared(prototypes)))
}

/// Sees to it that the project's header, if it names one, was compared with each function of the crate that
/// crosses. What [`compare`] gave is `None` if it was not called because the crate has not changed.
pub(super) fn check(
    build: &Build<'_>,
    manifest: &Rust,
    library: &Library,
    object: &Object,
    compared: Option<Result<Option<Compared>>>,
) -> Result<()> {
    let Some(header) = header(build, manifest)? else { return Ok(()) };
    let dir = build.dir.join("interface");
    make_dir(&dir)?;
    let mut fingerprint = c_side(build, &header)?;
    fingerprint.text(&library.fingerprint);
    let stamp = Stamp::new(dir.join("stamp"), fingerprint);
    if compared.is_none() && stamp.is_fresh(&[]) {
        return Ok(());
    }
    stamp.clear();
    let compared = compared.unwrap_or_else(|| compare(build, manifest, &library.crate_dir))?;
    if let Some(Compared(prototypes)) = compared {
        every_function_is_compared(build, object, &prototypes)?;
    }
    stamp.store()
}

/// The files of a module that compiles only if the header and the crate agree, for where the project is at `source`;
/// none where the project names no header.
pub(super) fn files(
    build: &Build<'_>,
    manifest: &Rust,
    library: &Library,
    object: &Object,
    source: &Path,
) -> Result<Vec<(&'static str, Vec<u8>)>> {
    let Some(header) = &manifest.header else { return Ok(Vec::new()) };
    let prototypes = prototypes(&library.crate_dir)?;
    every_function_is_compared(build, object, &prototypes)?;
    let here = build.project.root().join(header);
    let content = fs::read(&here).context(|| format!("read the interface's header {}", here.display()))?;
    // The copy is not compiled: with it another header is another set of files.
    let mut files = module_files(&source.join(header), &prototypes);
    files.push(("header", content));
    Ok(files)
}

/// The files of a module that has the header and the prototypes in one unit.
fn module_files(header: &Path, prototypes: &str) -> Vec<(&'static str, Vec<u8>)> {
    let source = format!(
        "// Generated: the header, and the prototypes of the Rust side.\n#include <linux/module.h>\n\
         #include \"{}\"\n#include \"rust_side.h\"\nMODULE_LICENSE(\"GPL\");\nMODULE_DESCRIPTION(\"interface\");\n",
        header.display()
    );
    vec![
        ("rust_side.h", prototypes.into()),
        ("interface.c", source.into()),
        ("Kbuild", b"obj-m := interface.o\n".to_vec()),
    ]
}

/// Compiles the header and the prototypes as one file of a module, with the kernel's own flags.
fn compile(build: &Build<'_>, dir: &Path, header: &Path, prototypes: &str) -> Result<()> {
    for (name, content) in module_files(header, prototypes) {
        write_atomically(&dir.join(name), &content)?;
    }
    let finished = kbuild::make(build, dir).args(["modules"]).run(&build.lab.cancel)?;
    if finished.status.success() {
        return Ok(());
    }
    let what = format!("{} and the Rust side differ: the comparison", header.display());
    Err(build.failed(&what, kbuild::compiler_output(&finished.output, &[])))
}

/// Sees to it that each function that crosses is among the prototypes: cbindgen passes over declarations
/// that it does not know how to read, and those would go unchecked.
fn every_function_is_compared(build: &Build<'_>, object: &Object, prototypes: &str) -> Result<()> {
    let compared: BTreeSet<&str> = prototypes
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    let bytes = fs::read(&object.path).context(|| format!("read {}", object.path.display()))?;
    let wanted = ko::undefined(&bytes).context(|| format!("read {}", object.path.display()))?;
    let symvers = build.kernel.symvers();
    let symvers = fs::read_to_string(symvers).context(|| format!("read {}", symvers.display()))?;
    let of_kernel: BTreeSet<&str> = symvers.lines().filter_map(|line| line.split('\t').nth(1)).collect();
    let crossing = wanted.iter().filter(|name| !of_kernel.contains(name.as_str())).chain(&object.exports);
    let unseen: Vec<&str> = crossing.map(String::as_str).filter(|name| !compared.contains(name)).collect();
    if unseen.is_empty() {
        return Ok(());
    }
    let message = format!("the declaration of {} can't be compared with the header", unseen.join(", "));
    Err(Error::new(Kind::Build, message).with_remedy(
        "declare it in `unsafe extern \"C\" { … }` as a plain `fn`, or export it as `pub extern \"C\" fn`",
    ))
}

/// The prototypes of the functions that a crate exports or declares as foreign.
fn prototypes(crate_dir: &Path) -> Result<String> {
    let mut config = cbindgen::Config::from_root_or_default(crate_dir);
    config.language = cbindgen::Language::C;
    config.no_includes = true;
    config.usize_is_size_t = true;
    config.documentation = false;
    let failed = || format!("read the functions of the crate in {}", crate_dir.display());
    // cbindgen panics on some source that rustc refuses with a better message.
    let generated =
        panic::catch_unwind(AssertUnwindSafe(|| cbindgen::generate_with_config(crate_dir, config)));
    let bindings = match generated {
        Ok(bindings) => bindings.context(failed)?,
        Err(_) => return Err(Error::lab(failed())),
    };
    let mut text = Vec::new();
    bindings.write(&mut text);
    String::from_utf8(text).context(failed)
}
