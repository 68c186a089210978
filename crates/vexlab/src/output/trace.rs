// SPDX-License-Identifier: GPL-2.0-only
//! A kernel's report as text: what, where in the sources, and how it came there.

use std::fmt::Write as _;
use std::path::Path;

use lab::splat::{Frame, Language, Place, SourceLine, Splat};
use report::text::AMBIGUOUS;

/// How many frames without a place are named in a row.
const NAMED: usize = 4;

/// So many functions of Rust's own library in a row are told each by itself; more are named in one line.
const FOLDED: usize = 2;

/// How many excerpts of sources are shown of a trace.
const EXCERPTS: usize = 3;

/// A function's name is not cut before so many characters.
const WIDEST_NAME: usize = 48;

/// A line of source is not cut before so many characters.
const WIDEST_LINE: usize = 100;

/// Reports that differ, each with how often it was made. Those are equal that are of the same thing, by the same way
/// through modules: the kernel's own functions may have been called by any program.
pub(crate) fn different(splats: &[Splat]) -> Vec<(&Splat, usize)> {
    fn way(splat: &Splat) -> impl Iterator<Item = (&str, u64)> {
        let frames = splat.trace.iter().filter(|frame| frame.reliable && frame.module.is_some());
        frames.map(|frame| (frame.symbol.as_str(), frame.offset))
    }
    let mut different: Vec<(&Splat, usize)> = Vec::new();
    for splat in splats {
        let same = |one: &&mut (&Splat, usize)| {
            (one.0.kind, &one.0.title) == (splat.kind, &splat.title) && way(one.0).eq(way(splat))
        };
        match different.iter_mut().find(same) {
            Some((_, times)) => *times += 1,
            None => different.push((splat, 1)),
        }
    }
    different
}

/// A report in lines, each with its end.
pub(crate) fn render(splat: &Splat, times: usize, colour: bool) -> String {
    let paint = Paint(colour);
    let again = if times > 1 { format!(" ({times} times)") } else { String::new() };
    let mut text = format!("{}: {}{again}\n", paint.bad(splat.kind.name()), plain(&splat.title));
    if let Some(panic) = &splat.panic {
        if !splat.title.contains(&panic.message) {
            let _ = writeln!(text, "  {}", plain(&panic.message));
        }
        let _ = writeln!(text, "  at {}", plain(&panic.place));
    }
    let circumstances = circumstances(splat);
    if !circumstances.is_empty() {
        let _ = writeln!(text, "  {}", plain(&circumstances));
    }
    let items = items(&splat.trace);
    let width = items.iter().filter_map(Item::name_width).max().unwrap_or_default();
    for item in &items {
        item.write(&mut text, width, paint);
    }
    text
}

/// Who ran, where, and for which test.
fn circumstances(splat: &Splat) -> String {
    let mut parts = Vec::new();
    parts.extend(splat.during.as_ref().map(|test| format!("during {test}")));
    parts.extend(splat.process.as_ref().map(|process| format!("process {} ({})", process.name, process.pid)));
    parts.extend(splat.cpu.map(|cpu| format!("processor {cpu}")));
    parts.join(", ")
}

