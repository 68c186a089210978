// SPDX-License-Identifier: GPL-2.0-only
//! The interface between C and Rust: one header, compared with the Rust functions by the C compiler.
//!
//! cbindgen writes the prototypes of what the crate exports and of what it declares as foreign; a C file
//! that includes the project's header and has those prototypes compiles only if they are compatible.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use super::fingerprint::{Fingerprint, Stamp};
use super::rust::Library;
use super::{Build, kbuild};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::project::Rust;

/// Compares the project's header, if it names one, with the crate.
pub(super) fn check(build: &Build<'_>, manifest: &Rust, library: &Library) -> Result<()> {
    let Some(header) = &manifest.header else { return Ok(()) };
    let header = build.project.root().join(header);
    if !header.is_file() {
        return Err(Error::usage(format!("the interface's header {} is not there", header.display()))
            .with_remedy("correct `header` under [rust] in vexlab.toml"));
    }
    let dir = build.dir.join("interface");
    make_dir(&dir)?;
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(&library.fingerprint).text(build.kernel.release()).file(&header);
    let stamp = Stamp::new(dir.join("stamp"), fingerprint);
    if stamp.is_fresh(&[]) {
        return Ok(());
    }
    stamp.clear();
    let prototypes = prototypes(&library.crate_dir)?;
    let source = format!(
        "// Generated: the header, and the prototypes of the Rust side as cbindgen reads them.\n\
         #include <linux/types.h>\n#include \"{}\"\n\n{prototypes}",
        header.display()
    );
    let file = dir.join("interface.c");
    if fs::read_to_string(&file).is_ok_and(|old| old == source) && fs::metadata(&header).is_ok() {
        // The same prototypes; the header may still be another one, so it is compiled again.
        fs::remove_file(dir.join("interface.o")).ok();
    }
    write_atomically(&file, source.as_bytes())?;
    write_atomically(&dir.join("Kbuild"), b"obj-m := interface.o\n")?;
    let finished = kbuild::make(build, &dir).args(["interface.o"]).run(&build.lab.cancel)?;
    if !finished.status.success() {
        let output = kbuild::compiler_output(&finished.output, &[(&dir, Path::new("the Rust side: "))]);
        let what = format!("the comparison of {} with the Rust side", header.display());
        return Err(build.failed(&what, output));
    }
    stamp.store()
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
