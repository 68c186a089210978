// SPDX-License-Identifier: GPL-2.0-only
//! Builds and tests inside of a machine with a distribution: with its compiler and its kernel's headers, from the
//! project's live source on `/src`. The Rust object comes from the host, built for the configuration of the
//! machine's kernel.

mod heard;
mod helper;

use std::fs;
use std::hash::Hasher;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher24;

use heard::said_since;
use helper::{Helper, Lost, Said};

use super::splats::{Asked, ended_by};
use super::testing::listed;
use super::trouble::{Trouble, incomplete, of_taint, verdict, with_tests};
use super::{Record, report_phase, told};
use crate::Lab;
use crate::build::{self, ProofKey, RustPart};
use crate::error::{Context, Error, Kind, Result};
use crate::event::Event;
use crate::image::Ssh;
use crate::kernel::Kernel;
use crate::ktap;
use crate::machine::Accelerator;
use crate::project::{Check, Project};
use crate::splat::{Kinds, Line, judge};
use crate::verdict::{Class, Outcome, Phase, TestResult};

/// Where the machine sees the project.
const SOURCE: &str = "/src";

/// Where the machine builds: a folder of links to the sources, since those can't be written to.
const BUILDS: &str = "/var/lib/vexlab/build";

/// How long what takes no time may take in an emulated machine.
const SHORT: Duration = Duration::from_secs(60);

/// Why what needs the Rust side is skipped.
const WITHOUT_RUST: &str = "the module was built without its Rust side";

/// A machine with a distribution that is ready, with the project's folder mounted.
#[derive(Debug)]
pub struct Place<'a> {
    /// What the user calls it.
    pub name: &'a str,
    /// How it is reached.
    pub ssh: &'a Ssh,
    /// The file that its console goes to.
    pub console: &'a Path,
    /// What runs its instructions.
    pub accelerator: Accelerator,
}

/// A module that was built in a machine.
#[derive(Debug, Clone)]
pub struct Built {
    /// Where it is in the machine.
    pub module: String,
    /// The release of the machine's kernel.
    pub release: String,
    /// How long compiling took, Rust on the host and C in the machine.
    pub time: Duration,
    key: Option<ProofKey>,
}

/// Builds the project's module in a machine.
///
/// # Errors
///
/// When the source does not build, the machine lacks what it takes, its headers are those of another kernel, or it
/// can't be talked to.
pub fn build(lab: &Lab, project: &Project, place: &Place<'_>, options: build::Options) -> Result<Built> {
    Inside::enter(lab, project, place, options)?.build()
}

/// Builds the project's module in a machine, loads it there, tests it, and unloads it.
///
/// # Errors
///
/// When it does not come to loading. What the machine shows then is in the [`Record`].
pub fn test(
    lab: &Lab,
    project: &Project,
    place: &Place<'_>,
    options: build::Options,
    allowed: Kinds,
) -> Result<Record> {
    told(lab, &project.called(options), place.name, || tested(lab, project, place, options, allowed))
}

fn tested(
    lab: &Lab,
    project: &Project,
    place: &Place<'_>,
    options: build::Options,
    allowed: Kinds,
) -> Result<Record> {
    let started = Instant::now();
    let mut inside = Inside::enter(lab, project, place, options)?;
    let built = inside.build()?;
    inside.phase(Phase::Build, built.time);
    let mut all_skipped = false;
    let outcome = inside
        .load(&built)
        .and_then(|()| inside.prove(&built))
        .and_then(|()| inside.tests(&built).map(|skipped| all_skipped = skipped))
        .and_then(|()| inside.unload())
        .and_then(|()| inside.last_look());
    inside.finish(outcome, all_skipped, started, allowed)
}

/// Why a test that wants a machine of its own is skipped.
const NOT_INSIDE: &str = "it kills a machine, or gets the disks of one, and this one is kept";

/// A step's result: on, or to the end.
type Step<T = ()> = Result<T, Trouble>;

