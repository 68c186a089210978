// SPDX-License-Identifier: GPL-2.0-only
//! Code that goes past each mitigation, and code that doesn't.

use crate::hazards::specimen::{report, specimen};
use crate::kernel::{Kernel, Options};
use crate::policy::Policy;

const RETPOLINE: Options = Options { retpoline: true, ..NONE };
const RETHUNK: Options = Options { rethunk: true, ..NONE };
const SLS: Options = Options { sls: true, ..NONE };
const IBT: Options = Options { ibt: true, ..NONE };
const NONE: Options = Options {
    modversions: false,
    force_load: false,
    signatures_forced: false,
    missing_imports_allowed: false,
    strict_rwx: false,
    livepatch: false,
    retpoline: false,
    rethunk: false,
    sls: false,
    ibt: false,
    constructors: true,
    frame_warn: None,
    kasan: false,
};

/// What is said of a module with a function `f` on a kernel with these mitigations.
fn found(options: Options, source: &str) -> Vec<(String, String)> {
    let kernel = Kernel { options, ..Kernel::default() };
    let report = report(&kernel, &format!("{}{source}", specimen("f")), &Policy::default());
    let wanted = ["indirect-branch", "naked-return", "missing-endbr"];
    let ours = report.hazards.iter().filter(|finding| wanted.contains(&finding.rule.name));
    ours.map(|f| (f.rule.name.to_owned(), f.message.clone())).collect()
}

fn rules(options: Options, source: &str) -> Vec<String> {
    found(options, source).into_iter().map(|(rule, _)| rule).collect()
}

#[test]
fn indirect_branches() {
    let naked = "call *%rax\n jmp *8(%rbx)";
    let message = "`f` branches to what a register or memory says, without a retpoline (2 times)";
    assert_eq!(found(RETPOLINE, naked), [("indirect-branch".to_owned(), message.to_owned())]);
    assert_eq!(rules(NONE, naked), [""; 0]);
    assert_eq!(rules(RETPOLINE, "call __x86_indirect_thunk_rax\n jmp __x86_indirect_thunk_rax"), [""; 0]);
    assert_eq!(rules(RETPOLINE, "call kfree\n ret"), [""; 0]);
}

#[test]
fn what_the_kernel_patches_is_no_indirect_branch() {
    let paravirt = "1: call *pv_ops+8(%rip)\n2: nop\n .section .parainstructions, \"a\"\n \
                    .quad 1b\n .byte 1, 2b-1b\n .balign 8\n .text\n";
    assert_eq!(rules(RETPOLINE, paravirt), [""; 0]);
    assert_eq!(rules(RETPOLINE, &format!("{paravirt} call *pv_ops+8(%rip)")), ["indirect-branch"]);
    for middle in [".word 1", ".long 1"] {
        let entry = |label: &str| format!(".long {label}b-.\n .long 9b-.\n {middle}\n .byte 6, 0\n");
        let source = format!(
            "1: call *pv_ops+8(%rip)\n nop\n2: call *%rax\n .section .altinstr_replacement, \"ax\"\n9:\n \
             .section .altinstructions, \"a\"\n {}{} .text\n",
            entry("1"),
            entry("2"),
        );
        assert_eq!(rules(RETPOLINE, &source), [""; 0], "{middle}");
    }
}

#[test]
fn returns() {
    assert_eq!(rules(RETHUNK, "ret\n int3"), ["naked-return"]);
    assert_eq!(rules(RETHUNK, "jmp __x86_return_thunk"), [""; 0]);
    assert_eq!(rules(RETPOLINE, "ret"), [""; 0]);
    assert_eq!(rules(SLS, "ret\n nop"), ["naked-return"]);
    assert_eq!(rules(SLS, "ret"), ["naked-return"]);
    assert_eq!(rules(SLS, "jmp *%rax\n nop"), ["naked-return"]);
    assert_eq!(rules(SLS, "call *%rax\n ret\n int3\n jmp *%rax\n int3\n iretq"), [""; 0]);
    let both = found(Options { rethunk: true, ..SLS }, "ret\n ret\n int3");
    let message = "`f` returns with `ret`, not through the kernel's thunk (2 times), and has no `int3` after a return \
                   or an indirect jump (once)";
    assert_eq!(both, [("naked-return".to_owned(), message.to_owned())]);
}

#[test]
fn functions_that_are_called_by_pointer() {
    let with =
        |what: &str| format!("endbr64\n{what}\n{}nop\n{}endbr64\n nop\n", specimen("g"), specimen("h"));
    let taken = |what: &str| rules(IBT, &with(what));
    assert_eq!(taken("lea g(%rip), %rax"), ["missing-endbr"]);
    assert_eq!(taken("mov $g, %rax"), ["missing-endbr"]);
    assert_eq!(taken("lea h(%rip), %rax\n mov $h, %rax\n mov $f, %rax"), [""; 0]);
    assert_eq!(taken("call g\n jmp g"), [""; 0]);
    assert_eq!(taken(".data\n .quad h\n .text"), [""; 0]);
    assert_eq!(taken(".section __mcount_loc, \"a\"\n .quad g\n .text"), [""; 0], "it is about code");
    let message = "`g` doesn't begin with `endbr64`, and its address is taken by `f` and 1 more";
    let found = found(IBT, &with("lea g(%rip), %rax\n .data\n .quad g\n .text"));
    assert_eq!(found, [("missing-endbr".to_owned(), message.to_owned())]);
    assert_eq!(rules(NONE, &with("mov $g, %rax")), [""; 0]);
}

#[test]
fn jumps_that_ask_not_to_be_tracked() {
    assert_eq!(rules(IBT, "notrack jmp *%rax"), ["missing-endbr"]);
    assert_eq!(rules(IBT, "jmp *%rax"), [""; 0]);
}
