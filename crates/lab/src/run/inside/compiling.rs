// SPDX-License-Identifier: GPL-2.0-only
//! The Rust side, compiled by the machine's own compiler. What comes of it goes the way of a library that was compiled
//! here.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::helper::{Lost, Said};
use super::{Inside, Options, RustFrom, SHORT};
use crate::build::{self, COMPILED, RustPart, RustTask, from_folder};
use crate::error::{Error, Kind, Result};
use crate::kernel::Kernel;
use crate::machine::Accelerator;
use crate::project::Project;
use crate::share::SOURCE;
use crate::toolchain::parse_version;

/// Runs cargo where the project's folder is called as it is here: in messages and in debug information files have the names
/// of the originals, and no flag has to say so, with which `core` would be another one. Nobody else sees it there.
const AS_HERE: &str = r#"set -e
mkdir -p "$2"
mount --bind "$1" "$2"
cd "$2/$3"
shift 3
exec "$@""#;

/// How many times longer than on a processor of its own a compiler may take on an emulated one.
const SLOWER: u32 = 4;

/// How long the compiler may take to say what it is.
const QUESTIONS: Duration = Duration::from_secs(120);

/// What a machine says of its Rust compiler.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    /// Where programs were looked for.
    path: String,
    rustc: Option<String>,
    cargo: Option<String>,
    /// What `rustc -vV` has printed.
    version: String,
    /// The place of the library's source, and whether it is there.
    library: String,
    has_library: bool,
    /// Where what the library depends on is, where that came with it.
    vendored: Option<String>,
    /// What `rustc -Zhelp` has printed.
    flags: String,
}

/// A machine's own compiler. Holding one proves that it knows what it will be told, and has the library's source.
#[derive(Debug)]
struct Compiler {
    rustc: String,
    cargo: String,
    version: String,
    vendored: Option<String>,
}

/// Whether a project has the Rust side that is to be compiled in a machine.
///
/// # Errors
///
/// When that is asked for, and it has none.
pub fn has_rust(project: &Project, options: Options) -> Result<()> {
    if options.rust == RustFrom::Host || project.manifest().rust.is_some() {
        return Ok(());
    }
    Err(Error::usage(format!("{} has no Rust side that could be compiled inside", project.name()))
        .with_remedy("leave `--rust inside` away, or name the crate under [rust] in vexlab.toml"))
}

