// SPDX-License-Identifier: GPL-2.0-only
//! The rules that a module is judged by, as data. `docs/rules.md` is made from them.
//!
//! Sources of the refusals are functions of the kernel, in `kernel/module/main.c` unless the name says otherwise, read in
//! 6.1.192 and 6.12.117; how 6.12.95 differs was seen in a machine.

mod hazards;

use std::fmt::Write as _;

use hazards::HAZARDS;

/// How bad it is to break a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The module will not be loaded: by the kernel, or, where the kernel would do harm or not notice, by us.
    Refusal,
    /// The module is loaded, and is dangerous, or not what its makers mean it to be.
    Hazard,
}

impl Class {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Refusal => "refusal",
            Self::Hazard => "hazard",
        }
    }
}

/// A rule.
#[derive(Debug)]
pub struct Rule {
    /// Which.
    pub id: Id,
    /// Its name: stable, for users and programs.
    pub name: &'static str,
    /// How bad it is to break it.
    pub class: Class,
    /// What a module that breaks it has wrong, in a few words.
    pub title: &'static str,
    /// What is looked at.
    pub what: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// What the kernel does: the function, the error number, the line it prints.
    pub kernel: &'static str,
    /// How to mend it.
    pub mend: &'static str,
}

/// The rules, in the order of [`rules`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Id {
    /// The module's signature is missing or malformed.
    Signature,
    /// The file is no relocatable object for this architecture.
    ElfHeader,
    /// The table of sections is malformed.
    SectionHeaders,
    /// A section lies outside the file.
    SectionBounds,
    /// The names of sections are malformed.
    SectionNames,
    /// The symbol table is missing or malformed.
    SymbolTable,
    /// There is no `struct module` in the file.
    ThisModuleMissing,
    /// `struct module` has another size in the kernel.
    ThisModuleSize,
    /// A symbol has another version in the kernel.
    SymbolVersion,
    /// The module has no version of a symbol.
    SymbolVersionMissing,
    /// The version magic differs.
    Vermagic,
    /// The kernel takes no live patches.
    Livepatch,
    /// A section is writable and executable.
    WritableCode,
    /// What the module exports has no versions.
    ExportVersions,
    /// A variable was left to the linker.
    CommonSymbol,
    /// A symbol is in a section that isn't there.
    SymbolSection,
    /// A symbol isn't exported by the kernel.
    UnknownSymbol,
    /// The licence doesn't allow the use of a symbol.
    GplOnlySymbol,
    /// A symbol's namespace isn't imported.
    NamespaceNotImported,
    /// Relocations without addends.
    RelSection,
    /// A relocation that the loader doesn't apply.
    RelocationType,
    /// What a relocation is to fill in isn't zero.
    RelocationTarget,
    /// An address doesn't fit into a relocation.
    RelocationOverflow,
    /// A relocation refers to what isn't there.
    RelocationOutOfRange,
    /// A symbol is exported by the kernel already.
    DuplicateExport,
    /// The module is part of the kernel's image.
    AlreadyBuiltIn,
    /// A module that this one needs isn't there.
    MissingDependency,
    /// The Rust side is not in the module.
    MissingFunction,
    /// `struct module` is not as modpost makes it.
    ThisModuleContent,
    /// The module's sections can't be given memory.
    ModuleMemory,
    /// A table that the loader follows points nowhere.
    LoaderTable,
    /// A module of this name is loaded already.
    AlreadyLoaded,
    /// Code uses vector or floating-point registers.
    VectorRegisters,
    /// Code keeps data below the stack pointer.
    RedZone,
    /// A branch through a register or memory goes past the mitigation.
    IndirectBranch,
    /// A return goes past the mitigation.
    NakedReturn,
    /// A function that is called by pointer doesn't begin with `endbr64`.
    MissingEndbr,
    /// Tables for unwinding exceptions are loaded.
    UnwindTables,
    /// A constructor is never run.
    Constructors,
    /// A section is writable and executable, in a kernel that lets that pass.
    WritableExecutable,
    /// A symbol of the module has the name of one of the kernel's.
    ShadowedSymbol,
    /// Rust code can panic.
    ReachablePanic,
    /// Rust code gives up when memory is short.
    AbortingAllocation,
    /// Floating-point arithmetic in software.
    SoftFloat,
    /// A function needs much stack for itself.
    StackFrame,
    /// A chain of calls needs much stack.
    StackDepth,
    /// Functions call each other in a circle.
    Recursion,
    /// C and Rust disagree about a function.
    InterfaceDrift,
    /// Code that stays uses what is freed after initialisation.
    SectionMismatch,
    /// The module is larger than its project allows.
    SizeBudget,
    /// An allowance allows nothing.
    UnusedAllowance,
}

