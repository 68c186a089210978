// SPDX-License-Identifier: GPL-2.0-only
//! What a module's own project says of it.

use crate::finding::Finding;
use crate::names::readable;
use crate::rules::{Id, Rule};

/// What a project asks of its module, and what it allows. The default asks and allows nothing.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Functions of a Rust side that must be in the module.
    pub functions: Vec<String>,
    /// The most that the module may take up in memory, in bytes.
    pub max_size: Option<u64>,
    /// The most that a chain of its functions may need of the stack, in bytes; half of the kernel's stack where
    /// nothing is said.
    pub max_stack: Option<u64>,
    /// Something was left out of the module on purpose: an allowance may have nothing to allow.
    pub partial: bool,
    /// Hazards that are known, each with the reason why it may be there.
    pub allowances: Vec<Allowance>,
}

/// A hazard that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// The rule's name.
    pub rule: String,
    /// The symbol that the finding is about, as the object has it or demangled; nothing for a finding that is about
    /// none. A `*` at its end stands for whatever follows.
    pub symbol: Option<String>,
    /// Why.
    pub reason: String,
}

impl Allowance {
    /// Whether it allows a finding of a rule about a symbol.
    pub(crate) fn allows(&self, rule: &Rule, symbol: Option<&str>) -> bool {
        if rule.name != self.rule {
            return false;
        }
        match (&self.symbol, symbol) {
            (None, None) => true,
            (Some(wanted), Some(symbol)) => matches(wanted, symbol) || matches(wanted, &readable(symbol)),
            _ => false,
        }
    }

    pub(crate) fn unused(&self) -> Finding {
        let what = match &self.symbol {
            Some(symbol) => format!("`{}` of `{symbol}`", self.rule),
            None => format!("`{}`", self.rule),
        };
        Finding::new(Id::UnusedAllowance, format!("{what} is allowed and there is no such finding"))
    }
}

fn matches(wanted: &str, symbol: &str) -> bool {
    match wanted.strip_suffix('*') {
        Some(start) => symbol.starts_with(start),
        None => symbol == wanted,
    }
}
