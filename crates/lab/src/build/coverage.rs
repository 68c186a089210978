// SPDX-License-Identifier: GPL-2.0-only
//! What a build for coverage adds: rustc and gcc count in the project's own code, the link puts the counters side by
//! side, and a module beside it reads them.
//!
//! No code of the project's has to know of it, and nothing of it is in any other build.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::fingerprint::{Fingerprint, Stamp, named_by_content};
use super::{Build, TARGET, kbuild};
use crate::cache::{make_dir, write_atomically, write_unless_same};
use crate::error::{Context, Error, Kind, Result};
use crate::project::Project;

/// The linker script, and the name of what is included before each C file.
const SCRIPT: &str = include_str!("coverage.lds");
const HEADER: &str = "coverage.h";

/// The module that reads counters.
pub(crate) const READER: &str = "vexlab_coverage";

/// Where it shows them.
pub(crate) const COUNTERS: &str = "/proc/vexlab_coverage";

const READER_SOURCE: &str = include_str!("reader.c");

/// What makes gcc count: lines and branches, with each counter in a section that the link can collect, and no
/// constructor, which a module of a distribution's kernel has no use for. Counts of several processors add up. The kernel
/// gives the last but one for its own coverage, too.
const C_FLAGS: &str = "-fprofile-arcs -ftest-coverage -fprofile-info-section -fprofile-update=atomic \
                       -fno-tree-loop-im -fdata-sections";

/// What makes rustc count, without a runtime.
const RUST_FLAGS: &str = "-Cinstrument-coverage -Zcoverage-options=branch -Zno-profiler-runtime \
                          -Cllvm-args=-instrprof-atomic-counter-update-all";

/// The sections of LLVM's mapping, after the `__` that LLVM puts before them; in the module they are `.debug_…`.
pub(super) const MAPPING: [&str; 2] = ["llvm_covmap", "llvm_covfun"];

/// The flag that older compilers lack.
const NEWEST_FLAG: &str = "-fprofile-info-section";

/// In rustc's place: only crates of the project count, not `core`, nor what is compiled for the host.
fn stand_in(root: &Path) -> String {
    let root = root.display().to_string().replace('\'', r"'\''");
    format!(
        "#!/bin/sh\nroot='{root}'\ncase \"$CARGO_MANIFEST_DIR/\" in\n\"$root\"/*)\n\tcase \" $* \" in\n\
         \t*' --target {TARGET} '*) exec \"$@\" {RUST_FLAGS} ;;\n\tesac ;;\nesac\nexec \"$@\"\n"
    )
}

/// Writes the stand-in for rustc, and gives its path.
pub(super) fn rust_stand_in(build: &Build<'_>) -> Result<PathBuf> {
    let path = build.dir.join("rustc");
    let text = stand_in(build.project.root());
    write_unless_same(&path, text.as_bytes())?;
    let executable = fs::Permissions::from_mode(0o755);
    fs::set_permissions(&path, executable).context(|| format!("write {}", path.display()))?;
    Ok(path)
}

/// What of a build's flags shapes the Rust side.
pub(super) fn rust_text() -> &'static str {
    RUST_FLAGS
}

/// The folder of what a C build finds.
fn folder(build: &Build<'_>) -> PathBuf {
    build.dir.join("coverage")
}

/// Has what a C build finds in its folder.
pub(super) fn provide(build: &Build<'_>) -> Result<()> {
    let dir = folder(build);
    make_dir(&dir)?;
    write_unless_same(&dir.join(HEADER), include_bytes!("coverage.h"))?;
    write_unless_same(&dir.join(script_name()), SCRIPT.as_bytes())
}

/// The script's name, another one for another script: make links again where its command is another.
fn script_name() -> String {
    named_by_content("coverage", SCRIPT, "lds")
}

/// What the C compiler is told.
pub(super) fn compiler_flags(build: &Build<'_>) -> String {
    format!(" {C_FLAGS} -include {}", folder(build).join(HEADER).display())
}

/// Has the link of the module use our script beside those that it uses already.
pub(super) fn link_too(build: &Build<'_>, variables: &mut Vec<String>) {
    let script = format!("-T {}", folder(build).join(script_name()).display());
    match variables.iter_mut().find(|variable| variable.starts_with("LDFLAGS_MODULE=")) {
        Some(flags) => *flags = format!("{flags} {script}"),
        None => variables.push(format!("LDFLAGS_MODULE={script}")),
    }
}