/// How many rules there are.
pub(crate) const COUNT: usize = REFUSALS.len() + HAZARDS.len();

/// The rule of an identifier.
pub(crate) fn rule(id: Id) -> &'static Rule {
    let index = id as usize;
    REFUSALS.get(index).unwrap_or_else(|| &HAZARDS[index - REFUSALS.len()])
}

/// The rule of a name.
pub fn rule_named(name: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.name == name)
}

/// All rules: the refusals in the order in which the loader comes upon what they are about, then the hazards.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    REFUSALS.iter().chain(&HAZARDS)
}

static REFUSALS: [Rule; 32] = [
    Rule {
        id: Id::Signature,
        name: "signature",
        class: Class::Refusal,
        title: "the module's signature is missing or malformed",
        what: "The kernel takes only signed modules and this one has no signature, or the signature at \
               the module's end is cut off or malformed. A signature's digest and key are not \
               verified.",
        why: "A kernel that trusts only what its makers signed refuses everything else, and a \
              malformed signature is refused even where none is asked for.",
        kernel: "`module_sig_check`: `EKEYREJECTED`, `Loading of unsigned module is rejected`; \
                 `mod_check_sig`: `EBADMSG`",
        mend: "sign the module with the kernel's `scripts/sign-file`, or build it again if the file \
               was cut off",
    },
    Rule {
        id: Id::ElfHeader,
        name: "elf-header",
        class: Class::Refusal,
        title: "the file is no relocatable object for this architecture",
        what: "The file is empty or too short, is no ELF file (a static library, or packed under another name), \
               is a program or a shared object, or is for another machine.",
        why: "A module is what `ld -r` writes: a relocatable object.",
        kernel: "`elf_validity_check` (6.12: `elf_validity_ehdr`): `ENOEXEC`, `Invalid ELF header \
                 len`, `… magic`, `… type`, `Invalid architecture in ELF header`; `kernel_read_file` of an \
                 empty one: `EINVAL`",
        mend: "give the .ko file that Kbuild made for this architecture",
    },
    Rule {
        id: Id::SectionHeaders,
        name: "section-headers",
        class: Class::Refusal,
        title: "the table of sections is malformed",
        what: "The entries have another size than the loader's, the table lies outside the file, the \
               section with the names isn't one of them, or section 0 is not empty.",
        why: "Nothing else in the file can be found without the table. A file that was cut off ends \
              here, because the table is at its end.",
        kernel: "`elf_validity_check` (6.12: `elf_validity_cache_sechdrs`, \
                 `elf_validity_cache_secstrings`): `ENOEXEC`, `Invalid ELF section header size`, \
                 `Invalid ELF section header overflow`, `Invalid ELF section name index`, `ELF Spec \
                 violation: section 0 …`",
        mend: "the file is damaged or cut off: build or copy it again",
    },
    Rule {
        id: Id::SectionBounds,
        name: "section-bounds",
        class: Class::Refusal,
        title: "a section lies outside the file",
        what: "The place and the size of a section, as its header has them, are not within the file.",
        why: "The loader would read beyond the file's end. Of sections of type `SHT_NULL` or `SHT_NOBITS` it \
              doesn't look, and does so.",
        kernel: "`validate_section_offset`: `ENOEXEC`, `Invalid ELF section in module (section N type T)`",
        mend: "the file is damaged or cut off: build or copy it again",
    },
    Rule {
        id: Id::SectionNames,
        name: "section-names",
        class: Class::Refusal,
        title: "the names of sections are malformed",
        what: "The section name table is empty, is of another type, doesn't end with a zero, or a \
               section's name is outside it; or two loaded sections have one name (6.12).",
        why: "The loader finds sections by name.",
        kernel: "`elf_validity_check` (6.12: `elf_validity_cache_secstrings`): `ENOEXEC`, `empty \
                 section name table`, `ELF Spec violation: section name table isn't null terminated`, \
                 `Invalid ELF section name in module`; `add_sect_attrs`: `EEXIST`, `sysfs: cannot create \
                 duplicate filename …`; an oops where the name isn't in the file",
        mend: "the file is damaged: build or copy it again",
    },
    Rule {
        id: Id::SymbolTable,
        name: "symbol-table",
        class: Class::Refusal,
        title: "the symbol table is missing or malformed",
        what: "There is no symbol table (6.12: not exactly one), or it isn't linked with a table of names; \
               or a symbol's name is outside that table.",
        why: "Relocations refer to symbols. `strip` without `--strip-debug` takes them away.",
        kernel: "`setup_load_info` (6.12: `elf_validity_cache_index_sym`, \
                 `elf_validity_cache_index_str`): `ENOEXEC`, `NAME: module has no symbols \
                 (stripped?)`, `Invalid ELF sh_link!=SHN_UNDEF`",
        mend: "strip it with `strip --strip-debug` at most",
    },
    Rule {
        id: Id::ThisModuleMissing,
        name: "this-module-missing",
        class: Class::Refusal,
        title: "there is no `struct module` in the file",
        what: "The section `.gnu.linkonce.this_module` is missing, isn't loaded, holds no bytes or is \
               there several times; or `.modinfo` is (6.12).",
        why: "The section is what makes an object a module: modpost writes it into the file that \
              Kbuild links in last.",
        kernel: "`setup_load_info`: `ENOEXEC`, `NAME: No module found in object`; 6.12: \
                 `elf_validity_cache_index_mod`, `module NAME: Exactly one .gnu.linkonce.this_module \
                 section must exist.`",
        mend: "give the .ko file, not the .o file that it is made of",
    },
    Rule {
        id: Id::ThisModuleSize,
        name: "this-module-size",
        class: Class::Refusal,
        title: "`struct module` has another size in the kernel",
        what: "The section `.gnu.linkonce.this_module` is not as large as the kernel's `struct module`.",
        why: "The module was built for another kernel, or with another configuration. Kernels before \
              6.4 don't look: where symbol versions don't stop it, fields are read from the wrong \
              places and memory is damaged.",
        kernel: "6.12: `elf_validity_cache_index_mod`: `ENOEXEC`, `module NAME: \
                 .gnu.linkonce.this_module section size must match the kernel's built struct module \
                 size at run time`. 6.1: nothing; this check refuses it",
        mend: "build the module against this kernel's headers",
    },
    Rule {
        id: Id::SymbolVersion,
        name: "symbol-version",
        class: Class::Refusal,
        title: "a symbol has another version in the kernel",
        what: "The checksum over a symbol's type that the module was built with is not the one that \
               the kernel exports. `module_layout` stands for the loader's own structures, and is \
               compared first.",
        why: "The types that function or variable deals in differ between the kernel that the module \
              was built for and this one.",
        kernel: "`check_version`: `NAME: disagrees about version of symbol SYMBOL`; `ENOEXEC` for \
                 `module_layout` (`check_modstruct_version`), else `EINVAL` (`resolve_symbol`)",
        mend: "build the module against this kernel's headers",
    },
    Rule {
        id: Id::SymbolVersionMissing,
        name: "symbol-version-missing",
        class: Class::Refusal,
        title: "the module has no version of a symbol",
        what: "The kernel's symbols have versions, and the module's section `__versions` lacks one \
               that it uses; or it has no such section, and the kernel doesn't let that pass \
               (`CONFIG_MODULE_FORCE_LOAD`).",
        why: "Modpost found no version when the module was built: `Module.symvers` was missing, or a \
              warning was passed over.",
        kernel: "`check_version`: `NAME: no symbol version for SYMBOL`; `ENOEXEC` for `module_layout`, \
                 else `EINVAL`",
        mend: "build the module against headers with a Module.symvers, and heed modpost's warnings",
    },
    Rule {
        id: Id::Vermagic,
        name: "vermagic",
        class: Class::Refusal,
        title: "the version magic differs",
        what: "The kernel's release and the options that shape its structures, as the module has them, \
               are not this kernel's. The release isn't compared where the module has versions of \
               symbols.",
        why: "SMP, preemption, unloading and symbol versions change the layout of structures and of code.",
        kernel: "`check_modinfo`, `same_magic`: `ENOEXEC`, `NAME: version magic '…' should be '…'`. A \
                 module without any is refused silently where `CONFIG_MODULE_FORCE_LOAD` is off",
        mend: "build the module against this kernel's headers",
    },
    Rule {
        id: Id::Livepatch,
        name: "livepatch",
        class: Class::Refusal,
        title: "the kernel takes no live patches",
        what: "The module says that it is a live patch, and the kernel was built without \
               `CONFIG_LIVEPATCH`.",
        why: "Its relocations would not be applied.",
        kernel: "`check_modinfo_livepatch`: `ENOEXEC`, `NAME: module is marked as livepatch module, \
                 but livepatch support is disabled`",
        mend: "remove MODULE_INFO(livepatch, …), or use a kernel with CONFIG_LIVEPATCH",
    },
    Rule {
        id: Id::WritableCode,
        name: "writable-code",
        class: Class::Refusal,
        title: "a section is writable and executable",
        what: "A section has both flags, and the kernel has `CONFIG_STRICT_MODULE_RWX`.",
        why: "The kernel lets no memory be both.",
        kernel: "`module_enforce_rwx_sections`: `ENOEXEC`, `NAME: section SECTION (index N) has \
                 invalid WRITE|EXEC flags`",
        mend: "give code and data sections of their own (look for assembler files and section attributes)",
    },
    Rule {
        id: Id::ExportVersions,
        name: "export-versions",
        class: Class::Refusal,
        title: "what the module exports has no versions",
        what: "The module exports symbols and has no checksums of them, and the kernel doesn't let \
               that pass.",
        why: "A module that uses them could not be compared.",
        kernel: "`check_module_license_and_versions` (6.12: `check_export_symbol_versions`): \
                 `ENOEXEC`, nothing printed",
        mend: "build the module against headers with CONFIG_MODVERSIONS",
    },
    Rule {
        id: Id::CommonSymbol,
        name: "common-symbol",
        class: Class::Refusal,
        title: "a variable was left to the linker",
        what: "A symbol is `COMMON`: it has no section yet.",
        why: "The loader gives such symbols no memory.",
        kernel: "`simplify_symbols`: `ENOEXEC`, `NAME: please compile with -fno-common`",
        mend: "compile with -fno-common",
    },
    Rule {
        id: Id::SymbolSection,
        name: "symbol-section",
        class: Class::Refusal,
        title: "a symbol is in a section that isn't there",
        what: "A symbol's section index is none of the file's.",
        why: "The symbol has no address.",
        kernel: "`simplify_symbols`: `ENOEXEC`, `NAME: Symbol SYMBOL has an invalid section index N \
                 (max M)`",
        mend: "the file is damaged: build it again",
    },
    Rule {
        id: Id::UnknownSymbol,
        name: "unknown-symbol",
        class: Class::Refusal,
        title: "a symbol isn't exported by the kernel",
        what: "The module uses a function or variable that it doesn't define, and that neither the \
               kernel's image nor one of its modules exports. Weak symbols may be missing.",
        why: "It was never exported, no longer is, or isn't built with this kernel's configuration.",
        kernel: "`simplify_symbols`: `ENOENT`, `NAME: Unknown symbol SYMBOL (err -2)`",
        mend: "use what this kernel exports (`grep NAME Module.symvers`), or define it; modpost names \
               such symbols when it is built",
    },
    Rule {
        id: Id::GplOnlySymbol,
        name: "gpl-only-symbol",
        class: Class::Refusal,
        title: "the licence doesn't allow the use of a symbol",
        what: "The symbol is exported with `EXPORT_SYMBOL_GPL`, and the module's licence is none of \
               `GPL`, `GPL v2`, `GPL and additional rights`, `Dual BSD/GPL`, `Dual MIT/GPL`, `Dual \
               MPL/GPL`.",
        why: "For such a module the symbol doesn't exist.",
        kernel: "`find_symbol`, `simplify_symbols`: `ENOENT`, `NAME: Unknown symbol SYMBOL (err -2)`",
        mend: "say MODULE_LICENSE(\"GPL\") if that is the licence, or do without the symbol",
    },
    Rule {
        id: Id::NamespaceNotImported,
        name: "namespace-not-imported",
        class: Class::Refusal,
        title: "a symbol's namespace isn't imported",
        what: "The symbol is exported into a namespace, and the module has no `import_ns` of it. \
               Kernels with `CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS` only warn.",
        why: "A namespace keeps symbols for those who ask for them.",
        kernel: "`verify_namespace_is_imported`: `EINVAL`, `NAME: module uses symbol (SYMBOL) from \
                 namespace NAMESPACE, but does not import it.`",
        mend: "add MODULE_IMPORT_NS(…) to a C file",
    },
    Rule {
        id: Id::RelSection,
        name: "rel-section",
        class: Class::Refusal,
        title: "relocations without addends",
        what: "A section holds relocations of the form `SHT_REL`.",
        why: "On x86-64 the loader takes only `SHT_RELA`.",
        kernel: "`apply_relocate`: `ENOEXEC`, `module NAME: REL relocation unsupported`",
        mend: "link it with `ld -r -m elf_x86_64`",
    },
    Rule {
        id: Id::RelocationType,
        name: "relocation-type",
        class: Class::Refusal,
        title: "a relocation that the loader doesn't apply",
        what: "Taken are `R_X86_64_NONE`, `64`, `PC64`, `32`, `32S`, `PC32` and `PLT32`.",
        why: "Others are for programs: a module has no global offset table (`GOTPCREL`) and no \
              thread-local memory.",
        kernel: "`__write_relocate_add`: `ENOEXEC`, `NAME: Unknown rela relocation: N`",
        mend: "build it with the kernel's own flags: -mcmodel=kernel -fno-pic",
    },
    Rule {
        id: Id::RelocationTarget,
        name: "relocation-target",
        class: Class::Refusal,
        title: "what a relocation is to fill in isn't zero",
        what: "The bytes that a relocation is to be written to are not zero in the file, or another \
               relocation has filled them in.",
        why: "The loader takes that as a sign of a relocation that was applied before.",
        kernel: "`__write_relocate_add`: `ENOEXEC`, `x86/modules: Invalid relocation target, existing \
                 value is nonzero for type N, loc …, val …` (6.1: `Skipping invalid relocation target, \
                 …`)",
        mend: "don't write to the object after it was linked; with `ld -r`, don't use -q on a finished \
               module",
    },
    Rule {
        id: Id::RelocationOverflow,
        name: "relocation-overflow",
        class: Class::Refusal,
        title: "an address doesn't fit into a relocation",
        what: "A relocation of 32 bits refers to something that is certainly out of its reach. Modules \
               are in the highest 2 GiB of the address space.",
        why: "`R_X86_64_32` is for addresses below 4 GiB: the object was built for programs.",
        kernel: "`__write_relocate_add`: `ENOEXEC`, ``overflow in relocation type N val …`` and \
                 `likely not compiled with -mcmodel=kernel`",
        mend: "build it with the kernel's own flags: -mcmodel=kernel",
    },
    Rule {
        id: Id::RelocationOutOfRange,
        name: "relocation-out-of-range",
        class: Class::Refusal,
        title: "a relocation refers to what isn't there",
        what: "A relocation is for a place beyond its section's end, or against a symbol that the \
               symbol table doesn't have, or that is in a section which isn't loaded.",
        why: "The loader doesn't look: it writes to, or reads from, memory that isn't the module's, \
              and the kernel may oops or be damaged.",
        kernel: "nothing; this check refuses it",
        mend: "the file is damaged: build it again",
    },
    Rule {
        id: Id::DuplicateExport,
        name: "duplicate-export",
        class: Class::Refusal,
        title: "a symbol is exported by the kernel already",
        what: "The module exports a symbol that the kernel's image exports.",
        why: "Other modules could not tell the two apart.",
        kernel: "`verify_exported_symbols`: `ENOEXEC`, `NAME: exports duplicate symbol SYMBOL (owned \
                 by kernel)`",
        mend: "give the symbol another name, or don't export it",
    },
    Rule {
        id: Id::AlreadyBuiltIn,
        name: "already-built-in",
        class: Class::Refusal,
        title: "the module is part of the kernel's image",
        what: "A module of this name is built in, and has a folder in `/sys/module` because it has \
               parameters or a version.",
        why: "There can be only one folder of a name. A module that is built in without such a folder \
              is no obstacle to another of its name.",
        kernel: "`mod_sysfs_init`: `EINVAL`, `NAME: module is already loaded`",
        mend: "give the module another name, or use the kernel's own",
    },
    Rule {
        id: Id::MissingDependency,
        name: "missing-dependency",
        class: Class::Refusal,
        title: "a module that this one needs isn't there",
        what: "The module's `depends` names one that the kernel neither ships nor has built in.",
        why: "modprobe and vexlab load what a module needs before it. The kernel doesn't look at \
              `depends`; it would miss the symbols.",
        kernel: "nothing; modprobe: `FATAL: Module NAME not found`",
        mend: "use a kernel that has it (Debian's cloud kernels lack many drivers), or build without \
               what needs it",
    },
    Rule {
        id: Id::MissingFunction,
        name: "missing-function",
        class: Class::Refusal,
        title: "the Rust side is not in the module",
        what: "A function that the project's Rust library exports isn't defined in the module.",
        why: "The Kbuild file doesn't list the Rust object, and what is tested would be C alone.",
        kernel: "nothing; the module would load",
        mend: "list the Rust object in the Kbuild file: NAME-y += rust.o; to build without Rust, say \
               --c-only",
    },
    Rule {
        id: Id::ThisModuleContent,
        name: "this-module-content",
        class: Class::Refusal,
        title: "`struct module` is not as modpost makes it",
        what: "The section `.gnu.linkonce.this_module` is not writable data, holds something beside the \
               module's name, or refers to something that isn't code of the module.",
        why: "The loader uses that very memory as its own record of the module, and calls what it \
              points to.",
        kernel: "nothing, or an oops; this check refuses it",
        mend: "the file is damaged: build it again",
    },
    Rule {
        id: Id::ModuleMemory,
        name: "module-memory",
        class: Class::Refusal,
        title: "the module's sections can't be given memory",
        what: "The sections' sizes and alignments ask for more than 128 MiB, or make sections overlap; or \
               there are more than 8 KiB of per-CPU variables, which is what all modules share.",
        why: "There are 1008 MiB for all modules together. What doesn't fit into 32 bits, the loader \
              miscounts, and writes beyond what it has.",
        kernel: "`move_module`: `ENOMEM`; `percpu_modalloc`: `ENOMEM`, `NAME: Could not allocate N bytes \
                 percpu data`. Of what overlaps it notices nothing; this check refuses it",
        mend: "allocate large memory when it is needed; if the sizes are none of yours, the file is damaged",
    },
    Rule {
        id: Id::LoaderTable,
        name: "loader-table",
        class: Class::Refusal,
        title: "a table that the loader follows points nowhere",
        what: "An entry of `__param`, `__ksymtab`, `__jump_table`, `.return_sites` or another table that \
               the loader follows isn't filled in by a relocation against what it is for.",
        why: "The loader reads names from there, or patches what it takes to be instructions.",
        kernel: "nothing, or an oops in `module_finalize`, `mod_sysfs_setup` or `verify_exported_symbols`; \
                 this check refuses it",
        mend: "the file is damaged: build it again, and don't strip relocations",
    },
    Rule {
        id: Id::AlreadyLoaded,
        name: "already-loaded",
        class: Class::Refusal,
        title: "a module of this name is loaded already",
        what: "The name is that of a module that the machine itself needs.",
        why: "There can be only one module of a name.",
        kernel: "`add_unformed_module`: `EEXIST`, nothing printed",
        mend: "give the module another name",
    },
];

