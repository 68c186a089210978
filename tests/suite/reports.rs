// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;
use roxmltree::Document;
use rustix::process::Signal;
use serde_json::Value;

use crate::call::{Call, Ended};
use crate::harness::{Context, KERNEL, USUAL, machine, plain};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("reports::of_a_pass", USUAL, of_a_pass),
        machine("reports::of_an_oops", USUAL, of_an_oops),
        machine("reports::of_a_failed_build", USUAL, of_a_failed_build),
        machine("reports::of_several_kernels", USUAL, of_several_kernels),
        machine("reports::of_an_interrupted_run", USUAL, of_an_interrupted_run),
        machine("reports::of_a_run_that_is_killed", USUAL, of_a_run_that_is_killed),
        machine("reports::nothing_in_a_test_is_a_command", USUAL, nothing_in_a_test_is_a_command),
        machine("reports::a_console_that_finds_no_space", USUAL, a_console_that_finds_no_space),
        plain("reports::of_no_run", Duration::from_secs(20), of_no_run),
        plain(
            "reports::a_file_that_can_not_be_written",
            Duration::from_secs(20),
            a_file_that_can_not_be_written,
        ),
        plain("reports::records_of_others", Duration::from_secs(20), records_of_others),
    ]
}

/// A case with a cache of its own: the records in it are the test's.
struct Lab<'a> {
    context: &'a Context,
    cache: PathBuf,
    dir: PathBuf,
}

impl<'a> Lab<'a> {
    fn new(context: &'a Context, case: &str) -> Self {
        Self { context, cache: context.own_machines(), dir: context.case(case) }
    }

    fn vexlab(&self, arguments: &[&str]) -> Call {
        self.context.vexlab(arguments).env("XDG_CACHE_HOME", &self.cache).dir(&self.dir)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Replaces a text in a file of the case.
    fn edit(&self, name: &str, from: &str, to: &str) {
        let text = self.read(name);
        assert!(text.contains(from), "{name} has {from:?}");
        fs::write(self.dir.join(name), text.replace(from, to)).expect("a copy can be written");
    }

    /// The page of the newest runs.
    fn page(&self) -> String {
        let ended = self.vexlab(&["report", "--html", "page.html"]).run();
        assert_eq!(ended.status, 0, "{ended}");
        self.read("page.html")
    }
}

/// Standard output, each line of which is an object of the format.
fn events(ended: &Ended) -> Vec<Value> {
    let line =
        |line| serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}; {ended}"));
    let events: Vec<Value> = ended.stdout.lines().map(line).collect();
    assert!(events.iter().all(|event| event["version"] == 1 && event["event"].is_string()), "{ended}");
    events
}

fn of_kind<'a>(events: &'a [Value], kind: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == kind).collect()
}

