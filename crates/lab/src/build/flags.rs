// SPDX-License-Identifier: GPL-2.0-only
//! What makes rustc's output fit a kernel: a pure function of the kernel's config.
//!
//! Source of what the kernel itself uses: `arch/x86/Makefile`, `scripts/Makefile.lib` of Linux. A config
//! symbol that was renamed (6.9 put `MITIGATION_` before several) is looked up by both names.

use crate::kernel::Config;

/// The target that kernel objects are built for. It has no vector registers and no red zone.
pub const TARGET: &str = "x86_64-unknown-none";

/// Flags that every kernel on x86-64 needs.
const ALWAYS: &[&str] = &[
    // The kernel lives in the top 2 GiB and is not position-independent.
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    // Calls and data are reached directly, never through a global offset table: the kernel's loader takes
    // no GOT relocation ("Unknown rela relocation: 9").
    "-Zplt=yes",
    "-Zdirect-access-external-data=yes",
    // An interrupt overwrites what is below the stack pointer.
    "-Cno-redzone=yes",
    // Nothing in the kernel unwinds.
    "-Cforce-unwind-tables=no",
];

/// What a config says of the mitigations that change how code is generated.
struct Mitigations {
    ibt: bool,
    retpoline: bool,
    rethunk: bool,
    sls: bool,
}

impl Mitigations {
    fn of(config: &Config) -> Self {
        let any = |name: &str| {
            config.is_set(&format!("CONFIG_{name}")) || config.is_set(&format!("CONFIG_MITIGATION_{name}"))
        };
        Self {
            ibt: config.is_set("CONFIG_X86_KERNEL_IBT"),
            retpoline: any("RETPOLINE"),
            rethunk: any("RETHUNK"),
            sls: any("SLS"),
        }
    }
}

/// The flags for a kernel with this config.
pub fn rust_flags(config: &Config) -> Vec<String> {
    let Mitigations { ibt, retpoline, rethunk, sls } = Mitigations::of(config);
    let mut flags: Vec<String> = ALWAYS.iter().map(|flag| (*flag).to_owned()).collect();
    let mut add = |condition: bool, flag: &str| {
        if condition {
            flags.push(flag.to_owned());
        }
    };
    // Where indirect branches have to land on ENDBR, or go through a thunk, there can be no jump tables.
    add(ibt, "-Zcf-protection=branch");
    add(ibt || retpoline, "-Cjump-tables=no");
    add(retpoline, "-Zretpoline-external-thunk=yes");
    add(retpoline, "-Zindirect-branch-cs-prefix=yes");
    add(rethunk, "-Zfunction-return=thunk-extern");
    // With the thunks there is no return and no indirect jump left to be speculated past.
    add(sls && !rethunk, "-Ctarget-feature=+harden-sls-ret");
    add(sls && !retpoline, "-Ctarget-feature=+harden-sls-ijmp");
    if config.is_set("CONFIG_CALL_PADDING")
        && let Some(bytes) = config.value("CONFIG_FUNCTION_PADDING_BYTES")
    {
        // The kernel writes call thunks into the space before a function.
        add(true, &format!("-Zpatchable-function-entry={bytes},{bytes}"));
    }
    flags
}

/// The arguments with which the kernel's objtool has to look at the linked Rust object. Nothing where
/// Kbuild runs it over the whole module by itself: it does so with IBT and with link-time optimisation;
/// elsewhere it looks only at what it compiled, and the Rust functions would have no unwind data and no
/// list of their returns.
pub fn objtool_arguments(config: &Config) -> Option<Vec<String>> {
    let Mitigations { ibt, retpoline, rethunk, sls } = Mitigations::of(config);
    let is_set = |name: &str| config.is_set(&format!("CONFIG_{name}"));
    if ibt || is_set("LTO_CLANG") || !is_set("OBJTOOL") {
        return None;
    }
    let arguments = [
        (is_set("HAVE_JUMP_LABEL_HACK"), "--hacks=jump_label"),
        (is_set("HAVE_NOINSTR_HACK"), "--hacks=noinstr"),
        (is_set("UNWINDER_ORC"), "--orc"),
        (retpoline, "--retpoline"),
        (rethunk, "--rethunk"),
        (sls, "--sls"),
        (is_set("STACK_VALIDATION"), "--stackval"),
        (is_set("HAVE_STATIC_CALL_INLINE"), "--static-call"),
        (is_set("HAVE_UACCESS_VALIDATION"), "--uaccess"),
        (true, "--module"),
        (true, "--link"),
    ];
    Some(arguments.iter().filter(|(wanted, _)| *wanted).map(|(_, argument)| (*argument).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(config: &str) -> String {
        let flags = rust_flags(&Config::parse(config));
        flags[ALWAYS.len()..].join(" ")
    }

    #[test]
    fn a_kernel_without_mitigations_needs_no_more() {
        assert_eq!(flags("CONFIG_X86_64=y\n"), "");
    }

    #[test]
    fn flags_of_debians_6_1() {
        assert_eq!(
            flags("CONFIG_RETPOLINE=y\nCONFIG_RETHUNK=y\nCONFIG_SLS=y\n"),
            "-Cjump-tables=no -Zretpoline-external-thunk=yes -Zindirect-branch-cs-prefix=yes \
             -Zfunction-return=thunk-extern"
        );
    }

    #[test]
    fn flags_of_debians_6_12() {
        assert_eq!(
            flags(
                "CONFIG_X86_KERNEL_IBT=y\nCONFIG_MITIGATION_RETPOLINE=y\nCONFIG_MITIGATION_RETHUNK=y\n\
                 CONFIG_MITIGATION_SLS=y\nCONFIG_CALL_PADDING=y\nCONFIG_FUNCTION_PADDING_BYTES=16\n"
            ),
            "-Zcf-protection=branch -Cjump-tables=no -Zretpoline-external-thunk=yes \
             -Zindirect-branch-cs-prefix=yes -Zfunction-return=thunk-extern -Zpatchable-function-entry=16,16"
        );
    }

    #[test]
    fn speculation_past_returns_is_stopped_where_no_thunk_does() {
        assert_eq!(
            flags("CONFIG_SLS=y\n"),
            "-Ctarget-feature=+harden-sls-ret -Ctarget-feature=+harden-sls-ijmp"
        );
    }

    #[test]
    fn objtool_is_ours_to_run_only_where_kbuild_does_not() {
        let arguments = |config: &str| objtool_arguments(&Config::parse(config));
        let old = "CONFIG_OBJTOOL=y\nCONFIG_UNWINDER_ORC=y\nCONFIG_RETPOLINE=y\n";
        assert_eq!(arguments(old).unwrap().join(" "), "--orc --retpoline --module --link");
        assert_eq!(arguments(&format!("{old}CONFIG_X86_KERNEL_IBT=y\n")), None);
        assert_eq!(arguments("CONFIG_UNWINDER_ORC=y\n"), None, "a kernel without objtool");
    }
}
