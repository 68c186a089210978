// SPDX-License-Identifier: GPL-2.0-only
//! A tar stream from a machine is unpacked as what it is: an allegation. Nothing is put outside of its one place,
//! whatever the stream names or links to; what is neither file, folder nor link is refused; and what claims to be
//! larger than the space there is as well.

use std::cell::Cell;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::error::{Context, Error, Result};

/// The most bytes that say something about one entry: its name, its times.
const DESCRIPTION: u64 = 1 << 20;

/// How much is copied at once.
const PIECE: usize = 256 << 10;

/// Where a stream is unpacked.
pub(super) struct Unpacker {
    root: OwnedFd,
    /// What all entries are, or are in, and what that is called here.
    own: OsString,
    target: OsString,
    /// The folders that were made, and their modes. They get them last, since one may not be writable.
    folders: Vec<(PathBuf, Mode)>,
}

impl Unpacker {
    /// Unpacks what the stream calls `own` into the folder `place`, as `target`.
    pub(super) fn new(place: &Path, own: &str, target: OsString) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(place, flags, Mode::empty());
        let root = root.context(|| format!("open {}", place.display()))?;
        Ok(Self { root, own: own.into(), target, folders: Vec::new() })
    }

    /// Unpacks all of the stream. `progress` gets the bytes so far, and may stop it.
    pub(super) fn unpack(
        mut self,
        stream: &mut dyn Read,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let limit = Cell::new(None);
        let mut archive = Archive::new(Limited { stream, left: &limit });
        let unreadable = || "read what tar in the machine has sent".to_owned();
        let mut entries = archive.entries().context(unreadable)?;
        let mut done = 0;
        loop {
            limit.set(Some(DESCRIPTION));
            let Some(entry) = entries.next() else { break };
            let mut entry = entry.context(unreadable)?;
            limit.set(None);
            let named = entry.path().context(unreadable)?.into_owned();
            self.put(&mut entry, &named, &mut |bytes| {
                done += bytes;
                progress(done)
            })
            .map_err(|error| error.while_doing(&format!("unpack {}", named.display())))?;
        }
        for (folder, mode) in self.folders.iter().rev() {
            let what = || format!("set the mode of {}", folder.display());
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened =
                rustix::fs::openat2(&self.root, folder, flags, Mode::empty(), BENEATH).context(what)?;
            rustix::fs::fchmod(opened, *mode).context(what)?;
        }
        Ok(())
    }

    fn put(
        &mut self,
        entry: &mut Entry<'_, impl Read>,
        named: &Path,
        progress: &mut dyn FnMut(u64) -> Result<()>,
    ) -> Result<()> {
        let path = self.place(named)?;
        let (folder, name) = self.open_parent(&path)?;
        let mode = mode_of(entry)?;
        match entry.header().entry_type() {
            EntryType::Directory => {
                if make_folder(&folder, &name)? {
                    self.folders.push((path, mode));
                }
                Ok(())
            }
            EntryType::Regular | EntryType::Continuous => {
                self.require_space(entry.size())?;
                remove(&folder, &name)?;
                write(entry, &folder, &name, mode, progress).inspect_err(|_| {
                    // Half a file is worse than none.
                    let _ = rustix::fs::unlinkat(&folder, &name, AtFlags::empty());
                })
            }
            EntryType::Symlink => {
                let target = link_target(entry)?;
                remove(&folder, &name)?;
                rustix::fs::symlinkat(&target, &folder, &name).context(|| "make the link".to_owned())
            }
            EntryType::Link => {
                let target = self.place(&link_target(entry)?)?;
                let (target_folder, target_name) = self.open_parent(&target)?;
                remove(&folder, &name)?;
                rustix::fs::linkat(&target_folder, &target_name, &folder, &name, AtFlags::empty())
                    .context(|| format!("link it to {}", target.display()))
            }
            _ => Err(Error::lab("it is neither a file, a folder nor a link, and is not made here")),
        }
    }

    /// Where something goes, relative to the root.
    fn place(&self, named: &Path) -> Result<PathBuf> {
        let outside = || Error::lab(format!("{} is not what was asked for", named.display()));
        let mut parts = named.components().filter(|part| *part != Component::CurDir);
        if parts.next() != Some(Component::Normal(&self.own)) {
            return Err(outside());
        }
        let mut path = PathBuf::from(&self.target);
        for part in parts {
            let Component::Normal(part) = part else { return Err(outside()) };
            path.push(part);
        }
        Ok(path)
    }

    /// The folder that something is to be in, and its name there. No link is followed on the way.
    fn open_parent(&self, path: &Path) -> Result<(OwnedFd, OsString)> {
        let name = path.file_name().unwrap_or_default().to_owned();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = rustix::fs::openat2(&self.root, parent, flags, Mode::empty(), BENEATH);
        Ok((folder.context(|| format!("open the folder {}", parent.display()))?, name))
    }

    fn require_space(&self, bytes: u64) -> Result<()> {
        let what = || "ask for the space that is left".to_owned();
        // What was opened as a mere path can't be asked.
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(&self.root, ".", flags, Mode::empty()).context(what)?;
        let data = rustix::fs::fstatvfs(root).context(what)?;
        let free = data.f_bavail * data.f_frsize;
        if bytes <= free {
            return Ok(());
        }
        let (bytes, free) = (bytes.div_ceil(1_000_000), free / 1_000_000);
        Err(Error::lab(format!("no space for it: it takes {bytes} MB, and {free} MB are left"))
            .with_remedy("make space on that file system, then run the command again"))
    }
}

