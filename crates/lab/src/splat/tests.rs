// SPDX-License-Identifier: GPL-2.0-only
//! Reports that no kernel of Debian's makes, since it is built without what makes them, written after the kernel's own
//! format strings (6.1); and what may go wrong with any report's text. `tests/splats` has what real kernels said.

use proptest::prelude::*;

use super::*;

#[test]
fn every_kind_has_one_name_everywhere() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_name(kind.name()), Some(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{kind}\""));
    }
}

/// Kind and title of each report.
fn told(text: &str) -> Vec<String> {
    parse(text).iter().map(|splat| format!("{}: {}", splat.kind, splat.title)).collect()
}

/// What `dump_stack` prints.
const STACK: &str = "\
CPU: 1 PID: 31 Comm: insmod Tainted: G           OE      6.1.0 #1
Hardware name: QEMU Standard PC (Q35 + ICH9, 2009), BIOS 1.16.2
Call Trace:
 <TASK>
 dump_stack_lvl+0x44/0x5c
 print_report+0x16f/0x4a6
 f+0x25/0x40 [m]
 do_one_initcall+0x44/0x200
RIP: 0033:0x7f0000000000
Code: 00
RSP: 002b:00007ffd8e39ea78 EFLAGS: 00000202 ORIG_RAX: 0000000000000001
RAX: ffffffffffffffda RBX: 0000000000000001 RCX: 000000000047b7a0
 </TASK>
";

#[test]
fn kasan() {
    let text = format!(
        "==================================================================\n\
         BUG: KASAN: slab-out-of-bounds in f+0x25/0x40 [m]\n\
         Write of size 1 at addr ffff888005f3d840 by task insmod/31\n\n{STACK}\n\
         Allocated by task 31:\n kasan_save_stack+0x1e/0x40\n g+0x10/0x40 [m]\n\n\
         The buggy address belongs to the object at ffff888005f3d800\n which belongs to the cache kmalloc-64 of size 64\n\
         Memory state around the buggy address:\n ffff888005f3d700: fa fb fb fb\n>ffff888005f3d800: 00 00 00 00\n\
         \x20                                          ^\n\
         ==================================================================\n\
         Disabling lock debugging due to kernel taint\n"
    );
    let splats = parse(&text);
    assert_eq!(told(&text), ["kasan: KASAN: slab-out-of-bounds in f+0x25 [m]"]);
    assert_eq!(splats[0].process, Some(Process { name: "insmod".into(), pid: 31 }));
    let functions: Vec<_> = splats[0].trace.iter().map(|frame| frame.symbol.as_str()).collect();
    assert_eq!(
        functions,
        ["dump_stack_lvl", "print_report", "f", "do_one_initcall"],
        "and not the allocation's"
    );
    assert!(splats[0].lines.iter().any(|line| line.starts_with("Allocated by")));
}

#[test]
fn ubsan_between_fences_and_between_cuts() {
    let what =
        "UBSAN: array-index-out-of-bounds in /src/m.c:12:5\nindex 10 is out of range for type 'int [4]'\n";
    let fence = "=".repeat(80);
    let expected = ["ubsan: UBSAN: array-index-out-of-bounds in /src/m.c:12:5"];
    assert_eq!(told(&format!("{fence}\n{what}{STACK}{fence}\nhello\n")), expected);
    assert_eq!(
        told(&format!("------------[ cut here ]------------\n{what}{STACK}---[ end trace ]---\nhello\n")),
        expected
    );
}

#[test]
fn kmemleak() {
    let line = "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n";
    assert_eq!(told(line), ["kmemleak: kmemleak: new suspected memory leaks"]);
    assert!(told("kmemleak: Kernel memory leak detector initialized\n").is_empty());
}