/// One rule as a section of Markdown.
pub fn explain(rule: &Rule) -> String {
    let Rule { name, class, title, what, why, kernel, mend, .. } = rule;
    let class = class.name();
    format!(
        "## {name}\n\n{class}: {title}.\n\n* What: {what}\n* Why: {why}\n* The kernel: {kernel}.\n* To mend it: {mend}.\n"
    )
}

/// The documentation of the rules: a Markdown page, made from [`rules`].
pub fn rules_page() -> String {
    let mut page = String::from(
        "# Rules\n\nWhat `vexlab check`, and `vexlab test` before it loads a module, look for. A *refusal* means that the \
         kernel will\nnot load the module, or that loading it would do harm that the kernel doesn't notice; refusals \
         are in the order\nin which the kernel's loader comes upon them. A *hazard* means that the module loads and is \
         dangerous. Hazards\nrefuse nothing unless that is asked for (`--strict`, or `strict = true` under `[check]`); \
         one by one they can be\nallowed with `[[check.allow]]` in `vexlab.toml`, refusals can't. \
         `vexlab check --explain ID` prints one rule.\n\n| id | class | |\n| --- | --- | --- |\n",
    );
    for rule in rules() {
        let _ = writeln!(page, "| [`{0}`](#{0}) | {1} | {2} |", rule.name, rule.class.name(), rule.title);
    }
    for rule in rules() {
        page.push('\n');
        page.push_str(&explain(rule));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_identifiers() {
        for (index, rule) in rules().enumerate() {
            assert_eq!(rule.id as usize, index, "{}", rule.name);
            assert_eq!(rule_named(rule.name).unwrap().id, rule.id, "names are unique");
        }
    }

    #[test]
    fn the_documentation_is_what_the_program_says() {
        assert_eq!(include_str!("../../../docs/rules.md"), rules_page(), "run `make docs`");
    }
}
