// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Inside, SHORT};
use crate::build::{self, Finished, RustPart};
use crate::cache::write_atomically;
use crate::error::{Context, Error, Result};
use crate::kernel::{Kernel, module_name, read_module};

/// The file in which is kept what is known of a machine's kernel beside its headers.
pub(super) const FACTS: &str = "facts.json";

/// What the machine tells of its kernel. Names may be paths of files.
#[derive(Debug, Deserialize)]
struct Told {
    modules: Vec<String>,
    builtin: Vec<String>,
    in_sysfs: BTreeSet<String>,
    /// The path of a module that came with the kernel.
    own: Option<String>,
}

/// What is known of it.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Facts {
    /// The names of its modules.
    modules: BTreeSet<String>,
    /// The names of those that are part of its image.
    builtin: BTreeSet<String>,
    /// Of those the ones that have a folder in `/sys/module`.
    in_sysfs: BTreeSet<String>,
    /// Its version magic, as a module of its own has it.
    vermagic: Option<String>,
    /// The size of its `struct module` in bytes, as a module of its own has it.
    this_module_size: Option<u64>,
}

impl Inside<'_> {
    /// Fetches a module that was built in the machine, and has it judged as one that was built here. Gives its place
    /// here.
    pub(super) fn check(&mut self, there: &str, kernel: &Kernel, rust: Option<&RustPart>) -> Result<PathBuf> {
        let options = self.options;
        let name = format!("{}.ko", self.project.name());
        let bytes = self.read(there).map_err(|error| {
            error.while_doing(&format!("fetch {name}, which was built in {}", self.place.name))
        })?;
        let module = self.project.output_dir().join(build::variant(kernel, options.build)).join(&name);
        write_atomically(&module, &bytes)?;
        if let Some(rust) = rust {
            build::boundary::hold(self.project, options.build, &rust.exports, &bytes)?;
        }
        let facts = self.facts(&self.kernel_dir(kernel.release()))?;
        if let Some(line) = facts.lacking(self.place.image) {
            self.lab.note(&format!("{name}: {line}"));
        }
        let judge = facts.judge(self.place.image, kernel)?;
        let finished = Finished {
            module: &module,
            bytes: &bytes,
            functions: rust.map(|rust| rust.exports.clone()).unwrap_or_default(),
            partial: options.build.is_partial(),
        };
        build::judge(self.lab, &judge, finished, &self.project.manifest().check, options.kernel_decides)?;
        Ok(module)
    }

    /// What is known of the machine's kernel. It is asked for once.
    fn facts(&mut self, dir: &Path) -> Result<Facts> {
        let kept = dir.join(FACTS);
        if let Some(facts) = std::fs::read(&kept).ok().and_then(|text| serde_json::from_slice(&text).ok()) {
            return Ok(facts);
        }
        let what = "asking what its kernel is";
        let said = self.ask(what, json!({ "op": "kernel" }), SHORT)?;
        let failed = |cause: String| {
            Error::lab(format!("{what} in the machine {} failed", self.place.name)).with_source(cause)
        };
        if let Some(why) = said.failure() {
            return Err(failed(why));
        }
        let told: Told = serde_json::from_value(said.value).map_err(|error| failed(error.to_string()))?;
        let own = match &told.own {
            Some(path) => self.own_module(path, dir)?,
            None => None,
        };
        let facts = Facts::new(told, own);
        let text = serde_json::to_vec(&facts).context(|| "write down what the kernel is".to_owned())?;
        write_atomically(&kept, &text)?;
        Ok(facts)
    }

    /// A module that came with the machine's kernel; nothing where it is packed in a way that is not known here, or is
    /// none.
    fn own_module(&mut self, path: &str, dir: &Path) -> Result<Option<ko::OwnModule>> {
        let packed = [".xz", ".zst", ".gz"].into_iter().find(|packed| path.ends_with(packed));
        let copy = dir.join(format!("own.ko{}", packed.unwrap_or_default()));
        write_atomically(&copy, &self.read(path)?)?;
        Ok(read_module(&copy).ok().and_then(|bytes| ko::OwnModule::read(&bytes)))
    }
}

impl Facts {
    fn new(told: Told, own: Option<ko::OwnModule>) -> Self {
        let names = |files: &[String]| files.iter().filter_map(|file| module_name(Path::new(file))).collect();
        Self {
            modules: names(&told.modules),
            builtin: names(&told.builtin),
            in_sysfs: told.in_sysfs,
            vermagic: own.as_ref().map(|own| own.vermagic.clone()),
            this_module_size: own.map(|own| own.this_module_size),
        }
    }

    /// What modules can't be held to, in words, where something is not known.
    fn lacking(&self, image: &str) -> Option<String> {
        let mut lacking = Vec::new();
        if self.vermagic.is_none() {
            lacking.push("its version magic, and the size of its `struct module`");
        }
        if self.modules.is_empty() {
            lacking.push("which modules it has");
        }
        if self.builtin.is_empty() {
            lacking.push("which of them are built in");
        }
        let lacking = lacking.join("; ");
        let line = format!("not all is checked, since {image} does not tell of its kernel: {lacking}");
        (!lacking.is_empty()).then_some(line)
    }

    /// The kernel as a judge. It goes by the name of its image.
    fn judge(self, image: &str, kernel: &Kernel) -> Result<ko::Kernel> {
        Ok(ko::Kernel {
            name: image.to_owned(),
            release: kernel.release().to_owned(),
            vermagic: self.vermagic,
            this_module_size: self.this_module_size,
            exports: kernel.exports()?,
            options: ko::Options::new(|name| kernel.config().value(name)),
            builtin: self.builtin,
            in_sysfs: self.in_sysfs,
            modules: self.modules,
            loaded: BTreeSet::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_kernel_is_told() {
        let told = |modules: &[&str], builtin: &[&str]| Told {
            modules: modules.iter().map(|&name| name.to_owned()).collect(),
            builtin: builtin.iter().map(|&name| name.to_owned()).collect(),
            in_sysfs: BTreeSet::new(),
            own: None,
        };
        let own = || ko::OwnModule { vermagic: "6.1 SMP".into(), this_module_size: 896 };
        let files =
            (&["kernel/fs/fuse/fuse.ko.xz", "kernel/drivers/virtio-rng.ko"][..], &["kernel/lib/x.ko"][..]);
        let whole = Facts::new(told(files.0, files.1), Some(own()));
        assert_eq!(whole.lacking("vendor"), None);
        assert_eq!(whole.modules.iter().collect::<Vec<_>>(), ["fuse", "virtio_rng"]);
        insta::assert_snapshot!(Facts::new(told(files.0, files.1), None).lacking("vendor").unwrap(), @"not all is checked, since vendor does not tell of its kernel: its version magic, and the size of its `struct module`");
        insta::assert_snapshot!(Facts::new(told(&[], &[]), None).lacking("vendor").unwrap(), @"not all is checked, since vendor does not tell of its kernel: its version magic, and the size of its `struct module`; which modules it has; which of them are built in");
    }
}
