// SPDX-License-Identifier: GPL-2.0-only

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ReadCache, ReadRef};
use serde::{Deserialize, Serialize};
use walkdir::WalkDir;

use crate::cancel::Cancel;
use crate::error::{Context, Error, Kind, Result, nearest};

/// More than any module unpacks to, in bytes.
const LIMIT: u64 = 256 << 20;

/// The modules of one kernel, by name, and what each needs.
///
/// Names are as the kernel has them: `-` is `_`, in what is asked too.
#[derive(Debug, Clone)]
pub struct Modules {
    kernel: String,
    root: PathBuf,
    index: Index,
}

/// What is kept of a kernel's modules between runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Index {
    modules: BTreeMap<String, Module>,
    builtin: BTreeSet<String>,
}

/// One module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Module {
    /// Relative to the folder of the kernel's modules.
    path: PathBuf,
    /// What it needs, if that was looked up.
    needs: Option<Vec<String>>,
}

impl Modules {
    /// Finds the modules below a folder (`…/lib/modules/RELEASE`, or a build tree); what each needs is read
    /// when it is asked for.
    pub(super) fn walk(kernel: &str, root: &Path) -> Result<Self> {
        let mut modules = BTreeMap::new();
        let hidden = |entry: &walkdir::DirEntry| {
            let name = entry.file_name().to_string_lossy();
            entry.depth() > 0 && (name.starts_with('.') || name == "build" || name == "source")
        };
        for entry in WalkDir::new(root).into_iter().filter_entry(|entry| !hidden(entry)) {
            let entry = entry.context(|| format!("look for modules below {}", root.display()))?;
            if !entry.file_type().is_file() {
                continue;
            }
            let Some(name) = module_name(entry.path()) else { continue };
            let path = entry.path().strip_prefix(root).unwrap_or(entry.path()).to_owned();
            modules.insert(name, Module { path, needs: None });
        }
        let builtin = fs::read_to_string(root.join("modules.builtin")).unwrap_or_default();
        let builtin = builtin.lines().filter_map(|line| module_name(Path::new(line))).collect();
        Ok(Self { kernel: kernel.to_owned(), root: root.to_owned(), index: Index { modules, builtin } })
    }

    /// As [`walk`](Self::walk), and looks up what each module needs: thousands of files, on all processors.
    pub(super) fn walk_whole(kernel: &str, root: &Path, cancel: &Cancel) -> Result<Self> {
        let mut modules = Self::walk(kernel, root)?;
        let mut all: Vec<&mut Module> = modules.index.modules.values_mut().collect();
        let workers = std::thread::available_parallelism().map_or(1, NonZero::get);
        let share = all.len().div_ceil(workers).max(1);
        let look_up = |part: &mut [&mut Module]| {
            part.iter_mut().try_for_each(|module| {
                cancel.check()?;
                module.needs = Some(read_needs(&root.join(&module.path))?);
                Ok(())
            })
        };
        std::thread::scope(|scope| {
            let parts: Vec<_> = all.chunks_mut(share).map(|part| scope.spawn(|| look_up(part))).collect();
            parts.into_iter().try_for_each(|part| {
                part.join().unwrap_or_else(|_| Err(Error::lab("a thread that read modules panicked")))
            })
        })?;
        Ok(modules)
    }

