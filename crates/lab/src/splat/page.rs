// SPDX-License-Identifier: GPL-2.0-only
//! The documentation of the kinds.

use super::{Kind, Severity};

impl Kind {
    /// What it means, in one sentence.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Bug => "`BUG()`, or `BUG_ON()` of what holds.",
            Self::RustPanic => {
                "A Rust panic, which ends in `BUG()`: its message and its place are the title."
            }
            Self::PageFault => {
                "An access to an address that nothing is at, `NULL` for one, or that may not be used in this way."
            }
            Self::GeneralProtection => {
                "An access that the processor forbids, as to an address that can't exist."
            }
            Self::InvalidOpcode => "An instruction that does not exist, and is not `BUG()`'s.",
            Self::DivideError => "A division by zero, or one whose result is too large.",
            Self::StackOverflow => {
                "A stack that ran into its guard page, or over the end that the scheduler watches."
            }
            Self::StackCorruption => "A function's stack canary that was written over.",
            Self::Exception => "Any other exception of the processor.",
            Self::Warning => "`WARN()`, or `WARN_ON()` of what holds, where it is of no kind below.",
            Self::SoftLockup => "A processor that stayed in the kernel for too long.",
            Self::HardLockup => "A processor that did not even take interrupts.",
            Self::HungTask => "A task that was blocked for too long.",
            Self::RcuStall => "A grace period of RCU that did not end.",
            Self::Lockdep => "A lock taken in a wrong order or context, or not released.",
            Self::AtomicSleep => "What may sleep was called where nothing may.",
            Self::SchedulingWhileAtomic => "A task that gave the processor away where it may not.",
            Self::ListCorruption => {
                "A list whose links do not agree: something was added or removed twice, or written over."
            }
            Self::Refcount => "A `refcount_t` that ran over, or that went on after its end.",
            Self::MemoryCorruption => {
                "A use after free, a second free, or a write out of bounds that an allocator noticed."
            }
            Self::Kasan => "A report of KASAN.",
            Self::Ubsan => "A report of UBSAN.",
            Self::Kfence => "A report of KFENCE.",
            Self::Kmemleak => "A report of kmemleak.",
            Self::OutOfMemory => "Memory ran out, and the kernel killed a process for it.",
            Self::BadPage => "A page in a state that it can't be in.",
            Self::ObjectsRemaining => "A slab cache that was destroyed with objects in it.",
            Self::Taint => {
                "The kernel's taint says that it warned, found memory damaged, or that a module was loaded or unloaded by force, \
                 and no report tells of it."
            }
            Self::Panic => "A panic for a reason that is of no kind above.",
        }
    }
}

/// The page about the kinds: Markdown, made from [`Kind::ALL`].
pub fn kinds_page() -> String {
    let mut page = String::from(
        "# What a kernel reports\n\n\
         Each report of the kernel's during a run fails it, with the class of its kind. Whatever its kind, a report \
         in which the kernel oopsed or panicked makes the run an `oops`.\n\n\
         A test may expect one. It fails if none of this kind comes while it runs whose title has the text in \
         `pattern`; a report that comes as expected does not fail the run:\n\n\
         ```toml\n[[test]]\nname = \"refuses-a-bad-size\"\nrun = [\"sh\", \"-c\", \"echo -1 > /sys/module/m/parameters/size\"]\n\n\
         [[test.expect]]\nsplat = \"warning\"\npattern = \"in size_set+\"\nreason = \"a size below 0 is a mistake of the \
         caller's\"\n```\n\n\
         After an expected oops its machine is of no use: the tests that are left, and unloading, have a fresh one.\n\n\
         `--allow KIND` lets a kind pass for one run; what comes of it is still told.\n\n\
         | kind | class | meaning |\n| --- | --- | --- |\n",
    );
    for kind in Kind::ALL {
        let class = match kind.severity() {
            Severity::Warning => "kernel-warning",
            Severity::Lockup => "hang",
            Severity::Oops => "oops",
        };
        page.push_str(&format!("| `{kind}` | `{class}` | {} |\n", kind.meaning()));
    }
    page
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_documentation_is_what_the_program_says() {
        let page = include_str!("../../../../docs/splats.md");
        assert_eq!(page, super::kinds_page(), "run `make docs`");
    }
}
