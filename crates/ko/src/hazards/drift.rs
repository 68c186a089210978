// SPDX-License-Identifier: GPL-2.0-only
//! What C declares and what Rust defines under the same name, each from its own debug information.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use gimli::{AttributeValue, DwLang, UnitOffset};

use crate::dwarf::{Debug, Entry, Reader, Sections, Unit};
use crate::finding::{Finding, Found};
use crate::image::Image;
use crate::rules::Id;

/// What `rustc` puts into the debug information of all that it compiles.
const RUST: &[u8] = b"rustc version";
/// How many types are followed from one to what it is made of.
const DEEPEST: usize = 16;
/// How many parameters are looked at.
const MOST_PARAMETERS: usize = 64;
/// How much of a type's name is shown, in characters.
const LONGEST_NAME: usize = 64;

/// Compares each function that Rust defines for C with what C declares, and the other way round where Rust's compiler
/// says something of what it declares (it doesn't, as of 1.95).
pub(super) fn check(image: &Image<'_>, found: &mut Found<'_>) {
    let Some(sections) = Sections::of(image.bytes.0) else { return };
    if !sections.strings().windows(RUST.len()).any(|text| text == RUST) {
        return;
    }
    let debug = sections.debug();
    let (mut rust, mut c) = (Vec::new(), Vec::new());
    for unit in debug.units() {
        match language(&unit) {
            Some(gimli::DW_LANG_Rust) => rust.push(unit),
            Some(language) if is_c(language) => c.push(unit),
            _ => {}
        }
    }
    if rust.is_empty() || c.is_empty() {
        return;
    }
    let places = global_functions(image);
    let mut of_rust: BTreeMap<String, Function<'_, '_>> = BTreeMap::new();
    for unit in &rust {
        functions(&debug, unit, &places, |name, function| {
            of_rust.entry(name).or_insert(function);
        });
    }
    let mut differing: BTreeMap<String, String> = BTreeMap::new();
    for unit in &c {
        functions(&debug, unit, &places, |name, of_c| {
            let Some(of_rust) = of_rust.get(&name).filter(|_| !differing.contains_key(&name)) else { return };
            if let Some(difference) = compare(&debug, &name, &of_c, of_rust) {
                differing.insert(name, difference);
            }
        });
    }
    for (name, message) in differing {
        let finding = Finding::new(Id::InterfaceDrift, message).symbol(&*name);
        found.push(match places.get(&*name) {
            Some((section, offset)) => finding.place(image, *section, *offset),
            None => finding,
        });
    }
}

fn is_c(language: DwLang) -> bool {
    [gimli::DW_LANG_C, gimli::DW_LANG_C89, gimli::DW_LANG_C99, gimli::DW_LANG_C11, gimli::DW_LANG_C17]
        .contains(&language)
}

fn language(unit: &Unit<'_>) -> Option<DwLang> {
    let mut entries = unit.entries();
    match entries.next_dfs().ok()??.attr_value(gimli::DW_AT_language)? {
        AttributeValue::Language(language) => Some(language),
        _ => None,
    }
}

/// The functions that the module defines for other objects, but for those that Rust has for itself: where each is.
fn global_functions<'a>(image: &Image<'a>) -> HashMap<Cow<'a, str>, (usize, u64)> {
    let symbols = image.symbols_with_index().map(|(_, symbol)| symbol);
    let defined = symbols.filter(|symbol| {
        let section = usize::from(symbol.section);
        symbol.is_global()
            && symbol.kind() == object::elf::STT_FUNC.0
            && (1..image.sections.len()).contains(&section)
    });
    let named =
        defined.map(|symbol| (image.symbol_name(symbol), (usize::from(symbol.section), symbol.value)));
    named.filter(|(name, _)| !name.starts_with("_R") && !name.starts_with("_ZN")).collect()
}

/// A function as one unit has it.
struct Function<'u, 'd> {
    unit: &'u Unit<'d>,
    /// Its entry.
    entry: Entry<'d>,
}

/// Finds what a unit says of the module's functions. Where an inlined copy or a call is said to be one of a function,
/// that entry has no name, and is none.
fn functions<'u, 'd>(
    debug: &Debug<'d>,
    unit: &'u Unit<'d>,
    places: &HashMap<Cow<'_, str>, (usize, u64)>,
    mut visit: impl FnMut(String, Function<'u, 'd>),
) {
    // What was found before the damage counts.
    let _ = debug.walk(
        unit,
        None,
        |tag| tag == gimli::DW_TAG_subprogram,
        |_, entry| {
            let Some(name) =
                entry.attr_value(gimli::DW_AT_name).filter(|_| is_flagged(&entry, gimli::DW_AT_external))
            else {
                return Some(());
            };
            let name = debug.text(unit, name)?;
            let linkage = match entry.attr_value(gimli::DW_AT_linkage_name) {
                Some(linkage) => debug.text(unit, linkage)?,
                None => Cow::Borrowed(&*name),
            };
            if linkage == name && places.contains_key(&name) {
                visit(name.into_owned(), Function { unit, entry });
            }
            Some(())
        },
    );
}