/// A line of a trace, or several that are told in one.
enum Item<'a> {
    /// A function with its place.
    Place { place: &'a Place, inlined: bool, excerpt: bool },
    /// From here on, functions of one language were called by those of another.
    Edge { caller: Language, callee: Language },
    /// Functions that are told by name alone.
    Names { what: &'static str, names: Vec<String> },
}

/// A function of a trace, innermost first.
enum Step<'a> {
    Place { place: &'a Place, inlined: bool },
    Frame(&'a Frame),
}

/// What is shown of a trace: frames that the unwinder vouches for, or all when it vouches for none.
fn items(trace: &[Frame]) -> Vec<Item<'_>> {
    let any_reliable = trace.iter().any(|frame| frame.reliable);
    let mut steps = Vec::new();
    for frame in trace.iter().filter(|frame| frame.reliable || !any_reliable) {
        let last = frame.places.len().saturating_sub(1);
        let places = frame.places.iter().enumerate();
        steps.extend(places.map(|(index, place)| Step::Place { place, inlined: index != last }));
        if frame.places.is_empty() {
            steps.push(Step::Frame(frame));
        }
    }
    let mut items = Vec::new();
    let panicking = panicking(&steps);
    if panicking > 0 {
        let names = steps[..panicking].iter().map(Step::name).collect();
        items.push(Item::Names { what: "panic", names });
    }
    let mut shown: Option<Language> = None;
    let mut rest = &steps[panicking..];
    while let Some((step, after)) = rest.split_first() {
        rest = after;
        match step {
            Step::Place { place, inlined } => {
                if let Some(callee) = shown.filter(|callee| *callee != place.language) {
                    items.push(Item::Edge { caller: place.language, callee });
                }
                shown = Some(place.language);
                let library = 1 + after.iter().take_while(|step| step.is_of_library()).count();
                if step.is_of_library() && library > FOLDED {
                    let names = std::iter::once(step).chain(&after[..library - 1]).map(Step::name).collect();
                    items.push(Item::Names { what: "library", names });
                    rest = &after[library - 1..];
                    continue;
                }
                items.push(Item::Place { place, inlined: *inlined, excerpt: false });
            }
            Step::Frame(_) => match items.last_mut() {
                Some(Item::Names { what: "kernel", names }) => names.push(step.name()),
                _ => items.push(Item::Names { what: "kernel", names: vec![step.name()] }),
            },
        }
    }
    choose_excerpts(&mut items);
    items
}

/// How many of the innermost functions are those that a panic of Rust goes through.
fn panicking(steps: &[Step<'_>]) -> usize {
    let place = |step: &Step<'_>| match step {
        Step::Place { place, .. } => Some((place.function.clone(), is_library(&place.file))),
        Step::Frame(_) => None,
    };
    let is_core =
        |step: &Step<'_>| place(step).is_some_and(|(name, _)| name.starts_with("core::panicking::"));
    let Some(last) = steps.iter().rposition(is_core) else { return 0 };
    let users = |step: &Step<'_>| place(step).is_some_and(|(_, library)| !library);
    steps[last..].iter().position(users).map_or(0, |after| last + after)
}

/// The lines around are shown for the innermost function of each stretch of one language, if possible one of the
/// project's own files.
fn choose_excerpts(items: &mut [Item<'_>]) {
    let stretches = items.split_mut(|item| matches!(item, Item::Edge { .. }));
    for stretch in stretches.take(EXCERPTS) {
        let can = |item: &Item<'_>, own: bool| match item {
            Item::Place { place, .. } => !place.excerpt.is_empty() && (!own || is_own(&place.file)),
            _ => false,
        };
        let found = stretch.iter().position(|item| can(item, true));
        let found = found.or_else(|| stretch.iter().position(|item| can(item, false)));
        if let Some(Item::Place { excerpt, .. }) = found.map(|index| &mut stretch[index]) {
            *excerpt = true;
        }
    }
}

/// Whether a file is the project's.
fn is_own(file: &str) -> bool {
    !Path::new(file).is_absolute()
}

/// Where a file's name begins within Rust's own library or the kernel's headers.
fn short(file: &str) -> &str {
    if is_library(file) {
        return file.rsplit_once("/library/").map_or(file, |(_, rest)| rest);
    }
    let rest = file.split_once("/linux-headers-").and_then(|(_, rest)| rest.split_once('/'));
    rest.map_or(file, |(_, rest)| rest)
}

/// Whether a file is of Rust's own library.
fn is_library(file: &str) -> bool {
    let after = file.rsplit_once("/library/").map(|(_, rest)| rest);
    !is_own(file) && after.is_some_and(|rest| rest.starts_with("core/") || rest.starts_with("alloc/"))
}

impl Step<'_> {
    /// Whether it is a function of Rust's own library.
    fn is_of_library(&self) -> bool {
        matches!(self, Step::Place { place, .. } if is_library(&place.file))
    }

    /// The function alone, as it is told among others.
    fn name(&self) -> String {
        match self {
            Step::Place { place, .. } => name(&place.function),
            Step::Frame(frame) => {
                let symbol = name(&frame.function());
                let symbol = if frame.exact { format!("{symbol}+{:#x}", frame.offset) } else { symbol };
                let module = frame.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
                let which = if frame.ambiguous { format!(" {AMBIGUOUS}") } else { String::new() };
                format!("{symbol}{module}{which}")
            }
        }
    }
}

