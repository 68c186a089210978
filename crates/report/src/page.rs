// SPDX-License-Identifier: GPL-2.0-only
use crate::format::VERSION;

/// An object of the format: its name, what it is, and its keys with what they mean.
struct Object {
    name: &'static str,
    meaning: &'static str,
    keys: &'static [(&'static str, &'static str)],
}

/// The events, in the order in which they come.
const EVENTS: &[Object] = &[
    Object {
        name: "begin",
        meaning: "A run begins.",
        keys: &[
            ("invocation", "what belongs together: all runs of one command have the same"),
            ("module", "the module, as the verdict names it"),
            ("kernel", "the kernel's name"),
        ],
    },
    Object {
        name: "phase",
        meaning: "A phase of the run is over. The machine starts while the module is built. Where there are several machines, each tells its own; `end` has the sums.",
        keys: &[
            ("phase", "`provision`, `build`, `link`, `boot`, `save`, `restore`, `load`, `tests` or `unload`"),
            ("seconds", "how long it took"),
        ],
    },
    Object {
        name: "test-begin",
        meaning: "A test begins. Not every test is told of before it ends.",
        keys: &[("name", "its name")],
    },
    Object {
        name: "test",
        meaning: "A test ended.",
        keys: &[
            ("name", "its name; for one of several in a KTAP text, `test/name`"),
            (
                "outcome",
                "`passed`, `failed`, `flaky` (it failed, and passed when it was run again) or `skipped`",
            ),
            ("seconds", "how long it took; `null` for one of several that were run together"),
            ("attempts", "how often it was run"),
            ("details", "a failed test's diagnostics, a skipped one's reason: a list of lines"),
        ],
    },
    Object {
        name: "splat",
        meaning: "The kernel reported trouble.",
        keys: &[
            ("kind", "what it complains of, as `warning`, `page-fault`, `soft-lockup`"),
            (
                "title",
                "one line that is the same each time: no address, no number that differs from run to run",
            ),
            ("lines", "the report as it was printed, without time stamps"),
            ("trace", "where it happened, innermost first: a list of frames"),
            ("registers", "the registers that it shows: a list"),
            ("process", "which process was running"),
            ("cpu", "on which processor"),
            ("seconds", "when it began, after the kernel's start"),
            ("during", "the test in which it happened"),
            ("panic", "what Rust said of it, where it was a panic"),
        ],
    },
    Object {
        name: "note",
        meaning: "Something that the user should know, as a fall-back and its reason.",
        keys: &[("text", "one line")],
    },
    Object {
        name: "end",
        meaning: "A run is over. Everything of it is here once more: who wants to know nothing before the end needs no other event. It is also what `record.json` has in it.",
        keys: &[
            ("id", "the run's name, for `vexlab log`; `null` where nothing of it is kept"),
            ("invocation", "as in `begin`"),
            ("module", "as in `begin`"),
            ("kernel", "as in `begin`"),
            ("started", "when it began"),
            ("seconds", "how long it took; less than the phases' sum, since some go on at once"),
            ("class", "what it ended in: [exit-codes.md](exit-codes.md) has them all"),
            ("reasons", "what led to a class other than `passed`: a list of lines"),
            ("error", "why nothing could be judged, as in the event `error`; else `null`"),
            ("exit", "how the command of `vexlab run` ended: `{\"status\": 0}` or `{\"signal\": 9}`"),
            (
                "accelerator",
                "what ran the guest's instructions: `kvm` or `tcg`; `null` where it is not known",
            ),
            ("phases", "each as in `phase`"),
            ("tests", "each as in `test`"),
            ("splats", "each as in `splat`"),
            ("dir", "the folder with what is kept of it; `null` where nothing is"),
            (
                "console",
                "the console of the machine in which the worst was seen: a path in that folder; `null` where there was no machine",
            ),
        ],
    },
    Object {
        name: "summary",
        meaning: "All runs are over. It is the last line, unless there is an `error`: an output without either was cut off.",
        keys: &[
            ("runs", "each run's verdict: a list"),
            ("class", "the worst class"),
            ("exit_status", "the status that vexlab exits with"),
        ],
    },
    Object {
        name: "error",
        meaning: "What was asked for did not come to its end: nothing was run, or not all.",
        keys: &[
            ("class", "the class that it makes"),
            ("message", "what failed"),
            ("causes", "why, each followed by its own cause: a list"),
            ("remedy", "what to do about it"),
        ],
    },
];

/// What is in events.
const PARTS: &[Object] = &[
    Object {
        name: "a frame",
        meaning: "A line of a trace: `symbol+offset/size [module]`.",
        keys: &[
            ("symbol", "the function as the kernel names it"),
            ("offset", "how far behind the symbol, in bytes: where the call returns to"),
            ("size", "how long the function is, in bytes"),
            ("module", "the module that it is in; `null` for the kernel"),
            ("reliable", "whether the unwinder vouches for it"),
            ("exact", "whether it is the instruction itself, not where a call returns to"),
            (
                "ambiguous",
                "whether it may be in either of several functions of the same name and size; no place is known then",
            ),
            (
                "places",
                "where that is in the source, the innermost inlined function first; empty where it isn't known",
            ),
        ],
    },
    Object {
        name: "a place",
        meaning: "",
        keys: &[
            ("function", "demangled"),
            ("language", "`c`, `rust` or `other`"),
            ("file", "relative to the project, where it is found there"),
            ("line", "counted from 1"),
            ("column", "counted from 1"),
            ("excerpt", "the source around the line: a list of `number` and `text`"),
        ],
    },
    Object {
        name: "a register",
        meaning: "",
        keys: &[("name", "its name"), ("value", "hexadecimal, as a text")],
    },
    Object { name: "a process", meaning: "", keys: &[("name", "its name"), ("pid", "its number")] },
    Object {
        name: "a panic",
        meaning: "",
        keys: &[("message", "its message"), ("place", "`file:line:column`")],
    },
    Object {
        name: "a verdict",
        meaning: "",
        keys: &[("kernel", "the kernel's name"), ("class", "what the run ended in")],
    },
];