impl Inside<'_> {
    /// The Rust side of the module, from where the user wants it.
    pub(super) fn rust(&mut self, kernel: &Kernel) -> Result<Option<RustPart>> {
        let (lab, project, how) = (self.lab, self.project, self.options.build);
        match self.options.rust {
            RustFrom::Host => build::rust_part(lab, project, kernel, how, Path::new(SOURCE)),
            RustFrom::Inside => {
                has_rust(project, self.options)?;
                let task = RustTask::new(lab, project, kernel, how, Path::new(SOURCE))?;
                task.map(|task| self.compile(&task)).transpose()
            }
        }
    }

    fn compile(&mut self, task: &RustTask<'_>) -> Result<RustPart> {
        let (lab, machine) = (self.lab, self.place.name);
        let said = self.ask(
            "asking for its Rust compiler",
            json!({ "op": "toolchain", "dir": Path::new(SOURCE).join(&task.dir) }),
            QUESTIONS,
        )?;
        let failed = |cause: String| {
            Error::lab(format!("asking the machine {machine} for its Rust compiler failed"))
                .with_source(cause)
        };
        if let Some(why) = said.failure() {
            return Err(failed(why));
        }
        let told: Told = serde_json::from_value(said.value).map_err(|error| failed(error.to_string()))?;
        let compiler = Compiler::judge(machine, told, task)?;
        let name = task.name().display();
        lab.progress(
            &format!("compiling the crate {name} in {machine} with rustc {}", compiler.version),
            0,
            0,
        );
        let compiled = self.cargo(task, &compiler);
        lab.progress_end();
        let compiled = compiled?;
        let output = compiled.text();
        if compiled.status != 0 {
            let what = format!("the Rust build of {} in {machine} failed", self.project.name());
            return Err(Error::new(Kind::Build, what).with_source(output));
        }
        if !output.trim().is_empty() {
            lab.note(output.trim_end());
        }
        let (file, library) = self.library(task)?;
        lab.note(&format!("the crate {name} was compiled in {machine}, by its rustc {}", compiler.version));
        task.link(&file, &library)
    }

    fn cargo(&mut self, task: &RustTask<'_>, compiler: &Compiler) -> Result<Said> {
        let (root, dir) = (self.project.root().display().to_string(), task.dir.display().to_string());
        let mut words: Vec<String> =
            ["unshare", "--mount", "sh", "-c", AS_HERE, "sh", SOURCE].map(str::to_owned).into();
        words.extend([root, dir, compiler.cargo.clone()]);
        words.extend(task.arguments.iter().cloned());
        words.extend(["--artifact-dir".to_owned(), output(self.project.name())]);
        if let Some(vendored) = compiler.vendored.as_ref().filter(|_| !task.uses_registry) {
            words.extend(from_folder(vendored));
        }
        let mut environment: serde_json::Map<String, serde_json::Value> =
            task.settings().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
        environment.insert("RUSTC".to_owned(), json!(compiler.rustc));
        environment.insert("CARGO_TARGET_DIR".to_owned(), json!(format!("{COMPILED}/target")));
        // One that is there already may be of another name.
        let clear = json!({ "op": "run", "words": ["rm", "-rf", output(self.project.name())] });
        self.ask("compiling the Rust side", clear, SHORT)?;
        let request = json!({ "op": "run", "words": words, "environment": environment });
        let limit = self.project.manifest().timeouts.build;
        // What a project gives compilers is said of its own machine, and `core` is compiled here as well.
        let limit = if self.place.accelerator == Accelerator::Tcg { limit * SLOWER } else { limit };
        self.helper.ask(request, limit).map_err(|lost| match lost {
            Lost::Interrupted(error) => error,
            lost => Error::lab(format!("compiling the Rust side in the machine {} failed", self.place.name))
                .with_source(lost.to_string())
                .with_remedy(
                    "`build` under [timeouts] in vexlab.toml gives it more time, --memory more memory",
                ),
        })
    }

    /// The library that cargo has made, and its name.
    fn library(&mut self, task: &RustTask<'_>) -> Result<(String, Vec<u8>)> {
        let dir = output(self.project.name());
        let names =
            self.ask("looking for the library", json!({ "op": "run", "words": ["ls", &dir] }), SHORT)?;
        let names = names.text();
        let name = names.lines().find(|name| name.ends_with(".a")).ok_or_else(|| {
            Error::usage(format!("the crate in {} gives no static library", task.name().display()))
                .with_remedy("put `crate-type = [\"staticlib\"]` under [lib] in its Cargo.toml")
        })?;
        Ok((name.to_owned(), self.read(&format!("{dir}/{name}"))?))
    }
}

/// Where a project's library ends up in the machine.
fn output(project: &str) -> String {
    format!("{COMPILED}/{project}")
}

impl Compiler {
    fn judge(machine: &str, told: Told, task: &RustTask<'_>) -> Result<Self> {
        Self::found(machine, told, &task.flags, task.oldest.as_deref())
    }

    /// Whether a compiler will do that has to know these flags, and to be as new as the crate asks for.
    fn found(machine: &str, told: Told, flags: &[String], oldest: Option<&str>) -> Result<Self> {
        let (Some(rustc), Some(cargo)) = (&told.rustc, &told.cargo) else {
            let missing: Vec<&str> = [("rustc", &told.rustc), ("cargo", &told.cargo)]
                .into_iter()
                .filter_map(|(name, place)| place.is_none().then_some(name))
                .collect();
            let what = format!(
                "the machine {machine} has no {}: looked for in {}",
                missing.join(" and no "),
                told.path
            );
            return Err(Error::lab(what).with_remedy(REMEDY));
        };
        let (version, _) = parse_version(&told.version).map_err(|error| {
            error
                .while_doing(&format!("ask {rustc} in the machine {machine} for its version"))
                .with_remedy(REMEDY)
        })?;
        let what =
            |cause: &str| Error::lab(format!("rustc {version} ({rustc}) in the machine {machine} {cause}"));
        if let Some(oldest) = oldest.filter(|oldest| numbers(&version) < numbers(oldest)) {
            let cause = format!("is too old: the crate is for {oldest} and later, as its Cargo.toml says");
            return Err(what(&cause).with_remedy(REMEDY));
        }
        let unknown = unknown_flags(flags, &told.flags);
        if !unknown.is_empty() {
            let cause = format!("does not know what code for its kernel takes: {}", unknown.join(", "));
            return Err(what(&cause).with_remedy(REMEDY));
        }
        if !told.has_library {
            let cause =
                format!("comes without the source of `core` and `alloc`: {} is not there", told.library);
            return Err(what(&cause).with_remedy(
                "in the machine: `apt-get install rust-src`, or `rustup component add rust-src`; or compile the Rust \
                 side here: --rust host",
            ));
        }
        Ok(Self { rustc: rustc.clone(), cargo: cargo.clone(), version, vendored: told.vendored.clone() })
    }
}

