// SPDX-License-Identifier: GPL-2.0-only
use std::env;
use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use libtest_mimic::Trial;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::call::Call;

/// The kernel that tests use which could use any.
pub(crate) const KERNEL: &str = "debian-6.1-cloud";

/// Time for a test that names no time-out.
pub(crate) const USUAL: Duration = Duration::from_secs(120);

/// How many machines run at a time, in all processes of all tests together.
const SLOTS: usize = 2;

/// How long fetching a kernel may take on a slow network. It happens once, and no test's time counts it.
const PROVISION: Duration = Duration::from_secs(900);

/// What a test does.
pub(crate) type Body = fn(&Context);

/// A test's surroundings. Holding one proves that the time of the test has begun.
pub(crate) struct Context {
    dir: TempDir,
    deadline: Instant,
    cache: PathBuf,
}

/// A test without a machine.
pub(crate) fn plain(name: &str, limit: Duration, body: Body) -> Trial {
    Trial::test(name, move || {
        in_context(limit, body);
        Ok(())
    })
}

/// A test with a machine at a time. Its time begins when it is its turn and its kernel is there.
pub(crate) fn machine(name: &str, limit: Duration, body: impl FnOnce(&Context) + Send + 'static) -> Trial {
    Trial::test(name, move || {
        provision(KERNEL);
        let _turn = Slot::wait();
        in_context(limit, body);
        Ok(())
    })
}

pub(crate) fn in_context(limit: Duration, body: impl FnOnce(&Context)) {
    let context = Context::new(limit);
    let _filters = context.filters().bind_to_scope();
    body(&context);
}

impl Context {
    fn new(limit: Duration) -> Self {
        let dir = tempfile::Builder::new().prefix("vexlab-suite-").tempdir().expect("a temporary folder");
        Self { dir, deadline: Instant::now() + limit, cache: cache() }
    }

