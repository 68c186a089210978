// SPDX-License-Identifier: GPL-2.0-only
//! From a project's source to a module for one kernel.
//!
//! Rust first: cargo builds a static library for the kernel's target ([`rust`]), the link keeps what its
//! exported functions reach ([`link`]), the header is compared with the Rust functions ([`interface`]);
//! then Kbuild compiles the C files and links all of it ([`kbuild`]). What has come of it is held to the header once
//! more ([`boundary`]): which of its functions are tested, and which may sleep.

pub(crate) mod boundary;
pub(crate) mod coverage;
mod elsewhere;
pub(crate) mod fingerprint;
mod flags;
mod header;
mod interface;
mod kbuild;
pub(crate) mod ktest;
mod link;
mod parts;
mod rust;
mod sources;

use std::fmt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

pub use coverage::Counting;
pub(crate) use elsewhere::{COMPILED, RustPart, RustTask, from_folder, library_script, rust_part};
pub use flags::{TARGET, objtool_arguments, rust_flags};
pub(crate) use kbuild::{C_ONLY, compiler_output, sources};
pub use link::{Object, link};
pub(crate) use rust::LOCK;
pub use sources::{Snapshot, Sources};

use crate::Lab;
use crate::cache::make_dir;
use crate::error::{Context, Error, Kind, Result};
use crate::kernel::Kernel;
use crate::project::{self, Checks, Project};

/// The key that is compiled into the Rust object, and into nothing else: only that object can answer a
/// challenge with it.
pub type ProofKey = [u8; 16];

/// A finished build. Holding one proves that `module` was made from the project's present source, and,
/// unless it was asked for without, that the Rust object was linked into it.
#[derive(Debug, Clone)]
pub struct Built {
    /// The module with its debug information.
    pub module: PathBuf,
    /// The same without debug information, for the machine.
    pub stripped: PathBuf,
    /// What is known of the Rust side; `None` for a module in C alone.
    pub rust: Option<RustSide>,
    /// Whether something was left out because it was asked for.
    pub partial: bool,
    /// What is counted in it, where it was built for coverage.
    pub counting: Option<Counting>,
    /// The time spent compiling.
    pub build_time: Duration,
    /// The time spent on the Rust object's link.
    pub link_time: Duration,
}

/// The Rust side of a finished build.
#[derive(Debug, Clone)]
pub struct RustSide {
    /// The linked object.
    pub object: PathBuf,
    /// Its exported functions.
    pub exports: Vec<String>,
    /// The key in it.
    pub key: ProofKey,
}

/// What a user may ask of a build.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Leave the Rust side out.
    pub c_only: bool,
    /// Build the Rust side with only the cargo feature `kernel-minimal`.
    pub minimal: bool,
    /// Have the module's own tests in it.
    pub tests: bool,
    /// Have it count which of its lines and branches are run.
    pub coverage: bool,
}

impl Options {
    /// Whether something is left out of the module: a part, or the tests.
    pub(crate) fn is_partial(self) -> bool {
        self.c_only || self.minimal || !self.tests
    }
}

/// What a compiler printed, as the cause of an error.
#[derive(Debug)]
struct Transcript(String);

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.trim_end())
    }
}

impl std::error::Error for Transcript {}

/// A build's folder for one kernel, and what the steps share.
struct Build<'a> {
    lab: &'a Lab,
    project: &'a Project,
    kernel: &'a Kernel,
    options: Options,
    dir: PathBuf,
}