/// What to do where the machine's compiler is none.
const REMEDY: &str = "`vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: \
     --rust host";

/// The `-Z` flags of these that a compiler's help does not list.
fn unknown_flags(flags: &[String], help: &str) -> Vec<String> {
    let known = |name: &str| {
        help.lines().any(|line| {
            let listed = line.trim_start().strip_prefix("-Z").map(str::trim_start);
            listed.and_then(|listed| listed.strip_prefix(name)).is_some_and(|rest| rest.starts_with('='))
        })
    };
    let name = |flag: &String| Some(flag.strip_prefix("-Z")?.split('=').next()?.to_owned());
    let unknown = flags.iter().filter_map(name).filter(|name| !known(name));
    unknown.map(|name| format!("-Z{name}")).collect()
}

/// A version's numbers: 1.95 is older than 1.95.1, and newer than 1.9.
fn numbers(version: &str) -> Vec<u64> {
    let release = version.split(['-', '+']).next().unwrap_or_default();
    release.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str =
        "    -Z             plt=val -- whether to use the PLT\n    -Z  retpoline-external-thunk=val -- x\n";

    fn told() -> Told {
        Told {
            path: "/usr/bin:/root/.cargo/bin".into(),
            rustc: Some("/usr/bin/rustc".into()),
            cargo: Some("/usr/bin/cargo".into()),
            version: "rustc 1.96.1 (0 2026-06-30) (built from a source tarball)\nrelease: 1.96.1\n".into(),
            library: "/usr/lib/rustlib/src/rust/library".into(),
            has_library: true,
            vendored: None,
            flags: HELP.into(),
        }
    }

    fn said(told: Told) -> String {
        let flags = ["-Cno-redzone=yes", "-Zplt=yes", "-Zretpoline-external-thunk=yes"].map(str::to_owned);
        match Compiler::found("demo", told, &flags, Some("1.95")) {
            Ok(compiler) => format!("{} {}", compiler.cargo, compiler.version),
            Err(error) => {
                let cause =
                    std::error::Error::source(&error).map(|cause| format!("\n{cause}")).unwrap_or_default();
                format!("{error}{cause}\n{}", error.remedy().unwrap_or_default())
            }
        }
    }

    #[test]
    fn a_compiler_that_will_do_is_taken() {
        assert_eq!(said(told()), "/usr/bin/cargo 1.96.1");
    }

    #[test]
    fn what_is_missing_is_named_with_where_it_was_looked_for() {
        insta::assert_snapshot!(said(Told { rustc: None, cargo: None, ..told() }), @r"
        the machine demo has no rustc and no cargo: looked for in /usr/bin:/root/.cargo/bin
        `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
        ");
        insta::assert_snapshot!(said(Told { cargo: None, ..told() }), @r"
        the machine demo has no cargo: looked for in /usr/bin:/root/.cargo/bin
        `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
        ");
        insta::assert_snapshot!(said(Told { has_library: false, ..told() }), @r"
        rustc 1.96.1 (/usr/bin/rustc) in the machine demo comes without the source of `core` and `alloc`: /usr/lib/rustlib/src/rust/library is not there
        in the machine: `apt-get install rust-src`, or `rustup component add rust-src`; or compile the Rust side here: --rust host
        ");
        insta::assert_snapshot!(said(Told { version: "error: no toolchain".into(), ..told() }), @r"
        ask /usr/bin/rustc in the machine demo for its version
        rustc -vV names no release
        `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
        ");
    }

    #[test]
    fn one_that_is_too_old_is_named_with_what_it_lacks() {
        let version = "release: 1.94.9\n".to_owned();
        insta::assert_snapshot!(said(Told { version, ..told() }), @r"
        rustc 1.94.9 (/usr/bin/rustc) in the machine demo is too old: the crate is for 1.95 and later, as its Cargo.toml says
        `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
        ");
        let flags = HELP.replace("retpoline-external-thunk", "retpoline-external-thunks");
        insta::assert_snapshot!(said(Told { flags, ..told() }), @r"
        rustc 1.96.1 (/usr/bin/rustc) in the machine demo does not know what code for its kernel takes: -Zretpoline-external-thunk
        `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
        ");
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(numbers("1.95") < numbers("1.95.1"));
        assert!(numbers("1.9.0") < numbers("1.10"));
        assert!(numbers("1.96.0-nightly") >= numbers("1.96"));
    }
}