fn is_flagged(entry: &Entry<'_>, name: gimli::DwAt) -> bool {
    matches!(entry.attr_value(name), Some(AttributeValue::Flag(true)))
}

/// How the calling convention sees a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Signed,
    Unsigned,
    Float,
    /// A pointer, an enumeration, or a structure: only its size is compared.
    Other,
}

/// A type: its size in bytes where it is known, and its name in its own language.
struct Shape {
    size: Option<u64>,
    kind: Kind,
    name: String,
}

/// What a function takes and gives.
struct Signature {
    parameters: Vec<Shape>,
    variadic: bool,
    /// Nothing for `void`, `()` and `!`.
    returns: Option<Shape>,
    /// Whether its parameters are declared.
    is_prototype: bool,
    line: Option<String>,
}

/// Says how the two differ; nothing where they don't, or both are declarations.
fn compare<'d>(
    debug: &Debug<'d>,
    name: &str,
    of_c: &Function<'_, 'd>,
    of_rust: &Function<'_, 'd>,
) -> Option<String> {
    let is_declared = |function: &Function<'_, 'd>| is_flagged(&function.entry, gimli::DW_AT_declaration);
    let verb = |declared: bool| if declared { "declares" } else { "defines" };
    let (in_c, in_rust) = (is_declared(of_c), is_declared(of_rust));
    if in_c == in_rust {
        return None;
    }
    let (c, rust) = (signature(debug, of_c)?, signature(debug, of_rust)?);
    let difference = difference(&c, &rust)?;
    let place = |line: &Option<String>| line.as_ref().map_or(String::new(), |line| format!(" in {line}"));
    Some(format!(
        "`{name}`: C {} `{}`{} and Rust {} `{}`{}: {difference}",
        verb(in_c),
        c.in_c(),
        place(&c.line),
        verb(in_rust),
        rust.in_rust(),
        place(&rust.line),
    ))
}

fn difference(c: &Signature, rust: &Signature) -> Option<String> {
    if c.is_prototype {
        if c.variadic != rust.variadic {
            let who = if c.variadic { "C" } else { "Rust" };
            return Some(format!("only {who} takes further parameters (`...`)"));
        }
        let (ours, theirs) = (c.parameters.len(), rust.parameters.len());
        if ours != theirs {
            return Some(format!("C passes {ours} parameters and Rust takes {theirs}"));
        }
        for (index, (ours, theirs)) in c.parameters.iter().zip(&rust.parameters).enumerate() {
            if let Some(difference) = mismatch(ours, theirs) {
                return Some(format!("parameter {} {difference}", index + 1));
            }
        }
    }
    match (&c.returns, &rust.returns) {
        (Some(ours), Some(theirs)) => Some(format!("what is returned {}", mismatch(ours, theirs)?)),
        (Some(_), None) => Some("C takes a value that Rust doesn't return".to_owned()),
        (None, Some(_)) => Some("Rust returns a value that C doesn't take".to_owned()),
        (None, None) => None,
    }
}

fn mismatch(c: &Shape, rust: &Shape) -> Option<String> {
    match (c.size, rust.size) {
        (Some(ours), Some(theirs)) if ours != theirs => {
            let unit = if ours == 1 { "byte" } else { "bytes" };
            Some(format!("has {ours} {unit} in C and {theirs} in Rust"))
        }
        (Some(_), Some(_)) if c.kind != rust.kind && c.kind != Kind::Other && rust.kind != Kind::Other => {
            Some(format!("is {} in C and {} in Rust", c.kind.word(), rust.kind.word()))
        }
        _ => None,
    }
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Unsigned => "unsigned",
            Self::Float => "a floating-point number",
            Self::Other => "another type",
        }
    }
}

impl Signature {
    fn names(&self) -> Vec<&str> {
        let dots = self.variadic.then_some("...");
        self.parameters.iter().map(|one| one.name.as_str()).chain(dots).collect()
    }

    fn in_c(&self) -> String {
        let returns = self.returns.as_ref().map_or("void", |shape| &shape.name);
        let names = self.names();
        let none = if self.is_prototype { "void" } else { "" };
        format!("{returns} ({})", if names.is_empty() { none.to_owned() } else { names.join(", ") })
    }

    fn in_rust(&self) -> String {
        let returns = self.returns.as_ref().map_or(String::new(), |shape| format!(" -> {}", shape.name));
        format!("({}){returns}", self.names().join(", "))
    }
}