/// How paths in the stream are followed: never out of the root, and along no links.
const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_MAGICLINKS);

/// Permissions, without those that would let others act for the user.
fn mode_of(entry: &Entry<'_, impl Read>) -> Result<Mode> {
    let mode = entry.header().mode().context(|| "read its mode".to_owned())?;
    Ok(Mode::from_raw_mode(mode & 0o777))
}

fn link_target(entry: &Entry<'_, impl Read>) -> Result<PathBuf> {
    let target = entry.link_name().context(|| "read where it links to".to_owned())?;
    target.map(|path| path.into_owned()).ok_or_else(|| Error::lab("it is a link to nothing"))
}

/// Makes a folder where there is none. Says whether it did.
fn make_folder(folder: &OwnedFd, name: &OsStr) -> Result<bool> {
    let what = || "make the folder".to_owned();
    match rustix::fs::mkdirat(folder, name, Mode::RWXU) {
        Err(Errno::EXIST) => {
            let data = rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).context(what)?;
            if FileType::from_raw_mode(data.st_mode).is_dir() {
                return Ok(false);
            }
            Err(Error::lab("what is there already is no folder"))
        }
        made => made.map(|()| true).context(what),
    }
}

/// Removes what is in the way, unless it is a folder.
fn remove(folder: &OwnedFd, name: &OsStr) -> Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(Errno::ISDIR) => Err(Error::lab("what is there already is a folder")),
        Err(error) => Err(error).context(|| "replace what is there already".to_owned()),
    }
}

fn write(
    entry: &mut Entry<'_, impl Read>,
    folder: &OwnedFd,
    name: &OsStr,
    mode: Mode,
    progress: &mut dyn FnMut(u64) -> Result<()>,
) -> Result<()> {
    let what = || "write it".to_owned();
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(folder, name, flags, Mode::RUSR | Mode::WUSR).context(what)?;
    let mut file = File::from(file);
    let mut buffer = vec![0; PIECE];
    let mut left = entry.size();
    while left > 0 {
        let length = entry.read(&mut buffer).context(|| "read it from the stream".to_owned())?;
        if length == 0 {
            return Err(Error::lab("the stream ends in the middle of it"));
        }
        io::Write::write_all(&mut file, &buffer[..length]).context(what)?;
        left -= length as u64;
        progress(length as u64)?;
    }
    rustix::fs::fchmod(&file, mode).context(what)?;
    if let Ok(seconds) = entry.header().mtime()
        && let Some(time) = UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
    {
        // A time that this file system can't keep is no loss.
        let _ = file.set_modified(time);
    }
    Ok(())
}

/// A stream of which only so much may be read at times: what describes an entry is kept in memory.
struct Limited<'a> {
    stream: &'a mut dyn Read,
    left: &'a Cell<Option<u64>>,
}