/// Builds the project's module for this kernel; what is unchanged is not made again.
///
/// # Errors
///
/// [`Kind::Build`] with the compiler's own words when the source is wrong; [`Kind::Lab`] when a tool is
/// missing or the disk is full.
pub fn build(lab: &Lab, project: &Project, kernel: &Kernel, options: Options) -> Result<Built> {
    let build = Build::new(lab, project, kernel, options)?;
    let _lock = build.lock()?;
    ktest::provide(project)?;
    if options.coverage {
        coverage::provide(&build)?;
    }

    let started = Instant::now();
    let mut link_time = Duration::ZERO;
    let rust = match (&project.manifest().rust, options.c_only) {
        (Some(manifest), false) => {
            let (library, compared) = library(&build, manifest)?;
            let linking = Instant::now();
            let object = link::object(&build, &library)?;
            interface::check(&build, manifest, &library, &object, compared)?;
            link_time = linking.elapsed();
            Some((manifest, library, object))
        }
        _ => None,
    };
    let rust_object =
        rust.as_ref().map(|(manifest, _, object)| (manifest.object.as_str(), object.path.as_path()));
    let made = kbuild::module(&build, rust_object)?;
    if let Some((_, _, object)) = &rust {
        boundary::hold_once(project, options, &object.exports, &made.module, &build.dir)?;
    }
    let counting = options.coverage.then(|| coverage::counting(&build, &made.module, &made.stripped));
    let counting = counting.transpose()?;
    let rust = rust.map(|(_, library, object)| RustSide {
        object: object.path,
        exports: object.exports,
        key: library.key,
    });
    let build_time = started.elapsed().saturating_sub(link_time);
    let partial = options.is_partial();
    let kbuild::Made { module, stripped } = made;
    Ok(Built { module, stripped, rust, partial, counting, build_time, link_time })
}

/// What the comparison of the interface gave, if there was one.
type Comparison = Option<Result<Option<interface::Compared>>>;

/// The crate's static library. When it has to be built, the interface is compared meanwhile; what the compiler
/// says of the crate comes first then.
fn library(build: &Build<'_>, manifest: &project::Rust) -> Result<(rust::Library, Comparison)> {
    let source = rust::Crate::find(build, manifest)?;
    if let Some(library) = source.fresh() {
        return Ok((library, None));
    }
    thread::scope(|scope| {
        let comparison = scope.spawn(|| interface::compare(build, manifest, &source.dir));
        let library = source.build()?;
        let compared = comparison
            .join()
            .unwrap_or_else(|_| Err(Error::lab("the comparison of the interface broke off")));
        Ok((library, Some(compared)))
    })
}

/// How the folders of builds without the Rust side, with a minimal one, with the module's tests, and for coverage end, in
/// this order.
const VARIANTS: [&str; 4] = ["-c-only", "-minimal", "-test", "-coverage"];

/// Whether a file is of a build of the project's that something was left out of: a part, or the tests.
pub(crate) fn is_partial(project: &Project, file: &Path) -> bool {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let inside = file.strip_prefix(project.output_dir()).ok();
    let Some(variant) = inside.and_then(|path| path.iter().next()).map(|name| name.to_string_lossy()) else {
        return false;
    };
    let [c_only, minimal, tests, coverage] = VARIANTS;
    let variant = variant.strip_suffix(coverage).unwrap_or(&variant);
    let whole = variant.strip_suffix(tests);
    whole.is_none_or(|rest| rest.ends_with(c_only) || rest.ends_with(minimal))
}

/// The name of the folder of what is built like this for a kernel.
pub(crate) fn variant(kernel: &Kernel, options: Options) -> String {
    let mut variant = folder_name(kernel);
    for (asked, suffix) in
        [options.c_only, options.minimal, options.tests, options.coverage].into_iter().zip(VARIANTS)
    {
        if asked {
            variant.push_str(suffix);
        }
    }
    variant
}

/// A kernel's name as the name of a folder. Paths of build trees get their hash.
fn folder_name(kernel: &Kernel) -> String {
    let name = kernel.name();
    if !name.contains('/') {
        return name.to_owned();
    }
    let mut fingerprint = fingerprint::Fingerprint::default();
    fingerprint.text(name);
    format!("tree-{}", &fingerprint.finish()[..12])
}

/// How many hazards are told of before a run.
const TOLD: usize = 5;

/// Looks a finished module over as the kernel would, and for hazards, before it is loaded into it. Hazards that its
/// project doesn't allow are told of.
///
/// With `kernel_decides` only what the kernel could not notice is looked for: a Rust side that isn't in it.
///
/// # Errors
///
/// [`Kind::Check`] when the kernel would refuse it, when the Rust side is not in it, or when it has a hazard and its
/// project is strict; [`Kind::Lab`] when what is to be known of the kernel can't be read.
pub fn check(lab: &Lab, kernel: &Kernel, built: &Built, checks: &Checks, kernel_decides: bool) -> Result<()> {
    let bytes = std::fs::read(&built.module).context(|| format!("read {}", built.module.display()))?;
    let functions = built.rust.as_ref().map(|rust| rust.exports.clone()).unwrap_or_default();
    let finished = Finished { module: &built.module, bytes: &bytes, functions, partial: built.partial };
    let mut checks = checks.clone();
    if built.counting.is_some() {
        // What counts makes it larger; how large it may be is said of the module that is for use.
        (checks.max_size, checks.max_stack) = (None, None);
    }
    judge(lab, &kernel.judge()?, finished, &checks, kernel_decides)
}