/// What a failed C build has for a cause where the compiler can't count.
pub(super) fn cause(build: &Build<'_>, output: &str) -> Option<Error> {
    let lacks = |line: &str| {
        let unknown = ["unrecognized command", "unknown argument", "unrecognised", "unsupported option"];
        line.contains(NEWEST_FLAG) && unknown.iter().any(|word| line.contains(word))
    };
    let line = output.lines().find(|line| lacks(line))?;
    let what = format!("the C compiler for {} can't count for coverage", build.kernel.name());
    Some(
        Error::new(Kind::Build, what)
            .with_source(line.trim().to_owned())
            .with_remedy(format!("gcc has {NEWEST_FLAG} since version 11: apt-get install gcc-12")),
    )
}

/// The module that reads counters, built for the kernel.
pub(super) fn reader(build: &Build<'_>) -> Result<PathBuf> {
    let dir = build.dir.join("reader");
    make_dir(&dir)?;
    let module = dir.join(format!("{READER}.ko"));
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(kbuild::kernel_identity(build.kernel)).text(READER_SOURCE);
    let stamp = Stamp::new(dir.join("stamp"), fingerprint);
    if stamp.is_fresh(&[&module]) {
        return Ok(module);
    }
    stamp.clear();
    write_atomically(&dir.join(format!("{READER}.c")), READER_SOURCE.as_bytes())?;
    write_atomically(&dir.join("Kbuild"), format!("obj-m := {READER}.o\n").as_bytes())?;
    let make = kbuild::make(build, &dir).env_remove("KCFLAGS").args(["modules"]);
    let finished = make.run(&build.lab.cancel)?;
    if !finished.status.success() {
        let what = "the build of what reads counters";
        return Err(build.failed(what, kbuild::compiler_output(&finished.output, &[])));
    }
    stamp.store()?;
    Ok(module)
}

/// What is known of a module that was built for coverage, before it is loaded.
#[derive(Debug, Clone)]
pub struct Counting {
    /// The module that reads its counters.
    pub reader: PathBuf,
    /// How many bytes of counters it has.
    pub size: u64,
}

/// Looks at a module that was built for coverage: it has to have counters, and to fit into the machine.
pub(super) fn counting(build: &Build<'_>, module: &Path, stripped: &Path) -> Result<Counting> {
    let name = module.file_name().unwrap_or_default().display().to_string();
    let bytes = fs::read(module).context(|| format!("read {}", module.display()))?;
    let counted = coverage::Counted::read(&bytes).map_err(|error| {
        Error::new(Kind::Build, format!("nothing is counted in {name} for {}", build.kernel.name()))
            .with_source(error)
            .with_remedy("its Kbuild file has to keep KCFLAGS and LDFLAGS_MODULE as they are given to it")
    })?;
    let file = fs::metadata(stripped).context(|| format!("read {}", stripped.display()))?.len();
    let needed = file.saturating_add(counted.loaded_size()).saturating_add(2 * counted.size());
    fits(&name, needed, build.project)?;
    Ok(Counting { reader: reader(build)?, size: counted.size() })
}

/// Whether a module that takes so many bytes while it is loaded leaves half of the machine's memory to the kernel.
fn fits(name: &str, needed: u64, project: &Project) -> Result<()> {
    let memory = project.manifest().machine.memory;
    if needed <= memory.0 / 2 {
        return Ok(());
    }
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let message = format!(
        "{name} takes {} MiB to be loaded for coverage, more than half of the machine's memory of {} MiB",
        mib(needed),
        mib(memory.0)
    );
    let wanted = mib(needed.saturating_mul(2));
    Err(Error::usage(message)
        .with_remedy(format!("set `memory = \"{wanted}M\"` under [machine] in vexlab.toml")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_projects_crates_count() {
        insta::assert_snapshot!(stand_in(Path::new("/p/it's")), @r#"
        #!/bin/sh
        root='/p/it'\''s'
        case "$CARGO_MANIFEST_DIR/" in
        "$root"/*)
        	case " $* " in
        	*' --target x86_64-unknown-none '*) exec "$@" -Cinstrument-coverage -Zcoverage-options=branch -Zno-profiler-runtime -Cllvm-args=-instrprof-atomic-counter-update-all ;;
        	esac ;;
        esac
        exec "$@"
        "#);
    }

    #[test]
    fn a_module_that_leaves_no_memory_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let text = "kernels = ['k']\n[module]\nname = 'm'\n[machine]\nmemory = '64M'\n";
        fs::write(dir.path().join("vexlab.toml"), text).unwrap();
        let project = Project::find(dir.path()).unwrap();
        assert!(fits("m.ko", 32 << 20, &project).is_ok());
        let error = fits("m.ko", 33 << 20, &project).unwrap_err();
        insta::assert_snapshot!(error, @"m.ko takes 33 MiB to be loaded for coverage, more than half of the machine's memory of 64 MiB");
        assert_eq!(error.remedy(), Some("set `memory = \"66M\"` under [machine] in vexlab.toml"));
    }
}
