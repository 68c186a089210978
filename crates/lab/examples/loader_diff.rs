// SPDX-License-Identifier: GPL-2.0-only
//! Compares `ko`'s judgement of damaged modules with that of a kernel's own loader, in a virtual machine.
//!
//! `cargo run --release -p lab --example loader_diff -- KERNEL MODULE COUNT [SEED]` changes one of the kernel's
//! own modules COUNT times, has each copy judged and loaded, and prints where the two disagree: on whether it is
//! refused, on the errno, or on the words, and which copies the loader took and the kernel then fell over. Copies
//! that `ko` says the loader would be harmed by are not loaded.
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::kernel::{self, Kernel, read_module};
use lab::machine::Accelerator;
use lab::session::Session;
use wire::{Reply, Request};

/// For each conversation with the machine.
const LIMIT: Duration = Duration::from_secs(40);
const PATH: &str = "/vexlab/payload/copy.ko";

/// A xorshift generator: the same copies for the same seed.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    lab::host::forbid_module_loading()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, module, count, seed @ ..] = &arguments[..] else {
        return Err("KERNEL MODULE COUNT [SEED]".into());
    };
    let lab = Lab { cache: Cache::of_user()?, reporter: Arc::new(Silent), cancel: Cancel::default() };
    let kernel = kernel::resolve(&lab, kernel)?;
    let judge = kernel.judge()?;
    let file = kernel.modules()?.path_of(module).ok_or("the kernel has no such module")?;
    let original = unsigned(read_module(&file)?);
    let mut random = Random(seed.first().map_or(Ok(0x9e37_79b9), |seed| seed.parse())?);
    let (mut agreed, mut refused, mut spared, mut oopsed, mut differed) = (0, 0, 0, 0, 0);
    let mut machine: Option<(Session, tempfile::TempDir)> = None;
    for _ in 0..count.parse::<usize>()? {
        let (what, copy) = changed(&original, &mut random);
        let report = ko::check(&judge, &copy, &ko::Policy::default());
        let harmful =
            report.refusals.iter().any(|f| f.errno.is_none() && f.rule.id != ko::Id::MissingDependency);
        if harmful && report.errno().is_none() {
            spared += 1;
            continue;
        }
        let (session, _) = match &mut machine {
            Some(machine) => machine,
            none => none.insert(boot(&lab, &kernel)?),
        };
        let said = session.log().len();
        let answer = load(session, &copy);
        let words: Vec<String> =
            session.log()[said..].iter().map(|record| record.text.replace('\u{7f}', "\\x7f")).collect();
        let expected = report.errno().map(ko::Errno::number);
        let line = report.first().and_then(|first| first.kernel.as_deref()).unwrap_or_default();
        let line = line.split('…').next().unwrap_or_default().trim_end();
        let verdict = match &answer {
            Ok(errno)
                if *errno == expected && (expected.is_none() || words.iter().any(|w| w.contains(line))) =>
            {
                None
            }
            Ok(errno) => Some(format!("the kernel: {errno:?} {words:?}")),
            Err(error) => Some(format!("the machine: {error} {words:?}")),
        };
        refused += usize::from(expected.is_some());
        match verdict {
            None => agreed += 1,
            Some(verdict) => {
                // The kernel fell over what its loader doesn't check.
                if answer.is_err() {
                    oopsed += 1;
                } else {
                    differed += 1;
                }
                println!(
                    "{what}\n  ko: {expected:?} {:?}\n  {verdict}",
                    report.first().map(ToString::to_string)
                );
            }
        }
        // What it did to the kernel isn't known.
        if !matches!(answer, Ok(Some(_))) {
            let unloads = answer.is_ok() && unload(session, &report.name);
            if !unloads {
                machine = None;
            }
        }
    }
    println!(
        "{}: {agreed} agree ({refused} of all refused by ko), {differed} differ, {oopsed} broke the \
         kernel, {spared} not loaded",
        kernel.name()
    );
    Ok(())
}

fn unsigned(mut module: Vec<u8>) -> Vec<u8> {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    if let Some(signed) = module.strip_suffix(MARKER)
        && let Some((rest, length)) = signed.split_last_chunk()
    {
        let end = rest.len().saturating_sub(8 + u32::from_be_bytes(*length) as usize);
        module.truncate(end);
    }
    module
}

