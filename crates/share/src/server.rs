// SPDX-License-Identifier: GPL-2.0-only
//! From a request to its reply.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, Mode, OFlags, RawDir, RenameFlags, SeekFrom, Statx, Timespec, Timestamps,
};
use rustix::io::Errno;
use thiserror::Error;

use crate::LARGEST_TRANSFER;
use crate::folder::{Folder, Found, look_at, set_mode};
use crate::nodes::{Identity, Nodes};
use crate::reply::{Attributes, ENTRY, Reply, failed, folder_entry_size};
use crate::request::{Changes, Header, Name, Request, Time};
use crate::view::View;

/// What came is no request at all: nothing that follows can be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("what came is no request of a FUSE client")]
pub struct Garbage;

/// How a folder is shared.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether the guest may change it. Otherwise every attempt fails with `EROFS`.
    pub writable: bool,
    /// How long the guest may believe what it was told of a file or of a name, and keep content that it has read.
    /// Nothing means that it looks each time it opens something: changes on the host are seen at once.
    pub valid: Duration,
    /// What is shown.
    pub view: View,
}

/// The most files and folders that are open at once.
const MOST_OPEN: usize = 512;

/// How many files stay open for a guest that opens none by itself.
const KEPT_OPEN: usize = 32;

/// Serves one folder to one guest.
#[derive(Debug)]
pub struct Server {
    folder: Folder,
    writable: bool,
    valid: Duration,
    nodes: Nodes,
    open: HashMap<u64, File>,
    next_handle: u64,
    /// Files that were read by their node alone, the one used last in front.
    recent: VecDeque<(u64, File)>,
    /// The devices that were seen, in their order: inode numbers are only different on one of them.
    devices: Vec<(u32, u32)>,
    /// Who we are, and so who the guest's root is.
    user: (u32, u32),
}

/// The outcome of a request; `None` when it is never answered.
type Answer = Result<Option<Reply>, Errno>;

fn done() -> Answer {
    Ok(Some(Reply::with_room(0)))
}

