// SPDX-License-Identifier: GPL-2.0-only
//! From a static library to one relocatable object that holds what its exported functions reach.

use std::fs;
use std::path::PathBuf;

use super::Build;
use super::fingerprint::{Fingerprint, Stamp};
use super::rust::Library;
use crate::error::{Context, Error, Result};
use crate::process::Program;

/// A linked object.
pub(super) struct Object {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The functions in it that C may call.
    pub(super) exports: Vec<String>,
}

/// Sections that are of no use in a kernel, or that it would misread.
const DROPPED: [&str; 4] = [".eh_frame", ".rela.eh_frame", ".llvmbc", ".llvmcmd"];

/// Links the library's exports and what they reach.
pub(super) fn object(build: &Build<'_>, library: &Library) -> Result<Object> {
    let dir = build.dir.join("rust");
    let (object, list) = (dir.join("linked.o"), dir.join("exports"));
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(&library.fingerprint).file(&library.archive);
    let stamp = Stamp::new(dir.join("link-stamp"), fingerprint);
    if stamp.is_fresh(&[&object, &list]) {
        let exports = fs::read_to_string(&list).context(|| format!("read {}", list.display()))?;
        return Ok(Object { path: object, exports: exports.lines().map(str::to_owned).collect() });
    }
    stamp.clear();

    let bytes = fs::read(&library.archive).context(|| format!("read {}", library.archive.display()))?;
    let exports = ko::exports(&bytes).context(|| format!("read {}", library.archive.display()))?;
    if exports.is_empty() {
        return Err(Error::usage(format!(
            "the crate in {} exports no function",
            library.crate_dir.display()
        ))
        .with_remedy("mark what C calls with #[unsafe(no_mangle)] pub extern \"C\""));
    }
    fs::write(&list, exports.iter().flat_map(|name| [name.as_str(), "\n"]).collect::<String>())
        .context(|| format!("write {}", list.display()))?;

    let joined = dir.join("joined.o");
    // `-u` pulls a function's archive member in and makes it a root; what no root reaches is dropped.
    let mut arguments: Vec<std::ffi::OsString> = ["-r", "--gc-sections", "-o"].map(Into::into).to_vec();
    arguments.push(joined.clone().into());
    arguments.extend(exports.iter().flat_map(|name| ["-u".into(), name.into()]));
    arguments.push(library.archive.clone().into());
    tool(build, Program::new("ld").args(arguments))?;

    let mut arguments: Vec<std::ffi::OsString> = vec![joined.into(), object.clone().into()];
    arguments.push(format!("--keep-global-symbols={}", list.display()).into());
    arguments.extend(DROPPED.map(|section| format!("--remove-section={section}").into()));
    tool(build, Program::new("objcopy").args(arguments))?;
    stamp.store()?;
    Ok(Object { path: object, exports })
}

fn tool(build: &Build<'_>, program: Program) -> Result<()> {
    let finished = program.from_package("binutils").merged().limit(build.limit()).run(&build.lab.cancel)?;
    if finished.status.success() {
        Ok(())
    } else {
        Err(build.failed("the link of the Rust object", finished.output))
    }
}
