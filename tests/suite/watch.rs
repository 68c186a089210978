// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Ended, Running};
use crate::command_line::{path_with_fake_qemu, real_qemu};
use crate::harness::{Context, KERNEL, machine, names_in, plain, processes_with};
use crate::interrupts::machines_of;
use crate::shell::Terminal;

const LIMIT: Duration = Duration::from_secs(240);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("watch::an_edit_gives_a_verdict", LIMIT, an_edit_gives_a_verdict),
        machine("watch::a_file_is_replaced", LIMIT, a_file_is_replaced),
        machine("watch::a_burst_is_one_run", LIMIT, a_burst_is_one_run),
        machine("watch::what_is_no_source", LIMIT, what_is_no_source),
        machine("watch::broken_and_mended", LIMIT, broken_and_mended),
        machine("watch::a_change_stops_a_run", LIMIT, a_change_stops_a_run),
        machine("watch::a_change_stops_a_build", LIMIT, a_change_stops_a_build),
        machine("watch::interrupted_while_waiting", LIMIT, interrupted_while_waiting),
        machine("watch::interrupted_while_compiling", LIMIT, interrupted_while_compiling),
        machine("watch::a_machine_is_kept", LIMIT, a_machine_is_kept),
        machine("watch::trouble_while_waiting", LIMIT, trouble_while_waiting),
        machine("watch::on_a_terminal", LIMIT, on_a_terminal),
        plain("watch::too_many_folders", LIMIT, too_many_folders),
        plain("watch::outside_a_project", LIMIT, outside_a_project),
    ]
}

/// A project that is watched, in a cache of its own.
struct Watched<'a> {
    context: &'a Context,
    dir: PathBuf,
    cache: PathBuf,
    running: Running,
}

impl<'a> Watched<'a> {
    fn start(context: &'a Context, dir: PathBuf) -> Self {
        let path = std::env::var("PATH").expect("there is a PATH");
        Self::start_with_path(context, dir, &path)
    }

    fn start_with_path(context: &'a Context, dir: PathBuf, path: &str) -> Self {
        let cache = context.own_cache();
        let running = context
            .vexlab(["test", "--watch"])
            .env("XDG_CACHE_HOME", &cache)
            .env("PATH", path)
            .dir(&dir)
            .start();
        Self { context, dir, cache, running }
    }

    /// Changes a file of the project by writing to it.
    fn edit(&self, file: &str, from: &str, to: &str) {
        edit(&self.dir.join(file), from, to);
    }

    /// Waits until it has told something on standard error this many times.
    fn has_told(&self, text: &str, times: usize) {
        self.context.wait_until(&format!("{text:?} is told {times} times"), LIMIT, || {
            self.running.stderr().matches(text).count() >= times
        });
    }

    /// Waits until it waits, with these marks, the newest verdict's name behind them.
    fn has_verdict(&self, verdict: &str) {
        self.context.wait_until(&format!("the verdict is {verdict:?}"), LIMIT, || {
            verdicts(&self.running.stdout()).last().is_some_and(|last| last == verdict)
        });
        let times = verdicts(&self.running.stdout()).len();
        self.context.wait_until("it waits", LIMIT, || {
            let text = self.running.stderr();
            text.lines().filter(|line| line.starts_with("waiting for changes")).count() >= times
        });
    }

    /// Interrupts it as Ctrl-C does. Nothing may be left of it but the records of the runs that came to their end.
    fn interrupt(self, records: usize) -> Ended {
        self.running.signal(Signal::INT);
        let ended = self.running.wait();
        assert_eq!(ended.status, 130, "{ended}");
        assert!(ended.stderr.ends_with("error: interrupted\n"), "{ended}");
        let dir = self.context.dir().display().to_string();
        assert_eq!(processes_with(&dir), [], "processes are left");
        assert_eq!(names_in(&self.cache.join("vexlab/runs")).len(), records, "{ended}");
        assert_eq!(names_in(&self.cache.join("vexlab/staging")), [""; 0]);
        ended
    }
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("a source can be read");
    assert!(text.contains(from), "{} has {from:?}", file.display());
    fs::write(file, text.replace(from, to)).expect("a source can be written");
}

