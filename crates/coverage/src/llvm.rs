// SPDX-License-Identifier: GPL-2.0-only
//! LLVM's coverage mapping, as rustc writes it: version 7, "LLVM Code Coverage Mapping Format" in LLVM's documentation;
//! `CoverageMappingReader.cpp` and `InstrProfData.inc` have what that leaves open.
//!
//! The build has the first two as `.debug_llvm_…`, so that they stay on the host. `__llvm_covmap` lists the files of each compiled crate; `__llvm_covfun` has a record for each function, with its
//! regions, and which counter or which sum of counters counts for each; `__llvm_prf_data` says where the counters of each
//! function are that is in the module. The two know a function by a digest of its name. A function that was dropped, or
//! never compiled, has no counters and was never run.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

use flate2::read::ZlibDecoder;
use md5::{Digest, Md5};

use crate::counters::{Counted, u32_at, u64_at};
use crate::figures::{Branch, Coverage};
use crate::regions::{Kind, Place, Region, Regions, check};
use crate::{Error, MOST_LINES_OF_ALL, damaged};

/// The mapping's version as it is written: 6 stands for version 7.
const VERSION: u32 = 6;

/// What is damaged, in messages.
const PART: &str = "coverage mapping";

/// The length of a record of `__llvm_prf_data`, and where in it its pointer to the counters is.
const DATA_RECORD: usize = 64;
const DATA_COUNTERS: usize = 16;
const DATA_NUMBER: usize = 48;

/// The most bytes that the names of a list of files may take.
const MOST_NAMES: usize = 16 << 20;

/// The length of a function's record before its mapping.
const FUNCTION_HEADER: usize = 28;

/// What was run of a module's Rust side, by the files' paths as the compiler knew them; nothing where it has none.
///
/// # Errors
///
/// When the module is damaged, of another compiler, or the counters are not its own.
pub fn rust(module: &Counted<'_>, counters: &[u8]) -> Result<Coverage, Error> {
    let values = module.values(counters)?;
    let Some((_, maps)) = module.section(".debug_llvm_covmap")? else { return Ok(Coverage::default()) };
    let files = file_lists(maps)?;
    let places = counter_places(module, &values)?;
    let mut all = Collected::default();
    let mut seen = HashSet::new();
    let records = module.section(".debug_llvm_covfun")?.map_or(&[][..], |(_, bytes)| bytes);
    let mut rest = records;
    while !rest.is_empty() {
        let (record, length) = Function::read(rest)?;
        rest = rest.get(length..).unwrap_or_default();
        let counts = match places.get(&record.name) {
            Some((hash, counts)) if *hash == record.hash => *counts,
            // Elsewhere the same function was compiled, and that is the one that counts.
            Some(_) => continue,
            None => &[],
        };
        // What was compiled into several crates is described in each.
        if seen.insert((record.name, record.hash)) {
            let files = files.get(&record.files).ok_or_else(|| damaged(PART, "a function is of no crate"))?;
            record.collect(files, counts, &mut all)?;
        }
    }
    all.into_coverage()
}

/// The lists of files, by the digests that functions' records name them by.
fn file_lists(mut bytes: &[u8]) -> Result<HashMap<u64, Vec<String>>, Error> {
    let mut lists = HashMap::new();
    while !bytes.is_empty() {
        let short = || damaged(PART, "a list of files is cut off");
        let length = u32_at(bytes, 4).ok_or_else(short)? as usize;
        let version = u32_at(bytes, 12).ok_or_else(short)?;
        if version != VERSION {
            return Err(Error::Version { part: PART, version: version.to_string() });
        }
        let list = bytes.get(16..).and_then(|rest| rest.get(..length)).ok_or_else(short)?;
        let digest = Md5::digest(list);
        lists.insert(u64_at(&digest, 0).unwrap_or_default(), file_list(list)?);
        bytes = bytes.get((16 + length).next_multiple_of(8)..).unwrap_or_default();
    }
    Ok(lists)
}

