// SPDX-License-Identifier: GPL-2.0-only

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use object::ReadCache;
use sha2::{Digest, Sha256};

use super::{Config, HOST, Kernel, image};
use crate::Lab;
use crate::error::{Context, Error, Kind, Result};

/// The kernel that runs on this machine, from its `/lib/modules/RELEASE` and `/boot`.
///
/// # Errors
///
/// When a part of it isn't installed or can't be read; the message names it and the package that has it.
pub fn running(lab: &Lab) -> Result<Kernel> {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    host(lab, &release, Path::new("/"))
}

fn host(lab: &Lab, release: &str, root: &Path) -> Result<Kernel> {
    let modules = root.join("lib/modules").join(release);
    let build = modules.join("build");
    let bzimage = root.join("boot").join(format!("vmlinuz-{release}"));
    let missing = |part: &str, path: &Path, package: &str| {
        Error::lab(format!("the running kernel {release} has no {part} here: {}", path.display()))
            .with_remedy(format!(
                "apt-get install {package}-{release}, or use a kernel that vexlab fetches: debian-6.1"
            ))
    };
    if !modules.is_dir() {
        return Err(missing("modules", &modules, "linux-image"));
    }
    if !build.join("Makefile").is_file() {
        return Err(missing("headers", &build, "linux-headers"));
    }
    let symvers = build.join("Module.symvers");
    if !symvers.is_file() {
        return Err(missing("symbol versions", &symvers, "linux-headers"));
    }
    let config = [build.join(".config"), root.join("boot").join(format!("config-{release}"))]
        .into_iter()
        .find(|path| path.is_file())
        .ok_or_else(|| missing("configuration", &build.join(".config"), "linux-headers"))?;
    let image = match bootable(lab, &bzimage) {
        Ok(image) => image,
        Err(Unreadable::Missing) => return Err(missing("image", &bzimage, "linux-image")),
        Err(Unreadable::Forbidden) => {
            return Err(Error::lab(format!(
                "the running kernel's image {} can be read by root only",
                bzimage.display()
            ))
            .with_remedy(format!("sudo chmod a+r {}", bzimage.display())));
        }
        Err(Unreadable::Other(error)) => return Err(error),
    };
    Ok(Kernel {
        name: HOST.to_owned(),
        release: release.to_owned(),
        image,
        build,
        modules,
        symvers,
        config: Config::read(&config)?,
        packages: Vec::new(),
        index: None,
        loaded: OnceLock::new(),
    })
}

/// The kernel in a build tree: configured, built, with its modules.
///
/// # Errors
///
/// When it is no build tree, or something in it isn't built; the message says what and how.
pub fn from_tree(lab: &Lab, path: &Path) -> Result<Kernel> {
    let tree = fs::canonicalize(path).map_err(|cause| {
        Error::usage(format!("there is no kernel build tree at {}", path.display())).with_source(cause)
    })?;
    let part = |relative: &str, what: &str, target: &str| -> Result<PathBuf> {
        let place = tree.join(relative);
        if place.exists() {
            return Ok(place);
        }
        Err(Error::new(
            Kind::Usage,
            format!("the kernel build tree {} has no {what}: {relative}", tree.display()),
        )
        .with_remedy(format!("make -C {} {target}", tree.display())))
    };
    if !tree.join("Makefile").is_file() {
        return Err(Error::usage(format!("{} is no kernel build tree: it has no Makefile", tree.display()))
            .with_remedy("name the folder in which a kernel was built"));
    }
    let config = part(".config", "configuration", "defconfig")?;
    let release = part("include/config/kernel.release", "release", "modules_prepare")?;
    let symvers = part("Module.symvers", "symbol versions", "all")?;
    let release = fs::read_to_string(&release).context(|| format!("read {}", release.display()))?;
    let bzimage = tree.join("arch/x86/boot/bzImage");
    let vmlinux = tree.join("vmlinux");
    let direct = File::open(&vmlinux).is_ok_and(|file| image::elf_has_pvh_entry(&ReadCache::new(file)));
    let image = if direct {
        vmlinux
    } else {
        part("arch/x86/boot/bzImage", "image", "bzImage")?;
        match bootable(lab, &bzimage) {
            Ok(image) => image,
            Err(Unreadable::Missing | Unreadable::Forbidden) => {
                return Err(Error::lab(format!("the image {} can't be read", bzimage.display())));
            }
            Err(Unreadable::Other(error)) => return Err(error),
        }
    };
    Ok(Kernel {
        name: path.display().to_string(),
        release: release.trim().to_owned(),
        image,
        build: tree.clone(),
        modules: tree,
        symvers,
        config: Config::read(&config)?,
        packages: Vec::new(),
        index: None,
        loaded: OnceLock::new(),
    })
}

