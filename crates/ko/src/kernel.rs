// SPDX-License-Identifier: GPL-2.0-only
//! What is known of a kernel that is to judge modules.

use std::collections::{BTreeSet, HashMap};

use object::{Object, ObjectSection, ReadRef};
use thiserror::Error;

use crate::image::{Bytes, Image};

/// A kernel as a judge: all that its module loader compares a module with.
///
/// It is made from what a distribution ships of a kernel, by whoever can read files.
#[derive(Debug, Clone, Default)]
pub struct Kernel {
    /// What the user calls it.
    pub name: String,
    /// What it calls itself: `uname -r`.
    pub release: String,
    /// Its version magic, as its own modules carry it. Without one, versions of modules are not compared.
    pub vermagic: Option<String>,
    /// The size of its `struct module` in bytes, as its own modules have it. Without one, it is not compared.
    pub this_module_size: Option<u64>,
    /// What it and its modules export.
    pub exports: Exports,
    /// How its loader was configured.
    pub options: Options,
    /// The modules that are part of its image. Names are as the kernel has them, with `_`.
    pub builtin: BTreeSet<String>,
    /// Those of them that have a folder in `/sys/module`, for their parameters or their version.
    pub in_sysfs: BTreeSet<String>,
    /// The modules that it ships as files.
    pub modules: BTreeSet<String>,
    /// The modules that are loaded before the one that is judged, and have nothing to do with it.
    pub loaded: BTreeSet<String>,
}

/// The options of a kernel's configuration that its module loader acts on, and those that decide what is a hazard.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// `CONFIG_MODVERSIONS`: symbols have versions.
    pub modversions: bool,
    /// `CONFIG_MODULE_FORCE_LOAD`: a module without version magic or symbol versions taints, and loads.
    pub force_load: bool,
    /// `CONFIG_MODULE_SIG_FORCE`: modules must be signed.
    pub signatures_forced: bool,
    /// `CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS`: a missing import is only warned of.
    pub missing_imports_allowed: bool,
    /// `CONFIG_STRICT_MODULE_RWX`: no section is writable and executable.
    pub strict_rwx: bool,
    /// `CONFIG_LIVEPATCH`: live patches are taken.
    pub livepatch: bool,
    /// `CONFIG_RETPOLINE`, since 6.9 `CONFIG_MITIGATION_RETPOLINE`: indirect branches go through thunks.
    pub retpoline: bool,
    /// `CONFIG_RETHUNK`, `CONFIG_MITIGATION_RETHUNK`: returns go through a thunk.
    pub rethunk: bool,
    /// `CONFIG_SLS`, `CONFIG_MITIGATION_SLS`: what follows a return is `int3`.
    pub sls: bool,
    /// `CONFIG_X86_KERNEL_IBT`: what is called by pointer begins with `endbr64`.
    pub ibt: bool,
    /// `CONFIG_CONSTRUCTORS`: constructors are run.
    pub constructors: bool,
    /// `CONFIG_FRAME_WARN`: the largest frame that isn't warned of, in bytes; nothing where it isn't set.
    pub frame_warn: Option<u64>,
    /// `CONFIG_KASAN`: the stack is twice as large.
    pub kasan: bool,
}

impl Options {
    /// Reads them from a configuration: `value` gives what an option (`CONFIG_…`) is set to.
    pub fn new<'c>(value: impl Fn(&str) -> Option<&'c str>) -> Self {
        let is_set = |name| value(name) == Some("y");
        Self {
            modversions: is_set("CONFIG_MODVERSIONS"),
            force_load: is_set("CONFIG_MODULE_FORCE_LOAD"),
            signatures_forced: is_set("CONFIG_MODULE_SIG_FORCE"),
            missing_imports_allowed: is_set("CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS"),
            strict_rwx: is_set("CONFIG_STRICT_MODULE_RWX"),
            livepatch: is_set("CONFIG_LIVEPATCH"),
            retpoline: is_set("CONFIG_RETPOLINE") || is_set("CONFIG_MITIGATION_RETPOLINE"),
            rethunk: is_set("CONFIG_RETHUNK") || is_set("CONFIG_MITIGATION_RETHUNK"),
            sls: is_set("CONFIG_SLS") || is_set("CONFIG_MITIGATION_SLS"),
            ibt: is_set("CONFIG_X86_KERNEL_IBT"),
            constructors: is_set("CONFIG_CONSTRUCTORS"),
            frame_warn: value("CONFIG_FRAME_WARN")
                .and_then(|bytes| bytes.parse().ok())
                .filter(|bytes| *bytes > 0),
            kasan: is_set("CONFIG_KASAN"),
        }
    }

    /// The size of a task's stack in bytes: `THREAD_SIZE` in `arch/x86/include/asm/page_64_types.h`.
    pub(crate) fn stack(self) -> u64 {
        if self.kasan { 32 << 10 } else { 16 << 10 }
    }
}

