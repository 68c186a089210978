// SPDX-License-Identifier: GPL-2.0-only
use core::mem::{offset_of, size_of};

use crate::{Case, FAILED, Failed, Outcome, PASSED, SKIPPED, Test, is_name};
use crate::{expect, expect_eq, expect_ne, require, require_eq};

/// What a test has come to, and what it has said.
fn run<R: Outcome>(room: usize, function: impl FnOnce(&mut Test) -> R) -> (u32, std::string::String, bool) {
    let mut text = std::vec![0; room];
    let mut test = Test::new(&mut text);
    function(&mut test).settle(&mut test);
    let said = core::str::from_utf8(test.said()).expect("a text").into();
    (test.outcome, said, test.cut_off != 0)
}

fn two() -> u32 {
    core::hint::black_box(2)
}

#[test]
fn a_test_passes_that_finds_what_it_expects() {
    let (outcome, said, cut_off) = run(100, |test| {
        expect!(test, two() == 2);
        expect_eq!(test, two(), 2);
        expect_ne!(test, two(), 3);
        require!(test, two() == 2);
        require_eq!(test, two(), 2);
        Ok::<(), Failed>(())
    });
    assert_eq!((outcome, said.as_str(), cut_off), (PASSED, "", false));
}

#[test]
fn each_comparison_says_where_and_what() {
    let line = line!() + 2;
    let (outcome, said, _) = run(1000, |test| {
        expect!(test, two() == 3);
        expect_eq!(test, two(), 4);
        expect_ne!(test, two(), 2);
    });
    assert_eq!(outcome, FAILED);
    let file = file!();
    assert_eq!(
        said,
        std::format!(
            "{file}:{line}: expected two() == 3\n{file}:{}: expected two() == 4; got 2, expected 4\n{file}:{}: \
             expected two() != 2; both are 2\n",
            line + 1,
            line + 2
        )
    );
}

#[test]
fn a_requirement_ends_the_test() {
    let (outcome, said, _) = run(1000, |test| {
        require_eq!(test, two(), 4);
        test.fail(format_args!("not reached"));
        Ok(())
    });
    assert_eq!(outcome, FAILED);
    assert!(said.contains("got 2, expected 4") && !said.contains("not reached"), "{said}");
}

#[test]
fn an_error_that_nobody_has_told_of_is_a_failure() {
    assert_eq!(run(100, |_| Err("no memory")).1, "it returned the error \"no memory\"\n");
    assert_eq!(run(100, |_| Err::<(), _>(Failed)).0, FAILED);
}

#[test]
fn a_failure_counts_more_than_a_skip() {
    assert_eq!(run(100, |test| test.skip("no disk")), (SKIPPED, "no disk\n".into(), false));
    let skipped_first = run(100, |test| {
        test.skip("no disk");
        test.fail_bytes(b"lost");
    });
    assert_eq!(skipped_first, (FAILED, "lost\n".into(), false));
    let failed_first = run(100, |test| {
        test.fail_bytes(b"lost");
        test.skip("no disk");
    });
    assert_eq!(failed_first, (FAILED, "lost\n".into(), false));
}

#[test]
fn what_there_is_no_room_for_is_left_out() {
    assert_eq!(run(4, |test| test.fail_bytes(b"abc")), (FAILED, "abc\n".into(), false));
    assert_eq!(run(4, |test| test.fail_bytes(b"abcde")), (FAILED, "abcd".into(), true));
    assert_eq!(run(0, |test| test.fail(format_args!("{}", 1))), (FAILED, "".into(), true));
}

#[test]
fn names_are_told_from_other_texts() {
    for name in ["a\0", "vexfs::tests::adds\0", "rust.memory-2_x\0"] {
        assert!(is_name(name.as_bytes()), "{name:?}");
    }
    for other in ["", "\0", "a", "a b\0", "a*\0", "a\n\0", "a\0b\0", "é\0"] {
        assert!(!is_name(other.as_bytes()), "{other:?}");
    }
    assert!(!is_name(&[[b'a'; 256].as_slice(), b"\0"].concat()));
}

#[test]
#[should_panic(expected = "expected two() == 3")]
fn a_failure_on_the_host_is_a_panic() {
    crate::on_host(|test| {
        expect!(test, two() == 3);
    });
}

/// As `vexlab/ktest.h` has them on x86-64, and says so in its layout.
#[test]
fn the_layout_is_that_of_the_header() {
    assert_eq!((size_of::<Case>(), offset_of!(Case, name), offset_of!(Case, run)), (24, 8, 16));
    assert_eq!((size_of::<Test>(), offset_of!(Test, outcome), offset_of!(Test, cut_off)), (32, 24, 28));
    assert_eq!((size_of::<crate::Bench>(), offset_of!(Case, kind)), (112, 4));
    let header = include_str!("../include/vexlab/ktest.h");
    assert!(header.contains(&std::format!("#define KTEST_LAYOUT {}\n", crate::LAYOUT)));
}

#[test]
fn a_benchmark_is_gone_through_once_on_the_host() {
    static TURNS: core::sync::atomic::AtomicU32 = core::sync::atomic::AtomicU32::new(0);
    crate::bench_on_host(|bench| {
        bench.iter(|| TURNS.fetch_add(1, core::sync::atomic::Ordering::Relaxed));
    });
    assert_eq!(TURNS.load(core::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
#[should_panic(expected = "no memory")]
fn a_benchmark_that_fails_on_the_host_is_a_panic() {
    crate::bench_on_host(|_| Err::<(), _>("no memory"));
}
