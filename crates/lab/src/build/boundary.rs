// SPDX-License-Identifier: GPL-2.0-only
//! The boundary between C and Rust in a finished module, held to the header: each function has the tests that it has to
//! have, each test does what it says of itself, and what may be called in any context reaches nothing that may sleep.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ko::Claim;

use super::fingerprint::{Fingerprint, Stamp};
use super::header::{self, Declared};
use super::{Options, Transcript};
use crate::error::{Context, Error, Kind, Result, nearest};
use crate::project::{Project, Rust, Untested};

/// With what a function may be called. The build believes a test in this.
const KINDS: [&str; 3] = ["good", "edge", "bad"];

/// Functions of the kernel that may sleep however they are called. Those that do so when their flags let them, as
/// `kmalloc` does, are not among them.
const SLEEPING: [&str; 22] = [
    "__cond_resched",
    "__might_sleep",
    "__vmalloc",
    "cancel_work_sync",
    "down",
    "down_read",
    "down_write",
    "flush_work",
    "kthread_stop",
    "msleep",
    "mutex_lock",
    "mutex_lock_interruptible",
    "mutex_lock_killable",
    "mutex_lock_nested",
    "schedule",
    "schedule_timeout",
    "synchronize_rcu",
    "usleep_range_state",
    "vmalloc",
    "vzalloc",
    "wait_for_completion",
    "wait_for_completion_timeout",
];

/// Holds a module to its project's header, if that names one. `exports` are the functions that its Rust side offers.
///
/// # Errors
///
/// [`Kind::Build`] with all that is wrong; [`Kind::Lab`] when a file can't be read.
pub(crate) fn hold(project: &Project, options: Options, exports: &[String], module: &[u8]) -> Result<()> {
    let Some((manifest, header)) = header_of(project) else { return Ok(()) };
    let path = project.root().join(header);
    let text =
        fs::read_to_string(&path).context(|| format!("read the interface's header {}", path.display()))?;
    let interface = Interface {
        name: header.display().to_string(),
        functions: header::functions(&text),
        exports,
        manifest,
    };
    let asked = ko::with_boundary(module, |boundary| {
        let sleeping = interface.sleeping(boundary);
        // What was left out of a minimal module may be its tests.
        let claims = (options.tests && !options.minimal).then(|| interface.claims(boundary));
        (sleeping, claims)
    });
    let (mut problems, claims) =
        asked.map_err(|finding| Error::lab(format!("{} can't be read: {finding}", project.name())))?;
    if let Some(claims) = claims {
        problems.extend(interface.judge(&claims));
    }
    let Some(first) = problems.first() else { return Ok(()) };
    let remedy = first.remedy.clone();
    let lines: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
    let message = format!("{} does not keep to its interface {}", project.name(), interface.name);
    Err(Error::new(Kind::Build, message).with_source(Transcript(lines.join("\n"))).with_remedy(remedy))
}

/// As [`hold`], for a module that was built here: one that was found to keep to its header isn't looked at again.
pub(super) fn hold_once(
    project: &Project,
    options: Options,
    exports: &[String],
    module: &Path,
    dir: &Path,
) -> Result<()> {
    let Some((manifest, header)) = header_of(project) else { return Ok(()) };
    let mut fingerprint = Fingerprint::default();
    fingerprint.file(module).file(&project.root().join(header)).text(format!("{manifest:?}"));
    let stamp = Stamp::new(dir.join("boundary-stamp"), fingerprint);
    if stamp.is_fresh(&[]) {
        return Ok(());
    }
    let bytes = fs::read(module).context(|| format!("read {}", module.display()))?;
    hold(project, options, exports, &bytes)?;
    stamp.store()
}

fn header_of(project: &Project) -> Option<(&Rust, &Path)> {
    let manifest = project.manifest().rust.as_ref()?;
    Some((manifest, manifest.header.as_deref()?))
}

