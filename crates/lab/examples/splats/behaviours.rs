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
    /// Whether the kernel of tests/debug-kernel says something else of it than a distribution's, or it alone anything.
    pub(crate) is_for_debug: bool,
}

const fn plain(name: &'static str) -> Behaviour {
    Behaviour { name, processors: 1, before: "", after: "", is_for_debug: false }
}

const fn debug(name: &'static str) -> Behaviour {
    Behaviour { is_for_debug: true, ..plain(name) }
}

/// All of them. Those of KFENCE are possible where a kernel has it.
pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    debug("null-read"),
    plain("null-write"),
    debug("wild-read"),
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
    debug("stack-overflow"),
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
    Behaviour { after: "rmmod misbehave; sleep 3", ..debug("timer-stays") },
    Behaviour { processors: 2, ..plain("warn-everywhere") },
    plain("innocent"),
    plain("list-add-twice"),
    debug("list-add-broken"),
    debug("list-del-twice"),
    plain("list-del-broken"),
    debug("refcount-underflow"),
    plain("refcount-revived"),
    plain("refcount-saturated"),
    plain("free-twice"),
    plain("free-of-vmalloc"),
    plain("vfree-of-nothing"),
    plain("use-after-free"),
    plain("write-behind"),
    plain("free-twice-watched"),
    plain("free-elsewhere"),
    debug("objects-remaining"),
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
    Behaviour { before: "echo 1 > /proc/sys/kernel/watchdog_thresh", ..debug("soft-lockup") },
    Behaviour {
        before: "echo 0 > /proc/sys/kernel/watchdog; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
        ..plain("rcu-stall")
    },
    Behaviour {
        before: "echo 0 > /proc/sys/kernel/watchdog; echo 3 > /sys/module/rcupdate/parameters/rcu_cpu_stall_timeout",
        ..plain("rcu-stall-of-reader")
    },
    Behaviour { before: "echo 1 > /proc/sys/kernel/hung_task_timeout_secs", ..plain("hung-task") },
    Behaviour { before: "echo 1 > /proc/sys/kernel/hung_task_timeout_secs", ..debug("hung-mutex") },
    debug("schedule-in-atomic"),
    debug("sleep-in-atomic"),
    debug("kasan-read-behind"),
    debug("kasan-write-behind"),
    debug("kasan-use-after-free"),
    debug("kasan-free-twice"),
    debug("kasan-free-inside"),
    debug("kasan-stack"),
    debug("kasan-global"),
    debug("kasan-vmalloc"),
    debug("kasan-in-timer"),
    debug("kasan-twice"),
    debug("ubsan-index"),
    debug("ubsan-shift"),
    debug("ubsan-bool"),
    // What is younger than five seconds may still be in use; what has changed since the last look, too.
    Behaviour {
        after: "sleep 6; for i in 1 2; do echo scan > /sys/kernel/debug/kmemleak; done",
        ..debug("lose-memory")
    },
    debug("lock-inversion"),
    debug("lock-recursion"),
    debug("lock-in-interrupt"),
    debug("lock-order-of-interrupt"),
    debug("lock-not-held"),
    debug("lock-freed"),
    debug("lock-kept"),
    debug("lock-uninitialised"),
    debug("rcu-unprotected"),
    debug("sleep-under-lock"),
    debug("sleep-under-rcu"),
    debug("sleep-in-interrupt"),
    debug("sleep-when-asleep"),
    debug("object-set-up-twice"),
    debug("object-freed"),
    debug("object-on-stack"),
    // What is made to fail is no trouble of the module's.
    Behaviour {
        before: "echo N > /sys/kernel/debug/failslab/ignore-gfp-wait && echo 1 > /proc/self/fail-nth && cat /proc/version",
        ..debug("innocent-of-failslab")
    },
];
