// SPDX-License-Identifier: GPL-2.0-only
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use libtest_mimic::Trial;

use crate::call::{Call, Ended};
use crate::command_line::{path_with_fake_qemu, real_qemu};
use crate::harness::{Context, KERNEL, USUAL, machine, names_in};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("saved::the_second_run_is_restored", USUAL, the_second_run_is_restored),
        machine("saved::cold", USUAL, cold),
        machine("saved::damaged", 2 * USUAL, damaged),
        machine("saved::by_another_qemu", USUAL, by_another_qemu),
        machine("saved::no_agent_in_it", USUAL, no_agent_in_it),
        machine("saved::never_restored", USUAL, never_restored),
        machine("saved::one_in_which_nothing_wakes", USUAL, one_in_which_nothing_wakes),
        machine("saved::several_at_once", USUAL, several_at_once),
        machine("saved::nothing_of_one_run_is_in_the_next", USUAL, nothing_of_one_run_is_in_the_next),
        machine("saved::the_time_is_right", USUAL, the_time_is_right),
        machine("saved::pruned", USUAL, pruned),
        machine("saved::no_space", USUAL, no_space),
        machine("saved::space_that_runs_out", USUAL, space_that_runs_out),
    ]
}

/// How the note begins that a state is of no use.
const UNUSABLE: &str = "the saved machine of debian-6.1-cloud can't be used, so one is booted: ";

/// How the note begins that there is none for the next run.
const NOT_SAVED: &str = "the machine of debian-6.1-cloud is not saved, so the next one is booted, too: ";

/// A cache of a test's own, and commands in machines with it.
struct Lab<'a> {
    context: &'a Context,
    cache: PathBuf,
}

impl<'a> Lab<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, cache: context.own_cache() }
    }

    fn vexlab(&self, arguments: &[&str]) -> Call {
        self.context.vexlab(arguments).env("XDG_CACHE_HOME", &self.cache)
    }

    /// A script in a machine without a module.
    fn script(&self, script: &str) -> Call {
        let machine = ["run", "--accel", "tcg", "--no-module", "--kernel", KERNEL, "--", "sh", "-c"];
        self.vexlab(&machine).args([script])
    }

    /// A script that succeeds. Gives what it printed.
    fn output(&self, script: &str) -> String {
        let ended = self.script(script).run();
        assert_eq!(ended.status, 0, "{ended}");
        assert!(!ended.stderr.contains(UNUSABLE) && !ended.stderr.contains(NOT_SAVED), "{ended}");
        ended.stdout
    }

    /// The folders of the saved machines.
    fn states(&self) -> Vec<PathBuf> {
        let states = self.cache.join("vexlab/states");
        names_in(&states).iter().map(|name| states.join(name)).collect()
    }

    fn state(&self) -> PathBuf {
        match <[PathBuf; 1]>::try_from(self.states()) {
            Ok([state]) => state,
            Err(states) => panic!("{states:?} instead of one saved machine"),
        }
    }

    fn assert_nothing_is_left(&self) {
        assert_eq!(names_in(&self.cache.join("vexlab/staging")), [""; 0], "leavings");
    }
}

/// The note with this beginning; there is one, of one line.
fn note<'a>(ended: &'a Ended, beginning: &str) -> &'a str {
    let mut notes = ended.stderr.lines().filter_map(|line| line.strip_prefix(beginning));
    let note = notes.next().unwrap_or_else(|| panic!("no line begins with `{beginning}`: {ended}"));
    assert_eq!(notes.next(), None, "it is said once: {ended}");
    note
}

fn the_second_run_is_restored(context: &Context) {
    let lab = Lab::new(context);
    let dir = context.case("good_c");
    let test = || {
        let ended = lab.vexlab(&["test", "--accel", "tcg"]).dir(&dir).run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    };
    let (first, second) = (test(), test());
    for phase in [", boot ", ", save ", ", restore "] {
        assert!(first.contains(phase), "{phase}: {first}");
    }
    assert!(
        second.contains(", restore ") && !second.contains("boot ") && !second.contains("save "),
        "{second}"
    );
    lab.state();
    lab.assert_nothing_is_left();
    let shown = lab.vexlab(&["cache", "show"]).run().stdout;
    assert!(shown.starts_with("debian-6.1-cloud   256 MiB of memory "), "{shown}");
    assert!(
        shown.contains("\n1 saved machine, ") && shown.ends_with(" MB in all; at most 4295 MB are kept\n"),
        "{shown}"
    );
}

