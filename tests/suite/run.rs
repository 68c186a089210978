// SPDX-License-Identifier: GPL-2.0-only
use libtest_mimic::Trial;

use crate::call::Call;
use crate::harness::{Context, KERNEL, USUAL, machine};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("run::status_and_streams", USUAL, status_and_streams),
        machine("run::output_comes_as_it_is_made", USUAL, output_comes_as_it_is_made),
        machine("run::input_is_ours", USUAL, input_is_ours),
        machine("run::bytes_are_left_alone", USUAL, bytes_are_left_alone),
        machine("run::missing_program", USUAL, missing_program),
        machine("run::killed_program", USUAL, killed_program),
        machine("run::beside_the_module", USUAL, beside_the_module),
        machine("run::without_a_project", USUAL, without_a_project),
        machine("run::beside_a_module_that_is_refused", USUAL, beside_a_module_that_is_refused),
        machine("run::machines_share_nothing", USUAL, machines_share_nothing),
    ]
}

/// A command in a machine without a module.
fn bare(context: &Context, command: &[&str]) -> Call {
    context.vexlab(["run", "--no-module", "--kernel", KERNEL, "--"]).args(command)
}

fn status_and_streams(context: &Context) {
    let ended = bare(context, &["sh", "-c", "echo to stdout; echo to stderr >&2; exit 7"]).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (7, "to stdout\n"), "{ended}");
    let ours: Vec<_> = ended.stderr.lines().filter(|line| !line.starts_with("booting ")).collect();
    assert_eq!(ours, ["to stderr"], "{ended}");
}

/// The first line arrives while the command still waits for its input.
fn output_comes_as_it_is_made(context: &Context) {
    let running = bare(context, &["sh", "-c", "echo first; read line; echo then $line"]).start();
    context.wait_until("the first line is there", USUAL, || running.stdout() == "first\n");
    let ended = running.wait();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "first\nthen\n"), "{ended}");
}

fn input_is_ours(context: &Context) {
    let ended = bare(context, &["cat"]).input(b"hi\n").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "hi\n"), "{ended}");
}

/// A megabyte there and back again, with every byte in it.
fn bytes_are_left_alone(context: &Context) {
    let sent: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let ended =
        bare(context, &["sh", "-c", "tee /tmp/sent | wc -c; sha256sum < /tmp/sent"]).input(&sent).run();
    let ours = context.program("sha256sum".as_ref()).input(&sent).run();
    assert_eq!(ended.stdout, format!("1048576\n{}", ours.stdout), "{ended}");
}

fn missing_program(context: &Context) {
    let ended = bare(context, &["no-such-program"]).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (127, ""), "{ended}");
    assert!(ended.stderr.contains("no-such-program: errno 2 (No such file or directory)"), "{ended}");
}

fn killed_program(context: &Context) {
    let ended = bare(context, &["sh", "-c", "kill -TERM $$"]).run();
    assert_eq!(ended.status, 128 + 15, "{ended}");
}

fn beside_the_module(context: &Context) {
    let dir = context.case("good_c");
    let ended = context.vexlab(["run", "--", "grep", "^good_c ", "/proc/modules"]).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.lines().any(|line| line.starts_with("good_c ")), "{ended}");
    let ended =
        context.vexlab(["run", "--no-module", "--", "grep", "^good_c ", "/proc/modules"]).dir(&dir).run();
    assert_eq!(ended.status, 1, "without the module grep finds nothing; {ended}");
}

/// Whoever is in no project is told that no module is loaded, and one that something is asked of is missed.
fn without_a_project(context: &Context) {
    let ended = context.vexlab(["run", "--kernel", KERNEL, "--", "cat", "/proc/modules"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    // The mark of a module that is not the kernel's own.
    assert!(ended.stdout.contains("virtio") && !ended.stdout.contains("(O"), "{ended}");
    let ours: Vec<_> = ended.stderr.lines().filter(|line| !line.starts_with("booting ")).collect();
    let told = "there is no project here, so no module is loaded; with --no-module this is not said";
    assert_eq!(ours, [told], "{ended}");
    let ended = context.vexlab(["shell", "--kernel", KERNEL]).input(b"exit 3\n").run();
    assert_eq!((ended.status, ended.stderr.as_str()), (3, format!("{told}\n").as_str()), "{ended}");
    for option in ["--c-only", "--minimal", "--no-check"] {
        let ended = context.vexlab(["run", option, "--kernel", KERNEL, "--", "true"]).run();
        assert_eq!(ended.status, 2, "{ended}");
        assert!(ended.stderr.contains(" is not in a project: "), "{ended}");
    }
}

/// The command is not run where the module can't be there.
fn beside_a_module_that_is_refused(context: &Context) {
    let dir = context.case("init_error");
    let ended = context.vexlab(["run", "--", "echo", "was run"]).dir(&dir).run();
    assert_eq!(ended.status, 12, "{ended}");
    assert!(!ended.stdout.contains("was run"), "{ended}");
    assert!(ended.stdout.contains("errno 19 (No such device)"), "{ended}");
}

/// What one machine has written, the next doesn't see; its random numbers are others.
fn machines_share_nothing(context: &Context) {
    let command = ["sh", "-c", "ls /tmp/mark 2>/dev/null; touch /tmp/mark; od -An -tx8 -N16 /dev/urandom"];
    let one = bare(context, &command).run();
    let other = bare(context, &command).run();
    assert_eq!((one.status, other.status), (0, 0), "{one}\n{other}");
    assert!(!other.stdout.contains("mark"), "{other}");
    assert_eq!(other.stdout.split_whitespace().count(), 2, "{other}");
    assert_ne!(one.stdout, other.stdout);
}
