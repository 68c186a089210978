// SPDX-License-Identifier: GPL-2.0-only
//! A program of this host with the shared libraries that it needs, to be run on a machine's own file system.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use object::elf::{EM_X86_64, FileHeader64, PT_INTERP};
use object::read::elf::{FileHeader, ProgramHeader};
use object::{Endianness, ReadCache};

use crate::Lab;
use crate::busybox;
use crate::error::{Context, Error, Result};

/// What a machine has of its own, whatever this host has by these names.
const MACHINES_OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/vexlab", super::SOURCE];

/// The program interpreters that are known to list what a program needs without running it.
const INTERPRETERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-musl-x86_64.so.1"];

/// Where glibc's interpreter looks up libraries that are in no ordinary place.
const CACHE_OF_LIBRARIES: &str = "/etc/ld.so.cache";

/// The most symbolic links on the way to a file.
const MOST_LINKS: usize = 40;

/// How to run what needs more than the machine's own file system.
const REMEDY: &str = "run it with --root host";

/// A program of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// Its absolute path, here and in the machine.
    pub path: String,
    /// All that it is made of: itself, its libraries, and the symbolic links on the way to them.
    pub files: BTreeSet<PathBuf>,
}

/// Finds the program that a command's first word names, where that is one of this host and not one of the machine's
/// own file system.
///
/// # Errors
///
/// When it is there and can't be run in a machine, or when a path that is relative, and so one of this host, leads
/// nowhere.
pub fn find(lab: &Lab, word: &str) -> Result<Option<Program>> {
    let given = Path::new(word);
    if !word.contains('/') || MACHINES_OWN.iter().any(|own| given.starts_with(own)) {
        return Ok(None);
    }
    if given.parent() == Some(Path::new("/bin"))
        && busybox::get(lab)?.applets().iter().any(|applet| given.file_name() == Some(applet.as_ref()))
    {
        return Ok(None);
    }
    let path = std::path::absolute(given).context(|| format!("find {word}"))?;
    let about = match fs::metadata(&path) {
        // The machine may have it.
        Err(_) if given.is_absolute() => return Ok(None),
        Err(cause) => return Err(Error::usage(format!("{word} can't be run")).with_source(cause)),
        Ok(about) => about,
    };
    if !about.is_file() {
        return Err(Error::usage(format!("{word} is not a file")));
    }
    if about.permissions().mode() & 0o111 == 0 {
        return Err(Error::usage(format!("{word} is not executable")).with_remedy(format!("chmod +x {word}")));
    }
    let mut files = BTreeSet::new();
    trail(&path, &mut files)?;
    match interpreter(lab, word, &path)? {
        Interpreter::None => {}
        Interpreter::Dynamic(interpreter) => {
            for library in libraries(word, &path, &interpreter)? {
                trail(&library, &mut files)?;
            }
            trail(Path::new(&interpreter), &mut files)?;
            if Path::new(CACHE_OF_LIBRARIES).exists() {
                trail(Path::new(CACHE_OF_LIBRARIES), &mut files)?;
            }
        }
    }
    let path = path.to_str().ok_or_else(|| Error::usage(format!("{word} has a path that is no text")))?;
    Ok(Some(Program { path: path.to_owned(), files }))
}

/// What a program needs to be started.
#[derive(Debug, PartialEq, Eq)]
enum Interpreter {
    /// Nothing that the machine lacks.
    None,
    /// This one, which loads shared libraries.
    Dynamic(String),
}

fn interpreter(lab: &Lab, word: &str, path: &Path) -> Result<Interpreter> {
    let opened = || format!("read {}", path.display());
    let mut file = fs::File::open(path).context(opened)?;
    let mut start = Vec::new();
    file.by_ref().take(256).read_to_end(&mut start).context(opened)?;
    if let Some(line) = start.strip_prefix(b"#!") {
        let line = String::from_utf8_lossy(line.split(|byte| *byte == b'\n').next().unwrap_or_default());
        let interpreter = line.split_whitespace().next().unwrap_or_default();
        let name = interpreter.strip_prefix("/bin/");
        return match name
            .is_some_and(|name| busybox::get(lab).is_ok_and(|b| b.applets().iter().any(|a| a == name)))
        {
            true => Ok(Interpreter::None),
            false => Err(Error::usage(format!(
                "{word} is a script for {interpreter}, which the machine's own file system lacks"
            ))
            .with_remedy(REMEDY)),
        };
    }
    if !start.starts_with(b"\x7fELF") {
        return Err(Error::usage(format!("{word} is neither an ELF program nor a script")));
    }
    match dynamic_interpreter(&ReadCache::new(file)) {
        Err(why) => Err(Error::usage(format!("{word} can't be run: {why}"))),
        Ok(None) => Ok(Interpreter::None),
        Ok(Some(interpreter)) if INTERPRETERS.contains(&interpreter.as_str()) => {
            Ok(Interpreter::Dynamic(interpreter))
        }
        Ok(Some(interpreter)) => {
            Err(Error::usage(format!("{word} is loaded by {interpreter}, which is not known here"))
                .with_remedy(REMEDY))
        }
    }
}

