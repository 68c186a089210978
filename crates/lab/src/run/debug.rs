// SPDX-License-Identifier: GPL-2.0-only
//! A machine under a debugger.
//!
//! gdb talks to QEMU over a socket, and gets two files of symbols: the kernel's, made from what the running
//! kernel says of itself, and the module's own. Where the module will be is known only when the kernel has put it
//! there, and its init function runs at once after that. So the kernel is stopped in between, in
//! `do_init_module`, where the addresses are read out of its `struct module`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use object::{Object, ObjectSection, ObjectSymbol};
use rustix::fs::{CWD, Mode, mkfifoat};
use tempfile::TempDir;
use wire::Request;

use super::steps::{Run, lab_trouble};
use super::trouble::Trouble;
use super::{Module, Record, symbols};
use crate::Lab;
use crate::build::Built;
use crate::error::{Context, Error, Result};
use crate::process::{self, Program};
use crate::session::Collect;

/// The kernel's function that is entered when a module is in its place and nothing of it has run.
///
/// Source: `do_init_module` in `kernel/module/main.c`.
const STOP: &str = "do_init_module";

/// The pipe beside the socket.
const GO: &str = "go";

/// Looks for gdb before anything is done.
pub(super) fn find_gdb() -> Result<()> {
    let remedy = "apt-get install --no-install-recommends gdb";
    match process::find("gdb") {
        Some(_) => Ok(()),
        None => Err(Error::lab("gdb is not installed").with_remedy(remedy)),
    }
}

/// What came of a run under a debugger.
pub enum Debugged {
    /// The debugger ended like this.
    Ended(ExitStatus),
    /// It did not come to it.
    Failed(Box<Record>),
}

impl Run<'_> {
    /// Prepares the machine for a debugger that will connect. Gives the folder of its socket.
    pub(super) fn expect_debugger(&mut self) -> Result<TempDir> {
        // A socket's path has to be short.
        let dir = tempfile::Builder::new().prefix("vexlab-").tempdir();
        let dir = dir.context(|| "make a folder for the debugger's socket".to_owned())?;
        self.machine.debugger = Some(dir.path().join("gdb"));
        Ok(dir)
    }

    /// Brings everything to where only the module's loading is left, which waits until the debugger lets the
    /// machine go on. Gives gdb's script.
    pub(super) fn set_debugger_up(&mut self, module: &Module, layout: &Layout) -> Result<PathBuf, Trouble> {
        let bytes = self.load_needs(module)?;
        let path = self.send_module(&module.file(), &bytes)?;
        let mut kallsyms = Collect::default();
        let request = Request::Read { path: "/proc/kallsyms".to_owned() };
        self.ask(&request, self.timeouts.boot, "the kernel's symbols", &mut kallsyms)?;
        let socket = self.machine.debugger.clone().unwrap_or_default();
        let kallsyms = String::from_utf8_lossy(&kallsyms.0);
        let script = layout.write_script(self.lab, self.dir(), &kallsyms, &socket);
        let script = script.map_err(|error| lab_trouble(&error))?;
        let parameters = module.manifest.module.parameters.clone();
        self.load_when_told(socket.with_file_name(GO), Request::Load { path, parameters })
            .map_err(|error| lab_trouble(&error))?;
        Ok(script)
    }

    /// Has the module loaded as soon as the debugger, which has stopped the machine by then, writes to a pipe.
    fn load_when_told(&mut self, pipe: PathBuf, load: Request) -> Result<()> {
        mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).context(|| format!("make {}", pipe.display()))?;
        let outgoing = self.session().outgoing();
        std::thread::spawn(move || {
            if fs::read(pipe).is_ok_and(|told| !told.is_empty()) {
                outgoing.input(&load);
            }
        });
        Ok(())
    }
}

/// How a module is found once the kernel has put it somewhere.
pub(super) struct Layout {
    /// The module, with debug information.
    module: PathBuf,
    /// Where `struct module` has the address of the symbols, in bytes.
    table: u64,
    places: Vec<Place>,
}

impl Layout {
    /// Looks into a module that was built.
    pub(super) fn of(lab: &Lab, built: &Built) -> Result<Self> {
        let module = built.module.clone();
        let question = "print/d (unsigned long)&((struct module *)0)->kallsyms";
        let gdb = Program::new("gdb").from_package("gdb");
        let gdb = gdb.args(["--nx", "--batch", "-ex", "set language c", "-ex", question]).args([&module]);
        let answer = gdb.run(&lab.cancel)?.output;
        let table = answer.rsplit_once("= ").and_then(|(_, number)| number.trim().parse().ok());
        let table = table.ok_or_else(|| {
            let what = "has no debug information that describes struct module";
            Error::lab(format!("{} {what}", module.display()))
                .with_remedy("vexlab gdb needs a kernel that was configured with CONFIG_DEBUG_INFO")
        })?;
        let bytes = fs::read(&built.stripped).context(|| format!("read {}", built.stripped.display()))?;
        Ok(Self { module, table, places: section_places(&bytes)? })
    }

