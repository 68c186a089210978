// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};

use crate::call::{Call, Ended, Running};
use crate::command_line::path_without_qemu;
use crate::harness::{Context, KERNEL, USUAL, machine, names_in, plain, processes_with};

/// How soon something must be over that was told to stop.
pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("environment::what_is_not_there", USUAL, what_is_not_there),
        machine("environment::no_emulator", USUAL, no_emulator),
        machine("environment::from_up_to_rm", USUAL, from_up_to_rm),
        machine("environment::of_a_project", USUAL, of_a_project),
        machine("environment::a_folder_is_shown", USUAL, a_folder_is_shown),
        machine("environment::this_hosts_tools", USUAL, this_hosts_tools),
        machine("environment::two_at_once", USUAL, two_at_once),
        machine("environment::interrupted_while_starting", USUAL, interrupted_while_starting),
        machine("environment::no_space_left", USUAL, no_space_left),
        machine("environment::panics", USUAL, panics),
        machine("environment::keeper_killed", USUAL, keeper_killed),
        machine("environment::keeper_hangs", USUAL, keeper_hangs),
        machine("environment::restarts", USUAL, restarts),
        machine("environment::logs_are_followed", USUAL, logs_are_followed),
    ]
}

/// The machines of a test.
pub(crate) struct Machines<'a> {
    context: &'a Context,
    pub(crate) cache: PathBuf,
}

impl<'a> Machines<'a> {
    fn of(context: &'a Context) -> Self {
        Self { context, cache: context.own_machines() }
    }

    pub(crate) fn call(&self, arguments: &[&str]) -> Call {
        self.context.vexlab(arguments).env("XDG_CACHE_HOME", &self.cache)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.call(arguments).run()
    }

    fn up(&self, name: &str) {
        let ended = self.run(&["up", name, "--kernel", KERNEL]);
        assert_eq!(ended.status, 0, "{ended}");
    }

    /// With a machine called `x`.
    pub(crate) fn with_one(context: &'a Context) -> Self {
        let machines = Self::of(context);
        machines.up("x");
        machines
    }

    /// What a command prints in the machine `x`, where it succeeds.
    pub(crate) fn prints(&self, command: &[&str]) -> String {
        let ended = self.exec(command).run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    }

    pub(crate) fn exec(&self, command: &[&str]) -> Call {
        self.call(&["exec", "x", "--"]).args(command)
    }

    fn folder(&self) -> PathBuf {
        self.cache.join("vexlab/machines")
    }

    /// What the record of the machine `x` says.
    fn record(&self) -> String {
        fs::read_to_string(self.folder().join("x/record.json")).unwrap_or_default()
    }

    /// The process that keeps the machine `x`.
    pub(crate) fn keeper(&self) -> Pid {
        let record = self.record();
        let number = record.split("\"process\": ").nth(1).and_then(|rest| rest.split(',').next());
        let number = number.and_then(|number| number.trim().parse().ok());
        number.and_then(Pid::from_raw).unwrap_or_else(|| panic!("a keeper in {record}"))
    }

    fn processes(&self) -> Vec<(i32, String)> {
        processes_with(&self.cache.display().to_string())
    }

    /// Waits until nothing runs of any machine.
    fn wait_for_the_end(&self) {
        self.context.wait_until("nothing runs any more", SOON, || self.processes().is_empty());
    }
}