/// A list of files. The first one is the folder in which the compiler ran, and the others may be relative to it.
fn file_list(list: &[u8]) -> Result<Vec<String>, Error> {
    let mut reader = Reader(list);
    let count = reader.number()?;
    let (length, compressed) = (reader.size()?, reader.size()?);
    let unpacked;
    if compressed > 0 {
        unpacked = unpack(reader.take(compressed)?, length)?;
        reader = Reader(&unpacked);
    }
    let mut names: Vec<String> = Vec::new();
    let mut left = MOST_NAMES;
    for _ in 0..count {
        let length = reader.size()?;
        let name = String::from_utf8_lossy(reader.take(length)?).into_owned();
        let name = match names.first() {
            Some(folder) if !name.starts_with('/') => format!("{folder}/{name}"),
            _ => name,
        };
        let too_long = || damaged(PART, "its files have longer names than files can have");
        left = left.checked_sub(name.len()).ok_or_else(too_long)?;
        names.push(name);
    }
    Ok(names)
}

/// What zlib has made of so many bytes.
fn unpack(compressed: &[u8], length: usize) -> Result<Vec<u8>, Error> {
    let mut unpacked = Vec::new();
    let most = length.min(MOST_NAMES) as u64;
    let read = ZlibDecoder::new(compressed).take(most + 1).read_to_end(&mut unpacked);
    if read.is_err() || unpacked.len() != length {
        return Err(damaged(PART, "a list of files can't be unpacked"));
    }
    Ok(unpacked)
}

/// Each function's digest of its structure and its counters, by the digest of its name.
fn counter_places<'v>(
    module: &Counted<'_>,
    values: &'v [u64],
) -> Result<HashMap<u64, (u64, &'v [u64])>, Error> {
    let part = "list of Rust functions";
    let Some((section, data)) = module.section("__llvm_prf_data")? else { return Ok(HashMap::new()) };
    if !data.len().is_multiple_of(DATA_RECORD) {
        return Err(damaged(part, "its length is none"));
    }
    let pointers = module.pointers(section)?;
    let mut places = HashMap::new();
    for (index, record) in data.chunks_exact(DATA_RECORD).enumerate() {
        let pointer = pointers.get(&((index * DATA_RECORD + DATA_COUNTERS) as u64));
        let &(section, offset) = pointer.ok_or_else(|| damaged(part, "a function has no counters"))?;
        let number = u32_at(record, DATA_NUMBER).unwrap_or_default();
        // The pointer is relative to the record, the relocation to the pointer.
        let range = module.range(part, (section, offset.wrapping_sub(DATA_COUNTERS as i64)), number)?;
        let [name, hash] = [0, 8].map(|at| u64_at(record, at).unwrap_or_default());
        places.insert(name, (hash, &values[range]));
    }
    Ok(places)
}

/// What all functions came to.
#[derive(Default)]
struct Collected {
    regions: BTreeMap<String, Regions>,
    branches: BTreeMap<String, BTreeMap<Branch, u64>>,
}

impl Collected {
    fn into_coverage(self) -> Result<Coverage, Error> {
        let mut coverage = Coverage::default();
        let mut lines = 0;
        for (path, regions) in self.regions {
            let file = coverage.files.entry(path).or_default();
            regions.lines(file);
            lines += file.lines.len();
            if lines > MOST_LINES_OF_ALL {
                return Err(damaged(PART, "it has more lines than a module can have"));
            }
        }
        for (path, branches) in self.branches {
            let file = coverage.files.entry(path).or_default();
            branches.into_iter().for_each(|(branch, count)| file.add_branch(branch, count));
        }
        Ok(coverage)
    }
}

/// A function's record.
struct Function<'a> {
    name: u64,
    hash: u64,
    /// The digest of its crate's list of files.
    files: u64,
    mapping: &'a [u8],
}

/// What counts for a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counter {
    Zero,
    Of(usize),
    /// An expression: the difference, or the sum, of two.
    Less(usize),
    Plus(usize),
}

impl Counter {
    fn of(number: u64) -> Self {
        let index = (number >> 2) as usize;
        match number & 3 {
            0 => Self::Zero,
            1 => Self::Of(index),
            2 => Self::Less(index),
            _ => Self::Plus(index),
        }
    }
}

impl<'a> Function<'a> {
    /// The first record, and its length with what is between it and the next.
    fn read(bytes: &'a [u8]) -> Result<(Self, usize), Error> {
        let short = || damaged(PART, "a function's record is cut off");
        let number = |at| u64_at(bytes, at).ok_or_else(short);
        let length = u32_at(bytes, 8).ok_or_else(short)? as usize;
        let (name, hash, files) = (number(0)?, number(12)?, number(20)?);
        let mapping = bytes.get(FUNCTION_HEADER..).and_then(|rest| rest.get(..length)).ok_or_else(short)?;
        Ok((Self { name, hash, files, mapping }, (FUNCTION_HEADER + length).next_multiple_of(8)))
    }

