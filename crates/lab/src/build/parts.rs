// SPDX-License-Identifier: GPL-2.0-only
//! The calls that the kernel's top Makefile ends in, kept for the next time.
//!
//! Before that Makefile calls the parts of Kbuild that do the work, it asks the compiler some thirty questions, which
//! takes longer than the work. Only another compiler, kernel or command line would change the answers. So a stand-in
//! for `make` writes down what is called then, and with which environment; as long as nothing has changed that could
//! shape it, the parts are called directly. What is to be made they find out themselves, each time.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Build;
use super::fingerprint::Fingerprint;
use super::kbuild::{jobs, kernel_identity};
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Result};
use crate::process::{self, Program};

/// Stands in for `make`. What a part calls in turn is the part's own.
const STAND_IN: &str = r#"#!/bin/sh
if [ -z "$VEXLAB_PART" ]; then
	for word; do
		case $word in
		*scripts/Makefile.*)
			n=100
			until mkdir "${0%/*}/$n" 2>/dev/null || [ $n = 200 ]; do n=$((n + 1)); done
			cat /proc/$$/environ >"${0%/*}/$n/environment"
			printf '%s\0' "$@" >"${0%/*}/$n/arguments"
			pwd -P >"${0%/*}/$n/folder"
			export VEXLAB_PART=1
			break
			;;
		esac
	done
fi
exec make "$@"
"#;

/// What differs from shell to shell and is nothing to a build.
const VOLATILE: [&str; 4] = ["_", "PWD", "OLDPWD", "SHLVL"];

/// What `make` says to the `make` that it starts; of `MAKEFLAGS` a part is kept.
const MAKES_OWN: [&str; 5] = ["MAKE", "MAKEFLAGS", "MFLAGS", "MAKE_TERMOUT", "MAKE_TERMERR"];

/// The variables in which the top Makefile names the tools that it has asked.
const TOOLS: [&str; 12] = [
    "CC",
    "LD",
    "AR",
    "NM",
    "STRIP",
    "OBJCOPY",
    "OBJDUMP",
    "READELF",
    "HOSTCC",
    "PAHOLE",
    "AWK",
    "CONFIG_SHELL",
];

type Environment = BTreeMap<String, String>;

/// A call of `make` for a part of Kbuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    folder: PathBuf,
    arguments: Vec<String>,
    /// What is in its environment and not, or otherwise, in vexlab's own. The rest is nobody's business.
    set: Environment,
    unset: Vec<String>,
}

/// The calls as they are kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    fingerprint: String,
    /// Of the tools that the calls name.
    tools: String,
    calls: Vec<Call>,
}

/// The calls for a module's folder, and all that shapes them but the tools.
pub(super) struct Parts<'a> {
    build: &'a Build<'a>,
    fingerprint: String,
}

impl<'a> Parts<'a> {
    /// For a folder that mirrors these sources. Nothing for a kernel that is not from packages: its Makefiles are
    /// somebody's to change.
    pub(super) fn new(
        build: &'a Build<'a>,
        dir: &Path,
        variables: &[String],
        sources: &BTreeMap<PathBuf, PathBuf>,
    ) -> Option<Self> {
        if build.kernel.packages().is_empty() {
            return None;
        }
        let mut fingerprint = Fingerprint::default();
        fingerprint.text(STAND_IN).text(kernel_identity(build.kernel)).text(variables.join("\0"));
        fingerprint.text(dir.as_os_str().as_encoded_bytes()).text(jobs().to_string());
        for (name, value) in own_environment() {
            fingerprint.text(name).text(value);
        }
        for path in sources.values().filter(|path| !is_compiled(path)) {
            fingerprint.file(path);
        }
        // Another vexlab may call the top Makefile in another way.
        fingerprint.file(&env::current_exe().ok()?);
        Some(Self { build, fingerprint: fingerprint.finish() })
    }

    fn place(&self) -> PathBuf {
        self.build.dir.join("kbuild-calls.json")
    }

    /// Where the stand-in is, and what it has written.
    fn scratch(&self) -> PathBuf {
        self.build.dir.join("kbuild-calls")
    }

