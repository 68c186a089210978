// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lab::Lab;
use lab::cache::Cache;
use lab::cancel::Cancel;
use lab::event::Silent;
use libtest_mimic::Trial;

use crate::call::Ended;
use crate::harness::{Context, KERNEL, USUAL, copy, copy_ktest, machine, plain, root};

const LIMIT: Duration = Duration::from_secs(300);

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("link::what_the_exports_reach", USUAL, what_the_exports_reach),
        plain("link::unknown_export", USUAL, unknown_export),
        plain("link::no_export", USUAL, no_export),
        plain("link::not_a_static_library", USUAL, not_a_static_library),
        plain("link::of_another_machine", USUAL, of_another_machine),
        plain("link::cannot_be_relaxed", USUAL, cannot_be_relaxed),
        machine("link::the_case_has_uses_to_relax", USUAL, the_case_has_uses_to_relax),
        machine("link::compiled_without_the_flags", LIMIT, compiled_without_the_flags),
    ]
}

/// What rustc's archives are like: a section for each function, and what is of no use in a kernel.
const SOURCE: &str = r#"
	.section .text.sum,"ax"
	.globl add_numbers
	.type add_numbers, @function
add_numbers:
	call *_RNvCs1_1x6helper@GOTPCREL(%rip)
	mov count@GOTPCREL(%rip), %rcx
	call memcpy
	ret
	.section .text.helper,"ax"
	.globl _RNvCs1_1x6helper
	.type _RNvCs1_1x6helper, @function
_RNvCs1_1x6helper:
	ret
	.section .text.other,"ax"
	.globl subtract_numbers
	.type subtract_numbers, @function
subtract_numbers:
	ret
	.section .data.count,"aw"
count:
	.quad 1
	.section .llvmcmd,"e"
	.quad 0
	.section .eh_frame,"a"
	.quad 0
	.section .gcc_except_table.sum,"a"
	.quad 0
"#;

/// A copy of what the kernel has itself.
const COPY: &str = r#"
	.section .text.memcpy,"ax"
	.globl memcpy
	.type memcpy, @function
memcpy:
	ret
"#;

/// An archive of the source and of a copy of what the kernel has.
fn archive(context: &Context, source: &str) -> &'static str {
    assemble(context, "x.o", source);
    collect(context)
}

fn assemble(context: &Context, name: &str, source: &str) {
    fs::write(context.dir().join("x.s"), source).expect("the test's folder can be written");
    let ended = context.program(Path::new("as")).args(["-mrelax-relocations=no", "-o", name, "x.s"]).run();
    assert_eq!(ended.status, 0, "{ended}");
}

