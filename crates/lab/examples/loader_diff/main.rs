// SPDX-License-Identifier: GPL-2.0-only
//! Compares `ko`'s judgement of modules with that of kernels' own loaders, each in a virtual machine of its own.
//!
//! `loader_diff damaged COUNT KERNEL…` damages some of each kernel's modules in COUNT ways, every systematic one
//! first, has `ko` judge and the kernel load each, and compares: refused or not, the errno, the words.
//! `loader_diff spot FROM COUNT KERNEL…` does the same with COUNT whole modules of the kernel FROM, which are made
//! for another kernel. The exit status is 1 where any two disagree.
//!
//! With `LOADER_DIFF_ANSWERS=FILE` the kernels' answers are kept in FILE, and no kernel is asked the same twice;
//! `LOADER_DIFF_SEED=N` makes other random cases.
#![expect(clippy::print_stdout, reason = "this is a program")]

mod compare;
mod damage;
mod elf;
mod machine;

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use lab::kernel::{self, Kernel, read_module};

use compare::{Verdict, compare};
use damage::{Case, Originals};
use elf::File;
use machine::{Answer, End, Oracle};

type Anything<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            println!("loader_diff: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Anything<bool> {
    lab::host::forbid_module_loading()?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let lab = Lab { cache: Cache::of_user()?, reporter: Arc::new(Silent), cancel: Cancel::default() };
    let mut tallies = Vec::new();
    match &arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["damaged", count, kernels @ ..] if !kernels.is_empty() => {
            let seed = std::env::var("LOADER_DIFF_SEED").map_or(Ok(1), |seed| seed.parse())?;
            for name in kernels {
                let kernel = kernel::resolve(&lab, name)?;
                let originals = originals(&lab, &kernel)?;
                tallies.push(judge_all(
                    &lab,
                    &kernel,
                    &damage::cases(&originals, count.parse()?, seed),
                    false,
                )?);
            }
        }
        ["spot", from, count, kernels @ ..] if !kernels.is_empty() => {
            let cases = evenly(&kernel::resolve(&lab, from)?, count.parse()?)?;
            for name in kernels {
                tallies.push(judge_all(&lab, &kernel::resolve(&lab, name)?, &cases, true)?);
            }
        }
        _ => return Err("damaged COUNT KERNEL…, or spot FROM COUNT KERNEL…".into()),
    }
    Ok(print(&tallies))
}

/// What came of all cases on one kernel.
#[derive(Default)]
struct Tally {
    kernel: String,
    cases: usize,
    refused: usize,
    accepted: usize,
    /// What the kernel did with those that only `ko` refuses.
    spared: BTreeMap<String, usize>,
    broken: usize,
    different: usize,
}

/// Has the cases judged and loaded, on all processors.
fn judge_all(lab: &Lab, kernel: &Kernel, cases: &[Case], all: bool) -> Anything<Tally> {
    let mut judge = kernel.judge()?;
    let answers = std::env::var_os("LOADER_DIFF_ANSWERS").map(PathBuf::from);
    let oracle = Oracle::new(lab, kernel, answers)?;
    judge.loaded = oracle.loaded()?;
    let tally =
        Mutex::new(Tally { kernel: kernel.name().to_owned(), cases: cases.len(), ..Tally::default() });
    let next = AtomicUsize::new(0);
    let workers = std::thread::available_parallelism()?.get();
    let work = || -> Result<(), String> {
        while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
            let report = ko::check(&judge, &case.bytes, &ko::Policy::default());
            let answer = oracle.ask(&case.bytes).map_err(|error| format!("{}: {error}", case.what))?;
            let mut verdict = compare(&report, &answer);
            // A module's `init` refuses with an errno as well.
            if matches!((&verdict, &answer.end), (Verdict::Different(_), End::Refused(_)))
                && report.errno().is_none()
                && oracle.starts(&case.bytes)?
            {
                verdict = Verdict::BrokenLater(format!("its init failed: {:?}", answer.end));
            }
            let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
            tally.add(&verdict, &answer);
            if all || !matches!(verdict, Verdict::Accepted | Verdict::Refused) {
                tell(kernel.name(), case, &report, &answer, &verdict);
            }
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        running.into_iter().try_for_each(|one| one.join().unwrap_or_else(|_| Err("a worker panicked".into())))
    })?;
    Ok(tally.into_inner().unwrap_or_else(PoisonError::into_inner))
}

