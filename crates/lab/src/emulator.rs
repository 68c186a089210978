// SPDX-License-Identifier: GPL-2.0-only
//! What is to be known of a QEMU before it emulates: asked once, and kept as long as its file is the same.

use std::path::Path;
use std::time::Duration;

use crate::Lab;
use crate::build::fingerprint::Fingerprint;
use crate::error::{Kind, Result};
use crate::process::Program;

/// How long QEMU may take to say its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether what it emulates as `cmpxchg16b` is to be trusted. Before version 8.0 the flags after it are worked out as
/// if another instruction had come last. Where an interrupt follows at once they are saved as they are, whichever are
/// set, and a kernel whose slab allocator uses the instruction dies of what it never did. One that does not say its
/// version is not trusted; without the instruction a kernel does the same in several.
///
/// Source: case `0x1c7` of `disas_insn()` in QEMU 7.2's `target/i386/tcg/translate.c`, which lacks the
/// `gen_update_cc_op()` that the helper relies on; 8.0 has no helper any more.
///
/// # Errors
///
/// When it is interrupted, or the answer can't be kept.
pub(crate) fn has_cmpxchg16b(lab: &Lab, qemu: &Path) -> Result<bool> {
    let mut fingerprint = Fingerprint::default();
    fingerprint.file(qemu);
    let place = format!("accel/version-{}", &fingerprint.finish()[..24]);
    if let Ok(kept) = std::fs::read_to_string(lab.cache.path(&place)) {
        return Ok(is_trusted(&kept));
    }
    let said = match Program::new(qemu).args(["--version"]).limit(PATIENCE).run(&lab.cancel) {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Ok(finished) if finished.status.success() => finished.output,
        // What is wrong with it is told where a machine is to be started.
        Ok(_) | Err(_) => return Ok(false),
    };
    lab.cache.write(&place, said.as_bytes())?;
    Ok(is_trusted(&said))
}

/// Whether it says that it is of version 8.0 or later.
fn is_trusted(said: &str) -> bool {
    let version = said.lines().find_map(|line| line.strip_prefix("QEMU emulator version "));
    let major = version.and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    major.is_some_and(|major| major >= 8)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::sync::Arc;

    use super::*;

    #[test]
    fn versions_before_8_are_not_trusted() {
        for (said, trusted) in [
            ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright", false),
            ("QEMU emulator version 8.0.0", true),
            ("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n", true),
            ("QEMU", false),
            ("", false),
        ] {
            assert_eq!(is_trusted(said), trusted, "{said}");
        }
    }

    #[test]
    fn it_is_asked_once() {
        let dir = tempfile::tempdir().unwrap();
        let lab = Lab {
            cache: crate::cache::Cache::at(dir.path().join("cache")).unwrap(),
            reporter: Arc::new(crate::event::Silent),
            cancel: crate::cancel::Cancel::default(),
        };
        let qemu = |name: &str, script: &str| -> PathBuf {
            let path = dir.path().join(name);
            fs::write(&path, format!("#!/bin/sh\necho >> {}/calls\n{script}\n", dir.path().display()))
                .unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let (new, old) =
            (qemu("new", "echo QEMU emulator version 9.1"), qemu("old", "echo QEMU emulator version 7.2"));
        for _ in 0..2 {
            assert!(has_cmpxchg16b(&lab, &new).unwrap());
            assert!(!has_cmpxchg16b(&lab, &old).unwrap());
        }
        assert!(!has_cmpxchg16b(&lab, &qemu("broken", "exit 1")).unwrap());
        assert_eq!(fs::read_to_string(dir.path().join("calls")).unwrap().lines().count(), 3);
    }
}
