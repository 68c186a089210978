// SPDX-License-Identifier: GPL-2.0-only
//! Source lines, from the debug information of an object that is not linked yet.

use std::collections::HashMap;

use gimli::{AttributeValue, DW_AT_call_file, DW_AT_call_line, DW_TAG_inlined_subroutine};

use crate::dwarf::{Debug, Entry, Sections, Unit, address};
use crate::finding::Finding;
use crate::image::Image;

/// Adds to each finding with a place in a section the line that it comes from, where the object says so.
pub(crate) fn add<'f>(image: &Image<'_>, findings: impl IntoIterator<Item = &'f mut Finding>) {
    let placed = |finding: &&mut Finding| finding.section_index != 0 && finding.line.is_none();
    let mut findings: Vec<_> = findings.into_iter().filter(placed).collect();
    let places: Vec<_> =
        findings.iter().map(|one| (one.section_index, one.offset.unwrap_or_default())).collect();
    for (finding, line) in findings.iter_mut().zip(source_lines(image.bytes.0, &places)) {
        finding.line = line;
    }
}

/// The line, `file:line`, that each place (a section's index, and bytes from its start) in an object's code comes
/// from, where the object says so. Of inlined code it is the innermost line that isn't in Rust's own library.
pub(crate) fn source_lines(bytes: &[u8], places: &[(usize, u64)]) -> Vec<Option<String>> {
    let mut wanted: Vec<u64> = places.iter().map(|(section, offset)| address(*section, *offset)).collect();
    wanted.sort_unstable();
    wanted.dedup();
    let sections = if wanted.is_empty() { None } else { Sections::of(bytes) };
    let mut found = HashMap::new();
    if let Some(sections) = &sections {
        let debug = sections.debug();
        for unit in debug.units() {
            if found.len() == wanted.len() {
                break;
            }
            // A unit that is damaged costs its own lines only.
            let _ = of_unit(&debug, &unit, &wanted, &mut found);
        }
    }
    places.iter().map(|(section, offset)| found.get(&address(*section, *offset)).cloned()).collect()
}

/// A file of a unit, by its number, and a line in it; 0 for none.
type Spot = (u64, u64);

/// Those of sorted addresses that are in a range.
fn within(wanted: &[u64], begin: u64, end: u64) -> &[u64] {
    let (from, to) = (wanted.partition_point(|at| *at < begin), wanted.partition_point(|at| *at < end));
    wanted.get(from..to).unwrap_or_default()
}

fn of_unit<'d>(
    debug: &Debug<'d>,
    unit: &Unit<'d>,
    wanted: &[u64],
    found: &mut HashMap<u64, String>,
) -> Option<()> {
    let mut here = Vec::new();
    let mut ranges = debug.unit_ranges(unit)?;
    while let Some(range) = ranges.next().ok()? {
        let inside = within(wanted, range.begin, range.end);
        debug.spend(inside.len() + 1)?;
        here.extend(inside.iter().filter(|at| !found.contains_key(at)));
    }
    if here.is_empty() {
        return Some(());
    }
    here.sort_unstable();
    here.dedup();
    let spots = rows(debug, unit, &here)?;
    let mut library = HashMap::new();
    let mut is_library = |file: u64| {
        *library.entry(file).or_insert_with(|| debug.path(unit, file).is_some_and(|path| is_of_rust(&path)))
    };
    here.retain(|at| spots.get(at).is_some_and(|(file, line)| *line == 0 || is_library(*file)));
    let callers = if here.is_empty() { HashMap::new() } else { callers(debug, unit, &here, is_library)? };
    for (at, spot) in spots {
        let (file, line) = callers.get(&at).copied().unwrap_or(spot);
        if line != 0
            && let Some(path) = debug.path(unit, file)
        {
            found.insert(at, format!("{path}:{line}"));
        }
    }
    Some(())
}

/// Whether a file is of Rust's own library, as it comes with the compiler or is built for the kernel.
fn is_of_rust(path: &str) -> bool {
    let is_crate =
        |name: &str| ["core", "alloc", "std", "compiler-builtins", "portable-simd"].contains(&name);
    path.split_once("/library/").is_some_and(|(before, after)| {
        before.contains("/rustc/") || after.split('/').next().is_some_and(is_crate) && after.contains("/src/")
    })
}

/// What the table of lines says of each address.
fn rows(debug: &Debug<'_>, unit: &Unit<'_>, wanted: &[u64]) -> Option<HashMap<u64, Spot>> {
    let mut spots = HashMap::new();
    let mut rows = unit.line_program.clone()?.rows();
    let mut before: Option<(u64, Spot)> = None;
    // What was found before the damage counts.
    while let Ok(Some((_, row))) = rows.next_row() {
        let inside = before.map(|(begin, spot)| (within(wanted, begin, row.address()), spot));
        if let Some((inside, spot)) = inside {
            debug.spend(inside.len())?;
            spots.extend(inside.iter().map(|at| (*at, spot)));
        }
        debug.spend(1)?;
        let spot = (row.file_index(), row.line().map_or(0, std::num::NonZeroU64::get));
        before = (!row.end_sequence()).then_some((row.address(), spot));
    }
    Some(spots)
}

/// The innermost call around each address, of those that were inlined, that isn't made in Rust's own library.
fn callers<'d>(
    debug: &Debug<'d>,
    unit: &Unit<'d>,
    wanted: &[u64],
    mut is_library: impl FnMut(u64) -> bool,
) -> Option<HashMap<u64, Spot>> {
    let mut callers = HashMap::new();
    // Outer calls come before those that are inlined in them.
    let _ = debug.walk(
        unit,
        None,
        |tag| tag == DW_TAG_inlined_subroutine,
        |_, entry| {
            let Some(spot) = call(&entry).filter(|(file, _)| !is_library(*file)) else { return Some(()) };
            let mut ranges = debug.ranges(unit, &entry)?;
            while let Some(range) = ranges.next().ok()? {
                let inside = within(wanted, range.begin, range.end);
                debug.spend(inside.len() + 1)?;
                callers.extend(inside.iter().map(|at| (*at, spot)));
            }
            Some(())
        },
    );
    Some(callers)
}

fn call(entry: &Entry<'_>) -> Option<Spot> {
    let file = match entry.attr_value(DW_AT_call_file)? {
        AttributeValue::FileIndex(file) => file,
        other => other.udata_value()?,
    };
    let line = entry.attr_value(DW_AT_call_line)?.udata_value()?;
    (line != 0).then_some((file, line))
}

#[cfg(test)]
mod tests;
