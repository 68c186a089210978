// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeSet;
use std::fs::File;

use object::ReadCache;

use super::{Kernel, read_module};
use crate::error::{Context, Error, Result};

/// How many of a kernel's modules are tried for its version magic.
const TRIED: usize = 16;

impl Kernel {
    /// What its module loader compares a module with: its exports, its version magic and the size of its
    /// `struct module` as one of its own modules has them, its configuration, what is built in.
    ///
    /// # Errors
    ///
    /// When `Module.symvers` or the list of its modules is missing or malformed.
    pub fn judge(&self) -> Result<ko::Kernel> {
        let exports = self.exports()?;
        let modules = self.modules()?;
        let own = modules.files().take(TRIED).find_map(|file| ko::OwnModule::read(&read_module(&file).ok()?));
        let image = File::open(&self.image).context(|| format!("read {}", self.image.display()))?;
        Ok(ko::Kernel {
            name: self.name.clone(),
            release: self.release.clone(),
            vermagic: own.as_ref().map(|own| own.vermagic.clone()),
            this_module_size: own.as_ref().map(|own| own.this_module_size),
            exports,
            options: ko::Options::new(|name| self.config.value(name)),
            builtin: modules.builtin().map(str::to_owned).collect(),
            in_sysfs: ko::builtin_in_sysfs(&ReadCache::new(image)),
            modules: modules.names().map(str::to_owned).collect(),
            loaded: BTreeSet::new(),
        })
    }

    /// The symbols that it and its modules export.
    ///
    /// # Errors
    ///
    /// When `Module.symvers` is missing or malformed.
    pub(crate) fn exports(&self) -> Result<ko::Exports> {
        let symvers = std::fs::read(&self.symvers).map_err(|cause| {
            Error::lab(format!("read the symbol versions of {}: {}", self.name, self.symvers.display()))
                .with_source(cause)
                .with_remedy("install the kernel's headers; in a build tree, `make` writes Module.symvers")
        })?;
        let malformed = |cause: Box<dyn std::error::Error + Send + Sync>| {
            Error::lab(format!("{} is no list of symbol versions", self.symvers.display()))
                .with_source(cause)
                .with_remedy("install the kernel's headers again; in a build tree, `make` writes it")
        };
        let symvers = String::from_utf8(symvers).map_err(|cause| malformed(cause.into()))?;
        ko::Exports::parse(&symvers).map_err(|cause| malformed(cause.into()))
    }
}
