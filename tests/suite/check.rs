// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::call::Ended;
use crate::harness::{Body, Context, KERNEL, USUAL, in_context, provision};
use crate::kernels::tree_of;

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        judged("check::what_is_no_module", what_is_no_module),
        judged("check::packed_modules", packed_modules),
        judged("check::symbol_versions_of_a_kernel", symbol_versions_of_a_kernel),
    ]
}

/// A test with a kernel that judges, and without a machine.
fn judged(name: &str, body: Body) -> Trial {
    Trial::test(name, move || {
        provision(KERNEL);
        in_context(USUAL, |context| {
            let mut settings = insta::Settings::clone_current();
            settings.add_filter(r"size: \d+ bytes", "size: [SIZE] bytes");
            settings.add_filter(
                r"table of \d+ sections at 0x\w+ lies outside the file's \d+ bytes",
                "table of [COUNT] sections at [PLACE] lies outside the file's [SIZE] bytes",
            );
            let _filters = settings.bind_to_scope();
            body(context);
        });
        Ok(())
    })
}

/// One of the kernel's own modules, as a file in the test's folder.
fn own_module(context: &Context) -> PathBuf {
    let shown = context.vexlab(["kernel", "show", KERNEL]).run();
    let modules = shown.stdout.lines().find_map(|line| line.strip_prefix("modules "));
    let modules = PathBuf::from(modules.unwrap_or_else(|| panic!("its modules are shown; {shown}")).trim());
    let module = context.dir().join("crc7.ko");
    fs::copy(modules.join("kernel/lib/crc7.ko"), &module).expect("the kernel has the module");
    module
}

fn check(context: &Context, files: &[&str]) -> Ended {
    context.vexlab(["check", "--kernel", KERNEL]).args(files).run()
}

fn tool(context: &Context, name: &str, arguments: &[&str]) {
    let ended = context.program(Path::new(name)).args(arguments).run();
    assert_eq!(ended.status, 0, "{ended}");
}

/// Each is refused with a word about what it is, and the good one among them is judged.
fn what_is_no_module(context: &Context) {
    let dir = context.dir();
    let module = fs::read(own_module(context)).expect("it was copied");
    let write =
        |name: &str, bytes: &[u8]| fs::write(dir.join(name), bytes).expect("the folder can be written");
    write("text.ko", b"no module\n");
    write("empty.ko", b"");
    write("cut.ko", &module[..module.len() / 2]);
    let mut other = module;
    // `e_machine`: AArch64.
    other[18] = 183;
    write("arm.ko", &other);
    write("x.s", b"\tret\n");
    tool(context, "as", &["-o", "x.o", "x.s"]);
    tool(context, "ar", &["rcs", "libx.a", "x.o"]);
    tool(context, "ld", &["-shared", "-o", "libx.so", "x.o"]);
    let ended = check(
        context,
        &[
            "text.ko",
            "empty.ko",
            "cut.ko",
            "arm.ko",
            "libx.a",
            "libx.so",
            "x.o",
            "missing.ko",
            ".",
            "crc7.ko",
        ],
    );
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    refused: text.ko on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      elf-header: file+0x0: the file has 10 bytes, fewer than an ELF header's 64: the kernel would say `Invalid ELF header len 10` (ENOEXEC)
        help: give the .ko file that Kbuild made for this architecture
    refused: empty.ko on debian-6.1-cloud: loading it would fail with errno 22 (EINVAL)
      elf-header: the file is empty: the kernel would refuse it with EINVAL
        help: give the .ko file that Kbuild made for this architecture
    refused: cut.ko on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      section-headers: file+0x28: the table of [COUNT] sections at [PLACE] lies outside the file's [SIZE] bytes: the kernel would say `Invalid ELF section header overflow` (ENOEXEC)
        help: the file is damaged or cut off: build or copy it again
    refused: arm.ko on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      elf-header: file+0x12: this is for AArch64, not for x86-64: the kernel would say `Invalid architecture in ELF header: 183` (ENOEXEC)
        help: give the .ko file that Kbuild made for this architecture
    refused: libx.a on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      elf-header: file+0x0: this is a static library, not a module: the kernel would say `Invalid ELF header magic: != \x7fELF` (ENOEXEC)
        help: give the .ko file that Kbuild made for this architecture
    refused: libx.so on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      elf-header: file+0x10: this is a shared object or a position-independent program (e_type 3), not a relocatable object: the kernel would say `Invalid ELF header type: 3 != 1` (ENOEXEC)
        help: give the .ko file that Kbuild made for this architecture
    refused: x.o on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      symbol-table: file+0x28: the module has no symbol table: the kernel would say `(missing .modinfo section or name field): module has no symbols (stripped?)` (ENOEXEC)
        help: strip it with `strip --strip-debug` at most
    ok: crc7.ko on debian-6.1-cloud
      size: [SIZE] bytes in memory
      stack: largest frame 8 bytes in crc7_be
      stack: deepest chain 8 of 16384 bytes: crc7_be (8)
    error: read the module missing.ko
      cause: No such file or directory (os error 2)
    error: read the module .
      cause: Is a directory (os error 21)
    ");
    let ended = check(context, &["arm.ko", "crc7.ko"]);
    assert_eq!(ended.status, 11, "{ended}");
}