impl Read for Limited<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.stream.read(buffer)?;
        match self.left.get().map(|left| left.checked_sub(length as u64)) {
            None => {}
            Some(None) => return Err(io::Error::other("an entry is described at too great a length")),
            left => self.left.set(left.flatten()),
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use tar::{Builder, Header};

    use super::*;

    /// A stream that is made of whatever entries one likes.
    struct Stream(Builder<Vec<u8>>);

    impl Stream {
        fn new() -> Self {
            Self(Builder::new(Vec::new()))
        }

        /// An entry with a name that an honest tar would not write.
        fn entry(mut self, kind: EntryType, name: &str, link: &str, mode: u32, data: &[u8]) -> Self {
            let mut header = Header::new_gnu();
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
            header.set_entry_type(kind);
            header.set_mode(mode);
            header.set_mtime(1_000_000_000);
            header.set_size(data.len() as u64);
            header.set_cksum();
            self.0.append(&header, data).unwrap();
            self
        }

        fn file(self, name: &str, data: &str) -> Self {
            self.entry(EntryType::Regular, name, "", 0o644, data.as_bytes())
        }

        fn folder(self, name: &str) -> Self {
            self.entry(EntryType::Directory, name, "", 0o755, b"")
        }

        fn link(self, kind: EntryType, name: &str, target: &str) -> Self {
            self.entry(kind, name, target, 0o777, b"")
        }

        fn unpack(self, place: &Path) -> Result<(), String> {
            unpack(&self.0.into_inner().unwrap(), place)
        }
    }

    fn unpack(mut bytes: &[u8], place: &Path) -> Result<(), String> {
        let unpacked = Unpacker::new(place, "own", "target".into())
            .and_then(|unpacker| unpacker.unpack(&mut bytes, &mut |_| Ok(())));
        unpacked.map_err(|error| {
            let causes = std::iter::successors(std::error::Error::source(&error), |&cause| cause.source());
            causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
        })
    }

    /// A folder to unpack to, beside one that must not change.
    fn scene() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (place, outside) = (dir.path().join("place"), dir.path().join("outside"));
        for folder in [&place, &outside] {
            fs::create_dir(folder).unwrap();
        }
        (dir, place, outside)
    }

    #[test]
    fn files_folders_and_links_come_out_as_they_were() {
        let (_dir, place, _) = scene();
        let stream = Stream::new()
            .entry(EntryType::Directory, "./own/", "", 0o555, b"")
            .entry(EntryType::Regular, "./own/run", "", 0o6755, b"#!/bin/sh")
            .link(EntryType::Link, "./own/same", "./own/run")
            .link(EntryType::Symlink, "./own/far", "/etc/passwd");
        stream.unpack(&place).unwrap();
        let target = place.join("target");
        let mode =
            |path: &str| fs::symlink_metadata(target.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode(""), mode("run")), (0o555, 0o755), "nobody acts for the user");
        let data = fs::metadata(target.join("run")).unwrap();
        assert_eq!((data.len(), data.nlink(), data.mtime()), (9, 2, 1_000_000_000));
        assert_eq!(fs::read_link(target.join("far")).unwrap(), Path::new("/etc/passwd"));
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn what_is_there_is_replaced_where_it_is_a_file_or_a_link() {
        let (_dir, place, outside) = scene();
        let kept = outside.join("kept");
        fs::write(&kept, "kept").unwrap();
        symlink(&kept, place.join("target")).unwrap();
        Stream::new().file("own", "new").unpack(&place).unwrap();
        assert!(!place.join("target").is_symlink());
        assert_eq!(fs::read_to_string(&kept).unwrap(), "kept");
        let error = Stream::new().folder("own").unpack(&place).unwrap_err();
        assert_eq!(error, "unpack own: what is there already is no folder");
        fs::remove_file(place.join("target")).unwrap();
        fs::create_dir(place.join("target")).unwrap();
        let error = Stream::new().file("own", "").unpack(&place).unwrap_err();
        assert_eq!(error, "unpack own: what is there already is a folder");
    }

    #[test]
    fn nothing_gets_out_of_its_place() {
        let evil = "evil";
        let device = |kind| Stream::new().folder("own").entry(kind, "own/x", "", 0o644, b"");
        let streams = [
            Stream::new().file("/own", evil),
            Stream::new().file("../own", evil),
            Stream::new().file("other", evil),
            Stream::new().file("own/../../outside/x", evil),
            Stream::new().file("own/../own", evil),
            Stream::new()
                .folder("own")
                .link(EntryType::Symlink, "own/a", "../../outside")
                .file("own/a/x", evil),
            Stream::new().link(EntryType::Symlink, "own", "../outside").file("own/x", evil),
            Stream::new().link(EntryType::Symlink, "own", "../outside").folder("own"),
            Stream::new().folder("own").link(EntryType::Link, "own/x", "../outside/kept"),
            Stream::new().folder("own").link(EntryType::Link, "own/x", "/etc/passwd"),
            device(EntryType::Char),
            device(EntryType::Block),
            device(EntryType::Fifo),
            device(EntryType::GNUSparse),
        ];
        for (index, stream) in streams.into_iter().enumerate() {
            let (_dir, place, outside) = scene();
            fs::write(outside.join("kept"), "kept").unwrap();
            let error = stream.unpack(&place);
            assert!(error.is_err(), "{index}");
            let names: Vec<_> = fs::read_dir(&outside).unwrap().flatten().map(|e| e.file_name()).collect();
            assert_eq!(names, ["kept"], "{index}");
            assert_eq!(fs::metadata(outside.join("kept")).unwrap().nlink(), 1, "{index}");
        }
    }

    /// An entry of this size, of which only the header comes.
    fn announced(kind: EntryType, size: u64) -> Vec<u8> {
        let mut header = Header::new_gnu();
        header.set_path("own").unwrap();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    }

    #[test]
    fn what_is_larger_than_the_space_is_refused_before_it_comes() {
        let (_dir, place, _) = scene();
        let error = unpack(&announced(EntryType::Regular, 1 << 60), &place).unwrap_err();
        assert!(error.starts_with("unpack own: no space for it: it takes 1152921504607 MB, "), "{error}");
        assert!(fs::read_dir(&place).unwrap().next().is_none());
    }

    #[test]
    fn a_name_without_an_end_is_not_kept() {
        let (_dir, place, _) = scene();
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let mut stream = announced(kind, 1 << 40);
            stream.resize(DESCRIPTION as usize + 1024, b'x');
            let error = unpack(&stream, &place).unwrap_err();
            assert!(error.contains("at too great a length"), "{kind:?}: {error}");
        }
    }

    #[test]
    fn half_a_file_is_none() {
        let (_dir, place, _) = scene();
        let mut stream = announced(EntryType::Regular, 4096);
        stream.resize(1024, b'x');
        let error = unpack(&stream, &place).unwrap_err();
        assert_eq!(error, "unpack own: the stream ends in the middle of it");
        assert!(fs::read_dir(&place).unwrap().next().is_none());
    }
}
