// SPDX-License-Identifier: GPL-2.0-only
//! What there is to say of a module.

use std::borrow::Cow;
use std::fmt;

use crate::image::Image;
use crate::policy::{Allowance, Policy};
use crate::rules::{COUNT, Class, Id, Rule, rule, rules};

/// An error number of Linux, as the loader returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// No such file or directory.
    Enoent = 2,
    /// Exec format error.
    Enoexec = 8,
    /// Out of memory.
    Enomem = 12,
    /// File exists.
    Eexist = 17,
    /// Invalid argument.
    Einval = 22,
    /// Bad message.
    Ebadmsg = 74,
    /// Key was rejected by service.
    Ekeyrejected = 129,
}

impl Errno {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enoent => "ENOENT",
            Self::Enoexec => "ENOEXEC",
            Self::Enomem => "ENOMEM",
            Self::Eexist => "EEXIST",
            Self::Einval => "EINVAL",
            Self::Ebadmsg => "EBADMSG",
            Self::Ekeyrejected => "EKEYREJECTED",
        }
    }

    /// Its number.
    pub fn number(self) -> i32 {
        self as i32
    }
}

/// One thing to say of a module.
#[derive(Debug, Clone)]
pub struct Finding {
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// What is wrong, in one sentence that names the object.
    pub message: String,
    /// The symbol that it is about, as the object has it.
    pub symbol: Option<String>,
    /// The section that it is about.
    pub section: Option<String>,
    /// Where, in bytes from the section's start; for the ELF file's own tables, from the file's.
    pub offset: Option<u64>,
    /// The source line that it comes from, `file:line`, where the object says so.
    pub line: Option<String>,
    /// The index of the section, for finding the line.
    pub(crate) section_index: usize,
    /// What the loader returns; nothing where it isn't the loader that refuses.
    pub errno: Option<Errno>,
    /// The line that the kernel would print; nothing where it says nothing.
    pub kernel: Option<String>,
    /// How to mend it.
    pub remedy: Cow<'static, str>,
}

impl Finding {
    pub(crate) fn new(id: Id, message: impl Into<String>) -> Self {
        let rule = rule(id);
        Self {
            rule,
            message: message.into(),
            symbol: None,
            section: None,
            offset: None,
            line: None,
            section_index: 0,
            errno: None,
            kernel: None,
            remedy: Cow::Borrowed(rule.mend),
        }
    }

    /// What the kernel does: the number it returns, the line it prints.
    pub(crate) fn kernel(mut self, errno: Errno, words: impl Into<String>) -> Self {
        self.errno = Some(errno);
        let words = words.into();
        self.kernel = (!words.is_empty()).then_some(words);
        self
    }

    pub(crate) fn symbol(mut self, name: impl Into<String>) -> Self {
        self.symbol = Some(name.into());
        self
    }

    pub(crate) fn at(mut self, section: impl Into<String>, offset: u64) -> Self {
        self.section = Some(section.into());
        self.offset = Some(offset);
        self
    }

    /// Where in the code or the data it is.
    pub(crate) fn place(self, image: &Image<'_>, section: usize, offset: u64) -> Self {
        Self { section_index: section, ..self.at(image.section_name(section), offset) }
    }

    pub(crate) fn in_section(mut self, section: impl Into<String>) -> Self {
        self.section = Some(section.into());
        self
    }

    pub(crate) fn offset(mut self, offset: u64) -> Self {
        self.offset = Some(offset);
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<Cow<'static, str>>) -> Self {
        self.remedy = remedy.into();
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.section, self.offset) {
            (Some(section), Some(offset)) => write!(f, "{section}+{offset:#x}: ")?,
            (Some(section), None) => write!(f, "{section}: ")?,
            (None, Some(offset)) => write!(f, "file+{offset:#x}: ")?,
            (None, None) => {}
        }
        f.write_str(&self.message)?;
        if let Some(line) = &self.line {
            write!(f, " ({line})")?;
        }
        match (&self.kernel, self.errno) {
            (Some(words), Some(errno)) => {
                write!(f, ": the kernel would say `{words}` ({})", errno.name())
            }
            (None, Some(errno)) => write!(f, ": the kernel would refuse it with {}", errno.name()),
            _ => Ok(()),
        }
    }
}

/// Findings of one rule beyond these are only counted.
const MOST_OF_A_RULE: usize = 100;

/// A hazard that the module's project allows.
#[derive(Debug, Clone)]
pub struct Allowed {
    /// What there is to say.
    pub finding: Finding,
    /// Why it is allowed.
    pub reason: String,
}

/// All there is to say of one module on one kernel.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The module's name, where it says one.
    pub name: String,
    /// The refusals, in the order in which the loader would come upon them.
    pub refusals: Vec<Finding>,
    /// The hazards that nothing allows.
    pub hazards: Vec<Finding>,
    /// The hazards that the module's project allows.
    pub allowed: Vec<Allowed>,
    /// What was measured.
    pub measures: Measures,
    errno: Option<Errno>,
    symbols: Option<Errno>,
    counts: Counts,
}

/// How often each rule was broken.
#[derive(Debug, Clone)]
struct Counts([usize; COUNT]);

impl Default for Counts {
    fn default() -> Self {
        Self([0; COUNT])
    }
}

impl Counts {
    /// Counts one more; whether it is to be kept.
    fn is_wanted(&mut self, id: Id) -> bool {
        let count = &mut self.0[id as usize];
        *count += 1;
        *count <= MOST_OF_A_RULE
    }
}

impl Report {
    /// Adds what the loader comes upon next.
    pub(crate) fn add(&mut self, finding: Finding) {
        self.errno = self.errno.or(finding.errno);
        self.keep(finding);
    }

