// SPDX-License-Identifier: GPL-2.0-only
//! Kernels: what a distribution ships of one (image, modules, headers, kbuild tools, config, symbol
//! versions), in the cache, in the running system, or in a build tree.
//!
//! `resolve` takes what the user wrote. A kernel that is in the cache costs the reading of its manifest.

/// What a kernel was configured with.
mod config;
/// The image: from what a boot loader loads to the ELF file that a machine starts without one.
mod image;
/// A kernel as a judge of modules.
mod judge;
/// Kernels that are not from packages: the running one, and build trees.
mod local;
/// Which module needs which.
mod modules;
/// Which packages make up a kernel.
mod packages;
/// Kernels in the cache.
mod store;

pub use config::{Config, State};
pub use image::{elf_has_pvh_entry, unpack_image};
pub use local::{from_tree, running};
pub(crate) use modules::module_name;
pub use modules::{Modules, depends_of_file, modinfo_of_file, read_module};
pub use store::{Condition, KNOWN, Known, Listed, add, get, list, remove};

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::Lab;
use crate::error::{Error, Result, nearest};

/// The name that stands for the kernel of the machine that the lab runs on.
pub const HOST: &str = "host";

/// A kernel that is whole: each of its paths was there when this value was made.
#[derive(Debug, Clone)]
pub struct Kernel {
    name: String,
    release: String,
    image: PathBuf,
    build: PathBuf,
    modules: PathBuf,
    symvers: PathBuf,
    config: Config,
    packages: Vec<(String, String)>,
    index: Option<PathBuf>,
    /// Read when they are first asked for: there are thousands.
    loaded: OnceLock<Modules>,
}

impl Kernel {
    /// A kernel that is in a machine: of it only the configuration and the symbols' versions are here, as `config` and
    /// `Module.symvers` in a folder. There is nothing to boot and nothing to build with.
    ///
    /// # Errors
    ///
    /// When the configuration can't be read.
    pub(crate) fn elsewhere(name: &str, release: &str, dir: &Path) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            release: release.to_owned(),
            image: PathBuf::new(),
            build: PathBuf::new(),
            modules: PathBuf::new(),
            symvers: dir.join("Module.symvers"),
            config: Config::read(&dir.join("config"))?,
            packages: Vec::new(),
            index: None,
            loaded: OnceLock::new(),
        })
    }

    /// What the user calls it: a known name, `host`, or a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it calls itself: `uname -r`.
    pub fn release(&self) -> &str {
        &self.release
    }

    /// What QEMU's `-kernel` gets: an ELF file with a PVH entry where there is one, else the bzImage.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// What `make -C` gets to build a module for it.
    pub fn build_dir(&self) -> &Path {
        &self.build
    }

    /// The folder below which its modules are: `…/lib/modules/RELEASE`, or the build tree.
    pub fn modules_dir(&self) -> &Path {
        &self.modules
    }

    /// Its `Module.symvers`: the symbols it exports, with their versions.
    pub fn symvers(&self) -> &Path {
        &self.symvers
    }

    /// What it was configured with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The packages it is made of, with their versions; empty for the host's kernel and for build trees.
    pub fn packages(&self) -> &[(String, String)] {
        &self.packages
    }

    /// Its modules and what they need.
    ///
    /// # Errors
    ///
    /// When they can't be read.
    pub fn modules(&self) -> Result<&Modules> {
        if let Some(modules) = self.loaded.get() {
            return Ok(modules);
        }
        let modules = match &self.index {
            Some(index) => Modules::load(&self.name, &self.modules, index)?,
            None => Modules::walk(&self.name, &self.modules)?,
        };
        Ok(self.loaded.get_or_init(|| modules))
    }
}

/// The kernel that the user named: one that can be fetched (and is, if it isn't there), [`HOST`], or the
/// path of a build tree (it holds a `/`, or is a folder that exists).
///
/// # Errors
///
/// When there is no such kernel, or it can't be had; the message says what is missing.
pub fn resolve(lab: &Lab, name: &str) -> Result<Kernel> {
    if name == HOST {
        running(lab)
    } else if store::known(name).is_some() {
        add(lab, name)
    } else if name.contains('/') || Path::new(name).is_dir() {
        from_tree(lab, Path::new(name))
    } else {
        Err(unknown(name))
    }
}

/// The error for a name that stands for no kernel.
fn unknown(name: &str) -> Error {
    let known = || KNOWN.iter().map(|known| known.name).chain([HOST]);
    let list = known().collect::<Vec<_>>().join(", ");
    let remedy = match nearest(name, known()) {
        Some(near) => format!("did you mean {near}? known are: {list}; a path names a build tree"),
        None => format!("known are: {list}; a path names a build tree"),
    };
    Error::usage(format!("there is no kernel called {name}")).with_remedy(remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_gets_the_known_ones_and_the_nearest() {
        let error = unknown("debian-6.1-clod");
        insta::assert_snapshot!(error, @"there is no kernel called debian-6.1-clod");
        insta::assert_snapshot!(error.remedy().unwrap(), @"did you mean debian-6.1-cloud? known are: debian-6.1, debian-6.1-cloud, debian-6.12, debian-6.12-cloud, host; a path names a build tree");
        insta::assert_snapshot!(unknown("plan9").remedy().unwrap(), @"known are: debian-6.1, debian-6.1-cloud, debian-6.12, debian-6.12-cloud, host; a path names a build tree");
    }
}
