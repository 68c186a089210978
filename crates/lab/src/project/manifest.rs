// SPDX-License-Identifier: GPL-2.0-only
//! The text of `vexlab.toml`, typed and checked.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use super::{Bench, Coverage, Life};
use crate::error::nearest;
use crate::splat::Expectation;

/// What `vexlab.toml` says.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Manifest {
    /// The kernels to test on, by name or path; at least one.
    pub kernels: Vec<String>,
    /// The module.
    pub module: Module,
    /// The crate linked into it, if it has one.
    pub rust: Option<Rust>,
    /// The virtual machine.
    #[serde(default)]
    pub machine: Machine,
    /// When a phase counts as hung.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What the finished module is held to.
    #[serde(default)]
    pub check: Checks,
    /// How it is loaded and unloaded beside its own tests.
    #[serde(default)]
    pub life: Life,
    /// What of it doesn't count where it is looked at which of its lines are run.
    #[serde(default)]
    pub coverage: Coverage,
    /// What is done with the loaded module.
    #[serde(default, rename = "test")]
    pub tests: Vec<Test>,
    /// What is measured of it.
    #[serde(default, rename = "bench")]
    pub benches: Vec<Bench>,
}

/// The `[module]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Module {
    /// The module's name, as in `NAME.ko`.
    pub name: String,
    /// The folder with the Kbuild file, relative to the project.
    #[serde(default = "current_dir")]
    pub dir: PathBuf,
    /// Given when the module is loaded.
    #[serde(default)]
    pub parameters: String,
    /// Modules of the kernel to load first, beside those that the module's `depends` names.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Variables for make.
    #[serde(default)]
    pub make: Vec<String>,
}

/// The `[rust]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rust {
    /// The folder with the crate's `Cargo.toml`, relative to the project.
    #[serde(rename = "crate")]
    pub dir: PathBuf,
    /// The package, where the folder is a workspace of several.
    pub package: Option<String>,
    /// Cargo features to switch on.
    #[serde(default)]
    pub features: Vec<String>,
    /// Whether the crate's default features are on.
    #[serde(default = "yes")]
    pub default_features: bool,
    /// The object's name in the Kbuild file.
    #[serde(default = "rust_object")]
    pub object: String,
    /// A C header to be compared with the Rust functions, relative to the project.
    pub header: Option<PathBuf>,
    /// The file in the machine that proves that this build's Rust is in the module.
    pub proof: Option<String>,
    /// Whether a function of the header that no test calls fails a build with tests.
    #[serde(default)]
    pub every_function_tested: bool,
    /// Functions of the header that can't be tested.
    #[serde(default)]
    pub untested: Vec<Untested>,
}

/// One `[[rust.untested]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Untested {
    /// The function.
    pub function: String,
    /// Why.
    pub reason: String,
}

impl Rust {
    /// What is wrong with the table: the key, what, and what to do.
    fn problem(&self) -> Option<(&'static str, String, String)> {
        if !self.object.ends_with(".o") || self.object.contains('/') {
            let message = format!("`{}` is no name of an object file", self.object);
            let remedy = "name it as the Kbuild file does, without a folder: \"rust.o\"";
            return Some(("object", message, remedy.into()));
        }
        if self.every_function_tested && self.header.is_none() {
            let message =
                "`every-function-tested` is of the functions of a header, and none is named".to_owned();
            return Some(("every-function-tested", message, "name it: header = \"rust.h\"".to_owned()));
        }
        let first = self.untested.first()?;
        if !self.every_function_tested {
            let message =
                format!("`{}` is excused from being tested, and nothing asks for that", first.function);
            return Some((
                "rust.untested",
                message,
                "say `every-function-tested = true` under [rust]".to_owned(),
            ));
        }
        let silent = self.untested.iter().find(|excused| excused.reason.trim().is_empty())?;
        let message = format!("`{}` is excused from being tested without a reason", silent.function);
        Some(("rust.untested", message, "say in `reason` why it can't be tested".to_owned()))
    }
}

/// The `[machine]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Machine {
    /// Its memory.
    pub memory: Size,
    /// Its processors.
    pub processors: u16,
    /// Fresh, empty disks.
    pub disks: Vec<Size>,
    /// Whether its clock is to count instructions, which takes emulation and one processor, whatever else is said. It
    /// is what is done in the machine that asks for it, not the file.
    #[serde(skip)]
    pub counted: bool,
}

