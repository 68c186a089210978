// SPDX-License-Identifier: GPL-2.0-only
//! What a compiler said of itself, kept with all that could make it say something else: asking takes rustup
//! and the compiler longer than all the rest of a build in which nothing has changed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Lab;
use crate::build::fingerprint::Fingerprint;
use crate::process;

/// What the compiler in effect in a folder said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) sysroot: PathBuf,
    pub(super) version: String,
    pub(super) commit: String,
}

/// An answer as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    answer: Answer,
    /// Of the compiler that said it.
    compiler: String,
}

/// All that decides which compiler is in effect in a folder.
pub(super) struct Question {
    program: PathBuf,
    fingerprint: String,
}

impl Question {
    /// `None` where there is no such program.
    pub(super) fn new(rustc: &Path, dir: &Path) -> Option<Self> {
        let program = process::find(rustc)?;
        let variables = env::vars_os().filter(|(name, _)| {
            let name = name.to_string_lossy();
            name.starts_with("RUSTUP_") || name == "HOME" || name == "CARGO_HOME"
        });
        let fingerprint = fingerprint(&program, dir, variables.collect());
        Some(Self { program, fingerprint })
    }

    fn place(&self) -> String {
        format!("rust/answers/{}.json", &self.fingerprint[..24])
    }

    /// The answer that was kept, if the compiler that gave it is still the same.
    pub(super) fn answer(&self, lab: &Lab) -> Option<Answer> {
        let bytes = fs::read(lab.cache.path(self.place())).ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        (kept.compiler == compiler(&kept.answer.sysroot)).then_some(kept.answer)
    }

    /// Keeps an answer. That of a program of which it isn't known how it finds its compiler isn't kept.
    pub(super) fn keep(&self, lab: &Lab, answer: &Answer) {
        let real = answer.sysroot.join("bin/rustc");
        if !is_rustup(&self.program) && !is_same(&self.program, &real) {
            return;
        }
        let kept = Kept { answer: answer.clone(), compiler: compiler(&answer.sysroot) };
        if let Ok(bytes) = serde_json::to_vec(&kept) {
            // Where it can't be written, the compiler is asked again.
            let _ = lab.cache.write(self.place(), &bytes);
        }
    }
}

/// Of the program and, as rustup looks for them, its settings, the toolchains' folder and the files of the
/// folders above `dir` that name one.
fn fingerprint(program: &Path, dir: &Path, mut variables: Vec<(OsString, OsString)>) -> String {
    let mut fingerprint = Fingerprint::default();
    fingerprint.file(program);
    variables.sort();
    for (name, value) in &variables {
        fingerprint.text(name.as_encoded_bytes()).text(value.as_encoded_bytes());
    }
    let variable = |wanted: &str| {
        let found = variables.iter().find(|(name, value)| name == wanted && !value.is_empty());
        found.map(|(_, value)| PathBuf::from(value))
    };
    let home =
        variable("RUSTUP_HOME").or_else(|| Some(variable("HOME")?.join(".rustup"))).unwrap_or_default();
    fingerprint.file(&home.join("settings.toml")).file(&home.join("toolchains"));
    fingerprint.file(Path::new("/etc/rustup/settings.toml"));
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    for folder in dir.ancestors() {
        fingerprint.file(&folder.join("rust-toolchain")).file(&folder.join("rust-toolchain.toml"));
    }
    fingerprint.finish()
}

/// A compiler's files, which an update replaces.
fn compiler(sysroot: &Path) -> String {
    let mut fingerprint = Fingerprint::default();
    for file in ["", "bin/rustc", "bin/cargo", "lib", "lib/rustlib"] {
        fingerprint.file(&sysroot.join(file));
    }
    fingerprint.finish()
}

/// Whether a program is rustup's stand-in: the same file as the `rustup` beside it.
fn is_rustup(program: &Path) -> bool {
    is_same(program, &program.with_file_name(OsStr::new("rustup")))
}

fn is_same(a: &Path, b: &Path) -> bool {
    match (fs::metadata(a), fs::metadata(b)) {
        (Ok(a), Ok(b)) => (a.dev(), a.ino()) == (b.dev(), b.ino()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a rustup, a toolchain and a project, and the answer of its compiler.
    struct Place {
        dir: tempfile::TempDir,
        lab: Lab,
    }

    impl Place {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            for file in
                ["cargo/rustup", "cargo/settings", "rustup/settings.toml", "sysroot/bin/rustc", "p/src/x"]
            {
                let file = dir.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, "1").unwrap();
            }
            fs::hard_link(dir.path().join("cargo/rustup"), dir.path().join("cargo/rustc")).unwrap();
            let lab = Lab {
                cache: crate::cache::Cache::at(dir.path().join("cache")).unwrap(),
                reporter: std::sync::Arc::new(crate::event::Silent),
                cancel: crate::cancel::Cancel::default(),
            };
            Self { dir, lab }
        }

        fn path(&self, path: &str) -> PathBuf {
            self.dir.path().join(path)
        }

        fn question(&self, program: &str) -> Question {
            let program = self.path(program);
            let home = self.path("rustup").into_os_string();
            let fingerprint = fingerprint(&program, &self.path("p/src"), vec![("RUSTUP_HOME".into(), home)]);
            Question { program, fingerprint }
        }

        fn keep(&self, program: &str) -> Answer {
            let answer = Answer { sysroot: self.path("sysroot"), version: "1".into(), commit: "c".into() };
            self.question(program).keep(&self.lab, &answer);
            answer
        }
    }

    #[test]
    fn an_answer_is_remembered() {
        let place = Place::new();
        assert_eq!(place.question("cargo/rustc").answer(&place.lab), None);
        let answer = place.keep("cargo/rustc");
        assert_eq!(place.question("cargo/rustc").answer(&place.lab), Some(answer));
    }

    #[test]
    fn whatever_names_another_compiler_makes_it_be_asked_again() {
        for file in
            ["p/rust-toolchain.toml", "p/rust-toolchain", "rust-toolchain.toml", "rustup/settings.toml"]
        {
            let place = Place::new();
            place.keep("cargo/rustc");
            fs::write(place.path(file), "another").unwrap();
            assert_eq!(place.question("cargo/rustc").answer(&place.lab), None, "{file}");
        }
        let place = Place::new();
        place.keep("cargo/rustc");
        fs::create_dir(place.path("rustup/toolchains")).unwrap();
        assert_eq!(place.question("cargo/rustc").answer(&place.lab), None, "a toolchain was added");
    }

    #[test]
    fn an_updated_compiler_is_asked_again() {
        let place = Place::new();
        place.keep("cargo/rustc");
        fs::write(place.path("sysroot/bin/rustc"), "updated").unwrap();
        assert_eq!(place.question("cargo/rustc").answer(&place.lab), None);
    }

    #[test]
    fn a_program_of_which_nothing_is_known_is_always_asked() {
        let place = Place::new();
        fs::write(place.path("wrapper"), "#!/bin/sh\n").unwrap();
        place.keep("wrapper");
        assert_eq!(place.question("wrapper").answer(&place.lab), None);
        // The compiler itself, without rustup, only says what it is.
        let answer = place.keep("sysroot/bin/rustc");
        assert_eq!(place.question("sysroot/bin/rustc").answer(&place.lab), Some(answer));
    }
}
