// SPDX-License-Identifier: GPL-2.0-only
//! The folder in which everything that can be made again is kept.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use crate::cancel::{Cancel, POLL};
use crate::error::{Context, Error, Result};

/// `$XDG_CACHE_HOME/vexlab`. Its folders appear whole or not at all: they are made under another name
/// beside their place and renamed into it.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
}

/// The right to change one part of the cache. Others who want it wait; it ends with this value, or with
/// the process, however that ends.
#[derive(Debug)]
#[must_use]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until nobody else holds the lock on this file, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// When the file can't be made, or the wait is cancelled.
    pub fn of_file(path: &Path, cancel: &Cancel) -> Result<Self> {
        let file = File::create(path).context(|| format!("make the lock file {}", path.display()))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(fs::TryLockError::WouldBlock) => {
                    cancel.check()?;
                    std::thread::sleep(POLL);
                }
                Err(fs::TryLockError::Error(error)) => {
                    return Err(error).context(|| format!("lock {}", path.display()));
                }
            }
        }
    }
}

/// An empty folder beside the cache's parts, for something that is being made. It is removed with this value,
/// unless it is [published](Cache::publish); should the process be killed, by the next one.
#[derive(Debug)]
pub struct Staging {
    dir: TempDir,
    /// Tells others that this process lives.
    lock: File,
}

impl Staging {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Removes it.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn close(self) -> std::io::Result<()> {
        self.dir.close()
    }
}

/// How old a staging folder is at least that is taken for abandoned.
const SWEPT_AFTER: Duration = Duration::from_secs(60);

impl Cache {
    /// The user's cache: `$XDG_CACHE_HOME/vexlab`, else `$HOME/.cache/vexlab`.
    ///
    /// # Errors
    ///
    /// When neither variable is set to an absolute path, or the folder can't be made.
    pub fn of_user() -> Result<Self> {
        let absolute = |name| std::env::var_os(name).map(PathBuf::from).filter(|p| p.is_absolute());
        let base = absolute("XDG_CACHE_HOME").or_else(|| absolute("HOME").map(|home| home.join(".cache")));
        let base = base.ok_or_else(|| {
            Error::lab("there is no place for the cache: neither XDG_CACHE_HOME nor HOME is an absolute path")
                .with_remedy("set XDG_CACHE_HOME to a folder with 2 GB of space")
        })?;
        Self::at(base.join("vexlab"))
    }

    /// A cache in this folder, which is made if it is missing.
    ///
    /// # Errors
    ///
    /// When the folder can't be made.
    pub fn at(root: PathBuf) -> Result<Self> {
        make_dir(&root)?;
        Ok(Self { root })
    }

    /// The path of something in the cache, there or not.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// Waits for the right to change the part called `name` (letters, digits, `.`, `-`).
    ///
    /// # Errors
    ///
    /// When the lock file can't be made, or the wait is cancelled.
    pub fn lock(&self, name: &str, cancel: &Cancel) -> Result<Lock> {
        make_dir(&self.path("locks"))?;
        Lock::of_file(&self.path("locks").join(name), cancel)
    }

    /// An empty [`Staging`] folder.
    ///
    /// # Errors
    ///
    /// When it can't be made.
    pub fn staging(&self) -> Result<Staging> {
        let parent = self.path("staging");
        make_dir(&parent)?;
        let what = || format!("make a folder under {}", parent.display());
        let dir = tempfile::Builder::new().tempdir_in(&parent).context(what)?;
        let lock = File::open(dir.path()).context(what)?;
        lock.lock().context(what)?;
        Ok(Staging { dir, lock })
    }

    /// Puts a finished staging folder in its place, in one step.
    ///
    /// # Errors
    ///
    /// When the place is taken or can't be written.
    pub fn publish(&self, staging: Staging, relative: impl AsRef<Path>) -> Result<PathBuf> {
        let place = self.path(relative);
        if let Some(parent) = place.parent() {
            make_dir(parent)?;
        }
        fs::rename(staging.path(), &place)
            .context(|| format!("move {} to {}", staging.path().display(), place.display()))?;
        // The folder has its new name: there is nothing left to remove under the old one.
        let _ = staging.dir.keep();
        drop(staging.lock);
        Ok(place)
    }

    /// Writes a file in the cache in one step: readers see all of it or the one before.
    ///
    /// # Errors
    ///
    /// When it can't be written.
    pub fn write(&self, relative: impl AsRef<Path>, content: &[u8]) -> Result<PathBuf> {
        let place = self.path(relative);
        write_atomically(&place, content)?;
        Ok(place)
    }

