// SPDX-License-Identifier: GPL-2.0-only
//! A kept machine's folder in the cache, and the record in it: what the machine is, whose it is, and how it fares.
//!
//! A record is only changed under one lock for all machines, and written in one step. It says that a machine is up
//! as long as its owner lives: a record whose owner is gone is put right by the next who reads it.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::Lab;
use crate::cache::{Lock, write_atomically};
use crate::cancel::Cancel;
use crate::error::{Context, Error, Result, nearest};
use crate::machine::Accelerator;

use super::kind::Settings;
use super::name::Name;
use super::owner::Owner;

/// The machines' folders, in the cache.
const MACHINES: &str = "machines";

/// The record's file.
const RECORD: &str = "record.json";

/// Which form the record has, and the conversation with whoever keeps the machine.
const FORM: u32 = 2;

/// A kept machine, running or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    form: u32,
    /// Its name.
    pub name: Name,
    /// What it is started with.
    pub settings: Settings,
    /// What runs its instructions; known once it has been up.
    pub accelerator: Option<Accelerator>,
    /// Its keeper, as long as there is one.
    pub owner: Option<Owner>,
    /// How it fares.
    pub state: State,
    /// Since when: seconds since 1970.
    since: u64,
}

/// How a machine fares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is on its way.
    Starting,
    /// Its agent has answered.
    Running,
    /// It was stopped.
    Stopped,
    /// It has ended by itself, or never came up.
    Dead {
        /// Why.
        reason: String,
        /// The last line of its console.
        last_line: Option<String>,
    },
}

impl State {
    /// One word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Dead { .. } => "dead",
        }
    }
}

impl Record {
    /// How long it has been in its state.
    pub fn age(&self) -> Duration {
        now().saturating_sub(Duration::from_secs(self.since))
    }

    /// Puts it into a state.
    pub(super) fn is_now(&mut self, state: State) {
        self.state = state;
        self.since = now().as_secs();
    }

    /// Whether it is the same machine as this one, which has not been started anew meanwhile.
    pub(super) fn is_still(&self, other: &Self) -> bool {
        self.state == other.state && self.since == other.since && self.owner == other.owner
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// A machine's folder, there or not.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) name: Name,
    dir: PathBuf,
}

impl Place {
    pub(super) fn of(lab: &Lab, name: &Name) -> Self {
        Self { name: name.clone(), dir: lab.cache.path(MACHINES).join(name.as_str()) }
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The machine's console, of which there is none before it was started.
    pub(super) fn console(&self) -> PathBuf {
        self.dir.join("console.log")
    }

    /// The keeper's socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// What the record says, as it is; nothing where there is no machine of this name.
    pub(super) fn read(&self) -> Result<Option<Record>> {
        let path = self.dir.join(RECORD);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.context(|| format!("read {}", path.display()))?,
        };
        let damaged = |cause: String| {
            Error::lab(format!("{} is no record of this vexlab's", path.display()))
                .with_source(cause)
                .with_remedy(format!("end what still runs of it, then `vexlab rm --force {}`", self.name))
        };
        let record: Record = serde_json::from_slice(&text).map_err(|error| damaged(error.to_string()))?;
        if record.form == FORM {
            Ok(Some(record))
        } else {
            Err(damaged(format!("it has form {}, and this is form {FORM}", record.form)))
        }
    }

    /// What the record says, put right where its owner is gone.
    pub(super) fn look(&self, lab: &Lab) -> Result<Option<Record>> {
        match self.read()? {
            Some(record) if is_orphaned(&record) => {
                let _lock = lock(lab)?;
                self.look_locked()
            }
            other => Ok(other),
        }
    }

    fn look_locked(&self) -> Result<Option<Record>> {
        let Some(mut record) = self.read()? else { return Ok(None) };
        if is_orphaned(&record) {
            let process = record.owner.take().map(|owner| owner.process).unwrap_or_default();
            let reason = format!("its keeper, process {process}, was killed, and the machine with it");
            record.is_now(State::Dead { reason, last_line: last_line(&self.console()) });
            self.clean(&record);
            self.write(&record)?;
        }
        Ok(Some(record))
    }

