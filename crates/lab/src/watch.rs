// SPDX-License-Identifier: GPL-2.0-only
//! Waiting for a project's sources to change.
//!
//! The kernel only says that something has happened in a folder. What has changed is found out by looking at
//! what builds read, and comparing that with how it was: so an editor may write as it likes, beside the file or in its
//! place, and events may get lost or come twice.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind};
use notify::{ErrorKind, Event, RecommendedWatcher, RecursiveMode, Watcher};

use crate::build::{self, LOCK, Snapshot, Sources};
use crate::cancel::Cancel;
use crate::error::{Error, Result};
use crate::project::Project;

/// A burst of changes is over when nothing has happened for this long.
const QUIET: Duration = Duration::from_millis(60);

/// A burst is looked at after this time even though it goes on.
const LONGEST: Duration = Duration::from_secs(1);

/// How often whoever waits for a change looks whether to stop.
const POLL: Duration = Duration::from_millis(100);

/// Files that have changed; at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    files: BTreeSet<PathBuf>,
}

impl Changes {
    fn new(files: BTreeSet<PathBuf>) -> Option<Self> {
        if files.is_empty() { None } else { Some(Self { files }) }
    }

    /// The files, by absolute path.
    pub fn files(&self) -> impl ExactSizeIterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// Whether all of it may be a build's doing.
    fn is_a_builds(&self) -> bool {
        self.files.iter().all(|file| file.file_name().is_some_and(|name| name == LOCK))
    }
}

/// A watch over a project's sources, which ends with this value.
#[derive(Debug)]
pub struct Watch {
    wake: Sender<Wake>,
    changes: Receiver<Result<Changes>>,
}

/// What the watching thread is woken by.
enum Wake {
    /// Something has happened in a folder.
    Event(notify::Result<Event>),
    /// Somebody wants to be sure that everything until now is told.
    Look(Sender<()>),
    End,
}

impl Watch {
    /// Watches what builds of this project read, as its file says at each moment, without the files `own` (absolute
    /// paths) that the caller writes to. A change also makes the request `cancel`, for whatever is being done with the
    /// sources as they were.
    ///
    /// # Errors
    ///
    /// When the kernel can't watch (so many) folders.
    pub fn start(
        project: &Project,
        options: build::Options,
        own: Vec<PathBuf>,
        cancel: Cancel,
    ) -> Result<Self> {
        let (wake, woken) = mpsc::channel();
        let (sender, changes) = mpsc::channel();
        let handler = wake.clone();
        let notified = move |event: notify::Result<Event>| {
            if event.as_ref().map_or(true, |event| may_be_a_change(&event.kind)) {
                // The watching thread may have ended already.
                let _ = handler.send(Wake::Event(event));
            }
        };
        let folders = notify::recommended_watcher(notified).map_err(|error| cannot_watch(&error))?;
        let mut watching = Watching {
            project: project.clone(),
            options,
            own,
            folders,
            watched: BTreeSet::new(),
            seen: Snapshot::default(),
        };
        watching.look()?;
        std::thread::spawn(move || watching.run(&woken, &sender, &cancel));
        Ok(Self { wake, changes })
    }

    /// Waits for changes.
    ///
    /// # Errors
    ///
    /// When `cancel` is requested, or the sources can't be watched any more.
    pub fn wait(&self, cancel: &Cancel) -> Result<Changes> {
        loop {
            cancel.check()?;
            match self.changes.recv_timeout(POLL) {
                Ok(changes) => return changes,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::lab("the watching thread has ended"));
                }
            }
        }
    }

    /// What has changed during a run, up to this moment. What cargo writes down of its own choices is no change then.
    ///
    /// # Errors
    ///
    /// When the sources can't be watched any more.
    pub fn during_run(&self) -> Result<Option<Changes>> {
        let (done, looked) = mpsc::channel();
        // When the thread has ended, it has said why, and that is what comes out below.
        let _ = self.wake.send(Wake::Look(done));
        let _ = looked.recv();
        let mut files = BTreeSet::new();
        for changes in self.changes.try_iter() {
            files.extend(changes?.files);
        }
        Ok(Changes::new(files).filter(|changes| !changes.is_a_builds()))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // A thread that has ended needs no telling.
        let _ = self.wake.send(Wake::End);
    }
}

