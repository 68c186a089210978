// SPDX-License-Identifier: GPL-2.0-only
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use ko::Kernel;
use libtest_mimic::Failed;

use crate::case::{Case, Module};

/// What the kernel compiles C with, as far as it shows in an object.
const CC: [&str; 18] = [
    "-c",
    "-std=gnu11",
    "-O2",
    "-ffreestanding",
    "-fno-pic",
    "-fno-pie",
    "-fno-common",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-jump-tables",
    "-fcf-protection=none",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-mno-mmx",
    "-mno-sse",
    "-mno-80387",
    "-Wall",
    "-Werror",
];

/// What a crate for the kernel is compiled with, where only the host's `core` is there.
const RUSTC: [&str; 10] = [
    "--edition=2024",
    "--crate-type=staticlib",
    "-Copt-level=2",
    "-Ccodegen-units=1",
    "-Cpanic=abort",
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    "-Cno-redzone=yes",
    "-Cforce-unwind-tables=no",
    "-Dwarnings",
];

/// As in vexlab's link of a Rust library (`crates/lab/src/build/link.rs`).
const SCRIPT: &str = "SECTIONS {
	.text 0 : { *(.text .text.*) }
	.rodata 0 : { *(.rodata .rodata.*) }
	.data.rel.ro 0 : { *(.data.rel.ro .data.rel.ro.*) }
	.data 0 : { *(.data .data.*) }
	.bss 0 : { *(.bss .bss.* COMMON) }
	/DISCARD/ : { *(.llvmbc .llvmcmd .llvm_addrsig .llvm.* .eh_frame .gcc_except_table .gcc_except_table.* .comment) }
}
";

/// Makes a module of a case's sources.
pub(crate) fn module(cases: &Path, name: &str, case: &Case, kernel: &Kernel) -> Result<Vec<u8>, Failed> {
    let folder = cases.join(case.source.as_deref().unwrap_or(name));
    let dir = tempfile::tempdir()?;
    let mut objects = Vec::new();
    let mut sources: Vec<PathBuf> =
        fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    sources.sort();
    for source in &sources {
        let object = dir.path().join(format!("{}.o", objects.len()));
        match source.extension().and_then(|extension| extension.to_str()) {
            Some("c" | "S") => {
                run(Command::new("cc").args(CC).args(&case.build.cc).arg("-o").args([&object, source]))?;
            }
            Some("rs") => rust(dir.path(), source, &case.build.rustc, &object)?,
            _ => continue,
        }
        objects.push(object);
    }
    let joined = dir.path().join("joined.o");
    join(&objects, &joined)?;
    if case.build.relax {
        let relaxed = ko::relax(&fs::read(&joined)?)?;
        if relaxed.rewritten == 0 {
            return Err("there was nothing to relax".into());
        }
        fs::write(&joined, relaxed.bytes)?;
    }
    let used = ko::undefined(&fs::read(&joined)?)?;
    let (source, object) = (dir.path().join("module.S"), dir.path().join("module.o"));
    fs::write(&source, module_part(&case.module, kernel, &used))?;
    run(Command::new("cc").arg("-c").arg("-o").args([&object, &source]))?;
    let made = dir.path().join("case.ko");
    join(&[joined, object], &made)?;
    Ok(fs::read(made)?)
}

fn join(objects: &[PathBuf], to: &Path) -> Result<(), Failed> {
    run(Command::new("ld").args(["-r", "-m", "elf_x86_64", "-z", "noexecstack", "-o"]).arg(to).args(objects))
}

/// A crate, and what its functions for C reach of it and of Rust's own libraries, as vexlab links it.
fn rust(dir: &Path, source: &Path, options: &[String], object: &Path) -> Result<(), Failed> {
    let (archive, linked) = (dir.join("librust.a"), dir.join("linked.o"));
    let (script, list) = (dir.join("link.ld"), dir.join("exports"));
    let rustc = env::var_os("RUSTC").unwrap_or("rustc".into());
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compile = Command::new(rustc);
    run(compile.current_dir(manifest).args(RUSTC).args(options).arg("-o").args([&archive, source]))?;
    let exports = ko::exports(&fs::read(&archive)?)?;
    fs::write(&script, SCRIPT)?;
    fs::write(&list, exports.join("\n"))?;
    let roots = exports.iter().flat_map(|name| ["-u", name]);
    run(Command::new("ld")
        .args(["-r", "--gc-sections", "-T"])
        .arg(script)
        .args(roots)
        .arg("-o")
        .args([&linked, &archive]))?;
    let global = format!("--keep-global-symbols={}", list.display());
    // What only the dropped tables refer to, too: the host's `core` was compiled for unwinding.
    let unneeded = ["_GLOBAL_OFFSET_TABLE_", "rust_eh_personality"];
    let unneeded = unneeded.map(|name| format!("--strip-unneeded-symbol={name}"));
    run(Command::new("objcopy").arg(global).args(unneeded).args([&linked, object]))?;
    let relaxed = ko::relax(&fs::read(object)?)?;
    Ok(fs::write(object, relaxed.bytes)?)
}

/// What modpost adds to an object that uses these symbols, in assembler.
fn module_part(module: &Module, kernel: &Kernel, used: &[String]) -> String {
    let name = module.name.as_deref().unwrap_or("case");
    let vermagic = kernel.vermagic.as_deref().unwrap_or_default();
    let mut info =
        BTreeMap::from([("license", "GPL"), ("name", name), ("vermagic", vermagic), ("depends", "")]);
    info.extend(module.info.iter().map(|(tag, value)| (tag.as_str(), value.as_str())));
    let mut source = String::from("\t.section .note.GNU-stack,\"\",@progbits\n");
    let mut section = |name: &str, flags: &str, lines: &str| {
        if !module.without.contains(name) {
            let _ = write!(source, "\t.section {name},\"{flags}\",@progbits\n{lines}");
        }
    };
    let info = info.iter().filter(|(tag, value)| !value.is_empty() || **tag == "depends");
    let info: String = info.map(|(tag, value)| format!("\t.asciz \"{tag}={value}\"\n")).collect();
    section(".modinfo", "a", &info);
    let mut versions = String::new();
    for symbol in [&"module_layout".to_owned()].into_iter().chain(used) {
        let Some(export) = kernel.exports.get(symbol).filter(|_| !module.unversioned.contains(symbol)) else {
            continue;
        };
        let version = module.versions.get(symbol).copied().unwrap_or(export.crc.into());
        let _ = write!(versions, "\t.quad {version:#x}\n\t.asciz \"{symbol}\"\n\t.balign 64, 0\n");
    }
    section("__versions", "a", &versions);
    let size = module.size.or(kernel.this_module_size).unwrap_or(0);
    // The name comes after the state and the list.
    let this = format!("\t.zero 24\n\t.asciz \"{name}\"\n\t.org {size}\n");
    section(".gnu.linkonce.this_module", "aw", &this);
    source
}

fn run(command: &mut Command) -> Result<(), Failed> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}\n{}", String::from_utf8_lossy(&output.stderr)).into())
}
