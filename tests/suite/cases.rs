// SPDX-License-Identifier: GPL-2.0-only
//! Each folder of `tests/modules` with an `expect.toml` is a test. Adding a case means adding a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lab::Lab;
use lab::apt::{self, Archive};
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::verdict::Class;
use libtest_mimic::{Failed, Trial};
use serde::Deserialize;

use crate::call::Ended;
use crate::harness::{Context, Slot, copy, in_context, modules, names_in, provision};

/// `expect.toml`. A text is found in a line of what the program printed. In it, `{dir}` is the folder that the
/// case was copied to, and `…` stands for any text within the line.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Expectation {
    /// The name of the class that the run ends in. It implies the exit status.
    class: String,
    /// What is called.
    #[serde(default = "just_test")]
    args: Vec<String>,
    /// The kernel, instead of those in the case's `vexlab.toml`.
    kernel: Option<String>,
    /// Whether it is a matter of the kernel of `tests/debug-kernel`: then it is tested with that alone.
    #[serde(default)]
    debug_kernel: bool,
    /// Seconds after which the test has failed.
    #[serde(default = "usual_timeout")]
    timeout: u64,
    /// A package of Debian 12 whose one folder in `/usr/src` is the module's source.
    source_package: Option<String>,
    #[serde(default)]
    stdout: Vec<String>,
    #[serde(default)]
    stdout_not: Vec<String>,
    #[serde(default)]
    stderr: Vec<String>,
    #[serde(default)]
    stderr_not: Vec<String>,
    /// On standard error, in exactly one line.
    #[serde(default)]
    once: Vec<String>,
    /// On standard output, in exactly one line.
    #[serde(default)]
    stdout_once: Vec<String>,
}

fn just_test() -> Vec<String> {
    vec!["test".to_owned()]
}

fn usual_timeout() -> u64 {
    120
}

/// The kernels of a case's `vexlab.toml`: the one key that is of interest here.
#[derive(Deserialize)]
struct Kernels {
    kernels: Vec<String>,
}

/// One test for each folder whose case is for any kernel.
pub(crate) fn trials() -> Vec<Trial> {
    of_kind(false).into_iter().map(trial).collect()
}

/// The names of the cases for the kernel of `tests/debug-kernel`.
pub(crate) fn of_debug_kernel() -> Vec<String> {
    of_kind(true)
}

fn of_kind(debug_kernel: bool) -> Vec<String> {
    let mut names = names_in(&modules());
    // A case that can't be read is found out when it is its turn.
    names.retain(|name| expectation(name).is_ok_and(|expected| expected.debug_kernel) == debug_kernel);
    names.sort();
    assert!(!names.is_empty(), "{} has no case", modules().display());
    names
}

fn expectation(name: &str) -> Result<Expectation, Failed> {
    read(&modules().join(name).join("expect.toml"))
}

/// Tests a case with the kernel of a build tree. One that is for any kernel comes to its verdict; what it says beside
/// that is of its own kernels.
pub(crate) fn with_kernel(context: &Context, name: &str, kernel: &Path) {
    let mut expected = expectation(name).expect("what is expected can be read");
    if !expected.debug_kernel {
        expected.stdout.clear();
        expected.stderr.clear();
        expected.once.clear();
        expected.stdout_once.clear();
    }
    expected.kernel = Some(kernel.display().to_string());
    judge(context, name, &expected, 1);
}

fn trial(name: String) -> Trial {
    Trial::test(format!("modules::{name}"), move || {
        let dir = modules().join(&name);
        let expected = expectation(&name)?;
        let kernels: Kernels = read(&dir.join("vexlab.toml"))?;
        for kernel in expected.kernel.iter().chain(&kernels.kernels) {
            provision(kernel);
        }
        let _turn = Slot::wait();
        in_context(Duration::from_secs(expected.timeout), |context| {
            judge(
                context,
                &name,
                &expected,
                if expected.kernel.is_some() { 1 } else { kernels.kernels.len() },
            );
        });
        Ok(())
    })
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Failed> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}

/// Each of so many kernels comes to the verdict, and each has said what is expected on standard output.
fn judge(context: &Context, name: &str, expected: &Expectation, kernels: usize) {
    let dir = context.case(name);
    if let Some(package) = &expected.source_package {
        copy(&source_of(context, package), &dir);
    }
    let kernel = expected.kernel.iter().flat_map(|kernel| ["--kernel", kernel]);
    let ended = context.vexlab(&expected.args).args(kernel).dir(&dir).run();

    let class = Class::from_name(&expected.class);
    let class = class.unwrap_or_else(|| panic!("{name}: there is no class {}", expected.class));
    assert_eq!(ended.status, i32::from(class.exit_status()), "{name}: the status of {class}; {ended}");
    let has_verdict = !matches!(class, Class::Usage | Class::Interrupted) && expected.args[0] == "test";
    if has_verdict {
        let verdict = format!("{class}: ");
        let lines = ended.stdout.lines().filter(|line| line.starts_with(&verdict)).count();
        assert_eq!(lines, kernels, "{name}: verdicts {class}; {ended}");
    }
    let texts = |texts: &[String]| -> Vec<String> {
        texts.iter().map(|text| text.replace("{dir}", &dir.display().to_string())).collect()
    };
    expect(name, &ended, &ended.stdout, &texts(&expected.stdout), |count| count >= kernels, "is in stdout");
    expect(name, &ended, &ended.stderr, &texts(&expected.stderr), |count| count > 0, "is in stderr");
    expect(name, &ended, &ended.stderr, &texts(&expected.once), |count| count == 1, "is in stderr once");
    let stdout_once = texts(&expected.stdout_once);
    expect(name, &ended, &ended.stdout, &stdout_once, |count| count == 1, "is in stdout once");
    expect(name, &ended, &ended.stdout, &texts(&expected.stdout_not), |count| count == 0, "is not in stdout");
    expect(name, &ended, &ended.stderr, &texts(&expected.stderr_not), |count| count == 0, "is not in stderr");
}

fn expect(
    name: &str,
    ended: &Ended,
    output: &str,
    texts: &[String],
    good: impl Fn(usize) -> bool,
    what: &str,
) {
    for text in texts {
        let count = output.lines().filter(|line| has(line, text)).count();
        assert!(good(count), "{name}: `{text}` {what}, but is in {count} lines; {ended}");
    }
}

/// Whether a line has a text: its parts, which `…` separates, one after the other.
fn has(line: &str, text: &str) -> bool {
    let rest = text.split('…').try_fold(line, |rest, part| rest.split_once(part).map(|(_, after)| after));
    rest.is_some()
}

/// The folder with the source of a module that is packaged as such. The package is kept in the cache.
fn source_of(context: &Context, package: &str) -> PathBuf {
    let cache = Cache::at(context.cache().join("vexlab")).expect("the cache is there");
    let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
    let archive = Archive::open(&lab, apt::BOOKWORM).expect("the archive can be asked");
    let downloads = lab.cache.staging().expect("the cache can be written");
    let (_, file) = archive.newest(package, downloads.path()).expect("the package can be fetched");
    let unpacked = context.dir().join("package");
    apt::unpack(&lab, &file, &unpacked).expect("the package can be unpacked");
    let sources = unpacked.join("usr/src");
    match names_in(&sources).as_slice() {
        [name] => sources.join(name),
        names => panic!("{package} has {} folders in /usr/src", names.len()),
    }
}
