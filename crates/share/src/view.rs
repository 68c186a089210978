// SPDX-License-Identifier: GPL-2.0-only
//! What of a folder is shown.

use std::collections::{BTreeSet, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Which paths of the host are shown, wherever the shared folder begins. All are, unless something here says
/// otherwise.
///
/// What is left out is left out by its path and by its inode, so that it is not shown under another name either:
/// one that another mount or a hard link gives it, or one behind a symbolic link. A hard link to a file *below* a
/// folder that is left out is not known to be one.
#[derive(Debug, Clone, Default)]
pub struct View {
    hidden: HashSet<PathBuf>,
    /// A folder, and how the names begin that are left out of it.
    hidden_prefixes: Vec<(PathBuf, OsString)>,
    /// Device and number of each that was there when it was hidden.
    hidden_inodes: HashSet<(u64, u64)>,
    empty: HashSet<PathBuf>,
    only: Option<BTreeSet<PathBuf>>,
}

impl View {
    /// Leaves this absolute path out, with all below it. When the last name ends in `*`, every name is meant that
    /// begins like it.
    pub fn hide(&mut self, path: &Path) {
        let prefix = path.file_name().and_then(|name| name.as_bytes().strip_suffix(b"*"));
        let Some((prefix, folder)) = prefix.zip(path.parent()) else {
            self.remember(path);
            self.hidden.insert(path.to_owned());
            return;
        };
        let prefix = OsStr::from_bytes(prefix);
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
                self.remember(&entry.path());
            }
        }
        self.hidden_prefixes.push((folder.to_owned(), prefix.to_owned()));
    }

    /// Remembers what is at this path, and what it is a link to.
    fn remember(&mut self, path: &Path) {
        for found in [fs::symlink_metadata(path), fs::metadata(path)].into_iter().flatten() {
            self.hidden_inodes.insert((found.dev(), found.ino()));
        }
    }

    /// Shows the folder with this absolute path without anything in it.
    pub fn show_empty(&mut self, path: &Path) {
        self.empty.insert(path.to_owned());
    }

    /// Shows these absolute paths alone, and the folders that lead to them.
    pub fn show_only(&mut self, paths: impl IntoIterator<Item = PathBuf>) {
        self.only = Some(paths.into_iter().collect());
    }

    /// Whether a thing of this name may be shown, or made.
    pub(crate) fn shows_path(&self, path: &Path) -> bool {
        let leads_to = |only: &BTreeSet<PathBuf>| {
            // What lies below a path comes right behind it in the order of paths.
            only.range(path.to_owned()..).next().is_some_and(|next| next.starts_with(path))
        };
        let begins_like_hidden = |(folder, prefix): &(PathBuf, OsString)| {
            let name = path.file_name().unwrap_or_default().as_bytes();
            path.parent() == Some(folder) && name.starts_with(prefix.as_bytes())
        };
        let parent_is_empty = path.parent().is_some_and(|parent| self.is_empty(parent));
        !self.hidden.contains(path)
            && !parent_is_empty
            && !self.hidden_prefixes.iter().any(begins_like_hidden)
            && self.only.as_ref().is_none_or(leads_to)
    }

    /// Whether the thing with this device and number may be shown.
    pub(crate) fn shows_inode(&self, device: u64, number: u64) -> bool {
        !self.hidden_inodes.contains(&(device, number))
    }

    /// Whether a folder is shown without anything in it.
    pub(crate) fn is_empty(&self, path: &Path) -> bool {
        self.empty.contains(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_and_what_leads_there() {
        let mut view = View::default();
        view.show_only(["/usr/lib/a.so".into(), "/usr/lib-x/b".into()]);
        for shown in ["/", "/usr", "/usr/lib", "/usr/lib/a.so", "/usr/lib-x"] {
            assert!(view.shows_path(Path::new(shown)), "{shown}");
        }
        for hidden in ["/etc", "/usr/li", "/usr/lib/a.so/x", "/usr/lib/a", "/usr/lib/b", "/usr/lib-y"] {
            assert!(!view.shows_path(Path::new(hidden)), "{hidden}");
        }
    }

    #[test]
    fn a_star_means_all_that_begin_like_it() {
        let mut view = View::default();
        view.hide(Path::new("/h/.cargo/credentials*"));
        for hidden in ["/h/.cargo/credentials", "/h/.cargo/credentials.toml"] {
            assert!(!view.shows_path(Path::new(hidden)), "{hidden}");
        }
        for shown in ["/h/.cargo", "/h/.cargo/config.toml", "/h/credentials", "/h/.cargo/bin/credentials"] {
            assert!(view.shows_path(Path::new(shown)), "{shown}");
        }
    }

    #[test]
    fn other_names_of_what_is_hidden_are_hidden_too() {
        let dir = tempfile::tempdir().unwrap();
        let [secret, other, link] = ["secret", "other", "link"].map(|name| dir.path().join(name));
        fs::write(&secret, "").unwrap();
        fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&secret, &link).unwrap();
        let mut view = View::default();
        view.hide(&link);
        let found = fs::metadata(&secret).unwrap();
        assert!(!view.shows_inode(found.dev(), found.ino()));
        let other = fs::metadata(&other).unwrap();
        assert!(view.shows_inode(other.dev(), other.ino()));
    }

    #[test]
    fn an_empty_folder_is_there_and_holds_nothing() {
        let mut view = View::default();
        view.show_empty(Path::new("/proc"));
        assert!(view.shows_path(Path::new("/proc")));
        assert!(!view.shows_path(Path::new("/proc/self")));
    }
}
