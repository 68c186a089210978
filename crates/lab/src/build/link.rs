// SPDX-License-Identifier: GPL-2.0-only
//! From a static library to one relocatable object that holds what its exported functions reach.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::coverage;
use super::fingerprint::{Fingerprint, Stamp};
use super::rust::Library;
use super::{Build, Transcript, objtool_arguments};
use crate::Lab;
use crate::cache::write_atomically;
use crate::error::{Context, Error, Kind, Result, nearest};
use crate::kernel::Kernel;
use crate::process::Program;

/// A linked object. Holding one proves that nothing in it goes through a global offset table.
#[derive(Debug, Clone)]
pub struct Object {
    /// Where it is.
    pub path: PathBuf,
    /// The functions in it that C may call.
    pub exports: Vec<String>,
    /// How many uses of a global offset table were made direct; 0 when it was made before.
    pub relaxed: usize,
}

/// How long one of the link's tools may take where no project says.
const LIMIT: Duration = Duration::from_secs(300);

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
	.ktests 0 : { KEEP(*(.ktests)) }
	.ktest_claims 0 : { KEEP(*(.ktest_claims)) }
	/DISCARD/ : {
		*(.llvmbc .llvmcmd .llvm_addrsig .llvm.*)
		*(.eh_frame .gcc_except_table .gcc_except_table.*)
		*(.comment .note.GNU-stack .note.gnu.property)
	}
}
";

/// Links an archive's functions and what they reach into one object, as [`build`](super::build) does it.
/// Without `exports` those are all that it has for C. With a kernel, that kernel's objtool looks at the
/// object where Kbuild would not.
///
/// # Errors
///
/// [`Kind::Usage`] when `archive` is no static library for x86-64, or has no function of one of these names;
/// [`Kind::Check`] when something in the object can only work through a global offset table;
/// [`Kind::Build`] with the linker's own words when it fails; [`Kind::Lab`] when a tool is missing.
pub fn link(
    lab: &Lab,
    archive: &Path,
    exports: &[String],
    kernel: Option<&Kernel>,
    output: &Path,
) -> Result<Object> {
    let unreadable = |error| {
        Error::usage(format!("{} can't be linked", archive.display())).with_source(error).with_remedy(
            "give it a static library for x86-64: crate-type = [\"staticlib\"], --target x86_64-unknown-none",
        )
    };
    let bytes = fs::read(archive)
        .map_err(|error| Error::usage(format!("{} can't be read", archive.display())).with_source(error))?;
    let known = ko::exports(&bytes).map_err(unreadable)?;
    for name in exports {
        if !known.contains(name) {
            return Err(unknown_export(archive, name, &known));
        }
    }
    let exports = if exports.is_empty() { known } else { exports.to_vec() };
    if exports.is_empty() {
        return Err(no_export(&archive.display().to_string()));
    }
    let scratch = lab.cache.staging()?;
    let dir = scratch.path();
    let link = Link { lab, archive, exports: &exports, kernel, limit: LIMIT, coverage: false, dir };
    let (made, relaxed) = link.run()?;
    let bytes = fs::read(&made).context(|| format!("read {}", made.display()))?;
    write_atomically(output, &bytes)?;
    Ok(Object { path: output.to_owned(), exports, relaxed })
}

fn unknown_export(archive: &Path, name: &str, known: &[String]) -> Error {
    let error = Error::usage(format!("{} has no function `{name}` for C", archive.display()));
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    match nearest(name, known.iter().copied()) {
        Some(meant) => error.with_remedy(format!("did you mean `{meant}`? it has {}", known.join(", "))),
        None if known.is_empty() => no_export(&archive.display().to_string()),
        None => error.with_remedy(format!("it has {}", known.join(", "))),
    }
}

fn no_export(what: &str) -> Error {
    Error::usage(format!("{what} exports no function"))
        .with_remedy("mark what C calls with #[unsafe(no_mangle)] pub extern \"C\"")
}

/// Links the library's exports and what they reach.
pub(super) fn object(build: &Build<'_>, library: &Library) -> Result<Object> {
    object_with(build, library, Some(build.kernel))
}

/// As [`object`], for a kernel whose objtool is not here.
pub(super) fn object_for_elsewhere(build: &Build<'_>, library: &Library) -> Result<Object> {
    object_with(build, library, None)
}

fn object_with(build: &Build<'_>, library: &Library, kernel: Option<&Kernel>) -> Result<Object> {
    let dir = library.archive.parent().unwrap_or(&build.dir);
    let (path, list) = (dir.join(LINKED), dir.join(EXPORTS));
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(&library.fingerprint).file(&library.archive).text(SCRIPT);
    let stamp = Stamp::new(dir.join("link-stamp"), fingerprint);
    if stamp.is_fresh(&[&path, &list]) {
        let exports = fs::read_to_string(&list).context(|| format!("read {}", list.display()))?;
        return Ok(Object { path, exports: exports.lines().map(str::to_owned).collect(), relaxed: 0 });
    }
    stamp.clear();

    let archive = library.archive.as_path();
    let bytes = fs::read(archive).context(|| format!("read {}", archive.display()))?;
    let exports = ko::exports(&bytes).context(|| format!("read {}", archive.display()))?;
    if exports.is_empty() {
        return Err(no_export(&format!("the crate in {}", library.crate_dir.display())));
    }
    let (lab, limit) = (build.lab, build.limit());
    let coverage = build.options.coverage;
    let link = Link { lab, archive, exports: &exports, kernel, limit, coverage, dir };
    let (path, relaxed) = link.run()?;
    stamp.store()?;
    Ok(Object { path, exports, relaxed })
}

