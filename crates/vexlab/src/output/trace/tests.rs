// SPDX-License-Identifier: GPL-2.0-only

use std::time::Duration;

use lab::splat::{Kind, Process, RustPanic, SourceLine};

use super::*;

fn place(language: Language, function: &str, position: &str) -> Place {
    let mut parts = position.split(':');
    let file = parts.next().unwrap().to_owned();
    let (line, column) =
        (parts.next().unwrap().parse().unwrap(), parts.next().map(|text| text.parse().unwrap()));
    Place { function: function.to_owned(), language, file, line, column, excerpt: Vec::new() }
}

/// With lines around it.
fn excerpt(mut place: Place, lines: &[&str]) -> Place {
    let first = place.line - 2;
    let lines = (first..).zip(lines);
    place.excerpt = lines.map(|(number, text)| SourceLine { number, text: (*text).to_owned() }).collect();
    place
}

fn frame(symbol: &str, module: Option<&str>, places: Vec<Place>) -> Frame {
    Frame {
        symbol: symbol.to_owned(),
        offset: 0x12,
        size: 0x80,
        module: module.map(str::to_owned),
        reliable: true,
        exact: false,
        ambiguous: false,
        places,
    }
}

fn of_module(places: Vec<Place>) -> Frame {
    frame("symbol", Some("traces"), places)
}

fn kernel(names: &[&str]) -> Vec<Frame> {
    names.iter().map(|name| frame(name, None, Vec::new())).collect()
}

fn splat(kind: Kind, title: &str, trace: Vec<Frame>) -> Splat {
    Splat {
        trace,
        process: Some(Process { name: "sh".to_owned(), pid: 85 }),
        cpu: Some(0),
        at: Some(Duration::from_secs(1)),
        during: Some("panic".to_owned()),
        ..Splat::new(kind, title.to_owned(), Vec::new())
    }
}

const LIBRARY: &str = "/cache/rust/1.95.0/lib/rustlib/src/rust/library";

fn panic() -> Splat {
    let core = |function: &str, line: u32| {
        place(Language::Rust, function, &format!("{LIBRARY}/core/src/panicking.rs:{line}:14"))
    };
    let user = place(Language::Rust, "traces_table", "rust/src/lib.rs:48:5");
    let lines = [
        "pub fn traces_table(index: usize) -> u32 {",
        "    let table = [2, 3, 5, 7];",
        "    table[index]",
        "}",
    ];
    let caller = place(Language::C, "trigger_set", "main.c:55:10");
    let caller = excerpt(
        caller,
        &[
            "\t\tsum += traces_closure(7);",
            "\telse if (sysfs_streq(value, \"panic\"))",
            "\t\tsum += traces_table(7);",
            "\telse",
            "\t\treturn -EINVAL;",
        ],
    );
    let mut trace = vec![
        of_module(vec![place(Language::C, "traces_panicked", "main.c:25:2")]),
        of_module(vec![place(Language::Rust, "__rustc::rust_begin_unwind", "rust/src/lib.rs:55:14")]),
        of_module(vec![core("core::panicking::panic_fmt", 80)]),
        of_module(vec![core("core::panicking::panic_bounds_check", 271)]),
        of_module(vec![excerpt(user, &lines)]),
        of_module(vec![caller]),
    ];
    trace.extend(kernel(&[
        "param_attr_store",
        "kernfs_fop_write_iter",
        "vfs_write",
        "ksys_write",
        "do_syscall_64",
    ]));
    let mut splat = splat(Kind::RustPanic, "index out of bounds: the len is 4 but the index is 7", trace);
    splat.panic = Some(RustPanic {
        message: "index out of bounds: the len is 4 but the index is 7".to_owned(),
        place: "src/lib.rs:48:5".to_owned(),
    });
    splat
}