impl Server {
    /// Shares the folder at this absolute path of the host.
    ///
    /// # Errors
    ///
    /// When it is no folder that may be looked into; with [`Unsupported`](std::io::ErrorKind::Unsupported) where the
    /// host's kernel has no `openat2(2)` (Linux 5.6).
    pub fn new(path: &Path, options: Options) -> std::io::Result<Self> {
        let path = path.canonicalize()?;
        let folder = Folder::open(&path, options.view)?;
        let root = folder.find(Path::new(""))?;
        Ok(Self {
            folder,
            writable: options.writable,
            valid: options.valid,
            nodes: Nodes::new(root.identity()),
            open: HashMap::new(),
            next_handle: 1,
            recent: VecDeque::new(),
            devices: Vec::new(),
            user: (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
        })
    }

    /// Carries a request out. Gives the reply; nothing for the few requests that have none.
    ///
    /// # Errors
    ///
    /// [`Garbage`], when it is not even the beginning of a request. Whatever else is wrong is said in the reply.
    pub fn answer(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, Garbage> {
        let (header, body) = Header::parse(message).ok_or(Garbage)?;
        let answer = Request::parse(&header, body).and_then(|request| self.carry_out(header.node, request));
        Ok(match answer {
            Ok(reply) => reply.map(|reply| reply.finish(header.unique)),
            Err(errno) => Some(failed(header.unique, errno)),
        })
    }

    fn carry_out(&mut self, node: u64, request: Request<'_>) -> Answer {
        match request {
            Request::Init { major, read_ahead, flags } => self.init(major, read_ahead, flags),
            Request::Lookup { name } => self.look_up(node, name),
            Request::Forget(forgotten) => {
                forgotten.into_iter().for_each(|(node, lookups)| self.nodes.forget(node, lookups));
                Ok(None)
            }
            Request::Interrupt => Ok(None),
            Request::Destroy => done(),
            Request::GetAttributes { handle } => self.attributes_of(node, handle),
            Request::ReadLink => self.read_link(node),
            Request::Open { flags } => self.open_file(node, flags),
            Request::Read { handle, offset, size } => self.read(node, handle, offset, size),
            Request::Release { handle } => {
                self.open.remove(&handle);
                done()
            }
            Request::OpenFolder => self.open_folder(node),
            Request::ReadFolder { handle, offset, size, plus } => {
                self.read_folder(node, handle, offset, size, plus)
            }
            Request::StatFs => {
                let about = rustix::fs::fstatvfs(self.folder.descriptor())?;
                let mut reply = Reply::with_room(80);
                reply.file_system(&about);
                Ok(Some(reply))
            }
            change => {
                if !self.writable {
                    return Err(Errno::ROFS);
                }
                self.change(node, change)
            }
        }
    }

    /// The requests that only a writable share carries out.
    fn change(&mut self, node: u64, request: Request<'_>) -> Answer {
        match request {
            Request::Change(changes) => self.change_attributes(node, &changes),
            Request::Create { name, flags, mode } => self.create(node, name, flags, mode),
            Request::Write { handle, offset, data } => self.write(handle, offset, data),
            Request::Sync { handle } => {
                rustix::fs::fsync(self.handle(handle)?)?;
                done()
            }
            Request::MakeNode { name, mode } => match FileType::from_raw_mode(mode) {
                FileType::RegularFile => self.make(node, name, |folder, name| {
                    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
                    rustix::fs::openat(folder, name, flags, permissions(mode)).map(drop)
                }),
                _ => Err(Errno::PERM),
            },
            Request::MakeFolder { name, mode } => {
                self.make(node, name, |folder, name| rustix::fs::mkdirat(folder, name, permissions(mode)))
            }
            Request::Symlink { name, target } => {
                self.make(node, name, |folder, name| rustix::fs::symlinkat(target, folder, name))
            }
            Request::Link { node: file, name } => {
                let file = self.find(file)?;
                self.make(node, name, |folder, name| {
                    rustix::fs::linkat(
                        rustix::fs::CWD,
                        file.magic_path(),
                        folder,
                        name,
                        AtFlags::SYMLINK_FOLLOW,
                    )
                })
            }
            Request::Unlink { name } => self.remove(node, name, AtFlags::empty()),
            Request::RemoveFolder { name } => self.remove(node, name, AtFlags::REMOVEDIR),
            Request::Rename { name, folder, new_name, flags } => {
                self.rename(node, name, folder, new_name, flags)
            }
            _ => Err(Errno::NOSYS),
        }
    }

    /// Whether the guest may keep what it was told, and needs to open nothing.
    fn is_kept(&self) -> bool {
        !self.valid.is_zero() && !self.writable
    }

    fn init(&mut self, major: u32, read_ahead: u32, offered: u32) -> Answer {
        const ASYNC_READ: u32 = 1 << 0;
        const ATOMIC_O_TRUNC: u32 = 1 << 3;
        const BIG_WRITES: u32 = 1 << 5;
        const AUTO_INVAL_DATA: u32 = 1 << 12;
        const DO_READDIRPLUS: u32 = 1 << 13;
        const READDIRPLUS_AUTO: u32 = 1 << 14;
        const NO_OPEN_SUPPORT: u32 = 1 << 17;
        const PARALLEL_DIROPS: u32 = 1 << 18;
        const ABORT_ERROR: u32 = 1 << 21;
        const MAX_PAGES: u32 = 1 << 22;
        const CACHE_SYMLINKS: u32 = 1 << 23;
        const NO_OPENDIR_SUPPORT: u32 = 1 << 24;
        let mut wanted = ASYNC_READ
            | ATOMIC_O_TRUNC
            | BIG_WRITES
            | AUTO_INVAL_DATA
            | PARALLEL_DIROPS
            | ABORT_ERROR
            | MAX_PAGES;
        if self.is_kept() {
            wanted |=
                DO_READDIRPLUS | READDIRPLUS_AUTO | NO_OPEN_SUPPORT | CACHE_SYMLINKS | NO_OPENDIR_SUPPORT;
        }
        if major != 7 {
            return Err(Errno::PROTO);
        }
        let mut reply = Reply::with_room(64);
        reply.u32(7).u32(31).u32(read_ahead.min(LARGEST_TRANSFER)).u32(wanted & offered);
        reply.u16(64).u16(48).u32(LARGEST_TRANSFER).u32(1);
        reply.u16((LARGEST_TRANSFER / 4096) as u16).u16(0).zeros(32);
        Ok(Some(reply))
    }

    /// Finds the file that a node stands for, unless another one is in its place by now.
    fn find(&self, node: u64) -> Result<Found, Errno> {
        let found = self.folder.find(&self.nodes.path(node)?)?;
        if self.nodes.is(node, found.identity()) { Ok(found) } else { Err(Errno::STALE) }
    }

    fn handle(&self, handle: u64) -> Result<&File, Errno> {
        self.open.get(&handle).ok_or(Errno::BADF)
    }

    fn keep(&mut self, file: File) -> Result<u64, Errno> {
        if self.open.len() >= MOST_OPEN {
            return Err(Errno::NFILE);
        }
        let handle = self.next_handle;
        self.next_handle += 1;
        self.open.insert(handle, file);
        Ok(handle)
    }

    fn attributes(&mut self, found: Statx) -> Attributes {
        let device = (found.stx_dev_major, found.stx_dev_minor);
        let index = self.devices.iter().position(|known| *known == device).unwrap_or_else(|| {
            self.devices.push(device);
            self.devices.len() - 1
        });
        let (user, group) = self.user;
        Attributes {
            found,
            number: found.stx_ino ^ ((index as u64) << 48),
            owner: if found.stx_uid == user { 0 } else { found.stx_uid },
            group: if found.stx_gid == group { 0 } else { found.stx_gid },
        }
    }

    fn look_up(&mut self, folder: u64, name: Name<'_>) -> Answer {
        let path = self.nodes.path(folder)?.join(name.as_os_str());
        let mut reply = Reply::with_room(ENTRY);
        match self.folder.find(&path) {
            Ok(found) => self.tell_entry(&mut reply, &found, folder, name.as_os_str())?,
            Err(Errno::NOENT) if !self.valid.is_zero() => {
                reply.no_entry(self.valid);
            }
            Err(errno) => return Err(errno),
        }
        Ok(Some(reply))
    }

    /// Says what was found under this name, which counts as a look-up.
    fn tell_entry(
        &mut self,
        reply: &mut Reply,
        found: &Found,
        folder: u64,
        name: &OsStr,
    ) -> Result<(), Errno> {
        let node = self.nodes.look_up(found.identity(), folder, name)?;
        let attributes = self.attributes(found.about);
        reply.entry(node, &attributes, self.valid);
        Ok(())
    }

    fn attributes_of(&mut self, node: u64, handle: Option<u64>) -> Answer {
        let open = handle.and_then(|handle| self.open.get(&handle));
        let about = match open {
            Some(file) => look_at(file.as_fd())?,
            None => self.find(node)?.about,
        };
        let attributes = self.attributes(about);
        let mut reply = Reply::with_room(104);
        reply.attributes_for(&attributes, self.valid);
        Ok(Some(reply))
    }

    fn read_link(&mut self, node: u64) -> Answer {
        let found = self.find(node)?;
        let target = rustix::fs::readlinkat(found.place(), "", Vec::new())?;
        let mut reply = Reply::with_room(target.as_bytes().len());
        reply.bytes(target.as_bytes());
        Ok(Some(reply))
    }

    fn open_file(&mut self, node: u64, flags: u32) -> Answer {
        if self.is_kept() {
            // The kernel opens nothing from then on, and reads by the node.
            return Err(Errno::NOSYS);
        }
        let flags = self.flags(flags)?;
        let file = self.find(node)?.open(flags)?;
        let mut reply = Reply::with_room(16);
        reply.opened(self.keep(file)?);
        Ok(Some(reply))
    }

    /// The flags that a file is opened with here. What is appended is written where the guest says.
    fn flags(&self, flags: u32) -> Result<OFlags, Errno> {
        let asked = OFlags::from_bits_retain(flags);
        let access = asked & OFlags::ACCMODE;
        let changes = access != OFlags::RDONLY || asked.contains(OFlags::TRUNC);
        if changes && !self.writable {
            return Err(Errno::ROFS);
        }
        // A guest that has pages of a file to fill may read what a program opened only to write.
        let access = if access == OFlags::WRONLY { OFlags::RDWR } else { access };
        Ok(access | (asked & OFlags::TRUNC) | OFlags::NONBLOCK)
    }

    fn read(&mut self, node: u64, handle: u64, offset: u64, size: u32) -> Answer {
        let size = size.min(LARGEST_TRANSFER) as usize;
        let mut reply = Reply::with_room(size);
        let file = match self.open.get(&handle) {
            Some(file) => file,
            None if self.is_kept() => self.recently_read(node, FileType::RegularFile)?,
            None => return Err(Errno::BADF),
        };
        let length = read_at(file, reply.space(size), offset)?;
        reply.truncate(length);
        Ok(Some(reply))
    }

    /// A file that is open since it was read before, or is opened now.
    fn recently_read(&mut self, node: u64, kind: FileType) -> Result<&File, Errno> {
        match self.recent.iter().position(|(known, _)| *known == node) {
            Some(0) => {}
            Some(place) => {
                if let Some(entry) = self.recent.remove(place) {
                    self.recent.push_front(entry);
                }
            }
            None => {
                let found = self.find(node)?;
                if found.kind() != kind {
                    return Err(Errno::INVAL);
                }
                let file = found.open(OFlags::RDONLY | OFlags::NONBLOCK)?;
                self.recent.push_front((node, file));
                self.recent.truncate(KEPT_OPEN);
            }
        }
        self.recent.front().map(|(_, file)| file).ok_or(Errno::BADF)
    }

    fn open_folder(&mut self, node: u64) -> Answer {
        if self.is_kept() {
            return Err(Errno::NOSYS);
        }
        let file = self.find(node)?.open(OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut reply = Reply::with_room(16);
        reply.opened(self.keep(file)?);
        Ok(Some(reply))
    }

    fn read_folder(&mut self, node: u64, handle: u64, offset: u64, size: u32, plus: bool) -> Answer {
        let size = size.min(LARGEST_TRANSFER) as usize;
        let path = self.nodes.path(node)?;
        let mut reply = Reply::with_room(size);
        if self.folder.is_empty(&path) {
            return Ok(Some(reply));
        }
        let folder = match self.open.get(&handle) {
            Some(folder) => folder,
            None if self.is_kept() => self.recently_read(node, FileType::Directory)?,
            None => return Err(Errno::BADF),
        };
        let folder = folder.try_clone().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        rustix::fs::seek(&folder, SeekFrom::Start(offset))?;
        let about = look_at(folder.as_fd())?;
        let mut buffer = vec![MaybeUninit::uninit(); size.clamp(1024, 32 << 10)];
        let mut entries = RawDir::new(folder, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let room = folder_entry_size(name) + if plus { ENTRY } else { 0 };
            if reply.len() + room > size {
                break;
            }
            let own = [&b"."[..], b".."].contains(&name);
            let os_name = OsStr::from_bytes(name);
            if !own && !self.folder.lists(&path, os_name, &about, entry.ino()) {
                continue;
            }
            if plus {
                // What can't be looked up now is looked up, and fails, when it is wanted.
                let found = if own { None } else { self.folder.find(&path.join(os_name)).ok() };
                match found {
                    Some(found) => self.tell_entry(&mut reply, &found, node, os_name)?,
                    None => {
                        reply.zeros(ENTRY);
                    }
                }
            }
            let kind = entry.file_type().as_raw_mode() >> 12;
            reply.folder_entry(entry.ino(), entry.next_entry_cookie(), kind, name);
        }
        Ok(Some(reply))
    }

    fn write(&mut self, handle: u64, offset: u64, data: &[u8]) -> Answer {
        let file = self.handle(handle)?;
        file.write_all_at(data, offset).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        let mut reply = Reply::with_room(8);
        reply.u32(data.len() as u32).u32(0);
        Ok(Some(reply))
    }

    fn create(&mut self, node: u64, name: Name<'_>, flags: u32, mode: u32) -> Answer {
        let path = self.nodes.path(node)?;
        self.folder.may_make(&path, name.as_os_str())?;
        let folder = self.find(node)?;
        let exclusive = OFlags::from_bits_retain(flags).contains(OFlags::EXCL);
        let flags = self.flags(flags)?;
        // Only what is made here is opened like this: what was there may be what is not shown, or a pipe.
        let making = flags | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(folder.place(), name.as_os_str(), making, permissions(mode));
        let found = self.folder.find(&path.join(name.as_os_str()));
        let (file, found) = match made {
            Err(Errno::EXIST) if !exclusive => found.and_then(|found| Ok((found.open(flags)?, found)))?,
            made => (File::from(made?), found?),
        };
        if found.identity() != Identity::of(&look_at(file.as_fd())?) {
            return Err(Errno::STALE);
        }
        let mut reply = Reply::with_room(ENTRY + 16);
        let handle = self.keep(file)?;
        self.tell_entry(&mut reply, &found, node, name.as_os_str())?;
        reply.opened(handle);
        Ok(Some(reply))
    }

    /// Makes something with this name in a folder, and looks it up.
    fn make(
        &mut self,
        node: u64,
        name: Name<'_>,
        make: impl FnOnce(std::os::fd::BorrowedFd<'_>, &OsStr) -> Result<(), Errno>,
    ) -> Answer {
        self.folder.may_make(&self.nodes.path(node)?, name.as_os_str())?;
        make(self.find(node)?.place(), name.as_os_str())?;
        self.look_up(node, name)
    }

    fn remove(&mut self, node: u64, name: Name<'_>, flags: AtFlags) -> Answer {
        // What is not shown can't be removed either.
        self.folder.find(&self.nodes.path(node)?.join(name.as_os_str()))?;
        rustix::fs::unlinkat(self.find(node)?.place(), name.as_os_str(), flags)?;
        done()
    }

    fn rename(&mut self, node: u64, name: Name<'_>, to: u64, new_name: Name<'_>, flags: u32) -> Answer {
        let (name, new_name) = (name.as_os_str(), new_name.as_os_str());
        let (path, new_path) = (self.nodes.path(node)?, self.nodes.path(to)?);
        let found = self.folder.find(&path.join(name))?;
        self.folder.may_make(&new_path, new_name)?;
        let flags = RenameFlags::from_bits(flags)
            .filter(|flags| !flags.contains(RenameFlags::WHITEOUT))
            .ok_or(Errno::INVAL)?;
        let other = match flags.contains(RenameFlags::EXCHANGE) {
            true => Some(self.folder.find(&new_path.join(new_name))?),
            false => None,
        };
        rustix::fs::renameat_with(self.find(node)?.place(), name, self.find(to)?.place(), new_name, flags)?;
        self.nodes.rename(found.identity(), to, new_name);
        if let Some(other) = other {
            self.nodes.rename(other.identity(), node, name);
        }
        done()
    }

    fn change_attributes(&mut self, node: u64, changes: &Changes) -> Answer {
        let found = self.find(node)?;
        let attributes = self.attributes(found.about);
        // Ours is whose it is; there is nobody to give it to.
        let given_away = changes.owner.is_some_and(|owner| owner != attributes.owner)
            || changes.group.is_some_and(|group| group != attributes.group);
        if given_away {
            return Err(Errno::PERM);
        }
        if let Some(mode) = changes.mode {
            set_mode(&found, mode)?;
        }
        if let Some(size) = changes.size {
            match changes.handle.and_then(|handle| self.open.get(&handle)) {
                Some(file) => rustix::fs::ftruncate(file, size)?,
                None => rustix::fs::ftruncate(found.open(OFlags::WRONLY | OFlags::NONBLOCK)?, size)?,
            }
        }
        if changes.accessed.is_some() || changes.modified.is_some() {
            let times = Timestamps {
                last_access: timespec(changes.accessed),
                last_modification: timespec(changes.modified),
            };
            match found.kind() {
                FileType::Symlink => return Err(Errno::OPNOTSUPP),
                _ => rustix::fs::utimensat(rustix::fs::CWD, found.magic_path(), &times, AtFlags::empty())?,
            }
        }
        self.attributes_of(node, changes.handle)
    }
}

/// The permission bits of a new file.
fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

fn timespec(time: Option<Time>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        Some(Time::Now) => Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_NOW },
        Some(Time::At { seconds, nanoseconds }) => Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() },
    }
}

/// Reads until the space is full or the file ends. A guest takes less for the end.
fn read_at(file: &File, space: &mut [u8], offset: u64) -> Result<usize, Errno> {
    let mut filled = 0;
    while filled < space.len() {
        let position = offset.checked_add(filled as u64).ok_or(Errno::INVAL)?;
        match file.read_at(&mut space[filled..], position) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
        }
    }
    Ok(filled)
}
