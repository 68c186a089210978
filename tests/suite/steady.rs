// SPDX-License-Identifier: GPL-2.0-only
use std::collections::BTreeMap;
use std::time::Duration;

use libtest_mimic::Trial;
use serde_json::Value;

use crate::harness::{Context, machine};

/// How often each module is tested. Without it nothing here is: a hundred times takes a quarter of an hour.
const RUNS: &str = "VEXLAB_STEADY";

/// Time for all of them, on a busy machine.
const LIMIT: Duration = Duration::from_secs(3600);

/// Modules that end badly, and in what.
const CRASHING: [(&str, &str); 5] = [
    ("init_oops", "oops"),
    ("init_warns", "kernel-warning"),
    ("list_broken", "oops"),
    ("refcount_underflows", "kernel-warning"),
    ("rust_panic_read", "oops"),
];

pub(crate) fn tests() -> Vec<Trial> {
    let Some(runs) = std::env::var(RUNS).ok() else { return Vec::new() };
    let runs: usize = runs.parse().unwrap_or_else(|_| panic!("{RUNS} is a number of runs, not {runs:?}"));
    let healthy = machine("steady::a_healthy_module_passes_each_time", LIMIT, move |context| {
        is_steady(context, "life_good", "passed", runs);
    });
    let crashing = CRASHING.map(|(case, class)| {
        machine(&format!("steady::{case}_is_told_the_same_each_time"), LIMIT, move |context| {
            is_steady(context, case, class, runs);
        })
    });
    [healthy].into_iter().chain(crashing).collect()
}

/// Tests a module so often, and expects one class and one list of titles, each time.
fn is_steady(context: &Context, case: &str, class: &str, runs: usize) {
    let dir = context.case(case);
    let mut seen: BTreeMap<(String, Vec<String>), usize> = BTreeMap::new();
    for _ in 0..runs {
        let ended = context.vexlab(["test", "--format", "json"]).dir(&dir).run();
        let events = ended.stdout.lines().map(|line| serde_json::from_str(line).expect("an event"));
        let events: Vec<Value> = events.collect();
        let of = |kind: &str| events.iter().filter(move |event| event["event"] == *kind).collect::<Vec<_>>();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let titles = of("splat").iter().map(|splat| text(&splat["title"])).collect();
        let end = of("end");
        assert_eq!(end.len(), 1, "{ended}");
        *seen.entry((text(&end[0]["class"]), titles)).or_default() += 1;
    }
    let ((was, titles), count) = seen.pop_first().expect("it ran");
    assert!(
        seen.is_empty() && count == runs && was == class,
        "{case}: {count} x {was} {titles:?}, and {seen:?}"
    );
    assert_eq!(titles.is_empty(), class == "passed", "{case}: {titles:?}");
}