/// The documentation of the format: a Markdown page.
pub fn page() -> String {
    let mut page = format!(
        "# The format of events and records\n\n\
         `vexlab test --format json` prints an object a line for everything that happens, and nothing else on standard \
         output. Each run's folder has a `record.json` with the run's `end`. This is version {VERSION}.\n\n\
         Each object has `version` and `event`; the event says which other keys there are. A key is never left out: \
         what isn't known is `null`. Within a version keys and events may be added, so pass over what you don't know; \
         when a key goes, or means something else, the version grows. Times are in seconds, moments in RFC 3339. Texts \
         come out of machines, and are anybody's: escape them.\n\n\
         ```json\n{EXAMPLE}\n```\n\n## Events\n"
    );
    EVENTS.iter().for_each(|object| section(&mut page, object, true));
    page.push_str("\n## What is in them\n");
    PARTS.iter().for_each(|object| section(&mut page, object, false));
    page
}

/// Lines as they are printed.
const EXAMPLE: &str = r#"{"version":1,"event":"test","name":"load","outcome":"passed","seconds":0.021,"attempts":1,"details":[]}
{"version":1,"event":"summary","runs":[{"kernel":"debian-6.1","class":"passed"}],"class":"passed","exit_status":0}"#;

fn section(page: &mut String, object: &Object, is_event: bool) {
    let Object { name, meaning, keys } = object;
    let name = if is_event { format!("`{name}`") } else { (*name).to_owned() };
    page.push_str(&format!("\n### {name}\n\n"));
    if !meaning.is_empty() {
        page.push_str(&format!("{meaning}\n\n"));
    }
    page.push_str("| key | what |\n| --- | --- |\n");
    keys.iter().for_each(|(key, what)| page.push_str(&format!("| `{key}` | {what} |\n")));
}

#[cfg(test)]
mod tests {
    use lab::verdict::Class;
    use serde_json::Value;

    use super::*;
    use crate::format::{Event, Verdict};
    use crate::specimen;

    /// An event of each kind, with something in each key.
    fn events() -> Vec<(&'static str, Event)> {
        let run = specimen::passed();
        let name = || "load".to_owned();
        let runs = vec![Verdict { kernel: "debian-6.1".to_owned(), class: Class::Passed }];
        vec![
            ("begin", Event::Begin { invocation: name(), module: name(), kernel: name() }),
            ("phase", Event::Phase(run.phases[0].clone())),
            ("test-begin", Event::TestBegin { name: name() }),
            ("test", Event::Test(run.tests[0].clone())),
            ("splat", Event::Splat(specimen::splat())),
            ("note", Event::Note { text: name() }),
            ("end", Event::End(Box::new(run))),
            ("summary", Event::Summary { runs, class: Class::Passed, exit_status: 0 }),
            ("error", Event::Error(specimen::trouble())),
        ]
    }

    fn keys(value: &Value) -> Vec<String> {
        let mut keys: Vec<String> = value.as_object().expect("an object").keys().cloned().collect();
        keys.retain(|key| key != "version" && key != "event");
        keys.sort();
        keys
    }

    fn documented(objects: &[Object], name: &str) -> Vec<String> {
        let object = objects.iter().find(|object| object.name == name);
        let object = object.unwrap_or_else(|| panic!("{name} is not documented"));
        let mut keys: Vec<String> = object.keys.iter().map(|(key, _)| (*key).to_owned()).collect();
        keys.sort();
        keys
    }

    #[test]
    fn every_key_is_documented_and_every_documented_key_is_there() {
        let events = events();
        assert_eq!(events.len(), EVENTS.len());
        for (name, event) in &events {
            let value: Value = serde_json::from_str(&event.line()).unwrap();
            assert_eq!((&value["version"], &value["event"]), (&VERSION.into(), &Value::from(*name)));
            assert_eq!(keys(&value), documented(EVENTS, name), "{name}");
        }
        let value = |name| {
            let (_, event) = events.iter().find(|(other, _)| *other == name).unwrap();
            serde_json::from_str::<Value>(&event.line()).unwrap()
        };
        let (splat, summary) = (value("splat"), value("summary"));
        let parts = [
            ("a frame", &splat["trace"][0]),
            ("a place", &splat["trace"][0]["places"][0]),
            ("a register", &splat["registers"][0]),
            ("a process", &splat["process"]),
            ("a panic", &splat["panic"]),
            ("a verdict", &summary["runs"][0]),
        ];
        assert_eq!(parts.len(), PARTS.len());
        for (name, part) in parts {
            assert_eq!(keys(part), documented(PARTS, name), "{name}");
        }
    }

    #[test]
    fn the_example_is_what_is_printed() {
        let events = events();
        let line = |name| events.iter().find(|(other, _)| *other == name).unwrap().1.line();
        assert_eq!(EXAMPLE, format!("{}\n{}", line("test"), line("summary")));
    }

    #[test]
    fn what_is_printed() {
        let lines: Vec<String> = events().iter().map(|(_, event)| event.line()).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }

    #[test]
    fn the_documentation_is_what_the_program_says() {
        assert_eq!(include_str!("../../../docs/report-format.md"), page(), "run `make docs`");
    }
}
