// SPDX-License-Identifier: GPL-2.0-only
//! Which compilers made a module. C's have put their names into the section `.comment` of each object; of the Rust side's
//! that section is left out by the link.

use std::collections::BTreeSet;
use std::path::Path;

use object::{Object, ObjectSection};

use crate::Lab;
use crate::build::Built;
use crate::error::{Context, Result};
use crate::project::Project;
use crate::toolchain;

/// The compilers that made a module.
pub(super) fn of(lab: &Lab, project: &Project, built: &Built) -> Result<Vec<String>> {
    let mut names = of_module(&built.module)?;
    if let (Some(_), Some(rust)) = (&built.rust, &project.manifest().rust) {
        let rustc = toolchain::find(lab, &project.root().join(&rust.dir))?;
        names.push(format!("rustc {} ({})", rustc.version, rustc.commit));
    }
    Ok(names)
}

/// The compilers that the module in this file names.
fn of_module(file: &Path) -> Result<Vec<String>> {
    let what = || format!("read the module {}", file.display());
    let bytes = std::fs::read(file).context(what)?;
    let object = object::File::parse(&*bytes).context(what)?;
    let comment = object.section_by_name(".comment").and_then(|section| section.data().ok());
    Ok(named(comment.unwrap_or_default()))
}

/// The texts of the section, each once.
fn named(comment: &[u8]) -> Vec<String> {
    let texts = comment.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    let texts: BTreeSet<String> = texts.map(|text| String::from_utf8_lossy(text).into_owned()).collect();
    // What linked a file of it does not shape it, and Rust's compiler is named by its toolchain.
    texts.into_iter().filter(|text| !text.starts_with("Linker:") && !text.starts_with("rustc ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_compiler_is_named_once() {
        let comment = b"\0GCC: (Debian 12.2.0) 12.2.0\0\0GCC: (Debian 12.2.0) 12.2.0\0rustc version 1.95.0\0";
        assert_eq!(named(comment), ["GCC: (Debian 12.2.0) 12.2.0"]);
        assert!(named(b"").is_empty());
        assert!(!of_module(&std::env::current_exe().unwrap()).unwrap().is_empty());
    }
}
