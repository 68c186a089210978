// SPDX-License-Identifier: GPL-2.0-only
use wire::samples::{Sampled, Stack, Summary};

use super::*;

const KALLSYMS: &str = "ffffffff81000000 T entry_SYSCALL_64\nffffffff81000100 t vfs_write\n\
    ffffffff81000200 t asm_sysvec_apic_timer_interrupt\nffffffff81000300 t tick\nffffffff81000400 t end\n\
    ffffffffc0000000 t work\t[m]\nffffffffc0000100 t _RNvCs1_1m3sum\t[m]\nffffffffc0000200 d data\t[m]\n";

/// A program calls the kernel, that the module's C, and that its Rust, which is interrupted.
const RAW: &str = "vexlab-profile 1\nblock 0 0 7 -\nblock 1 ffffffff81000104 2 9090\n\
    block 2 ffffffffc0000005 1 90\nblock 3 ffffffffc0000101 2 90ebfe\nblock 4 ffffffff81000302 1 c3\n\
    call 1 0 ffffffff81000020\ncall 2 1 ffffffff81000150\ncall 3 2 ffffffffc0000050\n\
    call 4 3 ffffffff81000210\ncount 0 0 1\ncount 1 1 3\ncount 2 2 5\ncount 3 3 100\ncount 4 4 9\nend\n";

fn counted(raw: &str) -> Counted {
    Counted { told: Told::Counted(raw.to_owned()), kallsyms: KALLSYMS.to_owned(), module: None }
}

pub(super) fn profile() -> Profile {
    Profile::of(&[counted(RAW)], Scope::Machine, SystemTime::UNIX_EPOCH).unwrap()
}

