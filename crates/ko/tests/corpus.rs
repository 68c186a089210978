// SPDX-License-Identifier: GPL-2.0-only
//! What the fuzzer was started from, and what it found: no bytes make anything here panic, or take long.
#![forbid(unsafe_code)]

use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

/// What the fuzzer does with bytes.
#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own to the fuzzer")]
mod targets;

/// More than any of these small files takes, in a debug build on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn the_corpus_is_read_without_harm() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for name in targets::TARGETS {
        let target = targets::target(name).expect("it is one");
        let mut count = 0;
        for entry in fs::read_dir(corpus.join(name))? {
            let path = entry?.path();
            let bytes = fs::read(&path)?;
            let started = Instant::now();
            target(&bytes);
            assert!(started.elapsed() < LIMIT, "{} took {:?}", path.display(), started.elapsed());
            count += 1;
        }
        assert!(count > 0, "there is no corpus for {name}");
    }
    Ok(())
}
