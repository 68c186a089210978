// SPDX-License-Identifier: GPL-2.0-only
//! What a kernel's loader says to a module, found without it: the checks of `load_module` in
//! `kernel/module/main.c`, in its order.

use std::collections::{HashMap, HashSet};

use crate::finding::{Errno, Finding, Report};
use crate::hazards;
use crate::image::{Bytes, Image, THIS_MODULE};
use crate::kernel::{Kernel, Loader};
use crate::layout;
use crate::lines;
use crate::names::{lossy, readable};
use crate::policy::Policy;
use crate::relocations;
pub(crate) use crate::relocations::relocation_name;
use crate::rules::Id;
use crate::symbols;
use crate::tables;

/// The licences that may use what is exported to GPL-compatible modules only.
///
/// Source: `license_is_gpl_compatible` in `include/linux/license.h`.
const GPL_COMPATIBLE: [&[u8]; 6] =
    [b"GPL", b"GPL v2", b"GPL and additional rights", b"Dual BSD/GPL", b"Dual MIT/GPL", b"Dual MPL/GPL"];

/// Modules that the loader holds to be proprietary whatever they say (6.1:
/// `check_module_license_and_versions`; 6.12: `module_augment_kernel_taints`).
const DISTRUSTED: [&str; 2] = ["driverloader", "lve"];

/// What the loader and the checks that follow it share.
pub(crate) struct Look<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) image: &'a Image<'a>,
    /// The name in `struct module`.
    pub(crate) name: String,
    /// The name in `.modinfo`.
    pub(crate) info_name: String,
    /// What it says that its licence is.
    pub(crate) license: &'a [u8],
    /// The module's licence lets it use everything.
    pub(crate) gpl: bool,
    /// The namespaces that it imports.
    pub(crate) imports: HashSet<&'a [u8]>,
    /// The versions that the module was built with; nothing where there is no section of them.
    pub(crate) versions: Option<HashMap<&'a [u8], u64>>,
}

/// What `check_version` says of a symbol.
pub(crate) enum Version {
    Good,
    /// The module has another one, or none.
    Bad(Box<Finding>),
}

/// Looks a module over as the kernel would, and then for what the kernel doesn't look for.
///
/// What the loader comes upon first is [`Report::first`]; what it would find after that is listed as well, as
/// far as the file can be read.
pub fn check(kernel: &Kernel, bytes: &[u8], policy: &Policy) -> Report {
    let mut report = Report::default();
    // `kernel_read_file`.
    if bytes.is_empty() {
        report.add(Finding::new(Id::ElfHeader, "the file is empty").kernel(Errno::Einval, ""));
        return report;
    }
    let bytes = match signature(kernel, bytes) {
        Ok(bytes) => Bytes(bytes),
        Err((finding, bytes)) => {
            report.add(*finding);
            Bytes(bytes)
        }
    };
    let image = match Image::parse(bytes, kernel.loader()) {
        Ok(image) => image,
        Err(finding) => {
            report.add(*finding);
            return report;
        }
    };
    let name = image.name();
    let license = image.modinfo("license").next().unwrap_or(b"unspecified");
    let look = Look {
        kernel,
        image: &image,
        info_name: image.info_name(),
        license,
        imports: image.modinfo("import_ns").collect(),
        gpl: GPL_COMPATIBLE.contains(&license) && !DISTRUSTED.contains(&name.as_str()),
        versions: (image.versions != 0).then(|| versions(image.raw(image.versions))),
        name,
    };
    report.name.clone_from(&look.name);
    look.this_module_size(&mut report);
    layout::unchecked_tables(&look, &mut report);
    look.module_layout(&mut report);
    look.vermagic(&mut report);
    look.livepatch(&mut report);
    if kernel.loader() != Loader::Trusting {
        look.already_loaded(&mut report);
    }
    look.writable_code(&mut report);
    layout::this_module(&look, &mut report);
    layout::check(&look, &mut report);
    if kernel.loader() == Loader::Trusting {
        look.already_loaded(&mut report);
    }
    layout::percpu(&look, &mut report);
    layout::section_names(&look, &mut report);
    look.export_versions(&mut report);
    symbols::check(&look, &mut report);
    relocations::check(&look, &mut report);
    symbols::first(&look, &mut report);
    tables::check(&look, &mut report);
    tables::duplicate_exports(&look, &mut report);
    look.live_patched(&mut report);
    look.already_built_in(&mut report);
    layout::section_files(&look, &mut report);
    look.dependencies(&mut report);
    symbols::missing_functions(&look, &policy.functions, &mut report);
    let (found, measures) = hazards::find(&look, policy);
    report.add_hazards(found);
    report.measures = measures;
    lines::add(look.image, report.findings_mut());
    report
}

