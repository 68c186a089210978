// SPDX-License-Identifier: GPL-2.0-only
use wire::life::Counts;

/// What the kernel had in use after so many lives of a module.
#[derive(Debug, Clone)]
pub struct Point {
    /// How many.
    pub lives: u32,
    /// How much was in use.
    pub counts: Counts,
}

/// What has grown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The slab cache, or `pages`.
    pub name: String,
    /// By how many objects or pages.
    pub more: i64,
    /// The bytes of each.
    pub size: u32,
    /// In how many lives.
    pub lives: u32,
}

impl Grown {
    /// What has grown, in words.
    pub fn words(&self) -> String {
        let Self { name, more, size, lives } = self;
        match name.as_str() {
            PAGES => format!("{more} pages that are part of no file, program or slab, in {lives} cycles"),
            _ => format!("{more} objects of the slab cache {name}, of {size} bytes each, in {lives} cycles"),
        }
    }
}

/// The name of what is in no slab.
const PAGES: &str = "pages";

/// The bytes of a page.
const PAGE: u32 = 4096;

/// What has grown by about one or more with each life, between each point and the next: the one with the most bytes
/// first.
///
/// What merely fluctuates, or comes once, does not grow in each part of the time by as much as there were lives in
/// it. A third is left for what is freed meanwhile by others.
pub fn growth(points: &[Point]) -> Vec<Grown> {
    let [first, .., last] = points else { return Vec::new() };
    let lives = last.lives - first.lives;
    let mut found = Vec::new();
    for slab in &last.counts.slabs {
        let grown = grown(points, |point| objects(&point.counts, &slab.name));
        found.extend(grown.map(|more| Grown { name: slab.name.clone(), more, size: slab.size, lives }));
    }
    let grown = grown(points, |point| Some(point.counts.pages));
    found.extend(grown.map(|more| Grown { name: PAGES.to_owned(), more, size: PAGE, lives }));
    found.sort_by_key(|grown| -grown.more * i64::from(grown.size));
    found
}

fn objects(counts: &Counts, name: &str) -> Option<i64> {
    let slab = counts.slabs.iter().find(|slab| slab.name == name)?;
    i64::try_from(slab.objects).ok()
}

/// By how much a number has grown in all, if that was two or more for three lives all the way.
fn grown(points: &[Point], number: impl Fn(&Point) -> Option<i64>) -> Option<i64> {
    for pair in points.windows(2) {
        let lives = i64::from(pair[1].lives - pair[0].lives);
        if 3 * (number(&pair[1])? - number(&pair[0])?) < 2 * lives.max(1) {
            return None;
        }
    }
    Some(number(points.last()?)? - number(points.first()?)?)
}

#[cfg(test)]
mod tests {
    use wire::life::Slab;

    use super::*;

    fn points(objects: [u64; 3], pages: [i64; 3]) -> Vec<Point> {
        let slab = |objects| Slab { name: "kmalloc-64".into(), objects, size: 64 };
        let counts = |at: usize| Counts { slabs: vec![slab(objects[at])], pages: pages[at] };
        [5, 12, 20].into_iter().enumerate().map(|(at, lives)| Point { lives, counts: counts(at) }).collect()
    }

    fn words(points: &[Point]) -> Vec<String> {
        growth(points).iter().map(Grown::words).collect()
    }

    #[test]
    fn one_object_for_each_life_is_growth() {
        let found = words(&points([1000, 1007, 1015], [7, 7, 7]));
        assert_eq!(found, ["15 objects of the slab cache kmalloc-64, of 64 bytes each, in 15 cycles"]);
        assert_eq!(words(&points([1000, 1005, 1012], [7, 7, 7])).len(), 1, "something else was freed");
        insta::assert_snapshot!(words(&points([1000, 1014, 1031], [7, 14, 30])).join("\n"), @r"
        23 pages that are part of no file, program or slab, in 15 cycles
        31 objects of the slab cache kmalloc-64, of 64 bytes each, in 15 cycles
        ");
    }

    #[test]
    fn what_comes_once_or_goes_again_is_none() {
        for objects in [[1000, 1000, 1000], [1000, 1004, 1015], [1000, 1400, 1400], [1000, 1400, 1002]] {
            assert_eq!(growth(&points(objects, [7, 60, 60])), [], "{objects:?}");
        }
        assert_eq!(growth(&points([1, 100, 200], [0; 3])[..1]), [], "one point says nothing");
    }

    #[test]
    fn a_cache_that_was_not_there_has_not_grown() {
        let mut points = points([1000, 1100, 1200], [0; 3]);
        points[0].counts.slabs.clear();
        assert_eq!(growth(&points), []);
    }
}