    /// What [`load`](Self::load) reads.
    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(&self.index).context(|| "write the index of modules".to_owned())
    }

    /// Reads an index that was kept.
    pub(super) fn load(kernel: &str, root: &Path, index: &Path) -> Result<Self> {
        let read = || -> Result<Index, Box<dyn std::error::Error + Send + Sync>> {
            Ok(serde_json::from_slice(&fs::read(index)?)?)
        };
        let index = read().map_err(|cause| super::store::damaged(kernel, index, cause))?;
        Ok(Self { kernel: kernel.to_owned(), root: root.to_owned(), index })
    }

    /// Where a module's file is; nothing where it is built in or there is none.
    pub fn path_of(&self, name: &str) -> Option<PathBuf> {
        self.index.modules.get(&canonical(name)).map(|module| self.root.join(&module.path))
    }

    /// Whether this is part of the kernel's image.
    pub fn is_builtin(&self, name: &str) -> bool {
        self.index.builtin.contains(&canonical(name))
    }

    /// The names of all modules that are files.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.modules.keys().map(String::as_str)
    }

    /// The names of all modules that are part of the kernel's image.
    pub fn builtin(&self) -> impl Iterator<Item = &str> {
        self.index.builtin.iter().map(String::as_str)
    }

    /// The files of all modules, by name.
    pub fn files(&self) -> impl Iterator<Item = PathBuf> {
        self.index.modules.values().map(|module| self.root.join(&module.path))
    }

    /// The files of these modules and of all they need, in an order in which they can be loaded. What is
    /// built in is left out.
    ///
    /// # Errors
    ///
    /// When the kernel has no module of such a name, or a module's file is damaged.
    pub fn closure<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Result<Vec<PathBuf>> {
        let mut order = Vec::new();
        let mut seen = BTreeSet::new();
        for name in names {
            self.visit(&canonical(name), None, &mut seen, &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        for_whom: Option<&str>,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<PathBuf>,
    ) -> Result<()> {
        let Some(module) = self.index.modules.get(name) else {
            return if self.index.builtin.contains(name) {
                Ok(())
            } else {
                Err(self.unknown(name, for_whom))
            };
        };
        // A module that is being visited is not visited again: a circle of modules can't be loaded anyway.
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.root.join(&module.path);
        match &module.needs {
            Some(needs) => self.visit_all(needs, name, seen, order)?,
            None => self.visit_all(&read_needs(&path)?, name, seen, order)?,
        }
        order.push(path);
        Ok(())
    }

    fn visit_all(
        &self,
        names: &[String],
        for_whom: &str,
        seen: &mut BTreeSet<String>,
        order: &mut Vec<PathBuf>,
    ) -> Result<()> {
        names.iter().try_for_each(|name| self.visit(name, Some(for_whom), seen, order))
    }

    fn unknown(&self, name: &str, for_whom: Option<&str>) -> Error {
        let needed = for_whom.map(|whom| format!(", which {whom} needs")).unwrap_or_default();
        let message = format!("the kernel {} has no module {name}{needed}", self.kernel);
        let error = Error::new(if for_whom.is_some() { Kind::Lab } else { Kind::Usage }, message);
        match nearest(name, self.index.modules.keys().map(String::as_str)) {
            Some(near) => error.with_remedy(format!("did you mean {near}?")),
            None => error,
        }
    }
}

/// The names of the modules that a module's file says it needs, from its `.modinfo` section: `depends=` as
/// modpost writes it.
///
/// # Errors
///
/// When the bytes are no ELF file.
pub fn depends_of_file(bytes: &[u8]) -> Result<Vec<String>> {
    depends(bytes)
}

fn depends<'data>(data: impl ReadRef<'data>) -> Result<Vec<String>> {
    let depends = modinfo(data, "depends")?.into_iter().next().unwrap_or_default();
    Ok(depends.split(',').filter(|name| !name.is_empty()).map(canonical).collect())
}

/// The values of a tag in a module's `.modinfo` section, in order.
///
/// # Errors
///
/// When the bytes are no ELF file.
pub fn modinfo_of_file(bytes: &[u8], tag: &str) -> Result<Vec<String>> {
    modinfo(bytes, tag)
}

fn modinfo<'data>(data: impl ReadRef<'data>, tag: &str) -> Result<Vec<String>> {
    let file = object::File::parse(data).context(|| "read the module's ELF headers".to_owned())?;
    let Some(section) = file.section_by_name(".modinfo") else { return Ok(Vec::new()) };
    let info = section.data().context(|| "read the module's .modinfo".to_owned())?;
    let value = |entry: &[u8]| {
        let value = entry.strip_prefix(tag.as_bytes())?.strip_prefix(b"=")?;
        Some(String::from_utf8_lossy(value).into_owned())
    };
    Ok(info.split(|byte| *byte == 0).filter_map(value).collect())
}

