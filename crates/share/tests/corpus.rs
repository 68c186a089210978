// SPDX-License-Identifier: GPL-2.0-only
//! What the fuzzer was started from, and what it found.
#![forbid(unsafe_code)]

use std::path::Path;
use std::{fs, io};

/// What the fuzzer does with bytes.
#[path = "../../../fuzz/src/share.rs"]
mod target;

#[test]
fn the_corpus_is_served_without_harm() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/share");
    let mut count = 0;
    for entry in fs::read_dir(corpus)? {
        let scratch = tempfile::tempdir()?;
        target::share(scratch.path(), &fs::read(entry?.path())?);
        count += 1;
    }
    assert!(count > 0, "there is no corpus");
    Ok(())
}