/// The link's files in its folder: the object, and the names that stay global.
const LINKED: &str = "linked.o";
const EXPORTS: &str = "exports";

/// One link.
struct Link<'a> {
    lab: &'a Lab,
    archive: &'a Path,
    /// The functions that are kept, with what they reach; they alone are global afterwards.
    exports: &'a [String],
    kernel: Option<&'a Kernel>,
    limit: Duration,
    /// Whether counters are in it: a group for each function, which is to be none afterwards.
    coverage: bool,
    /// Where its files go.
    dir: &'a Path,
}

impl Link<'_> {
    /// Gives the object, and how many uses of a global offset table were made direct in it.
    fn run(&self) -> Result<(PathBuf, usize)> {
        let (object, list) = (self.dir.join(LINKED), self.dir.join(EXPORTS));
        let (script, joined) = (self.dir.join("link.ld"), self.dir.join("joined.o"));
        let names: String = self.exports.iter().flat_map(|name| [name.as_str(), "\n"]).collect();
        fs::write(&list, names).context(|| format!("write {}", list.display()))?;
        fs::write(&script, SCRIPT).context(|| format!("write {}", script.display()))?;

        // `-u` pulls a function's archive member in and makes it a root; what no root reaches is dropped.
        // `--wrap` gives what the kernel has another name, so that no archive member is pulled in for it.
        let mut link: Vec<OsString> = ["-r", "--gc-sections", "-T"].map(Into::into).to_vec();
        link.extend([script.into(), "-o".into(), joined.clone().into()]);
        link.extend(self.exports.iter().flat_map(|name| ["-u".into(), name.into()]));
        link.extend(KERNELS_OWN.map(|name| format!("--wrap={name}").into()));
        if self.coverage {
            // What counts names LLVM's runtime, which there is none of.
            let runtime = "--defsym=__llvm_profile_runtime=0";
            link.extend(["--force-group-allocation", runtime].map(Into::into));
        }
        link.push(self.archive.into());
        self.tool(Program::new("ld").args(link).from_package("binutils"))?;

        let mut rename: Vec<OsString> = vec![joined.into(), object.clone().into()];
        rename.push(format!("--keep-global-symbols={}", list.display()).into());
        // Assemblers name the table wherever they ask for it. What needs more of it than a slot is kept,
        // and refused below.
        rename.push("--strip-unneeded-symbol=_GLOBAL_OFFSET_TABLE_".into());
        rename.extend(KERNELS_OWN.map(|name| format!("--redefine-sym=__wrap_{name}={name}").into()));
        if self.coverage {
            // What only the host reads counts as debug information: modpost would wonder at it, no machine gets it.
            rename.extend(
                coverage::MAPPING.map(|name| format!("--rename-section=__{name}=.debug_{name}").into()),
            );
        }
        self.tool(Program::new("objcopy").args(rename).from_package("binutils"))?;

        // Before objtool, which notes where the calls and jumps are.
        let relaxed = self.relax(&object)?;
        if let Some(kernel) = self.kernel
            && let Some(arguments) = objtool_arguments(kernel.config())
        {
            let objtool = kernel.build_dir().join("tools/objtool/objtool");
            self.tool(Program::new(objtool).args(arguments).args([&object]))?;
        }
        Ok((object, relaxed))
    }

    /// Makes direct what goes through a global offset table.
    fn relax(&self, object: &Path) -> Result<usize> {
        let reading = || format!("read {}", object.display());
        let bytes = fs::read(object).context(reading)?;
        let relaxed = ko::relax(&bytes).context(reading)?;
        if let Some(first) = relaxed.kept.first() {
            let name = self.archive.file_name().unwrap_or_default().display();
            let mut message = format!("{name} is refused: {first}");
            let more = relaxed.kept.len() - 1 + relaxed.more;
            if more > 0 {
                message.push_str(&format!("; and {more} findings more"));
            }
            return Err(Error::new(Kind::Check, message).with_remedy(first.remedy()));
        }
        if relaxed.rewritten > 0 {
            fs::write(object, relaxed.bytes).context(|| format!("write {}", object.display()))?;
        }
        Ok(relaxed.rewritten)
    }

    fn tool(&self, program: Program) -> Result<()> {
        let finished = program.merged().limit(self.limit).run(&self.lab.cancel)?;
        if !finished.status.success() {
            let message = format!("the link of {} failed", self.archive.display());
            return Err(Error::new(Kind::Build, message).with_source(Transcript(finished.output)));
        }
        if !finished.output.trim().is_empty() {
            self.lab.note(finished.output.trim_end());
        }
        Ok(())
    }
}