    /// Writes what gdb is to do first: it stops with the module in its place and its symbols known, before
    /// anything of it has run. Gives the script.
    fn write_script(&self, lab: &Lab, dir: &Path, kallsyms: &str, socket: &Path) -> Result<PathBuf> {
        let kernel = symbols::Kernel::parse(kallsyms)?;
        if !kernel.has(STOP) {
            return Err(Error::lab(format!("the kernel names no function {STOP}, where gdb is to stop")));
        }
        let (source, object) = (dir.join("kernel.s"), dir.join("kernel.o"));
        fs::write(&source, kernel.source()).context(|| format!("write {}", source.display()))?;
        let assembler = Program::new("as").from_package("binutils").merged();
        let words = ["-o".as_ref(), object.as_os_str(), source.as_os_str()];
        let done = assembler.args(words).run(&lab.cancel)?;
        if !done.status.success() {
            return Err(Error::lab("the kernel's symbols can't be made an object").with_source(done.output));
        }
        let script = dir.join("gdb.script");
        let text = self.script(&object, kernel.text_start(), socket);
        fs::write(&script, text).context(|| format!("write {}", script.display()))?;
        Ok(script)
    }

    fn script(&self, kernel: &Path, text: u64, socket: &Path) -> String {
        let mut lines = vec![
            "set pagination off".to_owned(),
            "set confirm off".to_owned(),
            "set language c".to_owned(),
            "set architecture i386:x86-64".to_owned(),
            format!("add-symbol-file {} -s {} {text:#x}", quoted(kernel), symbols::SECTION),
            format!("target remote {}", socket.display()),
            format!("thbreak {STOP}"),
            format!("shell echo >'{}'", socket.with_file_name(GO).display()),
            "continue".to_owned(),
            // The first argument is the module, which points to its symbols; their table comes first.
            // Source: struct module and struct mod_kallsyms in include/linux/module.h.
            format!("set $symbols = *(unsigned long *)*(unsigned long *)($rdi + {})", self.table),
        ];
        let mut add = format!("add-symbol-file {}", quoted(&self.module));
        for (number, Place { section, symbol, offset }) in self.places.iter().enumerate() {
            // An Elf64_Sym has 24 bytes; its value is at 8. It has been made an address by now.
            let value = symbol * 24 + 8;
            lines.push(format!("set $section{number} = *(unsigned long *)($symbols + {value}) - {offset}"));
            add.push_str(&format!(" -s {section} $section{number}"));
        }
        let hint = "The module is in its place, and nothing of it has run. Set breakpoints, then `continue`.";
        lines.extend([add, "set language auto".to_owned(), format!("echo {hint}\\n")]);
        lines.join("\n") + "\n"
    }
}

/// A section of the module, and a symbol in it by which the loaded one is found.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    section: String,
    /// The symbol's number in the symbol table.
    symbol: usize,
    /// Where it is in the section, in bytes.
    offset: u64,
}

/// For each section that is loaded and has a symbol, the first one.
fn section_places(module: &[u8]) -> Result<Vec<Place>> {
    let file = object::File::parse(module).context(|| "read the module".to_owned())?;
    let mut places: Vec<Place> = Vec::new();
    for symbol in file.symbols() {
        let Some(section) = symbol.section_index().and_then(|index| file.section_by_index(index).ok()) else {
            continue;
        };
        let object::SectionFlags::Elf { sh_flags, .. } = section.flags() else { continue };
        let Ok(name) = section.name() else { continue };
        let is_loaded = sh_flags.contains(object::elf::SHF_ALLOC);
        if is_loaded && is_plain(name) && !places.iter().any(|place| place.section == name) {
            let (symbol, offset) = (symbol.index().0, symbol.address());
            places.push(Place { section: name.to_owned(), symbol, offset });
        }
    }
    if places.is_empty() {
        return Err(Error::lab("the module has no symbol by which gdb could find it"));
    }
    Ok(places)
}

/// Sections that the kernel reads and doesn't keep.
///
/// Source: `rewrite_section_headers` in `kernel/module/main.c`.
const NOT_KEPT: [&str; 2] = [".modinfo", "__versions"];

/// Whether the kernel keeps this section, and gdb takes its name as one word.
fn is_plain(name: &str) -> bool {
    !NOT_KEPT.contains(&name)
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// A path as one word for gdb.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display().to_string().replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gdb_stops_with_the_module_in_its_place() {
        let place = |section: &str, symbol, offset| Place { section: section.to_owned(), symbol, offset };
        let layout = Layout {
            module: "/p/a b/x.ko".into(),
            table: 432,
            places: vec![place(".text", 3, 0), place(".data", 7, 16)],
        };
        let script = layout.script(Path::new("/r/kernel.o"), 0xffff_ffff_8100_0000, Path::new("/t/gdb"));
        insta::assert_snapshot!(script, @r#"
        set pagination off
        set confirm off
        set language c
        set architecture i386:x86-64
        add-symbol-file "/r/kernel.o" -s .kernel.text 0xffffffff81000000
        target remote /t/gdb
        thbreak do_init_module
        shell echo >'/t/go'
        continue
        set $symbols = *(unsigned long *)*(unsigned long *)($rdi + 432)
        set $section0 = *(unsigned long *)($symbols + 80) - 0
        set $section1 = *(unsigned long *)($symbols + 176) - 16
        add-symbol-file "/p/a b/x.ko" -s .text $section0 -s .data $section1
        set language auto
        echo The module is in its place, and nothing of it has run. Set breakpoints, then `continue`.\n
        "#);
    }

    #[test]
    fn a_section_is_found_by_its_first_symbol() {
        let own = std::env::current_exe().unwrap();
        let places = section_places(&fs::read(own).unwrap()).unwrap();
        assert_eq!(places.iter().filter(|place| place.section == ".text").count(), 1);
        let error = section_places(b"no module").unwrap_err();
        insta::assert_snapshot!(error, @"read the module");
    }
}
