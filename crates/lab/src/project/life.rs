// SPDX-License-Identifier: GPL-2.0-only
use serde::Deserialize;

/// The `[life]` table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Life {
    /// Whether any of it is done.
    pub enabled: bool,
    /// How often the module is loaded and unloaded.
    pub cycles: u32,
    /// The tests that are left out, without `life/`.
    pub skip: Vec<String>,
    /// Why they are, or all of it is.
    pub reason: Option<String>,
    /// A parameter of the module that has its n-th allocation fail.
    pub fail_allocation: Option<String>,
}

impl Life {
    /// The tests' names, without `life/`.
    pub const TESTS: [&str; 6] = ["load-twice", "in-use", "cycles", "parameters", "failing-init", "leaks"];

    /// Why a test is left out, if it is.
    pub fn left_out(&self, test: &str) -> Option<&str> {
        let is_left_out = !self.enabled || self.skip.iter().any(|name| name == test);
        is_left_out.then(|| self.reason.as_deref().unwrap_or_default())
    }

    /// What is wrong with the table: where, what, and what to do.
    pub(super) fn problem(&self) -> Option<(&'static str, String, String)> {
        if let Some(unknown) = self.skip.iter().find(|name| !Self::TESTS.contains(&name.as_str())) {
            let message = format!("there is no test `{unknown}` of a module's life");
            return Some(("skip", message, format!("there are {}", Self::TESTS.join(", "))));
        }
        if !(1..=10_000).contains(&self.cycles) {
            let message = format!("{} cycles are not possible", self.cycles);
            return Some(("cycles", message, "have the module loaded 1 to 10000 times".into()));
        }
        let leaves_out = !self.enabled || !self.skip.is_empty();
        (leaves_out && self.reason.as_deref().is_none_or(|reason| reason.trim().is_empty())).then(|| {
            let message = "tests of the module's life are left out without a reason".into();
            ("life", message, "say in `reason` why they can't be done".into())
        })
    }
}

impl Default for Life {
    fn default() -> Self {
        Self { enabled: true, cycles: 20, skip: Vec::new(), reason: None, fail_allocation: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let life: Life = toml::from_str(text).unwrap();
        let (key, message, remedy) = life.problem().unwrap();
        format!("{key}: {message}\nhelp: {remedy}")
    }

    #[test]
    fn what_is_left_out_has_a_name_and_a_reason() {
        insta::assert_snapshot!(problem("skip = [\"in-usage\"]\nreason = \"x\""), @r"
        skip: there is no test `in-usage` of a module's life
        help: there are load-twice, in-use, cycles, parameters, failing-init, leaks
        ");
        insta::assert_snapshot!(problem("enabled = false"), @r"
        life: tests of the module's life are left out without a reason
        help: say in `reason` why they can't be done
        ");
        insta::assert_snapshot!(problem("cycles = 0"), @r"
        cycles: 0 cycles are not possible
        help: have the module loaded 1 to 10000 times
        ");
        let life: Life = toml::from_str("skip = [\"cycles\"]\nreason = \"it burns\"").unwrap();
        assert!(life.problem().is_none());
        assert_eq!((life.left_out("cycles"), life.left_out("leaks")), (Some("it burns"), None));
    }
}