    /// The calls that were kept, if all that shapes them is as it was, in their order.
    pub(super) fn kept(&self) -> Option<Vec<Program>> {
        let kept: Kept = serde_json::from_slice(&fs::read(self.place()).ok()?).ok()?;
        let same = kept.fingerprint == self.fingerprint && kept.tools == tools(&kept.calls);
        same.then(|| kept.calls.iter().map(|call| self.program(call)).collect())
    }

    fn program(&self, call: &Call) -> Program {
        let program = Program::new("make").from_package("make").args([format!("-j{}", jobs())]);
        let program = program.args(&call.arguments).dir(&call.folder).merged().limit(self.build.limit());
        let program = call.unset.iter().fold(program, |program, name| program.env_remove(name));
        call.set.iter().fold(program, |program, (name, value)| program.env(name, value))
    }

    /// Has a call of the top Makefile write down what it calls.
    ///
    /// # Errors
    ///
    /// When the stand-in can't be written.
    pub(super) fn watch(&self, make: Program) -> Result<Program> {
        self.forget();
        let dir = self.scratch();
        make_dir(&dir)?;
        let path = dir.join("make");
        let write = || {
            fs::write(&path, STAND_IN)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
        };
        write().context(|| format!("write {}", path.display()))?;
        Ok(make.args([format!("MAKE={}", path.display())]))
    }

    /// Keeps what was written down.
    pub(super) fn keep(&self) {
        if let Some(calls) = read_calls(&self.scratch(), &own_environment()) {
            let kept = Kept { fingerprint: self.fingerprint.clone(), tools: tools(&calls), calls };
            // Where it can't be kept, the top Makefile is called again.
            let _ = serde_json::to_vec(&kept).map(|bytes| write_atomically(&self.place(), &bytes));
        }
        let _ = fs::remove_dir_all(self.scratch());
    }

    /// What is kept is of no use.
    pub(super) fn forget(&self) {
        let _ = fs::remove_file(self.place());
        let _ = fs::remove_dir_all(self.scratch());
    }
}

/// What a compiler reads, and a part of Kbuild looks at: the top Makefile does neither.
fn is_compiled(path: &Path) -> bool {
    path.extension().is_some_and(|end| ["c", "h", "S", "rs"].iter().any(|known| end == *known))
}

/// vexlab's environment, as far as it is text and may shape a build.
fn own_environment() -> Environment {
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    env::vars_os().filter_map(text).filter(|(name, _)| !VOLATILE.contains(&name.as_str())).collect()
}

/// The calls that the stand-in has written down, in their order; nothing where one is not whole, or there is none.
fn read_calls(dir: &Path, own: &Environment) -> Option<Vec<Call>> {
    let entries = fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path());
    let mut folders: Vec<PathBuf> = entries.filter(|path| path.is_dir()).collect();
    folders.sort();
    let calls: Option<Vec<Call>> = folders.iter().map(|folder| read_call(folder, own)).collect();
    calls.filter(|calls| !calls.is_empty())
}

fn read_call(dir: &Path, own: &Environment) -> Option<Call> {
    let list = |name: &str| -> Option<Vec<String>> {
        let text = fs::read_to_string(dir.join(name)).ok()?;
        Some(text.strip_suffix('\0')?.split('\0').map(str::to_owned).collect())
    };
    let mut environment = Environment::new();
    for line in list("environment")? {
        let (name, value) = line.split_once('=')?;
        environment.insert(name.to_owned(), value.to_owned());
    }
    let flags = own_flags(environment.get("MAKEFLAGS")?);
    let unset = own.keys().filter(|name| !environment.contains_key(*name)).cloned().collect();
    environment.retain(|name, value| {
        let name = name.as_str();
        own.get(name) != Some(value) && !MAKES_OWN.contains(&name) && !VOLATILE.contains(&name)
    });
    environment.insert("MAKEFLAGS".to_owned(), flags);
    let folder = fs::read_to_string(dir.join("folder")).ok()?;
    let folder = PathBuf::from(folder.strip_suffix('\n')?);
    Some(Call { folder, arguments: list("arguments")?, set: environment, unset })
}

/// `MAKEFLAGS` without what binds them to the `make` that has set them: its job server, and the stand-in.
fn own_flags(flags: &str) -> String {
    let bound = |word: &&str| {
        ["-j", "--jobserver-auth=", "--jobserver-fds=", "MAKE="].iter().any(|start| word.starts_with(start))
    };
    flags.split(' ').filter(|word| !bound(word)).collect::<Vec<_>>().join(" ")
}

