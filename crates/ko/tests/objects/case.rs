// SPDX-License-Identifier: GPL-2.0-only
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use ko::{Allowance, Exports, Finding, Kernel, Options, Policy};
use libtest_mimic::Failed;
use rustc_demangle::demangle;
use serde::Deserialize;

use crate::change::Change;

/// A case, as its `expect.toml` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Case {
    /// The case whose sources are compiled, if not this one.
    pub(crate) source: Option<String>,
    /// Rules that the module nearly breaks.
    #[serde(default)]
    pub(crate) silent: BTreeSet<String>,
    /// Rules whose findings aren't compared.
    #[serde(default)]
    pub(crate) ignore: BTreeSet<String>,
    /// What loading it returns.
    pub(crate) errno: Option<String>,
    /// How many findings are only counted.
    #[serde(default)]
    pub(crate) more: usize,
    #[serde(default, rename = "finding")]
    pub(crate) findings: Vec<Expected>,
    #[serde(default)]
    pub(crate) allowed: Vec<Expected>,
    #[serde(default)]
    pub(crate) build: Build,
    #[serde(default)]
    pub(crate) module: Module,
    #[serde(default)]
    pub(crate) kernel: Described,
    #[serde(default)]
    pub(crate) policy: Asked,
    #[serde(default, rename = "change")]
    pub(crate) changes: Vec<Change>,
}

/// A finding. What isn't said isn't compared.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    pub(crate) rule: String,
    /// As the object has it, or demangled.
    symbol: Option<String>,
    section: Option<String>,
    offset: Option<u64>,
    /// `file:line`, without the file's folder.
    line: Option<String>,
    /// Parts of the message, with `…` between them.
    message: Option<String>,
    /// Parts of what the kernel would print, with `…` between them.
    kernel: Option<String>,
}

impl Expected {
    pub(crate) fn is_met_by(&self, finding: &Finding) -> bool {
        let has = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found.is_some_and(|found| has_parts(found, wanted)))
        };
        let symbol = finding.symbol.as_deref().map(|symbol| format!("{:#}", demangle(symbol)));
        self.rule == finding.rule.name
            && (self.symbol.is_none() || self.symbol == finding.symbol || self.symbol == symbol)
            && (self.section.is_none() || self.section == finding.section)
            && (self.offset.is_none() || self.offset == finding.offset)
            && (self.line.is_none() || self.line.as_deref() == line(finding))
            && has(&self.message, Some(&finding.message))
            && has(&self.kernel, finding.kernel.as_deref())
    }
}

/// A finding's `file:line`, without the file's folder, which is another one on every machine.
pub(crate) fn line(finding: &Finding) -> Option<&str> {
    finding.line.as_deref()?.rsplit('/').next()
}

/// Whether a text has all parts, which `…` separates, one after the other.
fn has_parts(text: &str, parts: &str) -> bool {
    parts.split('…').try_fold(text, |rest, part| rest.split_once(part).map(|(_, after)| after)).is_some()
}

/// How the sources are compiled.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Build {
    /// More options for `cc`.
    #[serde(default)]
    pub(crate) cc: Vec<String>,
    /// More options for `rustc`.
    #[serde(default)]
    pub(crate) rustc: Vec<String>,
    /// What goes through a global offset table is made direct.
    #[serde(default)]
    pub(crate) relax: bool,
}

/// What modpost would add.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Module {
    /// The name in `struct module`, if not `case`.
    pub(crate) name: Option<String>,
    /// The size of `struct module`, if not the kernel's.
    pub(crate) size: Option<u64>,
    /// Entries of `.modinfo`, in place of those with the same tags. An empty text stands for none.
    #[serde(default)]
    pub(crate) info: BTreeMap<String, String>,
    /// Versions, in place of the kernel's.
    #[serde(default)]
    pub(crate) versions: BTreeMap<String, u64>,
    /// Symbols without a version.
    #[serde(default)]
    pub(crate) unversioned: BTreeSet<String>,
    /// Sections that it doesn't add.
    #[serde(default)]
    pub(crate) without: BTreeSet<String>,
}

/// A kernel, or what is special about it.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Described {
    release: Option<String>,
    vermagic: Option<String>,
    this_module_size: Option<u64>,
    /// Lines of its configuration. Of several about one option the last counts.
    #[serde(default)]
    config: Vec<String>,
    /// Lines of its `Module.symvers`, with spaces or tabs between the fields.
    #[serde(default)]
    exports: Vec<String>,
    #[serde(default)]
    builtin: BTreeSet<String>,
    #[serde(default)]
    in_sysfs: BTreeSet<String>,
    #[serde(default)]
    modules: BTreeSet<String>,
    #[serde(default)]
    loaded: BTreeSet<String>,
}

/// What the project asks and allows.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Asked {
    #[serde(default)]
    functions: Vec<String>,
    max_size: Option<u64>,
    max_stack: Option<u64>,
    #[serde(default)]
    allow: Vec<Allow>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Allow {
    rule: String,
    symbol: Option<String>,
    reason: String,
}

impl Asked {
    pub(crate) fn policy(&self) -> Policy {
        let allowance = |one: &Allow| Allowance {
            rule: one.rule.clone(),
            symbol: one.symbol.clone(),
            reason: one.reason.clone(),
        };
        Policy {
            functions: self.functions.clone(),
            max_size: self.max_size,
            max_stack: self.max_stack,
            partial: false,
            allowances: self.allow.iter().map(allowance).collect(),
        }
    }
}

impl Case {
    pub(crate) fn read(cases: &Path, name: &str) -> Result<Self, Failed> {
        read(&cases.join(name).join("expect.toml"))
    }
}

/// `kernel.toml`: the kernel that a case starts from.
pub(crate) struct Defaults(Described);

impl Defaults {
    pub(crate) fn read(cases: &Path) -> Result<Self, Failed> {
        Ok(Self(read(&cases.join("kernel.toml"))?))
    }

    /// The kernel of a case.
    pub(crate) fn kernel(&self, case: &Described) -> Result<Kernel, Failed> {
        let usual = &self.0;
        let text = |ours: &Option<String>, usual: &Option<String>| ours.clone().or_else(|| usual.clone());
        let lines = usual.config.iter().chain(&case.config);
        let config: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
        let both = |of: fn(&Described) -> &BTreeSet<String>| of(usual).union(of(case)).cloned().collect();
        Ok(Kernel {
            name: "described".to_owned(),
            release: text(&case.release, &usual.release).unwrap_or_default(),
            vermagic: text(&case.vermagic, &usual.vermagic),
            this_module_size: case.this_module_size.or(usual.this_module_size),
            exports: exports(usual.exports.iter().chain(&case.exports))?,
            options: Options::new(|name| config.get(name).copied()),
            builtin: both(|kernel| &kernel.builtin),
            in_sysfs: both(|kernel| &kernel.in_sysfs),
            modules: both(|kernel| &kernel.modules),
            loaded: both(|kernel| &kernel.loaded),
        })
    }
}

fn exports<'l>(lines: impl Iterator<Item = &'l String>) -> Result<Exports, Failed> {
    let lines = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join("\t") + "\n");
    Ok(Exports::parse(&lines.collect::<String>())?)
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<T, Failed> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))?)
}
