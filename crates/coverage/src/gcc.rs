// SPDX-License-Identifier: GPL-2.0-only
//! gcc's counters. `struct gcov_info` of libgcov (`libgcc/libgcov.h`) says in the module which functions a source has and
//! where their counters are; with the values it is made into the file that libgcov would have written (`gcc/gcov-io.h`),
//! and `gcov` of the same compiler makes lines and branches of that and the compiler's notes.

use std::collections::HashMap;
use std::rc::Rc;

use object::SectionIndex;
use serde::Deserialize;

use crate::counters::{Counted, Pointers, u32_at};
use crate::figures::{Branch, Count, Coverage};
use crate::{Error, MOST_LINES, MOST_LINES_OF_ALL, damaged};

/// What is damaged, in messages.
const PART: &str = "list of C functions";

/// The most functions that a module may have.
const MOST_FUNCTIONS: u32 = 1 << 18;

/// `gcda`, and the tags of records.
const MAGIC: u32 = 0x6763_6461;
const FUNCTION: u32 = 0x0100_0000;
const ARCS: u32 = 0x01a1_0000;
const OBJECT_SUMMARY: u32 = 0xa100_0000;

/// A compiled C source, and what its counters came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Where the compiler was told to have its counts written: beside its object, with the end `.gcda`. Its notes are
    /// there with the end `.gcno`.
    pub path: String,
    /// Its counts as the compiler's own library would have written them.
    pub gcda: Vec<u8>,
    /// The compiler's major version.
    pub gcc: u32,
}

/// A version of gcc, of which some things depend.
#[derive(Debug, Clone, Copy)]
struct Version {
    word: u32,
    major: u32,
}

impl Version {
    /// `B22*` is gcc 12.2: a letter for tens, a digit, a digit.
    fn of(word: u32) -> Result<Self, Error> {
        let [_, _, ones, tens] = word.to_le_bytes();
        let digit = |byte: u8| byte.is_ascii_digit().then(|| u32::from(byte - b'0'));
        let tens = tens.is_ascii_uppercase().then(|| u32::from(tens - b'A') * 10);
        match tens.zip(digit(ones)) {
            Some((tens, ones)) if (11..=15).contains(&(tens + ones)) => Ok(Self { word, major: tens + ones }),
            _ => {
                let version = word.to_be_bytes().escape_ascii().to_string();
                Err(Error::Version { part: PART, version })
            }
        }
    }

    /// How many kinds of counters there are: the functions that add them up stand before the number of functions.
    fn kinds(self) -> usize {
        if self.major >= 14 { 9 } else { 8 }
    }

    /// A record's length, which counts bytes or words.
    fn length(self, words: u32) -> u32 {
        if self.major >= 12 { words * 4 } else { words }
    }
}

/// The C sources of a module, with what their counters came to.
///
/// # Errors
///
/// When the module is damaged, of another compiler, or the counters are not its own.
pub fn units(module: &Counted<'_>, counters: &[u8]) -> Result<Vec<Unit>, Error> {
    let values = module.values(counters)?;
    let Some((section, _)) = module.section(".gcov_info")? else { return Ok(Vec::new()) };
    let known = HashMap::new();
    let (functions_left, counters_left) = (MOST_FUNCTIONS, values.len());
    let mut sections = Sections { module, known, functions_left, counters_left };
    module.pointers(section)?.into_values().map(|place| unit(&mut sections, place, &values)).collect()
}

/// A section's content, and where its pointers lead.
type Content<'a> = Rc<(&'a [u8], Pointers)>;

/// The sections that have been looked into, and what may still come: each counter is of one function only.
struct Sections<'m, 'a> {
    module: &'m Counted<'a>,
    known: HashMap<SectionIndex, Content<'a>>,
    functions_left: u32,
    counters_left: usize,
}

/// A place in a section.
struct Structure<'a> {
    content: Content<'a>,
    base: u64,
}

impl<'a> Sections<'_, 'a> {
    fn at(&mut self, (section, offset): (SectionIndex, i64)) -> Result<Structure<'a>, Error> {
        let base = u64::try_from(offset).map_err(|_| cut())?;
        if let Some(content) = self.known.get(&section) {
            return Ok(Structure { content: content.clone(), base });
        }
        let content = Rc::new((self.module.content(section)?, self.module.pointers(section)?));
        self.known.insert(section, content.clone());
        Ok(Structure { content, base })
    }

    /// Takes a function with so many counters from what may still come.
    fn take(&mut self, counters: u32) -> Result<(), Error> {
        let left = self.functions_left.checked_sub(1).zip(self.counters_left.checked_sub(counters as usize));
        let too_many = || damaged(PART, "it has more functions than a module can have");
        (self.functions_left, self.counters_left) = left.ok_or_else(too_many)?;
        Ok(())
    }
}

impl Structure<'_> {
    fn u32(&self, offset: u64) -> Result<u32, Error> {
        let place = usize::try_from(self.base.saturating_add(offset)).map_err(|_| cut())?;
        u32_at(self.content.0, place).ok_or_else(cut)
    }

    fn pointer(&self, offset: u64) -> Result<(SectionIndex, i64), Error> {
        self.content.1.get(&self.base.saturating_add(offset)).copied().ok_or_else(cut)
    }
}

fn cut() -> Error {
    damaged(PART, "it does not lead to its functions")
}