/// The module in a file, unpacked where it is packed (xz, zstd or gzip, as its name says): what the kernel
/// is to be handed.
///
/// # Errors
///
/// When it can't be read or unpacked.
pub fn read_module(path: &Path) -> Result<Vec<u8>> {
    let what = || format!("read the module {}", path.display());
    let file = File::open(path).context(what)?;
    let packed = path.extension().and_then(|extension| extension.to_str());
    let unpack = || -> Result<Vec<u8>> {
        let reader: Box<dyn Read> = match packed {
            Some("xz") => {
                let stream = liblzma::stream::Stream::new_stream_decoder(LIMIT, 0).context(what)?;
                Box::new(liblzma::read::XzDecoder::new_stream(file, stream))
            }
            Some("gz") => Box::new(flate2::read::GzDecoder::new(file)),
            Some("zst") => Box::new(ruzstd::decoding::StreamingDecoder::new(file).context(what)?),
            _ => Box::new(file),
        };
        let mut bytes = Vec::new();
        reader.take(LIMIT + 1).read_to_end(&mut bytes).context(what)?;
        Ok(bytes)
    };
    let bytes = unpack().map_err(|error| match packed {
        Some(packed @ ("xz" | "gz" | "zst")) => error.with_remedy(format!(
            "its name says that it is packed as {packed}: get it again if it was cut off, rename it if it isn't"
        )),
        _ => error,
    })?;
    if bytes.len() as u64 > LIMIT {
        return Err(Error::lab(what()).with_source(format!("it is larger than {LIMIT} bytes")));
    }
    Ok(bytes)
}

/// What a module's file needs. Of one that isn't packed only some pages are read.
fn read_needs(path: &Path) -> Result<Vec<String>> {
    let what = || format!("read what the module {} needs", path.display());
    if path.extension().is_some_and(|extension| extension == "ko") {
        let file = File::open(path).context(what)?;
        return depends(&ReadCache::new(file)).context(what);
    }
    depends(&read_module(path)?[..]).context(what)
}

/// The name of the module in this file: `sch_fq` of `net/sched/sch-fq.ko.xz`.
pub(crate) fn module_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let stem = [".ko", ".ko.xz", ".ko.zst", ".ko.gz"].iter().find_map(|end| name.strip_suffix(end))?;
    Some(canonical(stem))
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

#[cfg(test)]
mod tests {
    use object::write::{Object as Writer, StandardSegment};

    use super::*;

