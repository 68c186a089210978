// SPDX-License-Identifier: GPL-2.0-only
//! What there is to say of a module.

use std::borrow::Cow;
use std::fmt;

use crate::rules::{Id, RULES, Rule, rule};

/// An error number of Linux, as the loader returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errno {
    /// No such file or directory.
    Enoent = 2,
    /// Exec format error.
    Enoexec = 8,
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

/// All there is to say of one module on one kernel.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The module's name, where it says one.
    pub name: String,
    /// The findings, in the order in which the loader would come upon them.
    pub findings: Vec<Finding>,
    /// How many more there are of rules that are broken very often.
    pub more: usize,
    errno: Option<Errno>,
    symbols: Option<Errno>,
    counts: [usize; RULES.len()],
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

    fn keep(&mut self, finding: Finding) {
        let count = &mut self.counts[finding.rule.id as usize];
        *count += 1;
        if *count <= MOST_OF_A_RULE {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// What loading the module would return. `simplify_symbols` goes on after a symbol that it can't resolve,
    /// and what it returns is of the last of them; everything else is of the first.
    pub fn errno(&self) -> Option<Errno> {
        self.symbols.or(self.errno)
    }

    /// The finding that the kernel comes upon first.
    pub fn first(&self) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.errno.is_some()).or(self.findings.first())
    }

    /// Whether the module is not to be loaded.
    pub fn is_refused(&self) -> bool {
        !self.findings.is_empty()
    }
}
