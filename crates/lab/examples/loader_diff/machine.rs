// SPDX-License-Identifier: GPL-2.0-only
//! What a kernel says to a module's file, asked in a machine that is there for this question alone.

use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use lab::Lab;
use lab::kernel::Kernel;
use lab::machine::Accelerator;
use lab::run::Wanted;
use lab::session::{Collect, Lost, Session};
use lab::splat::Severity;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wire::{Exit, Process, Reply, Request};

/// For each conversation with the machine.
const LIMIT: Duration = Duration::from_secs(40);
/// The trace point of `load_module`'s end.
const START_TRACE: &str = "mount -t tracefs tracefs /sys/kernel/tracing; \
                           echo 1 > /sys/kernel/tracing/events/module/module_load/enable";
const SHOW_TRACE: &str = "cat /sys/kernel/tracing/trace";
const PATH: &str = "/vexlab/payload/copy.ko";

/// What came of loading a file.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) end: End,
    /// What the kernel printed meanwhile.
    pub(crate) words: Vec<String>,
}

/// How loading a file ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum End {
    Loaded,
    /// With this error number.
    Refused(i32),
    /// The kernel oopsed, hung, or was gone.
    Broken(String),
}

/// A kernel that is asked.
pub(crate) struct Oracle<'a> {
    lab: &'a Lab,
    kernel: &'a Kernel,
    known: Known,
}

impl<'a> Oracle<'a> {
    /// `answers` is a file of answers that were given before: what a kernel says to a file doesn't change.
    pub(crate) fn new(
        lab: &'a Lab,
        kernel: &'a Kernel,
        answers: Option<PathBuf>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self { lab, kernel, known: Known::read(answers)? })
    }

    /// Loads a file.
    ///
    /// # Errors
    ///
    /// When no machine boots.
    pub(crate) fn ask(&self, module: &[u8]) -> Result<Answer, String> {
        let key = format!("{} {:x}", self.kernel.release(), Sha256::digest(module));
        if let Some(answer) = self.known.get(&key) {
            return Ok(answer);
        }
        let dir = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        let mut session = self.machine(&dir)?;
        let said = session.log().len();
        let mut end = load(&mut session, module).unwrap_or_else(|lost| End::Broken(lost.to_string()));
        let words: Vec<String> = session.log()[said..].iter().map(|record| record.text.clone()).collect();
        let splats = session.splats();
        if let Some(trouble) = splats.into_iter().find(|splat| splat.severity() != Severity::Warning) {
            end = End::Broken(trouble.title);
        }
        let answer = Answer { end, words };
        self.known.keep(key, &answer)?;
        Ok(answer)
    }

    /// Whether the loader comes to an end with a file, and starts the module's `init`: its trace point comes just
    /// before.
    ///
    /// # Errors
    ///
    /// When no machine boots, or it can't trace.
    pub(crate) fn starts(&self, module: &[u8]) -> Result<bool, String> {
        let key = format!("{} {:x} starts", self.kernel.release(), Sha256::digest(module));
        if let Some(answer) = self.known.get(&key) {
            return Ok(answer.end == End::Loaded);
        }
        let dir = tempfile::tempdir().map_err(|cause| cause.to_string())?;
        let mut session = self.machine(&dir)?;
        let lost = |lost: Lost| lost.to_string();
        shell(&mut session, START_TRACE).map_err(lost)?;
        load(&mut session, module).map_err(lost)?;
        let trace = shell(&mut session, SHOW_TRACE).map_err(lost)?;
        let end = if trace.contains("module_load: ") { End::Loaded } else { End::Refused(0) };
        let is_started = end == End::Loaded;
        self.known.keep(key, &Answer { end, words: vec![trace] })?;
        Ok(is_started)
    }

    /// The modules that the machine itself has loaded.
    pub(crate) fn loaded(&self) -> Result<BTreeSet<String>, Box<dyn Error>> {
        let board = lab::run::describe_for_trial(self.lab, self.kernel)?.board;
        let files = self.kernel.modules()?.closure(board.modules(false))?;
        let name = |file: &PathBuf| {
            let name = file.file_name()?.to_str()?;
            Some(name.split(".ko").next()?.replace('-', "_"))
        };
        Ok(files.iter().filter_map(name).collect())
    }

    /// A machine in which nothing has happened yet.
    fn machine(&self, dir: &tempfile::TempDir) -> Result<Session, String> {
        let wanted = Wanted { accelerator: Some(Accelerator::Tcg), ..Wanted::default() };
        let started = lab::run::machine(self.lab, self.kernel, &wanted, dir.path());
        started.map(|(session, _)| session).map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{error}{cause}")
        })
    }
}

fn load(session: &mut Session, module: &[u8]) -> Result<End, Lost> {
    session.put(PATH, 0o644, module, LIMIT)?;
    let request = Request::Load { path: PATH.to_owned(), parameters: String::new() };
    Ok(match session.request(&request, LIMIT)? {
        Reply::Done => End::Loaded,
        Reply::Failed { errno, .. } => End::Refused(errno),
        other => End::Broken(format!("{other:?}")),
    })
}

/// Runs a script in the machine. Gives what it printed.
fn shell(session: &mut Session, script: &str) -> Result<String, Lost> {
    let arguments = ["/bin/sh", "-ec", script].map(str::to_owned).to_vec();
    session.send(&Request::Run(Process::new(arguments)))?;
    session.send(&Request::StdinEnd)?;
    let mut output = Collect::default();
    match session.wait(Some(LIMIT), &mut output)? {
        Reply::Exited(Exit::Status(0)) => Ok(String::from_utf8_lossy(&output.0).into_owned()),
        other => {
            Err(Lost::Nonsense(format!("{other:?} for the script: {}", String::from_utf8_lossy(&output.0))))
        }
    }
}

/// Answers that were given before, in a file of lines.
struct Known {
    file: Option<PathBuf>,
    answers: Mutex<HashMap<String, Answer>>,
}

impl Known {
    fn read(file: Option<PathBuf>) -> Result<Self, Box<dyn Error>> {
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        let answers = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { file, answers: Mutex::new(answers) })
    }

    fn get(&self, key: &str) -> Option<Answer> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    fn keep(&self, key: String, answer: &Answer) -> Result<(), String> {
        let Some(file) = &self.file else { return Ok(()) };
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let line = serde_json::to_string(&(&key, answer)).map_err(|cause| cause.to_string())?;
        let file = OpenOptions::new().create(true).append(true).open(file);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(|cause| cause.to_string())?;
        answers.insert(key, answer.clone());
        Ok(())
    }
}