fn cold(context: &Context) {
    let lab = Lab::new(context);
    let dir = context.case("good_c");
    let cold = || {
        let ended = lab.vexlab(&["test", "--accel", "tcg", "--cold"]).dir(&dir).run();
        assert_eq!(ended.status, 0, "{ended}");
        assert!(ended.stdout.contains(", boot ") && !ended.stdout.contains("restore "), "{ended}");
    };
    cold();
    assert!(lab.states().is_empty(), "nothing is saved");
    lab.output("true");
    lab.state();
    cold();
}

/// Whatever is damaged, the run boots, says so, and the next one is restored from a new state.
fn damaged(context: &Context) {
    let lab = Lab::new(context);
    lab.output("true");
    let truncate = |file: &str, length: u64| {
        let file = File::options().write(true).open(lab.state().join(file)).expect("a part of the state");
        file.set_len(length).expect("it can be truncated");
    };
    let damages: [(&dyn Fn(), &str); 4] = [
        (&|| truncate("memory", 1 << 20), "/memory has 1048576 bytes instead of 268435456"),
        (&|| truncate("devices", 1000), "/devices is not what was saved"),
        (&|| truncate("state.json", 10), "/state.json"),
        (&|| fs::remove_file(lab.state().join("memory")).expect("it is there"), "/memory"),
    ];
    for (damage, said) in damages {
        damage();
        let ended = lab.script("echo here").run();
        assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
        let why = note(&ended, UNUSABLE);
        assert!(why.ends_with(said), "{why}");
        assert_eq!(lab.output("echo here"), "here\n");
        lab.state();
        lab.assert_nothing_is_left();
    }
}

fn by_another_qemu(context: &Context) {
    let lab = Lab::new(context);
    lab.output("true");
    let manifest = lab.state().join("state.json");
    let text = fs::read_to_string(&manifest).expect("a state has a manifest");
    let (before, after) = text.split_once("\"micro\":").expect("it names QEMU's version");
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    fs::write(&manifest, format!("{before}\"micro\":99{after}")).expect("the manifest can be written");
    let ended = lab.script("echo here").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
    let why = note(&ended, UNUSABLE);
    assert!(why.starts_with("QEMU said: this is ") && why.contains(".99"), "{why}");
    assert_eq!(lab.output("echo here"), "here\n");
    // Another program is another key, whatever it says of itself.
    let real = real_qemu();
    let path = path_with_fake_qemu(context, &format!("#!/bin/sh\nexec {} \"$@\"\n", real.display()));
    let ended = lab.script("echo here").env("PATH", path).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
    assert_eq!(lab.states().len(), 2);
}

/// A state that looks whole, but nobody answers.
fn no_agent_in_it(context: &Context) {
    let lab = Lab::new(context);
    lab.output("true");
    let memory = File::options().write(true).open(lab.state().join("memory")).expect("the memory");
    let length = memory.metadata().expect("it has a length").len();
    memory.set_len(0).and_then(|()| memory.set_len(length)).expect("it can be emptied");
    let ended = lab.script("echo here").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
    note(&ended, UNUSABLE);
    assert_eq!(lab.output("echo here"), "here\n");
}

/// Where what was just saved can't be restored it is not tried each time.
fn never_restored(context: &Context) {
    let lab = Lab::new(context);
    let fake = format!(
        "#!/bin/sh\ncase \"$*\" in *incoming*) echo 'the past is gone' >&2; exit 1;; esac\nexec {} \"$@\"\n",
        real_qemu().display()
    );
    let path = path_with_fake_qemu(context, &fake);
    let run = || {
        let ended = lab.script("echo here").env("PATH", &path).run();
        assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
        ended
    };
    assert!(note(&run(), UNUSABLE).ends_with("QEMU said: the past is gone"));
    for _ in 0..2 {
        let ended = run();
        let why = note(&ended, NOT_SAVED);
        assert!(why.starts_with("once saved, it was not restored; "), "{why}");
        assert!(why.ends_with("the past is gone; `vexlab cache prune` has it tried again"), "{why}");
        assert!(!ended.stderr.contains(UNUSABLE), "{ended}");
    }
    lab.assert_nothing_is_left();
    assert_eq!(lab.vexlab(&["cache", "prune"]).run().status, 0);
    note(&run(), UNUSABLE);
}

