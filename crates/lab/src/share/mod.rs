// SPDX-License-Identifier: GPL-2.0-only
//! What a machine is shown of this host: the source at `/src`, and this host's own file system as a root for
//! programs. Both are FUSE file systems whose requests travel over the agent's stream, are answered here by the crate
//! `share`, and are mounted once the machine runs, so that no saved machine has one.

mod credentials;
pub mod program;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use share::{Options, Server, View};
use wire::{Channel, Process, Reply, Request};

use program::Program;

use crate::Lab;
use crate::cancel::POLL;
use crate::error::{Context, Error};
use crate::kernel::{Config, Kernel, State};
use crate::link::{Incoming, Link};
use crate::session::Lost;

/// What the file system is that programs in a machine see.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// The machine's own: a busybox.
    #[default]
    Tiny,
    /// This host's, without credentials; what is changed stays in the machine's memory.
    Host,
}

/// A folder of this host that is shown at [`SOURCE`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The folder.
    pub folder: PathBuf,
    /// Whether the machine may change it.
    pub writable: bool,
}

/// What a machine is to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// What programs see.
    pub root: Root,
    /// The source.
    pub source: Option<Source>,
    /// Programs of this host that run on the machine's own file system: all the files that they are made of.
    pub programs: Vec<Program>,
}

/// Where the source is shown.
pub const SOURCE: &str = "/src";

/// The kernel modules without which nothing can be shown, and the options that they are built by.
pub const MODULES: [(&str, &str); 2] = [("fuse", "CONFIG_FUSE_FS"), ("overlay", "CONFIG_OVERLAY_FS")];

/// Where the machine has what it shows programs as their root.
const LOWER: &str = "/vexlab/host";

/// Where the machine has the root of programs.
const ROOT: &str = "/vexlab/root";

/// How long a machine may believe what it was told of this host's file system. What changes there meanwhile is of
/// no great interest to what runs in the machine.
const HOST_VALID: Duration = Duration::from_secs(30);

/// The channels of a machine's shares, beyond those that programs get.
const FIRST_CHANNEL: Channel = 1 << 31;

/// How many bytes of requests may wait to be answered. A kernel sends far less before it waits itself.
const MOST_WAITING: usize = 64 << 20;

const _: () = assert!(share::LARGEST_MESSAGE == wire::SHARE_MESSAGE);

/// How programs are started so that they see what was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Their `/`, where it is not the machine's own.
    pub root: Option<String>,
    /// The folder they start in.
    pub directory: String,
    /// Added to their environment.
    pub environment: Vec<(String, String)>,
}

impl Default for Place {
    fn default() -> Self {
        Self { root: None, directory: "/".to_owned(), environment: Vec::new() }
    }
}

impl Place {
    /// Puts a program there. What its environment has already stays.
    pub fn hold(&self, process: &mut Process) {
        process.root.clone_from(&self.root);
        process.directory.clone_from(&self.directory);
        for (name, value) in &self.environment {
            if !process.environment.iter().any(|(known, _)| known == name) {
                process.environment.push((name.clone(), value.clone()));
            }
        }
    }
}

/// Why a machine is not shown what it was to be.
#[derive(Debug)]
pub enum Unshared {
    /// It is of no use any more.
    Lost(Lost),
    /// It goes on.
    Refused(Error),
}

