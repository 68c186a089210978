// SPDX-License-Identifier: GPL-2.0-only
//! The program in the machine that does what is asked for, at the other end of one ssh connection.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::cancel::{Cancel, POLL};
use crate::error::{Context, Error, Result};
use crate::image::{Connection, Ssh};

const PROGRAM: &str = include_str!("helper.py");

/// The longest answer that is taken, in bytes.
const ANSWER_LIMIT: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Lost {
    /// It takes too long.
    TimedOut(Duration),
    /// The connection ended; what ssh said.
    Ended(String),
    /// The user stopped it.
    Interrupted(Error),
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(limit) => write!(f, "no answer within {} s", limit.as_secs_f64()),
            Self::Ended(said) if said.is_empty() => write!(f, "the connection to the machine ended"),
            Self::Ended(said) => write!(f, "the connection to the machine ended: {said}"),
            Self::Interrupted(error) => error.fmt(f),
        }
    }
}

/// An answer.
#[derive(Debug)]
pub(super) struct Said {
    /// All of it.
    pub(super) value: Value,
    /// What a file has in it, or a program has said.
    pub(super) data: Vec<u8>,
    /// A program's exit status; negative for a signal.
    pub(super) status: i64,
}

impl Said {
    /// Why it could not be done, where that is so.
    pub(super) fn failure(&self) -> Option<String> {
        self.value.get("error").and_then(Value::as_str).map(str::to_owned)
    }

    /// The kernel's taint, where the answer has it.
    pub(super) fn taint(&self) -> Option<u64> {
        self.value.get("taint").and_then(Value::as_u64)
    }

    /// The data as text.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.data).into_owned()
    }
}

/// Bytes, as requests have them.
pub(super) fn encode(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// The connection. It ends with this value.
pub(super) struct Helper {
    connection: Connection,
    input: UnixStream,
    answers: Receiver<Value>,
    cancel: Cancel,
    requests: u64,
}

impl Helper {
    /// Starts the program in the machine.
    pub(super) fn start(ssh: &Ssh, cancel: &Cancel) -> Result<Self> {
        let (input, connection) = Connection::open(ssh, PROGRAM)?;
        let output = input.try_clone().context(|| "start ssh".to_owned())?;
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                match reader.by_ref().take(ANSWER_LIMIT).read_until(b'\n', &mut line) {
                    Ok(1..) => {}
                    _ => return,
                }
                let Ok(value) = serde_json::from_slice(&line) else { continue };
                if sender.send(value).is_err() {
                    return;
                }
            }
        });
        Ok(Self { connection, input, answers, cancel: cancel.clone(), requests: 0 })
    }

    /// Asks for something, and waits for the answer.
    pub(super) fn ask(&mut self, mut request: Value, limit: Duration) -> Result<Said, Lost> {
        self.requests += 1;
        request["id"] = json!(self.requests);
        // That it has ended is noticed below.
        let _ = self.input.write_all(format!("{request}\n").as_bytes());
        let deadline = Instant::now() + limit;
        loop {
            match self.answers.recv_timeout(POLL) {
                Ok(value) if value.get("id").and_then(Value::as_u64) == Some(self.requests) => {
                    let data = value.get("data").and_then(Value::as_str).unwrap_or_default();
                    let data = BASE64_STANDARD.decode(data).unwrap_or_default();
                    let status = value.get("status").and_then(Value::as_i64).unwrap_or_default();
                    return Ok(Said { value, data, status });
                }
                Ok(_) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Lost::Ended(self.connection.complaint().unwrap_or_default()));
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.cancel.check().map_err(Lost::Interrupted)?;
                    if Instant::now() > deadline {
                        return Err(Lost::TimedOut(limit));
                    }
                }
            }
        }
    }
}
