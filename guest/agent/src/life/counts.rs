// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};

use wire::life::{Counts, Slab};

const SLABS: &str = "/sys/kernel/slab";

/// Counts what the kernel has in use.
///
/// Its files stay open from one count to the next, so that what the kernel keeps of files that were closed, some
/// of it for seconds, is not counted as well.
pub(super) struct Counter {
    slabs: File,
    caches: Vec<File>,
}

/// Room for `/proc/slabinfo`, in bytes.
const SLABINFO: usize = 64 << 10;

impl Counter {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { slabs: File::open("/proc/slabinfo")?, caches: open_caches() })
    }

    /// How much is in use now.
    pub(super) fn count(&mut self) -> io::Result<Counts> {
        // A slab that a processor keeps ready counts as used, all of its objects, until it is taken from it: only
        // then is a cache known to the object. One that can't be shrunk is none the worse.
        self.caches.iter().for_each(|mut cache| drop(cache.write(b"1")));
        let mut text = String::with_capacity(SLABINFO);
        self.slabs.rewind()?;
        self.slabs.read_to_string(&mut text)?;
        let slabs = text.lines().filter_map(slab).collect();
        // Each processor adds up for itself until it is asked. Where it can't be, a few pages are missed.
        let _ = fs::write("/proc/sys/vm/stat_refresh", "1");
        Ok(Counts { slabs, pages: pages()? })
    }
}

/// What each cache is shrunk by.
fn open_caches() -> Vec<File> {
    let caches = fs::read_dir(SLABS).into_iter().flatten().flatten();
    // A link is another name of a cache.
    let caches = caches.filter(|cache| cache.file_type().is_ok_and(|kind| kind.is_dir()));
    caches.filter_map(|cache| OpenOptions::new().write(true).open(cache.path().join("shrink")).ok()).collect()
}

/// A line of `/proc/slabinfo`: name, objects in use, objects, their size.
fn slab(line: &str) -> Option<Slab> {
    let mut words = line.split_whitespace();
    let name = words.next()?.to_owned();
    let objects = words.next()?.parse().ok()?;
    let size = words.nth(1)?.parse().ok()?;
    Some(Slab { name, objects, size })
}

/// What `/proc/meminfo` counts in kilobytes that are pages of their own. What is mapped or shared is a part of
/// these, and the kernel's stacks are in the vmalloc area.
const COUNTED: &[&str] = &[
    "MemFree",
    "Buffers",
    "Cached",
    "SwapCached",
    "AnonPages",
    "Slab",
    "PageTables",
    "SecPageTables",
    "VmallocUsed",
    "Percpu",
];

/// The bytes of a page, in kilobytes.
const PAGE: i64 = 4;

/// The pages that nobody accounts for. What the kernel itself takes while it boots is among them: only the
/// difference of two of these numbers means something.
fn pages() -> io::Result<i64> {
    let memory = fs::read_to_string("/proc/meminfo")?;
    let memory: HashMap<&str, i64> = memory.lines().filter_map(kilobytes).collect();
    let zones = fs::read_to_string("/proc/zoneinfo")?;
    let total = memory.get("MemTotal").copied().unwrap_or_default();
    let counted: i64 = COUNTED.iter().filter_map(|name| memory.get(name)).sum();
    Ok((total - counted) / PAGE - kept_ready(&zones))
}

fn kilobytes(line: &str) -> Option<(&str, i64)> {
    let (name, value) = line.split_once(':')?;
    Some((name, value.trim().strip_suffix(" kB")?.parse().ok()?))
}

/// The free pages that processors keep for themselves, which `MemFree` leaves out: `count:` in `/proc/zoneinfo`.
fn kept_ready(zones: &str) -> i64 {
    let counts = zones.lines().filter_map(|line| line.trim().strip_prefix("count:"));
    counts.filter_map(|count| count.trim().parse::<i64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_slabinfo_is_read() {
        let line = "kmalloc-64   3456   3520     64   64    1 : tunables    0    0    0 : slabdata     55     55      0";
        assert_eq!(slab(line), Some(Slab { name: "kmalloc-64".into(), objects: 3456, size: 64 }));
        assert_eq!(slab("slabinfo - version: 2.1"), None);
        assert_eq!(slab("# name            <active_objs> <num_objs> <objsize>"), None);
    }

    #[test]
    fn what_processors_keep_is_added_up() {
        let zones =
            "    cpu: 0\n              count: 270\n              high:  531\n    cpu: 1\n    count: 5\n";
        assert_eq!(kept_ready(zones), 275);
    }

    #[test]
    fn a_line_of_meminfo_is_read() {
        assert_eq!(kilobytes("MemFree:          167036 kB"), Some(("MemFree", 167_036)));
        assert_eq!(kilobytes("HugePages_Total:       0"), None);
    }
}
