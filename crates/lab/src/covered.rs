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
