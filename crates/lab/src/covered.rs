// SPDX-License-Identifier: GPL-2.0-only
//! What runs have counted, made into the lines and branches of the project's own sources.

use std::fs;
use std::path::{Component, Path, PathBuf};

use coverage::{Counted, Coverage, Unit};

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::process::Program;
use crate::project::Project;
use crate::run::Measured;

/// How often the lines and branches of the project's sources were run, by their paths relative to it. What is left out
/// by `[coverage]` in `vexlab.toml`, and what vexlab itself has put into the module, is not there.
///
/// # Errors
///
/// When no counter was read; when the module is not as this version of vexlab knows it from its compilers; and when
/// `gcov` of the compiler is missing or fails.
pub fn of(lab: &Lab, project: &Project, measured: &Measured) -> Result<Coverage> {
    let name = measured.module.file_name().unwrap_or_default().display();
    let Some(counters) = &measured.counters else {
        return Err(Error::lab(format!("no counter of {name} was read"))
            .with_remedy("each machine ended before a test had; what the run says of it is why"));
    };
    let bytes = fs::read(&measured.module).context(|| format!("read {}", measured.module.display()))?;
    let unusable = |error: coverage::Error| {
        Error::lab(format!("what was counted in {name} can't be read"))
            .with_source(error)
            .with_remedy("it knows the counters of rustc 1.95 and of gcc 11 to 15")
    };
    let module = Counted::read(&bytes).map_err(unusable)?;
    let mut all = coverage::rust(&module, counters).map_err(unusable)?;
    let units = coverage::units(&module, counters).map_err(unusable)?;
    if !units.is_empty() {
        all.join(coverage::c(&gcov(lab, measured, &units)?).map_err(unusable)?);
    }
    let mirror = measured.dir.join("c");
    Ok(all.renamed(|path| own(project, &mirror, path)))
}

/// A file's path relative to the project, if it is one of its own that counts.
fn own(project: &Project, mirror: &Path, path: &str) -> Option<String> {
    let mut plain = PathBuf::new();
    for component in Path::new(path).components() {
        match component {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    let plain = plain.strip_prefix(mirror).map(|inside| project.root().join(inside)).unwrap_or(plain);
    if plain.starts_with(project.output_dir()) {
        return None;
    }
    let name = plain.strip_prefix(project.root()).ok()?.to_str()?;
    (!project.manifest().coverage.leaves_out(name)).then(|| name.to_owned())
}

/// What `gcov` says of C sources.
fn gcov(lab: &Lab, measured: &Measured, units: &[Unit]) -> Result<String> {
    let scratch = lab.cache.staging()?;
    let dir = scratch.path();
    let mut names = Vec::new();
    for (index, unit) in units.iter().enumerate() {
        // The compiler has left them beside the object.
        let notes = Path::new(&unit.path).with_extension("gcno");
        let place = |end: &str| dir.join(format!("{index}.{end}"));
        fs::copy(&notes, place("gcno")).map_err(|error| {
            Error::lab(format!("the compiler's notes {} can't be read", notes.display()))
                .with_source(error)
                .with_remedy(format!("remove {} to have it built again", measured.dir.display()))
        })?;
        fs::write(place("gcda"), &unit.gcda).context(|| format!("write {}", place("gcda").display()))?;
        names.push(format!("{index}.gcda"));
    }
    let versioned = format!("gcov-{}", units[0].gcc);
    let program = if crate::process::find(&versioned).is_some() { versioned } else { "gcov".to_owned() };
    let finished = Program::new(&program)
        .from_package("gcc")
        .args(["--json-format", "--stdout", "--branch-probabilities"])
        .args(&names)
        .dir(dir)
        .run(&lab.cancel)?;
    if !finished.status.success() || finished.errors.contains("mismatch") {
        return Err(Error::lab(format!("{program} failed on what gcc {} has counted", units[0].gcc))
            .with_source(finished.errors.trim().to_owned())
            .with_remedy(format!("apt-get install gcc-{}", units[0].gcc)));
    }
    Ok(finished.output)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cache::Cache;
    use crate::cancel::Cancel;
    use crate::event::Silent;

    /// The errors of a module that real compilers have made, with so many bytes of counters.
    fn error(counters: Option<usize>) -> (String, String) {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("vexlab.toml"), "kernels = ['k']\n[module]\nname = 'm'\n").unwrap();
        let module = dir.path().join("m.ko");
        let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coverage/module");
        fs::copy(made, &module).unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let project = Project::find(dir.path()).unwrap();
        let counters = counters.map(|length| vec![0; length]);
        let measured = Measured { module, dir: "/build".into(), counters, lost: Vec::new() };
        let error = of(&lab, &project, &measured).unwrap_err();
        let cause = std::error::Error::source(&error).map(|cause| format!("\ncause: {cause}"));
        (format!("{error}{}", cause.unwrap_or_default()), error.remedy().unwrap_or_default().to_owned())
    }

    #[test]
    fn what_can_not_be_made_of_counters() {
        let (text, _) = error(None);
        insta::assert_snapshot!(text, @"no counter of m.ko was read");
        let (text, _) = error(Some(8));
        insta::assert_snapshot!(text, @"
        what was counted in m.ko can't be read
        cause: 8 bytes of counters were read, and it has 136
        ");
        let (text, remedy) = error(Some(136));
        insta::assert_snapshot!(text, @"
        the compiler's notes /mnt/target/vexlab/debian-6.1-cloud-test-coverage/c/main.gcno can't be read
        cause: No such file or directory (os error 2)
        ");
        assert_eq!(remedy, "remove /build to have it built again");
    }

    #[test]
    fn only_the_projects_own_files_count() {
        let dir = tempfile::tempdir().unwrap();
        let text = "kernels = ['k']\n[module]\nname = 'm'\n[coverage]\nleave-out = ['src/tests*']\n";
        fs::write(dir.path().join("vexlab.toml"), text).unwrap();
        let project = Project::find(dir.path()).unwrap();
        let mirror = project.output_dir().join("k-coverage/c");
        for (path, expected) in [
            ("src/a.c", Some("src/a.c")),
            ("target/vexlab/k-coverage/c/src/a.c", Some("src/a.c")),
            ("src/glue/../a.rs", Some("src/a.rs")),
            ("src/tests.c", None),
            ("target/vexlab/include/vexlab/ktest_main.h", None),
            ("../elsewhere.c", None),
        ] {
            let path = project.root().join(path);
            assert_eq!(own(&project, &mirror, &path.display().to_string()).as_deref(), expected, "{path:?}");
        }
    }
}
