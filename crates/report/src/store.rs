// SPDX-License-Identifier: GPL-2.0-only
//! The records of past runs: one in each run's folder, below the cache's `runs`.

use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;

use lab::cache::Cache;
use lab::error::{Context, Error, Result};
use serde::Deserialize;

use crate::format::{Run, VERSION};

/// The file in a run's folder.
pub const RECORD: &str = "record.json";

/// The largest record that is read, in bytes: one of a run with thousands of tests takes a few millions.
const LARGEST: u64 = 256 << 20;

/// A run's folder that has a record.
#[derive(Debug)]
pub struct Entry {
    /// The run's name.
    pub id: String,
    /// What is in the record.
    pub run: Result<Run>,
}

/// All runs that have a record, the newest first.
///
/// # Errors
///
/// When the folder with the runs can't be read. One that isn't there has no runs.
pub fn list(cache: &Cache) -> Result<Vec<Entry>> {
    let dir = cache.path("runs");
    let entries = match fs::read_dir(&dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context(|| format!("read the folder {}", dir.display()))?,
    };
    // A name begins with the time; those that have none yet are of runs that go on.
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_by(|a, b| b.cmp(a));
    let with_record = names.into_iter().filter(|name| dir.join(name).join(RECORD).exists());
    Ok(with_record.map(|id| Entry { run: read(&dir.join(&id)), id }).collect())
}

/// The run with this name, or the newest one, which is called `last`.
///
/// # Errors
///
/// When there is none, or its record can't be read.
pub fn find(cache: &Cache, name: &str) -> Result<Run> {
    let mut entries = list(cache)?;
    let wanted = match name {
        "last" => 0,
        name => entries.iter().position(|entry| entry.id == name).unwrap_or(entries.len()),
    };
    if wanted >= entries.len() {
        let what =
            if name == "last" { "there is no run yet".to_owned() } else { format!("there is no run {name}") };
        return Err(Error::usage(what).with_remedy("`vexlab log` lists those that are kept"));
    }
    entries.swap_remove(wanted).run
}

/// The runs of the newest command that had any, in the order in which they were begun.
///
/// # Errors
///
/// When there is none, or the newest record can't be read.
pub fn newest(cache: &Cache) -> Result<Vec<Run>> {
    let first = find(cache, "last")?;
    let mut runs = Vec::new();
    for entry in list(cache)? {
        match entry.run {
            Ok(run) if run.invocation == first.invocation => runs.push(run),
            // One that can't be read may be of any command; whoever wants it names it.
            Ok(_) | Err(_) => {}
        }
    }
    runs.reverse();
    Ok(runs)
}

/// Reads the record in a run's folder.
fn read(dir: &Path) -> Result<Run> {
    #[derive(Deserialize)]
    struct Versioned {
        version: u32,
    }

    let path = dir.join(RECORD);
    let damaged = |cause: serde_json::Error| {
        let remedy = format!("nothing else needs it: rm -r {}", dir.display());
        Error::lab(format!("{} is no record of a run", path.display())).with_source(cause).with_remedy(remedy)
    };
    let mut text = Vec::new();
    let file = fs::File::open(&path).and_then(|file| file.take(LARGEST).read_to_end(&mut text));
    file.context(|| format!("read {}", path.display()))?;
    let Versioned { version } = serde_json::from_slice(&text).map_err(damaged)?;
    if version > VERSION {
        let what = format!("{} was written by a newer vexlab", path.display());
        let cause = format!("it has version {version} of the format, and this one reads {VERSION}");
        return Err(Error::lab(what).with_source(cause).with_remedy("update vexlab"));
    }
    let run: Run = serde_json::from_slice(&text).map_err(damaged)?;
    // A record says where it was written; it is where it was found.
    let id = dir.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(Run { id, dir: Some(dir.display().to_string()), ..run })
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;
    use crate::format::Event;
    use crate::specimen;

    /// A cache with these runs, each with its record's text.
    fn cache(records: &[(&str, &str)]) -> (tempfile::TempDir, Cache) {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned()).unwrap();
        for (id, text) in records {
            cache.write(Path::new("runs").join(id).join(RECORD), text.as_bytes()).unwrap();
        }
        (dir, cache)
    }

    /// What is said of a record, without the folder's name.
    fn said(text: &str) -> String {
        let (dir, cache) = cache(&[("1", text)]);
        let error = find(&cache, "1").unwrap_err();
        let cause = error.source().map(ToString::to_string).unwrap_or_default();
        let said = format!("{error}\n{cause}\n{}", error.remedy().unwrap_or_default());
        said.replace(&dir.path().display().to_string(), "[CACHE]")
    }

    #[test]
    fn what_was_written_is_read_the_newest_first() {
        let line = |run| Event::End(Box::new(run)).line();
        let other = line(Run { invocation: "other".to_owned(), ..specimen::passed() });
        let runs = [("1", &*other), ("2", &line(specimen::passed())), ("3", &line(specimen::failed()))];
        let (dir, cache) = cache(&runs);
        std::fs::create_dir(dir.path().join("runs/4")).unwrap();
        let ids: Vec<String> = list(&cache).unwrap().into_iter().map(|entry| entry.id).collect();
        assert_eq!(ids, ["3", "2", "1"], "one without a record goes on still");

        let run = find(&cache, "last").unwrap();
        assert_eq!(run.dir.as_deref(), Some(&*dir.path().join("runs/3").display().to_string()));
        assert_eq!(run.splats, specimen::failed().splats);
        assert_eq!(Event::End(Box::new(Run { id: None, dir: None, ..run })).line(), {
            line(Run { id: None, dir: None, ..specimen::failed() })
        });
        let kernels: Vec<String> = newest(&cache).unwrap().into_iter().map(|run| run.kernel).collect();
        assert_eq!(kernels, ["debian-6.1", "debian-6.12"]);
    }

    #[test]
    fn there_may_be_no_run() {
        let (_dir, cache) = cache(&[]);
        assert!(list(&cache).unwrap().is_empty());
        assert_eq!(find(&cache, "last").unwrap_err().to_string(), "there is no run yet");
        assert_eq!(find(&cache, "../1").unwrap_err().to_string(), "there is no run ../1");
    }

    #[test]
    fn what_is_damaged_is_named() {
        insta::assert_snapshot!(said("{\"version\":1,"), @r"
        [CACHE]/runs/1/record.json is no record of a run
        EOF while parsing a value at line 1 column 13
        nothing else needs it: rm -r [CACHE]/runs/1
        ");
        insta::assert_snapshot!(said("{\"version\":1,\"event\":\"end\"}"), @r"
        [CACHE]/runs/1/record.json is no record of a run
        missing field `invocation` at line 1 column 27
        nothing else needs it: rm -r [CACHE]/runs/1
        ");
        insta::assert_snapshot!(said(&"[".repeat(100_000)), @r"
        [CACHE]/runs/1/record.json is no record of a run
        invalid type: sequence, expected u32 at line 1 column 1
        nothing else needs it: rm -r [CACHE]/runs/1
        ");
    }

    #[test]
    fn what_is_newer_is_refused() {
        insta::assert_snapshot!(said("{\"version\":2,\"end\":true}"), @r"
        [CACHE]/runs/1/record.json was written by a newer vexlab
        it has version 2 of the format, and this one reads 1
        update vexlab
        ");
    }
}