/// Whether an event can come with a change: reading is none.
fn may_be_a_change(kind: &EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if *access != AccessKind::Close(AccessMode::Write))
}

/// The watching thread's own.
struct Watching {
    project: Project,
    options: build::Options,
    own: Vec<PathBuf>,
    folders: RecommendedWatcher,
    watched: BTreeSet<PathBuf>,
    seen: Snapshot,
}

impl Watching {
    fn run(mut self, woken: &Receiver<Wake>, changes: &Sender<Result<Changes>>, cancel: &Cancel) {
        while let Ok(first) = woken.recv() {
            let is_event = |wake: &Wake| matches!(wake, Wake::Event(_));
            let burst = gather(woken, first, is_event, QUIET, LONGEST);
            let mut asked = Vec::new();
            for wake in burst {
                match wake {
                    Wake::Event(Ok(event)) => self.forget(&event),
                    // What got lost is found by looking.
                    Wake::Event(Err(_)) => self.watched.clear(),
                    Wake::Look(done) => asked.push(done),
                    Wake::End => return,
                }
            }
            let found = self.look().map(Changes::new).transpose();
            let told = found.is_none_or(|found| {
                let stops = found.as_ref().map_or(true, |changes| !changes.is_a_builds());
                if stops {
                    // Before it is told: whoever was told may take the request back, and go on.
                    cancel.cancel();
                }
                let failed = found.is_err();
                changes.send(found).is_ok() && !failed
            });
            if !told {
                return;
            }
            for done in asked {
                // Whoever asked may have gone.
                let _ = done.send(());
            }
        }
    }

    /// Forgets folders that are gone, or are no longer what they were called: one of the same name would not be
    /// watched.
    fn forget(&mut self, event: &Event) {
        if matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_))) {
            self.watched.retain(|folder| !event.paths.iter().any(|path| folder.starts_with(path)));
        }
        if event.need_rescan() {
            self.watched.clear();
        }
    }

    /// Looks at the sources and gives the files that are not what they were.
    fn look(&mut self) -> Result<BTreeSet<PathBuf>> {
        // As long as the file is wrong, the project is what it was.
        if let Ok(project) = self.project.reread() {
            self.project = project;
        }
        let sources = Sources::of(&self.project, self.options);
        // What happens in a folder before it is watched is seen by looking once more.
        let seen = loop {
            let seen = sources.look();
            if !self.watch(seen.folders())? {
                break seen;
            }
        };
        let mut changes = seen.changes_since(&self.seen);
        changes.retain(|file| !self.own.contains(file));
        self.seen = seen;
        Ok(changes)
    }

    /// Watches these folders. Whether one of them was not watched until now.
    fn watch(&mut self, folders: &BTreeSet<PathBuf>) -> Result<bool> {
        let mut new = false;
        for folder in folders {
            if self.watched.contains(folder) {
                continue;
            }
            match self.folders.watch(folder, RecursiveMode::NonRecursive) {
                Ok(()) => new |= self.watched.insert(folder.clone()),
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(cannot_watch(&error)),
            }
        }
        Ok(new)
    }
}

/// Gathers what comes until nothing has come for `quiet`, or `longest` is over, or something comes with which the
/// burst does not go on.
fn gather<T>(
    from: &Receiver<T>,
    first: T,
    goes_on: impl Fn(&T) -> bool,
    quiet: Duration,
    longest: Duration,
) -> Vec<T> {
    let deadline = Instant::now() + longest;
    let mut burst = vec![first];
    while burst.last().is_some_and(&goes_on) {
        let left = deadline.saturating_duration_since(Instant::now());
        match from.recv_timeout(quiet.min(left)) {
            Ok(next) => burst.push(next),
            Err(_) => break,
        }
        if left.is_zero() {
            break;
        }
    }
    burst
}