/// What sleeps in such a machine would never end. Here it is the program that has no end, not the timer.
fn one_in_which_nothing_wakes(context: &Context) {
    let lab = Lab::new(context);
    let tools = lab.cache.join("vexlab/tools");
    fs::remove_file(&tools).expect("the link to the shared tools");
    let busybox = tools.join("busybox-1");
    fs::create_dir_all(&busybox).expect("a folder for tools");
    fs::write(busybox.join("applets"), "sh\nsleep\ntrue\n").expect("the names can be written");
    let source = context.dir().join("busybox.c");
    let text = "#include <string.h>\n#include <unistd.h>\n\
        int main(int argc, char **argv) { if (strstr(argv[0], \"sleep\")) for (;;) pause(); return 0; }\n";
    fs::write(&source, text).expect("a source can be written");
    let compiled = context.program(Path::new("gcc")).args(["-static", "-o"]).arg(busybox.join("busybox"));
    let ended = compiled.arg(&source).run();
    assert_eq!(ended.status, 0, "{ended}");

    let run = ["run", "--accel", "tcg", "--no-module", "--kernel", KERNEL, "--", "true"];
    let ended = lab.vexlab(&run).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert_eq!(note(&ended, NOT_SAVED), "no answer within 10 s");
    assert!(lab.states().is_empty(), "it is not saved");
    lab.assert_nothing_is_left();
}

/// The first ones make it at once, the others use it at once; each has a file system and random numbers of
/// its own.
fn several_at_once(context: &Context) {
    let lab = Lab::new(context);
    let script = "test ! -e /tmp/mark && touch /tmp/mark && sleep 1 && od -An -tx8 -N32 /dev/urandom";
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let running: Vec<_> = (0..3).map(|_| lab.script(script).start()).collect();
        for running in running {
            let ended = running.wait();
            assert_eq!(ended.status, 0, "{ended}");
            assert!(!ended.stderr.contains(UNUSABLE) && !ended.stderr.contains(NOT_SAVED), "{ended}");
            numbers.push(ended.stdout);
        }
        lab.state();
        lab.assert_nothing_is_left();
    }
    for (index, number) in numbers.iter().enumerate() {
        assert_eq!(number.split_whitespace().count(), 4, "{number}");
        assert!(!numbers[..index].contains(number), "twice the same: {numbers:?}");
    }
}

