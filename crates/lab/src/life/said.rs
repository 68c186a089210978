// SPDX-License-Identifier: GPL-2.0-only
/// What a module says, when it goes, that it has not given back: a line
/// `MODULE: leak: BYTES bytes at PLACE`, which may be followed by lines `MODULE: leak: from PLACE`, one for each
/// caller. A place is what `%pS` prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost<'a> {
    /// How much, in bytes.
    pub bytes: u64,
    /// Who asked for it, and who called that, and so on.
    pub places: Vec<&'a str>,
}

impl<'a> Lost<'a> {
    /// What a module says in these lines of the kernel's log, which have no time stamp.
    pub fn find(module: &str, lines: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        for line in lines {
            let said = line.strip_prefix(module).and_then(|rest| rest.strip_prefix(": leak: "));
            let Some(said) = said else { continue };
            match (said.strip_prefix("from "), found.last_mut()) {
                (Some(place), Some(last)) => last.places.push(place),
                _ => found.extend(Self::parse(said)),
            }
        }
        found
    }

    fn parse(said: &'a str) -> Option<Self> {
        let (bytes, place) = said.split_once(" bytes at ")?;
        let bytes = bytes.parse().ok()?;
        (!place.is_empty()).then(|| Self { bytes, places: vec![place] })
    }

    /// The same for people: of the callers the first that is not Rust's library, with its name as it is written.
    pub fn words(&self) -> String {
        let places = self.places.iter().map(|place| readable(place));
        let place = places.clone().find(|place| !is_librarys(place)).or_else(|| places.clone().next());
        format!("{} bytes allocated at {}", self.bytes, place.unwrap_or_default())
    }
}

/// Whether a function is between whoever wants memory and the allocator.
fn is_librarys(place: &str) -> bool {
    let place = place.trim_start_matches('<');
    ["alloc::", "core::", "hashbrown::", "__rustc::", "__rust_", "__rg_"]
        .iter()
        .any(|own| place.starts_with(own))
        || place.contains(" as core::alloc::global::GlobalAlloc>::")
}

/// A place with the names of Rust functions as they are written in the source.
pub(super) fn readable(place: &str) -> String {
    let end = place.find('+').unwrap_or(place.len());
    let name = rustc_demangle::demangle(&place[..end]);
    format!("{name:#}{}", &place[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Vec<String> {
        Lost::find("m", text.lines()).iter().map(Lost::words).collect()
    }

    #[test]
    fn a_modules_own_words_are_understood() {
        let lines = "m: leak: 64 bytes at frob_init+0x12/0x40 [m]\nm: unloaded\n\
                     m: leak: 8 bytes at _RNvCs1234_7mycrate3foo+0x12/0x40 [m]\nm: leak: from other+0x1/0x2 [m]";
        insta::assert_snapshot!(said(lines).join("\n"), @r"
        64 bytes allocated at frob_init+0x12/0x40 [m]
        8 bytes allocated at mycrate::foo+0x12/0x40 [m]
        ");
    }

    #[test]
    fn whoever_wanted_the_memory_is_named_and_not_the_library() {
        let lines = "m: leak: 8 bytes at _RNvCs1234_7___rustc12___rust_alloc+0x9/0x10 [m]\n\
                     m: leak: from _RNvNtCs1234_5alloc7raw_vec4grow+0x12/0x40 [m]\n\
                     m: leak: from _RNvCs1234_7mycrate3foo+0x12/0x40 [m]\nm: leak: from init+0x1/0x2 [m]";
        assert_eq!(said(lines), ["8 bytes allocated at mycrate::foo+0x12/0x40 [m]"]);
    }

    #[test]
    fn other_words_about_leaks_are_none() {
        for line in [
            "m: no leak: 64 bytes at x",
            "a: m: leak: 64 bytes at x",
            "other: leak: 64 bytes at x",
            "m: leak: many bytes at x",
            "m: leak: 64 bytes at ",
            "m: leak: 64 bytes",
            "m: leak: from x",
        ] {
            assert_eq!(said(line), [""; 0], "{line}");
        }
    }
}
