// SPDX-License-Identifier: GPL-2.0-only
//! Machines to live in: started in the background, used by any number of clients, and there until they are stopped.
//!
//! A machine is owned by its *keeper*, a process in a session of its own that listens on a socket in the machine's
//! folder. QEMU dies with its keeper. Who owns which machine, and how it fares, is in its record, and a record is
//! believed only as long as the process that it names is the one that wrote it.

/// How machines are started, stopped and removed.
mod control;
/// A client's side of a conversation.
mod conversation;
/// Files into and out of machines.
mod copy;
/// The keeper's side of it.
mod guest;
/// The process that keeps a machine.
mod keeper;
/// The kinds of machines.
mod kind;
/// A machine that runs.
mod machine;
/// What machines are called.
mod name;
/// Whose they are.
mod owner;
/// What the processes say to each other.
mod protocol;
/// What is known of each.
mod record;
/// What comes out of a machine is put in its place, and nowhere else.
mod unpack;

pub use control::{remove, restart, stop, up};
pub use conversation::{Conversation, Ends};
pub use copy::copy;
pub use keeper::keep;
pub use kind::{Choice, DEFAULT_KERNEL, Kind, MadeWith, Settings, Tiny, Whole};
pub use name::Name;
pub use owner::Owner;
pub use record::{Record, State, list};

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::time::Duration;

use crate::Lab;
use crate::error::{Context, Result};
use crate::image::Ssh;

/// How an ssh client reaches a machine that runs.
///
/// # Errors
///
/// When there is none of this name, it has no ssh server, or it does not run.
pub fn ssh(lab: &Lab, name: &Name) -> Result<Ssh> {
    let (place, record) = record::find(lab, name)?;
    record.settings.kind.require_ssh(name)?;
    match record.state {
        State::Running => Ssh::of_machine(place.dir()),
        _ => Err(record::not_running(&record)),
    }
}

/// Whether there is a machine of this name that has a distribution in it, running or not.
pub fn is_whole(lab: &Lab, name: &Name) -> bool {
    record::find(lab, name).is_ok_and(|(_, record)| matches!(record.settings.kind, Kind::Whole(_)))
}

/// The file that a machine's console goes to.
pub fn console(lab: &Lab, name: &Name) -> PathBuf {
    record::Place::of(lab, name).console()
}

/// What kind of machine this is.
///
/// # Errors
///
/// When there is none of this name.
pub fn kind(lab: &Lab, name: &Name) -> Result<Kind> {
    Ok(record::find(lab, name)?.1.settings.kind)
}

/// How often a console is looked at for more.
const LOOK: Duration = Duration::from_millis(100);

/// Hands out what a machine has said on its console since it was last brought up. With `follow`, also what it says
/// until it ends, nobody takes it, or this is cancelled.
///
/// # Errors
///
/// When there is none of this name, its console can't be read, or this is cancelled.
pub fn logs(
    lab: &Lab,
    name: &Name,
    follow: bool,
    take: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<()> {
    let (place, _) = record::find(lab, name)?;
    let path = place.console();
    let what = || format!("read {}", path.display());
    let mut console = match File::open(&path) {
        // One that is only about to start has none yet.
        Err(error) if error.kind() == io::ErrorKind::NotFound && !follow => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        opened => Some(opened.context(what)?),
    };
    let mut buffer = vec![0; 64 << 10];
    loop {
        lab.cancel.check()?;
        // Asked first: what was said before the end is read after it.
        let is_over = !follow || place.look(lab)?.is_none_or(|record| record.owner.is_none());
        if console.is_none() {
            console = File::open(&path).ok();
        }
        while let Some(console) = &mut console {
            match console.read(&mut buffer).context(what)? {
                0 => break,
                length if take(&buffer[..length]).is_err() => return Ok(()),
                _ => {}
            }
        }
        if is_over {
            return Ok(());
        }
        std::thread::sleep(LOOK);
    }
}
