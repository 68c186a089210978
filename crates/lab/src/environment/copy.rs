// SPDX-License-Identifier: GPL-2.0-only
//! Files and folders into and out of a machine, as tar streams.

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use tar::Builder;
use walkdir::WalkDir;
use wire::frame::CHUNK;
use wire::{Exit, Process, Reply, Request, Stream};

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::link::Outgoing;
use crate::run;

use super::conversation::{Conversation, unexpected};
use super::name::Name;
use super::unpack::Unpacker;

/// The signal that ends a program at once.
const KILL: i32 = 9;

/// How much of a program's complaints is kept, in bytes.
const COMPLAINTS: usize = 4096;

/// One end of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Side {
    Here(PathBuf),
    /// In this machine, by an absolute path.
    There(Name, String),
}

impl Side {
    /// `NAME:PATH` is in a machine; what has a slash before its first colon is here, as is what has none.
    fn parse(text: &str) -> Result<Self> {
        match text.split_once(':') {
            Some((name, path)) if !name.contains('/') => {
                let root = if path.starts_with('/') { "" } else { "/" };
                let path = format!("{root}{path}");
                Ok(Self::There(Name::parse(name)?, path))
            }
            _ => Ok(Self::Here(text.into())),
        }
    }
}

/// Copies a file or a folder, with all that is in it, into or out of a machine. One of the two is `NAME:PATH`. Where
/// the destination is a folder, the copy goes into it.
///
/// # Errors
///
/// When there is no such machine, source or destination; when either side can't be read or written.
pub fn copy(lab: &Lab, from: &str, to: &str) -> Result<()> {
    let done = match (Side::parse(from)?, Side::parse(to)?) {
        (Side::Here(source), Side::There(name, target)) => into(lab, &source, &name, &target),
        (Side::There(name, source), Side::Here(target)) => out_of(lab, &name, &source, &target),
        (Side::Here(_), Side::Here(_)) => Err(Error::usage("neither of the two is in a machine")
            .with_remedy("write NAME:PATH for one; `vexlab ps` lists the names")),
        (Side::There(..), Side::There(..)) => {
            Err(Error::usage("both of the two are in a machine").with_remedy("copy to a path here first"))
        }
    };
    lab.progress_end();
    done
}

/// The last part of a path, and the folder that it is in.
fn split(path: &str) -> Option<(&str, &str)> {
    let (folder, name) = path.trim_end_matches('/').rsplit_once('/')?;
    let folder = if folder.is_empty() { "/" } else { folder };
    (!matches!(name, "" | "." | "..")).then_some((folder, name))
}

/// What is at a path in a machine, as the script below says it by its status.
const FOLDER: i32 = 10;
const OTHER: i32 = 11;
const FREE: i32 = 12;
const LOOK: &str = r#"
if test -d "$1"; then exit 10
elif test -e "$1" || test -L "$1"; then exit 11
elif test -d "$2"; then exit 12
else exit 13
fi
"#;

/// Looks what is at a path in the machine, and whether there is a folder for it where there is nothing.
fn look(conversation: &mut Conversation<'_>, path: &str) -> Result<i32> {
    let folder = split(path).map_or("/", |(folder, _)| folder);
    conversation.send(&Request::Run(program(&["sh", "-c", LOOK, "sh", path, folder])))?;
    conversation.send(&Request::StdinEnd)?;
    loop {
        match conversation.next(None)? {
            Reply::Output { .. } => {}
            Reply::Exited(Exit::Status(status)) => return Ok(status),
            other => return Err(unexpected(&format!("look at {path} in the machine"), &other)),
        }
    }
}

fn program(arguments: &[&str]) -> Process {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    Process { arguments, environment: Vec::new(), terminal: None }
}