impl Tally {
    fn add(&mut self, verdict: &Verdict, answer: &Answer) {
        match verdict {
            Verdict::Accepted => self.accepted += 1,
            Verdict::Refused => self.refused += 1,
            Verdict::Spared => {
                let end = match answer.end {
                    End::Loaded => "loaded",
                    End::Refused(_) => "refused",
                    End::Broken(_) => "broken",
                };
                *self.spared.entry(end.to_owned()).or_default() += 1;
            }
            Verdict::BrokenLater(_) => self.broken += 1,
            Verdict::Different(_) => self.different += 1,
        }
    }
}

fn tell(kernel: &str, case: &Case, report: &ko::Report, answer: &Answer, verdict: &Verdict) {
    let ours = report.first().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let theirs = match verdict {
        Verdict::Accepted | Verdict::Refused => "agrees".to_owned(),
        Verdict::Spared => format!("ko only; the kernel: {:?}", answer.end),
        Verdict::BrokenLater(title) => format!("loaded, and broke the kernel: {title}"),
        Verdict::Different(how) => format!("DIFFERENT: {how}"),
    };
    println!("{kernel}: {}\n  ko: {ours}\n  {theirs}", case.what);
}

/// Prints the table; true when nothing differs.
fn print(tallies: &[Tally]) -> bool {
    println!(
        "\n{:20} cases  agree (refused, accepted)  only ko refuses  broken by what was damaged  disagree",
        "kernel"
    );
    for Tally { kernel, cases, refused, accepted, spared, broken, different } in tallies {
        println!(
            "{kernel:20} {cases:5}  {:5} ({refused:7}, {accepted:8})  {:15}  {broken:26}  {different:8}",
            refused + accepted,
            spared.values().sum::<usize>()
        );
        let spared: Vec<String> = spared.iter().map(|(end, count)| format!("{count} {end}")).collect();
        if !spared.is_empty() {
            println!("{:20} what the kernel did with what only ko refuses: {}", "", spared.join(", "));
        }
    }
    tallies.iter().all(|tally| tally.different == 0 && tally.cases > 0)
}

/// The modules that are damaged.
fn originals(lab: &Lab, kernel: &Kernel) -> Anything<Originals> {
    let read = |kernel: &Kernel, name: &str| -> Anything<(String, Vec<u8>)> {
        let file =
            kernel.modules()?.path_of(name).ok_or(format!("{} has no module {name}", kernel.name()))?;
        Ok((name.to_owned(), read_module(&file)?))
    };
    let plain = |kernel: &Kernel, name: &str| -> Anything<(String, File)> {
        let (name, bytes) = read(kernel, name)?;
        Ok((name, File { bytes: unsigned(bytes) }))
    };
    let signed = read(kernel, "crc7")?;
    let sibling = kernel::resolve(lab, kernel.name().trim_end_matches("-cloud"))?;
    Ok(Originals {
        exporting: plain(kernel, "crc7")?,
        driver: plain(kernel, "tcp_hybla")?,
        importing: plain(kernel, "pcbc")?,
        percpu: plain(kernel, "nf_dup_netdev")?,
        foreign: plain(&sibling, "tcp_illinois")
            .map(|(name, file)| (format!("{name} of {}", sibling.name()), file))?,
        signed: (signed.0, File { bytes: signed.1 }),
    })
}

/// A module without its signature.
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

/// Modules of a kernel, spread evenly over the list of their names.
fn evenly(kernel: &Kernel, count: usize) -> Anything<Vec<Case>> {
    let modules = kernel.modules()?;
    let mut names: Vec<&str> = modules.names().collect();
    names.sort_unstable();
    let step = names.len() / count.max(1);
    let chosen = names.iter().step_by(step.max(1)).take(count);
    chosen
        .map(|name| {
            let file = modules.path_of(name).ok_or("a module without a file")?;
            Ok(Case { what: format!("{name} of {}", kernel.name()), bytes: read_module(&file)? })
        })
        .collect()
}