impl From<Lost> for Unshared {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<Error> for Unshared {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Refuses what is not there to be shown, and what a kernel was not built to do.
///
/// # Errors
///
/// Either, with the name of the kernel's option.
pub fn check(kernel: &Kernel, wanted: &Shown) -> Result<(), Error> {
    if let Some(Source { folder, .. }) = &wanted.source {
        let shared = || Error::usage(format!("the folder {} can't be shown at {SOURCE}", folder.display()));
        let about = std::fs::metadata(folder).map_err(|cause| shared().with_source(cause))?;
        if !about.is_dir() {
            return Err(shared().with_source("it is not a folder"));
        }
    }
    check_config(kernel.name(), kernel.config(), wanted)
}

fn check_config(kernel: &str, config: &Config, wanted: &Shown) -> Result<(), Error> {
    let [fuse, overlay] = MODULES;
    let needs = match wanted.root {
        Root::Host => &[fuse, overlay][..],
        Root::Tiny if wanted.source.is_some() || !wanted.programs.is_empty() => &[fuse],
        Root::Tiny => &[],
    };
    for (_, option) in needs {
        if config.state(option) == State::No {
            return Err(not_mountable(kernel, wanted)
                .with_source(format!("it is done by FUSE over the agent's port, and {option} is not set")));
        }
    }
    Ok(())
}

fn not_mountable(kernel: &str, wanted: &Shown) -> Error {
    let what = match (wanted.root, &wanted.source) {
        (Root::Host, _) => "this host's file system",
        (Root::Tiny, Some(_)) => SOURCE,
        (Root::Tiny, None) => "programs of this host",
    };
    Error::usage(format!("the kernel {kernel} can't mount {what}"))
        .with_remedy("choose another kernel with --kernel; Debian's can")
}

/// Shows a running machine what it is to be shown, as long as it runs.
///
/// # Errors
///
/// [`Unshared`]: when a folder can't be opened, the kernel can't mount it, or the machine is lost.
pub fn show(
    lab: &Lab,
    kernel: &Kernel,
    link: &Link,
    wanted: &Shown,
    limit: Duration,
) -> Result<Place, Unshared> {
    check(kernel, wanted)?;
    let machine = Machine { lab, kernel, link, wanted, limit };
    let mut place = Place::default();
    if wanted.root == Root::Host {
        let mut view = credentials::view(lab);
        credentials::OWN.iter().for_each(|path| view.show_empty(Path::new(path)));
        let options = Options { writable: false, valid: HOST_VALID, view };
        machine.mount(FIRST_CHANNEL, Path::new("/"), options, LOWER)?;
        let request = Request::Root { lower: LOWER.to_owned(), path: ROOT.to_owned() };
        machine.ask(FIRST_CHANNEL + 1, &request)?;
        place.root = Some(ROOT.to_owned());
        place.environment = credentials::environment();
    }
    let files: BTreeSet<&PathBuf> = wanted.programs.iter().flat_map(|program| &program.files).collect();
    if wanted.root == Root::Tiny && !files.is_empty() {
        let mut view = View::default();
        view.show_only(files.iter().copied().cloned());
        machine.mount(
            FIRST_CHANNEL,
            Path::new("/"),
            Options { writable: false, valid: HOST_VALID, view },
            LOWER,
        )?;
        let paths = files.iter().map(|path| path.to_string_lossy().into_owned()).collect();
        machine.ask(FIRST_CHANNEL + 1, &Request::Show { from: LOWER.to_owned(), paths })?;
    }
    if let Some(Source { folder, writable }) = &wanted.source {
        let options = Options { writable: *writable, valid: Duration::ZERO, view: credentials::view(lab) };
        let path = format!("{}{SOURCE}", place.root.as_deref().unwrap_or_default());
        machine.mount(FIRST_CHANNEL + 2, folder, options, &path)?;
        place.directory = SOURCE.to_owned();
    }
    Ok(place)
}

/// A machine that is being shown something.
struct Machine<'a> {
    lab: &'a Lab,
    kernel: &'a Kernel,
    link: &'a Link,
    wanted: &'a Shown,
    limit: Duration,
}

impl Machine<'_> {
    /// Has the machine mount a folder, which a thread serves from then on.
    fn mount(&self, channel: Channel, folder: &Path, options: Options, path: &str) -> Result<(), Unshared> {
        let request = Request::Share { path: path.to_owned(), writable: options.writable };
        let server = Server::new(folder, options).context(|| format!("share {}", folder.display()))?;
        let replies = serve(self.link, channel, server, &request)?;
        self.wait(&replies)
    }

    /// Has the machine do something.
    fn ask(&self, channel: Channel, request: &Request) -> Result<(), Unshared> {
        let (sender, replies) = mpsc::channel();
        let outgoing = self.link.open(
            channel,
            Box::new(move |incoming| match incoming {
                Incoming::Reply(reply, _) => sender.send(reply).is_ok(),
                Incoming::Nonsense(_) | Incoming::Closed => false,
            }),
        );
        outgoing.send(request)?;
        let waited = self.wait(&replies);
        self.link.close(channel);
        waited
    }

    fn wait(&self, replies: &Receiver<Reply>) -> Result<(), Unshared> {
        let deadline = Instant::now() + self.limit;
        loop {
            match replies.recv_timeout(POLL) {
                Ok(Reply::Done) => return Ok(()),
                Ok(Reply::Failed { action, errno }) => {
                    let [(_, fuse), (_, overlay)] = MODULES;
                    let cause = std::io::Error::from(Errno::from_raw_os_error(errno));
                    return Err(Unshared::Refused(not_mountable(self.kernel.name(), self.wanted).with_source(format!(
                        "it was tried by FUSE over the agent's port ({fuse}, and {overlay} for a root): {action}: {cause}"
                    ))));
                }
                Ok(other) => return Err(Lost::Nonsense(format!("{other:?} for a share")).into()),
                Err(RecvTimeoutError::Disconnected) => return Err(Lost::Ended { qemu: String::new() }.into()),
                Err(RecvTimeoutError::Timeout) => {
                    self.lab.cancel.check().map_err(Lost::Interrupted)?;
                    if Instant::now() > deadline {
                        return Err(Lost::TimedOut { limit: self.limit }.into());
                    }
                }
            }
        }
    }
}

