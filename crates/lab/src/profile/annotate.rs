// SPDX-License-Identifier: GPL-2.0-only
use iced_x86::{Decoder, DecoderOptions, Formatter, GasFormatter, Instruction as Decoded};
use serde::Serialize;

use super::{Instruction, Profile};
use crate::error::{Error, Result};

/// How many names are told of those that are like one.
const MOST_NEAR: usize = 3;

/// A function with a symbol, in which the one that was asked for is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Annotated {
    /// As the kernel names it.
    pub symbol: String,
    /// What was executed of it, in the order of addresses; all of it where samples were taken.
    pub lines: Vec<Line>,
}

/// A line beside the counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Line {
    /// From here on it is this line of a source: file, number, and its text where that is known.
    Source {
        /// The file, from the project's folder.
        file: String,
        /// Counted from 1.
        line: u32,
        /// What is written there.
        text: Option<String>,
    },
    /// An instruction.
    Instruction {
        /// How often it was executed, or sampled.
        executions: u64,
        /// Bytes behind the function's beginning.
        offset: u64,
        /// As an assembler writes it.
        text: String,
    },
    /// So many bytes were not counted, or are another function's.
    Gap(u64),
}

/// What stands for an instruction that isn't known.
const UNKNOWN: &str = "(unknown)";

/// What is to be told of a function with a symbol.
struct Function<'p> {
    /// Machine and address.
    begin: (usize, u64),
    /// By address. Never empty.
    instructions: Vec<(u64, &'p Instruction)>,
}

impl Function<'_> {
    fn annotated(&self) -> Annotated {
        let symbol = self.instructions.first().map(|(_, instruction)| ko::readable(&instruction.symbol));
        Annotated { symbol: symbol.unwrap_or_default(), lines: lines(&self.instructions) }
    }
}

/// The instructions in some bytes, which begin at this address.
pub(super) fn instructions(address: u64, code: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    decoder
        .into_iter()
        .map(|instruction| {
            let begin = (instruction.ip() - address) as usize;
            let end = (begin + instruction.len()).min(code.len());
            (instruction.ip(), code[begin..end].to_owned())
        })
        .collect()
}

impl Profile {
    /// How often each instruction of a function was executed, beside its source. A name may be the last parts of a
    /// Rust path. Where the function is inlined in others, those instructions are told that are its own there.
    ///
    /// # Errors
    ///
    /// When nothing of a function of that name was executed.
    pub fn annotate(&self, function: &str) -> Result<Vec<Annotated>> {
        let is_it = |number: &u32| is_called(&self.frames[*number as usize].function, function);
        let mut found: Vec<Function<'_>> = Vec::new();
        for ((machine, address), instruction) in &self.places {
            if instruction.symbol != function && !instruction.frames.iter().any(is_it) {
                continue;
            }
            let begin = (*machine, address - instruction.offset);
            match found.last_mut().filter(|last| last.begin == begin) {
                Some(last) => last.instructions.push((*address, instruction)),
                None => found.push(Function { begin, instructions: vec![(*address, instruction)] }),
            }
        }
        // What is there only beside what was sampled is told as a part of it.
        found.retain(|function| function.instructions.iter().any(|(_, one)| one.executions > 0));
        if found.is_empty() {
            return Err(self.unknown(function));
        }
        Ok(found.iter().map(Function::annotated).collect())
    }

    fn unknown(&self, function: &str) -> Error {
        let names = self.frames.iter().map(|frame| frame.function.as_str());
        let near = nearest(function, names);
        let error = Error::usage(match self.sampling {
            None => format!("nothing of a function `{function}` was executed"),
            Some(_) => format!("no sample was taken in a function `{function}` itself"),
        });
        error.with_remedy(match near.as_slice() {
            [] => "the functions that were are in the list of the profile".to_owned(),
            near => format!("there are: {}", near.join(", ")),
        })
    }
}

/// The names that are most like one, the nearest first.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Vec<&'n str> {
    let mut near: Vec<(u64, &str)> = names
        .map(|known| {
            // What leads to a name is often left away.
            let alone = known.rsplit(['/', ':', '.']).next().unwrap_or(known);
            let likeness = strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, alone));
            ((likeness * 1000.0) as u64, known)
        })
        .filter(|(likeness, known)| *likeness >= 750 || known.contains(name))
        .collect();
    near.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(b.1)));
    near.dedup();
    near.into_iter().take(MOST_NEAR).map(|(_, known)| known).collect()
}

/// Whether a function is called so, with or without what leads to it.
fn is_called(function: &str, name: &str) -> bool {
    function == name || function.strip_suffix(name).is_some_and(|before| before.ends_with("::"))
}

fn lines(instructions: &[(u64, &Instruction)]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut after = None;
    let mut source = None;
    for (address, instruction) in instructions {
        if let Some(after) = after.filter(|after| after < address) {
            lines.push(Line::Gap(address - after));
        }
        let place = instruction.place.as_ref().filter(|place| place.line > 0);
        let here = place.map(|place| (place.file.clone(), place.line));
        if let Some(place) = place.filter(|_| here != source) {
            let text = place.excerpt.iter().find(|line| line.number == place.line);
            let text = text.map(|line| line.text.trim().to_owned());
            lines.push(Line::Source { file: place.file.clone(), line: place.line, text });
            source = here;
        }
        let (executions, offset) = (instruction.executions, instruction.offset);
        lines.push(Line::Instruction { executions, offset, text: assembly(*address, instruction) });
        after = Some(address + instruction.bytes.len() as u64);
    }
    lines
}

/// Where an instruction leads that says so itself.
pub(super) fn target(address: u64, bytes: &[u8]) -> Option<u64> {
    Some(decoded(address, bytes).near_branch_target()).filter(|target| *target != 0)
}

fn decoded(address: u64, bytes: &[u8]) -> Decoded {
    Decoder::with_ip(64, bytes, address, DecoderOptions::NONE).decode()
}

/// An instruction as GNU's assembler writes it; where it leads, by name.
fn assembly(address: u64, instruction: &Instruction) -> String {
    if instruction.bytes.is_empty() {
        return UNKNOWN.to_owned();
    }
    let decoded = decoded(address, &instruction.bytes);
    let mut formatter = GasFormatter::new();
    formatter.options_mut().set_uppercase_hex(false);
    formatter.options_mut().set_space_after_operand_separator(true);
    let mut text = String::new();
    match &instruction.target {
        None => formatter.format(&decoded, &mut text),
        Some((symbol, offset)) => {
            formatter.format_mnemonic(&decoded, &mut text);
            text.push_str(&match (symbol == &instruction.symbol, offset) {
                (true, offset) => format!(" +{offset:#06x}"),
                (false, 0) => format!(" {}", ko::readable(symbol)),
                (false, offset) => format!(" {}+{offset:#x}", ko::readable(symbol)),
            });
        }
    }
    text
}