/// The lines with marks, without their times of day.
fn verdicts(stdout: &str) -> Vec<String> {
    let time_of_day = |text: &str| {
        text.len() == 8 && text.split(':').all(|part| part.len() == 2 && part.parse::<u8>().is_ok())
    };
    let lines = stdout.lines().filter_map(|line| line.rsplit_once(" at "));
    lines.filter(|(_, time)| time_of_day(time)).map(|(marks, _)| marks.to_owned()).collect()
}

/// What was said to have changed.
fn changed(ended: &Ended) -> Vec<&str> {
    ended.stderr.lines().filter_map(|line| line.strip_suffix(" changed")).collect()
}

const PASSES: &str = "\treturn 0;";
const FAILS: &str = "\treturn -ENODEV;";

fn an_edit_gives_a_verdict(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    watched.edit("good_c.c", PASSES, FAILS);
    watched.has_verdict("✓r refused-by-kernel");
    watched.edit("good_c.c", FAILS, PASSES);
    watched.has_verdict("✓r✓ passed");
    let ended = watched.interrupt(3);
    assert_eq!(changed(&ended), ["good_c.c", "good_c.c"]);
    assert_eq!(ended.stderr.matches("waiting for changes; good_c.c changed last\n").count(), 2, "{ended}");
    assert!(ended.stdout.contains("loading good_c.ko failed with errno 19"), "{ended}");
}

/// An editor writes another file, and gives it the name of the first.
fn a_file_is_replaced(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    for (verdict, from, to) in [("✓r refused-by-kernel", PASSES, FAILS), ("✓r✓ passed", FAILS, PASSES)]
    {
        let (file, other) = (watched.dir.join("good_c.c"), watched.dir.join("good_c.c~"));
        fs::copy(&file, &other).expect("a copy");
        edit(&other, from, to);
        fs::rename(&other, &file).expect("files can be renamed");
        watched.has_verdict(verdict);
    }
    let ended = watched.interrupt(3);
    assert_eq!(changed(&ended), ["good_c.c", "good_c.c"]);
}

/// A file in a folder that is new, and the one that includes it.
fn a_burst_is_one_run(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    fs::create_dir(watched.dir.join("include")).expect("a folder");
    fs::write(watched.dir.join("include/made.h"), "#define MADE 0\n").expect("a header");
    watched.edit("good_c.c", "return 0;", "return MADE;");
    watched.edit(
        "good_c.c",
        "#include <linux/module.h>",
        "#include <linux/module.h>\n#include \"include/made.h\"",
    );
    watched.has_verdict("✓✓ passed");
    watched.edit("include/made.h", "0", "-ENODEV");
    watched.has_verdict("✓✓r refused-by-kernel");
    let ended = watched.interrupt(3);
    assert_eq!(changed(&ended).last(), Some(&"include/made.h"), "{ended}");
}

fn what_is_no_source(context: &Context) {
    let dir = context.case("good_c");
    fs::create_dir_all(dir.join(".git")).expect("a folder");
    let watched = Watched::start(context, dir);
    watched.has_verdict("✓ passed");
    fs::create_dir(watched.dir.join("empty")).expect("a folder");
    for file in [".git/index", "target/notes", ".good_c.c.swp", "4913", "good_c.c~", "#good_c.c#", "empty/x~"]
    {
        fs::write(watched.dir.join(file), "void").expect("a file");
    }
    // Reading is none either.
    fs::read(watched.dir.join("good_c.c")).expect("a source");
    watched.edit("good_c.c", PASSES, FAILS);
    watched.has_verdict("✓r refused-by-kernel");
    assert_eq!(changed(&watched.interrupt(2)), ["good_c.c"]);
}