    /// Makes this process the owner of the machine, whose folder is made if it is missing.
    ///
    /// # Errors
    ///
    /// When it has an owner who lives.
    pub(super) fn claim(&self, lab: &Lab, settings: Settings) -> Result<Record> {
        let owner = Some(Owner::this_process()?);
        let _lock = lock(lab)?;
        if let Some(record) = self.look_locked()?.filter(|record| record.owner.is_some()) {
            return Err(is_up(&record));
        }
        crate::cache::make_dir(&lab.cache.path(MACHINES))?;
        match DirBuilder::new().mode(0o700).create(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.context(|| format!("make the folder {}", self.dir.display()))?,
        }
        // What an earlier start has said is not this one's.
        let _ = fs::remove_file(self.console());
        let mut record = Record {
            form: FORM,
            name: self.name.clone(),
            settings,
            accelerator: None,
            owner,
            state: State::Starting,
            since: 0,
        };
        record.is_now(State::Starting);
        self.write(&record).inspect_err(|_| drop(fs::remove_dir(&self.dir)))?;
        Ok(record)
    }

    /// Writes a changed record of this process's own machine.
    pub(super) fn keep(&self, lab: &Lab, record: &Record) -> Result<()> {
        let _lock = lock(lab)?;
        self.write(record)
    }

    /// Ends this process's ownership: the machine is over. Only its record and what it said stay.
    pub(super) fn release(&self, lab: &Lab, record: &mut Record, state: State) -> Result<()> {
        record.owner = None;
        record.is_now(state);
        let _lock = lock(lab)?;
        self.clean(record);
        self.write(record)
    }

    /// Removes the machine's folder. This process is its owner, or it has none.
    pub(super) fn remove(&self, lab: &Lab) -> Result<()> {
        let _lock = lock(lab)?;
        self.remove_locked()
    }

    /// Removes the machine's folder, unless it has an owner who lives. `force` is for a record that can't be read.
    pub(super) fn remove_if_over(&self, lab: &Lab, force: bool) -> Result<()> {
        let _lock = lock(lab)?;
        match self.look_locked() {
            Ok(Some(record)) if record.owner.is_some() => return Err(is_up(&record)),
            Err(error) if !force => return Err(error),
            _ => {}
        }
        self.remove_locked()
    }

    fn remove_locked(&self) -> Result<()> {
        fs::remove_dir_all(&self.dir).context(|| format!("remove {}", self.dir.display()))
    }

    /// Removes what no one has any use for when the machine is over.
    fn clean(&self, record: &Record) {
        // Where there was none, or it can't be removed, the next start does it.
        let _ = fs::remove_file(self.socket());
        record.settings.kind.clean(&self.dir);
    }

