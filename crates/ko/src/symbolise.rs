// SPDX-License-Identifier: GPL-2.0-only
//! Where in the sources the places of a kernel's trace are: `function+0x12/0x80` of a module, asked of its file.
//!
//! Names and distances within sections are all that is needed: it makes no difference where the module was loaded.

/// Functions and lines of a compilation unit.
mod code;
/// Symbols as a kernel's trace names them.
mod symbols;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use gimli::{AttributeValue, UnitOffset, constants as dw};

use crate::ReadError;
use crate::dwarf::{Debug, Sections, Unit};
use crate::names::readable;
use code::{Code, Spot};
use symbols::Symbols;

/// More entries than lead from a function to its name.
const MOST_HOPS: usize = 8;

/// A place as a kernel's trace names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracePlace<'s> {
    /// The symbol.
    pub symbol: &'s str,
    /// Bytes behind it.
    pub offset: u64,
    /// Bytes from the symbol to the next, as the kernel counts them.
    pub size: u64,
    /// Whether it is an instruction's own address; otherwise it is where a call returns to.
    pub exact: bool,
}

/// What the file says of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where it is: innermost inlined function first, the function that has a symbol last. Never empty.
    Found(Vec<SourcePlace>),
    /// The file has no such symbol of this size, or no debug information about it.
    Unknown,
    /// It may be in either of several functions of the same name and size.
    Ambiguous,
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourcePlace {
    /// The function, demangled.
    pub function: String,
    /// What it is written in.
    pub language: SourceLanguage,
    /// The file, with the folder that it was compiled in.
    pub file: String,
    /// Counted from 1; 0 where the compiler says that the code comes from no one line.
    pub line: u32,
    /// Counted from 1; nothing where it isn't known.
    pub column: Option<u32>,
}

/// What a compilation unit is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceLanguage {
    /// C, of any year.
    C,
    /// Rust.
    Rust,
    /// Anything else.
    Other,
}

/// A module's file with its symbols and debug information.
pub struct Symbolised<'a> {
    symbols: Symbols<'a>,
    sections: Option<Sections<'a>>,
}

impl<'a> Symbolised<'a> {
    /// Reads a module that is not stripped.
    ///
    /// # Errors
    ///
    /// When it is no object for x86-64.
    pub fn read(bytes: &'a [u8]) -> Result<Self, ReadError> {
        Ok(Self { symbols: Symbols::read(bytes)?, sections: Sections::of(bytes) })
    }

    /// Its symbols, each with its size as a trace has it; of the last of a section, the least.
    pub fn symbols(&self) -> impl Iterator<Item = (&str, u64)> {
        self.symbols.all()
    }

    /// Reads which addresses its compilation units have code at. What is within them is read when it is asked for.
    pub fn index(&self) -> Index<'_> {
        let debug = self.sections.as_ref().map(Sections::debug);
        let mut index = Index {
            symbols: &self.symbols,
            budget: Cell::new(debug.as_ref().map_or(0, Debug::full)),
            debug,
            units: Vec::new(),
            ranges: Vec::new(),
            code: RefCell::default(),
        };
        if let Some(debug) = &index.debug {
            index.units = debug.units().collect();
            for (number, unit) in index.units.iter().enumerate() {
                // A unit that is damaged costs its own places only.
                let _ = add_ranges(debug, unit, number, &mut index.ranges);
            }
        }
        index
    }
}

fn add_ranges<'d>(
    debug: &Debug<'d>,
    unit: &Unit<'d>,
    number: usize,
    into: &mut Vec<(u64, u64, usize)>,
) -> Option<()> {
    let mut ranges = debug.unit_ranges(unit)?;
    while let Some(range) = ranges.next().ok()? {
        debug.spend(1)?;
        into.push((range.begin, range.end, number));
    }
    Some(())
}

/// A module's functions and lines, to be asked for places.
pub struct Index<'d> {
    symbols: &'d Symbols<'d>,
    debug: Option<Debug<'d>>,
    units: Vec<Unit<'d>>,
    /// Begin, end, and the unit.
    ranges: Vec<(u64, u64, usize)>,
    /// What may still be spent on reading units.
    budget: Cell<usize>,
    /// What was read of units; nothing for those that can't be.
    code: RefCell<HashMap<usize, Option<Rc<Code>>>>,
}

impl<'d> Index<'d> {
    /// Says where a place of a trace is.
    pub fn find(&self, place: &TracePlace<'_>) -> Answer {
        let at = match self.symbols.address(place) {
            Ok(at) => at,
            Err(answer) => return answer,
        };
        let Some(debug) = &self.debug else { return Answer::Unknown };
        debug.exchange(debug.full());
        let units = self.ranges.iter().filter(|(begin, end, _)| (*begin..*end).contains(&at));
        for (_, _, number) in units {
            if let Some(places) = self.in_unit(debug, *number, at, place.symbol) {
                return Answer::Found(places);
            }
            if debug.spend(1).is_none() {
                break;
            }
        }
        Answer::Unknown
    }

