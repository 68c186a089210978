// SPDX-License-Identifier: GPL-2.0-only
//! Whether anything that shaped an output has changed since it was made.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::cache::write_atomically;
use crate::error::Result;

/// Collects all that shapes an output. Equal fingerprints mean that making it again would give the same.
///
/// A file counts by its path, size and time of change, as make and cargo do it.
#[derive(Default)]
pub(crate) struct Fingerprint(Sha256);

impl Fingerprint {
    /// Adds a text: a flag, a version.
    pub(crate) fn text(&mut self, text: impl AsRef<[u8]>) -> &mut Self {
        let text = text.as_ref();
        self.0.update((text.len() as u64).to_le_bytes());
        self.0.update(text);
        self
    }

    /// Adds a file, or the fact that it is not there.
    pub(crate) fn file(&mut self, path: &Path) -> &mut Self {
        self.text(path.as_os_str().as_encoded_bytes());
        match fs::metadata(path) {
            Ok(data) => {
                self.text(format!("{} {} {} {}", data.len(), data.mtime(), data.mtime_nsec(), data.ino()))
            }
            Err(_) => self.text("missing"),
        }
    }

    pub(crate) fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// A file name that is another one if the content is: `stem-1f00ba11.extension`.
pub(super) fn named_by_content(stem: &str, content: &str, extension: &str) -> String {
    let mut fingerprint = Fingerprint::default();
    fingerprint.text(content);
    format!("{stem}-{}.{extension}", &fingerprint.finish()[..8])
}

/// Remembers beside an output what it was made from.
pub(super) struct Stamp {
    path: PathBuf,
    fingerprint: String,
}

impl Stamp {
    pub(super) fn new(path: PathBuf, mut fingerprint: Fingerprint) -> Self {
        // Another vexlab may make something else of the same.
        if let Ok(program) = std::env::current_exe() {
            fingerprint.file(&program);
        }
        Self { path, fingerprint: fingerprint.finish() }
    }

    /// Whether these outputs are there and were made from the same.
    pub(super) fn is_fresh(&self, outputs: &[&Path]) -> bool {
        outputs.iter().all(|output| output.exists())
            && fs::read_to_string(&self.path).is_ok_and(|stored| stored == self.fingerprint)
    }

    /// Says that the outputs are made from this now.
    pub(super) fn store(&self) -> Result<()> {
        write_atomically(&self.path, self.fingerprint.as_bytes())
    }

    /// The fingerprint, for what is made from the output in turn.
    pub(super) fn into_fingerprint(self) -> String {
        self.fingerprint
    }

    /// Says that the outputs are made from nothing known, while they are being made.
    pub(super) fn clear(&self) {
        // Where there is nothing to remove, nothing is claimed.
        let _ = fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_a_missing_output_and_a_cleared_stamp_are_stale() {
        let dir = tempfile::tempdir().unwrap();
        let (source, output) = (dir.path().join("source"), dir.path().join("output"));
        fs::write(&source, "1").unwrap();
        fs::write(&output, "made").unwrap();
        let stamp = || {
            let mut fingerprint = Fingerprint::default();
            fingerprint.text("flag").file(&source);
            Stamp::new(dir.path().join("stamp"), fingerprint)
        };
        assert!(!stamp().is_fresh(&[&output]), "never made");
        stamp().store().unwrap();
        assert!(stamp().is_fresh(&[&output]));
        assert!(!stamp().is_fresh(&[&output, &dir.path().join("other")]), "an output is missing");
        fs::write(&source, "22").unwrap();
        assert!(!stamp().is_fresh(&[&output]), "the source has changed");
        stamp().store().unwrap();
        stamp().clear();
        assert!(!stamp().is_fresh(&[&output]));
    }
}