/// Reads what a function takes and gives. Nothing where it can't be read.
fn signature<'d>(debug: &Debug<'d>, function: &Function<'_, 'd>) -> Option<Signature> {
    let Function { unit, entry } = function;
    let is_rust = language(unit) == Some(gimli::DW_LANG_Rust);
    let mut types = Vec::new();
    let mut variadic = false;
    let wanted = |tag| tag == gimli::DW_TAG_formal_parameter || tag == gimli::DW_TAG_unspecified_parameters;
    if entry.has_children {
        debug.walk(unit, Some(entry.offset), wanted, |depth, parameter| {
            // Deeper ones are of functions that are inlined.
            if depth == 1 && parameter.tag == gimli::DW_TAG_formal_parameter {
                types.push(parameter.attr_value(gimli::DW_AT_type));
            }
            variadic |= depth == 1 && parameter.tag == gimli::DW_TAG_unspecified_parameters;
            (types.len() <= MOST_PARAMETERS).then_some(())
        })?;
    }
    let shapes = types.into_iter().map(|of| shape(debug, unit, of));
    // What has no size isn't passed.
    let parameters = shapes.filter(|shape| shape.size != Some(0)).collect();
    let returns = entry.attr_value(gimli::DW_AT_type).map(|of| shape(debug, unit, Some(of)));
    let number = |name| {
        entry.attr_value(name).and_then(|value| match value {
            AttributeValue::FileIndex(file) => Some(file),
            value => value.udata_value(),
        })
    };
    let file = number(gimli::DW_AT_decl_file).and_then(|file| debug.path(unit, file));
    let line = file.zip(number(gimli::DW_AT_decl_line)).map(|(file, line)| format!("{file}:{line}"));
    Some(Signature {
        parameters,
        variadic,
        returns: returns.filter(|shape| shape.size != Some(0)),
        is_prototype: is_rust || is_flagged(entry, gimli::DW_AT_prototyped),
        line,
    })
}

/// Looks through names and qualifiers at what a type is. Types that are made of themselves end somewhere.
fn shape<'d>(debug: &Debug<'d>, unit: &Unit<'d>, of: Option<AttributeValue<Reader<'d>>>) -> Shape {
    let mut shape = Shape { size: None, kind: Kind::Other, name: String::new() };
    let (mut before, mut after) = (String::new(), String::new());
    let mut next = of;
    for _ in 0..DEEPEST {
        let Some(of) = next.take() else {
            shape.name.push_str("void");
            break;
        };
        let entry = offset_in(unit, &of).filter(|_| debug.spend(8).is_some());
        let Some(entry) = entry.and_then(|offset| unit.entry(offset).ok()) else { break };
        let name = entry.attr_value(gimli::DW_AT_name).and_then(|name| debug.text(unit, name));
        // Of a name there is only the first: a typedef's stands for what it is of.
        if shape.name.is_empty() {
            before.push_str(word(unit, entry.tag));
            match &name {
                Some(name) => shape.name.extend(name.chars().take(LONGEST_NAME)),
                None if entry.tag == gimli::DW_TAG_pointer_type => after.insert(0, '*'),
                None if entry.tag == gimli::DW_TAG_subroutine_type => shape.name.push_str("function"),
                None => {}
            }
        }
        if shape.size.is_none() {
            (shape.size, shape.kind) = size_and_kind(&entry);
        }
        let is_known = shape.size.is_some() && !shape.name.is_empty();
        if is_known || entry.tag == gimli::DW_TAG_subroutine_type {
            break;
        }
        next = entry.attr_value(gimli::DW_AT_type);
    }
    let space = if after.is_empty() { "" } else { " " };
    shape.name = format!("{before}{}{space}{after}", shape.name);
    shape
}

/// The word that stands before a type's name.
fn word(unit: &Unit<'_>, tag: gimli::DwTag) -> &'static str {
    let is_c = language(unit).is_some_and(is_c);
    match tag {
        gimli::DW_TAG_const_type => "const ",
        gimli::DW_TAG_volatile_type => "volatile ",
        gimli::DW_TAG_structure_type if is_c => "struct ",
        gimli::DW_TAG_union_type if is_c => "union ",
        gimli::DW_TAG_enumeration_type if is_c => "enum ",
        _ => "",
    }
}

/// What an entry says of a type itself; nothing where that is for another one to say.
fn size_and_kind(entry: &Entry<'_>) -> (Option<u64>, Kind) {
    let size = entry.attr_value(gimli::DW_AT_byte_size).and_then(|size| size.udata_value());
    let encoding = match entry.attr_value(gimli::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => Some(encoding),
        _ => None,
    };
    match (entry.tag, encoding) {
        (gimli::DW_TAG_base_type, Some(gimli::DW_ATE_signed | gimli::DW_ATE_signed_char)) => {
            (size, Kind::Signed)
        }
        (gimli::DW_TAG_base_type, Some(gimli::DW_ATE_float)) => (size, Kind::Float),
        (gimli::DW_TAG_base_type, _) => (size, Kind::Unsigned),
        (gimli::DW_TAG_pointer_type, _) => (Some(size.unwrap_or(8)), Kind::Other),
        (gimli::DW_TAG_structure_type | gimli::DW_TAG_union_type | gimli::DW_TAG_enumeration_type, _) => {
            (size, Kind::Other)
        }
        _ => (None, Kind::Other),
    }
}

/// Where a type is in its unit; nothing for one of another unit, which is then not compared.
fn offset_in(unit: &Unit<'_>, of: &AttributeValue<Reader<'_>>) -> Option<UnitOffset> {
    match of {
        AttributeValue::UnitRef(offset) => Some(*offset),
        AttributeValue::DebugInfoRef(offset) => offset.to_unit_offset(&unit.header),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