/// One run leaves traces wherever it can: in memory, files, a disk, the kernel's log, its settings and its
/// modules. The next one looks for them there, and the state is the same, to the byte.
fn nothing_of_one_run_is_in_the_next(context: &Context) {
    let lab = Lab::new(context);
    let dir = context.case("good_c");
    let manifest = dir.join("vexlab.toml");
    let text = fs::read_to_string(&manifest).expect("the case has one");
    fs::write(&manifest, text + "\n[machine]\ndisks = [\"1M\"]\n").expect("the copy can be written");
    let run = |script: &str| {
        let ended = lab.vexlab(&["run", "--accel", "tcg", "--", "sh", "-c", script]).dir(&dir).run();
        assert_eq!(ended.status, 0, "{ended}");
        assert!(!ended.stderr.contains(UNUSABLE), "{ended}");
        ended
    };
    run("true");
    let digest = || {
        let files = ["memory", "devices"].map(|file| lab.state().join(file));
        context.program(Path::new("sha256sum")).args(files).run().stdout
    };
    let before = digest();
    assert_eq!(before.lines().count(), 2, "{before}");
    run("set -e
        yes left-behind-by-a-run | head -c 33554432 > /tmp/traces
        echo left-behind-by-a-run > /root/trace
        echo left-behind-by-a-run | dd of=/dev/vda conv=fsync
        echo left-behind-by-a-run > /dev/kmsg
        hostname left-behind-by-a-run
        echo 7 > /proc/sys/vm/swappiness
        echo 1 > /proc/sys/kernel/panic_on_oops
        echo left-behind-by-a-run > /proc/sys/kernel/core_pattern
        mkdir /mnt/trace && mount -t tmpfs trace /mnt/trace
        grep -q '^good_c ' /proc/modules
        sleep 1000 &");
    assert_eq!(digest(), before, "the state has changed");
    let looked = run("
        ls -A /tmp; ls -A /root
        grep -c left-behind-by-a-run /dev/vda
        dmesg | grep left-behind-by-a-run
        hostname | grep left
        test $(cat /proc/sys/vm/swappiness) != 7 || echo swappiness
        cat /proc/sys/kernel/core_pattern
        grep trace /proc/mounts
        ps | grep 'sleep 100[0]'
        rmmod good_c && grep good_c /proc/modules
        echo looked");
    assert_eq!(looked.stdout, "0\ncore\nlooked\n", "{looked}");
    // Freed pages are still pages: what the machine has of memory is in a file of its own.
    let found = context.program(Path::new("grep")).args(["-c", "left-behind-by-a-run"]);
    let found = found.args([lab.state().join("memory")]).run();
    assert_eq!(found.stdout, "0\n", "{found}");
    lab.assert_nothing_is_left();
}

fn the_time_is_right(context: &Context) {
    let lab = Lab::new(context);
    lab.output("true");
    std::thread::sleep(Duration::from_secs(3));
    let before = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    let there: u64 = lab.output("date +%s").trim().parse().expect("a number of seconds");
    let after = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970").as_secs();
    assert!((before - 1..=after + 1).contains(&there), "{before} <= {there} <= {after}");
}

fn pruned(context: &Context) {
    let lab = Lab::new(context);
    lab.output("true");
    let cache = |arguments: &[&str]| {
        let ended = lab.vexlab(&[&["cache"], arguments].concat()).run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    };
    assert_eq!(cache(&["prune", "--keep", "1G"]), "0 saved machines, 0 MB are removed\n");
    lab.state();
    let removed = cache(&["prune"]);
    assert!(removed.starts_with("debian-6.1-cloud ") && removed.contains("\n1 saved machine, "), "{removed}");
    assert!(lab.states().is_empty());
    assert_eq!(cache(&["show"]), "0 saved machines, 0 MB in all; at most 4295 MB are kept\n");
    lab.assert_nothing_is_left();
    let ended = lab.vexlab(&["cache", "prune", "--keep", "much"]).run();
    assert_eq!(ended.status, 2, "{ended}");
    assert!(ended.stderr.contains("`much` is no size; write it like \"256M\" or \"1G\""), "{ended}");
    lab.output("true");
}

/// A call on a file system of so many MiB, which is gone with it.
fn on_small_disk(lab: &Lab<'_>, size: u32, script: &str) -> Call {
    let cache = lab.cache.join("vexlab");
    let script = format!(
        "set -e
        mount -t tmpfs -o size={size}M none /mnt
        cp -a {}/. /mnt
        mount --bind /mnt {}
        {script}
        find {}/staging {}/states -mindepth 1 >&2",
        cache.display(),
        cache.display(),
        cache.display(),
        cache.display()
    );
    let program = lab.context.program(Path::new("unshare"));
    program
        .args(["-rm", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_vexlab")])
        .env("XDG_CACHE_HOME", &lab.cache)
}

fn no_space(context: &Context) {
    let lab = Lab::new(context);
    let script = format!(
        "\"$1\" run --accel tcg --no-module --kernel {KERNEL} -- echo here; mkdir -p /mnt/staging /mnt/states"
    );
    let ended = on_small_disk(&lab, 100, &script).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
    let why = note(&ended, NOT_SAVED);
    assert!(why.starts_with("no space for a saved machine: it takes 269 MB, and "), "{why}");
    let lines = ended.stderr.lines().filter(|line| !line.starts_with("booting "));
    assert_eq!(lines.count(), 1, "something is left: {ended}");
}

/// The machine's memory finds no place while it boots.
fn space_that_runs_out(context: &Context) {
    let lab = Lab::new(context);
    let real = real_qemu();
    let fill = "head -c 270M /dev/zero > /mnt/filled";
    let fake = format!(
        "#!/bin/sh\ncase \"$*\" in *share=on*) {fill};; *) rm -f /mnt/filled;; esac\nexec {} \"$@\"\n",
        real.display()
    );
    let path = path_with_fake_qemu(context, &fake);
    let script = format!(
        "\"$1\" run --accel tcg --no-module --kernel {KERNEL} -- echo here; mkdir -p /mnt/staging /mnt/states"
    );
    let ended = on_small_disk(&lab, 300, &script).env("PATH", path).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
    note(&ended, NOT_SAVED);
    let lines = ended.stderr.lines().filter(|line| !line.starts_with("booting "));
    assert_eq!(lines.count(), 1, "something is left: {ended}");
}
