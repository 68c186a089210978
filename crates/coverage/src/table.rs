// SPDX-License-Identifier: GPL-2.0-only
//! The summary as a table.

use std::fmt::Write;

use crate::figures::{Count, Coverage};

/// The figures of each file and of all, as a table in Markdown.
pub fn markdown(coverage: &Coverage) -> String {
    let mut text = String::from("| file | lines | | branches | |\n| --- | --: | --: | --: | --: |\n");
    let mut row = |name: &str, lines: Count, branches: Count| {
        let [lines, branches] = [lines, branches].map(|count| {
            let share = share(count).map(|share| format!("{share} %")).unwrap_or_default();
            format!("{}/{} | {share}", count.hit, count.all)
        });
        // Writing to a text never fails.
        let _ = writeln!(text, "| {} | {lines} | {branches} |", name.replace('|', "\\|"));
    };
    for (path, file) in &coverage.files {
        row(&format!("`{path}`"), file.line_count(), file.branch_count());
    }
    row("**together**", coverage.line_count(), coverage.branch_count());
    text
}

/// A share in per cent, as `87.5`; nothing of nothing.
pub(crate) fn share(count: Count) -> Option<String> {
    count.permille().map(|permille| format!("{}.{}", permille / 10, permille % 10))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::File;

    #[test]
    fn a_file_without_branches_has_no_share() {
        let mut file = File::default();
        [(1, 1), (2, 0), (3, 7)].into_iter().for_each(|(line, count)| file.add_line(line, count));
        let mut coverage = Coverage::default();
        coverage.files.insert("a.c".to_owned(), file);
        insta::assert_snapshot!(markdown(&coverage), @"
        | file | lines | | branches | |
        | --- | --: | --: | --: | --: |
        | `a.c` | 2/3 | 66.6 % | 0/0 |  |
        | **together** | 2/3 | 66.6 % | 0/0 |  |
        ");
    }
}
