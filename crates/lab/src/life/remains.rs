// SPDX-License-Identifier: GPL-2.0-only
use std::collections::HashMap;

use wire::life::{Entry, Handle, Kind, Listing};

use super::said::readable;

/// The most lines that are said of what is left behind.
const MOST_LINES: usize = 12;

/// What is there after a module's life and was not there before it, a line each. `loaded` is what was there during
/// its life: it names whose function asked for memory, which the kernel can't any more when the module is gone.
pub fn remains(before: &Listing, loaded: &Listing, after: &Listing) -> Vec<String> {
    let places = places(loaded);
    let left: Vec<&Entry> = more(before, after).into_iter().filter(|entry| counts(entry)).collect();
    let mut lines: Vec<String> = left
        .iter()
        .filter(|entry| !is_below_another(entry, &left))
        .map(|entry| words(entry, &places))
        .collect();
    if lines.len() > MOST_LINES {
        let rest = lines.split_off(MOST_LINES).len();
        lines.push(format!("and {rest} more"));
    }
    lines
}

/// The modules that are there after and were not before, but for one. What they brought along is not that one's.
pub fn other_modules(before: &Listing, after: &Listing, module: &str) -> Vec<String> {
    let new = more(before, after).into_iter().filter(|entry| entry.kind == Kind::Module);
    new.map(|entry| entry.name.clone()).filter(|name| name != module).collect()
}

/// What a module that was loaded in between may be held by, the most harmless first: a file system about to be
/// mounted asks nothing of it, and what opening a file does is the module's to say.
pub fn handles(before: &Listing, loaded: &Listing) -> Vec<Handle> {
    let new = more(before, loaded);
    let of = |kind: Kind| {
        let mut names: Vec<&str> =
            new.iter().filter(|entry| entry.kind == kind).map(|entry| entry.name.as_str()).collect();
        names.sort_unstable();
        names.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let file_systems = of(Kind::FileSystem).into_iter().map(Handle::FileSystem);
    let files = [Kind::Node, Kind::Debug, Kind::Proc, Kind::Sys].into_iter().flat_map(of).map(Handle::File);
    file_systems.chain(files).take(MOST_HANDLES).collect()
}

/// The most that is tried to hold a module by.
const MOST_HANDLES: usize = 32;

/// The entries of `after` that are not in `before`, or not as often.
fn more<'a>(before: &Listing, after: &'a Listing) -> Vec<&'a Entry> {
    let mut known: HashMap<&Entry, usize> = HashMap::new();
    before.entries.iter().for_each(|entry| *known.entry(entry).or_default() += 1);
    let mut new = Vec::new();
    for entry in &after.entries {
        match known.get_mut(entry) {
            Some(count @ 1..) => *count -= 1,
            _ => new.push(entry),
        }
    }
    new
}

/// Whether an entry means something: not what the kernel makes and unmakes as it likes.
fn counts(entry: &Entry) -> bool {
    let name = entry.name.as_str();
    match entry.kind {
        Kind::Thread => !name.starts_with("kworker/"),
        // What several caches share has a name of no meaning, and is made with the first of them.
        Kind::Slab => !name.contains("/:"),
        // Whose code is gone is not resolved to a function.
        Kind::Timer => name.starts_with("0x"),
        Kind::Vmalloc => name.split(' ').nth(2).is_some_and(|caller| caller.starts_with("0x")),
        _ => true,
    }
}

/// Whether it is a path below another one that is left as well.
fn is_below_another(entry: &Entry, all: &[&Entry]) -> bool {
    let parent = entry.name.rsplit_once('/').map_or("", |(parent, _)| parent);
    entry.name.starts_with('/') && all.iter().any(|other| other.kind == entry.kind && other.name == parent)
}

/// Who asked for an area of memory, by its place and size.
fn places(loaded: &Listing) -> HashMap<(&str, &str), &str> {
    let areas = loaded.entries.iter().filter(|entry| entry.kind == Kind::Vmalloc);
    areas.filter_map(|entry| area(&entry.name)).map(|(place, size, caller)| ((place, size), caller)).collect()
}

fn area(name: &str) -> Option<(&str, &str, &str)> {
    let mut words = name.splitn(3, ' ');
    Some((words.next()?, words.next()?, words.next()?))
}