struct Inside<'a> {
    lab: &'a Lab,
    project: &'a Project,
    place: &'a Place<'a>,
    helper: Helper,
    /// How long the console was when this began.
    console: u64,
    log: Vec<String>,
    phases: Vec<(Phase, Duration)>,
    results: Vec<TestResult>,
    asked: Asked,
    /// The test that has ended the machine, as it expects.
    ended_by: Option<String>,
    options: build::Options,
    began: SystemTime,
}

impl<'a> Inside<'a> {
    fn enter(
        lab: &'a Lab,
        project: &'a Project,
        place: &'a Place<'a>,
        options: build::Options,
    ) -> Result<Self> {
        let helper = Helper::start(&place.ssh.with_user("root"), &lab.cancel)?;
        let console = fs::metadata(place.console).map_or(0, |data| data.len());
        let (log, phases, results) = (Vec::new(), Vec::new(), Vec::new());
        let began = SystemTime::now();
        let (asked, ended_by) = (Asked::default(), None);
        Ok(Self {
            lab,
            project,
            place,
            helper,
            console,
            log,
            phases,
            results,
            asked,
            ended_by,
            options,
            began,
        })
    }

    fn phase(&mut self, phase: Phase, time: Duration) {
        report_phase(self.lab, &mut self.phases, phase, time);
    }

    /// Asks for something in which none of the module's code runs.
    fn ask(&mut self, what: &str, request: serde_json::Value, limit: Duration) -> Result<Said> {
        self.helper.ask(request, limit).map_err(|lost| match lost {
            Lost::Interrupted(error) => error,
            lost => Error::lab(format!("{what} in the machine {} failed", self.place.name))
                .with_source(lost.to_string()),
        })
    }

    fn build(&mut self) -> Result<Built> {
        let options = self.options;
        let started = Instant::now();
        let (release, headers) = self.look()?;
        let kernel = self.kernel(&release, &headers)?;
        let rust = build::rust_part(self.lab, self.project, &kernel, options, Path::new(SOURCE))?;
        let root = format!("{BUILDS}/{}", self.project.name());
        if let Some(rust) = &rust {
            self.check_interface(rust, &release, &headers, &format!("{root}-interface"))?;
        }
        let dir = self.provide_sources(rust.as_ref(), &headers, &root)?;
        let mut words = make_words(&headers, &dir);
        build::ktest::provide(self.project)?;
        let output = self.project.output_dir();
        let output = Path::new(SOURCE).join(output.strip_prefix(self.project.root()).unwrap_or(&output));
        let flags = build::ktest::compiler_flags(&output, options.tests);
        words.push(format!("KCFLAGS=-ffile-prefix-map={root}={SOURCE} {flags}"));
        words.extend(build::ktest::make_variables(&output, options.tests));
        words.extend(self.project.manifest().module.make.iter().cloned());
        if options.c_only {
            words.push(build::C_ONLY.to_owned());
        }
        let name = self.project.name().to_owned();
        let what = format!("compiling {name} in {}", self.place.name);
        self.lab.progress(&what, 0, 0);
        let made = self.make(&words);
        self.lab.progress_end();
        let made = made?;
        let root_here = self.project.root().display().to_string();
        let output =
            build::compiler_output(&made.text(), &[]).replace(&root, &root_here).replace(SOURCE, &root_here);
        if made.status != 0 {
            let error =
                Error::new(Kind::Build, format!("the C build of {name} in {} failed", self.place.name));
            return Err(error.with_source(output));
        }
        if !output.trim().is_empty() {
            self.lab.note(output.trim_end());
        }
        let time = started.elapsed();
        Ok(Built { module: format!("{dir}/{name}.ko"), release, time, key: rust.map(|rust| rust.key) })
    }

    fn make(&mut self, words: &[String]) -> Result<Said> {
        let limit = self.project.manifest().timeouts.build;
        self.ask("the C build", json!({ "op": "run", "words": words }), limit)
    }

