// SPDX-License-Identifier: GPL-2.0-only
//! The flags that make rustc's output fit a kernel: a pure function of the kernel's config.
//!
//! Source of what the kernel itself uses: `arch/x86/Makefile` and `scripts/Makefile.build` of Linux.

use crate::kernel::Config;

/// The target that kernel objects are built for.
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
    "-Cpanic=abort",
    // Every function and datum is a section, so that the link can leave out what is not reached.
    "-Zfunction-sections=yes",
];

/// The flags for a kernel with this config.
pub fn rust_flags(config: &Config) -> Vec<String> {
    let mut flags: Vec<String> = ALWAYS.iter().map(|flag| (*flag).to_owned()).collect();
    let mut features = Vec::new();
    let any = |names: &[&str]| names.iter().any(|name| config.is_set(name));

    if any(&["CONFIG_X86_KERNEL_IBT"]) {
        flags.push("-Zcf-protection=branch".to_owned());
        // A jump table would be entered by a `notrack` jump.
        flags.push("-Cjump-tables=no".to_owned());
    }
    if any(&["CONFIG_RETPOLINE", "CONFIG_MITIGATION_RETPOLINE"]) {
        features.extend([
            "+retpoline-external-thunk",
            "+retpoline-indirect-branches",
            "+retpoline-indirect-calls",
        ]);
        if !flags.iter().any(|flag| flag.starts_with("-Cjump-tables")) {
            flags.push("-Cjump-tables=no".to_owned());
        }
    }
    if any(&["CONFIG_RETHUNK", "CONFIG_MITIGATION_RETHUNK"]) {
        flags.push("-Zfunction-return=thunk-extern".to_owned());
    }
    if any(&["CONFIG_SLS", "CONFIG_MITIGATION_SLS"]) {
        features.extend(["+harden-sls-ijmp", "+harden-sls-ret"]);
    }
    if !features.is_empty() {
        flags.push(format!("-Ctarget-feature={}", features.join(",")));
    }
    flags
}
