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

/// All of them. Those of KFENCE are possible where a kernel has it.
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
];
