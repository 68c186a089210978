// SPDX-License-Identifier: GPL-2.0-only
//! One page with everything: which test ended how on which kernel, where the time went, what the kernels said and where
//! in the source. It needs nothing but itself, and has no script.

use std::fs;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use lab::splat::{Frame, Place};
use lab::verdict::{Class, Outcome};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::format::{PhaseTime, Run, Splat, Test};
use crate::text::{self, plain};

/// How much of a console is on the page, in bytes: its end.
const CONSOLE: u64 = 1 << 20;

/// How many consoles beside the worst one's a run has on the page.
const CONSOLES: usize = 16;

/// Makes the page. The consoles are read from the runs' folders.
pub fn page(runs: &[Run]) -> String {
    let title = title(runs);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Whatever a mistake of ours would let in can't load or run anything.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                h1 { (title) }
                @if let Some(first) = runs.first() {
                    p.soft { (first.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()) }
                }
                (grid(runs))
                (timings(runs))
                @for (index, run) in runs.iter().enumerate() { (of_run(index, run)) }
            }
        }
    };
    page.into_string()
}

fn title(runs: &[Run]) -> String {
    let passed = runs.iter().filter(|run| run.class == Class::Passed).count();
    let module = runs.first().map_or_else(|| "nothing".to_owned(), |run| text::plain_line(&run.module));
    match (passed, runs.len()) {
        (_, 1) => format!("{module}: {}", runs[0].class),
        (passed, all) => format!("{module}: {passed} of {all} runs passed"),
    }
}

/// Tests down, kernels across.
fn grid(runs: &[Run]) -> Markup {
    let mut names: Vec<&str> = Vec::new();
    for name in runs.iter().flat_map(|run| &run.tests).map(|test| &*test.name) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    html! {
        div.scroll { table {
            tr { th { "test" } @for (index, run) in runs.iter().enumerate() {
                th.cell { a href={ "#run" (index) } { (plain(&run.kernel)) } }
            } }
            tr { td { "verdict" } @for run in runs { td.cell { (badge(run)) } } }
            @for name in names { tr {
                td.name { (plain(name)) }
                @for run in runs { td.cell { (cell(run, name)) } }
            } }
        } }
    }
}

fn cell(run: &Run, name: &str) -> Markup {
    // One that was told of twice failed the second time.
    let Some(test) = run.tests.iter().rev().find(|test| test.name == name) else {
        return html! { span.soft title="it was not run" { "–" } };
    };
    let (class, mark) = look(test.outcome);
    html! {
        span class=(class) title=(class) { (mark) " " (class) }
        @if let Some(seconds) = test.seconds { span.time { (time(seconds)) } }
    }
}

fn look(outcome: Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Passed => ("passed", "✓"),
        Outcome::Failed => ("failed", "✗"),
        Outcome::Flaky => ("flaky", "~"),
        Outcome::Skipped => ("skipped", "–"),
    }
}

fn badge(run: &Run) -> Markup {
    let class = if run.class == Class::Passed { "badge passed" } else { "badge failed" };
    html! { span class=(class) title=(run.class.meaning()) { (run.class.name()) } }
}

/// Where the time went: bars of one scale.
fn timings(runs: &[Run]) -> Markup {
    let phases = runs.iter().flat_map(|run| &run.phases).map(|phase| phase.seconds);
    let longest = phases.fold(0.0, f64::max);
    html! {
        h2 { "Time" }
        @for run in runs {
            h3 { (plain(&run.kernel)) " " span.soft { (time(run.seconds)) " in all" } }
            div.bars { @for phase in &run.phases { (bar(phase, longest)) } }
        }
        p.soft { "The machine starts while the module is built, so the whole is less than the sum." }
    }
}

fn bar(phase: &PhaseTime, longest: f64) -> Markup {
    let share = if longest > 0.0 { (phase.seconds / longest * 100.0).clamp(0.0, 100.0) } else { 0.0 };
    html! {
        span { (phase.phase.name()) }
        span { div.bar style={ "width:" (format!("{share:.1}")) "%" } {} }
        span.mono { (time(phase.seconds)) }
    }
}

