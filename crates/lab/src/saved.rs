// SPDX-License-Identifier: GPL-2.0-only
//! Machines that have booted and whose agent waits, kept in the cache for runs to start from.
//!
//! A state is a folder: the guest's memory (a file with holes, which restored machines only read), the state of
//! its devices, and a manifest. Its name is a digest of all that shaped the machine. It appears whole or not at
//! all, and is removed by being moved away first, so that any number of `vexlab` use, make and remove states at
//! once; a machine that runs keeps the files that it has opened.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use wire::Marker;

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::host;
use crate::machine::{Accelerator, Machine, Sockets, Start};
use crate::project::Size;
use crate::qmp::Version;

/// How many bytes all states together may take on disk before the least recently used are removed.
pub const BOUND: Size = Size(4 << 30);

/// How a state is made and kept: one that was made in another way is not used.
const FORM: u32 = 1;

/// The folder of states in the cache.
const STATES: &str = "states";

const MEMORY: &str = "memory";
const DEVICES: &str = "devices";
const MANIFEST: &str = "state.json";

/// A digest of all that shapes a machine until its agent waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key([u8; 16]);

impl Key {
    /// The key of this machine. Its disks have to be there; they are taken as empty.
    ///
    /// # Errors
    ///
    /// When a file that it is made of can't be looked at.
    pub fn of(machine: &Machine) -> Result<Self> {
        let mut hash = Sha256::new();
        // A state that was not wholly on disk when the host lost its power must not be used: whether it was
        // would take longer to find out than a boot.
        hash.update(format!("{FORM} {}\n", host::boot_id()));
        for path in [&machine.qemu, &machine.image, &machine.initramfs] {
            let data = fs::metadata(path).context(|| format!("look at {}", path.display()))?;
            let time = (data.mtime(), data.mtime_nsec());
            hash.update(format!("{} {} {} {time:?}\n", path.display(), data.len(), data.ino()));
        }
        let mut disks = Vec::new();
        for disk in &machine.disks {
            let data = fs::metadata(disk).context(|| format!("look at {}", disk.display()))?;
            disks.push(PathBuf::from(data.len().to_string()));
        }
        let processor = host::processor();
        hash.update(match machine.accelerator {
            Accelerator::Kvm => format!("{}\n{}", host::kernel_release(), without_measurements(&processor)),
            Accelerator::Tcg => processor.lines().filter(|line| line.starts_with("model name")).collect(),
        });
        let plain = Machine {
            marker: Marker::new([0; 16]),
            disks,
            // It is measured, so it may differ from run to run. A restored machine keeps its own.
            tsc_khz: machine.tsc_khz.map(|_| 0),
            start: Start::PowerOn,
            ..machine.clone()
        };
        for word in plain.arguments(Sockets { agent: 0, console: 0, control: 0 }) {
            hash.update(word.as_encoded_bytes());
            hash.update([0]);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Ok(Self(key))
    }

    /// The marker of a machine with this key.
    pub fn marker(&self) -> Marker {
        Marker::new(self.0)
    }

    fn place(&self) -> PathBuf {
        Path::new(STATES).join(self.marker().to_string())
    }
}

/// What is said of a processor, without what is another value each time.
fn without_measurements(processor: &str) -> String {
    let measured = |line: &&str| line.starts_with("cpu MHz") || line.starts_with("bogomips");
    processor.lines().filter(|line| !measured(line)).collect()
}

#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    qemu: Version,
    /// The kernel's name, for lists.
    kernel: String,
    /// Bytes of the memory, holes included.
    memory: u64,
    /// The digest of the devices' state, in hexadecimal digits.
    devices: String,
}

impl Manifest {
    fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(MANIFEST);
        let read = || format!("read {}", path.display());
        serde_json::from_slice(&fs::read(&path).context(read)?).context(read)
    }
}

/// A state that is whole: when this value was made, both files were there as they were saved, as far as can be
/// seen without reading all of the memory.
#[derive(Debug)]
pub struct State {
    key: Key,
    dir: PathBuf,
    manifest: Manifest,
}

impl State {
    /// The state with this key, if there is one. It counts as used.
    ///
    /// # Errors
    ///
    /// When it is there, but damaged.
    pub fn find(lab: &Lab, key: &Key) -> Result<Option<Self>> {
        let dir = lab.cache.path(key.place());
        if !dir.exists() {
            return Ok(None);
        }
        let state = Self { key: key.clone(), manifest: Manifest::read(&dir)?, dir };
        let (memory, devices) = (state.memory(), state.devices());
        let length = fs::metadata(&memory).context(|| format!("look at {}", memory.display()))?.len();
        if length != state.manifest.memory {
            let expected = state.manifest.memory;
            return Err(Error::lab(format!("{} has {length} bytes instead of {expected}", memory.display())));
        }
        if digest(&devices)? != state.manifest.devices {
            return Err(Error::lab(format!("{} is not what was saved", devices.display())));
        }
        // Which state was used least recently is no reason to fail.
        let _ = File::open(state.dir.join(MANIFEST)).and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some(state))
    }

    /// Its key, to remove it with or to make another.
    pub fn into_key(self) -> Key {
        self.key
    }

    /// The guest's memory.
    pub fn memory(&self) -> PathBuf {
        self.dir.join(MEMORY)
    }

    /// The state of the devices, for QEMU.
    pub fn devices(&self) -> PathBuf {
        self.dir.join(DEVICES)
    }

    /// The QEMU that saved it. No other can restore it.
    pub fn qemu(&self) -> &Version {
        &self.manifest.qemu
    }
}