/// Something that is not as it has to be, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
struct Problem {
    what: String,
    remedy: String,
}

impl Problem {
    fn new(what: String, remedy: impl Into<String>) -> Self {
        Self { what, remedy: remedy.into() }
    }
}

/// A header's functions, and what is asked of them.
struct Interface<'a> {
    /// The header's path in the project.
    name: String,
    functions: Vec<Declared>,
    /// The functions that Rust offers.
    exports: &'a [String],
    manifest: &'a Rust,
}

impl Interface<'_> {
    fn names(&self) -> BTreeSet<&str> {
        self.functions.iter().map(|function| function.name.as_str()).collect()
    }

    fn exports(&self) -> BTreeSet<&str> {
        self.exports.iter().map(String::as_str).collect()
    }

    fn claims(&self, boundary: &ko::Boundary<'_, '_>) -> Vec<Claim> {
        boundary.claims(&self.names(), &self.exports())
    }

    /// A function, by its place: `kernel/vexfs.h:58: vexfs_c_alloc`.
    fn place(&self, function: &Declared) -> String {
        format!("{}:{}: {}", self.name, function.line, function.name)
    }

    fn find(&self, name: &str) -> Option<&Declared> {
        self.functions.iter().find(|function| function.name == name)
    }

    /// The side that has to call a function: the one that does not offer it.
    fn caller(&self, function: &str) -> &'static str {
        if self.exports.iter().any(|export| export == function) { "C" } else { "Rust" }
    }

    /// What may be called in any context and reaches what may not.
    fn sleeping(&self, boundary: &ko::Boundary<'_, '_>) -> Vec<Problem> {
        let those = |any: bool| -> BTreeSet<&str> {
            let those = self.functions.iter().filter(|function| function.any_context == any);
            those.map(|function| function.name.as_str()).collect()
        };
        let any = those(true);
        if any.is_empty() {
            return Vec::new();
        }
        let may_sleep = those(false).into_iter().chain(SLEEPING).collect();
        let ways = boundary.ways(&any, &may_sleep);
        ways.iter().filter_map(|way| self.sleeps(way)).collect()
    }

    fn sleeps(&self, way: &ko::Way) -> Option<Problem> {
        let place = self.place(self.find(&way.from)?);
        let (to, chain) = (&way.to, way.functions.join(" → "));
        let what = format!("{place} may be called in any context, and reaches {to}, which may not: {chain}");
        let mut remedy = format!("have it do without {to}, or take `Context: any` out of its comment");
        if self.find(to).is_some() {
            remedy.push_str(&format!("; if {to} never sleeps, say so in its own"));
        }
        Some(Problem::new(what, remedy))
    }

    /// What is wrong with the tests, given what they say.
    fn judge(&self, claims: &[Claim]) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut tested: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for claim in claims {
            match self.read(claim) {
                Ok((function, kinds)) => tested.entry(function).or_default().extend(kinds),
                Err(problem) => problems.push(problem),
            }
        }
        problems.extend(self.excuses(&tested));
        if self.manifest.every_function_tested {
            problems.extend(
                self.functions.iter().filter_map(|one| self.lacking(one, tested.get(one.name.as_str()))),
            );
            problems.extend(self.undeclared());
        }
        problems
    }

    /// The function that a test says that it calls, and with what, if it does.
    fn read<'c>(&self, claim: &'c Claim) -> Result<(&'c str, Vec<&'c str>), Problem> {
        let (test, says) = (&claim.test, &claim.says);
        let (name, kinds) = says.split_once(':').unwrap_or((says, ""));
        let (name, kinds) = (name.trim(), kinds.split_whitespace().collect::<Vec<_>>());
        if kinds.is_empty() || kinds.iter().any(|kind| !KINDS.contains(kind)) {
            let what = format!("the test {test} says that it is of `{says}`, which is not understood");
            return Err(Problem::new(what, "say `FUNCTION: KINDS`, each kind one of good, edge and bad"));
        }
        let Some(function) = self.find(name) else {
            let what =
                format!("the test {test} says that it is of {name}, which {} does not declare", self.name);
            let remedy = match nearest(name, self.names()) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "declare it there, or take the statement away".to_owned(),
            };
            return Err(Problem::new(what, remedy));
        };
        let (place, side) = (self.place(function), if claim.in_rust { "Rust" } else { "C" });
        if self.caller(name) != side {
            let what = format!("{place}: the test {test} says that it is of it, and both are in {side}");
            let remedy = format!("call it in a test in {}: nothing crosses here", self.caller(name));
            return Err(Problem::new(what, remedy));
        }
        if !claim.calls.contains(name) {
            let what = format!("{place}: the test {test} says that it is of it, and does not call it");
            return Err(Problem::new(what, format!("call it in {test}, or take the statement away")));
        }
        Ok((name, kinds))
    }

    /// What a function's tests lack.
    fn lacking(&self, function: &Declared, kinds: Option<&BTreeSet<&str>>) -> Option<Problem> {
        if self.manifest.untested.iter().any(|excused| excused.function == function.name) {
            return None;
        }
        let wanted = [true, function.takes_arguments, function.can_fail];
        let has = |kind: &str| kinds.is_some_and(|kinds| kinds.contains(kind));
        let lacks = KINDS.iter().zip(wanted).filter(|(kind, wanted)| *wanted && !has(kind));
        let lacks: Vec<&str> = lacks.map(|(kind, _)| *kind).collect();
        if lacks.is_empty() {
            return None;
        }
        let (place, side) = (self.place(function), self.caller(&function.name));
        let what = match kinds {
            None => format!("{place}: no test in {side} is of it"),
            Some(_) => format!("{place}: no test in {side} calls it with {} arguments", lacks.join(" and ")),
        };
        let name = &function.name;
        let kinds = lacks.join(" ");
        let how = match side {
            "C" => format!("KTEST_OF(TEST, {name}, {kinds})"),
            _ => format!("#[ktest(of = \"{name}: {kinds}\")]"),
        };
        let remedy = format!(
            "call it in a test in {side} that says so: {how}; what can't be tested is excused by [[rust.untested]] in \
             vexlab.toml"
        );
        Some(Problem::new(what, remedy))
    }

    /// Excuses that nothing needs.
    fn excuses(&self, tested: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Problem> {
        let excuse = |excused: &Untested| {
            let name = excused.function.as_str();
            let what = match self.find(name) {
                None => format!("{name} is excused from being tested, and {} does not declare it", self.name),
                Some(function) if tested.contains_key(name) => {
                    format!("{}: it is excused from being tested, and has a test", self.place(function))
                }
                Some(_) => return None,
            };
            Some(Problem::new(what, "take its [[rust.untested]] out of vexlab.toml"))
        };
        self.manifest.untested.iter().filter_map(excuse).collect()
    }

    /// What crosses without being in the header.
    fn undeclared(&self) -> Vec<Problem> {
        let exports = self.exports.iter().filter(|export| self.find(export).is_none());
        let what = |name| format!("Rust offers {name} to C, and {} does not declare it", self.name);
        exports.map(|name| Problem::new(what(name), "declare it there, or have it not exported")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str =
        "/* Return: 0; -EINVAL: no. */\nint rs_check(int a);\nint rs_count(void);\nvoid c_log(int level);\n";

    fn claim(test: &str, says: &str, calls: &str) -> Claim {
        Claim {
            test: test.to_owned(),
            says: says.to_owned(),
            in_rust: test.starts_with("rust"),
            calls: calls.split_whitespace().map(str::to_owned).collect(),
        }
    }

    /// What is said of these tests, with the remedies.
    fn said(manifest: &str, claims: &[Claim]) -> String {
        let manifest: Rust = toml::from_str(&format!("crate = 'r'\nheader = 'x.h'\n{manifest}")).unwrap();
        let exports = ["rs_check", "rs_count"].map(str::to_owned);
        let interface = Interface {
            name: "x.h".to_owned(),
            functions: header::functions(HEADER),
            exports: &exports,
            manifest: &manifest,
        };
        let problems = interface.judge(claims);
        problems.iter().map(|one| format!("{}\n  help: {}\n", one.what, one.remedy)).collect()
    }

    fn whole() -> Vec<Claim> {
        vec![
            claim("c.check", "rs_check: good bad", "rs_check"),
            claim("c.edges", "rs_check: edge", "rs_check"),
            claim("c.count", "rs_count: good", "rs_count"),
            claim("rust.log", "c_log: good edge", "c_log"),
        ]
    }

    const ALL: &str = "every-function-tested = true\n";

    #[test]
    fn what_is_tested_with_each_kind_that_it_can_be_is_in_order() {
        assert_eq!(said(ALL, &whole()), "");
        assert_eq!(said("", &[]), "", "nobody asked for it");
    }

    #[test]
    fn a_function_without_a_test_is_named_with_its_line() {
        let mut claims = whole();
        claims.retain(|claim| claim.says != "rs_check: edge" && claim.test != "rust.log");
        insta::assert_snapshot!(said(ALL, &claims), @r#"
        x.h:2: rs_check: no test in C calls it with edge arguments
          help: call it in a test in C that says so: KTEST_OF(TEST, rs_check, edge); what can't be tested is excused by [[rust.untested]] in vexlab.toml
        x.h:4: c_log: no test in Rust is of it
          help: call it in a test in Rust that says so: #[ktest(of = "c_log: good edge")]; what can't be tested is excused by [[rust.untested]] in vexlab.toml
        "#);
    }

    #[test]
    fn a_test_that_says_what_is_not_so_is_named() {
        let mut claims = whole();
        claims.push(claim("c.other", "rs_check: good", "rs_count"));
        claims.push(claim("c.log", "c_log: good", "c_log"));
        claims.push(claim("c.typo", "rs_chek: good", ""));
        claims.push(claim("c.kind", "rs_check: wrong", "rs_check"));
        claims.push(claim("c.nothing", "rs_check", "rs_check"));
        insta::assert_snapshot!(said("", &claims), @r"
        x.h:2: rs_check: the test c.other says that it is of it, and does not call it
          help: call it in c.other, or take the statement away
        x.h:4: c_log: the test c.log says that it is of it, and both are in C
          help: call it in a test in Rust: nothing crosses here
        the test c.typo says that it is of rs_chek, which x.h does not declare
          help: did you mean rs_check?
        the test c.kind says that it is of `rs_check: wrong`, which is not understood
          help: say `FUNCTION: KINDS`, each kind one of good, edge and bad
        the test c.nothing says that it is of `rs_check`, which is not understood
          help: say `FUNCTION: KINDS`, each kind one of good, edge and bad
        ");
    }

    #[test]
    fn an_excuse_has_to_be_needed() {
        let excuse =
            |name: &str| format!("{ALL}[[untested]]\nfunction = '{name}'\nreason = 'it ends the machine'\n");
        let without_log: Vec<Claim> = whole().into_iter().filter(|claim| claim.test != "rust.log").collect();
        assert_eq!(said(&excuse("c_log"), &without_log), "");
        insta::assert_snapshot!(said(&excuse("c_log"), &whole()), @r"
        x.h:4: c_log: it is excused from being tested, and has a test
          help: take its [[rust.untested]] out of vexlab.toml
        ");
        insta::assert_snapshot!(said(&excuse("c_other"), &whole()), @r"
        c_other is excused from being tested, and x.h does not declare it
          help: take its [[rust.untested]] out of vexlab.toml
        ");
    }
}