/// The `[timeouts]` table, in seconds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Timeouts {
    #[serde(deserialize_with = "seconds")]
    /// For compiling C or Rust.
    pub build: Duration,
    #[serde(deserialize_with = "seconds")]
    /// From QEMU's start to the agent's first message.
    pub boot: Duration,
    #[serde(deserialize_with = "seconds")]
    /// For loading one module.
    pub load: Duration,
    #[serde(deserialize_with = "seconds")]
    /// For one test.
    pub test: Duration,
    #[serde(deserialize_with = "seconds")]
    /// For unloading.
    pub unload: Duration,
}

/// The `[check]` table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Checks {
    /// Whether a hazard that nothing allows refuses the module.
    pub strict: bool,
    /// The most that the module may take up in memory.
    pub max_size: Option<Size>,
    /// The most that a chain of its functions may need of the stack.
    pub max_stack: Option<Size>,
    /// Hazards that are known.
    pub allow: Vec<Allow>,
}

/// One `[[check.allow]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Allow {
    /// The hazard's rule.
    pub rule: String,
    /// The symbol that the finding is about, as in [`ko::Allowance`]; nothing for one that is about none.
    pub symbol: Option<String>,
    /// The kernels that it is allowed on, by the names they go by in `kernels`, or by their image's name; on all where
    /// nothing is said.
    pub kernels: Option<Vec<String>>,
    /// Why.
    pub reason: String,
}

impl Checks {
    /// What a module for a kernel is held to.
    pub fn policy(&self, kernel: &str, functions: Vec<String>) -> ko::Policy {
        let is_for =
            |allow: &&Allow| allow.kernels.as_ref().is_none_or(|names| names.iter().any(|n| n == kernel));
        let allowance = |allow: &Allow| ko::Allowance {
            rule: allow.rule.clone(),
            symbol: allow.symbol.clone(),
            reason: allow.reason.clone(),
        };
        ko::Policy {
            functions,
            max_size: self.max_size.map(|size| size.0),
            max_stack: self.max_stack.map(|size| size.0),
            partial: false,
            allowances: self.allow.iter().filter(is_for).map(allowance).collect(),
        }
    }

    /// What is wrong with an allowance: what, and what to do.
    fn problem(&self) -> Option<(String, String)> {
        self.allow.iter().find_map(|allow| {
            let name = &allow.rule;
            let Some(rule) = ko::rule_named(name) else {
                let remedy = match nearest(name, ko::rules().map(|rule| rule.name)) {
                    Some(meant) => format!("did you mean `{meant}`? docs/rules.md lists them"),
                    None => "docs/rules.md lists them".to_owned(),
                };
                return Some((format!("there is no rule called `{name}`"), remedy));
            };
            if rule.class == ko::Class::Refusal {
                let message =
                    format!("`{name}` can't be allowed: the kernel would refuse the module all the same");
                return Some((message, format!("to mend it: {}", rule.mend)));
            }
            let message = format!("`{name}` is allowed without a reason");
            allow
                .reason
                .trim()
                .is_empty()
                .then(|| (message, "say in `reason` why it may be there".to_owned()))
        })
    }
}

/// One `[[test]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "TestTable")]
pub struct Test {
    /// Its name.
    pub name: String,
    /// What it does.
    pub check: Check,
    /// Its own time-out.
    pub timeout: Option<Duration>,
    /// Whether it needs the module's Rust side; built without, it is skipped.
    pub needs_rust: bool,
    /// Whether it gets a machine of its own; where nothing is said, one that runs a program does if the machine has
    /// disks.
    pub isolated: Option<bool>,
    /// How often it is tried again on a fresh machine when it failed; nothing leaves it to the command line.
    pub retries: Option<u32>,
    /// Ends the machine, as a loss of power does, when the program's output has this text.
    pub kill_at: Option<String>,
    /// The test whose disks it gets, as that has left them.
    pub disks_from: Option<String>,
    /// What the kernel is to report while it runs.
    pub expect: Vec<Expectation>,
}

