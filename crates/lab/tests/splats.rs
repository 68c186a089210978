// SPDX-License-Identifier: GPL-2.0-only
//! What kernels said when a module misbehaved on purpose, and what the parser makes of it. Each
//! `tests/splats/KERNEL/NAME.log` has its reports beside it in `NAME.json`; `make splats` makes both, and
//! `SPLATS_WRITE=1 cargo test -p lab --test splats` the latter alone, to be looked at before it is committed.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use lab::splat::{Frame, Splat, parse};
use serde_json::{Value, json};

/// What the fuzzer does with bytes.
#[path = "../../../fuzz/src/splat.rs"]
mod target;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/splats")
}

fn logs() -> Vec<PathBuf> {
    let kernels = fs::read_dir(corpus()).unwrap().flatten().map(|entry| entry.path());
    let kernels = kernels.filter(|path| path.is_dir() && !path.ends_with("module"));
    let files = kernels.flat_map(|dir| fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path()));
    let mut logs: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

/// A function of a trace: `*` is where the instruction pointer was, `?` what the unwinder does not vouch for.
fn function(frame: &Frame) -> String {
    let mark = match (frame.exact, frame.reliable) {
        (true, _) => "* ",
        (_, true) => "",
        (_, false) => "? ",
    };
    let module = frame.module.as_ref().map(|module| format!(" [{module}]")).unwrap_or_default();
    format!("{mark}{}+{:#x}/{:#x}{module}", frame.symbol, frame.offset, frame.size)
}

fn described(splat: &Splat) -> Value {
    json!({
        "kind": splat.kind,
        "title": splat.title,
        "severity": format!("{:?}", splat.severity()).to_lowercase(),
        "process": splat.process.as_ref().map(|process| format!("{}[{}]", process.name, process.pid)),
        "cpu": splat.cpu,
        "at": splat.at.map(|at| at.as_micros() as u64),
        "panic": splat.panic,
        "trace": splat.trace.iter().map(function).collect::<Vec<_>>(),
        "registers": splat.registers.iter().map(|(name, value)| format!("{name}={value:x}")).collect::<Vec<_>>().join(" "),
        "lines": splat.lines.len(),
        "first": splat.lines.first(),
        "last": splat.lines.last(),
    })
}

#[test]
fn what_a_kernel_says_becomes_the_expected_reports() {
    let logs = logs();
    assert!(logs.len() >= 60, "{} logs", logs.len());
    let mut wrong = Vec::new();
    for log in logs {
        let text = fs::read_to_string(&log).unwrap();
        let splats: Vec<Value> = parse(&text).iter().map(described).collect();
        let found = format!("{}\n", serde_json::to_string_pretty(&splats).unwrap());
        let beside = log.with_extension("json");
        if std::env::var_os("SPLATS_WRITE").is_some() {
            fs::write(&beside, &found).unwrap();
        }
        let expected = fs::read_to_string(&beside).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}: expected {expected}found {found}", log.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A run ends at any line: what has begun by then is told, and never as something else.
#[test]
fn a_log_that_is_cut_off_has_no_other_reports() {
    for log in logs() {
        let text = fs::read_to_string(&log).unwrap();
        let kinds = |text: &str| parse(text).iter().map(|splat| splat.kind).collect::<Vec<_>>();
        let (all, lines) = (kinds(&text), text.lines().count());
        for end in 0..lines {
            let cut: String = text.split_inclusive('\n').take(end).collect();
            let found = kinds(&cut);
            let is_known = found.iter().all(|kind| all.contains(kind));
            assert!(is_known, "{} cut at line {end}: {found:?}", log.display());
        }
    }
}

/// A title is the same on every run.
#[test]
fn no_title_has_an_address() {
    for log in logs() {
        for splat in parse(&fs::read_to_string(&log).unwrap()) {
            let words = splat.title.split(|c: char| !c.is_ascii_alphanumeric());
            let digits = |word: &str| word.trim_start_matches("0x").bytes().all(|b| b.is_ascii_hexdigit());
            let long = words.filter(|word| word.len() >= 9 && digits(word)).count();
            assert_eq!(long, 0, "{}: {}", log.display(), splat.title);
        }
    }
}

#[test]
fn what_the_fuzzer_found_is_read_without_harm() {
    let found = fs::read_dir(corpus().join("../../fuzz/corpus/splat")).unwrap().flatten();
    let files: Vec<PathBuf> = found.map(|entry| entry.path()).chain(logs()).collect();
    assert!(files.len() > 60);
    for file in files {
        target::splat(&fs::read(file).unwrap());
    }
}

/// Bytes of real logs, with some of them changed.
#[test]
fn damaged_logs_are_read_without_harm() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as usize
    };
    let logs: Vec<Vec<u8>> = logs().iter().map(|log| fs::read(log).unwrap()).collect();
    for _ in 0..300 {
        let mut bytes = logs[random() % logs.len()].clone();
        let other = &logs[random() % logs.len()];
        for _ in 0..random() % 20 {
            let at = random() % bytes.len();
            match random() % 4 {
                0 => bytes[at] = random() as u8,
                1 => drop(bytes.splice(at..(at + random() % 200).min(bytes.len()), [])),
                2 => drop(
                    bytes
                        .splice(at..at, other[random() % other.len()..].iter().copied().take(random() % 500)),
                ),
                _ => bytes.insert(at, b'\n'),
            }
            if bytes.is_empty() {
                break;
            }
        }
        target::splat(&bytes);
    }
}
