// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeMap;
use std::path::Path;

use memchr::memmem;
use sha2::{Digest, Sha256};

use crate::error::{Context, Result};

/// How an option of a kernel is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Built in, or, where it isn't a thing to build, on.
    Yes,
    /// Built as a module.
    Module,
    /// Off, or not known to this kernel.
    No,
}

/// What a kernel was configured with, as Kconfig writes it (`.config`, `/boot/config-RELEASE`).
///
/// It is searched for what is asked: a run asks for a dozen of ten thousand options.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// Each line has a line's end before it.
    text: String,
}

impl Config {
    /// A configuration as a text. Lines that set nothing are comments.
    pub fn parse(text: &str) -> Self {
        Self { text: format!("\n{text}") }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        let begin = format!("\n{name}=");
        let value = memmem::rfind(self.text.as_bytes(), begin.as_bytes())? + begin.len();
        self.text[value..].split('\n').next().map(str::trim_end)
    }

    /// Reads a configuration.
    ///
    /// # Errors
    ///
    /// When the file can't be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .context(|| format!("read the kernel's configuration {}", path.display()))?;
        Ok(Self::parse(&text))
    }

    /// How an option is set, by its name with `CONFIG_`.
    pub fn state(&self, name: &str) -> State {
        match self.raw(name) {
            Some("y") => State::Yes,
            Some("m") => State::Module,
            _ => State::No,
        }
    }

    /// Whether an option is built in.
    pub fn is_set(&self, name: &str) -> bool {
        self.state(name) == State::Yes
    }

    /// A digest of all that is set, in hexadecimal digits: two kernels with the same were configured alike.
    pub fn digest(&self) -> String {
        let lines = self.text.lines().filter(|line| line.starts_with("CONFIG_"));
        let options: BTreeMap<&str, &str> = lines.filter_map(|line| line.split_once('=')).collect();
        let mut hash = Sha256::new();
        for (name, value) in options {
            let value = value.trim_end();
            hash.update(format!("{name}={value}\n"));
        }
        hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// An option's value; that of a text is without its quotes.
    pub fn value(&self, name: &str) -> Option<&str> {
        let value = self.raw(name)?;
        Some(value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_on_modules_or_off() {
        let config = Config::parse(
            "#\n# Automatically generated file; DO NOT EDIT.\n#\nCONFIG_CC_VERSION_TEXT=\"gcc-12 (Debian)\"\n\
             CONFIG_MODULES=y\nCONFIG_VIRTIO_FS=m\n# CONFIG_X86_KERNEL_IBT is not set\n\
             CONFIG_NR_CPUS=8192\nCONFIG_EMPTY=\"\"\n",
        );
        assert!(config.is_set("CONFIG_MODULES"));
        assert!(!config.is_set("CONFIG_VIRTIO_FS"));
        assert_eq!(config.state("CONFIG_VIRTIO_FS"), State::Module);
        assert_eq!(config.state("CONFIG_X86_KERNEL_IBT"), State::No);
        assert_eq!(config.value("CONFIG_CC_VERSION_TEXT"), Some("gcc-12 (Debian)"));
        assert_eq!(config.value("CONFIG_NR_CPUS"), Some("8192"));
        assert_eq!(config.value("CONFIG_EMPTY"), Some(""));
        assert_eq!(config.value("CONFIG_X86_KERNEL_IBT"), None);
        assert_eq!(config.value("CONFIG_NR"), None, "a name is a whole name");
        assert_eq!(config.value("NR_CPUS"), None);
        assert_eq!(Config::parse("CONFIG_A=y").state("CONFIG_A"), State::Yes);
        assert_eq!(Config::parse("CONFIG_A=y\r\nCONFIG_B=\r\n").value("CONFIG_B"), Some(""));
    }

    #[test]
    fn two_that_set_the_same_are_alike() {
        let one = Config::parse("# made today\nCONFIG_B=m\nCONFIG_A=y\n# CONFIG_C is not set\n");
        assert_eq!(one.digest(), Config::parse("CONFIG_A=y\nCONFIG_B=m").digest());
        assert_ne!(one.digest(), Config::parse("CONFIG_A=y\nCONFIG_B=y").digest());
    }
}
