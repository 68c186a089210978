// SPDX-License-Identifier: GPL-2.0-only
//! The plugin that counts, as a file for QEMU; and what a QEMU says that doesn't take it.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::Lab;
use crate::error::{Error, Result};

const PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libprofiler.so"));

/// What QEMU says when it was built without plugins.
const WITHOUT: &str = "plugin interface not enabled";

/// What it says when its interface for plugins is another one.
const OTHER: &str = "plugin requires API version";

/// Unpacks the plugin. Gives its path.
///
/// # Errors
///
/// When the cache can't be written.
pub(super) fn provide(lab: &Lab) -> Result<PathBuf> {
    let digest: String = Sha256::digest(PLUGIN).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let place = format!("plugins/profiler-{digest}.so");
    let path = lab.cache.path(&place);
    if path.exists() { Ok(path) } else { lab.cache.write(&place, PLUGIN) }
}

/// Why QEMU ended, if it was for the plugin, from what it has said.
pub(crate) fn refusal(qemu: &Path, said: &str) -> Option<Error> {
    let qemu = qemu.display();
    let (what, remedy) = if said.contains(WITHOUT) {
        let what = format!("{qemu} runs no plugins, and a profile is counted by one");
        (
            what,
            "use a QEMU that was built with plugins, as Debian's is: apt-get install --no-install-recommends \
                qemu-system-x86; where KVM works, --sampled needs none",
        )
    } else if said.contains(OTHER) {
        let what =
            format!("{qemu} is too old for a profile: it does not tell a plugin all that one is made of");
        (
            what,
            "use QEMU 9.1 or later; on Debian 12: apt-get install -t bookworm-backports qemu-system-x86; where KVM \
                works, --sampled does with any",
        )
    } else {
        return None;
    };
    Some(Error::lab(what).with_source(said.trim().to_owned()).with_remedy(remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qemu_that_does_not_take_the_plugin_is_known_by_what_it_says() {
        let told = |said: &str| {
            let error = refusal(Path::new("/usr/bin/qemu"), said)?;
            Some(format!("{error}\nhelp: {}", error.remedy()?))
        };
        let without = "qemu: plugin interface not enabled in this build";
        insta::assert_snapshot!(told(without).unwrap(), @"
        /usr/bin/qemu runs no plugins, and a profile is counted by one
        help: use a QEMU that was built with plugins, as Debian's is: apt-get install --no-install-recommends qemu-system-x86; where KVM works, --sampled needs none
        ");
        let old = "qemu: Could not load plugin x.so: plugin requires API version 3, but this QEMU supports only up to \
            version 1";
        insta::assert_snapshot!(told(old).unwrap(), @"
        /usr/bin/qemu is too old for a profile: it does not tell a plugin all that one is made of
        help: use QEMU 9.1 or later; on Debian 12: apt-get install -t bookworm-backports qemu-system-x86; where KVM works, --sampled does with any
        ");
        assert_eq!(told("qemu: could not allocate memory"), None);
    }
}