/// What a test does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// Reads this file in the machine; its content is KTAP.
    Ktap(String),
    /// The tests of this file in the machine, one by one: docs/ktest.md says how it lists and runs them.
    Ktests(String),
    /// Runs this program in the machine; exit status 0 is a pass.
    Run(Vec<String>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TestTable {
    name: String,
    ktap: Option<String>,
    ktests: Option<String>,
    run: Option<Vec<String>>,
    #[serde(default, deserialize_with = "optional_seconds")]
    timeout: Option<Duration>,
    #[serde(default)]
    needs_rust: bool,
    isolated: Option<bool>,
    retries: Option<u32>,
    kill_at: Option<String>,
    disks_from: Option<String>,
    #[serde(default)]
    expect: Vec<Expectation>,
}

/// A number of bytes, written `64M`: with K, M or G for powers of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// What is wrong with the text of `vexlab.toml`, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    line: usize,
    column: usize,
    message: String,
    remedy: String,
}

impl Manifest {
    /// Reads the text of a `vexlab.toml`.
    ///
    /// # Errors
    ///
    /// The first [`Problem`] of the text.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let manifest: Self = toml::from_str(text).map_err(|error| Problem::from_toml(text, &error))?;
        manifest.validate().map_err(|(key, message, remedy)| Problem::at_key(text, key, message, &remedy))?;
        Ok(manifest)
    }

    /// What the kernel is expected to report, by the test that expects it.
    pub fn expected(&self) -> Vec<(String, Vec<Expectation>)> {
        let mut expected: Vec<(String, Vec<Expectation>)> = Vec::new();
        for test in &self.tests {
            for one in &test.expect {
                let name = one.test.iter().fold(test.name.clone(), |name, part| format!("{name}/{part}"));
                match expected.iter_mut().find(|(other, _)| *other == name) {
                    Some((_, all)) => all.push(one.clone()),
                    None => expected.push((name, vec![one.clone()])),
                }
            }
        }
        expected
    }

    fn validate(&self) -> Result<(), (&'static str, String, String)> {
        let name_ok = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        };
        if !name_ok(&self.module.name) {
            let message = format!("`{}` is no name of a module", self.module.name);
            let remedy = "a name has letters, digits, `_` and `-`; it is the NAME of NAME.ko";
            return Err(("name", message, remedy.into()));
        }
        if self.kernels.is_empty() {
            return Err((
                "kernels",
                "no kernel is named".into(),
                "name one: kernels = [\"debian-6.1\"]".into(),
            ));
        }
        if !(1..=64).contains(&self.machine.processors) {
            let message = format!("{} processors are not possible", self.machine.processors);
            return Err(("processors", message, "give the machine 1 to 64 processors".into()));
        }
        if self.machine.memory.0 < 64 << 20 {
            return Err((
                "memory",
                "the machine's memory is too small to boot".into(),
                "give it 64M or more".into(),
            ));
        }
        self.rust.as_ref().and_then(Rust::problem).map_or(Ok(()), Err)?;
        for (index, test) in self.tests.iter().enumerate() {
            if self.tests[..index].iter().any(|earlier| earlier.name == test.name) {
                return Err((
                    "test",
                    format!("two tests are called `{}`", test.name),
                    "give each test a name of its own".into(),
                ));
            }
            self.disks_problem(index, test).map_or(Ok(()), Err)?;
        }
        for (index, bench) in self.benches.iter().enumerate() {
            if let Some((message, remedy)) = bench.problem(&self.benches[..index]) {
                return Err(("bench", message, remedy));
            }
        }
        if let Some((message, remedy)) = self.check.problem() {
            return Err(("check.allow", message, remedy));
        }
        self.life.problem().map_or(Ok(()), Err)?;
        Ok(())
    }
}

impl Manifest {
    /// What is wrong with the disks that a test is to get from another one.
    fn disks_problem(&self, index: usize, test: &Test) -> Option<(&'static str, String, String)> {
        let from = test.disks_from.as_ref()?;
        let (message, remedy) = match self.tests[..index].iter().any(|earlier| earlier.name == *from) {
            _ if self.machine.disks.is_empty() => (
                format!("`{}` is to get the disks of `{from}`, and the machine has none", test.name),
                "give it one: disks = [\"64M\"] under [machine]",
            ),
            false => (
                format!("`{}` is to get the disks of `{from}`, which is no test before it", test.name),
                "name a test that is further up in the file",
            ),
            true => return None,
        };
        Some(("disks-from", message, remedy.to_owned()))
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self { memory: Size(256 << 20), processors: 1, disks: Vec::new(), counted: false }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            build: seconds(900),
            boot: seconds(60),
            load: seconds(20),
            test: seconds(60),
            unload: seconds(20),
        }
    }
}