/// Whether a folder vanished before it was watched.
fn is_gone(error: &notify::Error) -> bool {
    match &error.kind {
        ErrorKind::PathNotFound => true,
        ErrorKind::Io(cause) => cause.kind() == std::io::ErrorKind::NotFound,
        _ => false,
    }
}

fn cannot_watch(error: &notify::Error) -> Error {
    let what = match error.paths.first() {
        Some(folder) => format!("the folder {} can't be watched", folder.display()),
        None => "the sources can't be watched".to_owned(),
    };
    match &error.kind {
        ErrorKind::MaxFilesWatch => Error::lab(what)
            .with_source("this user watches as many files and folders as fs.inotify.max_user_watches allows")
            .with_remedy("raise it, as root: sysctl fs.inotify.max_user_watches=1048576"),
        ErrorKind::Io(cause) if cause.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) => {
            Error::lab(what)
                .with_source("this user has as many watchers as fs.inotify.max_user_instances allows")
                .with_remedy("raise it, as root: sysctl fs.inotify.max_user_instances=1024")
        }
        ErrorKind::Io(cause) => Error::lab(what).with_source(cause.to_string()),
        _ => Error::lab(what).with_source(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;

    use notify::event::{CreateKind, DataChange, RemoveKind, RenameMode};

    use super::*;

    #[test]
    fn what_comes_at_once_is_one_burst() {
        let (sender, receiver) = mpsc::channel();
        (2..=5).for_each(|number| sender.send(number).unwrap());
        let burst = gather(&receiver, 1, |_| true, QUIET, LONGEST);
        assert_eq!(burst, [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_burst_without_end_is_cut_off() {
        let (sender, receiver) = mpsc::sync_channel(1);
        let endless = std::thread::spawn(move || while sender.send(0).is_ok() {});
        let burst = gather(&receiver, 0, |_| true, Duration::from_secs(600), Duration::from_millis(20));
        assert!(!burst.is_empty());
        drop(receiver);
        endless.join().unwrap();
    }

    #[test]
    fn who_asks_does_not_wait_for_quiet() {
        let (sender, receiver) = mpsc::channel();
        (2..=5).for_each(|number| sender.send(number).unwrap());
        let forever = Duration::from_secs(600);
        assert_eq!(gather(&receiver, 1, |number| *number != 3, forever, forever), [1, 2, 3]);
    }

    #[test]
    fn reading_is_no_change() {
        for kind in [
            EventKind::Create(CreateKind::File),
            EventKind::Remove(RemoveKind::File),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            EventKind::Modify(ModifyKind::Name(RenameMode::To)),
            EventKind::Access(AccessKind::Close(AccessMode::Write)),
            EventKind::Other,
        ] {
            assert!(may_be_a_change(&kind), "{kind:?}");
        }
        for access in
            [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read]
        {
            assert!(!may_be_a_change(&EventKind::Access(access)), "{access:?}");
        }
    }

    fn told(error: &Error) -> String {
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        format!("{error}\ncause: {cause}\nhelp: {}", error.remedy().unwrap_or_default())
    }

    #[test]
    fn a_limit_of_the_kernels_is_named_with_its_remedy() {
        let error = notify::Error::new(ErrorKind::MaxFilesWatch).add_path("/p/src".into());
        insta::assert_snapshot!(told(&cannot_watch(&error)), @r"
        the folder /p/src can't be watched
        cause: this user watches as many files and folders as fs.inotify.max_user_watches allows
        help: raise it, as root: sysctl fs.inotify.max_user_watches=1048576
        ");
        let error = notify::Error::io(rustix::io::Errno::MFILE.into());
        insta::assert_snapshot!(told(&cannot_watch(&error)), @r"
        the sources can't be watched
        cause: this user has as many watchers as fs.inotify.max_user_instances allows
        help: raise it, as root: sysctl fs.inotify.max_user_instances=1024
        ");
    }

    fn project(dir: &Path) -> Project {
        fs::write(dir.join("vexlab.toml"), "kernels = ['k']\n[module]\nname = 'm'\n").unwrap();
        fs::create_dir(dir.join("sub")).unwrap();
        fs::write(dir.join("sub/a.c"), "").unwrap();
        Project::find(dir).unwrap()
    }

    fn names(changes: &Changes) -> Vec<String> {
        changes.files().map(|file| file.file_name().unwrap().display().to_string()).collect()
    }

    #[test]
    fn changes_are_told_and_stop_what_is_going_on() {
        let dir = tempfile::tempdir().unwrap();
        let (run, user) = (Cancel::default(), Cancel::default());
        let watch =
            Watch::start(&project(dir.path()), build::Options::default(), Vec::new(), run.clone()).unwrap();
        assert_eq!(watch.during_run().unwrap(), None);
        fs::write(dir.path().join("sub/a.c"), "1").unwrap();
        assert_eq!(names(&watch.wait(&user).unwrap()), ["a.c"]);
        assert!(run.is_cancelled());
        run.take_back();
        fs::write(dir.path().join("sub/a.c"), "22").unwrap();
        let changes = watch.during_run().unwrap();
        assert_eq!(changes.as_ref().map(names), Some(vec!["a.c".to_owned()]));
        user.cancel();
        assert_eq!(watch.wait(&user).unwrap_err().kind(), crate::error::Kind::Interrupted);
    }

    #[test]
    fn what_we_write_ourselves_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (project, cancel) = (project(&root), Cancel::default());
        let own = vec![root.join("log")];
        let watch = Watch::start(&project, build::Options::default(), own, cancel.clone()).unwrap();
        fs::write(root.join("log"), "1").unwrap();
        assert_eq!(watch.during_run().unwrap(), None);
        assert!(!cancel.is_cancelled());
    }

    #[test]
    fn folders_that_are_new_or_new_again_are_watched() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let (run, user) = (Cancel::default(), Cancel::default());
        let watch = Watch::start(&project(root), build::Options::default(), Vec::new(), run).unwrap();
        fs::create_dir_all(root.join("x/y")).unwrap();
        assert_eq!(watch.during_run().unwrap(), None, "a folder is no source");
        fs::write(root.join("x/y/b.c"), "").unwrap();
        assert_eq!(names(&watch.wait(&user).unwrap()), ["b.c"]);
        fs::rename(root.join("x"), root.join("z")).unwrap();
        fs::create_dir_all(root.join("x/y")).unwrap();
        assert!(watch.during_run().unwrap().is_some());
        for file in ["x/y/c.c", "z/y/d.c"] {
            fs::write(root.join(file), "").unwrap();
            let name = Path::new(file).file_name().unwrap().display().to_string();
            assert_eq!(names(&watch.wait(&user).unwrap()), [name]);
        }
    }

    #[test]
    fn what_cargo_writes_down_is_a_change_only_while_nothing_is_built() {
        let dir = tempfile::tempdir().unwrap();
        let (run, user) = (Cancel::default(), Cancel::default());
        let watch =
            Watch::start(&project(dir.path()), build::Options::default(), Vec::new(), run.clone()).unwrap();
        fs::write(dir.path().join(LOCK), "1").unwrap();
        assert_eq!(watch.during_run().unwrap(), None);
        assert!(!run.is_cancelled());
        fs::write(dir.path().join(LOCK), "22").unwrap();
        assert_eq!(names(&watch.wait(&user).unwrap()), [LOCK]);
    }
}