/// Copies into a machine.
fn into(lab: &Lab, source: &Path, name: &Name, target: &str) -> Result<()> {
    let Ok(data) = source.symlink_metadata() else {
        return Err(Error::usage(format!("there is no {} here", source.display())));
    };
    let own = source.canonicalize().ok();
    let own = source.file_name().or_else(|| own.as_deref().and_then(Path::file_name));
    let own = own.unwrap_or_default().to_string_lossy().into_owned();
    let mut conversation = Conversation::open(lab, name)?;
    let (folder, target_name) = match (look(&mut conversation, target)?, split(target)) {
        (FOLDER, _) => (target, own.as_str()),
        (OTHER, Some(_)) if data.is_dir() || target.ends_with('/') => {
            return Err(Error::usage(format!("{target} in the machine {name} is no folder")));
        }
        (OTHER, Some(parts)) => parts,
        (FREE, Some(parts)) if data.is_dir() || !target.ends_with('/') => parts,
        _ => {
            let folder = match split(target) {
                Some((folder, _)) if !target.ends_with('/') => folder,
                _ => target.trim_end_matches('/'),
            };
            return Err(Error::usage(format!("there is no folder {folder} in the machine {name}"))
                .with_remedy(format!("`vexlab exec {name} -- mkdir -p {folder}` makes it")));
        }
    };
    let what = || format!("copy {} to {name}:{target}", source.display());
    conversation.send(&Request::Run(program(&["tar", "-x", "-o", "-f", "-", "-C", folder])))?;
    let outgoing = conversation.outgoing();
    let (packed, unpacked) = std::thread::scope(|scope| {
        let packer = scope.spawn(|| {
            let packed = pack(source, target_name, Input::new(lab, source, outgoing.clone()));
            if packed.is_err() {
                // It waits for more; where it was the first to fail, it is gone already.
                let _ = outgoing.send(&Request::Signal { number: KILL });
            }
            packed
        });
        let unpacked = Output::of(&mut conversation).finish();
        conversation.stop_input();
        (packer.join(), unpacked)
    });
    match (packed, unpacked?) {
        (Ok(Ok(())), None) => Ok(()),
        (Ok(Err(error)), _) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context(what),
        (_, complaint) => {
            let complaint = complaint.unwrap_or_else(|| "it did not take all".to_owned());
            Err(Error::lab(format!("{}: tar failed in the machine", what())).with_source(complaint))
        }
    }
}

/// Packs a file or a folder as `name`. Links are packed as such.
fn pack(source: &Path, name: &str, input: Input<'_>) -> io::Result<()> {
    let mut builder = Builder::new(BufWriter::with_capacity(CHUNK, input));
    builder.follow_symlinks(false);
    if source.symlink_metadata()?.is_dir() {
        builder.append_dir_all(name, source)?;
    } else {
        builder.append_path_with_name(source, name)?;
    }
    let input = builder.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    input.outgoing.input(&Request::StdinEnd);
    Ok(())
}

/// Copies out of a machine.
fn out_of(lab: &Lab, name: &Name, source: &str, target: &Path) -> Result<()> {
    let Some((folder, own)) = split(source) else {
        return Err(Error::usage(format!("{source} in the machine {name} can't be copied as a whole"))
            .with_remedy("name something in it"));
    };
    let mut conversation = Conversation::open(lab, name)?;
    if !matches!(look(&mut conversation, source)?, FOLDER | OTHER) {
        return Err(Error::usage(format!("there is no {source} in the machine {name}")));
    }
    let (place, target_name) = place_here(target, own)?;
    let what = || format!("copy {name}:{source} to {}", target.display());
    // A name that begins with a dash is no option then.
    let own_path = format!("./{own}");
    conversation.send(&Request::Run(program(&["tar", "-c", "-f", "-", "-C", folder, &own_path])))?;
    conversation.send(&Request::StdinEnd)?;
    let mut output = Output::of(&mut conversation);
    let told = format!("copying {name}:{source}");
    let mut progress = |done| {
        lab.progress(&told, done, 0);
        lab.cancel.check()
    };
    let unpacked =
        Unpacker::new(&place, own, target_name).and_then(|it| it.unpack(&mut output, &mut progress));
    let unpacked = unpacked.map_err(|error| error.while_doing(&what()));
    if unpacked.is_err() && !output.is_over() {
        // What still comes is of no use.
        return unpacked;
    }
    match output.finish()? {
        Some(complaint) => {
            Err(Error::lab(format!("{}: tar failed in the machine", what())).with_source(complaint))
        }
        None => unpacked,
    }
}

/// The folder here that a copy goes into, and its name there.
fn place_here(target: &Path, own: &str) -> Result<(PathBuf, OsString)> {
    if target.is_dir() {
        return Ok((target.to_owned(), own.into()));
    }
    let folder = match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => target,
    };
    match target.file_name() {
        Some(name) if folder.is_dir() && !target.as_os_str().as_encoded_bytes().ends_with(b"/") => {
            Ok((folder.to_owned(), name.to_owned()))
        }
        _ => {
            let folder = if folder.is_dir() { target } else { folder };
            Err(Error::usage(format!("there is no folder {} here", folder.display()))
                .with_remedy("make it first"))
        }
    }
}

/// A program's input in the machine, as something to write to.
struct Input<'a> {
    lab: &'a Lab,
    outgoing: Outgoing,
    what: String,
    done: u64,
    total: u64,
}