/// `module_sig_check`: gives what the loader goes on with, the module without its signature. The signature itself
/// is not verified: of that, only the kernel knows the keys.
fn signature<'a>(kernel: &Kernel, bytes: &'a [u8]) -> Result<&'a [u8], (Box<Finding>, &'a [u8])> {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    const TRAILER: usize = 12;
    let refuse = |message: &str, errno, words: &str, rest| {
        Err((Box::new(Finding::new(Id::Signature, message).kernel(errno, words)), rest))
    };
    let unsigned = |reason: &str, rest| {
        if kernel.options.signatures_forced {
            let words = format!("Loading of {reason} is rejected");
            return refuse("the kernel takes only signed modules", Errno::Ekeyrejected, &words, rest);
        }
        Ok(rest)
    };
    let signed = bytes.strip_suffix(MARKER).filter(|signed| !signed.is_empty());
    let Some(signed) = signed else { return unsigned("unsigned module", bytes) };
    let Some(at) = signed.len().checked_sub(TRAILER).filter(|at| *at > 0) else {
        return refuse("the signature is cut off", Errno::Ebadmsg, "", signed);
    };
    let Some([algo, hash, kind, signer, key, p0, p1, p2, l0, l1, l2, l3]) = signed[at..].first_chunk() else {
        return refuse("the signature is cut off", Errno::Ebadmsg, "", signed);
    };
    let length = u32::from_be_bytes([*l0, *l1, *l2, *l3]) as usize;
    if length >= at {
        return refuse("the signature is said to be longer than the file", Errno::Ebadmsg, "", signed);
    }
    // PKEY_ID_PKCS7. Another is `ENOPKG`, which is forgiven where signatures aren't forced.
    if *kind != 2 {
        return unsigned("module with unsupported crypto", signed);
    }
    if [algo, hash, signer, key, p0, p1, p2].iter().any(|field| **field != 0) {
        let words = "module: PKCS#7 signature info has unexpected non-zero params";
        return refuse("the signature's header is malformed", Errno::Ebadmsg, words, signed);
    }
    // PKCS #7 is an ASN.1 SEQUENCE. What is in it isn't looked at.
    if length == 0 || signed[at - length] != 0x30 {
        return refuse("the signature is none", Errno::Ebadmsg, "", signed);
    }
    Ok(&signed[..at - length])
}

/// `struct modversion_info`: a version in 8 bytes and a name in 56. The loader takes the first of a name.
fn versions(data: &[u8]) -> HashMap<&[u8], u64> {
    let mut versions = HashMap::with_capacity(data.len() / 64);
    for entry in data.chunks_exact(64) {
        let (crc, name) = entry.split_at(8);
        let crc = crc.try_into().map(u64::from_le_bytes).unwrap_or_default();
        // One without an end goes on in the next entry, and is no symbol's.
        if let Some(end) = name.iter().position(|byte| *byte == 0) {
            versions.entry(&name[..end]).or_insert(crc);
        }
    }
    versions
}