fn what_is_not_there(context: &Context) {
    let machines = Machines { context, cache: context.empty_cache() };
    let told = |arguments: &[&str]| machines.run(arguments).told();
    insta::assert_snapshot!(told(&["ps"]), @r"
    status 0
    there is no machine; `vexlab up` starts one
    ");
    insta::assert_snapshot!(told(&["exec", "x", "--", "true"]), @r"
    status 2
    error: there is no machine called x
      help: `vexlab up x` starts one; `vexlab ps` lists those that are there
    ");
    for command in [&["shell", "x"][..], &["logs", "x"], &["stop", "x"], &["restart", "x"], &["rm", "x"]] {
        assert_eq!(told(command), told(&["exec", "x", "--", "true"]), "{command:?}");
    }
    insta::assert_snapshot!(told(&["up", "../x"]), @r"
    status 2
    error: `../x` is no name for a machine
      help: a name has letters, digits, `.`, `_` and `-`, begins with a letter or a digit, and has at most 64 of them
    ");
    insta::assert_snapshot!(told(&["up", "--kernel", "debian-6.1-clod"]), @r"
    status 2
    error: there is no kernel called debian-6.1-clod
      help: did you mean debian-6.1-cloud? known are: debian-6.1, debian-6.1-cloud, debian-6.12, debian-6.12-cloud, host; a path names a build tree
    ");
    insta::assert_snapshot!(told(&["shell", "x", "--no-module"]), @r"
    status 2
    error: the argument '[NAME]' cannot be used with '--no-module'

    Usage: vexlab shell <NAME>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["cp", "a", "b"]), @r"
    status 2
    error: neither of the two is in a machine
      help: write NAME:PATH for one; `vexlab ps` lists the names
    ");
    insta::assert_snapshot!(told(&["cp", "x:a", "y:b"]), @r"
    status 2
    error: both of the two are in a machine
      help: copy to a path here first
    ");
    insta::assert_snapshot!(told(&["cp", "missing", "x:/"]), @r"
    status 2
    error: there is no missing here
    ");
    insta::assert_snapshot!(told(&["keep", "x"]), @r"
    status 2
    error: nobody says here what machine to keep
      help: start one by `vexlab up`
    ");
    assert_eq!(names_in(&machines.folder()), [""; 0]);
}

/// What keeps a machine from starting is told as it would be in the foreground, and nothing is left.
fn no_emulator(context: &Context) {
    let machines = Machines::of(context);
    let path = path_without_qemu(context);
    let ended = machines.call(&["up", "x", "--kernel", KERNEL]).env("PATH", path).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    error: qemu-system-x86_64 is not installed
      help: apt-get install --no-install-recommends qemu-system-x86
    ");
    assert_eq!(names_in(&machines.folder()), [""; 0]);
    machines.wait_for_the_end();
}

/// The whole life of a machine, in a cache whose name is longer than a socket's may be.
fn from_up_to_rm(context: &Context) {
    let shared = context.own_machines();
    let deep = context.dir().join("d".repeat(100)).join("e".repeat(100));
    fs::create_dir_all(&deep).expect("a deep folder");
    fs::rename(shared.join("vexlab"), deep.join("vexlab")).expect("a cache can be moved");
    let machines = Machines { context, cache: deep };
    let told = |arguments: &[&str]| machines.run(arguments).told();

    insta::assert_snapshot!(told(&["up", "x", "--kernel", KERNEL, "--accel", "tcg"]), @r"
    status 0
    x is up: debian-6.1-cloud (tcg), [TIME] s
      vexlab shell x
      vexlab exec x -- COMMAND
      vexlab stop x
    ");
    let (keeper, started) = (machines.keeper(), machines.prints(&["cat", "/proc/sys/kernel/random/boot_id"]));
    assert_eq!(machines.prints(&["cat", "/proc/sys/kernel/random/boot_id"]), started, "it is one machine");
    let listed = machines.run(&["ps"]);
    let line = listed.stdout.lines().nth(1).unwrap_or_default();
    assert!(line.starts_with("x     debian-6.1-cloud    tcg    running   "), "{listed}");
    insta::assert_snapshot!(told(&["up", "x"]), @r"
    status 2
    error: the machine x is running already; its keeper is process [PID]
      help: `vexlab exec x -- COMMAND` uses it, `vexlab stop x` stops it
    ");
    insta::assert_snapshot!(told(&["rm", "x"]), @r"
    status 2
    error: the machine x is running
      help: `vexlab stop x` first, or `vexlab rm --force x`
    ");
    insta::assert_snapshot!(told(&["exec", "xx", "--", "true"]), @r"
    status 2
    error: there is no machine called xx
      help: did you mean x? `vexlab ps` lists them
    ");
    insta::assert_snapshot!(told(&["ssh", "x"]), @r"
    status 2
    error: the machine x has no ssh server: it is a tiny one
      help: `vexlab shell x` opens a shell in it, `vexlab exec x -- COMMAND` runs a command, `vexlab cp` copies files
    ");
    assert_eq!(told(&["ssh-config", "x"]), told(&["ssh", "x"]));
    // It is in a session of its own, without a terminal: no Ctrl-C of ours gets there.
    let stat = fs::read_to_string(format!("/proc/{}/stat", keeper.as_raw_pid())).expect("the keeper runs");
    let fields: Vec<_> = stat.rsplit_once(')').expect("a name").1.split_whitespace().collect();
    assert_eq!((fields[3], fields[4]), (keeper.as_raw_pid().to_string().as_str(), "0"), "session, terminal");

    machines.prints(&["sh", "-c", "echo last words > /dev/kmsg"]);
    insta::assert_snapshot!(told(&["stop", "x"]), @r"
    status 0
    x is stopped; `vexlab up x` starts it anew, `vexlab rm x` removes it
    ");
    machines.wait_for_the_end();
    insta::assert_snapshot!(told(&["stop", "x"]), @r"
    status 2
    error: the machine x is stopped
      help: `vexlab up x` starts it
    ");
    insta::assert_snapshot!(told(&["exec", "x", "--", "true"]), @r"
    status 2
    error: the machine x is stopped
      help: `vexlab up x` starts it
    ");
    let logs = machines.run(&["logs", "x"]);
    assert!(logs.status == 0 && logs.stdout.contains("last words"), "{logs}");
    let listed = machines.run(&["ps"]);
    assert!(listed.stdout.contains(" stopped "), "{listed}");

    insta::assert_snapshot!(told(&["up", "x"]), @r"
    status 0
    x is up: debian-6.1-cloud (tcg), [TIME] s
      vexlab shell x
      vexlab exec x -- COMMAND
      vexlab stop x
    ");
    assert!(!machines.run(&["logs", "x"]).stdout.contains("last words"), "it is another start");
    insta::assert_snapshot!(told(&["rm", "--force", "x"]), @r"
    status 0
    x is removed
    ");
    machines.wait_for_the_end();
    assert_eq!(names_in(&machines.folder()), [""; 0]);
}

/// The project's kernel, disks and name; fresh disks each time.
fn of_a_project(context: &Context) {
    let machines = Machines::of(context);
    let dir = context.case("disks");
    let up = || {
        let ended = machines.call(&["up"]).dir(&dir).run();
        assert!(ended.status == 0 && ended.stdout.starts_with("disks is up: "), "{ended}");
    };
    let on_disk = |script: &str| {
        let ended = machines.run(&["exec", "disks", "--", "sh", "-c", script]);
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    };
    up();
    let listed = machines.run(&["ps"]);
    assert!(
        listed.stdout.lines().nth(1).is_some_and(|line| line.ends_with(&dir.display().to_string())),
        "{listed}"
    );
    on_disk("echo mark > /dev/vda");
    assert_eq!(on_disk("head -c 4 /dev/vda"), "mark");
    assert_eq!(machines.run(&["stop", "disks"]).status, 0);
    let left = names_in(&machines.folder().join("disks"));
    assert!(!left.iter().any(|name| name.starts_with("disk") || name == "socket"), "{left:?}");
    up();
    assert_ne!(on_disk("head -c 4 /dev/vda"), "mark");
    assert_eq!(machines.run(&["rm", "-f", "disks"]).status, 0);
}

/// One wins, and the other says so.
/// Whoever changes a file here sees it there at once, after a restart as well, and not the reverse unless told so.
fn a_folder_is_shown(context: &Context) {
    let machines = Machines::of(context);
    let folder = context.dir().join("shown");
    fs::create_dir(&folder).expect("a folder");
    let up = |more: &[&str]| {
        let shown = folder.display().to_string();
        let ended = machines.call(&["up", "x", "--kernel", KERNEL, "--src", &shown]).args(more).run();
        assert_eq!(ended.status, 0, "{ended}");
    };
    up(&[]);
    fs::write(folder.join("a"), "first").expect("a file");
    assert_eq!(machines.prints(&["sh", "-c", "pwd; cat a"]), "/src\nfirst");
    fs::write(folder.join("a"), "second, and longer").expect("a file");
    assert_eq!(machines.prints(&["cat", "/src/a"]), "second, and longer");
    let refused = machines.exec(&["sh", "-c", "echo no > /src/a"]).run();
    assert!(refused.stderr.contains("Read-only file system"), "{refused}");
    assert_eq!(machines.run(&["restart", "x"]).status, 0);
    assert_eq!(machines.prints(&["cat", "/src/a"]), "second, and longer");
    assert_eq!(machines.run(&["stop", "x"]).status, 0);
    insta::assert_snapshot!(machines.run(&["up", "x", "--image", "debian-12"]).told(), @"
    status 2
    error: the machine x is a tiny one, and can't be given an image
      help: `vexlab rm x` removes it, or choose another name
    ");
    up(&["--rw"]);
    machines.prints(&["sh", "-c", "printf third > /src/a"]);
    assert_eq!(fs::read_to_string(folder.join("a")).expect("the file"), "third");

    let told = |arguments: &[&str]| machines.run(arguments).told();
    insta::assert_snapshot!(told(&["up", "y", "--rw"]), @"
    status 2
    error: there is no folder to show, which --rw would let the machine change
      help: name one with --src=DIR, or go to a project's folder
    ");
    insta::assert_snapshot!(told(&["up", "y", "--src", "missing"]), @"
    status 2
    error: the folder missing can't be shown at /src
      cause: No such file or directory (os error 2)
    ");
    assert_eq!(machines.run(&["rm", "--force", "x"]).status, 0);
}

fn this_hosts_tools(context: &Context) {
    let machines = Machines::of(context);
    let ended = machines.run(&["up", "x", "--kernel", KERNEL, "--root", "host"]);
    assert_eq!(ended.status, 0, "{ended}");
    assert!(machines.prints(&["ldd", "--version"]).contains("GLIBC"));
    fs::write(context.dir().join("a"), "there and back").expect("a file");
    for (from, to) in [("a", "x:/tmp/b"), ("x:/tmp/b", "c")] {
        let ended = machines.run(&["cp", from, to]);
        assert_eq!(ended.status, 0, "{ended}");
    }
    assert_eq!(machines.prints(&["cat", "/tmp/b"]), "there and back");
    assert_eq!(fs::read_to_string(context.dir().join("c")).expect("the copy"), "there and back");
    assert_eq!(machines.run(&["rm", "--force", "x"]).status, 0);
}

fn two_at_once(context: &Context) {
    let machines = Machines::of(context);
    let start = || machines.call(&["up", "x", "--kernel", KERNEL]).start();
    let both = [start(), start()].map(Running::wait);
    let won = both.iter().filter(|ended| ended.status == 0).count();
    assert_eq!(won, 1, "{}\n{}", both[0], both[1]);
    let [lost] = both.iter().filter(|ended| ended.status != 0).collect::<Vec<_>>()[..] else { panic!("one") };
    assert!(lost.status == 2 && lost.stderr.contains("error: the machine x is "), "{lost}");
    assert!(lost.stderr.contains(" already; its keeper is process "), "{lost}");
    assert_eq!(machines.prints(&["echo", "here"]), "here\n");
    assert_eq!(machines.run(&["rm", "-f", "x"]).status, 0);
    machines.wait_for_the_end();
}

fn interrupted_while_starting(context: &Context) {
    let machines = Machines::of(context);
    let running = machines.call(&["up", "x", "--kernel", KERNEL, "--cold"]).start();
    context.wait_until("it is being started", SOON, || machines.record().contains("\"starting\""));
    running.signal(Signal::INT);
    let ended = running.wait();
    assert!(ended.status == 130 && ended.stderr.contains("error: interrupted"), "{ended}");
    machines.wait_for_the_end();
    assert_eq!(names_in(&machines.folder()), [""; 0]);
}

/// The machines' folders are on a file system without any space, which exists for this one call.
fn no_space_left(context: &Context) {
    let machines = Machines::of(context);
    fs::create_dir(machines.folder()).expect("a folder for machines");
    let script = "mount -t tmpfs -o size=4k tmpfs \"$1\" && echo full > \"$1/full\" && shift && exec \"$@\"";
    let ended = context
        .program("unshare".as_ref())
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(machines.folder())
        .args([env!("CARGO_BIN_EXE_vexlab"), "up", "x", "--kernel", KERNEL])
        .env("XDG_CACHE_HOME", &machines.cache)
        .run();
    let text = ended.told();
    assert!(
        text.starts_with("status 20\nerror: write ") && text.contains("/machines/x/record.json\n"),
        "{ended}"
    );
    assert!(text.contains("  cause: No space left on device"), "{ended}");
    assert!(text.ends_with("  help: make space on that file system, then run the command again"), "{ended}");
    machines.wait_for_the_end();
}

fn panics(context: &Context) {
    let machines = Machines::with_one(context);
    let waiting = machines.exec(&["sh", "-c", "echo begun; exec sleep 600"]).start();
    context.wait_until("a command runs", SOON, || waiting.stdout() == "begun\n");
    let killer = machines.exec(&["sh", "-c", "echo c > /proc/sysrq-trigger; sleep 600"]).run();
    insta::assert_snapshot!(killer.told(), @r"
    status 17
    error: the machine x has died meanwhile: Kernel panic - not syncing: sysrq triggered crash
      help: `vexlab logs x` shows its console, `vexlab up x` starts it anew
    ");
    assert_eq!(waiting.wait().status, 17);
    machines.wait_for_the_end();
    let listed = machines.run(&["ps"]);
    let lines: Vec<_> = listed.stdout.lines().map(str::trim_start).collect();
    assert!(lines[1].contains(" dead "), "{listed}");
    assert_eq!(lines[2], "Kernel panic - not syncing: sysrq triggered crash");
    assert!(lines[3].starts_with("last line: "), "{listed}");
    insta::assert_snapshot!(machines.run(&["exec", "x", "--", "true"]).told(), @r"
    status 2
    error: the machine x is dead: Kernel panic - not syncing: sysrq triggered crash
      help: `vexlab up x` starts it anew, `vexlab logs x` shows its console
    ");
    assert!(machines.run(&["logs", "x"]).stdout.contains("sysrq triggered crash"));
    // One that is dead is started by either.
    assert_eq!(machines.run(&["restart", "x"]).status, 0);
    assert_eq!(machines.prints(&["echo", "here"]), "here\n");
    machines.exec(&["poweroff", "-f"]).run();
    machines.wait_for_the_end();
    let listed = machines.run(&["ps"]);
    assert!(listed.stdout.contains("it was powered off, or its QEMU ended"), "{listed}");
    machines.up("x");
    assert_eq!(machines.run(&["rm", "-f", "x"]).status, 0);
}

/// Nothing outlives a keeper that can't clean up, and what it left behind is put right.
fn keeper_killed(context: &Context) {
    let machines = Machines::with_one(context);
    let waiting = machines.exec(&["sh", "-c", "echo begun; exec sleep 600"]).start();
    context.wait_until("a command runs", SOON, || waiting.stdout() == "begun\n");
    assert!(machines.processes().len() > 1, "there is something to be left behind");
    kill_process(machines.keeper(), Signal::KILL).expect("the keeper runs");
    insta::assert_snapshot!(waiting.wait().told().replace("begun\n", ""), @r"
    status 17
    error: the machine x has died meanwhile: its keeper, process [PID], was killed, and the machine with it
      help: `vexlab logs x` shows its console, `vexlab up x` starts it anew
    ");
    machines.wait_for_the_end();
    assert!(machines.record().contains("\"dead\""), "it was put right by the first who looked");
    let listed = machines.run(&["ps"]);
    assert!(listed.stdout.contains("was killed, and the machine with it"), "{listed}");
    assert!(!machines.folder().join("x/socket").exists());
    machines.up("x");
    fs::remove_dir_all(machines.folder()).expect("a cache can be deleted");
    machines.wait_for_the_end();
    machines.up("x");
    kill_process(machines.keeper(), Signal::KILL).expect("the keeper runs");
    machines.wait_for_the_end();
    assert_eq!(machines.run(&["rm", "x"]).status, 0);
    assert_eq!(names_in(&machines.folder()), [""; 0]);
}

/// A keeper that does not listen keeps nobody waiting for ever, and can be got rid of.
fn keeper_hangs(context: &Context) {
    let machines = Machines::with_one(context);
    kill_process(machines.keeper(), Signal::STOP).expect("the keeper runs");
    insta::assert_snapshot!(machines.run(&["exec", "x", "--", "true"]).told(), @r"
    status 20
    error: the machine x does not answer
      cause: its keeper says nothing
      help: `vexlab stop x` ends it
    ");
    assert_eq!(machines.run(&["rm", "--force", "x"]).status, 0);
    machines.wait_for_the_end();
    assert_eq!(names_in(&machines.folder()), [""; 0]);
}

/// Nothing of what was done in it is left; its console goes on.
fn restarts(context: &Context) {
    let machines = Machines::with_one(context);
    let keeper = machines.keeper();
    machines.prints(&["sh", "-c", "touch /tmp/mark; echo the first > /dev/kmsg"]);
    let waiting = machines.exec(&["sh", "-c", "echo begun; exec sleep 600"]).start();
    context.wait_until("a command runs", SOON, || waiting.stdout() == "begun\n");
    let restarted = machines.run(&["restart", "x"]);
    assert!(restarted.status == 0 && restarted.stdout.starts_with("x is up: "), "{restarted}");
    let ended = waiting.wait();
    assert!(
        ended.status == 17 && ended.stderr.contains("the machine x was started anew meanwhile"),
        "{ended}"
    );
    assert_eq!(machines.prints(&["sh", "-c", "ls /tmp; echo the second > /dev/kmsg"]), "");
    assert_eq!(machines.keeper(), keeper);
    assert_eq!(machines.run(&["stop", "x"]).status, 0);
    let logs = machines.run(&["logs", "x"]).stdout;
    assert!(logs.contains("the first") && logs.contains("the second"), "{logs}");
}

fn logs_are_followed(context: &Context) {
    let machines = Machines::with_one(context);
    let following = machines.call(&["logs", "-f", "x"]).start();
    for word in ["one", "two"] {
        machines.prints(&["sh", "-c", &format!("echo line {word} > /dev/kmsg")]);
        context.wait_until("it is shown", SOON, || following.stdout().contains(&format!("line {word}")));
    }
    let interrupted = machines.call(&["logs", "-f", "x"]).start();
    context.wait_until("it is shown", SOON, || interrupted.stdout().contains("line two"));
    interrupted.signal(Signal::INT);
    let ended = interrupted.wait();
    assert_eq!((ended.status, ended.stderr.as_str()), (130, ""));
    assert_eq!(machines.run(&["stop", "x"]).status, 0);
    assert_eq!(following.wait().status, 0, "it ends with the machine");
}
