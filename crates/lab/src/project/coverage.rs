// SPDX-License-Identifier: GPL-2.0-only
use serde::Deserialize;

/// The `[coverage]` table.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Coverage {
    /// The files that don't count, relative to the project: the tests themselves. A `*` stands for any text.
    pub leave_out: Vec<String>,
}

impl Coverage {
    /// Whether a file, named relative to the project, does not count.
    pub fn leaves_out(&self, file: &str) -> bool {
        self.leave_out.iter().any(|pattern| matches(pattern, file))
    }
}

/// Whether a name is as the pattern wants it.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        if let Some(before) = last.replace(part) {
            let Some((_, after)) = rest.split_once(before) else { return false };
            rest = after;
        }
    }
    last.map_or(rest.is_empty(), |end| rest.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, expected) in [
            ("a.c", "a.c", true),
            ("a.c", "a.cc", false),
            ("a.c", "b/a.c", false),
            ("src/selftest*", "src/selftest/table.rs", true),
            ("src/selftest*", "src/text.rs", false),
            ("*/tests.rs", "src/tests.rs", true),
            ("*/tests.rs", "tests.rs", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("*", "x", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