    /// The bytes that are free for this user on the cache's file system.
    ///
    /// # Errors
    ///
    /// When that can't be asked.
    pub fn free_space(&self) -> Result<u64> {
        let data = rustix::fs::statvfs(&self.root)
            .context(|| format!("ask for the space in {}", self.root.display()))?;
        Ok(data.f_bavail * data.f_frsize)
    }

    /// Sees to it that there is room for something before it is begun.
    ///
    /// # Errors
    ///
    /// When fewer bytes than these are free; `what` is what needs them.
    pub fn require_space(&self, bytes: u64, what: &str) -> Result<()> {
        let free = self.free_space()?;
        if free >= bytes {
            return Ok(());
        }
        let (free, bytes, root) = (free / 1_000_000, bytes.div_ceil(1_000_000), self.root.display());
        Err(Error::lab(format!("no space for {what}: it takes {bytes} MB, and {root} has {free} MB left"))
            .with_remedy("make space on that file system, then run the command again"))
    }

    /// Removes leavings of processes that were killed.
    pub fn sweep(&self) {
        let Ok(entries) = fs::read_dir(self.path("staging")) else { return };
        for entry in entries.flatten() {
            let age = entry.metadata().and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
            let abandoned = || File::open(entry.path()).is_ok_and(|dir| dir.try_lock().is_ok());
            // One that was just made has no lock yet.
            if age.is_some_and(|age| age > SWEPT_AFTER) && abandoned() {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Makes a folder and its parents.
///
/// # Errors
///
/// When that fails; the message names the folder.
pub fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir_all(path).context(|| format!("make the folder {}", path.display()))
}

/// Writes a file under another name and renames it into place.
///
/// # Errors
///
/// When that fails; the message names the file.
pub fn write_atomically(place: &Path, content: &[u8]) -> Result<()> {
    let parent = place.parent().unwrap_or(Path::new("."));
    make_dir(parent)?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(parent)?;
        std::io::Write::write_all(&mut file, content)?;
        file.persist(place)?;
        Ok(())
    };
    write().context(|| format!("write {}", place.display()))
}

/// Writes a file as [`write_atomically`] does, unless it has this content already: what is made from it stays fresh.
///
/// # Errors
///
/// When that fails; the message names the file.
pub fn write_unless_same(place: &Path, content: &[u8]) -> Result<()> {
    if fs::read(place).is_ok_and(|there| there == content) {
        return Ok(());
    }
    write_atomically(place, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_published_is_there_whole_and_staging_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("vexlab")).unwrap();
        let staging = cache.staging().unwrap();
        fs::write(staging.path().join("file"), "content").unwrap();
        let place = cache.publish(staging, "kernels/name").unwrap();
        assert_eq!(fs::read_to_string(place.join("file")).unwrap(), "content");
        assert_eq!(fs::read_dir(cache.path("staging")).unwrap().count(), 0);
    }

    #[test]
    fn a_staging_folder_that_is_not_published_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned()).unwrap();
        drop(cache.staging().unwrap());
        assert_eq!(fs::read_dir(cache.path("staging")).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_has_left_is_removed_and_what_a_living_one_makes_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned()).unwrap();
        let living = cache.staging().unwrap();
        let killed = cache.path("staging/killed");
        make_dir(&killed).unwrap();
        let long_ago = std::time::SystemTime::now() - 2 * SWEPT_AFTER;
        for old in [living.path(), &killed] {
            File::open(old).unwrap().set_modified(long_ago).unwrap();
        }
        let new = cache.path("staging/new");
        make_dir(&new).unwrap();
        cache.sweep();
        assert!(living.path().exists() && new.exists() && !killed.exists());
    }

    #[test]
    fn too_little_space_is_an_error_that_names_both_sizes() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned()).unwrap();
        assert!(cache.require_space(1, "a byte").is_ok());
        let error = cache.require_space(u64::MAX, "everything").unwrap_err();
        assert!(
            error.to_string().starts_with("no space for everything: it takes 18446744073710 MB"),
            "{error}"
        );
    }

    #[test]
    fn a_lock_that_is_held_is_waited_for_until_cancelled() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().to_owned()).unwrap();
        let held = cache.lock("part", &Cancel::default()).unwrap();
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(cache.lock("part", &cancel).is_err());
        drop(held);
        assert!(cache.lock("part", &cancel).is_ok());
    }
}