    /// Adds what its regions and branches came to.
    fn collect(&self, files: &[String], counts: &[u64], all: &mut Collected) -> Result<(), Error> {
        let mut reader = Reader(self.mapping);
        let mut names = Vec::new();
        for _ in 0..reader.number()? {
            let index = reader.size()?;
            names.push(files.get(index).ok_or_else(|| damaged(PART, "a function is in no file"))?);
        }
        let mut expressions = Vec::new();
        for _ in 0..reader.number()? {
            expressions.push((Counter::of(reader.number()?), Counter::of(reader.number()?)));
        }
        let mut values = Values { counts, known: vec![Known::No; expressions.len()], expressions };
        for name in names {
            let mut line = 0;
            for _ in 0..reader.number()? {
                self.region(&mut reader, &mut line, &mut values, name, all)?;
            }
        }
        Ok(())
    }

    /// Reads a region, which is told by its distance from the `line` before it.
    fn region(
        &self,
        reader: &mut Reader<'_>,
        line: &mut u64,
        values: &mut Values<'_>,
        name: &str,
        all: &mut Collected,
    ) -> Result<(), Error> {
        let head = reader.number()?;
        let mut kind = Kind::Code;
        let mut branch = None;
        match (head & 3, head & 7, head >> 3) {
            (1.., ..) | (_, 0, 0) => {}
            (_, 0, 2) => kind = Kind::Skipped,
            (_, 0, 4) => branch = Some([reader.number()?, reader.number()?].map(Counter::of)),
            _ => return Err(damaged(PART, "a region is of a kind that rustc does not make")),
        }
        *line = line.saturating_add(reader.number()?);
        let column = reader.number()?;
        let (lines, last) = (reader.number()?, reader.number()?);
        if last & GAP != 0 && kind == Kind::Code {
            kind = Kind::Gap;
        }
        let (column, last) = match (column, last & !GAP) {
            (0, 0) => (1, u64::from(u32::MAX)),
            columns => columns,
        };
        let place = |line: u64, column: u64| -> Result<Place, Error> {
            match (u32::try_from(line), u32::try_from(column)) {
                (Ok(line), Ok(column)) => Ok((line, column)),
                _ => Err(damaged(PART, "a place in a source is none")),
            }
        };
        let (start, end) = (place(*line, column)?, place(line.saturating_add(lines), last)?);
        let Some(ways) = branch else {
            let count = values.of(Counter::of(head))?;
            let regions = all.regions.entry(name.to_owned()).or_default();
            return regions.add(Region { start, end: Reverse(end), kind }, count);
        };
        check(start, end)?;
        // A condition that is always the same is no branch.
        if ways != [Counter::Zero; 2] {
            for (way, counter) in (0..).zip(ways) {
                let branch = Branch { line: start.0, place: (start.1, end.0, end.1), way };
                let count = values.of(counter)?;
                let sum = all.branches.entry(name.to_owned()).or_default().entry(branch).or_default();
                *sum = sum.saturating_add(count);
            }
        }
        Ok(())
    }
}

/// The bit of a column that says that a region is a gap.
const GAP: u64 = 1 << 31;

/// Whether an expression's value is known.
#[derive(Debug, Clone, Copy)]
enum Known {
    No,
    /// It is being found: who asks for it now asks for itself.
    Asked,
    Is(i64),
}

/// The values of a function's counters, and of the expressions made of them.
struct Values<'a> {
    counts: &'a [u64],
    expressions: Vec<(Counter, Counter)>,
    known: Vec<Known>,
}