fn words(entry: &Entry, places: &HashMap<(&str, &str), &str>) -> String {
    let name = &entry.name;
    match entry.kind {
        Kind::Module => format!("the module {name}"),
        Kind::Proc | Kind::Sys => name.clone(),
        Kind::Debug => format!("{name}, in debugfs"),
        Kind::Node => format!("the device file {name}"),
        Kind::Device => format!("the device number {name}"),
        Kind::Misc => format!("the device {name} in /proc/misc"),
        Kind::FileSystem => format!("the file system {name}"),
        Kind::Slab => format!("the slab cache {}", name.rsplit('/').next().unwrap_or(name)),
        Kind::Thread => format!("the kernel thread {name}"),
        Kind::Timer => "a timer, whose function is gone".to_owned(),
        Kind::Vmalloc => match area(name) {
            Some((place, size, unresolved)) => {
                let caller = places.get(&(place, size)).copied().unwrap_or(unresolved);
                match caller.starts_with("0x") {
                    true => format!(
                        "{size} bytes of vmalloc() memory, allocated by a function that is gone, as init's are"
                    ),
                    false => format!("{size} bytes of vmalloc() memory, allocated at {}", readable(caller)),
                }
            }
            None => format!("vmalloc() memory: {name}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(entries: &[(Kind, &str)]) -> Listing {
        let entry = |(kind, name): &(Kind, &str)| Entry { kind: *kind, name: (*name).to_owned() };
        Listing { entries: entries.iter().map(entry).collect(), cut: false }
    }

    #[test]
    fn what_is_left_is_named() {
        let before = listing(&[(Kind::Thread, "ksoftirqd/0"), (Kind::Proc, "/proc/fs")]);
        let loaded = listing(&[(Kind::Vmalloc, "0xa 8192 leak_init+0x1c/0x40 [leak]")]);
        let after = listing(&[
            (Kind::Thread, "ksoftirqd/0"),
            (Kind::Thread, "leak_thread"),
            (Kind::Proc, "/proc/fs"),
            (Kind::Proc, "/proc/leak"),
            (Kind::Proc, "/proc/leak/state"),
            (Kind::Debug, "/sys/kernel/debug/leak"),
            (Kind::Slab, "/sys/kernel/slab/leak_cache"),
            (Kind::Device, "character 240 leak"),
            (Kind::FileSystem, "leakfs"),
            (Kind::Vmalloc, "0xa 8192 0xffffffffc0001c"),
            (Kind::Vmalloc, "0xb 8192 0xffffffffc0001d"),
            (Kind::Timer, "0xffffffffc0002c"),
        ]);
        insta::assert_snapshot!(remains(&before, &loaded, &after).join("\n"), @r"
        the kernel thread leak_thread
        /proc/leak
        /sys/kernel/debug/leak, in debugfs
        the slab cache leak_cache
        the device number character 240 leak
        the file system leakfs
        8192 bytes of vmalloc() memory, allocated at leak_init+0x1c/0x40 [leak]
        8192 bytes of vmalloc() memory, allocated by a function that is gone, as init's are
        a timer, whose function is gone
        ");
    }

    #[test]
    fn what_the_kernel_does_by_itself_is_not_left() {
        let after = listing(&[
            (Kind::Thread, "kworker/0:3"),
            (Kind::Slab, "/sys/kernel/slab/:0000064"),
            (Kind::Timer, "hrtimer_wakeup"),
            (Kind::Vmalloc, "0xb 20480 kernel_clone+0xbf/0x430"),
        ]);
        assert_eq!(remains(&Listing::default(), &Listing::default(), &after), [""; 0]);
    }

    #[test]
    fn a_second_one_of_a_name_is_left_and_the_first_is_not() {
        let (one, two) =
            (listing(&[(Kind::Thread, "t")]), listing(&[(Kind::Thread, "t"), (Kind::Thread, "t")]));
        assert_eq!(remains(&one, &one, &two), ["the kernel thread t"]);
        assert_eq!(remains(&two, &two, &one), [""; 0]);
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (0..40).map(|n| format!("/proc/leak{n}")).collect();
        let after = listing(&many.iter().map(|name| (Kind::Proc, name.as_str())).collect::<Vec<_>>());
        let lines = remains(&Listing::default(), &Listing::default(), &after);
        assert_eq!((lines.len(), lines.last().unwrap().as_str()), (13, "and 28 more"));
    }

    #[test]
    fn file_systems_are_held_before_files() {
        let loaded = listing(&[
            (Kind::Debug, "/sys/kernel/debug/x/b"),
            (Kind::Debug, "/sys/kernel/debug/x/a"),
            (Kind::FileSystem, "x"),
            (Kind::Thread, "x"),
            (Kind::Node, "/dev/x"),
        ]);
        let file = |path: &str| Handle::File(path.into());
        let expected = [
            Handle::FileSystem("x".into()),
            file("/dev/x"),
            file("/sys/kernel/debug/x/a"),
            file("/sys/kernel/debug/x/b"),
        ];
        assert_eq!(handles(&Listing::default(), &loaded), expected);
    }

    #[test]
    fn modules_that_came_along_are_told() {
        let loaded = listing(&[(Kind::Module, "ours"), (Kind::Module, "crc32c")]);
        assert_eq!(other_modules(&Listing::default(), &loaded, "ours"), ["crc32c"]);
    }
}