/// A packed module is read through, one that is cut off is named, and so is one that is packed under another name.
fn packed_modules(context: &Context) {
    own_module(context);
    tool(context, "xz", &["--keep", "--check=crc32", "crc7.ko"]);
    tool(context, "gzip", &["--keep", "crc7.ko"]);
    let dir = context.dir();
    let packed = fs::read(dir.join("crc7.ko.xz")).expect("it was packed");
    fs::write(dir.join("cut.ko.xz"), &packed[..packed.len() / 2]).expect("the folder can be written");
    fs::write(dir.join("misnamed.ko"), &packed).expect("the folder can be written");
    fs::write(dir.join("text.ko.zst"), b"no module\n").expect("the folder can be written");
    let ended =
        check(context, &["crc7.ko.xz", "crc7.ko.gz", "cut.ko.xz", "text.ko.zst", "misnamed.ko", "crc7.ko"]);
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    ok: crc7.ko.xz on debian-6.1-cloud
      size: [SIZE] bytes in memory
      stack: largest frame 8 bytes in crc7_be
      stack: deepest chain 8 of 16384 bytes: crc7_be (8)
    ok: crc7.ko.gz on debian-6.1-cloud
      size: [SIZE] bytes in memory
      stack: largest frame 8 bytes in crc7_be
      stack: deepest chain 8 of 16384 bytes: crc7_be (8)
    refused: misnamed.ko on debian-6.1-cloud: loading it would fail with errno 8 (ENOEXEC)
      elf-header: file+0x0: this is packed (its name doesn't say so): the kernel would say `Invalid ELF header magic: != \x7fELF` (ENOEXEC)
        help: give the .ko file that Kbuild made for this architecture
    ok: crc7.ko on debian-6.1-cloud
      size: [SIZE] bytes in memory
      stack: largest frame 8 bytes in crc7_be
      stack: deepest chain 8 of 16384 bytes: crc7_be (8)
    error: read the module cut.ko.xz
      cause: premature eof
      help: its name says that it is packed as xz: get it again if it was cut off, rename it if it isn't
    error: read the module text.ko.zst
      cause: BadMagicNumber(1830842222)
      cause: Read wrong magic number: 0x6D206F6E
      help: its name says that it is packed as zst: get it again if it was cut off, rename it if it isn't
    ");
}

fn symbol_versions_of_a_kernel(context: &Context) {
    own_module(context);
    let tree = tree_of(context);
    let symvers = tree.join("Module.symvers");
    let check = || context.vexlab(["check", "crc7.ko", "--kernel"]).arg(&tree).run();
    fs::remove_file(&symvers).expect("the tree has symbol versions");
    insta::assert_snapshot!(check().told(), @r"
    status 2
    error: the kernel build tree [DIR]/linux has no symbol versions: Module.symvers
      help: make -C [DIR]/linux all
    ");
    fs::write(&symvers, "0x1\tkfree\n").expect("the tree can be written");
    insta::assert_snapshot!(check().told(), @r"
    status 20
    error: [DIR]/linux/Module.symvers is no list of symbol versions
      cause: line 1: the module is missing
      help: install the kernel's headers again; in a build tree, `make` writes it
    ");
    fs::write(&symvers, "").expect("the tree can be written");
    insta::assert_snapshot!(check().told(), @r"
    status 20
    error: [DIR]/linux/Module.symvers is no list of symbol versions
      cause: line 1: no symbol is listed
      help: install the kernel's headers again; in a build tree, `make` writes it
    ");
    fs::write(&symvers, [0xff, 0xfe, b'\n']).expect("the tree can be written");
    insta::assert_snapshot!(check().told(), @r"
    status 20
    error: [DIR]/linux/Module.symvers is no list of symbol versions
      cause: invalid utf-8 sequence of 1 bytes from index 0
      help: install the kernel's headers again; in a build tree, `make` writes it
    ");
}