/// A module that is to be judged.
pub(crate) struct Finished<'a> {
    /// Where it is.
    pub(crate) module: &'a Path,
    /// What is in it.
    pub(crate) bytes: &'a [u8],
    /// The functions of its Rust side that have to be in it.
    pub(crate) functions: Vec<String>,
    /// Whether something was left out because it was asked for.
    pub(crate) partial: bool,
}

/// As [`check`], for a module that may come from elsewhere.
pub(crate) fn judge(
    lab: &Lab,
    kernel: &ko::Kernel,
    finished: Finished<'_>,
    checks: &Checks,
    kernel_decides: bool,
) -> Result<()> {
    let Finished { module, bytes, functions, partial } = finished;
    let policy = ko::Policy { partial, ..checks.policy(&kernel.name, functions) };
    let report = ko::check(kernel, bytes, &policy);
    let name = module.file_name().unwrap_or_default().display();
    let refused = |first: &ko::Finding, count: usize| {
        let message = match count {
            1 => format!("{name} is refused: {first}"),
            2 => format!("{name} is refused: {first}; and one finding more"),
            more => format!("{name} is refused: {first}; and {} findings more", more - 1),
        };
        Err(Error::new(Kind::Check, message).with_remedy(first.remedy.clone()))
    };
    if kernel_decides {
        let mut missing = report.refusals.iter().filter(|finding| finding.rule.id == ko::Id::MissingFunction);
        return missing.next().map_or(Ok(()), |first| refused(first, 1 + missing.count()));
    }
    if let Some(first) = report.first() {
        return refused(first, report.count(ko::Class::Refusal));
    }
    let hazards = report.count(ko::Class::Hazard);
    if let (true, Some(first)) = (checks.strict, report.hazards.first()) {
        return refused(first, hazards);
    }
    for hazard in report.hazards.iter().take(TOLD) {
        lab.note(&format!("hazard in {name}: {}: {hazard}", hazard.rule.name));
    }
    if hazards > TOLD {
        lab.note(&format!("and {} hazards more: vexlab check {}", hazards - TOLD, module.display()));
    }
    Ok(())
}

impl<'a> Build<'a> {
    /// What is built in different ways is built in different folders.
    fn new(lab: &'a Lab, project: &'a Project, kernel: &'a Kernel, options: Options) -> Result<Self> {
        let dir = project.output_dir().join(variant(kernel, options));
        make_dir(&dir)?;
        Ok(Self { lab, project, kernel, options, dir })
    }

    /// One build of a project for a kernel at a time.
    fn lock(&self) -> Result<crate::cache::Lock> {
        crate::cache::Lock::of_file(&self.dir.join("lock"), &self.lab.cancel)
    }

    /// The limit that the project sets for compiling.
    fn limit(&self) -> Duration {
        self.project.manifest().timeouts.build
    }

    /// An error of the user's source.
    fn failed(&self, what: &str, transcript: String) -> Error {
        let (name, kernel) = (self.project.name(), self.kernel.name());
        Error::new(Kind::Build, format!("{what} of {name} for {kernel} failed"))
            .with_source(Transcript(transcript))
    }

    /// Shows what a compiler said although it succeeded.
    fn warn(&self, transcript: &str) {
        if !transcript.trim().is_empty() {
            self.lab.note(transcript.trim_end());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_the_folder_of_its_build() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vexlab.toml"), "kernels = ['k']\n[module]\nname = 'm'\n").unwrap();
        let project = Project::find(dir.path()).unwrap();
        for (place, expected) in [
            ("debian-6.1/m.ko", true),
            ("debian-6.1-c-only-test/m.ko", true),
            ("debian-6.1-minimal/m.ko", true),
            ("debian-6.1-test/m.ko", false),
            ("debian-6.1-test-coverage/m.ko", false),
            ("../../m.ko", false),
        ] {
            let file = project.output_dir().join(place);
            make_dir(file.parent().unwrap()).unwrap();
            std::fs::write(&file, "").unwrap();
            assert_eq!(is_partial(&project, &file), expected, "{place}");
        }
    }
}