/// A digest of the tools that these calls name, and of those that need no name.
fn tools(calls: &[Call]) -> String {
    let mut fingerprint = Fingerprint::default();
    let named = calls.iter().flat_map(|call| TOOLS.iter().filter_map(|name| call.set.get(*name)));
    let words = named.filter_map(|value| value.split_whitespace().next()).chain(["make", "as"]);
    for word in words {
        fingerprint.text(word);
        if let Some(path) = process::find(word) {
            // A tool's name is often a link to it.
            fingerprint.file(&fs::canonicalize(&path).unwrap_or(path));
        }
    }
    fingerprint.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::Cancel;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_part_is_bound_to_no_make_that_has_ended() {
        let flags = "rRs -j2 --jobserver-auth=3,4 --no-print-directory -- A=b\\ c MAKE=/t/make M=/m";
        assert_eq!(own_flags(flags), "rRs --no-print-directory -- A=b\\ c M=/m");
    }

    #[test]
    fn what_a_makefile_calls_is_written_down_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        make_dir(&path("scripts")).unwrap();
        fs::write(
            path("Makefile"),
            "export OWN := made\nunexport GONE\nall:\n\t$(MAKE) -f Makefile middle\n\
             middle:\n\t$(MAKE) -f ./scripts/Makefile.one obj=1\n\t$(MAKE) -f scripts/Makefile.two\n",
        )
        .unwrap();
        fs::write(path("scripts/Makefile.one"), "all:\n\t@$(MAKE) -f scripts/Makefile.two\n").unwrap();
        fs::write(path("scripts/Makefile.two"), "all:\n\t@echo $(OWN) $(X)\n").unwrap();
        let scratch = path("scratch");
        make_dir(&scratch).unwrap();
        fs::write(scratch.join("make"), STAND_IN).unwrap();
        fs::set_permissions(scratch.join("make"), fs::Permissions::from_mode(0o755)).unwrap();
        let make = Program::new("make").args(["-s", "-j2", "X=y", "all"]).dir(dir.path()).merged();
        let make = make.args([format!("MAKE={}", scratch.join("make").display())]).env_remove("MAKEFLAGS");
        let whole = make.run(&Cancel::default()).unwrap();
        assert_eq!(whole.output, "made y\nmade y\n");

        let mut own = own_environment();
        own.insert("GONE".to_owned(), "x".to_owned());
        let calls = read_calls(&scratch, &own).unwrap();
        let arguments: Vec<String> = calls.iter().map(|call| call.arguments.join(" ")).collect();
        assert_eq!(arguments, ["-f ./scripts/Makefile.one obj=1", "-f scripts/Makefile.two"]);
        assert_eq!(calls[0].folder, fs::canonicalize(dir.path()).unwrap());
        assert_eq!(calls[0].set.get("OWN").map(String::as_str), Some("made"));
        assert!(calls[0].unset.contains(&"GONE".to_owned()));
        assert!(!calls[0].set.contains_key("PATH"), "what is as in vexlab's own is not kept");
        assert!(!calls[0].set["MAKEFLAGS"].contains("jobserver"), "{:?}", calls[0].set);

        fs::remove_file(scratch.join("101/folder")).unwrap();
        assert_eq!(read_calls(&scratch, &own), None, "one is not whole");
    }

    #[test]
    fn another_compiler_is_another_digest() {
        let dir = tempfile::tempdir().unwrap();
        let compiler = dir.path().join("cc");
        let call = |set: Environment| Call { folder: PathBuf::new(), arguments: vec![], set, unset: vec![] };
        let calls = [call(environment(&[("CC", &format!("{} -m64", compiler.display()))]))];
        fs::write(&compiler, "1").unwrap();
        let before = tools(&calls);
        assert_eq!(tools(&calls), before);
        fs::write(&compiler, "updated").unwrap();
        assert_ne!(tools(&calls), before);
        assert_ne!(tools(&[call(Environment::new())]), before);
    }

    #[test]
    fn only_what_the_top_makefile_may_read_shapes_the_calls() {
        assert!(is_compiled(Path::new("a/b.c")) && is_compiled(Path::new("b.h")));
        assert!(!is_compiled(Path::new("Kbuild")) && !is_compiled(Path::new("rules.mk")));
    }
}