    /// Adds what `simplify_symbols` comes upon next: it goes on after it.
    pub(crate) fn add_symbol(&mut self, finding: Finding) {
        if self.errno.is_none() {
            self.symbols = finding.errno.or(self.symbols);
        }
        self.keep(finding);
    }

    /// Adds the hazards.
    pub(crate) fn add_hazards(&mut self, found: Found<'_>) {
        let Found { hazards, allowed, reasons, counts, .. } = found;
        self.hazards = hazards;
        let allowed = allowed.into_iter().zip(reasons);
        self.allowed =
            allowed.map(|(finding, reason)| Allowed { finding, reason: reason.to_owned() }).collect();
        for (count, more) in self.counts.0.iter_mut().zip(counts.0) {
            *count += more;
        }
    }

    fn keep(&mut self, finding: Finding) {
        if self.counts.is_wanted(finding.rule.id) {
            self.refusals.push(finding);
        }
    }

    /// How many findings of a class there are, with those of rules that are broken very often and are not all listed.
    pub fn count(&self, class: Class) -> usize {
        rules().filter(|rule| rule.class == class).map(|rule| self.counts.0[rule.id as usize]).sum()
    }

    /// How many findings there are that are not listed.
    pub fn more(&self) -> usize {
        self.counts.0.iter().sum::<usize>() - self.refusals.len() - self.hazards.len()
    }

    /// All findings, the allowed ones too.
    pub(crate) fn findings_mut(&mut self) -> impl Iterator<Item = &mut Finding> {
        let allowed = self.allowed.iter_mut().map(|allowed| &mut allowed.finding);
        self.refusals.iter_mut().chain(&mut self.hazards).chain(allowed)
    }

    /// All findings that nothing allows, refusals first.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.refusals.iter().chain(&self.hazards)
    }

    /// What loading the module would return. `simplify_symbols` goes on after a symbol that it can't resolve,
    /// and what it returns is of the last of them; everything else is of the first.
    pub fn errno(&self) -> Option<Errno> {
        self.symbols.or(self.errno)
    }

    /// The refusal that the kernel comes upon first.
    pub fn first(&self) -> Option<&Finding> {
        self.refusals.iter().find(|finding| finding.errno.is_some()).or(self.refusals.first())
    }

    /// Whether the module is not to be loaded.
    pub fn is_refused(&self) -> bool {
        !self.refusals.is_empty()
    }
}

/// The hazards of a module as they are found, parted into those that its project allows and the others.
pub(crate) struct Found<'p> {
    policy: &'p Policy,
    /// Which of the policy's allowances have allowed something.
    used: Vec<bool>,
    pub(crate) hazards: Vec<Finding>,
    pub(crate) allowed: Vec<Finding>,
    /// Why the allowed ones are.
    reasons: Vec<&'p str>,
    counts: Counts,
    allowed_counts: Counts,
}

impl<'p> Found<'p> {
    pub(crate) fn new(policy: &'p Policy) -> Self {
        Self {
            policy,
            used: vec![false; policy.allowances.len()],
            hazards: Vec::new(),
            allowed: Vec::new(),
            reasons: Vec::new(),
            counts: Counts::default(),
            allowed_counts: Counts::default(),
        }
    }

    /// Adds a finding.
    pub(crate) fn push(&mut self, finding: Finding) {
        let (rule, symbol) = (finding.rule, finding.symbol.clone());
        self.add(rule.id, symbol.as_deref(), || finding);
    }

    /// Adds a finding of a rule about a symbol, which is made only where it will be kept.
    pub(crate) fn add(&mut self, id: Id, symbol: Option<&str>, make: impl FnOnce() -> Finding) {
        let allows = |allowance: &Allowance| allowance.allows(rule(id), symbol);
        match self.policy.allowances.iter().position(allows) {
            Some(index) => {
                self.used[index] = true;
                if self.allowed_counts.is_wanted(id) {
                    self.allowed.push(make());
                    self.reasons.push(&self.policy.allowances[index].reason);
                }
            }
            None if self.counts.is_wanted(id) => self.hazards.push(make()),
            None => {}
        }
    }

    /// Says which allowances have allowed nothing, when all is found.
    pub(crate) fn finish(&mut self) {
        let policy = self.policy;
        for (index, allowance) in policy.allowances.iter().enumerate().filter(|_| !policy.partial) {
            if !self.used[index] && self.counts.is_wanted(Id::UnusedAllowance) {
                self.hazards.push(allowance.unused());
            }
        }
    }
}

/// What was measured of a module that can be read.
#[derive(Debug, Clone, Default)]
pub struct Measures {
    /// What it takes up in memory, in bytes: the sum of its loaded sections' sizes.
    pub size: u64,
    /// What it needs of the kernel's stack; nothing where there is no code to be looked at.
    pub stack: Option<Stack>,
}

/// What a module needs of the kernel's stack, in bytes.
#[derive(Debug, Clone, Default)]
pub struct Stack {
    /// The size of the kernel's stack.
    pub available: u64,
    /// The largest frame: the function, and its bytes with the return address.
    pub largest: (String, u64),
    /// The chain of calls that needs the most: each function, and what it has on the stack when it calls the next one; the
    /// last with its frame. In a circle of calls each function is there once.
    pub deepest: Vec<(String, u64)>,
    /// What functions of the deepest chain need beyond what can be seen: the kernel's functions that they call by name, and
    /// `a pointer in FUNCTION`, `an array of variable length in FUNCTION`. Sorted.
    pub unknown: Vec<String>,
}

impl Stack {
    /// The sum of the deepest chain, in bytes.
    pub fn depth(&self) -> u64 {
        self.deepest.iter().fold(0, |sum, (_, used)| sum.saturating_add(*used))
    }
}