fn time(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

fn of_run(index: usize, run: &Run) -> Markup {
    let bad = run.tests.iter().filter(|test| test.outcome != Outcome::Passed);
    html! {
        h2 id={ "run" (index) } { (plain(&run.module)) " on " (plain(&run.kernel)) " " (badge(run)) }
        @if !run.why().is_empty() { pre { (plain(&run.why().join("\n"))) } }
        @for test in bad { (of_test(test)) }
        @for splat in &run.splats { (of_splat(splat)) }
        (consoles(run))
    }
}

fn of_test(test: &Test) -> Markup {
    let (class, mark) = look(test.outcome);
    html! {
        h3 { span class=(class) { (mark) " " (class) } " " span.mono { (plain(&test.name)) } }
        @if !test.details.is_empty() { pre { (plain(&test.details.join("\n"))) } }
    }
}

fn of_splat(splat: &Splat) -> Markup {
    html! {
        h3 { span.failed { (splat.kind.name()) } ": " span.mono { (plain(&splat.title)) } }
        @if let Some(during) = &splat.during { p.soft { "while " span.mono { (plain(during)) } " ran" } }
        @if let Some(panic) = &splat.panic { p { (plain(&panic.message)) " at " code { (plain(&panic.place)) } } }
        ol.trace { @for frame in &splat.trace { (of_frame(frame)) } }
        @if !splat.lines.is_empty() { details {
            summary { "The report as the kernel printed it" }
            pre { (plain(&splat.lines.join("\n"))) }
        } }
    }
}

fn of_frame(frame: &Frame) -> Markup {
    html! { li {
        code { @if !frame.reliable { "? " } (plain(&frame.symbol)) (format!("+{:#x}/{:#x}", frame.offset, frame.size)) }
        @if let Some(module) = &frame.module { " " span.soft { "[" (plain(module)) "]" } }
        @if frame.ambiguous { " " span.soft { (text::AMBIGUOUS) } }
        @for place in &frame.places { (of_place(place)) }
    } }
}

fn of_place(place: &Place) -> Markup {
    html! {
        div { code { (plain(&place.function)) } " at " code { (plain(&text::place(place))) } }
        @if !place.excerpt.is_empty() { pre.excerpt { @for line in &place.excerpt {
            span.at[line.number == place.line] { (format!("{:>5}  ", line.number)) (plain(&line.text)) }
            "\n"
        } } }
    }
}

/// The console of the machine in which the worst was seen, and then those of the others.
fn consoles(run: &Run) -> Markup {
    let Some(worst) = run.console_path() else { return html! {} };
    let others = run.machines().into_iter().filter(|(_, path)| *path != worst);
    html! {
        (console("Console", &worst))
        @for (number, path) in others.take(CONSOLES) { (console(&format!("Console of machine {number}"), &path)) }
    }
}

fn console(title: &str, path: &Path) -> Markup {
    match end_of(path) {
        Ok(text) => html! { details { summary { (title) } pre { (plain(&text)) } } },
        Err(error) => html! { p.soft { (title) ", which can't be read: " (error) } },
    }
}

/// The end of a file, and a word of what was left out.
fn end_of(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let left_out = file.metadata()?.len().saturating_sub(CONSOLE);
    file.seek(SeekFrom::Start(left_out))?;
    let mut bytes = Vec::new();
    file.take(CONSOLE).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(if left_out > 0 { format!("({left_out} bytes before this are left out)\n{text}") } else { text })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen;

    const HOSTILE: &str = "</pre><script>alert(1)</script>\"'&\u{1b}[2J";

    /// A page of runs whose console says something hostile.
    fn page_of(mut runs: Vec<Run>) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("console.log"), format!("[ 1.0] {HOSTILE}\n")).unwrap();
        for run in &mut runs {
            run.dir = Some(dir.path().display().to_string());
        }
        page(&runs)
    }

    #[test]
    fn what_is_written() {
        let page = page_of(specimen::runs()).replace(include_str!("style.css"), "…");
        insta::assert_snapshot!(page.replace("><", ">\n<"));
    }

    #[test]
    fn nothing_hostile_gets_out_of_its_place() {
        let mut run = specimen::failed();
        for text in [&mut run.kernel, &mut run.module, &mut run.tests[1].name] {
            HOSTILE.clone_into(text);
        }
        run.tests[1].details = vec![HOSTILE.to_owned()];
        run.reasons = vec![HOSTILE.to_owned()];
        let splat = &mut run.splats[0];
        splat.title = HOSTILE.to_owned();
        splat.during = Some(HOSTILE.to_owned());
        splat.lines = vec![HOSTILE.to_owned()];
        splat.trace[0].symbol = HOSTILE.to_owned();
        splat.trace[0].module = Some(HOSTILE.to_owned());
        let place = &mut splat.trace[0].places[0];
        place.file = HOSTILE.to_owned();
        place.function = HOSTILE.to_owned();
        place.excerpt[0].text = HOSTILE.to_owned();
        let panic = splat.panic.as_mut().unwrap();
        panic.message = HOSTILE.to_owned();
        panic.place = HOSTILE.to_owned();
        run.phases[0].seconds = 1e300;

        let page = page_of(vec![run]);
        assert!(!page.contains("<script"), "{page}");
        assert!(!page.contains('\u{1b}'), "{page}");
        assert!(page.matches("&lt;script&gt;").count() >= 15, "{page}");
        // Nothing is fetched.
        for word in ["http://", "https://", "src=", "url(", "@import", "<link"] {
            assert!(!page.contains(word), "{word}");
        }
    }

    #[test]
    fn each_machine_of_a_run_has_its_console() {
        let dir = tempfile::tempdir().unwrap();
        for (folder, text) in [("", "first"), ("2", "worst"), ("10", "last"), ("disks", "none")] {
            fs::create_dir_all(dir.path().join(folder)).unwrap();
            fs::write(dir.path().join(folder).join("console.log"), text).unwrap();
        }
        let mut run = specimen::failed();
        run.dir = Some(dir.path().display().to_string());
        run.console = Some("2/console.log".to_owned());
        let shown = consoles(&run).into_string();
        let place = |text: &str| shown.find(text).unwrap_or(usize::MAX);
        assert!(
            place("<summary>Console</summary><pre>worst") < place("Console of machine 1</summary><pre>first")
        );
        assert!(place("machine 1<") < place("Console of machine 10</summary><pre>last"), "{shown}");
        assert!(!shown.contains("none"), "{shown}");
    }

    #[test]
    fn of_a_long_console_the_end_is_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), [vec![b'a'; 10], vec![b'b'; CONSOLE as usize]].concat()).unwrap();
        let text = end_of(file.path()).unwrap();
        assert!(text.starts_with("(10 bytes before this are left out)\nbbb"));
        assert!(end_of(Path::new("/nowhere")).is_err());
    }
}
