// SPDX-License-Identifier: GPL-2.0-only
//! A module's project: the folder with `vexlab.toml`, and what that file says.

mod bench;
mod coverage;
mod life;
mod manifest;

use std::fs;
use std::path::{Path, PathBuf};

pub use bench::{Bench, Beside, MayVary};
pub use coverage::Coverage;
pub use life::Life;
pub use manifest::{Allow, Check, Checks, Machine, Manifest, Module, Rust, Size, Test, Timeouts, Untested};

use crate::build;
use crate::cache::write_atomically;
use crate::error::{Context, Error, Result};

/// The name of the file that describes a project.
pub const FILE: &str = "vexlab.toml";

/// A project. Holding one proves that its `vexlab.toml` was read and is consistent.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    manifest: Manifest,
}

impl Project {
    /// The project of the folder `start`, or of the nearest folder above it that has a `vexlab.toml`.
    ///
    /// # Errors
    ///
    /// When there is none, or the file is wrong.
    pub fn find(start: &Path) -> Result<Self> {
        Self::find_any(start)?.ok_or_else(|| {
            Error::usage(format!(
                "{} is not in a project: neither it nor a folder above it has a {FILE}",
                start.canonicalize().unwrap_or_else(|_| start.to_owned()).display()
            ))
            .with_remedy("go to the module's folder, or write the file with `vexlab init`")
        })
    }

    /// As [`Project::find`], where there need not be one.
    ///
    /// # Errors
    ///
    /// When the file is wrong.
    pub fn find_any(start: &Path) -> Result<Option<Self>> {
        let start = start.canonicalize().map_err(|cause| {
            Error::usage(format!("the project's folder {} can't be entered", start.display()))
                .with_source(cause)
        })?;
        start.ancestors().find(|dir| dir.join(FILE).is_file()).map(Self::load).transpose()
    }

    /// The same project as its file describes it now.
    ///
    /// # Errors
    ///
    /// When the file is gone or wrong.
    pub fn reread(&self) -> Result<Self> {
        Self::load(&self.root)
    }

    fn load(root: &Path) -> Result<Self> {
        let path = root.join(FILE);
        let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        let manifest = Manifest::parse(&text).map_err(|problem| {
            Error::usage(format!("{}:{problem}", path.display())).with_remedy(problem.remedy())
        })?;
        Ok(Self { root: root.to_owned(), manifest })
    }

    /// The folder with `vexlab.toml`, absolute.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The module as verdicts name it: a pass without Rust must not read like one with it.
    pub fn called(&self, how: build::Options) -> String {
        let name = self.name();
        match &self.manifest.rust {
            Some(_) if how.c_only => format!("{name} without its Rust side"),
            Some(_) if how.minimal => format!("{name} with its minimal Rust side"),
            _ => name.to_owned(),
        }
    }

    /// What the file says.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The module's name, as in `NAME.ko`.
    pub fn name(&self) -> &str {
        &self.manifest.module.name
    }

    /// The folder with the Kbuild file.
    ///
    /// # Errors
    ///
    /// When it has neither `Kbuild` nor `Makefile`.
    pub fn module_dir(&self) -> Result<PathBuf> {
        // A `.` in it is left out: folders are compared by their names.
        let dir: PathBuf = self.root.join(&self.manifest.module.dir).components().collect();
        if ["Kbuild", "Makefile"].iter().any(|name| dir.join(name).is_file()) {
            return Ok(dir);
        }
        Err(Error::usage(format!(
            "the module's folder {} has neither a Kbuild file nor a Makefile",
            dir.display()
        ))
        .with_remedy(format!(
            "set `dir` under [module] in {} to the folder that has it",
            self.root.join(FILE).display()
        )))
    }

    /// Where the project's builds go.
    pub fn output_dir(&self) -> PathBuf {
        self.root.join("target/vexlab")
    }
}

/// Writes a commented `vexlab.toml` for the module in `dir`, guessing its name from the Kbuild file.
///
/// # Errors
///
/// When the file is there already or can't be written.
pub fn init(dir: &Path) -> Result<PathBuf> {
    let dir = &dir.canonicalize().context(|| format!("enter {}", dir.display()))?;
    let path = dir.join(FILE);
    if path.exists() {
        return Err(Error::usage(format!("{} is there already", path.display()))
            .with_remedy("edit it, or remove it first"));
    }
    let module_dir = ["", "kernel", "src", "module"].into_iter().find(|sub| {
        ["Kbuild", "Makefile"].iter().any(|file| module_name(&dir.join(sub).join(file)).is_some())
    });
    let sub = module_dir.unwrap_or("");
    let name = ["Kbuild", "Makefile"].iter().find_map(|file| module_name(&dir.join(sub).join(file)));
    let name = name.unwrap_or_else(|| "example".to_owned());
    let text = include_str!("template.toml")
        .replace("@NAME@", &name)
        .replace("@DIR@", if sub.is_empty() { "." } else { sub });
    write_atomically(&path, text.as_bytes())?;
    Ok(path)
}

/// The first module that a Kbuild file names: `obj-m := NAME.o`.
fn module_name(file: &Path) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    text.lines().find_map(|line| {
        let value = line
            .trim()
            .strip_prefix("obj-m")?
            .trim_start()
            .trim_start_matches([':', '+'])
            .strip_prefix('=')?;
        value.split_whitespace().next()?.strip_suffix(".o").map(str::to_owned)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_is_a_project() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("kernel")).unwrap();
        fs::write(dir.path().join("kernel/Kbuild"), "obj-m := frob.o\nfrob-y := main.o\n").unwrap();
        init(dir.path()).unwrap();
        let project = Project::find(&dir.path().join("kernel")).unwrap();
        assert_eq!(project.name(), "frob");
        assert!(project.module_dir().unwrap().ends_with("kernel"));
        assert!(init(dir.path()).unwrap_err().to_string().ends_with("vexlab.toml is there already"));
    }

    #[test]
    fn outside_a_project_is_an_error_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let error = Project::find(dir.path()).unwrap_err();
        assert!(error.to_string().contains("is not in a project"), "{error}");
        assert_eq!(error.remedy(), Some("go to the module's folder, or write the file with `vexlab init`"));
    }
}