/// How many nodes a JUnit report has of each kind.
fn junit(text: &str) -> [usize; 4] {
    let document = Document::parse(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    ["testcase", "failure", "error", "skipped"]
        .map(|name| document.descendants().filter(|node| node.has_tag_name(name)).count())
}

fn of_a_pass(context: &Context) {
    let lab = Lab::new(context, "good_c");
    let ended = lab.vexlab(&["test", "--format", "json", "--junit", "j.xml", "--ktap", "k.txt"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    let events = events(&ended);
    assert_eq!((&events[0]["event"], &events[0]["kernel"]), (&"begin".into(), &KERNEL.into()), "{ended}");
    let names: Vec<_> = of_kind(&events, "test").iter().map(|test| &test["name"]).collect();
    assert_eq!(names[..3], ["load", "is-loaded", "unload"], "{ended}");
    assert!(
        names[3..].iter().all(|name| name.as_str().is_some_and(|name| name.starts_with("life/"))),
        "{ended}"
    );
    let last = events.last().expect("a line");
    assert_eq!((&last["event"], &last["class"]), (&"summary".into(), &"passed".into()), "{ended}");

    let [end] = of_kind(&events, "end")[..] else { panic!("one end: {ended}") };
    let id = end["id"].as_str().expect("it has a name");
    let record =
        fs::read_to_string(lab.cache.join("vexlab/runs").join(id).join("record.json")).expect("a record");
    assert_eq!(&serde_json::from_str::<Value>(&record).expect("JSON"), end);

    assert_eq!(junit(&lab.read("j.xml")), [9, 0, 0, 2]);
    let (lines, problem) = lab::ktap::parse(&lab.read("k.txt"));
    assert_eq!((lines.len(), problem), (10, None));

    let listed = lab.vexlab(&["log"]).run();
    assert!(listed.stdout.starts_with(&format!("{id}  ")), "{listed}");
    assert!(listed.stdout.contains("passed: good_c on debian-6.1-cloud, "), "{listed}");
    let shown = lab.vexlab(&["log", "last"]).run();
    assert!(shown.stdout.contains("  ok   is-loaded"), "{shown}");
    assert!(
        shown.stdout.contains("\npassed: good_c on debian-6.1-cloud (tcg): 7 passed, 2 skipped\n"),
        "{shown}"
    );
    let console = lab.vexlab(&["log", id, "--console"]).run();
    let kept =
        fs::read_to_string(lab.cache.join("vexlab/runs").join(id).join("console.log")).expect("a console");
    assert_eq!((console.status, console.stdout), (0, kept));
    assert!(lab.page().contains("<title>good_c: passed</title>"));
}

fn of_an_oops(context: &Context) {
    let lab = Lab::new(context, "test_bugs");
    let ended = lab.vexlab(&["test", "--format", "json", "--junit", "j.xml", "--ktap", "k.txt"]).run();
    assert_eq!(ended.status, 14, "{ended}");
    let events = events(&ended);
    let last = events.last().expect("a line");
    assert_eq!((&last["class"], &last["exit_status"]), (&"oops".into(), &14.into()), "{ended}");
    let junit_text = lab.read("j.xml");
    let [cases, failures, errors, _] = junit(&junit_text);
    assert_eq!((cases, failures, errors), (4, 2, 0), "the test and the verdict: {junit_text}");
    let (lines, problem) = lab::ktap::parse(&lab.read("k.txt"));
    assert_eq!((lines.len(), problem), (4, None));
    let shown = lab.vexlab(&["log", "last"]).run();
    assert!(shown.stdout.contains(" FAIL  read-the-parameter"), "{shown}");
    assert!(shown.stdout.contains("\noops: test_bugs on "), "{shown}");
    let page = lab.page();
    assert!(page.contains("kernel BUG at"), "{page}");
}

fn of_a_failed_build(context: &Context) {
    let lab = Lab::new(context, "c_error");
    let ended = lab.vexlab(&["test", "--format", "github", "--junit", "j.xml", "--ktap", "k.txt"]).run();
    assert_eq!(ended.status, 10, "{ended}");
    let annotation = ended.stdout.lines().find(|line| line.starts_with("::error ")).expect("an annotation");
    let file = lab.dir.join("c_error.c");
    assert!(
        annotation.starts_with(&format!("::error file={},line=7,title=", file.display())),
        "{annotation}"
    );
    assert_eq!(junit(&lab.read("j.xml")), [1, 0, 1, 0], "nothing was judged");
    let (lines, problem) = lab::ktap::parse(&lab.read("k.txt"));
    assert_eq!((lines.len(), problem), (1, None));
    assert_eq!(lines[0].outcome, lab::verdict::Outcome::Failed);
    let shown = lab.vexlab(&["log", "last"]).run();
    assert!(shown.stdout.contains("error: ‘undeclared_name’ undeclared"), "{shown}");
    assert!(lab.page().contains("undeclared_name"));
}

/// What belongs to one command is told together, and is one page.
fn of_several_kernels(context: &Context) {
    let lab = Lab::new(context, "good_c");
    assert_eq!(lab.vexlab(&["test"]).run().status, 0);
    let ended = lab.vexlab(&["test", "--kernel", KERNEL, "--kernel", KERNEL, "--junit", "j.xml"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.ends_with("2 of 2 kernels passed\n"), "{ended}");
    assert_eq!(junit(&lab.read("j.xml")), [18, 0, 0, 4]);
    assert!(lab.page().contains("<title>good_c: 2 of 2 runs passed</title>"));
    assert_eq!(lab.vexlab(&["log"]).run().stdout.lines().count(), 3);
}

/// A test that sleeps, once the module is loaded.
fn endless(lab: &Lab<'_>) -> crate::call::Running {
    lab.edit("vexlab.toml", "timeout = 2", "timeout = 600");
    fs::write(lab.dir.join("j.xml"), "<testsuites/>").expect("a report of another run");
    let running = lab.vexlab(&["test", "--junit", "j.xml", "--ktap", "k.txt"]).start();
    lab.context.wait_until("the module is loaded", USUAL, || running.stdout().contains("  ok   load"));
    running
}

fn of_an_interrupted_run(context: &Context) {
    let lab = Lab::new(context, "test_hangs");
    let running = endless(&lab);
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    let text = lab.read("j.xml");
    let [cases, _, errors, _] = junit(&text);
    assert!(cases >= 2 && errors >= 1 && text.contains(r#"name="load""#), "what is known is told: {text}");
    let (_, problem) = lab::ktap::parse(&lab.read("k.txt"));
    assert_eq!(problem, None);
    assert_eq!(lab.vexlab(&["log"]).run().stdout, "");
}

/// Who is killed can tell nothing any more, so it was told before.
fn of_a_run_that_is_killed(context: &Context) {
    let lab = Lab::new(context, "test_hangs");
    let running = endless(&lab);
    running.signal(Signal::KILL);
    running.wait();
    let text = lab.read("j.xml");
    assert_eq!(junit(&text), [1, 0, 1, 0]);
    assert!(text.contains("vexlab did not come to its end"), "{text}");
    let (lines, problem) = lab::ktap::parse(&lab.read("k.txt"));
    assert_eq!((lines.len(), problem), (1, None));
}

/// What a test prints may look like a command of GitHub's, a terminal's or a browser's.
fn nothing_in_a_test_is_a_command(context: &Context) {
    let lab = Lab::new(context, "good_c");
    let test = "\n[[test]]\nname = \"hostile\"\nrun = [\"sh\", \"-c\", \"echo '::error::forged'; \
                printf '<script>\\\\033[2J]]>\\\\n'; exit 1\"]\n";
    let manifest = lab.read("vexlab.toml");
    fs::write(lab.dir.join("vexlab.toml"), format!("{manifest}{test}")).expect("a copy can be written");
    let ended = lab.vexlab(&["test", "--format", "github", "--junit", "j.xml"]).run();
    assert_eq!(ended.status, 1, "{ended}");
    assert!(ended.stdout.contains("::error::forged") && !ended.stdout.contains('\u{1b}'), "{ended}");
    let (mut word, mut obeyed) = (None, Vec::new());
    for line in ended.stdout.lines().map(str::trim) {
        if let Some(new) = line.strip_prefix("::stop-commands::") {
            word = Some(format!("::{new}::"));
        } else if Some(line) == word.as_deref() {
            word = None;
        } else if word.is_none() {
            obeyed.push(line);
        }
    }
    assert!(
        matches!(obeyed[..], [line] if line.starts_with("::error title=test hostile failed on ")),
        "{ended}"
    );
    assert_eq!(junit(&lab.read("j.xml")), [10, 1, 0, 2]);
    let page = lab.page();
    assert!(page.contains("&lt;script&gt;") && !page.contains("<script"), "{page}");
}

/// What is missing of a console may be what would have spoiled the pass.
fn a_console_that_finds_no_space(context: &Context) {
    let lab = Lab::new(context, "good_c");
    let talks = "[[test]]\nname = \"talks\"\nrun = [\"sh\", \"-c\", \"head -c 99999 /dev/zero | tr '\\\\0' x > /dev/console\"]\n";
    lab.edit("vexlab.toml", "[[test]]", &format!("{talks}\n[[test]]"));
    let runs = lab.cache.join("vexlab/runs");
    fs::create_dir_all(&runs).expect("a folder for runs");
    let script = format!("mount -t tmpfs -o size=48k none {} && exec \"$@\"", runs.display());
    let test = [env!("CARGO_BIN_EXE_vexlab"), "test", "--accel", "tcg", "--junit", "j.xml"];
    let program = context.program(Path::new("unshare")).args(["-rm", "sh", "-c", &script, "sh"]);
    let ended = program.args(test).env("XDG_CACHE_HOME", &lab.cache).dir(&lab.dir).run();
    assert_eq!(ended.status, 20, "{ended}");
    assert!(ended.stdout.contains("  ok   talks"), "{ended}");
    let why = "the console could not be kept whole: No space left on device (os error 28)";
    assert!(ended.stdout.contains(&format!("\n  {why}\n")), "{ended}");
    assert_eq!(junit(&lab.read("j.xml")), [11, 0, 1, 2], "{ended}");
}

fn of_no_run(context: &Context) {
    let dir = context.case("good_c");
    let arguments = ["test", "--kernel", "debian-0.1", "--format", "json", "--junit", "j.xml"];
    let ended = context.vexlab(arguments).dir(&dir).run();
    assert_eq!(ended.status, 2, "{ended}");
    let events = events(&ended);
    let [error] = &events[..] else { panic!("one event: {ended}") };
    assert_eq!((&error["event"], &error["class"]), (&"error".into(), &"usage".into()), "{ended}");
    let text = fs::read_to_string(dir.join("j.xml")).expect("a report");
    assert_eq!(junit(&text), [1, 0, 1, 0], "{text}");
}

/// It is known before anything is done.
fn a_file_that_can_not_be_written(context: &Context) {
    let dir = context.case("good_c");
    let ended = context.vexlab(["test", "--junit", "good_c.c/j.xml"]).dir(&dir).run();
    assert_eq!((ended.status, &*ended.stdout), (20, ""), "{ended}");
    insta::assert_snapshot!(ended.stderr, @r"
    error: write the report good_c.c/j.xml
      cause: make the folder good_c.c
      cause: File exists (os error 17)
    ");
}

/// A record is a file like any other: anybody may have written it.
fn records_of_others(context: &Context) {
    let cache = context.empty_cache();
    let vexlab = |arguments: &[&str]| context.vexlab(arguments).env("XDG_CACHE_HOME", &cache).run();
    assert_eq!(vexlab(&["log"]).stdout, "");
    let ended = vexlab(&["report", "--html", "page.html"]);
    assert_eq!(ended.status, 2, "{ended}");
    for (id, text) in [("1", "{\"version\":2}"), ("2", "{}")] {
        let dir = cache.join("vexlab/runs").join(id);
        fs::create_dir_all(&dir).expect("a folder for a record");
        fs::write(dir.join("record.json"), text).expect("a record");
    }
    let ended = vexlab(&["log", "1"]);
    assert_eq!(ended.status, 20, "{ended}");
    insta::assert_snapshot!(ended.stderr, @r"
    error: [DIR]/cache/vexlab/runs/1/record.json was written by a newer vexlab
      cause: it has version 2 of the format, and this one reads 1
      help: update vexlab
    ");
    let ended = vexlab(&["log", "2"]);
    assert_eq!(ended.status, 20, "{ended}");
    insta::assert_snapshot!(ended.stderr, @r"
    error: [DIR]/cache/vexlab/runs/2/record.json is no record of a run
      cause: missing field `version` at line 1 column 2
      help: nothing else needs it: rm -r [DIR]/cache/vexlab/runs/2
    ");
    let ended = vexlab(&["log"]);
    insta::assert_snapshot!(ended.stdout, @r"
    2  [DIR]/cache/vexlab/runs/2/record.json is no record of a run
    1  [DIR]/cache/vexlab/runs/1/record.json was written by a newer vexlab
    ");
    assert_eq!(ended.status, 0, "what can't be read hides nothing else: {ended}");
}