/// Serves a folder on a channel until the machine ends, or sends what nobody can answer. Sends the request to mount
/// it, and gives the replies to that.
fn serve(
    link: &Link,
    channel: Channel,
    mut server: Server,
    request: &Request,
) -> Result<Receiver<Reply>, Lost> {
    let waiting = Arc::new(AtomicUsize::new(0));
    let (sender, incoming) = mpsc::channel();
    let outgoing = link.open(channel, {
        let waiting = Arc::clone(&waiting);
        Box::new(move |incoming| {
            let Incoming::Reply(reply, _) = incoming else { return false };
            if let Reply::ShareRequest { message } = &reply
                && waiting.fetch_add(message.len(), Ordering::Relaxed) > MOST_WAITING
            {
                return false;
            }
            sender.send(reply).is_ok()
        })
    });
    outgoing.send(request)?;
    let (told, replies) = mpsc::channel();
    std::thread::spawn(move || {
        for reply in incoming {
            let Reply::ShareRequest { message } = reply else {
                // Nobody waits any more when the request took too long.
                let _ = told.send(reply);
                continue;
            };
            waiting.fetch_sub(message.len(), Ordering::Relaxed);
            let Ok(reply) = server.answer(&message) else { break };
            if let Some(message) = reply
                && outgoing.send(&Request::ShareReply { message }).is_err()
            {
                break;
            }
        }
        let _ = outgoing.send(&Request::ShareEnd);
    });
    Ok(replies)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use wire::{Addressed, Decoder};

    use super::*;

    fn wanted(root: Root) -> Shown {
        Shown { root, source: Some(Source { folder: "/".into(), writable: false }), programs: Vec::new() }
    }

    fn refusal(config: &str, root: Root) -> String {
        let error = check_config("mine", &Config::parse(config), &wanted(root)).unwrap_err();
        let cause = std::error::Error::source(&error).expect("a cause").to_string();
        format!("{error}\n{cause}\n{}", error.remedy().unwrap_or_default())
    }

    #[test]
    fn what_a_kernel_was_not_built_for_is_named() {
        insta::assert_snapshot!(refusal("", Root::Tiny), @r"
        the kernel mine can't mount /src
        it is done by FUSE over the agent's port, and CONFIG_FUSE_FS is not set
        choose another kernel with --kernel; Debian's can
        ");
        insta::assert_snapshot!(refusal("CONFIG_FUSE_FS=m\n", Root::Host), @r"
        the kernel mine can't mount this host's file system
        it is done by FUSE over the agent's port, and CONFIG_OVERLAY_FS is not set
        choose another kernel with --kernel; Debian's can
        ");
        let both = Config::parse("CONFIG_FUSE_FS=y\nCONFIG_OVERLAY_FS=m\n");
        assert!(check_config("mine", &both, &wanted(Root::Host)).is_ok());
        assert!(check_config("mine", &Config::parse(""), &Shown::default()).is_ok());
    }

    /// A machine that asks what is no request is served no longer, and is told so.
    #[test]
    fn garbage_ends_a_share() {
        let (ours, mut agent) = UnixStream::pair().unwrap();
        let link = Link::new(ours).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let server = Server::new(folder.path(), Options::default()).unwrap();
        let request = Request::Share { path: SOURCE.to_owned(), writable: false };
        let replies = serve(&link, 9, server, &request).unwrap();
        for reply in [Reply::Done, Reply::ShareRequest { message: vec![0; 7] }] {
            agent.write_all(&wire::encode(&Addressed::new(9, reply)).unwrap()).unwrap();
        }
        assert!(matches!(replies.recv(), Ok(Reply::Done)));
        let mut decoder = Decoder::<Addressed<Request>>::default();
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let mut bytes = [0; 4096];
            let length = agent.read(&mut bytes).unwrap();
            decoder.push(&bytes[..length]);
            while let Some(said) = decoder.next().unwrap() {
                heard.push(said.message);
            }
        }
        assert_eq!(heard, [request, Request::ShareEnd]);
    }
}
