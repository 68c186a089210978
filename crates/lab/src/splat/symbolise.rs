// SPDX-License-Identifier: GPL-2.0-only
//! Places in the sources for the frames of a trace.
//!
//! Frames of the module are looked up in its file, by symbol, offset and size: where it was loaded makes no
//! difference. Frames of the kernel keep the names that its own symbol map gave them.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use ko::{Answer, SourceLanguage, SourcePlace, Symbolised, TracePlace};

use super::{Language, Place, SourceLine, Splat};
use crate::error::{Context, Error, Result};

/// How many lines are shown before a line and after it.
const AROUND: usize = 2;

/// Longer files are no sources, in bytes.
const LONGEST_SOURCE: u64 = 8 << 20;

/// More of a line than anyone reads, in bytes.
const LONGEST_LINE: usize = 400;

/// A module that was loaded, and where it came from.
#[derive(Debug, Clone)]
pub struct ModuleFile {
    /// The name that the kernel knows it by.
    pub name: String,
    /// The file with its debug information.
    pub file: PathBuf,
    /// The project's folder: its sources are named from there.
    pub root: PathBuf,
}

/// Fills in where the module's frames are in its sources. Of sources that were changed after `built` no lines are
/// shown: they may be others than those that were compiled.
///
/// # Errors
///
/// When the module's file can't be read, or is none. The frames are as they were then.
pub fn symbolise(splats: &mut [Splat], module: &ModuleFile, built: SystemTime) -> Result<()> {
    let is_ours = |splat: &Splat| splat.trace.iter().any(|frame| frame.module.as_ref() == Some(&module.name));
    if !splats.iter().any(is_ours) {
        return Ok(());
    }
    let bytes = fs::read(&module.file).context(|| format!("read {}", module.file.display()))?;
    let file = Symbolised::read(&bytes).map_err(|error| {
        Error::lab(format!("read the symbols of {}", module.file.display())).with_source(error)
    })?;
    let index = file.index();
    let mut sources = Sources::new(&module.root, built);
    for frame in splats.iter_mut().flat_map(|splat| &mut splat.trace) {
        if frame.module.as_ref() != Some(&module.name) {
            continue;
        }
        let place =
            TracePlace { symbol: &frame.symbol, offset: frame.offset, size: frame.size, exact: frame.exact };
        match index.find(&place) {
            Answer::Found(places) => {
                frame.places = places.into_iter().map(|place| sources.place(place)).collect();
            }
            Answer::Ambiguous => frame.ambiguous = true,
            Answer::Unknown => {}
        }
    }
    Ok(())
}

/// Sources, as they are read.
pub(crate) struct Sources {
    /// The project's folder, as it is called and as it really is.
    roots: Vec<PathBuf>,
    built: SystemTime,
    /// The lines of each file; nothing for those that can't be shown.
    files: HashMap<String, Option<Vec<String>>>,
}

impl Sources {
    pub(crate) fn new(root: &Path, built: SystemTime) -> Self {
        let roots = [Some(root.to_owned()), root.canonicalize().ok()].into_iter().flatten().collect();
        Self { roots, built, files: HashMap::new() }
    }

    /// A place, with the lines around it.
    pub(crate) fn place(&mut self, place: SourcePlace) -> Place {
        let excerpt = self.excerpt(&place.file, place.line as usize);
        Place {
            function: place.function,
            language: match place.language {
                SourceLanguage::C => Language::C,
                SourceLanguage::Rust => Language::Rust,
                SourceLanguage::Other => Language::Other,
            },
            file: self.name(&place.file),
            line: place.line,
            column: place.column,
            excerpt,
        }
    }

    /// A file's name from the project's folder, where it is in it.
    fn name(&self, file: &str) -> String {
        // Compilers name files from where they ran, with dots.
        let plain: PathBuf = Path::new(file).components().collect();
        let real = if file.contains("/..") { plain.canonicalize().unwrap_or(plain) } else { plain };
        let inside = self.roots.iter().find_map(|root| real.strip_prefix(root).ok());
        inside.unwrap_or(&real).display().to_string()
    }

    /// The lines around a line; none where it isn't there.
    fn excerpt(&mut self, file: &str, line: usize) -> Vec<SourceLine> {
        if line == 0 {
            return Vec::new();
        }
        let built = self.built;
        let lines = self.files.entry(file.to_owned()).or_insert_with(|| read_lines(Path::new(file), built));
        let Some(lines) = lines.as_ref().filter(|lines| line <= lines.len()) else { return Vec::new() };
        let numbered = lines.iter().enumerate().map(|(index, text)| (index + 1, text));
        let near = numbered.skip_while(|(number, _)| number + AROUND < line);
        let near = near.take_while(|(number, _)| *number <= line + AROUND);
        near.map(|(number, text)| SourceLine { number: number as u32, text: text.clone() }).collect()
    }
}

/// The lines of a file that has not changed since; nothing for what is no source.
fn read_lines(file: &Path, since: SystemTime) -> Option<Vec<String>> {
    let data = fs::metadata(file).ok()?;
    if !data.is_file() || data.modified().ok()? > since {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(file).ok()?.take(LONGEST_SOURCE + 1).read_to_end(&mut bytes).ok()?;
    if bytes.len() as u64 > LONGEST_SOURCE {
        return None;
    }
    let text = String::from_utf8_lossy(&bytes);
    Some(
        text.lines()
            .map(|line| line[..line.floor_char_boundary(LONGEST_LINE)].trim_end().to_owned())
            .collect(),
    )
}

#[cfg(test)]
mod tests;