impl Values<'_> {
    /// How often. Counters that were read while they were counting may make a difference of less than nothing.
    fn of(&mut self, counter: Counter) -> Result<u64, Error> {
        let mut open = vec![counter];
        while let Some(&next) = open.last() {
            let (Counter::Less(index) | Counter::Plus(index)) = next else {
                open.pop();
                continue;
            };
            let none = || damaged(PART, "a region is counted by an expression that is none");
            let &(left, right) = self.expressions.get(index).ok_or_else(none)?;
            let known = self.known.get(index).copied().ok_or_else(none)?;
            match (known, self.simple(left)?, self.simple(right)?) {
                (Known::Is(_), ..) => {
                    open.pop();
                }
                (_, Some(left), Some(right)) => {
                    let less = matches!(next, Counter::Less(_));
                    let value = if less { left.saturating_sub(right) } else { left.saturating_add(right) };
                    self.known[index] = Known::Is(value);
                    open.pop();
                }
                (Known::Asked, ..) => return Err(damaged(PART, "an expression is made of itself")),
                (Known::No, left_value, _) => {
                    self.known[index] = Known::Asked;
                    if left_value.is_none() {
                        open.push(left);
                    }
                    if self.simple(right)?.is_none() {
                        open.push(right);
                    }
                }
            }
        }
        Ok(self.simple(counter)?.unwrap_or_default().max(0).unsigned_abs())
    }

    /// A counter's value, or an expression's if it is known.
    fn simple(&self, counter: Counter) -> Result<Option<i64>, Error> {
        Ok(match counter {
            Counter::Zero => Some(0),
            Counter::Of(_) if self.counts.is_empty() => Some(0),
            Counter::Of(index) => {
                let count = self.counts.get(index).copied();
                let count = count.ok_or_else(|| damaged(PART, "a region is counted by no counter"))?;
                Some(i64::try_from(count).unwrap_or(i64::MAX))
            }
            Counter::Less(index) | Counter::Plus(index) => match self.known.get(index) {
                Some(Known::Is(value)) => Some(*value),
                Some(_) => None,
                None => return Err(damaged(PART, "a region is counted by an expression that is none")),
            },
        })
    }
}

/// Reads numbers as LEB128 has them.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn number(&mut self) -> Result<u64, Error> {
        let (mut value, mut shift) = (0, 0);
        loop {
            let byte = self.take(1)?[0];
            if shift >= 63 {
                return Err(damaged(PART, "a number is too long"));
            }
            value |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
    }

    fn size(&mut self) -> Result<usize, Error> {
        usize::try_from(self.number()?).map_err(|_| damaged(PART, "a number is too long"))
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let cut = || damaged(PART, "it is cut off");
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(cut)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(expressions: &[(Counter, Counter)], counter: Counter) -> Result<u64, Error> {
        let known = vec![Known::No; expressions.len()];
        Values { counts: &[10, 4, 1], expressions: expressions.to_vec(), known }.of(counter)
    }

    #[test]
    fn expressions_are_sums_and_differences() {
        use Counter::{Less, Of, Plus, Zero};
        assert_eq!(value(&[], Of(1)).unwrap(), 4);
        assert_eq!(value(&[], Zero).unwrap(), 0);
        assert_eq!(value(&[(Of(0), Of(1))], Less(0)).unwrap(), 6);
        let nested = [(Of(0), Plus(1)), (Of(1), Plus(2)), (Of(2), Of(2))];
        assert_eq!(value(&nested, Less(0)).unwrap(), 4);
        assert_eq!(value(&[(Of(1), Of(0))], Less(0)).unwrap(), 0, "less than nothing is nothing");
    }

    #[test]
    fn an_expression_of_itself_or_of_nothing_is_refused() {
        use Counter::{Less, Of, Plus};
        let problem = |expressions: &[(Counter, Counter)], counter| {
            value(expressions, counter).unwrap_err().to_string()
        };
        let itself = [(Of(0), Plus(1)), (Less(0), Of(0))];
        insta::assert_snapshot!(problem(&itself, Less(0)), @"its coverage mapping is damaged: an expression is made of itself");
        insta::assert_snapshot!(problem(&[], Less(3)), @"its coverage mapping is damaged: a region is counted by an expression that is none");
        insta::assert_snapshot!(problem(&[], Of(3)), @"its coverage mapping is damaged: a region is counted by no counter");
    }

    #[test]
    fn a_deep_expression_needs_no_deep_stack() {
        let deep: Vec<_> = (1..=100_000).map(|next| (Counter::Of(2), Counter::Plus(next))).collect();
        let last = (Counter::Of(2), Counter::Of(2));
        let expressions: Vec<_> = deep.into_iter().chain([last]).collect();
        assert_eq!(value(&expressions, Counter::Plus(0)).unwrap(), 100_002);
    }

    #[test]
    fn a_mapping_of_another_version_is_named() {
        let mut map = vec![0; 16];
        map[12] = 9;
        let error = file_lists(&map).unwrap_err().to_string();
        insta::assert_snapshot!(error, @"its coverage mapping is of version 9, which is not known here");
    }

    #[test]
    fn numbers_end() {
        assert_eq!(Reader(&[0xe5, 0x8e, 0x26]).number().unwrap(), 624_485);
        assert!(Reader(&[0x80]).number().is_err());
        assert!(Reader(&[0xff; 11]).number().is_err());
    }
}
