// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime};

use lab::splat::{ModuleFile, Splat, parse, symbolise};
use libtest_mimic::Trial;

use crate::harness::{Context, machine, provision};

/// For some runs, one after the other.
const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("traces::of_6_1", LIMIT, |context| of_a_kernel(context, "debian-6.1-cloud")),
        machine("traces::of_6_12", LIMIT, |context| {
            provision("debian-6.12-cloud");
            of_a_kernel(context, "debian-6.12-cloud");
        }),
        machine("traces::of_init_and_of_warnings", LIMIT, of_init_and_of_warnings),
        machine("traces::name_the_line_of_a_panic", LIMIT, |context| {
            for kernel in ["debian-6.1-cloud", "debian-6.12-cloud"] {
                provision(kernel);
                let [told] = traces(context, "rust_panic_read", kernel).try_into().expect("one report");
                assert!(
                    told.contains(&"panics_at Rust rust/src/lib.rs:15".to_owned()),
                    "{kernel}: {told:#?}"
                );
                assert!(told.contains(&"selftest_get C main.c:19".to_owned()), "{kernel}: {told:#?}");
            }
        }),
    ]
}

/// Inlined functions, closures, and calls from C to Rust and back, as the kernel's own trace has them.
fn of_a_kernel(context: &Context, kernel: &str) {
    let told = traces(context, "traces", kernel);
    let [inline, generic, closure, panic] = told.try_into().expect("four reports");
    assert_eq!(
        inline,
        [
            "inner C main.c:30 inlined",
            "outer C main.c:36 inlined",
            "traces_inline C main.c:41",
            "trigger_set C main.c:49",
        ]
    );
    assert_eq!(
        generic,
        [
            "traces_warn C main.c:18",
            "traces::deep::generic::<u16> Rust rust/src/lib.rs:16 inlined",
            "traces::deep::middle::<u16> Rust rust/src/lib.rs:22 inlined",
            "traces_generic Rust rust/src/lib.rs:29",
            "trigger_set C main.c:51",
        ]
    );
    assert_eq!(
        closure,
        [
            "traces_warn C main.c:18",
            "traces::traces_closure::{closure#0} Rust rust/src/lib.rs:40",
            "traces::apply Rust rust/src/lib.rs:34",
            "traces_closure Rust rust/src/lib.rs:41",
            "trigger_set C main.c:53",
        ]
    );
    let functions: Vec<&str> = panic.iter().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    assert_eq!(
        functions,
        [
            "traces_panicked",
            "__rustc::rust_begin_unwind",
            "core::panicking::panic_fmt",
            "core::panicking::panic_bounds_check",
            "traces_table",
            "trigger_set",
        ]
    );
    assert_eq!(panic[0], "traces_panicked C main.c:25");
    assert!(panic[3].contains("/library/core/src/panicking.rs:"), "{panic:#?}");
    assert_eq!(panic[4..], ["traces_table Rust rust/src/lib.rs:48", "trigger_set C main.c:55"]);
}

/// What is called once, and is gone after it.
fn of_init_and_of_warnings(context: &Context) {
    for kernel in ["debian-6.1-cloud", "debian-6.12-cloud"] {
        provision(kernel);
        assert_eq!(traces(context, "init_oops", kernel), [["init_oops_init C init_oops.c:9"]]);
        assert_eq!(traces(context, "init_warns", kernel), [["init_warns_init C init_warns.c:8"]]);
        assert_eq!(traces(context, "test_bugs", kernel), [["trigger_get C test_bugs.c:9"]]);
    }
}

/// Tests a case, and says what there is to say of the module's frames in each report on the console. The lines of
/// the sources are beside each.
fn traces(context: &Context, case: &str, kernel: &str) -> Vec<Vec<String>> {
    let dir = context.dir().join(case);
    let dir = if dir.exists() { dir } else { context.case(case) };
    let ended = context.vexlab(["test", "--no-life", "--kernel", kernel]).dir(&dir).run();
    let console = ended.stdout.lines().find_map(|line| line.trim().strip_prefix("console: "));
    let console = Path::new(console.unwrap_or_else(|| panic!("{ended}")));
    let is_run = |dir: &&Path| dir.parent().is_some_and(|runs| runs.ends_with("runs"));
    let run = console.ancestors().find(is_run).expect("a run has a folder");
    // Each report ends its machine.
    let machines = (1..).map(|number| if number == 1 { run.into() } else { run.join(number.to_string()) });
    let consoles = machines.map_while(|machine| fs::read_to_string(machine.join("console.log")).ok());
    let mut splats: Vec<Splat> = consoles.flat_map(|console| parse(&console)).collect();
    let module = ModuleFile {
        name: case.to_owned(),
        file: dir.join(format!("target/vexlab/{kernel}-test/{case}.ko")),
        root: dir.clone(),
    };
    symbolise(&mut splats, &module, SystemTime::now()).expect("the module can be read");
    splats.iter().map(|splat| told(splat, &dir)).collect()
}

fn told(splat: &Splat, dir: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for frame in splat.trace.iter().filter(|frame| frame.reliable && frame.module.is_some()) {
        assert!(!frame.places.is_empty(), "{frame:?}");
        for (index, place) in frame.places.iter().enumerate() {
            let inlined = if index + 1 < frame.places.len() { " inlined" } else { "" };
            lines.push(format!(
                "{} {:?} {}:{}{inlined}",
                place.function, place.language, place.file, place.line
            ));
            let text = fs::read_to_string(dir.join(&place.file)).expect("the source is there");
            let source = text.lines().nth(place.line as usize - 1).expect("the line is there").trim_end();
            let shown = place.excerpt.iter().find(|line| line.number == place.line);
            assert_eq!(shown.map(|line| line.text.as_str()), Some(source), "{place:?}");
        }
    }
    lines
}