/// What a panic goes through is told in one line: the place that is shown is the user's.
#[test]
fn a_panic_of_rust() {
    insta::assert_snapshot!(render(&panic(), 1, false), @r#"
    rust-panic: index out of bounds: the len is 4 but the index is 7
      at src/lib.rs:48:5
      during panic, process sh (85), processor 0
      panic   traces_panicked, __rustc::rust_begin_unwind, core::panicking::panic_fmt, core::panicking::panic_bounds_check
      Rust    traces_table  rust/src/lib.rs:48:5
              46 | pub fn traces_table(index: usize) -> u32 {
              47 |     let table = [2, 3, 5, 7];
            > 48 |     table[index]
              49 | }
      -- C calls Rust --
      C       trigger_set   main.c:55:10
              53 |         sum += traces_closure(7);
              54 |     else if (sysfs_streq(value, "panic"))
            > 55 |         sum += traces_table(7);
              56 |     else
              57 |         return -EINVAL;
      kernel  param_attr_store, kernfs_fop_write_iter, vfs_write, ksys_write, and 1 more
    "#);
}

/// Rust that was called by C, and calls C; a generic function that is inlined, with one of the library in it.
#[test]
fn inlined_functions_and_both_edges() {
    let warn = place(Language::C, "traces_warn", "main.c:18:2");
    let warn = excerpt(warn, &["u32 traces_warn(u32 x)", "{", "\tWARN_ON(x > 2);", "\treturn x + 1;", "}"]);
    let library = place(
        Language::Rust,
        "<u32 as core::convert::From<u16>>::from",
        &format!("{LIBRARY}/core/src/convert/num.rs:80:1"),
    );
    let library = excerpt(library, &["impl", "from", "lossless", "}", ""]);
    let generic = place(Language::Rust, "traces::deep::generic::<u16>", "rust/src/lib.rs:16:9");
    let generic = excerpt(
        generic,
        &["", "pub fn generic<T: Into<u32>>(value: T) -> u32 {", "traces_warn(value.into()) + 1", "}", ""],
    );
    let mut trace = vec![
        of_module(vec![warn]),
        of_module(vec![library, generic, place(Language::Rust, "traces_generic", "rust/src/lib.rs:29:5")]),
        of_module(vec![place(Language::C, "trigger_set", "main.c:51:10")]),
    ];
    trace[0].exact = true;
    trace.extend(kernel(&["param_attr_store", "vfs_write"]));
    insta::assert_snapshot!(render(&splat(Kind::Warning, "traces_warn+0x12", trace), 3, false), @r"
    warning: traces_warn+0x12 (3 times)
      during panic, process sh (85), processor 0
      C       traces_warn                              main.c:18:2
              16 | u32 traces_warn(u32 x)
              17 | {
            > 18 |     WARN_ON(x > 2);
              19 |     return x + 1;
              20 | }
      -- Rust calls C --
      Rust    <u32 as core::convert::From<u16>>::from  core/src/convert/num.rs:80:1  (inlined)
      Rust    traces::deep::generic::<u16>             rust/src/lib.rs:16:9  (inlined)
              15 | pub fn generic<T: Into<u32>>(value: T) -> u32 {
            > 16 | traces_warn(value.into()) + 1
              17 | }
      Rust    traces_generic                           rust/src/lib.rs:29:5
      -- C calls Rust --
      C       trigger_set                              main.c:51:10
      kernel  param_attr_store, vfs_write
    ");
}

/// What is inlined of the library is much, and says little.
#[test]
fn a_row_of_functions_of_the_library() {
    let of_library =
        |name: &str| place(Language::Rust, name, &format!("{LIBRARY}/alloc/src/raw_vec/mod.rs:423:29"));
    let frees = place(Language::Rust, "dealloc", "kernel/glue/src/memory.rs:26:18");
    let names = [
        "dealloc",
        "deallocate",
        "drop<u64, alloc::alloc::Global>",
        "drop_in_place<u64>",
        "drop_in_place<u8>",
    ];
    let mut places = vec![frees];
    places.extend(names.map(of_library));
    places.push(place(Language::Rust, "vexfs_glue::tree::insert", "kernel/glue/src/tree.rs:9:5"));
    insta::assert_snapshot!(render(&splat(Kind::Bug, "dealloc", vec![of_module(places)]), 1, false), @r"
    bug: dealloc
      during panic, process sh (85), processor 0
      Rust    dealloc                   kernel/glue/src/memory.rs:26:18  (inlined)
      library dealloc, deallocate, drop<u64, alloc::alloc::Global>, drop_in_place<u64>, and 1 more
      Rust    vexfs_glue::tree::insert  kernel/glue/src/tree.rs:9:5
    ");
}

/// A crash in the kernel that the module has caused: where it crashed is named with the distance.
#[test]
fn frames_without_places() {
    let mut trace = kernel(&["strlen"]);
    trace[0].exact = true;
    trace.push(frame("_RNvNtCs86elKOHhRHg_4core9panicking9panic_fmt", Some("other"), Vec::new()));
    trace.push(of_module(vec![place(
        Language::C,
        "calls_strlen",
        "/headers/linux-headers-6.1.0-1-common/include/linux/x.h:0",
    )]));
    trace.push(Frame { reliable: false, ..frame("handle_mm_fault", None, Vec::new()) });
    insta::assert_snapshot!(render(&splat(Kind::PageFault, "strlen+0x12", trace), 1, false), @r"
    page-fault: strlen+0x12
      during panic, process sh (85), processor 0
      kernel  strlen+0x12, core::panicking::panic_fmt [other]
      C       calls_strlen  include/linux/x.h
    ");
}

/// Nothing better is known.
#[test]
fn frames_that_nobody_vouches_for_are_shown_when_there_are_no_others() {
    let mut trace = kernel(&["one", "two"]);
    trace.iter_mut().for_each(|frame| frame.reliable = false);
    let mut splat = splat(Kind::SoftLockup, "stuck for 22 s", trace);
    (splat.process, splat.cpu, splat.during) = (None, None, None);
    insta::assert_snapshot!(render(&splat, 1, false), @r"
    soft-lockup: stuck for 22 s
      kernel  one, two
    ");
}

/// A loop that warns makes many reports of one; two ways to one line are two.
#[test]
fn equal_reports_are_counted() {
    let line = || of_module(vec![place(Language::C, "traces_warn", "main.c:18:2")]);
    let by = |caller: &str| {
        let mut trace = vec![line(), frame(caller, Some("traces"), Vec::new())];
        trace.extend(kernel(&[if caller == "one" { "vfs_write" } else { "vfs_read" }]));
        splat(Kind::Warning, "traces_warn+0x12", trace)
    };
    let mut last = by("one");
    last.trace.pop();
    let splats = [by("one"), by("two"), by("one"), last, splat(Kind::Bug, "traces_warn+0x12", vec![line()])];
    let counts: Vec<_> = different(&splats).iter().map(|(splat, times)| (splat.kind, *times)).collect();
    assert_eq!(counts, [(Kind::Warning, 3), (Kind::Warning, 1), (Kind::Bug, 1)]);
}

#[test]
fn colours_are_for_terminals_alone() {
    let coloured = render(&panic(), 1, true);
    assert!(coloured.starts_with("\x1b[1;31mrust-panic\x1b[0m: index"), "{coloured}");
    let (mut plain, mut rest) = (String::new(), coloured.as_str());
    while let Some((before, after)) = rest.split_once('\x1b') {
        plain.push_str(before);
        rest = after.split_once('m').unwrap().1;
    }
    plain.push_str(rest);
    assert_eq!(plain, render(&panic(), 1, false));
}

/// What the kernel prints may be a user's text, and a source may hold anything.
#[test]
fn nothing_that_a_terminal_obeys_is_printed() {
    let evil = excerpt(place(Language::C, "f\x1b[2J", "a\x1b[H.c:3:1"), &["\x1b]0;title\x07", "", "\x1bc"]);
    let mut splat = splat(Kind::Bug, "\x1b[2J", vec![of_module(vec![evil])]);
    splat.process = Some(Process { name: "\x1b[1m".to_owned(), pid: 1 });
    let text = render(&splat, 1, false);
    assert!(text.chars().all(|letter| letter == '\n' || !letter.is_control()), "{text:?}");
}

#[test]
fn long_names_lose_the_arguments_of_their_types() {
    assert_eq!(name("core::ptr::drop_in_place::<u8>"), "core::ptr::drop_in_place::<u8>");
    assert_eq!(
        name(
            "remove_leaf_kv<u64, u64, alloc::collections::btree::map::entry::{impl#9}::remove_kv::{closure_env#0}<u64>>"
        ),
        "remove_leaf_kv<…>"
    );
    assert_eq!(
        name("<alloc::vec::Vec<core::option::Option<u64>> as vexfs::tree::node::Shape<fn(u8) -> u8>>::split"),
        "<alloc::vec::Vec<…> as vexfs::tree::node::Shape<…>>::split"
    );
}

#[test]
fn of_which_of_several_functions_a_frame_is_is_not_guessed() {
    let trace = vec![Frame { ambiguous: true, ..of_module(Vec::new()) }];
    insta::assert_snapshot!(render(&splat(Kind::Bug, "helper", trace), 1, false), @r"
    bug: helper
      during panic, process sh (85), processor 0
      kernel  symbol [traces] (one of several of this name)
    ");
}