    fn in_unit(&self, debug: &Debug<'d>, number: usize, at: u64, symbol: &str) -> Option<Vec<SourcePlace>> {
        let unit = self.units.get(number)?;
        let code = self.code(debug, number)?;
        let mut spot = code.spot(at)?;
        let chain = code.chain(at);
        let mut places = Vec::new();
        for scope in chain.iter().rev() {
            let (name, language) = self.function(debug, number, scope.entry).unzip();
            let function = match (name, scope.call) {
                (Some(Name::Path(path)), _) => path,
                (Some(Name::Plain(name)), Some(_)) => name,
                (None, Some(_)) => "?".to_owned(),
                (name, None) => named_by_symbol(name, symbol),
            };
            let language = language.unwrap_or(code.language);
            places.push(SourcePlace { function, language, ..spot.place(debug, unit)? });
            if let Some(call) = scope.call {
                spot = call;
            }
        }
        if chain.first().is_none_or(|scope| scope.call.is_some()) {
            // Units with lines alone have no entry for a function in which nothing is inlined.
            let (function, language) = (named_by_symbol(None, symbol), code.language);
            places.push(SourcePlace { function, language, ..spot.place(debug, unit)? });
        }
        Some(places)
    }

    fn code(&self, debug: &Debug<'d>, number: usize) -> Option<Rc<Code>> {
        if let Some(code) = self.code.borrow().get(&number) {
            return code.clone();
        }
        // What is kept of all units together is paid from one budget, however many questions there are.
        let before = debug.exchange(self.budget.get());
        let code = self.units.get(number).and_then(|unit| Code::read(debug, unit)).map(Rc::new);
        self.budget.set(debug.exchange(before));
        self.code.borrow_mut().insert(number, code.clone());
        code
    }

    /// The name of the function of an entry, and what it is written in.
    fn function(&self, debug: &Debug<'d>, unit: usize, entry: UnitOffset) -> Option<(Name, SourceLanguage)> {
        let (mut number, mut offset) = (unit, entry);
        let mut plain = None;
        let mut language = None;
        for _ in 0..MOST_HOPS {
            let unit = self.units.get(number)?;
            let entry = unit.entry(offset).ok()?;
            debug.spend(entry.attrs().len() + 1)?;
            language = Some(language_of(unit));
            if let Some(mangled) = entry.attr_value(dw::DW_AT_linkage_name) {
                return Some((Name::Path(readable(&debug.text(unit, mangled)?)), language?));
            }
            if let Some(name) = entry.attr_value(dw::DW_AT_name) {
                plain = Some(readable(&debug.text(unit, name)?));
            }
            let origin = [dw::DW_AT_abstract_origin, dw::DW_AT_specification];
            let Some(origin) = origin.into_iter().find_map(|name| entry.attr_value(name)) else { break };
            (number, offset) = match origin {
                AttributeValue::UnitRef(offset) => (number, offset),
                AttributeValue::DebugInfoRef(offset) => {
                    let begins = |unit: &Unit<'d>| unit.header.debug_info_offset();
                    let number =
                        self.units.partition_point(|unit| begins(unit) <= Some(offset)).checked_sub(1)?;
                    (number, offset.to_unit_offset(&self.units.get(number)?.header)?)
                }
                _ => break,
            };
        }
        Some((Name::Plain(plain?), language?))
    }
}

/// A function's name.
enum Name {
    /// With the modules that it is in, where it has any: made of the name that linkers know.
    Path(String),
    /// Alone.
    Plain(String),
}

/// The name of a function that has a symbol. A mangled symbol says more than a name alone, and the name more than a
/// symbol with a compiler's additions (`name.cold`).
fn named_by_symbol(name: Option<Name>, symbol: &str) -> String {
    let demangled = readable(symbol);
    match name {
        Some(Name::Path(path)) => path,
        Some(Name::Plain(name)) if demangled == symbol => name,
        _ => demangled,
    }
}

fn language_of(unit: &Unit<'_>) -> SourceLanguage {
    let root = unit.entry(unit.header.root_offset());
    match root.ok().and_then(|root| root.attr_value(dw::DW_AT_language)) {
        Some(AttributeValue::Language(
            dw::DW_LANG_C | dw::DW_LANG_C89 | dw::DW_LANG_C99 | dw::DW_LANG_C11 | dw::DW_LANG_C17,
        )) => SourceLanguage::C,
        Some(AttributeValue::Language(dw::DW_LANG_Rust)) => SourceLanguage::Rust,
        _ => SourceLanguage::Other,
    }
}

impl Spot {
    /// As a place of a function that has yet to be named.
    fn place<'d>(self, debug: &Debug<'d>, unit: &Unit<'d>) -> Option<SourcePlace> {
        let limited = |number: u64| u32::try_from(number).unwrap_or_default();
        let column = limited(self.column);
        Some(SourcePlace {
            function: String::new(),
            language: SourceLanguage::Other,
            file: debug.path(unit, self.file)?,
            line: limited(self.line),
            column: (column != 0).then_some(column),
        })
    }
}

#[cfg(test)]
mod tests;
