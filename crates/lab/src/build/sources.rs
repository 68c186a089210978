// SPDX-License-Identifier: GPL-2.0-only
//! What builds read, and how it looks at a moment.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{Options, rust};
use crate::project::{self, Project};

/// Whether builds look into a folder below `root`, a project's or a package's. Files are none of its business.
pub(super) fn is_source_dir(root: &Path, entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    if !entry.file_type().is_dir() || entry.path() == root {
        return true;
    }
    let other = |file| entry.path().join(file).exists();
    !name.starts_with('.') && name != "target" && !other("Cargo.toml") && !other(project::FILE)
}

/// Whether an editor leaves files of this name beside those that it edits.
pub(super) fn is_leftover(name: &OsStr) -> bool {
    let name = name.to_string_lossy();
    // vim tries with this name whether it may write to a folder.
    let vim = name == "4913"
        || name.starts_with('.')
            && name.rsplit_once(".sw").is_some_and(|(_, end)| end.len() == 1 && end != "f");
    let emacs = name.starts_with(".#") || name.starts_with('#') && name.ends_with('#');
    let others = [".kate-swp", "___jb_tmp___", "___jb_old___"].iter().any(|end| name.ends_with(end));
    vim || emacs || others || name.ends_with('~') || name.starts_with(".goutputstream-")
}

/// What a project's builds read: folders as far as [builds look into them](is_source_dir), and files elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    folders: BTreeSet<PathBuf>,
    files: BTreeSet<PathBuf>,
}

/// What counts of a file, as in a build's fingerprint: its length, its time of change, its number. Nothing where
/// it is missing.
type Stamp = Option<(u64, i64, i64, u64)>;

/// What [`Sources`] were like at a moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The files of each folder and each single file.
    places: BTreeMap<PathBuf, BTreeMap<PathBuf, Stamp>>,
    folders: BTreeSet<PathBuf>,
}

impl Sources {
    /// What builds of this project read, as far as that is known: Rust files outside the project and its packages are
    /// known once the crate was built.
    pub fn of(project: &Project, options: Options) -> Self {
        let mut sources = Self::default();
        sources.folders.insert(project.root().to_owned());
        let Some(manifest) = project.manifest().rust.as_ref().filter(|_| !options.c_only) else {
            return sources;
        };
        let crate_dir = project.root().join(&manifest.dir);
        sources.folders.extend(packages(&crate_dir));
        sources.files.extend(manifest.header.iter().map(|header| project.root().join(header)));
        for kernel in fs::read_dir(project.output_dir()).into_iter().flatten().flatten() {
            if let Some(archive) = rust::find_archive(&kernel.path().join("rust")) {
                sources.files.extend(rust::listed(&archive));
            }
        }
        let manifests = rust::manifests(&sources.files, &crate_dir);
        sources.files.extend(manifests.into_iter().filter(|file| file.exists()));
        sources
    }

    /// Looks at all of it.
    pub fn look(&self) -> Snapshot {
        let mut snapshot = Snapshot::default();
        for folder in &self.folders {
            snapshot.look_into(folder);
        }
        for file in &self.files {
            snapshot.places.insert(file.clone(), BTreeMap::from([(file.clone(), stamp(file))]));
            let folder = file.parent().filter(|folder| folder.is_dir());
            snapshot.folders.extend(folder.map(Path::to_owned));
        }
        snapshot
    }
}

impl Snapshot {
    fn look_into(&mut self, root: &Path) {
        let files = self.places.entry(root.to_owned()).or_default();
        let entries = WalkDir::new(root).into_iter().filter_entry(|entry| is_source_dir(root, entry));
        // What vanishes while it is looked at is not there.
        for entry in entries.flatten() {
            if entry.file_type().is_dir() {
                self.folders.insert(entry.into_path());
                continue;
            }
            if is_leftover(entry.file_name()) {
                continue;
            }
            if entry.path_is_symlink() {
                let target = entry.path().canonicalize().ok();
                self.folders.extend(target.as_deref().and_then(Path::parent).map(Path::to_owned));
            }
            files.insert(entry.path().to_owned(), stamp(entry.path()));
        }
    }

    /// The folders that files can be changed in, those of links' targets among them.
    pub fn folders(&self) -> &BTreeSet<PathBuf> {
        &self.folders
    }