/// The form of the loader's checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loader {
    /// As in 6.1: `elf_validity_check` and `setup_load_info`; the size of `struct module` is believed.
    Trusting,
    /// As from 6.4 to 6.12.95: `elf_validity_check`; `struct module` is compared.
    Counting,
    /// As in 6.12.117 and since 6.13: `elf_validity_cache_copy`; the tables of names are looked at as well.
    Strict,
}

/// A symbol that a kernel exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its version: a checksum over its type.
    pub crc: u32,
    /// Only for modules with a licence that is compatible with the GPL.
    pub gpl_only: bool,
    /// The namespace that a module has to import; empty for none.
    pub namespace: Box<str>,
    /// The module that exports it: a path without `.ko`, or `vmlinux`.
    pub owner: Box<str>,
}

impl Export {
    /// Whether it is part of the kernel's image.
    pub fn is_in_image(&self) -> bool {
        &*self.owner == "vmlinux"
    }
}

/// A line of `Module.symvers` that isn't one.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct SymversError {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

/// What a kernel and its modules export, by name.
#[derive(Debug, Clone, Default)]
pub struct Exports(HashMap<Box<str>, Export>);

impl Exports {
    /// Parses a `Module.symvers`: lines of checksum, name, module, kind of export and namespace, separated by
    /// tabs (`write_dump` in `scripts/mod/modpost.c`).
    ///
    /// # Errors
    ///
    /// When a line lacks a field, or its checksum is none; and when there is no line at all.
    pub fn parse(text: &str) -> Result<Self, SymversError> {
        let mut exports = HashMap::with_capacity(text.len() / 48);
        for (number, line) in text.lines().enumerate() {
            let error = |what| SymversError { line: number + 1, what };
            let mut fields = line.split('\t');
            let mut field = |what| fields.next().ok_or(error(what));
            let crc = field("the checksum is missing")?;
            let name = field("the symbol's name is missing")?;
            let owner = field("the module is missing")?;
            let kind = field("the kind of export is missing")?;
            let namespace = fields.next().unwrap_or_default();
            let crc = crc.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
            let export = Export {
                crc: crc.ok_or(error("the checksum is no hexadecimal number of 32 bits"))?,
                gpl_only: match kind {
                    "EXPORT_SYMBOL" => false,
                    "EXPORT_SYMBOL_GPL" => true,
                    _ => return Err(error("the kind of export is unknown")),
                },
                namespace: namespace.into(),
                owner: owner.into(),
            };
            // What the image exports is found before what modules do (`find_symbol`).
            let known: Option<&Export> = exports.get(name);
            if known.is_none_or(|known| !known.is_in_image()) {
                exports.insert(name.into(), export);
            }
        }
        if exports.is_empty() {
            return Err(SymversError { line: 1, what: "no symbol is listed" });
        }
        Ok(Self(exports))
    }

    /// What is exported under this name.
    pub fn get(&self, name: &str) -> Option<&Export> {
        self.0.get(name)
    }

    /// How many symbols are exported.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is exported.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Kernel {
    /// The form of its loader, by its release. Which releases of 6.12 between .95 and .117 have which form isn't
    /// known.
    pub(crate) fn loader(&self) -> Loader {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().ok());
        let mut number = || numbers.next().flatten();
        match (number(), number(), number()) {
            (Some(major), Some(minor), _) if (major, minor) < (6, 4) => Loader::Trusting,
            (Some(6), Some(12), Some(patch)) if patch >= 117 => Loader::Strict,
            (Some(6), Some(..=12), _) => Loader::Counting,
            _ => Loader::Strict,
        }
    }
}