#[test]
fn lockdep() {
    let text = format!(
        "\n======================================================\n\
         WARNING: possible circular locking dependency detected\n6.1.0 #1 Tainted: G           OE\n\
         ------------------------------------------------------\ninsmod/31 is trying to acquire lock:\n\
         ffffffffc021d0a0 (&a){{+.+.}}-{{3:3}}, at: f+0x25/0x40 [m]\n\nbut task is already holding lock:\n\
         ffffffffc021d0c0 (&b){{+.+.}}-{{3:3}}, at: f+0x15/0x40 [m]\n\n\
         the existing dependency chain (in reverse order) is:\n\n-> #1 (&b){{+.+.}}-{{3:3}}:\n       __mutex_lock+0xa0/0x9f0\n\
         \n *** DEADLOCK ***\n\n1 lock held by insmod/31:\n\nstack backtrace:\n{STACK}"
    );
    assert_eq!(told(&text), ["lockdep: possible circular locking dependency detected in f+0x25 [m]"]);
    assert_eq!(
        told(&format!("[ BUG: Invalid wait context ]\n{STACK}")),
        ["lockdep: Invalid wait context in f+0x25 [m]"]
    );
    let key = format!(
        "INFO: trying to register non-static key.\nThe code is fine but needs lockdep annotation, or maybe\n{STACK}"
    );
    assert_eq!(told(&key), ["lockdep: lock that was not set up in f+0x25 [m]"]);
    let order = format!("WARNING: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected\n{STACK}");
    assert_eq!(told(&order), ["lockdep: HARDIRQ-safe -> HARDIRQ-unsafe lock order detected in f+0x25 [m]"]);
    let magic =
        format!("BUG: spinlock bad magic on CPU#0, insmod/31\n lock: 0xffff, .magic: 00000000\n{STACK}");
    assert_eq!(told(&magic), ["lockdep: spinlock bad magic in f+0x25 [m]"]);
}

#[test]
fn sleeping_where_nothing_may() {
    let text = format!(
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580\n\
         in_atomic(): 1, irqs_disabled(): 0, non_block: 0, pid: 31, name: insmod\n\
         preempt_count: 1, expected: 0\nRCU nest depth: 0, expected: 0\n{STACK}"
    );
    let expected = "atomic-sleep: sleeping function called from invalid context at kernel/locking/mutex.c:580 in f+0x25 [m]";
    assert_eq!(told(&text), [expected]);
    assert_eq!(parse(&text)[0].severity(), Severity::Warning);
}

#[test]
fn a_hard_lockup() {
    let registers = "Modules linked in: m(OE)\nirq event stamp: 0\nCPU: 0 PID: 31 Comm: insmod\nRIP: 0010:spin+0x5/0x10 [m]\n\
                     RSP: 0018:ffffc90000467c88 EFLAGS: 00010046\nCall Trace:\n <TASK>\n init+0x5/0x10 [m]\n </TASK>\n";
    for line in [
        "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0",
        "watchdog: Watchdog detected hard LOCKUP on cpu 0",
    ] {
        assert_eq!(told(&format!("{line}\n{registers}")), ["hard-lockup: hard lockup in spin [m]"]);
    }
}

const PANIC: &str = "------------[ cut here ]------------\nkernel BUG at /src/main.c:9!\ninvalid opcode: 0000 [#1] SMP\n\
                     CPU: 0 PID: 31 Comm: insmod\nRIP: 0010:m_bug+0x5/0x10 [m]\nCall Trace:\n <TASK>\n g+0x1/0x2 [m]\n </TASK>\n\
                     ---[ end trace 0000000000000000 ]---\n";

#[test]
fn a_rust_panic_has_its_message_whole() {
    let of = |text: &str| {
        let mut splats = parse(&format!("m: hello\n{text}{PANIC}m: bye\n"));
        assert_eq!(splats.len(), 1, "{splats:?}");
        let splat = splats.remove(0);
        (splat.title, splat.panic.unwrap().message)
    };
    let (title, message) =
        of("m: Rust panic at src/lib.rs:7:5: assertion `left == right` failed\n  left: 1\n right: 2\n");
    assert_eq!(title, "Rust panic at src/lib.rs:7:5: assertion `left == right` failed");
    assert_eq!(message, "assertion `left == right` failed\n  left: 1\n right: 2");
    let (title, message) = of("rust_kernel: panicked at samples/m.rs:7:5:\nattempt to divide by zero\n");
    assert_eq!(title, "Rust panic at samples/m.rs:7:5: attempt to divide by zero");
    assert_eq!(message, "attempt to divide by zero");
    assert_eq!(
        told("m: Rust panic at src/lib.rs:7:5: lost\n"),
        ["rust-panic: Rust panic at src/lib.rs:7:5: lost"]
    );
    assert_eq!(told(PANIC), ["bug: BUG in m_bug+0x5 [m]"]);
}

#[test]
fn a_panic_that_follows_from_an_oops_is_no_second_report() {
    let init =
        "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\nCPU: 0 PID: 1 Comm: init\n";
    assert_eq!(told(&format!("{PANIC}{init}{STACK}")), ["bug: BUG in m_bug+0x5 [m]"]);
    assert_eq!(told(init), ["panic: Kernel panic - not syncing: Attempted to kill init! exitcode=…"]);
    let warned = "WARNING: CPU: 0 PID: 1 at m.c:1 f+0x5/0x10 [m]\nKernel panic - not syncing: kernel: panic_on_warn set ...\n";
    let expected =
        ["warning: WARNING in f+0x5 [m]", "panic: Kernel panic - not syncing: kernel: panic_on_warn set ..."];
    assert_eq!(told(warned), expected);
}

