// SPDX-License-Identifier: GPL-2.0-only
//! Functions and lines of one compilation unit, for looking addresses up.

use gimli::{AttributeValue, ColumnType, UnitOffset, constants as dw};

use super::{SourceLanguage, language_of};
use crate::dwarf::{Debug, Entry, Unit};

/// More functions than are inlined in each other.
const MOST_INLINED: usize = 64;

/// A place in a source. 0 stands for what isn't known.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spot {
    /// By its number in the unit.
    pub(super) file: u64,
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A function with code of its own, or one that is inlined somewhere.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope {
    pub(super) entry: UnitOffset,
    /// Where it was called, if it was inlined.
    pub(super) call: Option<Spot>,
}

/// What a unit says of its code.
#[derive(Debug)]
pub(super) struct Code {
    pub(super) language: SourceLanguage,
    /// Begin, end, and the line between them, sorted.
    rows: Vec<(u64, u64, Spot)>,
    /// Begin, end, and what is between them; what is inlined comes after what it is inlined in.
    scopes: Vec<(u64, u64, Scope)>,
}

impl Code {
    /// Reads a unit; nothing where that is more than its file is worth. What was read before any damage counts.
    pub(super) fn read<'d>(debug: &Debug<'d>, unit: &Unit<'d>) -> Option<Self> {
        let mut rows = rows(debug, unit)?;
        rows.sort_by_key(|(begin, ..)| *begin);
        Some(Self { language: language_of(unit), rows, scopes: scopes(debug, unit) })
    }

    /// The line of an address.
    pub(super) fn spot(&self, at: u64) -> Option<Spot> {
        let after = self.rows.partition_point(|(begin, ..)| *begin <= at);
        let (_, end, spot) = self.rows.get(after.checked_sub(1)?)?;
        (at < *end).then_some(*spot)
    }

    /// The functions around an address, outermost first.
    pub(super) fn chain(&self, at: u64) -> Vec<Scope> {
        let mut chain = Vec::new();
        for (.., scope) in self.scopes.iter().filter(|(begin, end, _)| (*begin..*end).contains(&at)) {
            if scope.call.is_none() {
                chain.clear();
            }
            if chain.len() < MOST_INLINED {
                chain.push(*scope);
            }
        }
        chain
    }
}

fn rows(debug: &Debug<'_>, unit: &Unit<'_>) -> Option<Vec<(u64, u64, Spot)>> {
    let mut found = Vec::new();
    let mut rows = unit.line_program.clone()?.rows();
    let mut before: Option<(u64, Spot)> = None;
    while let Ok(Some((_, row))) = rows.next_row() {
        debug.spend(1)?;
        if let Some((begin, spot)) = before.filter(|(begin, _)| *begin < row.address()) {
            found.push((begin, row.address(), spot));
        }
        let column = match row.column() {
            ColumnType::LeftEdge => 0,
            ColumnType::Column(column) => column.get(),
        };
        let line = row.line().map_or(0, std::num::NonZeroU64::get);
        let spot = Spot { file: row.file_index(), line, column };
        before = (!row.end_sequence()).then_some((row.address(), spot));
    }
    Some(found)
}

fn scopes<'d>(debug: &Debug<'d>, unit: &Unit<'d>) -> Vec<(u64, u64, Scope)> {
    let mut found = Vec::new();
    let wanted = |tag| tag == dw::DW_TAG_subprogram || tag == dw::DW_TAG_inlined_subroutine;
    let _ = debug.walk(unit, None, wanted, |_, entry| {
        let call = (entry.tag() == dw::DW_TAG_inlined_subroutine).then(|| call(&entry));
        let scope = Scope { entry: entry.offset(), call };
        let mut ranges = debug.ranges(unit, &entry)?;
        while let Some(range) = ranges.next().ok()? {
            debug.spend(1)?;
            if range.begin < range.end {
                found.push((range.begin, range.end, scope));
            }
        }
        Some(())
    });
    found
}

fn call(entry: &Entry<'_>) -> Spot {
    let number = |name| entry.attr_value(name).and_then(|value| value.udata_value()).unwrap_or_default();
    let file = match entry.attr_value(dw::DW_AT_call_file) {
        Some(AttributeValue::FileIndex(file)) => file,
        _ => number(dw::DW_AT_call_file),
    };
    Spot { file, line: number(dw::DW_AT_call_line), column: number(dw::DW_AT_call_column) }
}
