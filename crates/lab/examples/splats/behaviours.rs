// SPDX-License-Identifier: GPL-2.0-only
//! The module's ways to misbehave, and what each needs around it.

/// A way to misbehave.
pub(crate) struct Behaviour {
    /// Its name in the module.
    pub(crate) name: &'static str,
    /// The machine's processors.
    pub(crate) processors: u16,
    /// A script before the module is loaded.
    pub(crate) before: &'static str,
    /// A script afterwards.
    pub(crate) after: &'static str,
}

const fn plain(name: &'static str) -> Behaviour {
    Behaviour { name, processors: 1, before: "", after: "" }
}

/// All of them. Those of KFENCE are possible where a kernel has it, and those from `kasan-read-behind` on with the kernel of
/// tests/debug-kernel.
pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    plain("null-read"),
    plain("null-write"),
    plain("wild-read"),
    plain("low-read"),
    plain("constant-write"),
    plain("jump-to-data"),
    plain("jump-to-null"),
    plain("non-canonical"),
    plain("strlen-of-null"),
    plain("bug"),
    plain("bug-on"),
    plain("warn-on"),
    plain("warn-with-words"),
    plain("warn-twice"),
    plain("invalid-opcode"),
    plain("divide"),
    plain("breakpoint"),
    plain("stack-overflow"),
    plain("stack-corruption"),
    plain("stack-end"),
    plain("panic"),
    plain("read-in-thread"),
    plain("warn-in-thread"),
    plain("warn-in-work"),
    plain("work-leaks"),
    plain("warn-in-timer"),
    plain("read-in-timer"),
    plain("bug-in-timer"),
    Behaviour { after: "rmmod misbehave; sleep 3", ..plain("timer-stays") },
    Behaviour { processors: 2, ..plain("warn-everywhere") },
    plain("innocent"),
    plain("list-add-twice"),
    plain("list-add-broken"),
    plain("list-del-twice"),
    plain("list-del-broken"),
    plain("refcount-underflow"),
    plain("refcount-revived"),
    plain("refcount-saturated"),
    plain("free-twice"),
    plain("free-of-vmalloc"),
    plain("vfree-of-nothing"),
    plain("use-after-free"),
    plain("write-behind"),
    plain("free-twice-watched"),
    plain("free-elsewhere"),
    plain("objects-remaining"),
    plain("objects-remaining-watched"),
    plain("bad-page"),
    plain("copy-too-much"),
    plain("copy-over-member"),
    plain("out-of-memory"),
    Behaviour {
        before: "echo 1 > /sys/module/kfence/parameters/sample_interval",
        ..plain("kfence-read-behind")
    },
    Behaviour {
        before: "echo 1 > /sys/module/kfence/parameters/sample_interval",
        ..plain("kfence-use-after-free")
    },
    Behaviour {
        before: "echo 1 > /sys/module/kfence/parameters/sample_interval",
        ..plain("kfence-free-twice")
    },
    Behaviour { before: "echo 1 > /proc/sys/kernel/watchdog_thresh", ..plain("soft-lockup") },
    Behaviour {
        before: "echo 0 > /proc/sys/kernel/watchdog; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
        ..plain("rcu-stall")
    },
    Behaviour {
        before: "echo 0 > /proc/sys/kernel/watchdog; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
        ..plain("rcu-stall-of-reader")
    },
    Behaviour { before: "echo 1 > /proc/sys/kernel/hung_task_timeout_secs", ..plain("hung-task") },
    Behaviour { before: "echo 1 > /proc/sys/kernel/hung_task_timeout_secs", ..plain("hung-mutex") },
    plain("schedule-in-atomic"),
    plain("sleep-in-atomic"),
    plain("kasan-read-behind"),
    plain("kasan-write-behind"),
    plain("kasan-use-after-free"),
    plain("kasan-free-twice"),
    plain("kasan-free-inside"),
    plain("kasan-stack"),
    plain("kasan-global"),
    plain("kasan-vmalloc"),
    plain("kasan-in-timer"),
    plain("kasan-twice"),
    plain("ubsan-index"),
    plain("ubsan-shift"),
    plain("ubsan-bool"),
    // What is younger than five seconds may still be in use; what has changed since the last look, too.
    Behaviour {
        after: "sleep 6; for i in 1 2; do echo scan > /sys/kernel/debug/kmemleak; done",
        ..plain("lose-memory")
    },
    plain("lock-inversion"),
    plain("lock-recursion"),
    plain("lock-in-interrupt"),
    plain("lock-order-of-interrupt"),
    plain("lock-not-held"),
    plain("lock-freed"),
    plain("lock-kept"),
    plain("lock-uninitialised"),
    plain("rcu-unprotected"),
    plain("sleep-under-lock"),
    plain("sleep-under-rcu"),
    plain("sleep-in-interrupt"),
    plain("sleep-when-asleep"),
    plain("object-set-up-twice"),
    plain("object-freed"),
    plain("object-on-stack"),
    // What is made to fail is no trouble of the module's.
    Behaviour {
        before: "echo N > /sys/kernel/debug/failslab/ignore-gfp-wait && echo 1 > /proc/self/fail-nth && cat /proc/version",
        ..plain("innocent-of-failslab")
    },
];