    /// A module's file that says it needs these.
    fn module(depends: &str) -> Vec<u8> {
        let mut file =
            Writer::new(object::BinaryFormat::Elf, object::Architecture::X86_64, object::Endianness::Little);
        let segment = file.segment_name(StandardSegment::Data).to_vec();
        let section = file.add_section(segment, b".modinfo".to_vec(), object::SectionKind::ReadOnlyData);
        let info = format!("license=GPL\0depends={depends}\0retpoline=Y\0");
        file.append_section_data(section, info.as_bytes(), 1);
        file.write().unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let add = |path: &str, depends: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, module(depends)).unwrap();
        };
        add("kernel/fs/fuse/fuse.ko", "");
        add("kernel/fs/fuse/virtio-fs.ko", "fuse,virtio");
        add("kernel/net/9p/9p.ko", "9pnet,netfs");
        add("kernel/net/9p/9pnet.ko", "");
        add("kernel/fs/netfs/netfs.ko", "virtio_ring");
        add("kernel/lost.ko", "nowhere");
        fs::write(
            dir.path().join("modules.builtin"),
            "kernel/drivers/virtio/virtio.ko\nkernel/drivers/virtio/virtio-ring.ko\n",
        )
        .unwrap();
        dir
    }

    fn names(paths: &[PathBuf]) -> Vec<&str> {
        paths.iter().filter_map(|p| p.file_name()?.to_str()).collect()
    }

    #[test]
    fn what_is_needed_comes_first_once_and_without_what_is_built_in() {
        let dir = tree();
        for modules in [
            Modules::walk("k", dir.path()).unwrap(),
            Modules::walk_whole("k", dir.path(), &Cancel::default()).unwrap(),
        ] {
            let order = modules.closure(["virtio-fs", "9p", "fuse", "virtio"]).unwrap();
            assert_eq!(names(&order), ["fuse.ko", "virtio-fs.ko", "9pnet.ko", "netfs.ko", "9p.ko"]);
            assert!(modules.path_of("virtio_fs").unwrap().ends_with("kernel/fs/fuse/virtio-fs.ko"));
            assert!(modules.is_builtin("virtio-ring"));
        }
    }

    #[test]
    fn a_kept_index_is_the_same() {
        let dir = tree();
        let modules = Modules::walk_whole("k", dir.path(), &Cancel::default()).unwrap();
        let kept = dir.path().join("index");
        fs::write(&kept, modules.to_json().unwrap()).unwrap();
        assert_eq!(Modules::load("k", dir.path(), &kept).unwrap().index, modules.index);
    }

    #[test]
    fn a_module_that_is_not_there_is_named_with_the_nearest() {
        let dir = tree();
        let modules = Modules::walk("debian-6.1", dir.path()).unwrap();
        let error = modules.closure(["virtiofs"]).unwrap_err();
        insta::assert_snapshot!(error, @"the kernel debian-6.1 has no module virtiofs");
        insta::assert_snapshot!(error.remedy().unwrap(), @"did you mean virtio_fs?");
        let error = modules.closure(["lost"]).unwrap_err();
        insta::assert_snapshot!(error, @"the kernel debian-6.1 has no module nowhere, which lost needs");
    }

    /// Why a file with these bytes can't be read.
    fn unreadable(name: &str, bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let error = read_module(&path).unwrap_err();
        assert!(error.to_string().ends_with(name), "{error}");
        std::error::Error::source(&error).unwrap().to_string()
    }

    #[test]
    fn a_packed_module_that_is_cut_off_is_no_module() {
        let xz = {
            let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 1);
            std::io::Write::write_all(&mut packer, &module("a")).unwrap();
            packer.finish().unwrap()
        };
        let zst =
            ruzstd::encoding::compress_to_vec(&module("a")[..], ruzstd::encoding::CompressionLevel::Fastest);
        for (name, packed) in [("a.ko.xz", xz), ("a.ko.zst", zst)] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join(name), &packed).unwrap();
            assert_eq!(read_module(&dir.path().join(name)).unwrap(), module("a"));
            for length in [0, 3, packed.len() / 2, packed.len() - 6] {
                assert!(!unreadable(name, &packed[..length]).is_empty(), "{name} of {length} bytes");
            }
        }
    }

    /// A frame of zstd (RFC 8878, 3.1.1) of 100 GB of zeros: blocks of 128 KiB that take four bytes each.
    #[test]
    fn what_unpacks_to_a_hundred_gigabytes_is_refused() {
        // The magic number, no checksum or size, a window of 128 KiB; then blocks of one byte and how often it is there.
        let mut bomb = vec![0x28, 0xb5, 0x2f, 0xfd, 0, 7 << 3];
        let block = (128 << 10) << 3 | 1 << 1;
        for _ in 0..100_000_000_000_u64 / (128 << 10) {
            bomb.extend(&u32::to_le_bytes(block)[..3]);
            bomb.push(0);
        }
        assert_eq!(unreadable("bomb.ko.zst", &bomb), "it is larger than 268435456 bytes");
    }

    #[test]
    fn a_dictionary_that_is_larger_than_any_module_is_refused() {
        use liblzma::stream::{Check, Filters, LzmaOptions, Stream};
        let mut options = LzmaOptions::new_preset(0).unwrap();
        options.dict_size(512 << 20);
        let stream = Stream::new_stream_encoder(Filters::new().lzma2(&options), Check::Crc32).unwrap();
        let mut packer = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
        std::io::Write::write_all(&mut packer, &module("a")).unwrap();
        assert!(!unreadable("a.ko.xz", &packer.finish().unwrap()).is_empty());
    }

    #[test]
    fn a_packed_module_is_read_and_a_damaged_one_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.ko.gz");
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut packer, &module("b-c,d")).unwrap();
        fs::write(&path, packer.finish().unwrap()).unwrap();
        assert_eq!(read_needs(&path).unwrap(), ["b_c", "d"]);
        fs::write(dir.path().join("x.ko"), "no module").unwrap();
        let modules = Modules::walk("k", dir.path()).unwrap();
        let error = modules.closure(["x"]).unwrap_err().to_string();
        assert!(error.ends_with("x.ko needs"), "{error}");
    }
}