impl Item<'_> {
    fn name_width(&self) -> Option<usize> {
        match self {
            Item::Place { place, .. } => Some(name(&place.function).chars().count()),
            _ => None,
        }
    }

    fn write(&self, text: &mut String, width: usize, paint: Paint) {
        let _ = match self {
            Item::Place { place, inlined, excerpt } => {
                let inlined = if *inlined { "  (inlined)" } else { "" };
                let function = name(&place.function);
                let _ = writeln!(
                    text,
                    "  {:7} {function:width$}  {}{}",
                    word(place.language),
                    paint.good(&position(place)),
                    paint.faint(inlined)
                );
                if *excerpt {
                    write_excerpt(text, place, paint);
                }
                return;
            }
            Item::Edge { caller, callee } => {
                writeln!(
                    text,
                    "{}",
                    paint.faint(&format!("  -- {} calls {} --", word(*caller), word(*callee)))
                )
            }
            Item::Names { what, names } => {
                let mut list = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
                if names.len() > NAMED {
                    list.push_str(&format!(", and {} more", names.len() - NAMED));
                }
                writeln!(text, "{}", paint.faint(&format!("  {what:7} {list}")))
            }
        };
    }
}

/// `file:line:column`, as far as it is known.
fn position(place: &Place) -> String {
    let mut text = plain(short(&place.file));
    if place.line > 0 {
        text.push_str(&format!(":{}", place.line));
        text.push_str(&place.column.map(|column| format!(":{column}")).unwrap_or_default());
    }
    text
}

fn write_excerpt(text: &mut String, place: &Place, paint: Paint) {
    // An empty line at either end shows nothing.
    let shown = |line: &SourceLine| line.number == place.line || !line.text.trim().is_empty();
    let first = place.excerpt.iter().position(shown).unwrap_or_default();
    let end = place.excerpt.iter().rposition(shown).map_or(0, |last| last + 1);
    let lines = place.excerpt.get(first..end).unwrap_or_default();
    let digits = lines.last().map_or(0, |line| line.number.to_string().len());
    for line in lines {
        let source = plain(&line.text.replace('\t', "    "));
        let source = cut(&source, WIDEST_LINE);
        let here = line.number == place.line;
        let mark = if here { ">" } else { " " };
        let row = format!("        {mark} {:digits$} | {source}", line.number);
        let _ =
            writeln!(text, "{}", if here { paint.here(row.trim_end()) } else { row.trim_end().to_owned() });
    }
}

fn word(language: Language) -> &'static str {
    match language {
        Language::C => "C",
        Language::Rust => "Rust",
        Language::Other => "other",
    }
}

/// A function's name, without the arguments of generic types where it would be too long.
pub(super) fn name(function: &str) -> String {
    let function = plain(function);
    if function.chars().count() <= WIDEST_NAME {
        return function;
    }
    // `<T as Trait>::f` begins with what says most.
    let kept = function.len() - function.trim_start_matches('<').len();
    let (mut short, mut depth) = (function[..kept].to_owned(), 0_usize);
    let mut before = ' ';
    for letter in function[kept..].chars() {
        match letter {
            '<' => {
                depth += 1;
                if depth == 1 {
                    short.push_str("<…");
                }
            }
            // Not the arrow of a function's type.
            '>' if depth > 0 && before != '-' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            short.push(letter);
        }
        before = letter;
    }
    cut(&short, WIDEST_NAME + 16)
}

/// At most so many characters.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// Without what a terminal would obey: the text comes from a machine, or from a file.
fn plain(text: &str) -> String {
    text.replace(|letter: char| letter.is_control(), "\u{fffd}")
}

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint(bool);

impl Paint {
    fn with(self, code: &str, text: &str) -> String {
        if self.0 && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bad(self, text: &str) -> String {
        self.with("1;31", text)
    }

    fn good(self, text: &str) -> String {
        self.with("36", text)
    }

    fn here(self, text: &str) -> String {
        self.with("1", text)
    }

    fn faint(self, text: &str) -> String {
        self.with("2", text)
    }
}

#[cfg(test)]
mod tests;
