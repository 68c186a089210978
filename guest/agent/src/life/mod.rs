// SPDX-License-Identifier: GPL-2.0-only
/// How much memory the kernel has in use.
mod counts;
/// Allocations that fail.
mod failslab;
/// What the kernel has.
mod listing;

use std::ffi::{CStr, CString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::thread::sleep;
use std::time::{Duration, Instant};

use wire::life::{Came, Counts, Deed, Handle, Injected};

use counts::Counter;

use crate::guard::Machine;
use crate::helper::with_output;
use crate::job::{self, Job, Step};
use crate::sys;

/// How long to wait before a module that is in use is unloaded once more.
const BETWEEN_TRIES: Duration = Duration::from_millis(5);

/// How long the kernel's own workers take, at the most, to free what they were told to free.
const SETTLING: Duration = Duration::from_millis(100);

/// Does things with a module, in order, and tells what came of each.
pub(crate) fn exercise(machine: &Machine, path: String, name: String, deeds: Vec<Deed>) -> io::Result<Job> {
    let module = CString::new(name.replace('-', "_"))?;
    with_output(path.clone(), move |mut output| {
        let mut scene = Scene { machine, path: &path, module: &module, held: None, counter: None };
        for deed in deeds {
            let frame = wire::encode(&scene.carry_out(deed));
            let frame = frame.map_err(|_| io::ErrorKind::InvalidData.into()).map_err(Step::Write.failed())?;
            output.write_all(&frame).map_err(Step::Write.failed())?;
        }
        Ok(())
    })
}

/// A module, and what is held of it.
struct Scene<'a> {
    machine: &'a Machine,
    path: &'a str,
    module: &'a CStr,
    held: Option<OwnedFd>,
    counter: Option<Counter>,
}

impl Scene<'_> {
    fn carry_out(&mut self, deed: Deed) -> Came {
        let came = match deed {
            Deed::Load { parameters } => self.load(parameters).map(|()| Came::Done),
            Deed::Failslab => failslab::set_up(self.machine).map(|()| Came::Done),
            Deed::LoadFailing { parameters, allocation } => {
                self.load_failing(parameters, allocation).map(Came::Injected)
            }
            Deed::Unload { patience } => {
                self.unload(Duration::from_millis(patience.into())).map(|()| Came::Done)
            }
            Deed::Look => Ok(Came::Listed(listing::take())),
            Deed::Count => self.count().map(Came::Counted),
            Deed::Settle => settle().map(|()| Came::Done),
            Deed::Hold { handles } => Ok(Came::Held(self.hold(&handles))),
            Deed::Release => {
                self.held = None;
                Ok(Came::Done)
            }
            Deed::Parameter { name } => self.about(&format!("parameters/{name}")).map(Came::Text),
        };
        came.unwrap_or_else(|error| Came::Failed { errno: job::errno(&error) })
    }

    fn load(&self, parameters: String) -> io::Result<()> {
        let parameters = CString::new(parameters)?;
        sys::load_module(self.machine, &File::open(self.path)?, &parameters)
    }

    fn load_failing(&self, parameters: String, allocation: u32) -> io::Result<Injected> {
        let (file, parameters) = (File::open(self.path)?, CString::new(parameters)?);
        failslab::while_failing(allocation, || sys::load_module(self.machine, &file, &parameters))
    }

    fn unload(&self, patience: Duration) -> io::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            match sys::unload_module(self.machine, self.module) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    sleep(BETWEEN_TRIES);
                }
                unloaded => return unloaded,
            }
        }
    }

    fn count(&mut self) -> io::Result<Counts> {
        if self.counter.is_none() {
            self.counter = Some(Counter::open()?);
        }
        self.counter.as_mut().map_or_else(|| Ok(Counts::default()), Counter::count)
    }

    /// What the kernel says in the module's folder in `/sys`.
    fn about(&self, file: &str) -> io::Result<String> {
        let module = self.module.to_string_lossy();
        fs::read_to_string(format!("/sys/module/{module}/{file}")).map(|text| text.trim_end().to_owned())
    }

    /// How often the module is in use.
    fn users(&self) -> Option<u64> {
        self.about("refcnt").ok()?.parse().ok()
    }

    fn hold(&mut self, handles: &[Handle]) -> Option<u32> {
        let before = self.users()?;
        for (place, handle) in (0..).zip(handles) {
            let Ok(held) = open(handle) else { continue };
            if self.users().is_some_and(|users| users > before) {
                self.held = Some(held);
                return Some(place);
            }
        }
        None
    }
}

fn open(handle: &Handle) -> io::Result<OwnedFd> {
    match handle {
        Handle::FileSystem(name) => sys::open_file_system(&CString::new(name.as_str())?),
        Handle::File(path) => {
            let about = fs::metadata(path)?;
            let kind = about.file_type();
            if !kind.is_file() && !kind.is_char_device() && !kind.is_block_device() {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            // What nobody may read may only be written to.
            let readable = about.permissions().mode() & 0o444 != 0;
            let mut options = OpenOptions::new();
            options.read(readable).write(!readable).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            options.open(path).map(OwnedFd::from)
        }
    }
}

/// Has the kernel's caches give back what is not in use, and what waits for a grace period be freed. It is told
/// twice, because what is freed the first time may have held something.
fn settle() -> io::Result<()> {
    for _ in 0..2 {
        fs::write("/proc/sys/vm/drop_caches", "2")?;
        sleep(SETTLING);
    }
    Ok(())
}