fn broken_and_mended(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    watched.edit("good_c.c", PASSES, "\treturn;");
    watched.has_verdict("✓b build-failed");
    watched.edit("good_c.c", "\treturn;", PASSES);
    watched.has_verdict("✓b✓ passed");
    let module = watched.dir.join(format!("target/vexlab/{KERNEL}-test/good_c.ko"));
    let built = || fs::metadata(&module).and_then(|file| file.modified()).expect("the module is there");
    let before = built();
    watched.edit("vexlab.toml", "name = \"good_c\"", "nam = \"good_c\"");
    watched.has_verdict("✓b✓? usage");
    watched.edit("vexlab.toml", "nam = \"good_c\"", "name = \"good_c\"");
    watched.has_verdict("✓b✓?✓ passed");
    watched.edit("vexlab.toml", "^good_c ", "^bad_c ");
    watched.has_verdict("✓b✓?✓✗ test-failed");
    assert_eq!(built(), before, "vexlab.toml is not compiled");
    let ended = watched.interrupt(5);
    assert!(
        ended.stderr.contains("vexlab.toml:4:1: unknown key `nam`\n  help: did you mean `name`?"),
        "{ended}"
    );
}

/// A test that takes very long is not waited for.
fn a_change_stops_a_run(context: &Context) {
    let dir = context.case("test_hangs");
    edit(&dir.join("vexlab.toml"), "timeout = 2", "timeout = 600");
    let watched = Watched::start(context, dir);
    context.wait_until("the module is loaded", LIMIT, || watched.running.stdout().contains("  ok   load"));
    watched.edit("vexlab.toml", "\"sleep\", \"600\"", "\"true\"");
    watched.has_verdict("✓ passed");
    assert_eq!(machines_of(&watched.cache).len(), 1, "the one that is kept, and none that was stopped");
    let ended = watched.interrupt(1);
    assert_eq!(changed(&ended), ["vexlab.toml"]);
}

/// A project whose build takes forever, once it has begun.
fn endless_build<'a>(context: &'a Context) -> Watched<'a> {
    let dir = context.case("good_c");
    let begun = context.dir().join("begun");
    let kbuild = format!("obj-m := good_c.o\n$(shell touch {}; sleep 600)\n", begun.display());
    fs::write(dir.join("Kbuild"), kbuild).expect("the copy can be written");
    let watched = Watched::start(context, dir);
    context.wait_until("the build has begun", LIMIT, || begun.exists());
    watched
}

fn a_change_stops_a_build(context: &Context) {
    let watched = endless_build(context);
    fs::write(watched.dir.join("Kbuild"), "obj-m := good_c.o\n").expect("the copy can be written");
    watched.has_verdict("✓ passed");
    assert_eq!(processes_with(&context.dir().join("begun").display().to_string()), [], "the build's shell");
    let ended = watched.interrupt(1);
    assert_eq!(changed(&ended), ["Kbuild"]);
}

fn interrupted_while_waiting(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    assert_eq!(machines_of(&watched.cache).len(), 1, "there is something to be left behind");
    assert_eq!(names_in(&watched.cache.join("vexlab/runs")).len(), 2, "the record, and what is kept");
    watched.interrupt(1);
}

fn interrupted_while_compiling(context: &Context) {
    let ended = endless_build(context).interrupt(0);
    assert_eq!(verdicts(&ended.stdout), [""; 0], "{ended}");
}

/// The lines that say how long the phases took.
fn phases(watched: &Watched<'_>) -> Vec<String> {
    let text = watched.running.stdout();
    text.lines().filter(|line| line.contains(" s in all: ")).map(str::to_owned).collect()
}

/// A run takes the machine that waits, if it is what the run needs, and as good as new.
fn a_machine_is_kept(context: &Context) {
    let watched = Watched::start(context, context.case("good_c"));
    watched.has_verdict("✓ passed");
    watched.edit("good_c.c", "Nothing is wrong", "Nothing at all is wrong");
    watched.has_verdict("✓✓ passed");
    assert!(!phases(&watched)[1].contains("restore"), "{:?}", phases(&watched));

    watched.edit("vexlab.toml", "[[test]]", "[machine]\nmemory = \"192M\"\n\n[[test]]");
    watched.has_verdict("✓✓✓ passed");
    assert!(phases(&watched)[2].contains("boot"), "another machine: {:?}", phases(&watched));

    let [(number, _)] = &machines_of(&watched.cache)[..] else { panic!("one machine is kept") };
    let process = Pid::from_raw(*number).expect("a process has a number");
    kill_process(process, Signal::KILL).expect("the machine can be killed");
    watched.edit("good_c.c", "at all ", "");
    watched.has_verdict("✓✓✓✓ passed");
    assert!(phases(&watched)[3].contains("restore"), "{:?}", phases(&watched));
    watched
        .has_told("the machine that was kept for debian-6.1-cloud is of no use, so another is started: ", 1);
    let ended = watched.interrupt(4);
    assert!(!ended.stderr.contains("the saved machine"), "the state is as good as before: {ended}");
}