    /// The files that are not what they were. Places that only one of both knows of are left out: they didn't
    /// change, they are looked at since, or no longer.
    pub fn changes_since(&self, before: &Self) -> BTreeSet<PathBuf> {
        let both = self.places.iter().filter_map(|(place, now)| Some((now, before.places.get(place)?)));
        both.flat_map(|(now, then)| {
            now.keys().chain(then.keys()).filter(|path| now.get(*path) != then.get(*path)).cloned()
        })
        .collect()
    }
}

fn stamp(file: &Path) -> Stamp {
    let data = fs::metadata(file).ok()?;
    Some((data.len(), data.mtime(), data.mtime_nsec(), data.ino()))
}

/// The folders of the packages that a crate is made of, as far as manifests name them by their path.
fn packages(crate_dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![crate_dir.to_owned()];
    while let Some(dir) = open.pop() {
        // A folder that isn't there is cargo's to complain about.
        if let Ok(dir) = dir.canonicalize()
            && found.insert(dir.clone())
        {
            open.extend(dependencies(&dir));
        }
    }
    found
}

/// The folders that a package's manifest names, in the manifest of its workspace where it says so.
fn dependencies(dir: &Path) -> Vec<PathBuf> {
    let read = |dir: &Path| fs::read_to_string(dir.join("Cargo.toml")).ok()?.parse::<toml::Table>().ok();
    let Some(manifest) = read(dir) else { return Vec::new() };
    let targets = manifest.get("target").and_then(toml::Value::as_table);
    let tables = targets.into_iter().flat_map(toml::Table::values).filter_map(toml::Value::as_table);
    let tables = tables.chain([&manifest]).flat_map(|table| {
        ["dependencies", "build-dependencies"].iter().filter_map(|kind| table.get(*kind)?.as_table())
    });
    let in_workspace = |name: &str| {
        dir.ancestors().find_map(|above| {
            let manifest = read(above)?;
            let path = manifest.get("workspace")?.get("dependencies")?.get(name)?.get("path")?;
            Some(above.join(path.as_str()?))
        })
    };
    let folder = |(name, dependency): (&String, &toml::Value)| {
        if dependency.get("workspace").is_some() {
            return in_workspace(name);
        }
        Some(dir.join(dependency.get("path")?.as_str()?))
    };
    tables.flatten().filter_map(folder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_editors_leave_is_told_from_sources() {
        for name in
            [".main.c.swp", ".main.c.swx", "4913", "main.c~", ".#main.c", "#main.c#", ".goutputstream-X1Y2Z3"]
        {
            assert!(is_leftover(OsStr::new(name)), "{name}");
        }
        for name in ["main.c", "main.swp", "4914", ".clang-format", "a#b", "Kbuild", ".sw", ".anim.swf"] {
            assert!(!is_leftover(OsStr::new(name)), "{name}");
        }
    }

    fn write(root: &Path, files: &[(&str, &str)]) {
        for (file, text) in files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), text).unwrap();
        }
    }

    /// A project in C and Rust whose crate has dependencies in other folders.
    fn project(dir: &Path) -> Project {
        write(
            dir,
            &[
                (
                    "p/vexlab.toml",
                    "kernels = ['k']\n[module]\nname = 'm'\n[rust]\ncrate = 'rust'\nheader = 'm.h'",
                ),
                ("p/Kbuild", "obj-m := m.o"),
                ("p/main.c", ""),
                ("p/.git/HEAD", ""),
                ("p/target/out.c", ""),
                (
                    "p/rust/Cargo.toml",
                    "[dependencies]\nnear = { path = '../../near' }\nshared.workspace = true\nserde = '1'\n\
                     [target.'cfg(unix)'.dependencies]\nunixy = { path = '../../unixy' }",
                ),
                ("p/rust/src/lib.rs", ""),
                (
                    "Cargo.toml",
                    "[workspace.dependencies]\nshared = { path = 'shared' }\nother = { path = 'other' }",
                ),
                ("near/Cargo.toml", "[build-dependencies]\nfar = { path = '../far' }"),
                ("near/src/lib.rs", ""),
                ("far/Cargo.toml", ""),
                ("shared/Cargo.toml", "[dependencies]\nnear = { path = '../near' }"),
                ("unixy/Cargo.toml", ""),
                ("other/Cargo.toml", ""),
                ("elsewhere/table.rs", ""),
            ],
        );
        Project::find(&dir.join("p")).unwrap()
    }

    #[test]
    fn packages_are_found_by_path_and_through_the_workspace() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let sources = Sources::of(&project(&root), Options::default());
        let folders: Vec<_> = sources.folders.iter().map(|path| path.strip_prefix(&root).unwrap()).collect();
        let expected = ["far", "near", "p", "p/rust", "shared", "unixy"];
        assert_eq!(folders, expected.map(Path::new));
        assert!(sources.files.contains(&root.join("Cargo.toml")), "that of the workspace");
        let c_only = Sources::of(&project(&root), Options { c_only: true, ..Options::default() });
        assert_eq!(c_only.folders, BTreeSet::from([root.join("p")]));
    }

    #[test]
    fn changes_are_those_that_a_build_would_see() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let project = project(&root);
        let before = Sources::of(&project, Options::default()).look();
        let changes = |before: &Snapshot| -> Vec<String> {
            let changes = Sources::of(&project, Options::default()).look().changes_since(before);
            changes.iter().map(|path| path.strip_prefix(&root).unwrap().display().to_string()).collect()
        };
        assert_eq!(changes(&before), [""; 0]);
        write(
            &root,
            &[("p/.git/HEAD", "x"), ("p/target/out.c", "x"), ("p/.main.c.swp", ""), ("p/main.c~", "")],
        );
        write(&root, &[("other/src/lib.rs", ""), ("p/rust/target/x", ""), ("p/empty/.keep~", "")]);
        assert_eq!(changes(&before), [""; 0]);

        write(&root, &[("p/main.c", "x"), ("p/new/a.h", ""), ("near/src/lib.rs", "x"), ("Cargo.toml", "")]);
        fs::remove_file(root.join("p/Kbuild")).unwrap();
        let expected = ["Cargo.toml", "near/src/lib.rs", "p/Kbuild", "p/main.c", "p/new/a.h"];
        assert_eq!(changes(&before), expected);
        fs::rename(root.join("p/new"), root.join("p/newer")).unwrap();
        assert!(changes(&before).contains(&"p/newer/a.h".to_owned()));
    }

    /// Another inode of the same length and time is another file.
    #[test]
    fn a_file_that_another_took_the_place_of_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let project = project(&root);
        let sources = Sources::of(&project, Options::default());
        let before = sources.look();
        let (main, other) = (root.join("p/main.c"), root.join("p/main.c~"));
        fs::write(&other, "").unwrap();
        let time = fs::metadata(&main).unwrap().modified().unwrap();
        fs::File::open(&other).unwrap().set_modified(time).unwrap();
        fs::rename(&other, &main).unwrap();
        assert_eq!(sources.look().changes_since(&before), BTreeSet::from([main]));
    }

    /// What a build has listed is known only afterwards, and is no change then.
    #[test]
    fn a_place_that_is_new_to_us_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let project = project(&root);
        let look = || Sources::of(&project, Options::default()).look();
        let before = look();
        let table = root.join("elsewhere/table.rs");
        let list = format!("/x/libm.a: {}\n", table.display());
        write(&root, &[("p/target/vexlab/k/rust/libm.a", ""), ("p/target/vexlab/k/rust/libm.d", &list)]);
        let after = look();
        assert!(after.changes_since(&before).is_empty());
        assert!(after.folders().contains(&root.join("elsewhere")));
        fs::remove_file(&table).unwrap();
        assert_eq!(look().changes_since(&after), BTreeSet::from([table]));
    }

    #[test]
    fn a_links_target_is_looked_at_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let project = project(&root);
        std::os::unix::fs::symlink("../elsewhere/table.rs", root.join("p/link.h")).unwrap();
        let sources = Sources::of(&project, Options::default());
        let before = sources.look();
        assert!(before.folders().contains(&root.join("elsewhere")));
        write(&root, &[("elsewhere/table.rs", "x")]);
        assert_eq!(sources.look().changes_since(&before), BTreeSet::from([root.join("p/link.h")]));
    }
}
