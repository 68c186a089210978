// SPDX-License-Identifier: GPL-2.0-only
//! The hazards: what a kernel loads, and ought not to have to.

use super::{Class, Id, Rule};

pub(super) static HAZARDS: [Rule; 19] = [
    Rule {
        id: Id::VectorRegisters,
        name: "vector-registers",
        class: Class::Hazard,
        title: "code uses vector or floating-point registers",
        what: "A function uses an x87, MMX, SSE or AVX register, and neither it nor every function of the module \
               that leads to it calls `kernel_fpu_begin`.",
        why: "The kernel doesn't save these registers on entry: they hold what a program of a user was \
              computing, and changing them damages that program.",
        kernel: "nothing; user programs compute wrong results",
        mend: "compile with the kernel's flags (C: -mno-sse -mno-mmx -mno-80387; Rust: the target \
               x86_64-unknown-none), or put the code between kernel_fpu_begin() and kernel_fpu_end()",
    },
    Rule {
        id: Id::RedZone,
        name: "red-zone",
        class: Class::Hazard,
        title: "code keeps data below the stack pointer",
        what: "A function reads or writes memory below the stack pointer: the 128 bytes that programs may use \
               without claiming them. Barriers (`lock addl $0, -4(%rsp)`) and probes keep nothing there.",
        why: "An interrupt in the kernel pushes its frame onto the same stack, over that data.",
        kernel: "nothing; the function's data change under it",
        mend: "compile with -mno-red-zone; Rust: -Cno-redzone=yes, or a target that disables it",
    },
    Rule {
        id: Id::IndirectBranch,
        name: "indirect-branch",
        class: Class::Hazard,
        title: "a branch through a register or memory goes past the mitigation",
        what: "The kernel was built with `CONFIG_RETPOLINE` (6.9 and later: `CONFIG_MITIGATION_RETPOLINE`), and the \
               module has an indirect call or jump that isn't made through `__x86_indirect_thunk_…` and isn't one \
               that the kernel patches (`.parainstructions`, `.altinstructions`).",
        why: "A processor can be made to mispredict where the branch goes (Spectre v2).",
        kernel: "nothing; `/sys/devices/system/cpu/vulnerabilities/spectre_v2` says `vulnerable module loaded` where \
                 the module lacks the `retpoline` mark",
        mend: "C: build with Kbuild; Rust: -Zretpoline-external-thunk, -Cjump-tables=n; assembler: CALL_NOSPEC, \
               JMP_NOSPEC",
    },
    Rule {
        id: Id::NakedReturn,
        name: "naked-return",
        class: Class::Hazard,
        title: "a return goes past the mitigation",
        what: "The kernel was built with `CONFIG_RETHUNK` (`CONFIG_MITIGATION_RETHUNK`), and the module has a `ret` \
               instead of a jump to `__x86_return_thunk`; or with `CONFIG_SLS` (`CONFIG_MITIGATION_SLS`), and a `ret` \
               or an indirect jump isn't followed by `int3`.",
        why: "A processor can be made to mispredict where a return goes (Retbleed), or to run on after it.",
        kernel: "nothing; objtool warns when the module is built: `'naked' return found in RETHUNK build`",
        mend: "C: build with Kbuild; Rust: -Zfunction-return=thunk-extern and the target features \
               +harden-sls-ret,+harden-sls-ijmp; assembler: RET",
    },
    Rule {
        id: Id::MissingEndbr,
        name: "missing-endbr",
        class: Class::Hazard,
        title: "a function that is called by pointer doesn't begin with `endbr64`",
        what: "The kernel was built with `CONFIG_X86_KERNEL_IBT`, and the module takes the address of a function that \
               doesn't begin with `endbr64`; or it has an indirect branch with the prefix `notrack`. What lists places \
               (`__mcount_loc`, `__ksymtab`, …) takes no address.",
        why: "On a processor with indirect branch tracking the call is a control-protection exception.",
        kernel: "an oops at the call: `Missing ENDBR: FUNCTION`",
        mend: "C: build with Kbuild; Rust: -Zcf-protection=branch, -Cjump-tables=n; assembler: SYM_FUNC_START, which \
               begins with ENDBR",
    },
    Rule {
        id: Id::UnwindTables,
        name: "unwind-tables",
        class: Class::Hazard,
        title: "tables for unwinding exceptions are loaded",
        what: "The module has a section `.eh_frame`, `.eh_frame_hdr` or `.gcc_except_table` that is loaded, or refers to \
               `_Unwind_Resume` or a personality function.",
        why: "The kernel unwinds no exceptions: the tables take up its memory and show that an object was compiled \
              for programs.",
        kernel: "nothing",
        mend: "C: -fno-asynchronous-unwind-tables; Rust: panic = \"abort\" and -Cforce-unwind-tables=no; `vexlab link` \
               leaves them out",
    },
    Rule {
        id: Id::Constructors,
        name: "constructors",
        class: Class::Hazard,
        title: "a constructor is never run",
        what: "The module has a section `.ctors`, `.init_array`, `.dtors` or `.fini_array`. Only `.ctors` and \
               `.init_array` are run, and only by a kernel with `CONFIG_CONSTRUCTORS`.",
        why: "What the function is to set up isn't set up.",
        kernel: "`find_module_sections`: nothing is said",
        mend: "call the function in the module's init",
    },
    Rule {
        id: Id::WritableExecutable,
        name: "writable-executable",
        class: Class::Hazard,
        title: "a section is writable and executable, and the kernel lets that pass",
        what: "A section has both flags, and the kernel has no `CONFIG_STRICT_MODULE_RWX`. Other kernels refuse it \
               (`writable-code`).",
        why: "Whoever can write there runs code of theirs in the kernel.",
        kernel: "nothing",
        mend: "give code and data sections of their own (look for assembler files and section attributes)",
    },
    Rule {
        id: Id::ShadowedSymbol,
        name: "shadowed-symbol",
        class: Class::Hazard,
        title: "a symbol of the module has the name of one of the kernel's",
        what: "A global function or variable of the module has a name that the kernel or one of its modules exports.",
        why: "The module uses its own where its makers may mean the kernel's: a `memcpy` of Rust's \
              `compiler_builtins` instead of the one that the kernel has for this processor.",
        kernel: "nothing",
        mend: "make it `static` or name it otherwise; `vexlab link` keeps the `memcpy` family of Rust out",
    },
    Rule {
        id: Id::ReachablePanic,
        name: "reachable-panic",
        class: Class::Hazard,
        title: "Rust code can panic",
        what: "From a function that the kernel or C can call, a chain of calls and of references to functions leads to \
               `core::panicking`. The finding is about the last function of the chain that isn't Rust's own library's.",
        why: "A panic in the kernel ends the task, with its locks held, or the machine.",
        kernel: "whatever the module's panic handler does, `BUG` as a rule",
        mend: "return an error instead: `get` for indexing, `checked_…` for arithmetic, `?` for `unwrap`",
    },
    Rule {
        id: Id::AbortingAllocation,
        name: "aborting-allocation",
        class: Class::Hazard,
        title: "Rust code gives up when memory is short",
        what: "A chain as for `reachable-panic` leads to `alloc::alloc::handle_alloc_error`, or to what `alloc`'s \
               collections call when they can't grow.",
        why: "In a kernel an allocation can fail at any time, and has to end in ENOMEM.",
        kernel: "as for a panic",
        mend: "use `try_reserve`, `try_new` and their like; build `alloc` with --cfg no_global_oom_handling, and what \
               gives up doesn't compile",
    },
    Rule {
        id: Id::SoftFloat,
        name: "soft-float",
        class: Class::Hazard,
        title: "floating-point arithmetic in software",
        what: "A function calls one of the compiler's helpers for floating point (`__adddf3`, `__floatsidf`, …).",
        why: "The kernel computes with integers. Such helpers take tens of times as long, and hide that a \
              floating-point number is there at all.",
        kernel: "nothing, if the module has the helper in itself; otherwise `Unknown symbol`",
        mend: "use integers or fixed-point numbers; in C, look for `double` and `float`",
    },
    Rule {
        id: Id::StackFrame,
        name: "stack-frame",
        class: Class::Hazard,
        title: "a function needs much stack for itself",
        what: "The frame of one function, its return address included, is larger than the kernel's \
               `CONFIG_FRAME_WARN` (2,048 bytes where it isn't set). A frame that has to be aligned counts what it \
               may take.",
        why: "The kernel's stack has 16 KiB for the whole chain of calls, from a program's system call to the \
              device's driver.",
        kernel: "nothing; a stack that overflows is an oops: `BUG: … stack guard page was hit`",
        mend: "allocate large objects instead of keeping them on the stack",
    },
    Rule {
        id: Id::StackDepth,
        name: "stack-depth",
        class: Class::Hazard,
        title: "a chain of calls needs much stack",
        what: "The frames of a chain of the module's functions, each calling the next, sum up to more than half of the \
               kernel's stack, or than `max-stack` under `[check]`. What the kernel's functions and calls by pointer \
               need isn't in the sum; they are named.",
        why: "The rest has to do for what called the module, for what it calls, and for interrupts.",
        kernel: "nothing; a stack that overflows is an oops: `BUG: … stack guard page was hit`",
        mend: "allocate large objects, and split deep chains with a work queue",
    },
    Rule {
        id: Id::Recursion,
        name: "recursion",
        class: Class::Hazard,
        title: "functions call each other in a circle",
        what: "A chain of calls inside the module comes back to a function that is in it. Jumps at a function's end take \
               no stack and make no circle by themselves.",
        why: "How much stack it takes is decided by data. Hostile data make it overflow.",
        kernel: "nothing; a stack that overflows is an oops: `BUG: … stack guard page was hit`",
        mend: "use a loop with a stack of its own; where the depth is limited, allow it and say by what",
    },
    Rule {
        id: Id::InterfaceDrift,
        name: "interface-drift",
        class: Class::Hazard,
        title: "C and Rust disagree about a function",
        what: "The debug information of a function that one side defines and the other declares differs in the number, \
               size or signedness of parameters, or in what is returned. Rust's compiler says \
               nothing of functions that Rust only declares: of what C defines and Rust calls, nothing is seen. vexlab puts types into a crate's debug \
               information where no `header` is compared with it.",
        why: "The one passes what the other doesn't take: garbage in registers, with no word from any tool.",
        kernel: "nothing",
        mend: "make both say the same; `header` under `[rust]` lets the C compiler compare them in each build",
    },
    Rule {
        id: Id::SectionMismatch,
        name: "section-mismatch",
        class: Class::Hazard,
        title: "code that stays uses what is freed after initialisation",
        what: "Code or changeable data that stay refer to a section that is freed when the module's init has returned \
               (`.init.text`, `.init.data`, …).",
        why: "The memory belongs to someone else by then.",
        kernel: "nothing; modpost warns when the module is built: `section mismatch in reference`",
        mend: "take `__init` off what is used later, or put it on what uses it; `__ref` where a reference is known to \
               be used early only",
    },
    Rule {
        id: Id::SizeBudget,
        name: "size-budget",
        class: Class::Hazard,
        title: "the module is larger than its project allows",
        what: "What the module takes up in memory, its loaded sections, is more than `max-size` under `[check]`.",
        why: "Kernel memory is never swapped out; growth is easily overlooked where Rust's generic functions \
              multiply.",
        kernel: "nothing",
        mend: "see which functions grew (`nm --size-sort -S`), or raise the budget",
    },
    Rule {
        id: Id::UnusedAllowance,
        name: "unused-allowance",
        class: Class::Hazard,
        title: "an allowance allows nothing",
        what: "A `[[check.allow]]` of `vexlab.toml` matches no finding.",
        why: "What it allowed is gone, or has another name: the next such finding would be allowed unseen.",
        kernel: "nothing",
        mend: "take it out, or correct its `rule` and `symbol`",
    },
];