/// What a kernel complains of while nothing is asked of it is not the fault of the next run's module.
fn trouble_while_waiting(context: &Context) {
    let sign = context.dir().join("trouble");
    let fake = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && exec {0} --version\n\
         (until [ -e {1} ]; do sleep 0.1; done; echo 'BUG: kernel NULL pointer dereference' >&4) &\n\
         exec {0} \"$@\"\n",
        real_qemu().display(),
        sign.display()
    );
    let path = path_with_fake_qemu(context, &fake);
    let watched = Watched::start_with_path(context, context.case("good_c"), &path);
    watched.has_verdict("✓ passed");
    fs::write(&sign, "").expect("a file");
    let runs = watched.cache.join("vexlab/runs");
    context.wait_until("the kernel complains", LIMIT, || {
        let mut consoles = names_in(&runs).into_iter().map(|run| runs.join(run).join("console.log"));
        consoles.any(|log| fs::read_to_string(log).is_ok_and(|text| text.contains("BUG:")))
    });
    fs::remove_file(&sign).expect("it is there");
    watched.edit("good_c.c", "Nothing is", "Still nothing is");
    watched.has_verdict("✓✓ passed");
    watched.has_told("its kernel reported trouble while it waited: NULL pointer dereference", 1);
    watched.interrupt(2);
}

/// Each run begins on an empty screen, and what was there can be scrolled back to.
fn on_a_terminal(context: &Context) {
    let dir = context.case("good_c");
    let mut terminal = Terminal::around(context, &["test", "--watch"], &dir);
    terminal.shows(context, "waiting for changes\r\n");
    assert!(!terminal.screen().contains("\x1b[H"), "{:?}", terminal.screen());
    edit(&dir.join("good_c.c"), PASSES, FAILS);
    terminal.shows(context, "waiting for changes; good_c.c changed last");
    let screen = terminal.screen();
    assert!(screen.contains("\x1b[33;1H\r\n"), "{screen:?}");
    assert!(screen.contains("\r\n\x1b[Hgood_c.c changed\r\n"), "{screen:?}");
    assert!(!screen.contains("\x1b[2J") && !screen.contains("\x1b[3J"), "nothing is cleared: {screen:?}");
    assert_eq!(terminal.leaves(context, "\x03"), Some(130));
}

/// The kernel's limits, for this one call.
fn with_limit(context: &Context, limit: &str) -> Ended {
    let script = format!("echo 0 > /proc/sys/user/{limit} && exec \"$@\"");
    let call = context.program("unshare".as_ref());
    let call =
        call.args(["--user", "--map-root-user", "sh", "-c", &script, "sh", env!("CARGO_BIN_EXE_vexlab")]);
    let ended = call.args(["test", "--watch"]).dir(&context.dir().join("good_c")).run();
    assert!(!ended.stderr.contains("unshare:"), "this test needs user namespaces; {ended}");
    ended
}

fn too_many_folders(context: &Context) {
    context.case("good_c");
    insta::assert_snapshot!(with_limit(context, "max_inotify_watches").told(), @r"
    status 20
    error: the folder [DIR]/good_c can't be watched
      cause: this user watches as many files and folders as fs.inotify.max_user_watches allows
      help: raise it, as root: sysctl fs.inotify.max_user_watches=1048576
    ");
    insta::assert_snapshot!(with_limit(context, "max_inotify_instances").told(), @r"
    status 20
    error: the sources can't be watched
      cause: this user has as many watchers as fs.inotify.max_user_instances allows
      help: raise it, as root: sysctl fs.inotify.max_user_instances=1024
    ");
}

/// What was never a project is not waited for.
fn outside_a_project(context: &Context) {
    let ended = context.vexlab(["test", "--watch"]).run();
    assert_eq!(ended.status, 2, "{ended}");
    assert!(ended.stderr.contains("is not in a project"), "{ended}");
}