impl<'a> Input<'a> {
    fn new(lab: &'a Lab, source: &Path, outgoing: Outgoing) -> Self {
        let files = WalkDir::new(source).into_iter().flatten();
        let total = files.filter_map(|file| file.metadata().ok()).filter(fs::Metadata::is_file);
        let total = total.map(|data| data.len()).sum();
        Self { lab, outgoing, what: format!("copying {}", source.display()), done: 0, total }
    }
}

impl Write for Input<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.lab.cancel.check().map_err(io::Error::other)?;
        let bytes = &bytes[..bytes.len().min(CHUNK)];
        if !self.outgoing.input(&Request::Stdin { data: bytes.to_vec() }) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.done += bytes.len() as u64;
        self.lab.progress(&self.what, self.done.min(self.total), self.total);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A program's standard output in the machine, as something to read from.
struct Output<'c, 'a> {
    conversation: &'c mut Conversation<'a>,
    bytes: Vec<u8>,
    read: usize,
    complaint: Vec<u8>,
    /// How it ended, once it has.
    end: Option<Exit>,
    /// Why nothing more can be heard of it.
    lost: Option<Error>,
}

impl<'c, 'a> Output<'c, 'a> {
    fn of(conversation: &'c mut Conversation<'a>) -> Self {
        Self { conversation, bytes: Vec::new(), read: 0, complaint: Vec::new(), end: None, lost: None }
    }

    /// Hears more, until there is output or it has ended.
    fn hear(&mut self) -> Result<()> {
        let cancel = self.conversation.cancel();
        match self.conversation.next(Some(&cancel))? {
            Reply::Output { stream: Stream::Stdout, data } => (self.bytes, self.read) = (data, 0),
            Reply::Output { stream: Stream::Stderr, data } => {
                let room = COMPLAINTS.saturating_sub(self.complaint.len());
                self.complaint.extend_from_slice(&data[..data.len().min(room)]);
            }
            Reply::Exited(exit) => self.end = Some(exit),
            Reply::Failed { action, errno } => {
                let (exit, why) = run::not_run(&action, errno);
                self.complaint = why.into_bytes();
                self.end = Some(exit);
            }
            other => return Err(unexpected("a program", &other)),
        }
        Ok(())
    }

    /// Whether nothing more comes of it.
    fn is_over(&self) -> bool {
        self.end.is_some() || self.lost.is_some()
    }

    /// Waits until it has ended. Gives what it complained of, where it failed.
    fn finish(mut self) -> Result<Option<String>> {
        while !self.is_over() {
            self.hear()?;
        }
        match (self.lost, self.end) {
            (Some(error), _) => Err(error),
            (None, Some(Exit::Status(0))) => Ok(None),
            (None, end) => {
                let complaint = String::from_utf8_lossy(&self.complaint).trim().to_owned();
                Ok(Some(if complaint.is_empty() { format!("it ended with {end:?}") } else { complaint }))
            }
        }
    }
}

impl Read for Output<'_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.bytes.len() {
            if self.is_over() {
                return Ok(0);
            }
            if let Err(error) = self.hear() {
                self.lost = Some(error);
            }
        }
        let length = buffer.len().min(self.bytes.len() - self.read);
        buffer[..length].copy_from_slice(&self.bytes[self.read..self.read + length]);
        self.read += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_before_any_slash_names_a_machine() {
        let there = |path: &str| Side::There(Name::parse("vm").unwrap(), path.to_owned());
        assert_eq!(Side::parse("vm:/etc/passwd").unwrap(), there("/etc/passwd"));
        assert_eq!(Side::parse("vm:tmp").unwrap(), there("/tmp"));
        assert_eq!(Side::parse("vm:").unwrap(), there("/"));
        for here in ["x", "./x:y", "/a:b", "a/b:c"] {
            assert_eq!(Side::parse(here).unwrap(), Side::Here(here.into()));
        }
        assert!(Side::parse("-x:y").is_err());
    }

    #[test]
    fn a_path_is_split_where_tar_can_be_told_so() {
        assert_eq!(split("/etc/passwd"), Some(("/etc", "passwd")));
        assert_eq!(split("/tmp/"), Some(("/", "tmp")));
        for whole in ["/", "//", "/x/.", "/x/.."] {
            assert_eq!(split(whole), None, "{whole}");
        }
    }

    #[test]
    fn a_copy_goes_into_a_folder_or_is_called_as_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let place = |path: &str| place_here(&at(path), "own").map_err(|error| error.to_string());
        assert_eq!(place(""), Ok((at(""), "own".into())));
        assert_eq!(place("new"), Ok((at(""), "new".into())));
        for missing in ["new/", "none/new"] {
            assert!(place(missing).unwrap_err().starts_with("there is no folder "), "{missing}");
        }
    }
}
