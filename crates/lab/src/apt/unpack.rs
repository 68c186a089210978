// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::{complaint, is_full};
use crate::Lab;
use crate::cache::make_dir;
use crate::error::{Context, Error, Result};
use crate::process::Program;

/// Unpacks a package into an empty folder and checks that nothing in it leads out of that folder. Absolute
/// symbolic links are made relative, with the folder as their root.
///
/// # Errors
///
/// When it can't be unpacked, or holds anything but folders, files, and links that stay inside.
pub fn unpack(lab: &Lab, deb: &Path, dir: &Path) -> Result<()> {
    make_dir(dir)?;
    let finished = Program::new("dpkg-deb")
        .from_package("dpkg")
        .args(["-x".as_ref(), deb.as_os_str(), dir.as_os_str()])
        .env("LC_ALL", "C")
        .run(&lab.cancel)?;
    if !finished.status.success() {
        let cause = complaint(&finished);
        let full = is_full(&cause);
        let error = Error::lab(format!("unpack {}", deb.display())).with_source(cause);
        return Err(if full { error.with_remedy("make space, then run the command again") } else { error });
    }
    confine(dir)
}

/// Checks each entry below `root` and makes absolute links relative.
fn confine(root: &Path) -> Result<()> {
    for entry in WalkDir::new(root).min_depth(1).follow_links(false) {
        let entry = entry.context(|| format!("look through {}", root.display()))?;
        let kind = entry.file_type();
        if kind.is_dir() || kind.is_file() {
            drop_privileges(entry.path())?;
            continue;
        }
        let inside = entry.path().strip_prefix(root).unwrap_or(entry.path());
        if !kind.is_symlink() {
            return Err(Error::lab(format!("the package holds a special file: {}", inside.display())));
        }
        let target = fs::read_link(entry.path()).context(|| format!("read {}", entry.path().display()))?;
        let Some(relative) = confined_target(inside, &target) else {
            return Err(Error::lab(format!(
                "the package holds a link that leads out of it: {} -> {}",
                inside.display(),
                target.display()
            )));
        };
        if relative != target {
            let replace = || {
                fs::remove_file(entry.path())?;
                std::os::unix::fs::symlink(&relative, entry.path())
            };
            replace().context(|| format!("make the link {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// Takes from a file what would let it be run as somebody else, or be written by everybody.
fn drop_privileges(path: &Path) -> Result<()> {
    let mode = || -> std::io::Result<()> {
        let mode = fs::symlink_metadata(path)?.permissions().mode();
        if mode & 0o7022 == 0 {
            return Ok(());
        }
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o755))
    };
    mode().context(|| format!("set the permissions of {}", path.display()))
}

/// A link's target, relative, or nothing when it climbs above the folder that `link` is relative to.
fn confined_target(link: &Path, target: &Path) -> Option<PathBuf> {
    use std::path::Component;
    let depth = link.components().count().saturating_sub(1);
    let mut relative = PathBuf::new();
    let mut level = depth;
    if target.is_absolute() {
        relative.extend(std::iter::repeat_n("..", depth));
        level = 0;
    }
    for component in target.components() {
        match component {
            Component::ParentDir => {
                level = level.checked_sub(1)?;
                relative.push("..");
            }
            Component::Normal(name) => {
                level += 1;
                relative.push(name);
            }
            Component::CurDir | Component::RootDir | Component::Prefix(_) => {}
        }
    }
    if relative.as_os_str().is_empty() {
        relative.push(".");
    }
    Some(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_may_not_leave_the_package_nor_files_keep_privileges() {
        let target = |link, target| confined_target(Path::new(link), Path::new(target));
        assert_eq!(target("lib/modules/6/build", "/usr/src/h"), Some("../../../usr/src/h".into()));
        assert_eq!(target("usr/src/h/scripts", "../../lib/k"), Some("../../lib/k".into()));
        assert_eq!(target("link", "/"), Some(".".into()));
        assert_eq!(target("usr/link", "../../etc/passwd"), None);
        assert_eq!(target("link", "/usr/../../etc"), None);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a/absolute")).unwrap();
        let program = dir.path().join("a/program");
        fs::write(&program, "").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o6777)).unwrap();
        confine(dir.path()).unwrap();
        assert_eq!(fs::metadata(&program).unwrap().permissions().mode() & 0o7777, 0o755);
        assert_eq!(fs::read_link(dir.path().join("a/absolute")).unwrap(), Path::new("../etc/passwd"));
        std::os::unix::fs::symlink("../../x", dir.path().join("a/out")).unwrap();
        insta::assert_snapshot!(
            confine(dir.path()).unwrap_err(),
            @"the package holds a link that leads out of it: a/out -> ../../x"
        );
    }
}