impl Look<'_> {
    /// Why the module may not use everything.
    pub(crate) fn not_gpl(&self) -> String {
        if DISTRUSTED.contains(&self.name.as_str()) {
            return format!("the kernel holds every `{}` to be proprietary", self.name);
        }
        format!("the licence is `{}`", lossy(self.license))
    }

    /// `check_version`, for a symbol that the kernel exports with this checksum.
    pub(crate) fn version(&self, symbol: &str, crc: u32) -> Version {
        if !self.kernel.options.modversions {
            return Version::Good;
        }
        let refuse = |id, message: String, words: String| {
            let finding = Finding::new(id, message).symbol(symbol).kernel(Errno::Einval, words);
            Version::Bad(Box::new(finding))
        };
        let name = &self.info_name;
        let Some(versions) = &self.versions else {
            if self.kernel.options.force_load {
                return Version::Good;
            }
            let message =
                format!("the module has no versions of symbols, `{symbol}` is the first that needs one");
            return refuse(Id::SymbolVersionMissing, message, String::new());
        };
        match versions.get(symbol.as_bytes()) {
            Some(found) if *found == u64::from(crc) => Version::Good,
            Some(found) => refuse(
                Id::SymbolVersion,
                format!(
                    "`{}` has version {found:#010x} in the module and {crc:#010x} in the kernel",
                    readable(symbol)
                ),
                format!("{name}: disagrees about version of symbol {symbol}"),
            ),
            None => refuse(
                Id::SymbolVersionMissing,
                format!("the module has no version of `{}`", readable(symbol)),
                format!("{name}: no symbol version for {symbol}"),
            ),
        }
    }

    fn this_module_size(&self, report: &mut Report) {
        let Some(wanted) = self.kernel.this_module_size else { return };
        let size = self.image.sections[self.image.this_module].size;
        if size == wanted {
            return;
        }
        let message = format!("`struct module` has {size} bytes in the module and {wanted} in the kernel");
        let finding = Finding::new(Id::ThisModuleSize, message).in_section(THIS_MODULE);
        let words = format!(
            "module {}: .gnu.linkonce.this_module section size must match the kernel's built struct module size at \
             run time",
            self.info_name
        );
        match self.kernel.loader() {
            Loader::Counting | Loader::Strict => report.add(finding.kernel(Errno::Enoexec, words)),
            Loader::Trusting => report.add(finding),
        }
    }

    /// `check_modstruct_version`.
    fn module_layout(&self, report: &mut Report) {
        const LAYOUT: &str = "module_layout";
        let Some(export) = self.kernel.exports.get(LAYOUT) else { return };
        if let Version::Bad(mut finding) = self.version(LAYOUT, export.crc) {
            finding.errno = Some(Errno::Enoexec);
            report.add(*finding);
        }
    }

    /// `check_modinfo`: `same_magic` passes over the release where the module has versions of symbols.
    fn vermagic(&self, report: &mut Report) {
        let Some(magic) = self.image.modinfo("vermagic").next() else {
            if !self.kernel.options.force_load {
                let finding = Finding::new(Id::Vermagic, "the module has no version magic");
                report.add(finding.kernel(Errno::Enoexec, ""));
            }
            return;
        };
        let Some(wanted) = &self.kernel.vermagic else { return };
        let found = lossy(magic);
        let split = |magic: &str| -> (String, String) {
            let at = magic.find(' ').unwrap_or(magic.len());
            (magic[..at].to_owned(), magic[at..].to_owned())
        };
        let ((release, flags), (their_release, their_flags)) = (split(&found), split(wanted));
        let versions = self.versions.is_some();
        if flags == their_flags && (versions || release == their_release) {
            return;
        }
        let mut parts = Vec::new();
        if !versions && release != their_release {
            parts.push(format!("the release `{release}` is not `{their_release}`"));
        }
        let words = |flags: &str| flags.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let (ours, theirs) = (words(&flags), words(&their_flags));
        let without = |these: &[String], those: &[String]| -> Vec<String> {
            these.iter().filter(|word| !those.contains(word)).map(|word| format!("`{word}`")).collect()
        };
        let (more, less) = (without(&ours, &theirs), without(&theirs, &ours));
        if !more.is_empty() {
            parts.push(format!("the module has {} and the kernel doesn't", more.join(", ")));
        }
        if !less.is_empty() {
            parts.push(format!("the kernel has {} and the module doesn't", less.join(", ")));
        }
        if parts.is_empty() {
            parts.push("the order or the spaces of the options differ".to_owned());
        }
        let words = format!("{}: version magic '{found}' should be '{wanted}'", self.info_name);
        let finding = Finding::new(Id::Vermagic, format!("the version magic differs: {}", parts.join("; ")));
        report.add(finding.in_section(".modinfo").kernel(Errno::Enoexec, words));
    }

    /// `check_modinfo_livepatch`.
    fn livepatch(&self, report: &mut Report) {
        if !self.kernel.options.livepatch && self.image.modinfo("livepatch").next().is_some() {
            let words = format!(
                "{}: module is marked as livepatch module, but livepatch support is disabled",
                self.name
            );
            let finding =
                Finding::new(Id::Livepatch, "the module is a live patch, and the kernel takes none");
            report.add(finding.in_section(".modinfo").kernel(Errno::Enoexec, words));
        }
    }

    /// `add_unformed_module` (6.12 looks earlier as well: `early_mod_check`).
    fn already_loaded(&self, report: &mut Report) {
        if self.kernel.loaded.contains(&self.name) {
            let message = format!("a module of the name `{}` is loaded already", self.name);
            report.add(Finding::new(Id::AlreadyLoaded, message).kernel(Errno::Eexist, ""));
        }
    }

    /// `module_enforce_rwx_sections`.
    fn writable_code(&self, report: &mut Report) {
        const WRITE_AND_EXECUTE: u64 = 0x1 | 0x4;
        if !self.kernel.options.strict_rwx {
            return;
        }
        for (index, section) in self.image.sections.iter().enumerate() {
            if section.flags & WRITE_AND_EXECUTE == WRITE_AND_EXECUTE {
                let name = self.image.section_name(index);
                let words =
                    format!("{}: section {name} (index {index}) has invalid WRITE|EXEC flags", self.name);
                let finding = Finding::new(Id::WritableCode, "the section is writable and executable");
                report.add(finding.in_section(name).kernel(Errno::Enoexec, words));
            }
        }
    }

    /// `check_module_license_and_versions` of 6.1, `check_export_symbol_versions` of 6.12.
    fn export_versions(&self, report: &mut Report) {
        if !self.kernel.options.modversions || self.kernel.options.force_load {
            return;
        }
        for (table, versions) in [("__ksymtab", "__kcrctab"), ("__ksymtab_gpl", "__kcrctab_gpl")] {
            let table_index = self.image.find_loaded(table);
            let is_used =
                self.image.sections.get(table_index).is_some_and(|s| s.size >= 12) && table_index != 0;
            if is_used && self.image.find_loaded(versions) == 0 {
                let finding = Finding::new(Id::ExportVersions, "what the module exports has no versions");
                report.add(finding.in_section(table).kernel(Errno::Enoexec, ""));
            }
        }
    }

    /// `klp_module_coming`: for live patches, `vmlinux` is the kernel's image.
    fn live_patched(&self, report: &mut Report) {
        if self.kernel.options.livepatch && self.name == "vmlinux" {
            let words = "livepatch: vmlinux.ko: invalid module name";
            let finding = Finding::new(Id::AlreadyBuiltIn, "`vmlinux` is the name of the kernel's image");
            report.add(finding.kernel(Errno::Einval, words));
        }
    }

    /// `mod_sysfs_init`: `/sys/module` has one folder of a name.
    fn already_built_in(&self, report: &mut Report) {
        if self.kernel.in_sysfs.contains(&self.name) {
            let message = format!("`{}` is part of this kernel's image", self.name);
            let words = format!("{}: module is already loaded", self.name);
            report.add(Finding::new(Id::AlreadyBuiltIn, message).kernel(Errno::Einval, words));
        }
    }

    /// What modprobe loads first. The kernel doesn't look at it.
    fn dependencies(&self, report: &mut Report) {
        if self.kernel.modules.is_empty() {
            return;
        }
        let depends = String::from_utf8_lossy(self.image.modinfo("depends").next().unwrap_or_default());
        for name in depends.split(',').filter(|name| !name.is_empty()) {
            let name = name.replace('-', "_");
            if !self.kernel.modules.contains(&name) && !self.kernel.builtin.contains(&name) {
                let message = format!("the module needs the module `{name}`, which this kernel doesn't have");
                report.add(Finding::new(Id::MissingDependency, message).in_section(".modinfo"));
            }
        }
    }
}

#[cfg(test)]
mod tests;
