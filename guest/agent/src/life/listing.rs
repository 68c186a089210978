// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::Path;

use wire::life::{Entry, Kind, Listing, MOST_ENTRIES, MOST_TEXT};

/// A folder whose names are listed.
struct Tree {
    kind: Kind,
    root: &'static str,
    /// How many levels below the root are listed. Links are not followed.
    depth: usize,
    /// The paths that are left out, with all below them: they are listed as something else, change by themselves,
    /// or appear when they are looked at.
    without: &'static [&'static str],
}

const TREES: &[Tree] = &[
    Tree {
        kind: Kind::Proc,
        root: "/proc",
        depth: 3,
        without: &["/proc/sys", "/proc/irq", "/proc/self", "/proc/thread-self", "/proc/net"],
    },
    Tree { kind: Kind::Proc, root: "/proc/sys", depth: 2, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/fs", depth: 2, without: &["/sys/fs/cgroup", "/sys/fs/bpf"] },
    Tree { kind: Kind::Sys, root: "/sys/class", depth: 2, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/bus", depth: 3, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/module", depth: 1, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/kernel", depth: 1, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/devices", depth: 1, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/devices/virtual", depth: 2, without: &[] },
    Tree { kind: Kind::Sys, root: "/sys/devices/platform", depth: 1, without: &[] },
    Tree { kind: Kind::Debug, root: "/sys/kernel/debug", depth: 2, without: &["/sys/kernel/debug/tracing"] },
    Tree { kind: Kind::Node, root: "/dev", depth: 2, without: &["/dev/pts", "/dev/shm", "/dev/fd"] },
    Tree { kind: Kind::Slab, root: "/sys/kernel/slab", depth: 1, without: &[] },
];

/// `PF_KTHREAD` of `linux/sched.h`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// What the kernel has now. What it doesn't show is not in it.
pub(super) fn take() -> Listing {
    let mut list = List::default();
    TREES.iter().for_each(|tree| list.walk(tree, Path::new(tree.root), tree.depth));
    list.lines("/proc/modules", |line| Some((Kind::Module, line.split(' ').next()?.to_owned())));
    list.lines("/proc/misc", |line| Some((Kind::Misc, line.trim().to_owned())));
    list.devices();
    list.lines("/proc/vmallocinfo", |line| Some((Kind::Vmalloc, area(line)?)));
    list.lines("/proc/timer_list", |line| Some((Kind::Timer, timer(line)?.to_owned())));
    list.threads();
    // A file system whose module is gone is the one that can't be listed without harm: the last.
    list.lines("/proc/filesystems", |line| Some((Kind::FileSystem, line.rsplit('\t').next()?.to_owned())));
    list.listing
}

#[derive(Default)]
struct List {
    listing: Listing,
    text: usize,
}

impl List {
    fn add(&mut self, kind: Kind, name: String) {
        self.text += name.len();
        if self.text > MOST_TEXT || self.listing.entries.len() == MOST_ENTRIES {
            self.listing.cut = true;
            return;
        }
        self.listing.entries.push(Entry { kind, name });
    }

    fn walk(&mut self, tree: &Tree, folder: &Path, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = entry.file_name();
            let is_process = tree.root == "/proc" && name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
            if is_process || tree.without.iter().any(|left_out| path == Path::new(left_out)) {
                continue;
            }
            let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
            if depth > 1 && is_folder {
                self.walk(tree, &path, depth - 1);
            }
            // The name of a cache that shares another one's slabs is a link, which the kernel never removes.
            if tree.kind == Kind::Slab && !is_folder {
                continue;
            }
            self.add(tree.kind, path.to_string_lossy().into_owned());
        }
    }

    fn lines(&mut self, file: &str, entry: impl Fn(&str) -> Option<(Kind, String)>) {
        let Ok(text) = fs::read(file) else { return };
        for (kind, name) in String::from_utf8_lossy(&text).lines().filter_map(entry) {
            self.add(kind, name);
        }
    }

    /// `/proc/devices`: numbers and names below a line that says what they are.
    fn devices(&mut self) {
        let text = fs::read_to_string("/proc/devices").unwrap_or_default();
        let mut kind = "";
        for line in text.lines().map(str::trim) {
            match line.split_once(" devices:") {
                Some((section, _)) => kind = section,
                None if line.is_empty() => {}
                None => self.add(Kind::Device, format!("{} {line}", kind.to_lowercase())),
            }
        }
    }

    fn threads(&mut self) {
        let Ok(processes) = fs::read_dir("/proc") else { return };
        for process in processes.flatten() {
            if !process.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
            if let Some(name) = kernel_thread(&stat) {
                self.add(Kind::Thread, name.to_owned());
            }
        }
    }
}

/// The name in a kernel thread's `/proc/PID/stat`; of what is none, nothing.
fn kernel_thread(stat: &str) -> Option<&str> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(") ")?;
    // The flags are the ninth field; the name was the second.
    let flags: u64 = rest.split(' ').nth(6)?.parse().ok()?;
    (flags & KERNEL_THREAD != 0).then_some(name)
}

/// Place, size and caller of a line of `/proc/vmallocinfo`. A line without a caller has none of interest.
fn area(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    let (place, size, caller) = (words.next()?, words.next()?, words.next()?);
    let (start, _) = place.split_once('-')?;
    let module = words.next().filter(|word| word.starts_with('[')).unwrap_or_default();
    Some(format!("{start} {size} {caller} {module}").trim_end().to_owned())
}

/// The function in a line of `/proc/timer_list`: ` #0: <0000000012345678>, function, S:01`.
fn timer(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix('#')?.split_once(">, ")?.1.split(',').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_thread_is_told_from_a_program() {
        let thread = "2 (kthreadd) S 0 0 0 0 -1 2129984 0 0";
        assert_eq!(kernel_thread(thread), Some("kthreadd"));
        assert_eq!(kernel_thread("7 (a) b) S 0 0 0 0 -1 2129984 0"), Some("a) b"));
        assert_eq!(kernel_thread("1 (init) S 0 1 1 0 -1 4194560 0 0"), None);
        assert_eq!(kernel_thread(""), None);
    }

    #[test]
    fn an_area_has_its_caller_and_the_callers_module() {
        let line =
            "0x000000009e0ff5f4-0x0000000073efcec9   20480 kernel_clone+0xbf/0x430 pages=4 vmalloc N0=4";
        assert_eq!(area(line).unwrap(), "0x000000009e0ff5f4 20480 kernel_clone+0xbf/0x430");
        let line =
            "0x00000000aaaaaaaa-0x00000000bbbbbbbb    8192 leak_init+0x1c/0x1000 [leak] pages=1 vmalloc";
        assert_eq!(area(line).unwrap(), "0x00000000aaaaaaaa 8192 leak_init+0x1c/0x1000 [leak]");
        assert_eq!(area("0x00000000aaaaaaaa-0x00000000bbbbbbbb    8192"), None);
    }

    #[test]
    fn a_timers_function_is_found() {
        assert_eq!(timer(" #0: <00000000a1>, tick_sched_timer, S:01"), Some("tick_sched_timer"));
        assert_eq!(timer(" # expires at 12-12 nsecs"), None);
        assert_eq!(timer("cpu: 0"), None);
    }
}