/// The interpreter that an ELF file for x86-64 names, if it does.
fn dynamic_interpreter<'data>(file: impl object::ReadRef<'data>) -> Result<Option<String>, String> {
    let not_ours = || "it is no program for x86-64".to_owned();
    let header = FileHeader64::<Endianness>::parse(file).map_err(|_| not_ours())?;
    let endian = header.endian().map_err(|_| not_ours())?;
    if header.e_machine(endian) != EM_X86_64 || endian != Endianness::Little {
        return Err(not_ours());
    }
    let segments = header.program_headers(endian, file).map_err(|cause| cause.to_string())?;
    let Some(segment) = segments.iter().find(|segment| segment.p_type(endian) == PT_INTERP) else {
        return Ok(None);
    };
    let name = segment.data(endian, file).map_err(|()| "its interpreter's name is cut off".to_owned())?;
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    Ok(Some(String::from_utf8_lossy(name).into_owned()))
}

/// Has the interpreter list what the program needs. It maps the program, and runs nothing of it.
fn libraries(word: &str, program: &Path, interpreter: &str) -> Result<Vec<PathBuf>> {
    let listed = Command::new(interpreter)
        .arg("--list")
        .arg(program)
        // The machine has neither.
        .env_remove("LD_LIBRARY_PATH")
        .env_remove("LD_PRELOAD")
        .output()
        .context(|| format!("list the libraries of {word} with {interpreter}"))?;
    let text = String::from_utf8_lossy(&listed.stdout);
    let missing = text.lines().find(|line| line.ends_with("=> not found"));
    if !listed.status.success() || missing.is_some() {
        let said = missing.map_or(String::from_utf8_lossy(&listed.stderr).into_owned(), str::to_owned);
        return Err(Error::usage(format!("{word} can't be run: a library that it needs is missing"))
            .with_source(said.trim().to_owned()));
    }
    Ok(parse_list(&text))
}

/// The paths in an interpreter's list: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn parse_list(text: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let line = line.rsplit_once(" (").map_or(line, |(line, _)| line);
        let path = line.rsplit_once("=> ").map_or(line, |(_, path)| path).trim();
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    text.lines().filter_map(path).collect()
}

/// Adds a file and every symbolic link that a kernel meets on the way to it.
fn trail(path: &Path, met: &mut BTreeSet<PathBuf>) -> Result<()> {
    let mut waiting: Vec<PathBuf> = vec![path.to_owned()];
    let mut links = 0;
    while let Some(path) = waiting.pop() {
        let mut walked = PathBuf::from("/");
        let mut names = path.components();
        while let Some(name) = names.next() {
            match name {
                Component::Normal(name) => walked.push(name),
                Component::ParentDir => drop(walked.pop()),
                _ => continue,
            }
            let Ok(target) = fs::read_link(&walked) else { continue };
            links += 1;
            if links > MOST_LINKS {
                return Err(Error::usage(format!("{} leads through too many links", path.display())));
            }
            met.insert(walked.clone());
            walked.pop();
            waiting.push(walked.join(target).join(names.as_path()));
            walked.clear();
            break;
        }
        if !walked.as_os_str().is_empty() {
            met.insert(walked);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn paths_are_taken_out_of_either_interpreters_list() {
        let glibc = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\t/lib64/ld.so.2 (0x7f)\n";
        assert_eq!(parse_list(glibc), [Path::new("/lib/x/libc.so.6"), Path::new("/lib64/ld.so.2")]);
        let musl = "\t/lib/ld-musl-x86_64.so.1 (0x7f)\n\tlibc.musl.so.1 => /lib/ld-musl-x86_64.so.1 (0x7f)\n";
        assert_eq!(parse_list(musl), [Path::new("/lib/ld-musl-x86_64.so.1"); 2]);
    }

    #[test]
    fn links_on_the_way_are_brought_too() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path().canonicalize().unwrap();
        fs::create_dir_all(dir.join("usr/lib")).unwrap();
        fs::write(dir.join("usr/lib/a.so.1"), "").unwrap();
        symlink("usr/lib", dir.join("lib")).unwrap();
        symlink("../lib/a.so.1", dir.join("usr/lib/a.so")).unwrap();
        let mut met = BTreeSet::new();
        trail(&dir.join("lib/a.so"), &mut met).unwrap();
        assert_eq!(met, ["lib", "usr/lib/a.so", "usr/lib/a.so.1"].map(|path| dir.join(path)).into());
    }

    #[test]
    fn links_in_a_circle_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        assert!(trail(&dir.path().join("a"), &mut BTreeSet::new()).is_err());
    }

    #[test]
    fn only_programs_for_this_processor() {
        let own = fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(dynamic_interpreter(&own[..]), Ok(Some(INTERPRETERS[0].to_owned())));
        let mut other = own.clone();
        other[18..20].copy_from_slice(&[0xb7, 0]); // EM_AARCH64
        assert_eq!(dynamic_interpreter(&other[..]), Err("it is no program for x86-64".to_owned()));
        let mut narrow = own;
        narrow[4] = 1; // ELFCLASS32
        assert_eq!(dynamic_interpreter(&narrow[..]), Err("it is no program for x86-64".to_owned()));
    }
}
