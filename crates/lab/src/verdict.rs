// SPDX-License-Identifier: GPL-2.0-only
//! What a run ends in.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind};

/// The class that a run ends in: exactly one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The module was loaded, tested and unloaded, and nothing was wrong.
    Passed,
    /// A test failed, or none was run to its end.
    TestFailed,
    /// The module's C or Rust does not build.
    BuildFailed,
    /// The built module was refused before it was loaded.
    RefusedByCheck,
    /// The kernel refused to load the module.
    RefusedByKernel,
    /// The kernel printed a warning with a trace while the module was in use.
    KernelWarning,
    /// The kernel oopsed or panicked.
    Oops,
    /// A phase took longer than its time-out, or the machine fell silent.
    Hang,
    /// The module could not be unloaded.
    UnloadFailed,
    /// The machine ended without its end message.
    MachineLost,
    /// The module left something behind when it was unloaded, or when its init failed.
    Leak,
    /// The lab could not do its work; nothing is known about the module.
    LabFailed,
    /// The arguments or `vexlab.toml` are wrong; nothing was done.
    Usage,
    /// The run was interrupted.
    Interrupted,
}

impl Class {
    /// All classes, in the order of their exit status.
    pub const ALL: [Self; 14] = [
        Self::Passed,
        Self::TestFailed,
        Self::Usage,
        Self::BuildFailed,
        Self::RefusedByCheck,
        Self::RefusedByKernel,
        Self::KernelWarning,
        Self::Oops,
        Self::Hang,
        Self::UnloadFailed,
        Self::MachineLost,
        Self::Leak,
        Self::LabFailed,
        Self::Interrupted,
    ];

    /// The name, as verdict lines and case files have it.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The status that `vexlab` exits with.
    pub fn exit_status(self) -> u8 {
        self.row().0
    }

    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        self.row().2
    }

    /// The class with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    fn row(self) -> (u8, &'static str, &'static str) {
        match self {
            Self::Passed => {
                (0, "passed", "The module was loaded, tested and unloaded, and nothing was wrong.")
            }
            Self::TestFailed => (1, "test-failed", "A test failed, or none ran to its end."),
            Self::Usage => (2, "usage", "The arguments or vexlab.toml are wrong; nothing was done."),
            Self::BuildFailed => (10, "build-failed", "The module's C or Rust does not build."),
            Self::RefusedByCheck => {
                (11, "refused-by-check", "The built module was refused before it was loaded.")
            }
            Self::RefusedByKernel => (12, "refused-by-kernel", "The kernel refused to load the module."),
            Self::KernelWarning => (
                13,
                "kernel-warning",
                "The kernel printed a warning with a trace while the module was in use.",
            ),
            Self::Oops => (14, "oops", "The kernel oopsed or panicked."),
            Self::Hang => (15, "hang", "A phase took longer than its time-out, or the machine fell silent."),
            Self::UnloadFailed => (16, "unload-failed", "The module could not be unloaded."),
            Self::MachineLost => (17, "machine-lost", "The machine ended without its end message."),
            Self::Leak => (
                18,
                "leak",
                "The module left something behind when it was unloaded, or when its init failed.",
            ),
            Self::LabFailed => {
                (20, "lab-failed", "The lab could not do its work; nothing is known about the module.")
            }
            Self::Interrupted => (130, "interrupted", "The run was interrupted."),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<&Error> for Class {
    fn from(error: &Error) -> Self {
        match error.kind() {
            Kind::Usage => Self::Usage,
            Kind::Build => Self::BuildFailed,
            Kind::Check => Self::RefusedByCheck,
            Kind::Lab => Self::LabFailed,
            Kind::MachineLost => Self::MachineLost,
            Kind::Interrupted => Self::Interrupted,
        }
    }
}

/// A part of a run whose time is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Finding or fetching the kernel and what the machine needs.
    Provision,
    /// Compiling Rust and C.
    Build,
    /// Linking the Rust archive into one object.
    Link,
    /// From QEMU's start to the agent's first message.
    Boot,
    /// Saving the machine that has booted.
    Save,
    /// From QEMU's start to the first message of the agent of a saved machine.
    Restore,
    /// Loading the module, and the ones that it needs.
    Load,
    /// The tests, or the command.
    Tests,
    /// Unloading the module.
    Unload,
}

impl Phase {
    /// The name, as verdict lines have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Provision => "provision",
            Self::Build => "build",
            Self::Link => "link",
            Self::Boot => "boot",
            Self::Save => "save",
            Self::Restore => "restore",
            Self::Load => "load",
            Self::Tests => "tests",
            Self::Unload => "unload",
        }
    }
}

/// How one test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It ran and what it checks holds.
    Passed,
    /// It ran and what it checks does not hold, or it did not come to its end.
    Failed,
    /// It failed, and passed when it was run again on a fresh machine.
    Flaky,
    /// It said itself that it did not run. That is no pass.
    Skipped,
}

/// One test's result.
#[derive(Debug, Clone)]
pub struct TestResult {
    /// The test's name; for one of several in a KTAP text, `test/name`.
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took; `None` for one of several that were run together.
    pub time: Option<Duration>,
    /// How often it was run: more than once where it failed and was to be tried again.
    pub attempts: u32,
    /// Why, line by line: a failed test's diagnostics, a skipped one's reason.
    pub details: Vec<String>,
}

/// The documentation of the exit statuses: a Markdown page, made from [`Class::ALL`].
pub fn exit_status_page() -> String {
    let mut page = String::from(
        "# Exit statuses\n\nEvery run ends in one class, and each class has its own exit status. \
         `vexlab run`, `vexlab exec` and `vexlab shell` exit with the command's own status when the command was \
         run, and nothing else went wrong. `vexlab test --watch` goes on until it is interrupted.\n\n| status | class | meaning |\n| ---: | --- | --- |\n",
    );
    for class in Class::ALL {
        page.push_str(&format!("| {} | `{}` | {} |\n", class.exit_status(), class, class.meaning()));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_is_what_the_program_says() {
        let page = include_str!("../../../docs/exit-codes.md");
        assert_eq!(page, exit_status_page(), "run `make docs`");
    }

    #[test]
    fn every_class_has_a_status_and_a_name_of_its_own() {
        for (index, class) in Class::ALL.iter().enumerate() {
            assert_eq!(Class::from_name(class.name()), Some(*class));
            assert_eq!(serde_json::to_string(class).unwrap(), format!("\"{class}\""));
            for other in &Class::ALL[index + 1..] {
                assert!(class.exit_status() < other.exit_status(), "{class} and {other}");
            }
        }
    }
}
