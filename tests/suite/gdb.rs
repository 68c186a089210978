// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;

use crate::call::Ended;
use crate::harness::{Context, KERNEL, USUAL, machine, plain};

const LIMIT: Duration = Duration::from_secs(240);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("gdb::stops_before_anything_of_the_module_runs", LIMIT, stops_before_init),
        machine("gdb::in_rust", LIMIT, in_rust),
        machine("gdb::of_a_machine_that_boots", LIMIT, of_a_machine_that_boots),
        plain("gdb::is_missing", USUAL, is_missing),
    ]
}

/// gdb without a terminal, which does this and ends.
fn gdb(context: &Context, case: &Path, options: &[&str], commands: &[&str]) -> Ended {
    let commands = commands.iter().flat_map(|command| ["-ex", command]);
    let call = context.vexlab(["gdb", "--kernel", KERNEL]).args(options).args(["--", "-nx", "-batch"]);
    let ended = call.args(commands).dir(case).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains("nothing of it has run"), "{ended}");
    ended
}

fn stops_before_init(context: &Context) {
    let case = context.case("good_c");
    let ended =
        gdb(context, &case, &[], &["info symbol $rip", "break init_module", "continue", "backtrace 2"]);
    assert!(ended.stdout.contains("do_init_module in section .kernel.text"), "{ended}");
    assert!(ended.stdout.contains("good_c.c:"), "{ended}");
    assert!(ended.stdout.contains("in do_one_initcall ()"), "{ended}");
}

fn in_rust(context: &Context) {
    let case = context.case("good_rust");
    let source = fs::read_to_string(case.join("rust/src/lib.rs")).expect("the case's source");
    let export = source.lines().find_map(|line| {
        let (_, rest) = line.split_once("extern \"C\" fn ")?;
        Some(rest.split('(').next()?.to_owned())
    });
    let function = export.expect("the case exports a function");
    let ended = gdb(context, &case, &[], &[&format!("break {function}"), "continue", "info source"]);
    assert!(ended.stdout.contains("Source language is rust"), "{ended}");
    assert!(ended.stdout.contains("lib.rs:"), "{ended}");
}

fn of_a_machine_that_boots(context: &Context) {
    let case = context.case("good_c");
    gdb(context, &case, &["--cold"], &["info symbol $rip"]);
}

fn is_missing(context: &Context) {
    let case = context.case("good_c");
    let call = context.vexlab(["gdb", "--kernel", KERNEL]).dir(&case).env("PATH", context.dir());
    insta::assert_snapshot!(call.run().told(), @"
    status 20
    error: gdb is not installed
      help: apt-get install --no-install-recommends gdb
    ");
}