    fn write(&self, record: &Record) -> Result<()> {
        let text = serde_json::to_vec_pretty(record).context(|| "write a record".to_owned())?;
        write_atomically(&self.dir.join(RECORD), &text)
    }
}

/// Whether the record says that someone owns the machine who is gone.
fn is_orphaned(record: &Record) -> bool {
    record.owner.as_ref().is_some_and(|owner| !owner.is_alive())
}

/// The last line of a console that is not empty.
fn last_line(console: &Path) -> Option<String> {
    const ENOUGH: u64 = 4096;
    let mut file = fs::File::open(console).ok()?;
    let length = file.metadata().ok()?.len();
    io::Seek::seek(&mut file, io::SeekFrom::Start(length.saturating_sub(ENOUGH))).ok()?;
    let mut end = Vec::new();
    io::Read::read_to_end(&mut file, &mut end).ok()?;
    let end = String::from_utf8_lossy(&end).into_owned();
    end.lines().map(str::trim_end).rfind(|line| !line.is_empty()).map(str::to_owned)
}

/// The right to change records. Whoever has it has it for a moment only, so that nobody gives up waiting.
fn lock(lab: &Lab) -> Result<Lock> {
    lab.cache.lock(MACHINES, &Cancel::default())
}

/// Every machine there is, by name. One whose record can't be read is an error.
pub fn list(lab: &Lab) -> Vec<(Name, Result<Record>)> {
    let mut names = names(lab);
    names.sort();
    let look = |name: Name| {
        let record = Place::of(lab, &name).look(lab).transpose()?;
        Some((name, record))
    };
    names.into_iter().filter_map(look).collect()
}

fn names(lab: &Lab) -> Vec<Name> {
    let entries = fs::read_dir(lab.cache.path(MACHINES)).into_iter().flatten().flatten();
    entries.filter_map(|entry| Name::parse(entry.file_name().to_str()?).ok()).collect()
}

/// A machine that is there, running or not.
///
/// # Errors
///
/// When there is none of this name.
pub(super) fn find(lab: &Lab, name: &Name) -> Result<(Place, Record)> {
    let place = Place::of(lab, name);
    match place.look(lab)? {
        Some(record) => Ok((place, record)),
        None => Err(unknown(name, &names(lab))),
    }
}

/// The error for a name that no machine has.
fn unknown(name: &Name, known: &[Name]) -> Error {
    let error = Error::usage(format!("there is no machine called {name}"));
    match nearest(name.as_str(), known.iter().map(Name::as_str)) {
        Some(near) => error.with_remedy(format!("did you mean {near}? `vexlab ps` lists them")),
        None => error
            .with_remedy(format!("`vexlab up {name}` starts one; `vexlab ps` lists those that are there")),
    }
}

/// The error for what can't be done while a machine is up.
fn is_up(record: &Record) -> Error {
    let Record { name, owner, .. } = record;
    let process = owner.as_ref().map_or(0, |owner| owner.process);
    let what = if record.state == State::Starting { "being started" } else { "running" };
    Error::usage(format!("the machine {name} is {what} already; its keeper is process {process}"))
        .with_remedy(format!("`vexlab exec {name} -- COMMAND` uses it, `vexlab stop {name}` stops it"))
}

/// The error for what can only be done in a machine that runs.
pub(super) fn not_running(record: &Record) -> Error {
    let name = &record.name;
    match &record.state {
        State::Starting => Error::usage(format!("the machine {name} is still being started"))
            .with_remedy("try again in a moment; `vexlab ps` shows how it fares"),
        State::Running => Error::lab(format!("the machine {name} does not answer"))
            .with_remedy(format!("`vexlab stop {name}` ends it")),
        State::Stopped => Error::usage(format!("the machine {name} is stopped"))
            .with_remedy(format!("`vexlab up {name}` starts it")),
        State::Dead { reason, .. } => Error::usage(format!("the machine {name} is dead: {reason}"))
            .with_remedy(format!(
                "`vexlab up {name}` starts it anew, `vexlab logs {name}` shows its console"
            )),
    }
}

#[cfg(test)]
mod tests {
    use super::super::kind::Choice;
    use super::*;
    use crate::cache::Cache;
    use crate::event::Silent;

    fn lab(dir: &Path) -> Lab {
        let cache = Cache::at(dir.join("cache")).unwrap();
        Lab { cache, reporter: std::sync::Arc::new(Silent), cancel: Cancel::default() }
    }

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn settings() -> Settings {
        Settings::new(None, &Choice::default())
    }

    fn told(error: &Error) -> String {
        let process = rustix::process::getpid().as_raw_pid().to_string();
        format!("{error}\n{}", error.remedy().unwrap_or_default()).replace(&process, "PID")
    }

