// SPDX-License-Identifier: GPL-2.0-only
//! The shared folder on the host: paths in, files out, and never a step outside.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Statx, StatxFlags};
use rustix::io::Errno;

use crate::nodes::Identity;
use crate::view::View;

/// The shared folder.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    descriptor: OwnedFd,
    view: View,
}

/// Something in the folder that was found, and is as long as this lives, whatever becomes of its name.
#[derive(Debug)]
pub(crate) struct Found {
    /// Opened for no more than to say which it is.
    place: OwnedFd,
    pub(crate) about: Statx,
}

impl Found {
    fn new(place: OwnedFd) -> Result<Self, Errno> {
        let about = look_at(place.as_fd())?;
        Ok(Self { place, about })
    }

    pub(crate) fn identity(&self) -> Identity {
        Identity::of(&self.about)
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(u32::from(self.about.stx_mode))
    }

    pub(crate) fn place(&self) -> BorrowedFd<'_> {
        self.place.as_fd()
    }

    /// Where the kernel shows this very file, for calls that take no descriptor of its kind.
    pub(crate) fn magic_path(&self) -> String {
        format!("/proc/self/fd/{}", self.place.as_raw_fd())
    }

    /// Opens it, which must be a file or a folder: opening a device or a pipe does something.
    pub(crate) fn open(&self, flags: OFlags) -> Result<File, Errno> {
        match self.kind() {
            FileType::RegularFile | FileType::Directory => {
                let opened = rustix::fs::open(self.magic_path(), flags | OFlags::CLOEXEC, Mode::empty());
                opened.map(File::from)
            }
            FileType::Symlink => Err(Errno::LOOP),
            _ => Err(Errno::NXIO),
        }
    }
}

/// What the kernel says of an open file.
pub(crate) fn look_at(file: BorrowedFd<'_>) -> Result<Statx, Errno> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    rustix::fs::statx(file, "", AtFlags::EMPTY_PATH | AtFlags::SYMLINK_NOFOLLOW, wanted)
}

impl Folder {
    /// Opens the folder at this path of the host.
    pub(crate) fn open(path: &Path, view: View) -> Result<Self, Errno> {
        let descriptor =
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let folder = Self { path: path.to_owned(), descriptor, view };
        // Whether this host's kernel can do what everything here stands on.
        folder.find(Path::new(""))?;
        Ok(folder)
    }

    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Finds what is shown at a path below the folder; a symbolic link at its end is found itself.
    ///
    /// # Errors
    ///
    /// `ENOENT` also for what is not shown; `ESTALE` when the way there has changed since it was gone.
    pub(crate) fn find(&self, path: &Path) -> Result<Found, Errno> {
        if !self.view.shows_path(&self.path.join(path)) {
            return Err(Errno::NOENT);
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let found = Found::new(self.resolve(path, flags)?)?;
        let about = &found.about;
        let device = rustix::fs::makedev(about.stx_dev_major, about.stx_dev_minor);
        if !self.view.shows_inode(device, about.stx_ino) {
            return Err(Errno::NOENT);
        }
        Ok(found)
    }

    fn resolve(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let opened = rustix::fs::openat2(&self.descriptor, path, flags, Mode::empty(), within);
        // A folder on the way has become a symbolic link.
        opened.map_err(|errno| if errno == Errno::LOOP { Errno::STALE } else { errno })
    }

    /// Whether a thing of this name may be made in a folder.
    pub(crate) fn may_make(&self, folder: &Path, name: &OsStr) -> Result<(), Errno> {
        let shown = self.view.shows_path(&self.path.join(folder).join(name));
        if shown { Ok(()) } else { Err(Errno::ACCESS) }
    }

    /// Whether the folder at this path is shown without anything in it.
    pub(crate) fn is_empty(&self, path: &Path) -> bool {
        self.view.is_empty(&self.path.join(path))
    }

    /// Whether a folder's entry is shown, as far as its name says it, and its number where that is one of the file
    /// system that holds the folder.
    pub(crate) fn lists(&self, folder: &Path, name: &OsStr, about: &Statx, number: u64) -> bool {
        self.view.shows_path(&self.path.join(folder).join(name))
            && self.view.shows_inode(rustix::fs::makedev(about.stx_dev_major, about.stx_dev_minor), number)
    }
}

/// Gives a file that was found another mode, which is not possible through what finds it alone.
pub(crate) fn set_mode(found: &Found, mode: u32) -> Result<(), Errno> {
    match found.kind() {
        FileType::RegularFile | FileType::Directory => {
            let mode = Mode::from_raw_mode(mode & 0o7777);
            rustix::fs::chmodat(CWD, found.magic_path(), mode, AtFlags::empty())
        }
        _ => Err(Errno::OPNOTSUPP),
    }
}