impl TryFrom<TestTable> for Test {
    type Error = String;

    fn try_from(table: TestTable) -> Result<Self, String> {
        let name = table.name;
        let checks = [
            table.ktap.map(|path| ("ktap", Check::Ktap(path))),
            table.ktests.map(|path| ("ktests", Check::Ktests(path))),
            table.run.map(|words| ("run", Check::Run(words))),
        ];
        let mut checks = checks.into_iter().flatten();
        let Some((key, check)) = checks.next() else {
            return Err(format!("test `{name}` does nothing: it has neither `ktap`, `ktests` nor `run`"));
        };
        if let Some((other, _)) = checks.next() {
            return Err(format!("test `{name}` has both `{key}` and `{other}`"));
        }
        match &check {
            Check::Ktap(path) | Check::Ktests(path) if !path.starts_with('/') => {
                return Err(format!("test `{name}`: `{key}` is an absolute path, not `{path}`"));
            }
            Check::Run(words) if words.is_empty() => {
                return Err(format!("test `{name}`: `run` names no program"));
            }
            Check::Ktap(_) | Check::Ktests(_) if table.kill_at.is_some() => {
                return Err(format!(
                    "test `{name}`: `kill-at` is for what a program prints, so it goes with `run`"
                ));
            }
            Check::Ktests(_) if table.expect.iter().any(|expected| expected.test.is_none()) => {
                return Err(format!(
                    "test `{name}`: `expect` says in `test` in which of the file's tests the report is to come"
                ));
            }
            Check::Ktap(_) | Check::Run(_) if table.expect.iter().any(|expected| expected.test.is_some()) => {
                return Err(format!(
                    "test `{name}`: `test` in `expect` names one of a file's tests, so it goes with `ktests`"
                ));
            }
            _ => {}
        }
        if table.kill_at.as_ref().is_some_and(String::is_empty) {
            return Err(format!("test `{name}`: `kill-at` is empty, which is in any output"));
        }
        Ok(Self {
            name,
            check,
            timeout: table.timeout,
            needs_rust: table.needs_rust,
            isolated: table.isolated,
            retries: table.retries,
            kill_at: table.kill_at,
            disks_from: table.disks_from,
            expect: table.expect,
        })
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'K') => (&text[..text.len() - 1], 10),
            Some(b'M') => (&text[..text.len() - 1], 20),
            Some(b'G') => (&text[..text.len() - 1], 30),
            _ => (text, 0),
        };
        let bytes = digits
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(1 << shift))
            .filter(|n| (1..1 << 44).contains(n));
        bytes.map(Self).ok_or_else(|| format!("`{text}` is no size; write it like \"256M\" or \"1G\""))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl Problem {
    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.remedy
    }

    fn from_toml(text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start).min(text.len());
        let message = error.message();
        let (message, remedy) = match unknown_key(message) {
            Some((key, known)) => {
                let remedy = match nearest(key, known.iter().copied()) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => format!("the keys known here are {}", known.join(", ")),
                };
                (format!("unknown key `{key}`"), remedy)
            }
            None => (
                in_users_words(text, start, message),
                "`vexlab init` in an empty folder writes an example with every key".to_owned(),
            ),
        };
        let (line, column) = position(text, start);
        Self { line, column, message, remedy }
    }

    fn at_key(text: &str, key: &str, message: String, remedy: &str) -> Self {
        let start = text
            .lines()
            .scan(0, |offset, line| {
                let this = *offset;
                *offset += line.len() + 1;
                Some((this, line))
            })
            .find(|(_, line)| line.trim_start().trim_start_matches('[').starts_with(key))
            .map_or(0, |(offset, _)| offset);
        let (line, column) = position(text, start);
        Self { line, column, message, remedy: remedy.to_owned() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message.trim_end())
    }
}

