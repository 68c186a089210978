// SPDX-License-Identifier: GPL-2.0-only
//! What is done with a module that counts, its counters, and what gcov says. A file of its own: no other target needs it.

use coverage::{Counted, Coverage};

/// Counters of no more bytes are made up.
const MOST_COUNTERS: u64 = 1 << 16;

/// A module with counters that are made up, and an answer of gcov's.
pub(crate) fn coverage(bytes: &[u8]) {
    let mut all = coverage::c(&String::from_utf8_lossy(bytes)).unwrap_or_default();
    if let Ok(module) = Counted::read(bytes) {
        let _ = module.loaded_size();
        if module.size() > MOST_COUNTERS {
            return;
        }
        let counters: Vec<u8> = (0..module.size()).map(|index| (index * 37) as u8).collect();
        all.join(coverage::rust(&module, &counters).unwrap_or_default());
        for unit in coverage::units(&module, &counters).unwrap_or_default() {
            assert!(unit.gcda.len() < (64 << 20));
        }
        assert!(coverage::rust(&module, &counters[8..]).is_err());
    }
    told(&all);
}

/// What is made of it holds together, however large the counts are.
fn told(all: &Coverage) {
    let lines = all.line_count();
    assert!(lines.hit <= lines.all && lines.all < (8 << 20));
    let text = coverage::lcov(all);
    assert!(text.matches("end_of_record").count() >= all.files.len());
}