/// The modules in a kernel's image, as an ELF file, that have a folder in `/sys/module`: those with parameters
/// that can be seen there, or a version. Empty where the image can't be read.
///
/// Source: `param_sysfs_builtin` and `version_sysfs_builtin` in `kernel/params.c`; the sections are arrays of
/// `struct kernel_param` (40 bytes) and `struct module_version_attribute` (72 bytes).
pub fn builtin_in_sysfs<'data>(image: impl ReadRef<'data>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let Ok(file) = object::File::parse(image) else { return names };
    let sections = Sections::of(&file);
    let table = |name| file.section_by_name(name).and_then(|table| table.data().ok()).unwrap_or_default();
    for parameter in table("__param").chunks_exact(40) {
        let Some((address, permissions)) = word(parameter, 0).zip(word(parameter, 24)) else { continue };
        if permissions & 0xffff == 0 {
            continue;
        }
        if let Some(name) = sections.text_at(address) {
            // What has no prefix belongs to the kernel as a whole.
            names.insert(name.split_once('.').map_or("kernel", |(module, _)| module).to_owned());
        }
    }
    let versions = table("__modver").chunks_exact(72).filter_map(|version| word(version, 56));
    names.extend(versions.filter_map(|address| sections.text_at(address)));
    names
}

fn word(entry: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*entry.get(at..)?.first_chunk()?))
}

/// A program's sections by address.
struct Sections<'f, 'data, R: ReadRef<'data>>(Vec<(u64, object::Section<'data, 'f, R>)>);

impl<'f, 'data, R: ReadRef<'data>> Sections<'f, 'data, R> {
    fn of(file: &'f object::File<'data, R>) -> Self {
        let sections = file.sections().filter(|section| section.address() > 0 && section.size() > 0);
        let mut sections: Vec<_> = sections.map(|section| (section.address(), section)).collect();
        sections.sort_by_key(|(address, _)| *address);
        Self(sections)
    }

    /// The text at an address.
    fn text_at(&self, address: u64) -> Option<String> {
        let after = self.0.partition_point(|(start, _)| *start <= address);
        let (start, section) = self.0.get(after.checked_sub(1)?)?;
        let rest = section.size().checked_sub(address - start)?;
        let text = section.data_range(address, rest.min(128)).ok()??;
        let text = text.split(|byte| *byte == 0).next()?;
        String::from_utf8(text.to_vec()).ok().filter(|text| !text.is_empty())
    }
}

/// What one of a kernel's own modules tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnModule {
    /// The kernel's version magic.
    pub vermagic: String,
    /// The size of its `struct module` in bytes.
    pub this_module_size: u64,
}

impl OwnModule {
    /// Reads a module that was built with the kernel; nothing where it isn't one (`intree`), or is malformed.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let image = Image::parse(Bytes(bytes), Loader::Trusting).ok()?;
        image.modinfo("intree").next()?;
        let vermagic = String::from_utf8(image.modinfo("vermagic").next()?.to_vec()).ok()?;
        Some(Self { vermagic, this_module_size: image.sections[image.this_module].size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbol_versions_are_read() {
        let text = "0x0000002a\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n0xffffffff\tfuse_x\tfs/fuse/fuse\tEXPORT_SYMBOL_GPL\tFUSE\n";
        let exports = Exports::parse(text).unwrap();
        let kfree = exports.get("kfree").unwrap();
        assert!(kfree.crc == 42 && !kfree.gpl_only && kfree.namespace.is_empty() && kfree.is_in_image());
        let fuse = exports.get("fuse_x").unwrap();
        assert!(fuse.crc == u32::MAX && fuse.gpl_only && &*fuse.namespace == "FUSE" && !fuse.is_in_image());
        assert_eq!(exports.len(), 2);
    }

    #[test]
    fn a_malformed_line_is_named() {
        let error = |text| Exports::parse(text).unwrap_err().to_string();
        assert_eq!(error(""), "line 1: no symbol is listed");
        assert_eq!(error("0x1\tkfree\n"), "line 1: the module is missing");
        let good = "0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n";
        let bad = format!("{good}x\ta\tb\tEXPORT_SYMBOL\n");
        assert_eq!(error(&bad), "line 2: the checksum is no hexadecimal number of 32 bits");
        assert_eq!(error("0x1\ta\tb\tEXPORTED\t\n"), "line 1: the kind of export is unknown");
    }

    #[test]
    fn the_loader_is_known_by_the_release() {
        let loader = |release: &str| Kernel { release: release.into(), ..Kernel::default() }.loader();
        assert_eq!(loader("6.1.0-56-cloud-amd64"), Loader::Trusting);
        assert_eq!(loader("5.10.1"), Loader::Trusting);
        assert_eq!(loader("6.12.95+deb12-amd64"), Loader::Counting);
        assert_eq!(loader("6.12.117"), Loader::Strict);
        assert_eq!(loader("7.3"), Loader::Strict);
    }

    #[test]
    fn an_image_that_is_none_has_nothing_in_sysfs() {
        assert!(builtin_in_sysfs(&b"no image"[..]).is_empty());
    }
}