    #[test]
    fn a_machine_has_one_owner() {
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        let place = Place::of(&lab, &name("x"));
        let mut record = place.claim(&lab, settings()).unwrap();
        assert_eq!(place.look(&lab).unwrap().unwrap(), record);
        insta::assert_snapshot!(told(&place.claim(&lab, settings()).unwrap_err()), @r"
        the machine x is being started already; its keeper is process PID
        `vexlab exec x -- COMMAND` uses it, `vexlab stop x` stops it
        ");
        assert!(place.remove_if_over(&lab, true).is_err(), "not while it is up");
        place.release(&lab, &mut record, State::Stopped).unwrap();
        place.claim(&lab, settings()).unwrap();
    }

    #[test]
    fn a_machine_whose_owner_is_gone_is_dead_and_can_be_had() {
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        let place = Place::of(&lab, &name("x"));
        let mut record = place.claim(&lab, settings()).unwrap();
        let owner = r#"{"process": 1, "started": 18446744073709551615, "boot": "long ago"}"#;
        record.owner = Some(serde_json::from_str(owner).unwrap());
        place.keep(&lab, &record).unwrap();
        for left in ["socket", "disk0.img"] {
            fs::write(place.dir().join(left), "").unwrap();
        }
        fs::write(place.console(), "first\r\nlast words\r\n\r\n").unwrap();
        let [(_, Ok(found))] = &list(&lab)[..] else { panic!("one machine") };
        let reason = "its keeper, process 1, was killed, and the machine with it".to_owned();
        assert_eq!(found.state, State::Dead { reason, last_line: Some("last words".into()) });
        assert!(!place.socket().exists() && !place.dir().join("disk0.img").exists());
        place.claim(&lab, settings()).unwrap();
        assert!(!place.console().exists(), "what the one before said");
    }

    #[test]
    fn a_folder_is_its_users_alone_and_goes_as_a_whole() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        let place = Place::of(&lab, &name("x"));
        let mut record = place.claim(&lab, settings()).unwrap();
        assert_eq!(fs::metadata(place.dir()).unwrap().permissions().mode() & 0o777, 0o700);
        place.release(&lab, &mut record, State::Stopped).unwrap();
        place.remove_if_over(&lab, false).unwrap();
        assert_eq!(fs::read_dir(lab.cache.path(MACHINES)).unwrap().count(), 0);
    }

    #[test]
    fn a_record_that_is_none_is_told_and_removed_by_force_only() {
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        let place = Place::of(&lab, &name("x"));
        place.claim(&lab, settings()).unwrap();
        fs::write(place.dir().join(RECORD), "{").unwrap();
        let error = place.look(&lab).unwrap_err();
        assert!(
            error.to_string().ends_with("machines/x/record.json is no record of this vexlab's"),
            "{error}"
        );
        assert!(place.remove_if_over(&lab, false).is_err());
        place.remove_if_over(&lab, true).unwrap();
        assert!(list(&lab).is_empty());
    }

    #[test]
    fn what_is_said_of_machines_that_are_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let lab = lab(dir.path());
        let record = Place::of(&lab, &name("hello")).claim(&lab, settings()).unwrap();
        insta::assert_snapshot!(told(&find(&lab, &name("helo")).unwrap_err()), @r"
        there is no machine called helo
        did you mean hello? `vexlab ps` lists them
        ");
        insta::assert_snapshot!(told(&find(&lab, &name("x")).unwrap_err()), @r"
        there is no machine called x
        `vexlab up x` starts one; `vexlab ps` lists those that are there
        ");
        let dead = State::Dead { reason: "it was powered off".into(), last_line: None };
        let said = [State::Starting, State::Stopped, dead]
            .map(|state| told(&not_running(&Record { state, ..record.clone() })));
        insta::assert_snapshot!(said.join("\n"), @r"
        the machine hello is still being started
        try again in a moment; `vexlab ps` shows how it fares
        the machine hello is stopped
        `vexlab up hello` starts it
        the machine hello is dead: it was powered off
        `vexlab up hello` starts it anew, `vexlab logs hello` shows its console
        ");
    }
}
