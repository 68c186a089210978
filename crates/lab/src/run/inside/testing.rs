// SPDX-License-Identifier: GPL-2.0-only

use std::hash::Hasher;
use std::time::{Duration, Instant};

use serde_json::json;
use siphasher::sip::SipHasher24;

use super::helper::{Lost, Said};
use super::{Built, Inside, SHORT, Step};
use crate::ktap;
use crate::project::Check;
use crate::run::splats::ended_by;
use crate::run::testing::{are_all_listed, listed};
use crate::run::trouble::{Trouble, of_taint};
use crate::share::SOURCE;
use crate::splat::Line;
use crate::verdict::{Class, Outcome, Phase};

/// Why what needs the Rust side is skipped.
const WITHOUT_RUST: &str = "the module was built without its Rust side";

/// Why a test that wants a machine of its own is skipped.
const NOT_INSIDE: &str = "it kills a machine, or gets the disks of one, and this one is kept";

impl Inside<'_> {
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
            self.seen.result(name, Outcome::Failed, None, Vec::new());
        }
        answer
    }

    /// Hears what the kernel has said while this test ran.
    fn hear(&mut self, test: &str) -> Step {
        self.seen.asked.begin(test, self.seen.log.len());
        self.state()?;
        self.seen.asked.end(self.seen.log.len());
        Ok(())
    }

    /// A result of a test, which may expect the kernel to report something.
    fn result(&mut self, name: &str, outcome: Outcome, time: Option<Duration>, details: Vec<String>) {
        if self.seen.expected.by(name) {
            // What can't be heard is on the console.
            let _ = self.state();
        }
        self.seen.result(name, outcome, time, details);
    }

    pub(super) fn load(&mut self, built: &Built) -> Step {
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
        let mut words: Vec<String> = ["sh", "-c", script, "sh", &built.there].map(str::to_owned).into();
        words.extend(manifest.module.needs.iter().cloned());
        words.push("--".to_owned());
        words.extend(manifest.module.parameters.split_whitespace().map(str::to_owned));
        let said = self.ask_module("load", json!({ "op": "run", "words": words }), limit)?;
        let time = started.elapsed();
        if said.status != 0 {
            self.seen.result("load", Outcome::Failed, None, Vec::new());
            let before = self.seen.log.len();
            // The log is what tells; that it can't be had is told by what follows.
            let _ = self.state();
            let log = self.seen.log[before..].iter();
            let log = log.map(|line| format!("kernel: {}", Line::of_console(line).text));
            let (class, what) = match said.status {
                ..0 => (Class::Oops, "the kernel killed the caller"),
                _ => (Class::RefusedByKernel, "it was refused"),
            };
            let reason = format!("loading {}.ko: {what}: {}", self.project.name(), said.text().trim());
            return Err(Trouble::new(class, reason).because(log.collect::<Vec<_>>()));
        }
        self.seen.result("load", Outcome::Passed, Some(time), Vec::new());
        self.seen.phase(Phase::Load, time);
        Ok(())
    }

    pub(super) fn prove(&mut self, built: &Built) -> Step {
        let rust = self.project.manifest().rust.as_ref();
        let Some(path) = rust.and_then(|rust| rust.proof.as_ref()) else { return Ok(()) };
        let Some(key) = built.key else {
            self.seen.result("proof", Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
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
        self.seen.result("proof", outcome, Some(started.elapsed()), details);
        Ok(())
    }

    /// Carries the project's tests out. Gives whether there are some and all were skipped.
    pub(super) fn tests(&mut self, built: &Built) -> Step<bool> {
        let started = Instant::now();
        let first = self.seen.results.len();
        let project = self.project;
        self.hear("load")?;
        for test in &project.manifest().tests {
            if test.needs_rust && built.key.is_none() {
                self.seen.result(&test.name, Outcome::Skipped, None, vec![WITHOUT_RUST.to_owned()]);
                continue;
            }
            let limit = test.timeout.unwrap_or(project.manifest().timeouts.test);
            self.seen.asked.begin(&test.name, self.seen.log.len());
            let ended = match &test.check {
                Check::Ktap(path) => self.ktap(&test.name, path, limit),
                Check::Ktests(path) => self.ktests(&test.name, path, limit),
                Check::Run(_) if test.kill_at.is_some() || test.disks_from.is_some() => {
                    self.seen.result(&test.name, Outcome::Skipped, None, vec![NOT_INSIDE.to_owned()]);
                    Ok(())
                }
                Check::Run(words) => self.program(&test.name, words, limit),
            };
            if let Some(name) = &self.seen.ended_by {
                return Err(ended_by(name));
            }
            ended?;
            self.hear(&test.name)?;
        }
        self.seen.phase(Phase::Tests, started.elapsed());
        let own = &self.seen.results[first..];
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
        match problem {
            Some(problem) => self.result(name, Outcome::Failed, Some(started.elapsed()), vec![problem]),
            None if self.seen.expected.by(name) => {
                self.result(name, Outcome::Passed, Some(started.elapsed()), Vec::new());
            }
            None => {}
        }
        Ok(())
    }

    fn ktests(&mut self, name: &str, path: &str, limit: Duration) -> Step {
        let started = Instant::now();
        let said = self.ask_module(name, json!({ "op": "read", "path": path }), limit)?;
        let parts = said.failure().map_or_else(|| listed(path, &said.text(), "test"), Err);
        let parts = parts.and_then(|parts| {
            let named =
                self.seen.expected.tests().filter_map(|test| test.strip_prefix(name)?.strip_prefix('/'));
            are_all_listed(path, &parts, named).map(|()| parts)
        });
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
        let mut words = words.to_vec();
        if let Some(own) = words[0].strip_prefix("./") {
            // The machine sees the project there.
            words[0] = format!("{SOURCE}/{own}");
        }
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
            let shown = &lines[lines.len().saturating_sub(crate::run::steps::SHOWN_LINES)..];
            details.extend(shown.iter().map(|line| (*line).to_owned()));
        }
        self.result(name, outcome, Some(started.elapsed()), details);
        Ok(())
    }

    pub(super) fn unload(&mut self) -> Step {
        let started = Instant::now();
        let limit = self.project.manifest().timeouts.unload;
        let words = ["rmmod", self.project.name()];
        let said = self.ask_module("unload", json!({ "op": "run", "words": words }), limit)?;
        let time = started.elapsed();
        if said.status != 0 {
            self.seen.result("unload", Outcome::Failed, Some(time), Vec::new());
            let class = if said.status < 0 { Class::Oops } else { Class::UnloadFailed };
            let reason = format!("unloading {} failed: {}", self.project.name(), said.text().trim());
            return Err(Trouble::new(class, reason));
        }
        self.seen.result("unload", Outcome::Passed, Some(time), Vec::new());
        self.seen.phase(Phase::Unload, time);
        Ok(())
    }

    /// Hears what the kernel says of itself when all is over.
    pub(super) fn last_look(&mut self) -> Step {
        let said = self.state()?;
        let kernel_name = self.project.name().replace('-', "_");
        let modules = said.value.get("modules").and_then(|modules| modules.as_array());
        if modules.is_none_or(|modules| modules.iter().any(|module| *module == kernel_name)) {
            let reason = format!("{kernel_name} is still loaded after it was unloaded");
            return Err(Trouble::new(Class::UnloadFailed, reason));
        }
        judge_taint(&said)
    }

    /// The same while the module is loaded.
    pub(super) fn look_at_the_kernel(&mut self) -> Step {
        judge_taint(&self.state()?)
    }

    /// Asks for the kernel's state, and keeps what it has said.
    pub(super) fn state(&mut self) -> Step<Said> {
        let said = self.ask_module("the kernel's state", json!({ "op": "state" }), SHORT)?;
        let lines = said.value.get("log").and_then(|log| log.as_array());
        let lines = lines.into_iter().flatten().filter_map(|line| line.as_str());
        self.seen.log.extend(lines.map(str::to_owned));
        said.taint().into_iter().for_each(|taint| self.seen.tainted(taint));
        Ok(said)
    }
}

fn judge_taint(said: &Said) -> Step {
    said.taint().and_then(of_taint).map_or(Ok(()), Err)
}
