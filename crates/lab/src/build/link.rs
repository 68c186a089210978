// SPDX-License-Identifier: GPL-2.0-only
//! From a static library to one relocatable object that holds what its exported functions reach.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

use super::fingerprint::{Fingerprint, Stamp};
use super::rust::Library;
use super::{Build, objtool_arguments};
use crate::error::{Context, Error, Result};
use crate::process::Program;

/// A linked object.
pub(super) struct Object {
    /// Where it is.
    pub(super) path: PathBuf,
    /// The functions in it that C may call.
    pub(super) exports: Vec<String>,
}

/// Functions of C's library that compilers call by themselves. The kernel has its own of each; the ones in
/// Rust's `compiler_builtins` are to stay out.
const KERNELS_OWN: [&str; 6] = ["memcpy", "memmove", "memset", "memcmp", "bcmp", "strlen"];

/// Joins the sections that rustc makes for each function and datum, and drops what is of no use in a kernel
/// or would be misread there.
const SCRIPT: &str = "SECTIONS {
	.text 0 : { *(.text .text.*) }
	.rodata 0 : { *(.rodata .rodata.*) }
	.data.rel.ro 0 : { *(.data.rel.ro .data.rel.ro.*) }
	.data 0 : { *(.data .data.*) }
	.bss 0 : { *(.bss .bss.* COMMON) }
	/DISCARD/ : { *(.llvmbc .llvmcmd .comment .note.GNU-stack .note.gnu.property .eh_frame) }
}
";

/// Links the library's exports and what they reach.
pub(super) fn object(build: &Build<'_>, library: &Library) -> Result<Object> {
    let dir = build.dir.join("rust");
    let (object, list) = (dir.join("linked.o"), dir.join("exports"));
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(&library.fingerprint).file(&library.archive).text(SCRIPT);
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

    let (script, joined) = (dir.join("link.ld"), dir.join("joined.o"));
    fs::write(&script, SCRIPT).context(|| format!("write {}", script.display()))?;
    // `-u` pulls a function's archive member in and makes it a root; what no root reaches is dropped.
    // `--wrap` gives what the kernel has another name, so that no archive member is pulled in for it.
    let mut link: Vec<OsString> = ["-r", "--gc-sections", "-T"].map(Into::into).to_vec();
    link.extend([script.into(), "-o".into(), joined.clone().into()]);
    link.extend(exports.iter().flat_map(|name| ["-u".into(), name.into()]));
    link.extend(KERNELS_OWN.map(|name| format!("--wrap={name}").into()));
    link.push(library.archive.clone().into());
    tool(build, Program::new("ld").args(link).from_package("binutils"))?;

    let mut rename: Vec<OsString> = vec![joined.into(), object.clone().into()];
    rename.push(format!("--keep-global-symbols={}", list.display()).into());
    rename.extend(KERNELS_OWN.map(|name| format!("--redefine-sym=__wrap_{name}={name}").into()));
    tool(build, Program::new("objcopy").args(rename).from_package("binutils"))?;

    if let Some(arguments) = objtool_arguments(build.kernel.config()) {
        let objtool = build.kernel.build_dir().join("tools/objtool/objtool");
        tool(build, Program::new(objtool).args(arguments).args([&object]))?;
    }
    stamp.store()?;
    Ok(Object { path: object, exports })
}

fn tool(build: &Build<'_>, program: Program) -> Result<()> {
    let finished = program.merged().limit(build.limit()).run(&build.lab.cancel)?;
    if !finished.status.success() {
        return Err(build.failed("the link of the Rust object", finished.output));
    }
    build.warn(&finished.output);
    Ok(())
}