/// serde's message with the key that it is about, and with the names of TOML's types instead of Rust's.
fn in_users_words(text: &str, offset: usize, message: &str) -> String {
    let words = [
        ("expected u16", "expected a whole number"),
        ("expected f64", "expected a number"),
        ("expected a sequence", "expected a list"),
        ("expected a boolean", "expected true or false"),
        ("expected struct Machine", "expected a table"),
        ("expected struct Timeouts", "expected a table"),
        ("expected struct Checks", "expected a table"),
        ("expected struct Life", "expected a table"),
        ("expected u32", "expected a whole number"),
        ("expected struct Module", "expected a table"),
        ("expected struct Rust", "expected a table"),
    ];
    let message =
        words.iter().fold(message.to_owned(), |message, (rusts, users)| message.replace(rusts, users));
    let line = text[..offset].rfind('\n').map_or(0, |newline| newline + 1);
    match text[line..offset].split_once('=') {
        Some((key, _)) if !key.trim().is_empty() => format!("`{}`: {message}", key.trim()),
        _ => message,
    }
}

/// Takes serde's message of an unknown field apart: the field, and the known ones.
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    Some((quoted.next()?, quoted.collect()))
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = &text.as_bytes()[..offset];
    let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |newline| newline + 1);
    (before.iter().filter(|&&b| b == b'\n').count() + 1, offset - line_start + 1)
}

fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    match f64::deserialize(deserializer)? {
        seconds if seconds > 0.0 && seconds < 1e6 => Ok(Duration::from_secs_f64(seconds)),
        seconds => {
            Err(de::Error::custom(format!("a time-out is a number of seconds above 0, not {seconds}")))
        }
    }
}

pub(super) fn optional_seconds<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    seconds(deserializer).map(Some)
}

fn current_dir() -> PathBuf {
    PathBuf::from(".")
}

fn yes() -> bool {
    true
}

