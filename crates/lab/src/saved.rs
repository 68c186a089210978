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
use wire::Marker;

use crate::Lab;
use crate::cache::Staging;
use crate::error::{Context, Error, Result};
use crate::host;
use crate::machine::{Accelerator, Machine, Sockets, Start};
use crate::project::Size;
use crate::qmp::Version;

/// How many bytes all states together may take on disk before the least recently used are removed.
pub const BOUND: Size = Size(4 << 30);

/// How a state is made and kept: one that was made in another way is not used.
const FORM: u32 = 2;

/// The folder of states in the cache.
const STATES: &str = "states";

const MEMORY: &str = "memory";
const DEVICES: &str = "devices";
const MANIFEST: &str = "state.json";

/// The file that is there instead of a state.
const GIVEN_UP: &str = "given-up";

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
        hash.update(of_form_and_boot());
        for path in [&machine.qemu, &machine.image] {
            hash.update(of_file(path)?);
        }
        // Its name is a digest of what is in it, and two `vexlab` may make it at once.
        hash.update(machine.initramfs.as_os_str().as_encoded_bytes());
        let mut disks = Vec::new();
        for disk in &machine.disks {
            let data = fs::metadata(disk).context(|| format!("look at {}", disk.display()))?;
            disks.push(PathBuf::from(data.len().to_string()));
        }
        hash.update(of_host(machine.accelerator));
        let plain = Machine {
            marker: Marker::new([0; 16]),
            disks,
            // It is measured, so it may differ from run to run. A restored machine keeps its own.
            tsc_khz: machine.tsc_khz.map(|_| 0),
            start: Start::PowerOn,
            // They are QEMU's alone, and leave no trace in the machine.
            debugger: None,
            plugin: None,
            ..machine.clone()
        };
        for word in plain.arguments(Sockets { agent: 0, console: 0, control: 0 }) {
            hash.update(word.as_encoded_bytes());
            hash.update([0]);
        }
        Ok(Self::from_digest(hash))
    }

    /// The key of a machine of another kind, run by this QEMU, of which `text` says all that shapes it.
    ///
    /// # Errors
    ///
    /// When QEMU can't be looked at.
    pub(crate) fn of_text(qemu: &Path, accelerator: Accelerator, text: &str) -> Result<Self> {
        let mut hash = Sha256::new();
        for part in [&of_form_and_boot(), &of_file(qemu)?, &of_host(accelerator), text] {
            hash.update(part);
            hash.update([0]);
        }
        Ok(Self::from_digest(hash))
    }

    fn from_digest(hash: Sha256) -> Self {
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }

    /// The marker of a machine with this key.
    pub fn marker(&self) -> Marker {
        Marker::new(self.0)
    }

    fn place(&self) -> PathBuf {
        Path::new(STATES).join(self.marker().to_string())
    }
}

/// How states are made, and in which of this host's lives. A state that was not wholly on disk when the host lost its
/// power must not be used: whether it was would take longer to find out than a boot.
fn of_form_and_boot() -> String {
    format!("{FORM} {}\n", host::boot_id())
}

/// What tells a file from others and from what it was before, without reading it.
pub(crate) fn of_file(path: &Path) -> Result<String> {
    let data = fs::metadata(path).context(|| format!("look at {}", path.display()))?;
    let time = (data.mtime(), data.mtime_nsec());
    Ok(format!("{} {} {} {time:?}\n", path.display(), data.len(), data.ino()))
}

