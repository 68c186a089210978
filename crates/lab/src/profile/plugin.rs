// SPDX-License-Identifier: GPL-2.0-only
//! The plugin that counts, as a file for QEMU.

use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSymbol};
use sha2::{Digest, Sha256};

use crate::Lab;
use crate::error::{Error, Result};
use crate::process::Program;

/// The plugin, built for the interface of QEMU 9 and later.
const PLUGIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/libprofiler.so"));

/// Where it says which version of QEMU's interface it was made for.
const VERSION: &str = "qemu_plugin_version";

/// The first QEMU that does not take plugins of version 1 any more, and its version of the interface.
const SINCE: (u32, u8) = (9, 2);

/// What QEMU says of plugins when it was built without, or does not know the option.
const WITHOUT: [&str; 2] = ["plugin interface not enabled", "-plugin: invalid option"];

/// Unpacks the plugin for this QEMU. Gives its path.
///
/// # Errors
///
/// When QEMU doesn't say its version, or the cache can't be written.
pub(super) fn provide(lab: &Lab, qemu: &Path) -> Result<PathBuf> {
    let said = Program::new(qemu).args(["--version"]).run(&lab.cancel)?.output;
    let major = major_version(&said).ok_or_else(|| {
        Error::lab(format!("{} does not say which version it is", qemu.display())).with_source(said.clone())
    })?;
    let interface = if major < SINCE.0 { 1 } else { SINCE.1 };
    let plugin = for_interface(PLUGIN, interface)
        .ok_or_else(|| Error::lab(format!("vexlab's own plugin does not say {VERSION}")))?;
    let digest: String = Sha256::digest(&plugin).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let place = format!("plugins/profiler-{digest}.so");
    let path = lab.cache.path(&place);
    if path.exists() { Ok(path) } else { lab.cache.write(&place, &plugin) }
}

/// Whether QEMU says that it runs no plugins, in what it has said before it ended.
pub(crate) fn is_refused(said: &str) -> bool {
    WITHOUT.iter().any(|text| said.contains(text))
}

/// The first number of a version, in what `qemu-system-x86_64 --version` says.
fn major_version(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("version ")?;
    version.split('.').next()?.parse().ok()
}

/// The plugin with the interface's version in it.
fn for_interface(plugin: &[u8], interface: u8) -> Option<Vec<u8>> {
    let file = object::File::parse(plugin).ok()?;
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok(VERSION))?;
    let section = file.section_by_index(symbol.section_index()?).ok()?;
    let (begin, _) = section.file_range()?;
    let at = usize::try_from(begin + (symbol.address() - section.address())).ok()?;
    let mut plugin = plugin.to_owned();
    plugin.get_mut(at..at + 4)?.copy_from_slice(&[interface, 0, 0, 0]);
    Some(plugin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_the_interface_is_put_in_its_place() {
        let (old, new) = (for_interface(PLUGIN, 1).unwrap(), for_interface(PLUGIN, 2).unwrap());
        assert_eq!(new, PLUGIN);
        assert_eq!(old.iter().zip(&new).filter(|(old, new)| old != new).count(), 1);
        assert!(for_interface(b"no plugin", 1).is_none());
    }

    #[test]
    fn qemu_says_which_one_it_is() {
        assert_eq!(major_version("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)\n"), Some(7));
        assert_eq!(major_version("QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2)\n"), Some(10));
        assert_eq!(major_version("what?"), None);
    }

    #[test]
    fn a_qemu_without_plugins_is_known_by_what_it_says() {
        assert!(is_refused("qemu-system-x86_64: plugin interface not enabled in this build"));
        assert!(!is_refused("qemu-system-x86_64: could not allocate memory"));
    }
}
