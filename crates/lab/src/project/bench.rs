// SPDX-License-Identifier: GPL-2.0-only
//! The `[[bench]]` tables of `vexlab.toml`.

use std::time::Duration;

use serde::Deserialize;

use super::manifest::optional_seconds;

/// One `[[bench]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Bench {
    /// Its name: what comes before those of its benchmarks.
    pub name: String,
    /// The file in the machine that lists and measures benchmarks: docs/bench.md says how.
    pub kbenches: String,
    /// For one request to that file; without it, that of a test.
    #[serde(default, deserialize_with = "optional_seconds")]
    pub timeout: Option<Duration>,
    /// The module's parameters, instead of those under `[module]`.
    pub parameters: Option<String>,
    /// Which benchmarks are held against which others.
    #[serde(default)]
    pub beside: Vec<Beside>,
    /// Which benchmarks' counts may vary.
    #[serde(default)]
    pub may_vary: Vec<MayVary>,
}

/// One `[[bench.may-vary]]`: a benchmark whose count is told as a range where it is not the same each time.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MayVary {
    /// The benchmark, as the module calls it.
    pub bench: String,
    /// Why it may.
    pub why: String,
}

/// One `[[bench.beside]]`: a benchmark, and one that it is held against.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Beside {
    /// The benchmark, as the module calls it.
    pub bench: String,
    /// The other one.
    pub of: String,
    /// What the pair is about.
    pub what: String,
    /// Why it costs more, where it does.
    pub why: Option<String>,
}

impl Bench {
    /// What is wrong with it, among those before it: what, and what to do.
    pub(super) fn problem(&self, earlier: &[Self]) -> Option<(String, String)> {
        let name = &self.name;
        let is_in = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_in) {
            return Some((
                format!("`{name}` is no name of benchmarks"),
                "a name has letters, digits, `_`, `.`, `:` and `-`".to_owned(),
            ));
        }
        if earlier.iter().any(|other| other.name == *name) {
            let message = format!("two tables of benchmarks are called `{name}`");
            return Some((message, "give each a name of its own".to_owned()));
        }
        if !self.kbenches.starts_with('/') {
            let message =
                format!("benchmarks `{name}`: `kbenches` is an absolute path, not `{}`", self.kbenches);
            return Some((message, "ktest_init(NULL) makes /sys/kernel/debug/MODULE/benches".to_owned()));
        }
        None
    }
}
