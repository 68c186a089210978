// SPDX-License-Identifier: GPL-2.0-only
use std::fs;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::environment::{Machines, SOON};
use crate::harness::{Context, USUAL, machine};
use crate::shell::Terminal;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("exec::status_and_streams", USUAL, status_and_streams),
        machine("exec::eight_at_once", USUAL, eight_at_once),
        machine("exec::much_at_once", USUAL * 2, much_at_once),
        machine("exec::nobody_reads", USUAL, nobody_reads),
        machine("exec::clients_that_go", USUAL, clients_that_go),
        machine("exec::slow_client", USUAL, slow_client),
        machine("exec::on_a_terminal", USUAL, on_a_terminal),
    ]
}

fn status_and_streams(context: &Context) {
    let machines = Machines::with_one(context);
    let ended = machines.exec(&["sh", "-c", "echo to stdout; echo to stderr >&2; exit 255"]).run();
    let told = (ended.status, ended.stdout.as_str(), ended.stderr.as_str());
    assert_eq!(told, (255, "to stdout\n", "to stderr\n"));
    let ended = machines.exec(&["sh", "-c", "kill -TERM $$"]).run();
    assert_eq!(ended.status, 128 + 15, "{ended}");
    let ended = machines.exec(&["no-such-program"]).run();
    assert_eq!(ended.status, 127, "{ended}");
    assert_eq!(ended.stderr, "run no-such-program: errno 2 (No such file or directory)\n");
    let ended = machines.exec(&["/etc/passwd"]).run();
    assert_eq!(ended.status, 126, "{ended}");
    let ended = machines.exec(&["sh", "-c", "tty; cat"]).input(b"hi\n").run();
    assert_eq!(ended.stdout, "not a tty\nhi\n", "{ended}");
    let ended = machines.call(&["shell", "x"]).input(b"echo he\"\"re\nexit 4\n").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (4, "here\n"), "{ended}");
    let ended = machines.call(&["exec", "--terminal", "x", "--", "true"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: there is no terminal to give to the command
      help: leave --terminal away where standard input or output is none
    ");
}

fn eight_at_once(context: &Context) {
    let machines = Machines::with_one(context);
    let start = |number: usize| {
        let script = format!("read word; sleep 1; echo {number} $word; exit {number}");
        let mut running = machines.exec(&["sh", "-c", &script]).start();
        running.write(format!("word{number}\n").as_bytes());
        running
    };
    let all: Vec<_> = (0..8).map(start).collect();
    for (number, running) in all.into_iter().enumerate() {
        let ended = running.wait();
        let told = (ended.status, ended.stdout.as_str());
        assert_eq!(told, (number as i32, format!("{number} word{number}\n").as_str()), "{ended}");
    }
}

/// A hundred megabytes there and back again hold up nobody else.
fn much_at_once(context: &Context) {
    let machines = Machines::with_one(context);
    let shell = |script: &str| {
        let call = context.program("sh".as_ref()).args(["-c", script, env!("CARGO_BIN_EXE_vexlab")]);
        call.env("XDG_CACHE_HOME", &machines.cache).start()
    };
    let sum = shell("head -c 100000000 /dev/zero | sha256sum").wait();
    let mut others = shell(r#"head -c 100000000 /dev/zero | "$0" exec x -- cat | sha256sum"#);
    let mut answers = 0;
    while others.runs() {
        assert_eq!(machines.prints(&["echo", "quick"]), "quick\n");
        answers += usize::from(others.runs());
    }
    assert!(answers > 0, "no answer meanwhile");
    assert_eq!(others.wait().stdout, sum.stdout);
}

/// A program whose output nobody reads ends, as it would here.
fn nobody_reads(context: &Context) {
    let machines = Machines::with_one(context);
    let script = r#""$0" exec x -- yes | head -n 2"#;
    let call = context.program("sh".as_ref()).args(["-c", script, env!("CARGO_BIN_EXE_vexlab")]);
    let ended = call.env("XDG_CACHE_HOME", &machines.cache).run();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("y\ny\n", ""), "{ended}");
    context.wait_until("it has ended", SOON, || machines.exec(&["pidof", "yes"]).run().status == 1);
}

/// What a client has left running ends with it, whether it listens or not. A signal is the program's first.
fn clients_that_go(context: &Context) {
    let machines = Machines::with_one(context);
    let deaf = machines.exec(&["sh", "-c", "trap '' HUP; echo begun; while :; do sleep 1; done"]).start();
    let listening = machines.exec(&["sh", "-c", "echo begun; exec sleep 600"]).start();
    for running in [deaf, listening] {
        context.wait_until("a command runs", SOON, || running.stdout() == "begun\n");
        running.signal(Signal::KILL);
        assert_eq!(running.wait().status, 128 + 9);
    }
    let left = || machines.exec(&["pidof", "sleep"]).run().status;
    context.wait_until("both have ended", SOON, || left() == 1);

    let trap = "trap 'echo caught; exit 5' INT; echo begun; while :; do sleep 0.1; done";
    let polite = machines.exec(&["sh", "-c", trap]).start();
    context.wait_until("a command runs", SOON, || polite.stdout() == "begun\n");
    polite.signal(Signal::INT);
    let ended = polite.wait();
    assert_eq!((ended.status, ended.stdout.as_str()), (5, "begun\ncaught\n"), "{ended}");
}

/// One that takes nothing holds up nobody, and nothing is piled up for it.
fn slow_client(context: &Context) {
    let machines = Machines::with_one(context);
    let slow = machines.exec(&["sh", "-c", "echo begun; exec cat /dev/zero"]).start();
    context.wait_until("a command runs", SOON, || slow.stdout().starts_with("begun\n"));
    slow.signal(Signal::STOP);
    let waits = || machines.prints(&["sh", "-c", "cat /proc/$(pidof cat | cut -d' ' -f1)/wchan"]);
    context.wait_until("its program waits for it", SOON, || waits().contains("pipe"));
    let status = format!("/proc/{}/status", machines.keeper().as_raw_pid());
    let status = fs::read_to_string(status).expect("the keeper runs");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
    let kilobytes: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
    assert!(kilobytes < 64 << 10, "{status}");
    slow.signal(Signal::KILL);
    slow.wait();
    context.wait_until("it has ended", SOON, || machines.exec(&["pidof", "cat"]).run().status == 1);
}

fn on_a_terminal(context: &Context) {
    let machines = Machines::with_one(context);
    let mut terminal = Terminal::with(context, &machines.cache, &["shell", "x"]);
    terminal.types("stty size; tty\n");
    terminal.shows(context, "33 101");
    terminal.shows(context, "/dev/pts/");
    terminal.types("sh -c 'echo be\"\"gun; exec sleep 600'\n");
    terminal.shows(context, "begun");
    terminal.types("\x03");
    terminal.types("echo still he\"\"re\n");
    terminal.shows(context, "still here");
    assert_eq!(terminal.leaves(context, "exit 5\n"), Some(5));
    let command = ["exec", "-t", "x", "--", "sh", "-c", "stty size; read line; exit $line"];
    let mut terminal = Terminal::with(context, &machines.cache, &command);
    terminal.shows(context, "33 101");
    assert_eq!(terminal.leaves(context, "6\n"), Some(6));
}
