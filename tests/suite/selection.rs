// SPDX-License-Identifier: GPL-2.0-only
use libtest_mimic::Trial;

use crate::harness::{Context, USUAL, machine, plain};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("selection::tests_are_listed", USUAL, tests_are_listed),
        plain("selection::numbers_that_make_no_sense", USUAL, numbers_that_make_no_sense),
        machine("selection::several_machines_at_once", USUAL, several_machines_at_once),
        machine("selection::the_first_failure_is_the_end", USUAL, the_first_failure_is_the_end),
    ]
}

fn tests_are_listed(context: &Context) {
    let project = context.case("tests_go_on");
    let list = |filters: &[&str]| {
        let call = context.vexlab(["test", "--list"]).args(filters).dir(&project);
        call.run().told()
    };
    insta::assert_snapshot!(list(&[]), @r"
    status 0
    before
    oopses
    on-a-fresh-machine
    life/load-twice
    life/in-use
    life/cycles
    life/parameters
    life/failing-init
    life/leaks
    ");
    insta::assert_snapshot!(list(&["fresh", "oops"]), @r"
    status 0
    oopses
    on-a-fresh-machine
    ");
    insta::assert_snapshot!(list(&["frob"]), @r"
    status 2
    error: no test has `frob` in its name
      help: `vexlab test --list` without it lists them all
    ");
}

fn numbers_that_make_no_sense(context: &Context) {
    let project = context.case("tests_go_on");
    let told = |arguments: &[&str]| context.vexlab(["test"]).args(arguments).dir(&project).run().told();
    insta::assert_snapshot!(told(&["--jobs", "0"]), @r"
    status 2
    error: invalid value '0' for '--jobs <COUNT>': 0 is not in 1..=64

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["--repeat", "0"]), @r"
    status 2
    error: invalid value '0' for '--repeat <COUNT>': 0 is not in 1..=100000

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["--list", "--watch"]), @r"
    status 2
    error: the argument '--list' cannot be used with '--watch'

    Usage: vexlab test --list [FILTER]...

    For more information, try '--help'.
    ");
}

fn several_machines_at_once(context: &Context) {
    let project = context.case("flaky");
    let call = context.vexlab(["test", "--isolated", "--jobs", "3", "--repeat", "5"]).dir(&project);
    let ended = call.run();
    assert_eq!(ended.status, 0, "{ended}");
    for name in ["leaves-a-trace", "minds-the-trace"] {
        for round in ["", " #2", " #3", " #4", " #5"] {
            let line = format!("  ok   {name}{round}  ");
            let count = ended.stdout.lines().filter(|other| other.starts_with(&line)).count();
            assert_eq!(count, 1, "`{line}` is told once; {ended}");
        }
    }
    // Loading and unloading are told once, however many machines there were.
    for step in ["  ok   load  ", "  ok   unload  ", "  ok   life/cycles  "] {
        let count = ended.stdout.lines().filter(|line| line.starts_with(step)).count();
        assert_eq!(count, 1, "`{step}` is told once; {ended}");
    }
}

fn the_first_failure_is_the_end(context: &Context) {
    let project = context.case("flaky");
    let ended = context.vexlab(["test", "--fail-fast", "--repeat", "3"]).dir(&project).run();
    assert_eq!(ended.status, 1, "{ended}");
    for line in [" FAIL  minds-the-trace", "  4 tests were not run"] {
        assert!(ended.stdout.contains(line), "`{line}`: {ended}");
    }
}
