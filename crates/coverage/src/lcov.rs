// SPDX-License-Identifier: GPL-2.0-only
//! The tracefile of lcov: `geninfo(1)`.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::figures::{Branch, Count, Coverage, File};

/// The coverage as lcov, genhtml and most services read it. The branches of a line are blocks in the order of their
/// columns; in Rust way 0 is taken when the condition holds.
pub fn lcov(coverage: &Coverage) -> String {
    let mut text = String::new();
    for (path, file) in &coverage.files {
        // Writing to a text never fails.
        let _ = write_file(&mut text, path, file);
    }
    text
}

fn write_file(text: &mut String, path: &str, file: &File) -> std::fmt::Result {
    writeln!(text, "TN:\nSF:{}", path.replace(['\n', '\r'], "?"))?;
    for (line, blocks) in &blocks(file) {
        for (block, ways) in blocks.iter().enumerate() {
            let was_reached = ways.iter().any(|(_, count)| *count > 0);
            for (way, (_, count)) in ways.iter().enumerate() {
                let taken = if was_reached { count.to_string() } else { "-".to_owned() };
                writeln!(text, "BRDA:{line},{block},{way},{taken}")?;
            }
        }
    }
    let Count { hit, all } = file.branch_count();
    if all > 0 {
        writeln!(text, "BRF:{all}\nBRH:{hit}")?;
    }
    for (line, count) in &file.lines {
        writeln!(text, "DA:{line},{count}")?;
    }
    let Count { hit, all } = file.line_count();
    writeln!(text, "LF:{all}\nLH:{hit}\nend_of_record")
}

/// The ways of a branch.
type Ways = Vec<(Branch, u64)>;

/// Each line's branches.
fn blocks(file: &File) -> BTreeMap<u32, Vec<Ways>> {
    let mut lines: BTreeMap<u32, Vec<Ways>> = BTreeMap::new();
    for (branch, count) in &file.branches {
        let blocks = lines.entry(branch.line).or_default();
        match blocks.last_mut().filter(|ways| ways[0].0.place == branch.place) {
            Some(ways) => ways.push((*branch, *count)),
            None => blocks.push(vec![(*branch, *count)]),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written() {
        let mut file = File::default();
        [(3, 2), (4, 0)].into_iter().for_each(|(line, count)| file.add_line(line, count));
        for (column, way, count) in [(8, 0, 0), (8, 1, 2), (4, 0, 0), (4, 1, 0)] {
            file.add_branch(Branch { line: 3, place: (column, 3, 20), way }, count);
        }
        let mut coverage = Coverage::default();
        coverage.files.insert("src/a.rs".to_owned(), file);
        insta::assert_snapshot!(lcov(&coverage), @"
        TN:
        SF:src/a.rs
        BRDA:3,0,0,-
        BRDA:3,0,1,-
        BRDA:3,1,0,0
        BRDA:3,1,1,2
        BRF:4
        BRH:1
        DA:3,2
        DA:4,0
        LF:2
        LH:1
        end_of_record
        ");
    }
}
