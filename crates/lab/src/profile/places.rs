// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;
use std::rc::Rc;
use std::time::SystemTime;

use ko::{Answer, Index, TracePlace, readable};

use super::Frame;
use super::symbols::{Found, Symbols};
use crate::splat::{Language, ModuleFile, Place, Sources};

/// What an address is in.
#[derive(Debug)]
pub(super) struct Spot {
    /// The function that has a symbol, as the kernel names it.
    pub(super) symbol: String,
    /// Bytes behind its beginning.
    pub(super) offset: u64,
    /// That function first, then what is inlined there.
    pub(super) frames: Vec<Frame>,
    /// The line of the innermost, where it is known.
    pub(super) place: Option<Place>,
}

/// Finds frames for the addresses of a machine.
pub(super) struct Places<'a> {
    symbols: Symbols<'a>,
    module: Option<(&'a ModuleFile, &'a Index<'a>)>,
    sources: Option<Sources>,
    known: HashMap<(u64, bool), Rc<Spot>>,
}

impl<'a> Places<'a> {
    pub(super) fn new(
        symbols: Symbols<'a>,
        module: Option<(&'a ModuleFile, &'a Index<'a>)>,
        built: SystemTime,
    ) -> Self {
        let sources = module.map(|(module, _)| Sources::new(&module.root, built));
        Self { symbols, module, sources, known: HashMap::new() }
    }

    /// The name that the kernel knows the module by.
    pub(super) fn module(&self) -> Option<&'a str> {
        self.module.map(|(module, _)| module.name.as_str())
    }

    /// What an instruction is in; or, where it is not `exact`, the call that returns there.
    pub(super) fn spot(&mut self, address: u64, exact: bool) -> Rc<Spot> {
        if let Some(spot) = self.known.get(&(address, exact)) {
            return spot.clone();
        }
        let spot = Rc::new(self.find(address, exact));
        self.known.insert((address, exact), spot.clone());
        spot
    }

    fn find(&mut self, address: u64, exact: bool) -> Spot {
        // A call may be a function's last instruction: it returns to what is another function's.
        let Some(found) = self.symbols.find(address - u64::from(!exact)) else {
            let frames = vec![Frame::named("[unknown]")];
            return Spot { symbol: format!("{address:#x}"), offset: 0, frames, place: None };
        };
        let places = self.places(&found, exact);
        let module = found.module.map(str::to_owned);
        let count = places.len();
        let mut frames: Vec<Frame> = places
            .iter()
            .enumerate()
            .map(|(index, place)| Frame {
                function: place.function.clone(),
                module: module.clone(),
                language: place.language,
                file: Some(place.file.clone()),
                is_inlined: index + 1 < count,
            })
            .rev()
            .collect();
        if frames.is_empty() {
            frames.push(by_symbol(&found));
        }
        let place = places.into_iter().next();
        Spot { symbol: found.name.to_owned(), offset: found.offset, frames, place }
    }

    /// The places in the sources, innermost first; none where the debug information isn't at hand.
    fn places(&mut self, found: &Found<'_>, exact: bool) -> Vec<Place> {
        let (Some((module, index)), Some(sources)) = (self.module, &mut self.sources) else {
            return Vec::new();
        };
        if found.module != Some(module.name.as_str()) {
            return Vec::new();
        }
        let offset = found.offset + u64::from(!exact);
        let place = TracePlace { symbol: found.name, offset, size: found.size, exact };
        match index.find(&place) {
            Answer::Found(places) => {
                places.into_iter().map(|place| sources.place(place)).map(shortened).collect()
            }
            Answer::Unknown | Answer::Ambiguous => Vec::new(),
        }
    }
}

fn shortened(place: Place) -> Place {
    Place { file: short(&place.file).to_owned(), ..place }
}

/// A file's name, without where this toolchain has the library of Rust.
fn short(file: &str) -> &str {
    file.rsplit_once("/rustlib/src/rust/library/").map_or(file, |(_, file)| file)
}

/// A function of which only the symbol is known. What is not mangled is C, or as good as that.
fn by_symbol(found: &Found<'_>) -> Frame {
    let function = readable(found.name);
    let language = if function == found.name { Language::C } else { Language::Rust };
    Frame { function, module: found.module.map(str::to_owned), language, file: None, is_inlined: false }
}