enum Unreadable {
    Missing,
    Forbidden,
    Other(Error),
}

/// What to boot for a bzImage: what it holds, unpacked into the cache once, or where that has no PVH entry,
/// itself. The unpacked one is found again by the path, and by size, inode and time of change.
fn bootable(lab: &Lab, bzimage: &Path) -> Result<PathBuf, Unreadable> {
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => Unreadable::Missing,
        std::io::ErrorKind::PermissionDenied => Unreadable::Forbidden,
        _ => Unreadable::Other(Error::lab(format!("read {}", bzimage.display())).with_source(error)),
    };
    let meta = fs::metadata(bzimage).map_err(unreadable)?;
    let state = format!("{} {} {}.{}", meta.len(), meta.ino(), meta.mtime(), meta.mtime_nsec());
    let of_path = format!("{}-", digest(bzimage.as_os_str().as_encoded_bytes()));
    let images = lab.cache.path("images");
    let place = images.join(format!("{of_path}{}", digest(state.as_bytes())));
    if place.is_file() {
        return Ok(place);
    }
    let bytes = fs::read(bzimage).map_err(unreadable)?;
    let elf = image::unpack_image(&bytes).map_err(|error| {
        Unreadable::Other(Error::lab(format!("unpack {}", bzimage.display())).with_source(error))
    })?;
    if !image::elf_has_pvh_entry(&elf[..]) {
        return Ok(bzimage.to_owned());
    }
    // What was unpacked from an earlier one in the same place is of no further use.
    for old in fs::read_dir(&images).into_iter().flatten().flatten() {
        if old.file_name().to_string_lossy().starts_with(&of_path) {
            let _ = fs::remove_file(old.path());
        }
    }
    crate::cache::write_atomically(&place, &elf).map_err(Unreadable::Other)?;
    Ok(place)
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{cache::Cache, cancel::Cancel, event::Silent};

    #[test]
    fn what_the_host_lacks_is_named_one_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let root = dir.path();
        let error = || {
            let error = host(&lab, "6.1-test", root).unwrap_err();
            format!("{error}\n{}", error.remedy().unwrap()).replace(root.to_str().unwrap(), "")
        };
        let modules = root.join("lib/modules/6.1-test");
        insta::assert_snapshot!(error(), @r"
        the running kernel 6.1-test has no modules here: /lib/modules/6.1-test
        apt-get install linux-image-6.1-test, or use a kernel that vexlab fetches: debian-6.1
        ");
        fs::create_dir_all(modules.join("build")).unwrap();
        insta::assert_snapshot!(error(), @r"
        the running kernel 6.1-test has no headers here: /lib/modules/6.1-test/build
        apt-get install linux-headers-6.1-test, or use a kernel that vexlab fetches: debian-6.1
        ");
        for file in ["Makefile", "Module.symvers", ".config"] {
            fs::write(modules.join("build").join(file), "").unwrap();
        }
        insta::assert_snapshot!(error(), @r"
        the running kernel 6.1-test has no image here: /boot/vmlinuz-6.1-test
        apt-get install linux-image-6.1-test, or use a kernel that vexlab fetches: debian-6.1
        ");
    }

    #[test]
    fn what_a_tree_lacks_is_named_with_the_target_that_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let tree = fs::canonicalize(dir.path()).unwrap().join("linux");
        let error = || {
            let error = from_tree(&lab, &tree).unwrap_err();
            format!("{error}\n{}", error.remedy().unwrap_or("-")).replace(tree.to_str().unwrap(), "linux")
        };
        insta::assert_snapshot!(error(), @r"
        there is no kernel build tree at linux
        -
        ");
        fs::create_dir_all(tree.join("include/config")).unwrap();
        insta::assert_snapshot!(error(), @r"
        linux is no kernel build tree: it has no Makefile
        name the folder in which a kernel was built
        ");
        fs::write(tree.join("Makefile"), "").unwrap();
        insta::assert_snapshot!(error(), @r"
        the kernel build tree linux has no configuration: .config
        make -C linux defconfig
        ");
        fs::write(tree.join(".config"), "CONFIG_MODULES=y\n").unwrap();
        fs::write(tree.join("include/config/kernel.release"), "6.1.0-test\n").unwrap();
        fs::write(tree.join("Module.symvers"), "").unwrap();
        insta::assert_snapshot!(error(), @r"
        the kernel build tree linux has no image: arch/x86/boot/bzImage
        make -C linux bzImage
        ");
    }
}
