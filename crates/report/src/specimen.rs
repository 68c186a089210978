// SPDX-License-Identifier: GPL-2.0-only
//! Runs with something in each field, for tests and the documentation.

use std::time::Duration;

use lab::splat::{Frame, Kind, Language, Place, Process, RustPanic, SourceLine};
use lab::verdict::{Class, Outcome, Phase};

use crate::format::{PhaseTime, Register, Run, Splat, Test, Trouble};

/// A run that passed.
pub(crate) fn passed() -> Run {
    let times = [(Phase::Provision, 12), (Phase::Build, 840), (Phase::Restore, 85), (Phase::Load, 21)];
    Run {
        id: Some("1763800000-000001-4711".to_owned()),
        invocation: "1763800000-000000-4711".to_owned(),
        module: "demo".to_owned(),
        kernel: "debian-6.1".to_owned(),
        started: "2025-11-22T08:26:40.5Z".parse().expect("a time"),
        seconds: 1.25,
        class: Class::Passed,
        reasons: Vec::new(),
        error: None,
        exit: None,
        accelerator: Some("tcg".to_owned()),
        phases: times.map(|(phase, ms)| PhaseTime { phase, seconds: f64::from(ms) / 1000.0 }).into(),
        tests: vec![
            test("load", Outcome::Passed, Some(21), &[]),
            test("selftest/first", Outcome::Skipped, None, &["SKIP no disk"]),
            Test { attempts: 2, ..test("program", Outcome::Flaky, Some(120), &["exit status 1"]) },
            test("unload", Outcome::Passed, Some(4), &[]),
        ],
        splats: Vec::new(),
        dir: Some("/runs/1763800000-000001-4711".to_owned()),
        console: Some("console.log".to_owned()),
    }
}

/// A run in which a test failed and the kernel oopsed.
pub(crate) fn failed() -> Run {
    Run {
        id: Some("1763800001-500000-4711".to_owned()),
        kernel: "debian-6.12".to_owned(),
        class: Class::Oops,
        reasons: vec!["the test read: the kernel killed the caller with signal 9".to_owned()],
        tests: vec![
            test("load", Outcome::Passed, Some(19), &[]),
            test("read", Outcome::Failed, None, &["4 expected, 5 found", "<script>alert(1)</script>"]),
        ],
        splats: vec![splat()],
        dir: Some("/runs/1763800001-500000-4711".to_owned()),
        ..passed()
    }
}

/// A run that did not come to a machine.
pub(crate) fn not_built() -> Run {
    Run {
        id: Some("1763800002-000000-4711".to_owned()),
        kernel: "debian-7.3".to_owned(),
        class: Class::BuildFailed,
        error: Some(Trouble {
            class: Class::BuildFailed,
            message: "the module's C does not compile".to_owned(),
            causes: vec!["demo.c:7:9: error: 'x' undeclared\n    7 |  return x;".to_owned()],
            remedy: Some("mend it".to_owned()),
        }),
        accelerator: None,
        tests: Vec::new(),
        dir: Some("/runs/1763800002-000000-4711".to_owned()),
        console: None,
        ..passed()
    }
}

/// All of them.
pub(crate) fn runs() -> Vec<Run> {
    vec![passed(), failed(), not_built()]
}

/// What ends a command early.
pub(crate) fn trouble() -> Trouble {
    Trouble {
        class: Class::Usage,
        message: "there is no kernel called debian-6.0".to_owned(),
        causes: vec!["it is not in the list".to_owned()],
        remedy: Some("`vexlab kernel list` has those that can be had".to_owned()),
    }
}

pub(crate) fn test(name: &str, outcome: Outcome, ms: Option<u64>, details: &[&str]) -> Test {
    let seconds = ms.map(|ms| Duration::from_millis(ms).as_secs_f64());
    let details = details.iter().map(|line| (*line).to_owned()).collect();
    Test { name: name.to_owned(), outcome, seconds, attempts: 1, details }
}

pub(crate) fn splat() -> Splat {
    let source = [(6, "    let list = [1, 2];"), (7, "    list[at]"), (8, "}")];
    let excerpt = source.map(|(number, text)| SourceLine { number, text: text.to_owned() }).into();
    let place = Place {
        function: "demo::read".to_owned(),
        language: Language::Rust,
        file: "rust/src/lib.rs".to_owned(),
        line: 7,
        column: Some(5),
        excerpt,
    };
    let frame = |symbol: &str, module: Option<&str>, places| Frame {
        symbol: symbol.to_owned(),
        offset: 0x12,
        size: 0x80,
        module: module.map(str::to_owned),
        reliable: true,
        exact: false,
        ambiguous: false,
        places,
    };
    Splat {
        kind: Kind::RustPanic,
        title: "index out of bounds in demo::read".to_owned(),
        lines: vec!["kernel BUG at /src/demo.c:9!".to_owned()],
        trace: vec![frame("demo_read", Some("demo"), vec![place]), frame("vfs_read", None, Vec::new())],
        registers: vec![Register { name: "RIP".to_owned(), value: "0xffffffffc0002012".to_owned() }],
        process: Some(Process { name: "cat".to_owned(), pid: 31 }),
        cpu: Some(0),
        seconds: Some(1.171428),
        during: Some("read".to_owned()),
        panic: Some(RustPanic {
            message: "the length is 2 and the index 5".to_owned(),
            place: "rust/src/lib.rs:7:5".to_owned(),
        }),
    }
}
