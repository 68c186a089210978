// SPDX-License-Identifier: GPL-2.0-only
//! A page: the figures, and each file with how often its lines were run.

use std::collections::BTreeMap;

use maud::{DOCTYPE, Markup, html};

use crate::figures::{Branch, Count, Coverage, File};
use crate::table::share;

const STYLE: &str = "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}\
td,th{padding:.1em .8em;text-align:right}td:first-child,th:first-child{text-align:left}\
pre{margin:0}.s td{font-family:monospace;white-space:pre;padding:0 .6em;text-align:right}\
.s td:last-child{text-align:left}.hit{background:#dfd}.missed{background:#fdd}.partly{background:#ffd}";

/// A page that needs no other file and no network. `source` gives a file's text, where it is still there.
pub fn page(coverage: &Coverage, title: &str, source: impl Fn(&str) -> Option<String>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { (title) } style { (STYLE) } }
            body {
                h1 { (title) }
                table {
                    tr { th { "file" } th colspan="2" { "lines" } th colspan="2" { "branches" } }
                    @for (index, (path, file)) in coverage.files.iter().enumerate() {
                        tr {
                            td { a href=(format!("#{index}")) { (path) } }
                            (figures(file.line_count())) (figures(file.branch_count()))
                        }
                    }
                    tr {
                        td { b { "together" } }
                        (figures(coverage.line_count())) (figures(coverage.branch_count()))
                    }
                }
                @for (index, (path, file)) in coverage.files.iter().enumerate() {
                    h2 id=(index) { (path) }
                    (lines(file, source(path)))
                }
            }
        }
    };
    page.into_string()
}

fn figures(count: Count) -> Markup {
    html! {
        td { (count.hit) "/" (count.all) }
        td { @if let Some(share) = share(count) { (share) " %" } }
    }
}

/// Each line with its count and how many ways of its branches were taken.
fn lines(file: &File, source: Option<String>) -> Markup {
    let Some(source) = source else { return html! { p { "Its source is not there any more." } } };
    let mut branches: BTreeMap<u32, Vec<(&Branch, u64)>> = BTreeMap::new();
    for (branch, count) in &file.branches {
        branches.entry(branch.line).or_default().push((branch, *count));
    }
    html! {
        table.s {
            @for (number, text) in (1u32..).zip(source.lines()) {
                @let count = file.lines.get(&number).copied();
                @let ways = branches.get(&number).map(|ways| {
                    (ways.iter().filter(|(_, count)| *count > 0).count(), ways.len())
                });
                tr.(class(count, ways)) {
                    td { (number) }
                    td { @if let Some(count) = count { (count) } }
                    td { @if let Some((taken, all)) = ways { (taken) "/" (all) } }
                    td { (text) }
                }
            }
        }
    }
}

fn class(count: Option<u64>, ways: Option<(usize, usize)>) -> &'static str {
    match (count, ways) {
        (None, _) => "none",
        (Some(0), _) => "missed",
        (Some(_), Some((taken, all))) if taken < all => "partly",
        (Some(_), _) => "hit",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_marked_and_texts_are_only_texts() {
        let mut file = File::default();
        [(1, 2), (2, 0)].into_iter().for_each(|(line, count)| file.add_line(line, count));
        file.add_branch(Branch { line: 1, place: (0, 0, 0), way: 0 }, 0);
        let mut coverage = Coverage::default();
        coverage.files.insert("a<b.c".to_owned(), file);
        let page = page(&coverage, "T", |_| Some("if (a<b)\n\tx();\n}\n".to_owned()));
        assert!(page.contains("a&lt;b.c") && page.contains("if (a&lt;b)"));
        for row in ["<tr class=\"partly\">", "<tr class=\"missed\">", "<tr class=\"none\">"] {
            assert!(page.contains(row), "{row}");
        }
    }
}
