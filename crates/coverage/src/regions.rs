// SPDX-License-Identifier: GPL-2.0-only
//! From regions of a source to its lines, as `llvm-cov` does it: what counts for a place is the region that began last of
//! those around it; what counts for a line is the greatest of the region that it begins in and of those that begin in it.
//! Source: `CoverageMapping.cpp` of LLVM, `SegmentBuilder` and `LineCoverageStats`.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use crate::figures::File;
use crate::{Error, MOST_LINES, damaged};

/// A line and a column, both from 1.
pub(crate) type Place = (u32, u32);

/// What a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Not compiled.
    Skipped,
    /// Between two pieces of code: it counts for lines in which nothing begins.
    Gap,
    /// Code.
    Code,
}

/// A region's place and kind. The order is that in which regions are gone through: those around others first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Region {
    pub(crate) start: Place,
    pub(crate) end: Reverse<Place>,
    pub(crate) kind: Kind,
}

/// What holds from a place on.
#[derive(Debug, Clone, Copy)]
struct Segment {
    place: Place,
    /// The region's count; nothing where no code is.
    count: Option<u64>,
    /// Whether code begins here.
    begins: bool,
}

/// The regions of a file with what they came to; regions at the same place are one.
#[derive(Debug, Default)]
pub(crate) struct Regions(BTreeMap<Region, u64>);

impl Regions {
    /// Adds a region, or another function's count of the same.
    ///
    /// # Errors
    ///
    /// When its place is none.
    pub(crate) fn add(&mut self, region: Region, count: u64) -> Result<(), Error> {
        check(region.start, region.end.0)?;
        let sum = self.0.entry(region).or_default();
        *sum = sum.saturating_add(count);
        Ok(())
    }

    /// The lines, added to a file's.
    pub(crate) fn lines(&self, file: &mut File) {
        let segments = self.segments();
        let mut wrapped: Option<u64> = None;
        let mut next_line = 0;
        for of_line in segments.chunk_by(|a, b| a.place.0 == b.place.0) {
            let (first, line) = (of_line[0], of_line[0].place.0);
            if let Some(count) = wrapped {
                (next_line..line).for_each(|line| file.add_line(line, count));
            }
            let begun = of_line.iter().filter(|segment| segment.begins).filter_map(|segment| segment.count);
            // Where a line begins with what is not compiled, it is nothing to count unless code begins there, too.
            let around = wrapped.filter(|_| first.count.is_some() || first.place.1 > 1);
            if let Some(count) = begun.chain(around).max() {
                file.add_line(line, count);
            }
            wrapped = of_line.last().and_then(|segment| segment.count);
            next_line = line + 1;
        }
    }

    fn segments(&self) -> Vec<Segment> {
        let regions: Vec<(&Region, u64)> = self.0.iter().map(|(region, count)| (region, *count)).collect();
        let mut places: BTreeSet<Place> = BTreeSet::new();
        places.extend(regions.iter().flat_map(|(region, _)| [region.start, region.end.0]));
        let (mut next, mut active, mut ends) = (0, BTreeSet::new(), BinaryHeap::new());
        let mut segments = Vec::new();
        for place in places {
            while let Some(&Reverse((end, index))) = ends.peek()
                && end <= place
            {
                ends.pop();
                active.remove(&index);
            }
            let mut begins = false;
            while let Some((region, _)) = regions.get(next).filter(|(region, _)| region.start == place) {
                if region.end.0 > place {
                    active.insert(next);
                    ends.push(Reverse((region.end.0, next)));
                    begins |= region.kind == Kind::Code;
                }
                next += 1;
            }
            let innermost = active.last().map(|index: &usize| regions[*index]);
            let count = innermost.and_then(|(region, count)| (region.kind != Kind::Skipped).then_some(count));
            let begins = begins && innermost.is_some_and(|(region, _)| region.kind == Kind::Code);
            segments.push(Segment { place, count, begins });
        }
        segments
    }
}

/// Whether a place in a source can be one.
pub(crate) fn check(start: Place, end: Place) -> Result<(), Error> {
    if start.0 == 0 || end < start || end.0 > MOST_LINES {
        return Err(damaged("coverage mapping", "a place in a source is none"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(regions: &[(Place, Place, Kind, u64)]) -> Vec<(u32, u64)> {
        let mut all = Regions::default();
        for &(start, end, kind, count) in regions {
            all.add(Region { start, end: Reverse(end), kind }, count).unwrap();
        }
        let mut file = File::default();
        all.lines(&mut file);
        file.lines.into_iter().collect()
    }

    #[test]
    fn the_innermost_region_counts() {
        let whole = ((1, 1), (6, 2), Kind::Code, 5);
        let inner = ((3, 9), (5, 6), Kind::Code, 2);
        assert_eq!(lines(&[whole, inner]), [(1, 5), (2, 5), (3, 5), (4, 2), (5, 2), (6, 5)]);
    }

    #[test]
    fn a_line_counts_as_its_best_region_and_equal_regions_add_up() {
        let one = ((1, 1), (1, 9), Kind::Code, 1);
        assert_eq!(lines(&[one, ((1, 12), (1, 20), Kind::Code, 7), one]), [(1, 7)]);
        assert_eq!(lines(&[one, one]), [(1, 2)]);
    }

    #[test]
    fn what_is_not_compiled_is_not_counted() {
        let whole = ((1, 1), (5, 2), Kind::Code, 3);
        let skipped = ((2, 1), (4, 1), Kind::Skipped, 0);
        assert_eq!(lines(&[whole, skipped]), [(1, 3), (5, 3)]);
    }

    #[test]
    fn lines_between_functions_are_not_counted() {
        let first = ((1, 1), (2, 2), Kind::Code, 0);
        assert_eq!(lines(&[first, ((5, 1), (5, 8), Kind::Code, 1)]), [(1, 0), (2, 0), (5, 1)]);
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        let add =
            |start, end| Regions::default().add(Region { start, end: Reverse(end), kind: Kind::Code }, 1);
        assert!(add((0, 1), (1, 1)).is_err());
        assert!(add((2, 1), (1, 1)).is_err());
        assert!(add((1, 1), (MOST_LINES + 1, 1)).is_err());
    }
}