    /// The machine's kernel, and the headers that belong to it.
    fn look(&mut self) -> Result<(String, String)> {
        let said = self.ask("looking around", json!({ "op": "look" }), SHORT)?;
        let text = |key: &str| said.value.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        if said.value.get("source").and_then(serde_json::Value::as_bool) != Some(true) {
            return Err(Error::usage(format!(
                "the machine {} does not see the project: nothing is on {SOURCE}",
                self.place.name
            ))
            .with_remedy("start it in the project's folder"));
        }
        let release = text("release").unwrap_or_default();
        headers(self.place.name, &release, text("build"), text("build_release"))
            .map(|headers| (release, headers))
    }

    /// What the Rust side has to know of the machine's kernel. It is fetched once for each release.
    fn kernel(&mut self, release: &str, headers: &str) -> Result<Kernel> {
        let dir = self.project.output_dir().join(format!("in-{release}"));
        for (name, from) in [
            ("config", format!("{headers}/.config")),
            ("Module.symvers", format!("{headers}/Module.symvers")),
        ] {
            if !dir.join(name).is_file() {
                let said = self.ask("reading the headers", json!({ "op": "read", "path": from }), SHORT)?;
                if let Some(why) = said.failure() {
                    return Err(
                        Error::lab(format!("the machine {} has no {from}", self.place.name)).with_source(why)
                    );
                }
                crate::cache::write_atomically(&dir.join(name), &said.data)?;
            }
        }
        Kernel::elsewhere(&format!("in-{release}"), release, &dir)
    }

