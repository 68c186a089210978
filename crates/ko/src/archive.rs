// SPDX-License-Identifier: GPL-2.0-only
//! Static libraries as rustc writes them.

use std::collections::BTreeSet;

use object::read::archive::ArchiveFile;
use object::{Object, ObjectSymbol, SymbolKind};

use crate::ReadError;

/// Members of these crates belong to Rust's own library, whose symbols are not a module's interface.
const LIBRARY_CRATES: [&str; 3] = ["core-", "alloc-", "compiler_builtins-"];

/// The functions that a static library offers to C: those with a name that rustc did not mangle, defined
/// outside Rust's own library. Sorted.
///
/// # Errors
///
/// When the bytes are no archive, or a member is no object.
pub fn exports(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let archive = ArchiveFile::parse(bytes).map_err(ReadError::Archive)?;
    let mut names = BTreeSet::new();
    for member in archive.members() {
        let member = member.map_err(ReadError::Archive)?;
        let member_name = String::from_utf8_lossy(member.name()).into_owned();
        if LIBRARY_CRATES.iter().any(|prefix| member_name.starts_with(prefix)) || !member_name.ends_with(".o")
        {
            continue;
        }
        let malformed = |source| ReadError::Object { name: member_name.clone(), source };
        let object = crate::x86_64(member.data(bytes).map_err(malformed)?, &member_name)?;
        for symbol in object.symbols() {
            let is_function =
                symbol.kind() == SymbolKind::Text && symbol.is_definition() && symbol.is_global();
            if is_function
                && let Ok(name) = symbol.name()
                && !is_rusts_own(name)
                && !is_compilers(&member_name, name)
            {
                names.insert(name.to_owned());
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// The names that an object uses and does not define. Sorted.
///
/// # Errors
///
/// When the bytes are no object.
pub fn undefined(bytes: &[u8]) -> Result<Vec<String>, ReadError> {
    let object = crate::x86_64(bytes, "the object")?;
    let symbols = object.symbols().filter(|symbol| symbol.is_undefined() && symbol.is_global());
    let names: BTreeSet<&str> = symbols.filter_map(|symbol| symbol.name().ok()).collect();
    Ok(names.into_iter().filter(|name| !name.is_empty()).map(str::to_owned).collect())
}

/// Whether a name was made by rustc, or is one that the language itself needs.
fn is_rusts_own(name: &str) -> bool {
    name.starts_with("_R")
        || name.starts_with("_ZN")
        || name.starts_with("__rust")
        || name == "rust_eh_personality"
}

/// Whether a function is one of the compiler's helpers (`__divdc3`) from the C part of a prebuilt `compiler_builtins`,
/// whose members don't say what they belong to.
fn is_compilers(member: &str, name: &str) -> bool {
    !member.ends_with(".rcgu.o") && name.starts_with("__")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_archive_is_refused() {
        assert!(matches!(exports(b"nothing"), Err(ReadError::Archive(_))));
        assert!(exports(b"!<arch>\n").unwrap().is_empty());
    }

    #[test]
    fn mangled_names_are_no_exports() {
        assert!(is_rusts_own("_RNvCs1_4core3foo") && is_rusts_own("_ZN4core3foo17h0E"));
        assert!(!is_rusts_own("vexfs_rs_answer"));
    }

    #[test]
    fn helpers_of_the_compiler_are_no_exports() {
        assert!(is_compilers("45c91108d938afe8-divdc3.o", "__divdc3"));
        assert!(!is_compilers("x.4a-cgu.0.rcgu.o", "__x_init") && !is_compilers("x.o", "add_numbers"));
    }
}