fn rust_object() -> String {
    "rust.o".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let problem = Manifest::parse(text).unwrap_err();
        format!("{problem}\nhelp: {}", problem.remedy())
    }

    const GOOD: &str = "kernels = [\"debian-6.1\"]\n[module]\nname = \"m\"\n";

    #[test]
    fn the_least_that_is_needed() {
        let manifest = Manifest::parse(GOOD).unwrap();
        assert_eq!(manifest.machine.memory, Size(256 << 20));
        assert_eq!(manifest.timeouts.load, Duration::from_secs(20));
        assert!(manifest.tests.is_empty() && manifest.rust.is_none());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_known_one() {
        insta::assert_snapshot!(problem("kernels = [\"x\"]\n[module]\nname = \"m\"\nparameter = \"a=1\"\n"), @r"
        4:1: unknown key `parameter`
        help: did you mean `parameters`?
        ");
        insta::assert_snapshot!(problem("kernels = [\"x\"]\nfrobnicate = 1\n[module]\nname = \"m\"\n"), @r"
        2:1: unknown key `frobnicate`
        help: the keys known here are kernels, module, rust, machine, timeouts, check, life, coverage, test, bench
        ");
        insta::assert_snapshot!(problem(&format!("{GOOD}[[test]]\nname = \"t\"\nrum = [\"true\"]\n")), @r"
        6:1: unknown key `rum`
        help: did you mean `run`?
        ");
    }

    #[test]
    fn wrong_types_and_values_are_named_with_their_line() {
        insta::assert_snapshot!(problem("kernels = \"debian-6.1\"\n[module]\nname = \"m\"\n"), @r#"
        1:11: `kernels`: invalid type: string "debian-6.1", expected a list
        help: `vexlab init` in an empty folder writes an example with every key
        "#);
        insta::assert_snapshot!(problem(&format!("{GOOD}[machine]\nmemory = \"lots\"\n")), @r#"
        5:10: `memory`: `lots` is no size; write it like "256M" or "1G"
        help: `vexlab init` in an empty folder writes an example with every key
        "#);
        insta::assert_snapshot!(problem(&format!("{GOOD}[machine]\nprocessors = 0\n")), @r"
        5:1: 0 processors are not possible
        help: give the machine 1 to 64 processors
        ");
        insta::assert_snapshot!(problem(&format!("{GOOD}[timeouts]\nload = -1\n")), @r"
        5:8: `load`: a time-out is a number of seconds above 0, not -1
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        insta::assert_snapshot!(problem("kernels = []\n[module]\nname = \"m\"\n"), @r#"
        1:1: no kernel is named
        help: name one: kernels = ["debian-6.1"]
        "#);
        insta::assert_snapshot!(problem("kernels = [\"x\"]\n[module]\nname = \"../m\"\n"), @r"
        3:1: `../m` is no name of a module
        help: a name has letters, digits, `_` and `-`; it is the NAME of NAME.ko
        ");
    }

    #[test]
    fn every_function_is_one_of_a_header_and_an_excuse_has_a_reason() {
        let rust = |keys: &str| problem(&format!("{GOOD}[rust]\ncrate = \"r\"\n{keys}"));
        insta::assert_snapshot!(rust("every-function-tested = true"), @r#"
        6:1: `every-function-tested` is of the functions of a header, and none is named
        help: name it: header = "rust.h"
        "#);
        let excuse = "[[rust.untested]]\nfunction = \"f\"\nreason = \"\"";
        insta::assert_snapshot!(rust(&format!("header = \"r.h\"\n{excuse}")), @r"
        7:1: `f` is excused from being tested, and nothing asks for that
        help: say `every-function-tested = true` under [rust]
        ");
        insta::assert_snapshot!(rust(&format!("header = \"r.h\"\nevery-function-tested = true\n{excuse}")), @r"
        8:1: `f` is excused from being tested without a reason
        help: say in `reason` why it can't be tested
        ");
    }

    #[test]
    fn an_allowance_is_of_a_hazard_and_has_a_reason() {
        let allow =
            |rule: &str, rest: &str| problem(&format!("{GOOD}[[check.allow]]\nrule = \"{rule}\"\n{rest}\n"));
        insta::assert_snapshot!(allow("reachable-panics", "reason = \"x\""), @r"
        4:1: there is no rule called `reachable-panics`
        help: did you mean `reachable-panic`? docs/rules.md lists them
        ");
        insta::assert_snapshot!(allow("vermagic", "reason = \"x\""), @r"
        4:1: `vermagic` can't be allowed: the kernel would refuse the module all the same
        help: to mend it: build the module against this kernel's headers
        ");
        insta::assert_snapshot!(allow("recursion", "reason = \" \""), @r"
        4:1: `recursion` is allowed without a reason
        help: say in `reason` why it may be there
        ");
        insta::assert_snapshot!(allow("recursion", ""), @r"
        4:1: missing field `reason`
        help: `vexlab init` in an empty folder writes an example with every key
        ");
    }

    #[test]
    fn an_allowance_can_be_for_one_kernel() {
        let text = format!(
            "{GOOD}[check]\nmax-size = \"64K\"\n[[check.allow]]\nrule = \"recursion\"\nsymbol = \"walk\"\n\
             kernels = [\"debian-6.1\"]\nreason = \"x\"\n"
        );
        let manifest = Manifest::parse(&text).unwrap();
        let policy = |kernel| manifest.check.policy(kernel, Vec::new());
        assert_eq!((policy("debian-6.1").allowances.len(), policy("debian-6.12").allowances.len()), (1, 0));
        assert_eq!(policy("debian-6.1").max_size, Some(64 << 10));
    }

    #[test]
    fn an_expectation_names_a_kind_and_has_a_reason() {
        let test = |name: &str, expect: &str| {
            format!("[[test]]\nname = \"{name}\"\nrun = [\"true\"]\n[[test.expect]]\n{expect}\n")
        };
        let expect = |text: &str| problem(&format!("{GOOD}{}", test("t", text)));
        insta::assert_snapshot!(expect("splat = \"page-falt\"\npattern = \"\"\nreason = \"x\""), @r"
        7:1: there is no kind of report called `page-falt`; did you mean `page-fault`? docs/splats.md lists them
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        insta::assert_snapshot!(expect("splat = \"warning\"\npattern = \"\"\nreason = \" \""), @r"
        7:1: `warning` is expected without a reason: say in `reason` why it is to come
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        insta::assert_snapshot!(expect("splat = \"warning\"\nreason = \"x\""), @r"
        7:1: missing field `pattern`
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        let oops = "splat = \"bug\"\npattern = \"in f+\"\nreason = \"x\"";
        assert_eq!(Manifest::parse(&format!("{GOOD}{}", test("one", oops))).unwrap().expected().len(), 1);
        let of_a_file = |expect: &str| {
            format!("{GOOD}[[test]]\nname = \"k\"\nktests = \"/t\"\n[[test.expect]]\n{oops}\n{expect}")
        };
        insta::assert_snapshot!(expect(&format!("{oops}\ntest = \"c.a\"")), @r"
        4:1: test `t`: `test` in `expect` names one of a file's tests, so it goes with `ktests`
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        insta::assert_snapshot!(problem(&of_a_file("")), @r"
        4:1: test `k`: `expect` says in `test` in which of the file's tests the report is to come
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        let twice = format!("test = \"c.a\"\n[[test.expect]]\n{oops}\ntest = \"c.a\"\n");
        let expected = Manifest::parse(&of_a_file(&twice)).unwrap().expected();
        assert_eq!((expected.len(), expected[0].0.as_str(), expected[0].1.len()), (1, "k/c.a", 2));
    }

    #[test]
    fn a_test_does_exactly_one_thing() {
        insta::assert_snapshot!(problem(&format!("{GOOD}[[test]]\nname = \"t\"\n")), @r"
        4:1: test `t` does nothing: it has neither `ktap`, `ktests` nor `run`
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        assert!(Manifest::parse(&format!("{GOOD}[[test]]\nname=\"t\"\nrun=[\"a\"]\nktap=\"/x\"\n")).is_err());
        assert!(Manifest::parse(&format!("{GOOD}[[test]]\nname=\"t\"\nktap=\"x\"\n")).is_err());
        let twice = format!("{GOOD}[[test]]\nname=\"t\"\nrun=[\"a\"]\n[[test]]\nname=\"t\"\nrun=[\"b\"]\n");
        assert!(problem(&twice).contains("two tests are called `t`"));
    }

    #[test]
    fn benchmarks_have_a_name_and_a_file() {
        let bench = |name: &str, rest: &str| {
            format!("{GOOD}[[bench]]\nname = \"{name}\"\nkbenches = \"/b\"\n{rest}\n")
        };
        let manifest = Manifest::parse(&bench("b", "parameters = \"\"")).unwrap();
        assert_eq!(manifest.benches[0].parameters.as_deref(), Some(""));
        insta::assert_snapshot!(problem(&bench("b c", "")), @r"
        4:1: `b c` is no name of benchmarks
        help: a name has letters, digits, `_`, `.`, `:` and `-`
        ");
        insta::assert_snapshot!(problem(&bench("b", "[[bench]]\nname = \"b\"\nkbenches = \"/c\"")), @r"
        4:1: two tables of benchmarks are called `b`
        help: give each a name of its own
        ");
        insta::assert_snapshot!(problem(&bench("b", "").replace("/b", "b")), @r"
        4:1: benchmarks `b`: `kbenches` is an absolute path, not `b`
        help: ktest_init(NULL) makes /sys/kernel/debug/MODULE/benches
        ");
    }

    #[test]
    fn disks_come_from_an_earlier_test_of_a_machine_that_has_some() {
        let from = |disks: &str, from: &str| {
            problem(&format!(
                "kernels = [\"x\"]\nmodule.name = \"m\"\n{disks}\n[[test]]\nname = \"a\"\nrun = [\"a\"]\n\
                 [[test]]\nname = \"b\"\nrun = [\"b\"]\ndisks-from = \"{from}\"\n"
            ))
        };
        insta::assert_snapshot!(from("", "a"), @r#"
        10:1: `b` is to get the disks of `a`, and the machine has none
        help: give it one: disks = ["64M"] under [machine]
        "#);
        insta::assert_snapshot!(from("machine.disks = [\"1M\"]", "b"), @r"
        10:1: `b` is to get the disks of `b`, which is no test before it
        help: name a test that is further up in the file
        ");
    }

    #[test]
    fn a_machine_is_killed_at_what_a_program_prints() {
        insta::assert_snapshot!(problem(&format!("{GOOD}[[test]]\nname = \"t\"\nktap = \"/x\"\nkill-at = \"x\"\n")), @r"
        4:1: test `t`: `kill-at` is for what a program prints, so it goes with `run`
        help: `vexlab init` in an empty folder writes an example with every key
        ");
        assert!(
            Manifest::parse(&format!("{GOOD}[[test]]\nname=\"t\"\nrun=[\"x\"]\nkill-at=\"\"\n")).is_err()
        );
    }
}