fn boot(lab: &Lab, kernel: &Kernel) -> Result<(Session, tempfile::TempDir), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut machine = lab::run::describe_for_trial(lab, kernel)?;
    machine.accelerator = Accelerator::Tcg;
    let mut session = Session::start(&machine, dir.path(), &lab.cancel)?;
    session.wait_for_boot(LIMIT).map_err(|lost| lost.to_string())?;
    Ok((session, dir))
}

/// The errno, or nothing where it was loaded.
fn load(session: &mut Session, module: &[u8]) -> Result<Option<i32>, String> {
    session.put(PATH, 0o644, module, LIMIT).map_err(|lost| lost.to_string())?;
    let request = Request::Load { path: PATH.to_owned(), parameters: String::new() };
    match session.request(&request, LIMIT).map_err(|lost| lost.to_string())? {
        Reply::Done => Ok(None),
        Reply::Failed { errno, .. } => Ok(Some(errno)),
        other => Err(format!("{other:?}")),
    }
}

fn unload(session: &mut Session, name: &str) -> bool {
    let request = Request::Unload { name: name.to_owned() };
    matches!(session.request(&request, LIMIT), Ok(Reply::Done))
}

/// A copy with one thing changed that isn't code or data.
fn changed(original: &[u8], random: &mut Random) -> (String, Vec<u8>) {
    let mut copy = original.to_vec();
    let word = |at: usize| u64::from_le_bytes(original[at..at + 8].try_into().unwrap_or_default()) as usize;
    let (table, count) = (word(0x28), usize::from(original[0x3c]));
    let header = |index: usize| table + 64 * index;
    let of_kind = |kind: u8| (1..count).find(|index| original[header(*index) + 4] == kind).unwrap_or(1);
    let place = |index: usize| (word(header(index) + 24), word(header(index) + 32));
    let names = place(usize::from(original[0x3e])).0;
    let named = |name: &str| {
        let is = |index: &usize| {
            original[names + word(header(*index)) % (1 << 32)..]
                .starts_with(&[name.as_bytes(), &[0]].concat())
        };
        (1..count).find(is).unwrap_or(1)
    };
    let values = [0, 1, 2, 4, 7, 0xff, 0xffff, 0xffff_ffff, original.len() as u64, u64::MAX, random.next()];
    let value = values[random.below(values.len())].to_le_bytes();
    let what = match random.below(8) {
        0 => {
            let (at, size) = place(of_kind(4));
            let at = at + 24 * random.below(size / 24) + 8;
            copy[at] = random.below(44) as u8;
            format!("relocation at {at:#x} of type {}", copy[at])
        }
        1 => {
            copy.truncate(random.below(original.len()));
            format!("cut off at {:#x}", copy.len())
        }
        2 => {
            let fields = [(0, 4), (4, 4), (8, 8), (24, 8), (32, 8), (40, 4), (44, 4)];
            let (field, width) = fields[random.below(fields.len())];
            let index = random.below(count);
            let at = header(index) + field;
            copy[at..at + width].copy_from_slice(&value[..width]);
            format!("section {index}: field {field} is {value:?}")
        }
        3 => {
            let at = random.below(64);
            copy[at] = value[0];
            format!("ELF header: byte {at:#x} is {:#x}", value[0])
        }
        4 => {
            let (at, size) = place(named(".modinfo"));
            let at = at + random.below(size);
            copy[at] ^= 1 << random.below(6);
            format!(".modinfo: byte {at:#x} is {:#x}", copy[at])
        }
        5 => {
            let (at, size) = place(named("__versions"));
            let at = at + random.below(size / 64) * 64 + random.below(14);
            copy[at] ^= 1 << random.below(6);
            format!("__versions: byte {at:#x} is {:#x}", copy[at])
        }
        6 => {
            let (at, size) = place(of_kind(2));
            let at = at + 24 * random.below(size / 24) + 6;
            copy[at..at + 2].copy_from_slice(&value[..2]);
            format!("symbol at {at:#x}: section {:?}", &value[..2])
        }
        _ => {
            let (at, size) = place(of_kind(3));
            let at = at + random.below(size);
            copy[at] ^= 1 << random.below(6);
            format!("a string table: byte {at:#x} is {:#x}", copy[at])
        }
    };
    (what, copy)
}