/// The place of a state that is being made. Nothing of it is left unless it is [published](Self::publish).
#[derive(Debug)]
pub struct Unfinished {
    staging: TempDir,
    key: Key,
}

impl Unfinished {
    /// A place for a machine's state.
    ///
    /// # Errors
    ///
    /// When there is no space for it, or the cache can't be written.
    pub fn new(lab: &Lab, key: Key, memory: Size) -> Result<Self> {
        // QEMU would be ended by the kernel when its memory can't be kept.
        lab.cache.require_space(memory.0, "a saved machine")?;
        Ok(Self { staging: lab.cache.staging()?, key })
    }

    /// Where the guest's memory is to be.
    pub fn memory(&self) -> PathBuf {
        self.staging.path().join(MEMORY)
    }

    /// Where the state of the devices is to be.
    pub fn devices(&self) -> PathBuf {
        self.staging.path().join(DEVICES)
    }

    /// Puts the state in its place, and removes others when there are too many. Where another `vexlab` has done
    /// the same in the meantime, that one's is used.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn publish(self, lab: &Lab, kernel: &str, qemu: Version) -> Result<State> {
        let memory = fs::metadata(self.memory()).context(|| "look at a machine's memory".to_owned())?.len();
        let devices = digest(&self.devices())?;
        let manifest = Manifest { qemu, kernel: kernel.to_owned(), memory, devices };
        let Self { staging, key } = self;
        let bytes = serde_json::to_vec(&manifest).context(|| "write a manifest".to_owned())?;
        let path = staging.path().join(MANIFEST);
        fs::write(&path, bytes).context(|| format!("write {}", path.display()))?;
        match lab.cache.publish(staging, key.place()) {
            Err(error) => State::find(lab, &key)?.ok_or(error),
            Ok(dir) => {
                prune(lab, BOUND, Some(&key))?;
                Ok(State { key, dir, manifest })
            }
        }
    }
}

/// Removes the state with this key, whatever is wrong with it.
pub fn remove(lab: &Lab, key: &Key) {
    discard(lab, &lab.cache.path(key.place()));
}

/// Moves a folder away before its files are removed: it is there whole or not at all. Another `vexlab` may be
/// doing the same.
fn discard(lab: &Lab, dir: &Path) {
    if let Ok(staging) = lab.cache.staging() {
        let _ = fs::rename(dir, staging.path().join("state"));
    }
}

/// A state in the cache.
#[derive(Debug)]
pub struct Listed {
    /// The kernel's name; nothing where the manifest can't be read.
    pub kernel: Option<String>,
    /// The guest's memory in bytes.
    pub memory: Size,
    /// Bytes on disk.
    pub size: u64,
    /// When it was used last, or made.
    pub used: SystemTime,
    dir: PathBuf,
}

/// All states, the most recently used first.
pub fn list(lab: &Lab) -> Vec<Listed> {
    let folders = fs::read_dir(lab.cache.path(STATES)).into_iter().flatten().flatten();
    let mut states: Vec<Listed> = folders.map(|entry| listed(entry.path())).collect();
    states.sort_by_key(|state| std::cmp::Reverse(state.used));
    states
}

fn listed(dir: PathBuf) -> Listed {
    let files = fs::read_dir(&dir).into_iter().flatten().flatten();
    let size = files.filter_map(|entry| entry.metadata().ok()).map(|data| data.blocks() * 512).sum();
    let used = fs::metadata(dir.join(MANIFEST)).and_then(|data| data.modified());
    let manifest = Manifest::read(&dir).ok();
    Listed {
        memory: Size(manifest.as_ref().map_or(0, |manifest| manifest.memory)),
        kernel: manifest.map(|manifest| manifest.kernel),
        size,
        used: used.unwrap_or(SystemTime::UNIX_EPOCH),
        dir,
    }
}

/// Removes the least recently used states until the others take no more than `bound` bytes on disk; the one
/// with the key `kept` stays. Gives those that were removed.
///
/// # Errors
///
/// When the wait for others who do the same is cancelled.
pub fn prune(lab: &Lab, bound: Size, kept: Option<&Key>) -> Result<Vec<Listed>> {
    let _lock = lab.cache.lock(STATES, &lab.cancel)?;
    let kept = kept.map(|key| lab.cache.path(key.place()));
    let mut sum = 0;
    let mut removed = list(lab);
    removed.retain(|state| {
        sum += state.size;
        sum > bound.0 && Some(&state.dir) != kept.as_ref()
    });
    for state in &removed {
        discard(lab, &state.dir);
    }
    Ok(removed)
}

fn digest(file: &Path) -> Result<String> {
    let bytes = fs::read(file).context(|| format!("read {}", file.display()))?;
    Ok(Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect())
}