#[test]
fn an_overflow_of_the_list_that_only_warns() {
    let text = "------------[ cut here ]------------\nlist_add corruption. prev->next should be next (ffffffffc021d0a0), but was \
                ffffffffc021d0b0. (prev=ffffffffc021d0c0).\nWARNING: CPU: 0 PID: 31 at lib/list_debug.c:30 __list_add_valid+0x8e/0xa0\n\
                RIP: 0010:__list_add_valid+0x8e/0xa0\nCall Trace:\n <TASK>\n f+0x5/0x10 [m]\n </TASK>\n---[ end trace 0 ]---\n";
    assert_eq!(told(text), ["list-corruption: list_add corruption in f+0x5 [m]"]);
    assert_eq!(parse(text)[0].severity(), Severity::Warning);
}

#[test]
fn callers_are_kept_apart_by_the_kernels_word() {
    let one = "WARNING: CPU: 0 PID: 1 at m.c:1 f+0x5/0x10 [m]\nRIP: 0010:f+0x5/0x10 [m]\nCall Trace:\n <TASK>\n \
               f1+0x1/0x2 [m]\n f2+0x1/0x2 [m]\n </TASK>\n---[ end trace 0 ]---";
    let two = one.replace("f1", "g1").replace("f2", "g2").replace(" f+", " g+").replace(":f+", ":g+");
    let lines = one.lines().zip(two.lines());
    let text: String =
        lines.map(|(a, b)| format!("[    1.000000][  T31] {a}\n[    1.000000][   C1] {b}\n")).collect();
    let splats = parse(&text);
    let functions =
        |splat: &Splat| splat.trace.iter().map(|f| f.symbol.clone()).collect::<Vec<_>>().join(" ");
    assert_eq!(splats.iter().map(functions).collect::<Vec<_>>(), ["f f1 f2", "g g1 g2"]);
}

#[test]
fn what_looks_like_trouble_and_is_none() {
    for line in [
        "DEBUG: all is well",
        "m: no BUG: here",
        "BUGGY",
        "BUG m: something",
        "WARNING: this module is experimental",
        "WARNING: look at page 7",
        "INFO: task manager started",
        "Oops, said the module",
        "m: general protection fault",
        "rcu: INFO: Stall ended before state dump start",
        "rcu: 	Unless rcu_preempt kthread gets sufficient CPU time, OOM is now expected behavior.",
        "kernel BUG at all",
        "a 0000 [#1]",
        "list_add is a function",
        "Out of memory: nobody was killed",
        "",
    ] {
        assert!(told(&format!("[    1.000000] {line}\n")).is_empty(), "{line}");
    }
}

#[test]
fn carriage_returns_and_endless_lines_change_nothing() {
    let title = told(PANIC);
    assert_eq!(told(&PANIC.replace('\n', "\r\n")), title);
    assert_eq!(told(&format!("{}\n{PANIC}{}", "x".repeat(1 << 20), "RIP: ".repeat(1 << 16))), title);
}

/// Lines as kernels say them, in any order.
fn lines() -> impl Strategy<Value = Vec<String>> {
    let known: Vec<String> =
        format!("{STACK}{PANIC}BUG: unable to handle page fault\nOops: 0000 [#1]\nBUG m (Not tainted): x\n")
            .lines()
            .chain([
                "BUG: KASAN: x in f+0x1/0x2",
                "INFO: task a:1 blocked for more than 1 seconds.",
                "Kernel panic - not syncing: x",
            ])
            .chain([
                "a invoked oom-killer: gfp_mask=0",
                "m: Rust panic at a:1:1: é",
                "==========================",
                "rcu: INFO: rcu_x stall",
            ])
            .map(str::to_owned)
            .collect();
    let line = prop_oneof![4 => prop::sample::select(known), 1 => "\\PC{0,40}"];
    let stamp =
        prop::sample::select(vec!["", "[    1.000000] ", "[    1.000000][   T1] ", "[    1.000000][   C2] "]);
    let line = (stamp, line).prop_map(|(stamp, line)| format!("{stamp}{line}"));
    prop::collection::vec(line, 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever comes: there is no panic, and no more is told than was said.
    #[test]
    fn anything_can_be_read(lines in lines()) {
        let splats = parse(&lines.join("\n"));
        prop_assert!(splats.len() <= lines.len());
        let kept: usize = splats.iter().map(|splat| splat.lines.len()).sum();
        prop_assert!(kept <= 2 * lines.len());
    }
}