/// What of the host shapes a machine.
fn of_host(accelerator: Accelerator) -> String {
    let processor = host::processor();
    match accelerator {
        Accelerator::Kvm => format!("{}\n{}", host::kernel_release(), without_measurements(&processor)),
        Accelerator::Tcg => processor.lines().filter(|line| line.starts_with("model name")).collect(),
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

    /// Where it is, with what else was put there when it was made.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
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
    staging: Staging,
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

    /// Where it is being made. What else is put there goes with it.
    pub(crate) fn dir(&self) -> &Path {
        self.staging.path()
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

/// Remembers why the state with this key, which was new, could not be restored: to boot, to save and to fail
/// each time would take longer than to boot.
///
/// # Errors
///
/// When the cache can't be written.
pub fn give_up(lab: &Lab, key: &Key, why: &str) -> Result<()> {
    remove(lab, key);
    lab.cache.write(key.place().join(GIVEN_UP), why.as_bytes())?;
    Ok(())
}

/// Why there will be no state with this key, if that is so. It lasts until the state is removed.
pub fn given_up(lab: &Lab, key: &Key) -> Option<String> {
    fs::read_to_string(lab.cache.path(key.place()).join(GIVEN_UP)).ok()
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::profile::Plugin;
    use crate::{cache::Cache, cancel::Cancel, event::Silent, machine::Board};

    fn lab(dir: &Path) -> Lab {
        let cache = Cache::at(dir.join("cache")).unwrap();
        Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() }
    }

    fn machine(dir: &Path) -> Machine {
        let file = |name: &str| {
            let path = dir.join(name);
            fs::write(&path, name).unwrap();
            path
        };
        Machine {
            qemu: file("qemu"),
            accelerator: Accelerator::Tcg,
            board: Board::Microvm,
            image: file("vmlinux"),
            pvh: true,
            initramfs: file("initramfs"),
            marker: Marker::new([1; 16]),
            memory: Size(1 << 20),
            processors: 1,
            disks: Vec::new(),
            cmpxchg16b: true,
            tsc_khz: Some(2_600_000),
            talkative: false,
            start: Start::PowerOn,
            debugger: None,
            plugin: None,
            counted: false,
            fine_timers: false,
        }
    }

    fn version(text: &str) -> Version {
        serde_json::from_str(text).unwrap()
    }

    const QEMU: &str = r#"{"major": 10, "minor": 0, "micro": 2, "package": ""}"#;

    /// Makes a state as a run does, with this memory.
    fn save(lab: &Lab, machine: &Machine, memory: &str) -> State {
        let unfinished = Unfinished::new(lab, Key::of(machine).unwrap(), machine.memory).unwrap();
        fs::write(unfinished.memory(), memory).unwrap();
        fs::write(unfinished.devices(), "devices").unwrap();
        unfinished.publish(lab, "debian-6.1", version(QEMU)).unwrap()
    }

    #[test]
    fn all_that_shapes_a_machine_is_in_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let machine = machine(dir.path());
        let key = |machine: &Machine| Key::of(machine).unwrap();
        let first = key(&machine);
        let disk = |name: &str, size: u64| {
            let path = dir.path().join(name);
            File::create(&path).unwrap().set_len(size).unwrap();
            vec![path]
        };
        let others = [
            Machine { accelerator: Accelerator::Kvm, ..machine.clone() },
            Machine { board: Board::Q35, ..machine.clone() },
            Machine { pvh: false, ..machine.clone() },
            Machine { memory: Size(2 << 20), ..machine.clone() },
            Machine { processors: 2, ..machine.clone() },
            Machine { tsc_khz: None, ..machine.clone() },
            Machine { talkative: true, ..machine.clone() },
            Machine { counted: true, ..machine.clone() },
            Machine { fine_timers: true, ..machine.clone() },
            Machine { image: machine.initramfs.clone(), ..machine.clone() },
            Machine { initramfs: machine.image.clone(), ..machine.clone() },
            Machine { disks: disk("a", 1 << 20), ..machine.clone() },
            Machine { disks: disk("b", 2 << 20), ..machine.clone() },
        ];
        for (index, other) in others.iter().enumerate() {
            assert_ne!(key(other), first, "{other:?}");
            assert!(others[..index].iter().all(|earlier| key(earlier) != key(other)), "{other:?}");
        }
        for path in [&machine.qemu, &machine.image] {
            let before = key(&machine);
            fs::write(path, "another one").unwrap();
            assert_ne!(key(&machine), before, "{}", path.display());
        }
    }

    #[test]
    fn what_differs_from_run_to_run_is_not_in_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let machine = machine(dir.path());
        let disk = |name: &str| {
            let path = dir.path().join(name);
            File::create(&path).unwrap().set_len(1 << 20).unwrap();
            vec![path]
        };
        let one = Machine { disks: disk("a"), ..machine.clone() };
        let marker = Marker::new([2; 16]);
        let start = Start::Restored("/state/memory".into());
        let plugin = Some(Plugin { file: "/c/plugin.so".into(), out: "/r/profile".into() });
        let disks = disk("b");
        let other = Machine { disks, marker, tsc_khz: Some(2_600_001), start, plugin, ..machine };
        assert_eq!(Key::of(&one).unwrap(), Key::of(&other).unwrap());
    }

    #[test]
    fn measured_values_of_a_processor_do_not_count() {
        let one = "model name : x\ncpu MHz\t: 2600.1\nflags : a b\nbogomips : 5200.2\n";
        assert_eq!(without_measurements(one), "model name : xflags : a b");
    }

    #[test]
    fn a_state_is_found_again_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (lab, machine) = (lab(dir.path()), machine(dir.path()));
        let key = Key::of(&machine).unwrap();
        assert!(State::find(&lab, &key).unwrap().is_none());
        drop(Unfinished::new(&lab, key.clone(), machine.memory).unwrap());
        assert!(State::find(&lab, &key).unwrap().is_none());
        save(&lab, &machine, "memory");
        let state = State::find(&lab, &key).unwrap().unwrap();
        assert_eq!(fs::read_to_string(state.memory()).unwrap(), "memory");
        assert_eq!(state.qemu(), &version(QEMU));
        // Another vexlab was faster: what it made is used.
        assert_eq!(save(&lab, &machine, "MEMORY").dir, state.dir);
        assert_eq!(fs::read_to_string(state.memory()).unwrap(), "memory");
        remove(&lab, &key);
        remove(&lab, &key);
        assert!(State::find(&lab, &key).unwrap().is_none());
        assert_eq!(fs::read_dir(lab.cache.path("staging")).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_state_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (lab, machine) = (lab(dir.path()), machine(dir.path()));
        let key = Key::of(&machine).unwrap();
        let state = save(&lab, &machine, "memory");
        let said = || {
            let error = State::find(&lab, &key).unwrap_err();
            error.to_string().replace(&state.dir.display().to_string(), "STATE")
        };
        fs::write(state.devices(), "DEVICES").unwrap();
        insta::assert_snapshot!(said(), @"STATE/devices is not what was saved");
        fs::write(state.memory(), "mem").unwrap();
        insta::assert_snapshot!(said(), @"STATE/memory has 3 bytes instead of 6");
        fs::remove_file(state.memory()).unwrap();
        insta::assert_snapshot!(said(), @"look at STATE/memory");
        fs::write(state.dir.join(MANIFEST), "{").unwrap();
        insta::assert_snapshot!(said(), @"read STATE/state.json");
        assert_eq!(list(&lab)[0].kernel, None);
    }

    #[test]
    fn the_least_recently_used_go_first() {
        let dir = tempfile::tempdir().unwrap();
        let (lab, machine) = (lab(dir.path()), machine(dir.path()));
        let keys = [1, 2, 3].map(|processors| {
            let machine = Machine { processors, ..machine.clone() };
            let state = save(&lab, &machine, &"m".repeat(8192));
            let used = SystemTime::now() - Duration::from_secs(60 * u64::from(processors));
            File::open(state.dir.join(MANIFEST)).unwrap().set_modified(used).unwrap();
            state.key
        });
        let there = || keys.each_ref().map(|key| lab.cache.path(key.place()).exists());
        let size = list(&lab)[0].size;
        assert_eq!(prune(&lab, Size(3 * size), None).unwrap().len(), 0);
        State::find(&lab, &keys[2]).unwrap();
        assert_eq!(prune(&lab, Size(2 * size), None).unwrap().len(), 1);
        assert_eq!(there(), [true, false, true], "the third was used a moment ago");
        assert_eq!(prune(&lab, Size(0), Some(&keys[0])).unwrap().len(), 1);
        assert_eq!(there(), [true, false, false], "one that is to be kept stays");
    }

    #[test]
    fn without_space_there_is_no_place_for_a_state() {
        let dir = tempfile::tempdir().unwrap();
        let (lab, machine) = (lab(dir.path()), machine(dir.path()));
        let key = Key::of(&machine).unwrap();
        let error = Unfinished::new(&lab, key, Size(u64::MAX)).unwrap_err();
        assert!(error.to_string().starts_with("no space for a saved machine: it takes "), "{error}");
    }
}