fn collect(context: &Context) -> &'static str {
    assemble(context, "compiler_builtins-1.o", COPY);
    let ended =
        context.program(Path::new("ar")).args(["rcs", "libx.a", "x.o", "compiler_builtins-1.o"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    "libx.a"
}

/// What a tool of binutils says of the linked object.
fn shown(context: &Context, tool: &str, option: &str) -> String {
    let ended = context.program(Path::new(tool)).args([option, "rust.o"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    ended.stdout
}

fn what_the_exports_reach(context: &Context) {
    let archive = archive(context, SOURCE);
    let ended = context.vexlab(["link", archive, "--export", "add_numbers", "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    rust.o: 1 function for C; 2 uses of a global offset table made direct
    ");
    insta::assert_snapshot!(shown(context, "nm", "--format=just-symbols"), @r"
    _RNvCs1_1x6helper
    add_numbers
    count
    memcpy
    ");
    insta::assert_snapshot!(shown(context, "nm", "--extern-only"), @r"
    0000000000000000 T add_numbers
                     U memcpy
    ");
    let sections = shown(context, "readelf", "-SW");
    for name in ["llvmcmd", "eh_frame", "gcc_except_table"] {
        assert!(!sections.contains(name), "{name}: {sections}");
    }
    assert!(!shown(context, "readelf", "-rW").contains("GOT"));

    let ended = context.vexlab(["link", archive, "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    rust.o: 2 functions for C; 2 uses of a global offset table made direct
    ");
}

fn unknown_export(context: &Context) {
    let archive = archive(context, SOURCE);
    let ended = context.vexlab(["link", archive, "--export", "add_number", "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: libx.a has no function `add_number` for C
      help: did you mean `add_numbers`? it has add_numbers, subtract_numbers
    ");
    let ended = context.vexlab(["link", archive, "--export", "zzz", "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: libx.a has no function `zzz` for C
      help: it has add_numbers, subtract_numbers
    ");
    assert!(!context.dir().join("rust.o").exists());
}

fn no_export(context: &Context) {
    let archive = archive(context, "nop");
    let ended = context.vexlab(["link", archive, "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r#"
    status 2
    error: libx.a exports no function
      help: mark what C calls with #[unsafe(no_mangle)] pub extern "C"
    "#);
}

fn not_a_static_library(context: &Context) {
    assemble(context, "x.o", SOURCE);
    let ended = context.vexlab(["link", "x.o", "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r#"
    status 2
    error: x.o can't be linked
      cause: this is no static library
      cause: Unsupported archive identifier
      help: give it a static library for x86-64: crate-type = ["staticlib"], --target x86_64-unknown-none
    "#);
    let ended = context.vexlab(["link", "libmissing.a", "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: libmissing.a can't be read
      cause: No such file or directory (os error 2)
    ");
}

fn of_another_machine(context: &Context) {
    assemble(context, "x.o", SOURCE);
    let path = context.dir().join("x.o");
    let mut object = fs::read(&path).expect("it was assembled");
    // `e_machine`: AArch64.
    object[18] = 183;
    fs::write(&path, object).expect("it can be written");
    let ended = context.vexlab(["link", collect(context), "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r#"
    status 2
    error: libx.a can't be linked
      cause: x.o is for Aarch64, not for x86-64
      help: give it a static library for x86-64: crate-type = ["staticlib"], --target x86_64-unknown-none
    "#);
}

fn cannot_be_relaxed(context: &Context) {
    let source = SOURCE.replace("mov count", "cmovne count");
    let ended = context.vexlab(["link", archive(context, &source), "-o", "rust.o"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 11
    error: libx.a is refused: .text+0xa: relocation type 9 (R_X86_64_GOTPCREL) against `count`: the instruction has no form that does without
      help: build it so that symbols are reached directly: Rust with -Zplt=yes -Zdirect-access-external-data=yes, or on a stable compiler -Crelocation-model=static -Crelro-level=off; C with -fno-pic -mcmodel=kernel
    ");
    assert!(!context.dir().join("rust.o").exists());
}

fn linked(context: &Context, library: &Path, output: &Path, arguments: &[&str]) -> Ended {
    let call = context.vexlab(["link"]).arg(library).arg("-o").arg(output).args(arguments);
    let ended = call.run();
    assert_eq!(ended.status, 0, "{ended}");
    ended
}

/// How many uses of a table the link says that it made direct.
fn made_direct(ended: &Ended) -> usize {
    let (_, rest) = ended.stdout.split_once("for C; ").expect("it says what it did");
    rest.split(' ').next().and_then(|number| number.parse().ok()).expect("a number")
}

/// The archive of the case `got_relaxed` is what the case is about: every form is in it, and none is left.
fn the_case_has_uses_to_relax(context: &Context) {
    let dir = context.case("got_relaxed");
    let ended = context.vexlab(["build"]).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let built = dir.join("target/vexlab").join(KERNEL).join("rust");
    let archive = built.join("libgot_relaxed.a");
    let output = context.dir().join("rust.o");
    assert_eq!(made_direct(&linked(context, &archive, &output, &[])), 17);
    assert!(!shown(context, "readelf", "-rW").contains("GOT"));
    let of_build = fs::read(built.join("linked.o")).expect("the build has linked");
    assert_eq!(ko::relax(&of_build).expect("an object").rewritten, 0, "the build relaxes as well");
}

/// This repository's own crate, compiled with none of the flags that keep code from going through a table, as a
/// stable compiler with its prebuilt `core` would have it: linked, it loads, and computes.
fn compiled_without_the_flags(context: &Context) {
    let module = context.dir().join("module");
    copy(&root().join("kernel"), &module);
    drop(fs::remove_dir_all(module.join("glue/target")));
    copy_ktest(&context.dir());
    let target = context.dir().join("target");
    let cache = Cache::at(context.cache().join("vexlab")).expect("the cache is there");
    let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
    let toolchain = lab::toolchain::find(&lab, &module).expect("a compiler");
    let cargo = context.program(&toolchain.cargo).dir(&module.join("glue")).env("RUSTC", &toolchain.rustc);
    let ended = cargo
        .args(["build", "--release", "--quiet", "-Zbuild-std=core,alloc", "--target", "x86_64-unknown-none"])
        .args(["--features", "ktest"])
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .env("CARGO_TARGET_DIR", &target)
        .run();
    assert_eq!(ended.status, 0, "{ended}");

    let library = target.join("x86_64-unknown-none/release/libvexfs_glue.a");
    let output = module.join("linked.o");
    let ended = linked(context, &library, &output, &["--kernel", KERNEL]);
    assert!(made_direct(&ended) > 100, "{ended}");

    // The build of the crate is not vexlab's here: to Kbuild the object is one more file.
    fs::remove_dir_all(module.join("glue")).expect("it was copied");
    let kbuild = fs::read_to_string(module.join("Kbuild")).expect("the module has one");
    let rule = "targets += rust.o\n$(obj)/rust.o: $(src)/linked.o FORCE\n\t$(call if_changed,copy)\n";
    fs::write(module.join("Kbuild"), kbuild + "\n" + rule).expect("the copy can be written");
    let manifest = format!(
        "kernels = [\"{KERNEL}\"]\n[module]\nname = \"vexfs\"\n[[test]]\nname = \"selftest\"\nktap = \
         \"/sys/kernel/debug/vexfs/ktap\"\n"
    );
    fs::write(module.join("vexlab.toml"), manifest).expect("the copy can be written");
    let ended = context.vexlab(["test"]).dir(&module).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.matches("  ok   selftest/rust.").count() > 10, "{ended}");
}
