// SPDX-License-Identifier: GPL-2.0-only
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use wire::{Channel, FrameError, Reply, SHARE_MESSAGE};

use crate::job::{Failure, Job, Kind, Step, Streams};
use crate::port::Port;
use crate::sys;

/// The most that changed files of a root may take, since a machine has no more memory than it needs.
const MEMORY: &str = "mode=0755,size=75%";

/// What of the machine's own is in a root that was made for programs.
const OWN: [&str; 5] = ["proc", "sys", "dev", "run", "tmp"];

/// A folder of the host that the kernel asks us for, and that we ask the host for.
///
/// **The carrier, which serves it, never looks at what a share shows**, nor waits for who does: it would wait for its
/// own answer. Helpers do.
pub(crate) struct Share {
    channel: Channel,
    device: File,
    /// Whether the kernel knows about it: until then there is nothing to wait for.
    mounted: bool,
    buffer: Box<[u8]>,
}

impl Share {
    /// Opens the kernel's end, and starts a process that mounts it.
    pub(crate) fn start(channel: Channel, path: String, writable: bool) -> io::Result<(Self, Job)> {
        let device =
            OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/fuse")?;
        let descriptor = device.as_raw_fd();
        let job = Job::start(Kind::Helper, path.clone(), Streams::default(), move || {
            fs::create_dir_all(&path).map_err(Step::MakeFolder.failed())?;
            let options = format!("fd={descriptor},rootmode=40000,user_id=0,group_id=0,allow_other");
            let mut flags = libc::MS_NODEV | libc::MS_NOATIME;
            if !writable {
                flags |= libc::MS_RDONLY;
            }
            mount("vexlab", Path::new(&path), "fuse", flags, &options)
        })?;
        Ok((Self { channel, device, mounted: false, buffer: vec![0; SHARE_MESSAGE].into() }, job))
    }

    /// The channel on which it is served.
    pub(crate) fn channel(&self) -> Channel {
        self.channel
    }

    /// From now on the kernel may ask.
    pub(crate) fn was_mounted(&mut self) {
        self.mounted = true;
    }

    /// The descriptor to wait for until the kernel asks something, or -1.
    pub(crate) fn wanted(&self) -> RawFd {
        if self.mounted { self.device.as_raw_fd() } else { -1 }
    }

    /// Hands what the kernel asks to the host, as much as goes out now. False when it is mounted no longer.
    pub(crate) fn ask(&mut self, port: &mut Port) -> Result<bool, FrameError> {
        while !port.is_full() {
            match self.device.read(&mut self.buffer) {
                Ok(length) => {
                    let message = self.buffer[..length].to_vec();
                    port.queue(self.channel, Reply::ShareRequest { message })?;
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    // One that was taken back before it was read.
                    Some(libc::EINTR | libc::ENOENT) => {}
                    _ => return Ok(false),
                },
            }
        }
        Ok(true)
    }

    /// Hands what the host says to the kernel.
    pub(crate) fn reply(&mut self, message: &[u8]) -> io::Result<()> {
        match self.device.write(message) {
            // It was about something that nobody waits for any more.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            written => written.map(drop),
        }
    }
}

/// Makes a root file system for programs: what `lower` shows, under what is changed, which is kept in memory.
pub(crate) fn make_root(lower: String, path: String) -> io::Result<Job> {
    Job::start(Kind::Helper, path.clone(), Streams::default(), move || {
        let root = Path::new(&path);
        let memory = root.with_extension("changes");
        let make = |folder: &Path| fs::create_dir_all(folder).map_err(Step::MakeFolder.failed());
        make(root)?;
        make(&memory)?;
        mount("vexlab", &memory, "tmpfs", 0, MEMORY)?;
        let (upper, work) = (memory.join("upper"), memory.join("work"));
        make(&upper)?;
        make(&work)?;
        let options = format!("lowerdir={lower},upperdir={},workdir={}", upper.display(), work.display());
        mount("vexlab", root, "overlay", libc::MS_NOATIME, &options)
            .map_err(|failure| Failure { step: Step::Overlay, ..failure })?;
        for name in OWN {
            let (own, place) = (format!("/{name}"), root.join(name));
            make(&place)?;
            mount(&own, &place, "none", libc::MS_BIND | libc::MS_REC, "")?;
        }
        Ok(())
    })
}

/// Makes each path that is not there a link to what has the same path below `from`.
pub(crate) fn show(from: String, paths: Vec<String>) -> io::Result<Job> {
    Job::start(Kind::Helper, from.clone(), Streams::default(), move || {
        for path in paths {
            let mut ancestors: Vec<&Path> = Path::new(&path).ancestors().collect();
            ancestors.reverse();
            let missing = ancestors.into_iter().find(|path| path.symlink_metadata().is_err());
            if let Some(missing) = missing {
                let target = format!("{from}{}", missing.display());
                symlink(target, missing).map_err(Step::Link.failed())?;
            }
        }
        Ok(())
    })
}

/// In a helper: mounts something.
fn mount(source: &str, path: &Path, kind: &str, flags: libc::c_ulong, options: &str) -> Result<(), Failure> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|error| Step::Mount.failed()(error.into()));
    let (source, kind) = (text(source.as_bytes())?, text(kind.as_bytes())?);
    let (path, options) = (text(path.as_os_str().as_bytes())?, text(options.as_bytes())?);
    sys::mount(&source, &path, &kind, flags, &options).map_err(Step::Mount.failed())
}
