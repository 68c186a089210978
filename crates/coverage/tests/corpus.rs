// SPDX-License-Identifier: GPL-2.0-only
//! What the fuzzer was started from, and what it found: no bytes make anything here panic, or take long.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io};

/// What the fuzzer does with bytes.
#[path = "../../../fuzz/src/coverage.rs"]
mod target;

/// More than any of these small files takes, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

fn corpus() -> io::Result<Vec<PathBuf>> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coverage");
    fs::read_dir(corpus)?.map(|entry| Ok(entry?.path())).collect()
}

#[test]
fn the_corpus_is_read_without_harm() -> io::Result<()> {
    let files = corpus()?;
    assert!(!files.is_empty());
    for path in files {
        let bytes = fs::read(&path)?;
        let started = Instant::now();
        target::coverage(&bytes);
        assert!(started.elapsed() < LIMIT, "{} took {:?}", path.display(), started.elapsed());
    }
    Ok(())
}

/// A module of C and Rust, made by real compilers, with each of some bytes changed.
#[test]
fn a_damaged_module_is_refused_or_read() -> io::Result<()> {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coverage/module"))?;
    let counted = coverage::Counted::read(&whole).expect("it is a module that counts");
    let counters = vec![1; counted.size() as usize];
    let lines = coverage::rust(&counted, &counters).expect("its Rust side is whole").line_count();
    assert!(lines.hit > 0 && lines.hit < lines.all, "{lines:?}");
    assert_eq!(coverage::units(&counted, &counters).expect("its C side is whole").len(), 1);
    for place in (0..whole.len()).step_by(29) {
        let mut damaged = whole.clone();
        damaged[place] ^= 0xff;
        target::coverage(&damaged);
    }
    Ok(())
}

#[test]
fn too_few_counters_are_told() -> io::Result<()> {
    let whole = fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/coverage/module"))?;
    let counted = coverage::Counted::read(&whole).expect("it is a module that counts");
    let error = coverage::rust(&counted, &[0; 8]).unwrap_err();
    insta::assert_snapshot!(error, @"8 bytes of counters were read, and it has 136");
    let error = coverage::Counted::read(b"no module").err().expect("it is none");
    insta::assert_snapshot!(error, @"it can't be read as an object");
    Ok(())
}