#[test]
fn instructions_count_for_the_functions_that_led_to_them() {
    insta::assert_snapshot!(profile().folded(), @"
    [interrupt];asm_sysvec_apic_timer_interrupt;tick 9
    [program] 7
    entry_SYSCALL_64;vfs_write 6
    entry_SYSCALL_64;vfs_write;work [m] 5
    entry_SYSCALL_64;vfs_write;work [m];m::sum [m] 200
    ");
}

#[test]
fn a_function_has_its_own_and_what_it_called() {
    let parts = profile().parts();
    let told: Vec<_> =
        parts.iter().map(|part| format!("{} {} {:?}", part.own, part.total, part.frame.function)).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    200 200 "m::sum"
    9 9 "tick"
    7 7 "[program]"
    6 211 "vfs_write"
    5 205 "work"
    0 211 "entry_SYSCALL_64"
    0 9 "[interrupt]"
    0 9 "asm_sysvec_apic_timer_interrupt"
    "#);
}

#[test]
fn two_machines_are_added() {
    let both = Profile::of(&[counted(RAW), counted(RAW)], Scope::Machine, SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(both.total, 2 * profile().total);
    assert_eq!(both.parts().len(), profile().parts().len());
}

#[test]
fn the_picture_is_made_of_the_stacks() {
    let picture = String::from_utf8(profile().flame_graph("a title").unwrap()).unwrap();
    for text in ["a title", "m::sum [m]", "vfs_write", "rgb(224,128,64)"] {
        assert!(picture.contains(text), "{text}: {picture}");
    }
    assert_eq!(picture.as_bytes(), profile().flame_graph("a title").unwrap());
}

#[test]
fn a_function_is_annotated_by_the_end_of_its_path() {
    let profile = profile();
    assert_eq!(profile.annotate("m::sum").unwrap(), profile.annotate("sum").unwrap());
    let [Annotated { symbol, lines }] = profile.annotate("sum").unwrap().try_into().unwrap();
    assert_eq!(symbol, "m::sum");
    let told: Vec<_> = lines.iter().map(|line| format!("{line:?}")).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    Instruction { executions: 100, offset: 1, text: "nop" }
    Instruction { executions: 100, offset: 2, text: "jmp +0x0002" }
    "#);
}

fn told(error: &Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    format!("{error}{cause}\nhelp: {}", error.remedy().unwrap_or_default())
}

#[test]
fn what_is_wrong_with_a_profile_is_told() {
    let error =
        |raw: &str, scope| told(&Profile::of(&[counted(raw)], scope, SystemTime::UNIX_EPOCH).unwrap_err());
    insta::assert_snapshot!(error("vexlab-profile 1\nend\n", Scope::Machine), @"
    the profile is empty: nothing was executed between its beginning and its end
    help: name a test of the module's, or a command that does something in the kernel
    ");
    insta::assert_snapshot!(error(RAW, Scope::Module), @"
    none of the 227 instructions that were counted is the module's
    help: `vexlab profile -- COMMAND` looks at all that the machine does
    ");
    insta::assert_snapshot!(error("what?", Scope::Machine), @"
    what was counted in QEMU is damaged: it does not begin with `vexlab-profile 1`
    help: run it again; where the disk was full, `vexlab cache prune` makes space
    ");
    let hidden = Counted { kallsyms: "0000000000000000 T x\n".to_owned(), ..counted(RAW) };
    let hidden = Profile::of(&[hidden], Scope::Machine, SystemTime::UNIX_EPOCH).unwrap_err();
    insta::assert_snapshot!(told(&hidden), @"
    the kernel doesn't say in /proc/kallsyms where its functions are
    help: a profile needs a kernel that was configured with CONFIG_KALLSYMS
    ");
    insta::assert_snapshot!(told(&profile().annotate("vfs_wirte").unwrap_err()), @"
    nothing of a function `vfs_wirte` was executed
    help: there are: vfs_write
    ");
    insta::assert_snapshot!(told(&profile().annotate("zzz").unwrap_err()), @"
    nothing of a function `zzz` was executed
    help: the functions that were are in the list of the profile
    ");
}

/// As the agent sends it.
fn sent(stacks: &[(u64, &[u64])], lost: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (samples, addresses) in stacks {
        let stack = Stack { samples: *samples, addresses: addresses.to_vec() };
        bytes.extend(wire::encode(&Sampled::Stack(stack)).unwrap());
    }
    let summary = Summary { clock: Clock::Timer, lost, paused: 1 };
    bytes.extend(wire::encode(&Sampled::End(summary)).unwrap());
    bytes
}

const SYSCALL: u64 = 0xffff_ffff_8100_0020;
const WRITE: u64 = 0xffff_ffff_8100_0150;
const WORK: u64 = 0xffff_ffff_c000_0050;
const SUM: u64 = 0xffff_ffff_c000_0102;

/// A program, the kernel, the module's C and its Rust.
fn samples() -> Samples {
    let stacks: [(u64, &[u64]); 4] =
        [(3, &[]), (1, &[WRITE, SYSCALL]), (2, &[WORK, WRITE, SYSCALL]), (40, &[SUM, WORK, WRITE, SYSCALL])];
    let code = vec![(SUM - 2, vec![0x90, 0x90, 0xeb, 0xfe])];
    Samples::read(&sent(&stacks, 5), 100).unwrap().with_code(code)
}

fn of_samples(samples: Samples, scope: Scope) -> Result<Profile> {
    let counted = Counted { told: Told::Sampled(samples), kallsyms: KALLSYMS.to_owned(), module: None };
    Profile::of(&[counted], scope, SystemTime::UNIX_EPOCH)
}

pub(super) fn sampled() -> Profile {
    of_samples(samples(), Scope::Machine).unwrap()
}

#[test]
fn samples_count_for_where_they_were_taken() {
    insta::assert_snapshot!(sampled().folded(), @"
    [program] 3
    entry_SYSCALL_64;vfs_write 1
    entry_SYSCALL_64;vfs_write;work [m] 2
    entry_SYSCALL_64;vfs_write;work [m];m::sum [m] 40
    ");
    let sampling = Sampling { clock: Clock::Timer, rate: 100, lost: 5, paused: 1 };
    assert_eq!((sampled().total, sampled().unit(), sampled().sampling), (46, "samples", Some(sampling)));
}

#[test]
fn sampled_instructions_are_beside_those_that_were_not() {
    let [Annotated { lines, .. }] = sampled().annotate("sum").unwrap().try_into().unwrap();
    let told: Vec<_> = lines.iter().map(|line| format!("{line:?}")).collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    Instruction { executions: 0, offset: 0, text: "nop" }
    Instruction { executions: 0, offset: 1, text: "nop" }
    Instruction { executions: 40, offset: 2, text: "jmp +0x0002" }
    "#);
    // What the machine's memory holds there could not be read.
    let [Annotated { lines, .. }] = sampled().annotate("work").unwrap().try_into().unwrap();
    insta::assert_snapshot!(format!("{lines:?}"), @r#"[Instruction { executions: 2, offset: 80, text: "(unknown)" }]"#);
}

#[test]
fn the_functions_that_were_sampled_are_looked_for_in_memory() {
    assert_eq!(
        samples().functions(KALLSYMS),
        [(0xffff_ffff_8100_0100, 0x100), (0xffff_ffff_c000_0000, 0x100), (0xffff_ffff_c000_0100, 0x100)]
    );
}

#[test]
fn what_is_wrong_with_samples_is_told() {
    let error = |samples, scope| told(&of_samples(samples, scope).unwrap_err());
    let none = Samples::read(&sent(&[], 0), 100).unwrap();
    insta::assert_snapshot!(error(none, Scope::Module), @"
    the profile has no samples
    help: what takes so little time is not seen: --repeat COUNT has tests carried out again and again, --rate HERTZ has it looked more often; of tests, those are sampled that are run one by one, by `ktests`, and programs, by `run`
    ");
    insta::assert_snapshot!(error(samples(), Scope::Module), @"
    none of the 46 samples is in the module
    help: what takes so little time is not seen: --repeat COUNT has tests carried out again and again, --rate HERTZ has it looked more often
    ");
    insta::assert_snapshot!(told(&sampled().annotate("summ").unwrap_err()), @"
    no sample was taken in a function `summ` itself
    help: there are: m::sum
    ");
    let cut = sent(&[(1, &[SUM])], 0);
    insta::assert_snapshot!(Samples::read(&cut[..cut.len() - 1], 100).unwrap_err(), @"it has no end");
    insta::assert_snapshot!(Samples::read(&[0xff; 8], 100).unwrap_err(), @"a message of 4294967295 bytes is announced, more than the 1048576 allowed");
}