    /// The test's own folder, which is removed with it.
    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("the test's folder is there")
    }

    /// A call of the program, with the shared cache.
    pub(crate) fn vexlab<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Call {
        self.program(Path::new(env!("CARGO_BIN_EXE_vexlab"))).args(arguments)
    }

    /// A call of any program, as a part of this test: in its folder, and with its time.
    pub(crate) fn program(&self, program: &Path) -> Call {
        let mut command = Command::new(program);
        command.env("XDG_CACHE_HOME", &self.cache).env_remove("TERM");
        Call::new(command, self.deadline).dir(&self.dir())
    }

    /// A copy of a folder of `tests/modules`, so that what is built does not end up among the sources.
    pub(crate) fn case(&self, name: &str) -> PathBuf {
        let place = self.dir().join(name);
        copy(&modules().join(name), &place);
        place
    }

    /// An empty cache.
    pub(crate) fn empty_cache(&self) -> PathBuf {
        let place = self.dir().join("cache");
        fs::create_dir_all(&place).expect("a folder for a cache");
        place
    }

    /// A cache of this test alone that has what the shared one has: whatever turns up in it is the test's
    /// doing.
    pub(crate) fn own_cache(&self) -> PathBuf {
        let place = self.empty_cache();
        let own = place.join("vexlab");
        fs::create_dir_all(&own).expect("a folder for a cache");
        for part in ["kernels", "tools", "accel", "rust", "cargo"] {
            let shared = self.cache.join("vexlab").join(part);
            if shared.exists() {
                symlink(shared, own.join(part)).expect("a link to a part of the shared cache");
            }
        }
        place
    }

    /// The same, with the machines that have booted already: what is started in it is restored, and what is saved
    /// is saved for all.
    pub(crate) fn own_machines(&self) -> PathBuf {
        let place = self.own_cache();
        // What is published is renamed, which takes one file system.
        for part in ["states", "initramfs", "staging"] {
            let shared = self.cache.join("vexlab").join(part);
            fs::create_dir_all(&shared).expect("the shared cache can be written");
            symlink(shared, place.join("vexlab").join(part)).expect("a link to a part of the shared cache");
        }
        place
    }

    /// The shared cache.
    pub(crate) fn cache(&self) -> &Path {
        &self.cache
    }

    /// Waits until something holds.
    pub(crate) fn wait_until(&self, what: &str, limit: Duration, holds: impl Fn() -> bool) {
        let deadline = self.deadline.min(Instant::now() + limit);
        while !holds() {
            assert!(Instant::now() < deadline, "waited in vain until {what}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Takes out of a snapshot what differs from run to run and from machine to machine.
    fn filters(&self) -> insta::Settings {
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(&literally(&self.dir()), "[DIR]");
        settings.add_filter(&literally(&self.cache), "[CACHE]");
        settings.add_filter(r"\d+\.\d+ s\b", "[TIME] s");
        settings.add_filter(r"\b6\.1\.0-\d+(-cloud)?-amd64\b", "[RELEASE]");
        settings.add_filter(r"process \d+,", "process [PID],");
        settings.add_filter(r"keeper is process \d+", "keeper is process [PID]");
        settings
    }
}

impl Drop for Context {
    /// What a failed test has left running ends with it: all of it was told of the test's folder.
    fn drop(&mut self) {
        for (number, _) in processes_with(&self.dir.path().display().to_string()) {
            if let Some(process) = Pid::from_raw(number) {
                // One that is gone by now is no trouble.
                let _ = kill_process(process, Signal::KILL);
            }
        }
    }
}

/// The folder with the cases.
pub(crate) fn modules() -> PathBuf {
    root().join("tests/modules")
}

/// The project that this suite is a part of.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// The shared cache, as `XDG_CACHE_HOME` would name it.
fn cache() -> PathBuf {
    let variable = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("VEXLAB_TEST_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME"))
        .or_else(|| variable("HOME").map(|home| home.join(".cache")))
        .expect("one of VEXLAB_TEST_CACHE, XDG_CACHE_HOME and HOME names a folder")
}

/// Has a kernel in the shared cache. Where it is there this costs nothing, and two at once wait for each
/// other.
pub(crate) fn provision(kernel: &str) {
    let context = Context::new(PROVISION);
    let added = context.vexlab(["kernel", "add", kernel]).run();
    assert_eq!(added.status, 0, "{kernel} can't be provisioned: {added}");
}

/// A turn at running a machine. It ends with the value, or with the process, however that ends.
#[must_use]
pub(crate) struct Slot {
    _file: File,
}

impl Slot {
    pub(crate) fn wait() -> Self {
        let dir = cache().join("vexlab/suite");
        fs::create_dir_all(&dir).expect("a folder for locks");
        let files = (0..SLOTS).map(|number| dir.join(format!("slot{number}")));
        let files: Vec<File> = files.map(|path| File::create(path).expect("a lock file")).collect();
        loop {
            for file in &files {
                match file.try_lock() {
                    Ok(()) => return Self { _file: file.try_clone().expect("a file can be shared") },
                    Err(TryLockError::WouldBlock) => {}
                    Err(TryLockError::Error(error)) => panic!("lock a slot: {error}"),
                }
            }
            sleep(Duration::from_millis(50));
        }
    }
}

/// Copies a folder: its files and folders, and what links in it lead to.
pub(crate) fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-rLT").args([from, to]).status().expect("cp can be started");
    assert!(copied.success(), "copy {} to {}", from.display(), to.display());
}

/// Puts the crates that a Rust side's tests need where `kernel/glue` finds them, if that is below `dir`.
pub(crate) fn copy_ktest(dir: &Path) {
    let crates = dir.join("crates");
    fs::create_dir(&crates).expect("a folder for the crates");
    for name in ["ktest", "ktest-macros"] {
        copy(&root().join("crates").join(name), &crates.join(name));
    }
}

/// The processes whose command line has this text, by their number.
pub(crate) fn processes_with(text: &str) -> Vec<(i32, String)> {
    let entries = fs::read_dir("/proc").expect("/proc can be read").flatten();
    let processes = entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Some((number, String::from_utf8_lossy(&line).replace('\0', " ")))
    });
    processes.filter(|(_, line)| line.contains(text)).collect()
}

/// The names in a folder, none where there is no folder.
pub(crate) fn names_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

/// A regular expression for this path and nothing else.
fn literally(path: &Path) -> String {
    path.display().to_string().replace('.', r"\.")
}
