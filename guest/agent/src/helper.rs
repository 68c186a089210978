// SPDX-License-Identifier: GPL-2.0-only
use std::ffi::CString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, PipeWriter, Read, Seek, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use wire::frame::CHUNK;
use wire::samples::Piece;
use wire::{Reply, Stream};

use crate::guard::Machine;
use crate::job::{Failure, Job, Kind, Step, Streams, file};
use crate::sampler::Sampler;
use crate::sys;

/// Writes to a file, making its folders.
pub(crate) fn put(path: String, mode: u32, append: bool, data: Vec<u8>) -> io::Result<Job> {
    let object = path.clone();
    Job::start(Kind::OrderedHelper, object, Streams::default(), move || write(&path, mode, append, &data))
}

/// Whether a file is part of the payload, which is kept in memory: nothing there has to be waited for.
pub(crate) fn is_payload(path: &str) -> bool {
    let name = path.strip_prefix(wire::PAYLOAD).and_then(|rest| rest.strip_prefix('/'));
    name.is_some_and(|name| !name.is_empty() && !name.contains('/'))
}

/// Writes to a file of the payload, in this process: to make and to bury a copy of it would take an emulator longer.
pub(crate) fn put_payload(path: &str, mode: u32, append: bool, data: &[u8]) -> Reply {
    write(path, mode, append, data).map_or_else(|failure| failure.reply(path), |()| Reply::Done)
}

fn write(path: &str, mode: u32, append: bool, data: &[u8]) -> Result<(), Failure> {
    let mut file = match open_to_put(path, mode, append) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(folder) = Path::new(path).parent() {
                fs::create_dir_all(folder).map_err(Step::MakeFolder.failed())?;
            }
            open_to_put(path, mode, append)
        }
        file => file,
    }
    .map_err(Step::Open.failed())?;
    // Only a mode that differs is set: many a file that isn't on a disk doesn't let it be.
    let found = file.metadata().map_err(Step::SetMode.failed())?.permissions();
    if found.mode() & 0o7777 != mode & 0o7777 {
        file.set_permissions(Permissions::from_mode(mode)).map_err(Step::SetMode.failed())?;
    }
    file.write_all(data).map_err(Step::Write.failed())
}

fn open_to_put(path: &str, mode: u32, append: bool) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).append(append).truncate(!append).mode(mode).open(path)
}

/// Reads a file to its end.
pub(crate) fn read(path: String) -> io::Result<Job> {
    with_output(path.clone(), move |mut output| {
        let file = File::open(&path).map_err(Step::Open.failed())?;
        copy(file, &mut output)
    })
}

/// Reads pieces of a file: where each begins, and its length.
pub(crate) fn read_at(path: String, pieces: Vec<(u64, u64)>) -> io::Result<Job> {
    with_output(path.clone(), move |mut output| {
        let file = File::open(&path).map_err(Step::Open.failed())?;
        for (offset, length) in pieces {
            let mut bytes = vec![0; length.min(CHUNK as u64) as usize];
            let read = file.read_exact_at(&mut bytes, offset);
            let piece = Piece { bytes: if read.is_ok() { bytes } else { Vec::new() } };
            let frame = wire::encode(&piece).map_err(|_| io::ErrorKind::InvalidData.into());
            output.write_all(&frame.map_err(Step::Write.failed())?).map_err(Step::Write.failed())?;
        }
        Ok(())
    })
}

/// Starts what answers questions: it writes the input to a file in one call, and reads the answer through the same open
/// file, which it then closes. To copy the agent for each question would take an emulator longer than the questions.
pub(crate) fn start_asker(mut sampler: Option<&mut Sampler>) -> io::Result<Job> {
    let (ours, mut theirs) = io::pipe()?;
    let outputs = [Some((file(ours), Stream::Stdout)), None];
    Job::start_asker(Streams { outputs, ..Streams::default() }, move |path, input| {
        if let Some(sampler) = &mut sampler {
            sampler.begin().map_err(Step::Sample.failed())?;
        }
        sys::mark_begin();
        let answered = answer(path, input, &mut theirs);
        sys::mark_end();
        if let Some(sampler) = &mut sampler {
            sampler.end().map_err(Step::Sample.failed())?;
        }
        answered
    })
}

fn answer(path: &str, input: &[u8], output: &mut PipeWriter) -> Result<(), Failure> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(Step::Open.failed())?;
    if file.write(input).map_err(Step::Write.failed())? != input.len() {
        return Err(Failure { step: Step::Write, errno: libc::EIO });
    }
    // The answer begins at the file's beginning, and writing may have moved on from there. Files that have no position
    // can't be rewound, and needn't be.
    let _ = file.rewind();
    copy(file, output)
}

/// Loads a module.
pub(crate) fn load(machine: &Machine, path: String, parameters: String) -> io::Result<Job> {
    let parameters = CString::new(parameters)?;
    Job::start(Kind::Helper, path.clone(), Streams::default(), move || {
        let module = File::open(&path).map_err(Step::Open.failed())?;
        sys::load_module(machine, &module, &parameters).map_err(Step::Load.failed())
    })
}

/// Unloads a module. Its name may be written as its file's is.
pub(crate) fn unload(machine: &Machine, name: String) -> io::Result<Job> {
    let module = CString::new(name.replace('-', "_"))?;
    Job::start(Kind::Helper, name, Streams::default(), move || {
        sys::unload_module(machine, &module).map_err(Step::Unload.failed())
    })
}

/// Starts a copy of the agent with a pipe whose content is sent to the host as output.
pub(crate) fn with_output(
    object: String,
    work: impl FnOnce(PipeWriter) -> Result<(), Failure>,
) -> io::Result<Job> {
    let (ours, theirs) = io::pipe()?;
    let outputs = [Some((file(ours), Stream::Stdout)), None];
    Job::start(Kind::Helper, object, Streams { outputs, ..Streams::default() }, move || work(theirs))
}

/// Copies with large reads, because each may be a call into a module that makes up its text.
fn copy(mut from: File, to: &mut PipeWriter) -> Result<(), Failure> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        match from.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(length) => to.write_all(&bytes[..length]).map_err(Step::Write.failed())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Step::Read.failed()(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_file_of_its_folder_is_payload() {
        assert!(is_payload("/vexlab/payload/vexfs.ko"));
        for path in
            ["/vexlab/payload", "/vexlab/payload/", "/vexlab/payload/a/b", "/vexlab/payloads/a", "/tmp/a"]
        {
            assert!(!is_payload(path), "{path}");
        }
    }

    #[test]
    fn what_is_put_is_written_or_said_not_to_be() {
        let folder = std::env::temp_dir().join(format!("vexlab-agent-put-{}", std::process::id()));
        let path = folder.join("a").to_string_lossy().into_owned();
        assert_eq!(put_payload(&path, 0o600, false, b"one"), Reply::Done);
        assert_eq!(put_payload(&path, 0o600, true, b" two"), Reply::Done);
        assert_eq!(fs::read(&path).unwrap(), b"one two");
        assert_eq!(put_payload(&path, 0o640, false, b"three"), Reply::Done);
        assert_eq!(fs::read(&path).unwrap(), b"three");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let below = format!("{path}/b");
        let action = format!("open {below}");
        assert_eq!(put_payload(&below, 0o600, false, b""), Reply::Failed { action, errno: libc::ENOTDIR });
        let full = put_payload("/dev/full", 0o666, true, b"three");
        assert_eq!(full, Reply::Failed { action: "write /dev/full".into(), errno: libc::ENOSPC });
        fs::remove_dir_all(folder).unwrap();
    }
}