fn unit(sections: &mut Sections<'_, '_>, place: (SectionIndex, i64), values: &[u64]) -> Result<Unit, Error> {
    let info = sections.at(place)?;
    let version = Version::of(info.u32(0)?)?;
    let (stamp, checksum) = (info.u32(16)?, info.u32(20)?);
    let path = text(sections.module, info.pointer(24)?)?;
    let number_at = 32 + 8 * version.kinds() as u64;
    let number = info.u32(number_at)?;
    let mut words = vec![MAGIC, version.word, stamp];
    if version.major >= 12 {
        words.push(checksum);
    }
    // How many runs there were, and the greatest count: gcov needs neither.
    words.extend([OBJECT_SUMMARY, version.length(2), 1, 0]);
    if number > 0 {
        let list = sections.at(info.pointer(number_at + 8)?)?;
        for index in 0..u64::from(number) {
            let function = sections.at(list.pointer(8 * index)?)?;
            let [ident, lines, structure] = [8, 12, 16].map(|offset| function.u32(offset));
            let count = function.u32(24)?;
            sections.take(count)?;
            let range = sections.module.range(PART, function.pointer(32)?, count)?;
            words.extend([FUNCTION, version.length(3), ident?, lines?, structure?]);
            words.extend([ARCS, version.length(2 * count)]);
            words.extend(values[range].iter().flat_map(|value| [*value as u32, (*value >> 32) as u32]));
        }
    }
    words.push(0);
    Ok(Unit { path, gcc: version.major, gcda: words.into_iter().flat_map(u32::to_le_bytes).collect() })
}

/// A text that ends with a zero.
fn text(module: &Counted<'_>, (section, offset): (SectionIndex, i64)) -> Result<String, Error> {
    let bytes = module.content(section)?;
    let from = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).ok_or_else(cut)?;
    let length = from.iter().position(|byte| *byte == 0).filter(|length| *length < 4096).ok_or_else(cut)?;
    Ok(String::from_utf8_lossy(&from[..length]).into_owned())
}

#[derive(Deserialize)]
struct Answer {
    current_working_directory: String,
    files: Vec<AnswerFile>,
}

#[derive(Deserialize)]
struct AnswerFile {
    file: String,
    lines: Vec<AnswerLine>,
}

#[derive(Deserialize)]
struct AnswerLine {
    line_number: u32,
    count: u64,
    #[serde(default)]
    branches: Vec<AnswerBranch>,
}

#[derive(Deserialize)]
struct AnswerBranch {
    count: u64,
    #[serde(default)]
    throw: bool,
}

/// What `gcov --json-format --branch-probabilities` says of a source, by the files' paths as the compiler knew them. A
/// file of which it has several functions on one line has that line several times.
///
/// # Errors
///
/// When it is not what gcov prints.
pub fn c(answer: &str) -> Result<Coverage, Error> {
    let mut coverage = Coverage::default();
    let mut lines = Count::default();
    for answer in answer.lines().filter(|line| !line.trim().is_empty()) {
        let answer: Answer = serde_json::from_str(answer)?;
        for of_file in answer.files {
            let path = match of_file.file.starts_with('/') {
                true => of_file.file,
                false => format!("{}/{}", answer.current_working_directory, of_file.file),
            };
            let file = coverage.files.entry(path).or_default();
            for line in of_file.lines {
                if line.line_number == 0 || line.line_number > MOST_LINES {
                    return Err(damaged("gcov's answer", "a line is none"));
                }
                file.add_line(line.line_number, line.count);
                let ways = line.branches.iter().filter(|branch| !branch.throw);
                for (way, branch) in (0..).zip(ways) {
                    let place = Branch { line: line.line_number, place: (0, 0, 0), way };
                    file.add_branch(place, branch.count);
                }
            }
            lines = lines + file.line_count();
            if lines.all > MOST_LINES_OF_ALL {
                return Err(damaged("gcov's answer", "it has more lines than a module can have"));
            }
        }
    }
    Ok(coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_gcc() {
        let version = |text: &[u8; 4]| Version::of(u32::from_be_bytes(*text));
        assert_eq!(version(b"B22*").unwrap().major, 12);
        assert_eq!((version(b"B42*").unwrap().kinds(), version(b"B33*").unwrap().kinds()), (9, 8));
        assert_eq!((version(b"B13*").unwrap().length(3), version(b"B22*").unwrap().length(3)), (3, 12));
        let unknown = version(b"A82*").unwrap_err().to_string();
        insta::assert_snapshot!(unknown, @"its list of C functions is of version A82*, which is not known here");
    }

    #[test]
    fn an_answer_has_lines_and_branches() {
        let answer = r#"{"current_working_directory": "/p", "files": [{"file": "a.c", "functions": [], "lines": [
            {"line_number": 3, "count": 2, "branches": [{"count": 2, "throw": false}, {"count": 0, "throw": false}]},
            {"line_number": 3, "count": 1}, {"line_number": 4, "count": 0}]}]}"#;
        let coverage = c(&answer.replace('\n', " ")).unwrap();
        let file = &coverage.files["/p/a.c"];
        assert_eq!(
            file.lines.iter().map(|(line, count)| (*line, *count)).collect::<Vec<_>>(),
            [(3, 3), (4, 0)]
        );
        assert_eq!((file.branch_count().hit, file.branch_count().all), (1, 2));
        assert!(c("no answer").is_err());
        assert!(c(&answer.replace('\n', " ").replace("\"line_number\": 4", "\"line_number\": 0")).is_err());
    }
}