    /// Has the machine's compiler compare the header with the Rust side. What has been found to agree for this
    /// kernel is not compared again: a fresh machine would begin anew each time.
    fn check_interface(&mut self, rust: &RustPart, release: &str, headers: &str, dir: &str) -> Result<()> {
        let stamp = self.project.output_dir().join(format!("in-{release}/interface-stamp"));
        let mut hash = Sha256::new();
        for (name, content) in &rust.interface {
            hash.update(format!("{name} {}\n", content.len()));
            hash.update(content);
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if rust.interface.is_empty() || fs::read_to_string(&stamp).is_ok_and(|agreed| agreed == digest) {
            return Ok(());
        }
        for (name, content) in &rust.interface {
            self.put(&format!("{dir}/{name}"), content)?;
        }
        let said = self.make(&make_words(headers, dir))?;
        if said.status == 0 {
            return crate::cache::write_atomically(&stamp, digest.as_bytes());
        }
        Err(Error::new(Kind::Build, "the header and the Rust side differ: the comparison failed")
            .with_source(build::compiler_output(&said.text(), &[])))
    }

    /// Has the links to the sources and the Rust object in the machine. Gives the folder to build in.
    fn provide_sources(&mut self, rust: Option<&RustPart>, headers: &str, root: &str) -> Result<String> {
        let project = self.project.root();
        let source_dir = self.project.module_dir()?;
        let relative = source_dir.strip_prefix(project).unwrap_or(Path::new(""));
        let dir = if relative.as_os_str().is_empty() {
            root.to_owned()
        } else {
            format!("{root}/{}", relative.display())
        };
        let sources = build::sources(project)?;
        let links: serde_json::Map<String, serde_json::Value> = sources
            .keys()
            .map(|path| (path.display().to_string(), json!(format!("{SOURCE}/{}", path.display()))))
            .collect();
        self.ask(
            "providing the sources",
            json!({ "op": "mirror", "root": root, "links": links, "keep": [] }),
            SHORT,
        )?;
        if let Some(rust) = rust {
            let content = fs::read(&rust.object).context(|| format!("read {}", rust.object.display()))?;
            let object = format!("{dir}/{}", rust.name);
            // What was sent is compared with what is there, and objtool changes it.
            if self.put(&format!("{root}-rust.o"), &content)? {
                self.objtool(rust, headers, &format!("{root}-rust.o"), &object)?;
            }
            let command = format!("cmd_{object} := linked by vexlab\n");
            self.put(&format!("{dir}/.{}.cmd", rust.name), command.as_bytes())?;
        }
        Ok(dir)
    }

    /// Puts the Rust object in its place, after the objtool of the machine's headers has looked at it, where that is
    /// ours to do.
    fn objtool(&mut self, rust: &RustPart, headers: &str, sent: &str, place: &str) -> Result<()> {
        let copy = json!({ "op": "run", "words": ["cp", "-f", sent, place] });
        let mut said = self.ask("placing the Rust object", copy, SHORT)?;
        if let (0, Some(arguments)) = (said.status, &rust.objtool) {
            let mut words = vec![format!("{headers}/tools/objtool/objtool")];
            words.extend(arguments.iter().cloned());
            words.push(place.to_owned());
            said = self.ask("objtool", json!({ "op": "run", "words": words }), SHORT)?;
        }
        if said.status == 0 {
            return Ok(());
        }
        let _ =
            self.ask("removing the Rust object", json!({ "op": "run", "words": ["rm", "-f", sent] }), SHORT);
        Err(Error::new(Kind::Build, format!("the Rust object can't be placed in {}", self.place.name))
            .with_source(said.text()))
    }

    /// Writes a file in the machine; gives whether it was another before.
    fn put(&mut self, path: &str, content: &[u8]) -> Result<bool> {
        let data = helper::encode(content);
        let said = self.ask("writing a file", json!({ "op": "put", "path": path, "data": data }), SHORT)?;
        match said.failure() {
            Some(why) => Err(Error::lab(format!("write {path} in {}", self.place.name)).with_source(why)),
            None => Ok(said.value.get("changed").and_then(serde_json::Value::as_bool) != Some(false)),
        }
    }

    /// Asks for something in which the module's code may run, on behalf of the result called `name`.
    fn ask_module(&mut self, name: &str, request: serde_json::Value, limit: Duration) -> Step<Said> {
        let answer = self.helper.ask(request, limit).map_err(|lost| {
            let class = match lost {
                Lost::TimedOut(_) => Class::Hang,
                Lost::Ended(_) => Class::MachineLost,
                Lost::Interrupted(_) => Class::Interrupted,
            };
            Trouble::new(class, format!("{name}: {lost}"))
        });
        if answer.is_err() {
            self.result(name, Outcome::Failed, None, Vec::new());
        }
        answer
    }

    fn load(&mut self, built: &Built) -> Step {
        let started = Instant::now();
        let manifest = self.project.manifest();
        let limit = manifest.timeouts.load;
        let script = r#"set -e
module=$1; shift
needs=$(modinfo -F depends "$module" | tr ',' ' ')
while [ "$1" != -- ]; do needs="$needs $1"; shift; done
shift
[ -z "${needs# }" ] || modprobe -a $needs
exec insmod "$module" "$@""#;
        let mut words: Vec<String> = ["sh", "-c", script, "sh", &built.module].map(str::to_owned).into();
        words.extend(manifest.module.needs.iter().cloned());
        words.push("--".to_owned());
        words.extend(manifest.module.parameters.split_whitespace().map(str::to_owned));
        let said = self.ask_module("load", json!({ "op": "run", "words": words }), limit)?;
        let time = started.elapsed();
        if said.status != 0 {
            self.result("load", Outcome::Failed, None, Vec::new());
            let before = self.log.len();
            // The log is what tells; that it can't be had is told by what follows.
            let _ = self.state();
            let log =
                self.log[before..].iter().map(|line| format!("kernel: {}", Line::of_console(line).text));
            let (class, what) = match said.status {
                ..0 => (Class::Oops, "the kernel killed the caller"),
                _ => (Class::RefusedByKernel, "it was refused"),
            };
            let reason = format!("loading {}.ko: {what}: {}", self.project.name(), said.text().trim());
            return Err(Trouble::new(class, reason).because(log.collect::<Vec<_>>()));
        }
        self.result("load", Outcome::Passed, Some(time), Vec::new());
        self.phase(Phase::Load, time);
        Ok(())
    }

    fn prove(&mut self, built: &Built) -> Step {
        let rust = self.project.manifest().rust.as_ref();
        let Some(path) = rust.and_then(|rust| rust.proof.as_ref()) else { return Ok(()) };
        let Some(key) = built.key else {
            self.result("proof", Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
            return Ok(());
        };
        let started = Instant::now();
        let challenge: [u8; 32] =
            crate::random_bytes().map_err(|error| Trouble::new(Class::LabFailed, error.to_string()))?;
        let key = u128::from_le_bytes(key);
        let mut hasher = SipHasher24::new_with_keys(key as u64, (key >> 64) as u64);
        hasher.write(&challenge);
        let expected = format!("{:016x}", hasher.finish());
        let input: String = challenge.iter().map(|byte| format!("{byte:02x}")).collect();
        let limit = self.project.manifest().timeouts.test;
        let said = self.ask_module("proof", json!({ "op": "ask", "path": path, "input": input }), limit)?;
        let answer = said.text().trim().to_owned();
        let details = match said.failure() {
            Some(why) => vec![why],
            None if answer == expected => Vec::new(),
            None => {
                vec![format!("expected {expected}, which only this build's Rust can know; got `{answer}`")]
            }
        };
        let outcome = if details.is_empty() { Outcome::Passed } else { Outcome::Failed };
        self.result("proof", outcome, Some(started.elapsed()), details);
        Ok(())
    }

    /// Carries the project's tests out. Gives whether there are some and all were skipped.
    fn tests(&mut self, built: &Built) -> Step<bool> {
        let started = Instant::now();
        let first = self.results.len();
        let project = self.project;
        self.hear("load")?;
        for test in &project.manifest().tests {
            if test.needs_rust && built.key.is_none() {
                self.result(&test.name, Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
                continue;
            }
            let limit = test.timeout.unwrap_or(project.manifest().timeouts.test);
            self.asked.begin(&test.name, self.log.len());
            let ended = match &test.check {
                Check::Ktap(path) => self.ktap(&test.name, path, limit),
                Check::Ktests(path) => self.ktests(&test.name, path, limit),
                Check::Run(_) if test.kill_at.is_some() || test.disks_from.is_some() => {
                    self.result(&test.name, Outcome::Skipped, None, vec![NOT_INSIDE.to_owned()]);
                    Ok(())
                }
                Check::Run(words) => self.program(&test.name, words, limit),
            };
            if let Some(name) = &self.ended_by {
                return Err(ended_by(name));
            }
            ended?;
            self.hear(&test.name)?;
        }
        self.phase(Phase::Tests, started.elapsed());
        let own = &self.results[first..];
        Ok(!own.is_empty() && own.iter().all(|test| test.outcome == Outcome::Skipped))
    }

    fn ktap(&mut self, name: &str, path: &str, limit: Duration) -> Step {
        let started = Instant::now();
        let said = self.ask_module(name, json!({ "op": "read", "path": path }), limit)?;
        let (lines, problem) = match said.failure() {
            Some(why) => (Vec::new(), Some(why)),
            None => {
                let (lines, problem) = ktap::parse(&said.text());
                (lines, problem.map(|problem| format!("{path} is no complete KTAP report: {problem}")))
            }
        };
        for line in lines {
            self.result(&format!("{name}/{}", line.name), line.outcome, None, line.details);
        }
        if let Some(problem) = problem {
            self.result(name, Outcome::Failed, Some(started.elapsed()), vec![problem]);
        } else if self.project.manifest().expected().iter().any(|(test, _)| test == name) {
            self.result(name, Outcome::Passed, Some(started.elapsed()), Vec::new());
        }
        Ok(())
    }

    fn ktests(&mut self, name: &str, path: &str, limit: Duration) -> Step {
        let started = Instant::now();
        let said = self.ask_module(name, json!({ "op": "read", "path": path }), limit)?;
        let parts = said.failure().map_or_else(|| listed(path, &said.text()), Err);
        let parts = match parts {
            Ok(parts) => parts,
            Err(why) => {
                self.result(name, Outcome::Failed, Some(started.elapsed()), vec![why]);
                return Ok(());
            }
        };
        for part in parts {
            let started = Instant::now();
            let name = format!("{name}/{part}");
            let said = self.ask_module(&name, json!({ "op": "ask", "path": path, "input": part }), limit)?;
            let (outcome, details) = match said.failure() {
                Some(why) => (Outcome::Failed, vec![why]),
                None => ktap::of_one(&part, &said.text()),
            };
            self.result(&name, outcome, Some(started.elapsed()), details);
        }
        Ok(())
    }

    fn program(&mut self, name: &str, words: &[String], limit: Duration) -> Step {
        let started = Instant::now();
        let said = self.ask_module(name, json!({ "op": "run", "words": words }), limit)?;
        let mut details = match (said.failure(), said.status) {
            (Some(why), _) => vec![why],
            (None, 0) => Vec::new(),
            (None, signal @ ..0) => vec![format!("ended by signal {}", -signal)],
            (None, status) => vec![format!("exit status {status}")],
        };
        let outcome = if details.is_empty() { Outcome::Passed } else { Outcome::Failed };
        if outcome == Outcome::Failed {
            let text = said.text();
            let lines: Vec<&str> = text.lines().collect();
            let shown = &lines[lines.len().saturating_sub(super::steps::SHOWN_LINES)..];
            details.extend(shown.iter().map(|line| (*line).to_owned()));
        }
        self.result(name, outcome, Some(started.elapsed()), details);
        Ok(())
    }

    fn unload(&mut self) -> Step {
        let started = Instant::now();
        let limit = self.project.manifest().timeouts.unload;
        let words = ["rmmod", self.project.name()];
        self.asked.begin("unload", self.log.len());
        let said = self.ask_module("unload", json!({ "op": "run", "words": words }), limit)?;
        let time = started.elapsed();
        if said.status != 0 {
            self.result("unload", Outcome::Failed, Some(time), Vec::new());
            let class = if said.status < 0 { Class::Oops } else { Class::UnloadFailed };
            let reason = format!("unloading {} failed: {}", self.project.name(), said.text().trim());
            return Err(Trouble::new(class, reason));
        }
        self.result("unload", Outcome::Passed, Some(time), Vec::new());
        self.phase(Phase::Unload, time);
        Ok(())
    }

    /// Hears what the kernel says of itself when all is over.
    fn last_look(&mut self) -> Step {
        let said = self.state()?;
        let kernel_name = self.project.name().replace('-', "_");
        let modules = said.value.get("modules").and_then(|modules| modules.as_array());
        if modules.is_none_or(|modules| modules.iter().any(|module| *module == kernel_name)) {
            let reason = format!("{kernel_name} is still loaded after it was unloaded");
            return Err(Trouble::new(Class::UnloadFailed, reason));
        }
        let taint = said.value.get("taint").and_then(serde_json::Value::as_u64).unwrap_or_default();
        of_taint(taint).map_or(Ok(()), Err)
    }

    fn result(&mut self, name: &str, outcome: Outcome, time: Option<Duration>, details: Vec<String>) {
        let (outcome, details) = self.as_expected(name, outcome, details);
        let result = TestResult { name: name.to_owned(), outcome, time, attempts: 1, details };
        self.lab.reporter.event(&Event::Test(&result));
        self.results.push(result);
    }

    fn finish(
        mut self,
        outcome: Step,
        all_skipped: bool,
        started: Instant,
        allowed: Kinds,
    ) -> Result<Record> {
        if outcome.as_ref().is_err_and(|trouble| !matches!(trouble.class, Class::MachineLost | Class::Hang)) {
            // What is known without it is judged without it.
            let _ = self.state();
        }
        let (console, console_lost) = match said_since(self.place.console, self.console) {
            Ok(console) => (console, None),
            Err(error) => (Vec::new(), Some(error.to_string())),
        };
        let mut splats = self.splats();
        self.asked.attribute(&mut splats, &self.records());
        splats.iter().for_each(|splat| self.lab.reporter.event(&Event::Splat(splat)));
        let judged = judge(&splats, &self.project.manifest().expected(), allowed);
        let (mut class, mut reasons) = verdict(outcome, &judged, incomplete(console_lost, false));
        with_tests(&mut class, &mut reasons, &self.results, all_skipped);
        if class == Class::Interrupted {
            return Err(Error::new(Kind::Interrupted, "interrupted"));
        }
        let dir = self.keep_console(console)?;
        let Self { place, phases, results, .. } = self;
        Ok(Record {
            module: self.project.called(self.options),
            kernel: place.name.to_owned(),
            started: self.began,
            splats,
            class,
            reasons,
            exit: None,
            accelerator: place.accelerator,
            phases,
            time: started.elapsed(),
            tests: results,
            console: dir.join("console.log"),
            dir,
        })
    }
}

/// The command that builds a module in the machine.
fn make_words(headers: &str, dir: &str) -> Vec<String> {
    let mut words: Vec<String> = ["make", "-s", "-C", headers].map(str::to_owned).into();
    words.push(format!("M={dir}"));
    // The kernel's vmlinux, which module BTF is made against, is not part of the headers.
    words.extend(["-j2", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"].map(str::to_owned));
    words
}

/// The headers of the running kernel, where they are its own.
fn headers(machine: &str, release: &str, build: Option<String>, of: Option<String>) -> Result<String> {
    let remedy = format!("in the machine: apt-get install linux-headers-{release}");
    match (build, of) {
        (Some(build), Some(of)) if of == release => Ok(build),
        (Some(build), of) => {
            let of = of.unwrap_or_else(|| "no kernel".to_owned());
            let what =
                format!("the machine {machine} runs {release}, and its headers in {build} are those of {of}");
            Err(Error::lab(what).with_remedy(remedy))
        }
        (None, _) => Err(Error::lab(format!("the machine {machine} has no headers of its kernel {release}"))
            .with_remedy(remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_console_that_was_cut_off_is_not_whole() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "before, after").unwrap();
        assert_eq!(said_since(file.path(), 8).unwrap(), b"after");
        fs::write(file.path(), "after").unwrap();
        assert!(said_since(file.path(), 8).unwrap_err().to_string().ends_with(" has become shorter"));
        assert!(said_since(Path::new("/nowhere"), 0).is_err());
    }

    #[test]
    fn headers_of_another_kernel_are_named_with_it() {
        let of = |build: Option<&str>, of: Option<&str>| {
            headers("demo", "6.1.0-56-amd64", build.map(str::to_owned), of.map(str::to_owned))
        };
        assert_eq!(of(Some("/h"), Some("6.1.0-56-amd64")).unwrap(), "/h");
        let said = |error: Error| format!("{error}\n{}", error.remedy().unwrap_or_default());
        insta::assert_snapshot!(said(of(Some("/h"), Some("6.1.0-55-amd64")).unwrap_err()), @r"
        the machine demo runs 6.1.0-56-amd64, and its headers in /h are those of 6.1.0-55-amd64
        in the machine: apt-get install linux-headers-6.1.0-56-amd64
        ");
        insta::assert_snapshot!(said(of(None, None).unwrap_err()), @r"
        the machine demo has no headers of its kernel 6.1.0-56-amd64
        in the machine: apt-get install linux-headers-6.1.0-56-amd64
        ");
    }
}
