// SPDX-License-Identifier: GPL-2.0-only

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::build::Image;
use super::machine::Loader;
use super::recipe::Recipe;
use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::saved::of_file;

/// The first bytes of a file in the format qcow2.
///
/// Source: `docs/interop/qcow2.rst` of QEMU.
const QCOW2: &[u8; 4] = b"QFI\xfb";

/// What a machine's disk lies over. The file was there, and of its format, when this value was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// What the user calls it.
    pub name: String,
    /// The disk.
    pub disk: PathBuf,
    /// The disk's format, as QEMU calls it.
    pub format: &'static str,
    /// Who starts its kernel.
    pub loader: Loader,
}

impl Base {
    /// What the user wrote: the name of an image that was built, or the path of a file in the format qcow2.
    ///
    /// # Errors
    ///
    /// When there is no such image or file, or the file is something else.
    pub fn find(lab: &Lab, name: &str) -> Result<Self> {
        if name.contains('/') || name.ends_with(".qcow2") {
            return Self::of_file(Path::new(name));
        }
        let known = Recipe::find(name).map_err(|error| {
            let remedy = error.remedy().unwrap_or_default();
            let remedy = format!("{remedy}; the image of a vendor is named by its path: ./{name}.qcow2");
            Error::usage(format!("there is no image called {name}")).with_remedy(remedy)
        })?;
        let image = Image::get(lab, known.name)?.ok_or_else(|| {
            Error::usage(format!("the image {name} is not here"))
                .with_remedy(format!("vexlab image build {name}"))
        })?;
        Ok(Self {
            name: name.to_owned(),
            disk: image.disk(),
            format: "raw",
            loader: Loader::Direct { kernel: image.kernel(), initramfs: image.initramfs() },
        })
    }

    fn of_file(path: &Path) -> Result<Self> {
        let remedy = "give an image in the format qcow2; `qemu-img convert -O qcow2` makes one of others";
        let disk = fs::canonicalize(path).map_err(|cause| {
            Error::usage(format!("there is no image {}", path.display())).with_source(cause)
        })?;
        let mut magic = [0; 4];
        let read = File::open(&disk).and_then(|mut file| file.read(&mut magic));
        let length = read.context(|| format!("read the image {}", path.display()))?;
        if magic != *QCOW2 {
            let what = if length < magic.len() { "cut short" } else { "something else" };
            return Err(Error::usage(format!(
                "{} is not an image in the format qcow2: it is {what}",
                path.display()
            ))
            .with_remedy(remedy));
        }
        Ok(Self { name: path.display().to_string(), disk, format: "qcow2", loader: Loader::Firmware })
    }

    /// What tells it from others without reading all of it.
    ///
    /// # Errors
    ///
    /// When a file of it can't be looked at.
    pub(super) fn identity(&self) -> Result<String> {
        let mut files = vec![&self.disk];
        if let Loader::Direct { kernel, initramfs } = &self.loader {
            files.extend([kernel, initramfs]);
        }
        files.into_iter().map(|path| of_file(path)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{cache::Cache, cancel::Cancel, event::Silent};

    #[test]
    fn what_is_no_image_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let there = dir.path().to_str().unwrap();
        let said = |name: &str| {
            let error = Base::find(&lab, name).unwrap_err();
            format!("{error}\n{}", error.remedy().unwrap_or("-")).replace(there, "DIR")
        };
        insta::assert_snapshot!(said("debian-12"), @r"
        the image debian-12 is not here
        vexlab image build debian-12
        ");
        insta::assert_snapshot!(said("fedora"), @r"
        there is no image called fedora
        there are: debian-12, debian-13, debian-13-rust; the image of a vendor is named by its path: ./fedora.qcow2
        ");
        insta::assert_snapshot!(said(&format!("{there}/none.qcow2")), @r"
        there is no image DIR/none.qcow2
        -
        ");
        fs::write(dir.path().join("short.qcow2"), "QF").unwrap();
        insta::assert_snapshot!(said(&format!("{there}/short.qcow2")), @r"
        DIR/short.qcow2 is not an image in the format qcow2: it is cut short
        give an image in the format qcow2; `qemu-img convert -O qcow2` makes one of others
        ");
        fs::write(dir.path().join("text.qcow2"), "some text").unwrap();
        insta::assert_snapshot!(said(&format!("{there}/text.qcow2")), @r"
        DIR/text.qcow2 is not an image in the format qcow2: it is something else
        give an image in the format qcow2; `qemu-img convert -O qcow2` makes one of others
        ");
        fs::write(dir.path().join("good.qcow2"), b"QFI\xfb and more").unwrap();
        let good = Base::find(&lab, &format!("{there}/good.qcow2")).unwrap();
        assert_eq!((good.format, &good.loader), ("qcow2", &Loader::Firmware));
        let before = good.identity().unwrap();
        fs::write(dir.path().join("good.qcow2"), b"QFI\xfb and still more").unwrap();
        assert_ne!(good.identity().unwrap(), before);
    }
}
