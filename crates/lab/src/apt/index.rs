// SPDX-License-Identifier: GPL-2.0-only

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// One version of one package, as the signed index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// `amd64` or `all`.
    pub architecture: String,
    /// The source package it is built from.
    pub source: String,
    /// What it needs (`Pre-Depends` and `Depends`): each a list of alternatives.
    pub depends: Vec<Vec<Relation>>,
    /// Bytes of the package file.
    pub size: u64,
    /// SHA-256 of the package file, in lower-case hexadecimal digits.
    pub sha256: String,
}

/// One alternative of a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// The package's name, without an architecture.
    pub name: String,
    /// Operator (`=`, `>=`, `<=`, `>>`, `<<`) and version.
    pub version: Option<(String, String)>,
}

impl Package {
    /// The name that apt gives the package file.
    pub(super) fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// Parses what `apt-cache show` prints: paragraphs of `Field: value`, as deb-control(5) describes.
///
/// # Errors
///
/// When a paragraph lacks a field that is needed, or one holds what it can't.
pub(super) fn parse_show(text: &str) -> Result<Vec<Package>> {
    text.split("\n\n").filter(|p| !p.trim().is_empty()).map(parse_paragraph).collect()
}

fn parse_paragraph(text: &str) -> Result<Package> {
    let fields: BTreeMap<&str, &str> = text
        .lines()
        .filter(|line| !line.starts_with([' ', '\t']))
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name, value.trim()))
        .collect();
    let name = fields.get("Package").copied().unwrap_or("(unnamed)");
    let wrong = |field: &str| Error::lab(format!("the package lists have no usable {field} for {name}"));
    let get = |field: &str| fields.get(field).copied().ok_or_else(|| wrong(field));
    // These become parts of file names and of command lines.
    let word = |field: &str| {
        let value = get(field)?;
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c));
        let begins = value.starts_with(|c: char| c.is_ascii_alphanumeric());
        if plain && begins { Ok(value.to_owned()) } else { Err(wrong(field)) }
    };
    let sha256 = get("SHA256")?;
    if sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(wrong("SHA256"));
    }
    let source = fields.get("Source").and_then(|s| s.split_whitespace().next()).unwrap_or(name);
    let mut depends = parse_depends(fields.get("Pre-Depends").copied().unwrap_or(""));
    depends.extend(parse_depends(fields.get("Depends").copied().unwrap_or("")));
    Ok(Package {
        name: word("Package")?,
        version: word("Version")?,
        architecture: word("Architecture")?,
        source: source.to_owned(),
        depends,
        size: get("Size")?.parse().map_err(|_| wrong("Size"))?,
        sha256: sha256.to_ascii_lowercase(),
    })
}

/// Parses a `Depends` field: alternatives separated by `|`, groups of them by commas.
pub fn parse_depends(text: &str) -> Vec<Vec<Relation>> {
    let relation = |text: &str| {
        let text = text.trim();
        let end = text.find([' ', '(']).unwrap_or(text.len());
        let name = text[..end].split(':').next().unwrap_or("");
        let version = text.split_once('(').and_then(|(_, rest)| rest.split_once(')')).map(|(inside, _)| {
            let inside = inside.trim();
            let (operator, version) = inside.split_at(inside.find(|c| !"<=>".contains(c)).unwrap_or(0));
            (operator.to_owned(), version.trim().to_owned())
        });
        (!name.is_empty()).then(|| Relation { name: name.to_owned(), version })
    };
    text.split(',')
        .map(|group| group.split('|').filter_map(relation).collect::<Vec<_>>())
        .filter(|group| !group.is_empty())
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::apt) const SHOWN: &str = "\
Package: linux-headers-6.1.0-56-cloud-amd64
Source: linux (6.1.192-2)
Version: 6.1.192-2
Architecture: amd64
Depends: linux-headers-6.1.0-56-common (= 6.1.192-2), linux-kbuild-6.1 (>= 6.1.192-2), a:any | b
Pre-Depends: linux-base
Description: Header files
 Source: not a field
Size: 1592924
SHA256: 00BE21c0c17f08ddf26e82d3b53fe7a41efa4a288938da6bb69e89c4b25c281d

";

    #[test]
    fn what_apt_shows_is_parsed() {
        let packages = parse_show(&SHOWN.repeat(2)).unwrap();
        assert_eq!(packages.len(), 2);
        let package = &packages[0];
        assert_eq!(
            (package.name.as_str(), package.source.as_str()),
            ("linux-headers-6.1.0-56-cloud-amd64", "linux")
        );
        assert_eq!((package.size, package.depends.len()), (1_592_924, 4));
        assert!(package.sha256.starts_with("00be21"));
        let names: Vec<_> = package.depends.iter().flatten().map(|r| r.name.as_str()).collect();
        assert_eq!(names, ["linux-base", "linux-headers-6.1.0-56-common", "linux-kbuild-6.1", "a", "b"]);
        assert_eq!(package.depends[2][0].version, Some((">=".to_owned(), "6.1.192-2".to_owned())));
        assert_eq!(package.file_name(), "linux-headers-6.1.0-56-cloud-amd64_6.1.192-2_amd64.deb");
    }

    #[test]
    fn a_field_that_could_do_harm_or_is_missing_is_refused() {
        let refuse = |from: &str, to: &str| parse_show(&SHOWN.replacen(from, to, 1)).unwrap_err().to_string();
        insta::assert_snapshot!(refuse("Version: 6", "Version: ../6"), @"the package lists have no usable Version for linux-headers-6.1.0-56-cloud-amd64");
        insta::assert_snapshot!(refuse("Package: l", "Package: -o"), @"the package lists have no usable Package for -oinux-headers-6.1.0-56-cloud-amd64");
        insta::assert_snapshot!(refuse("SHA256: 00", "SHA256: "), @"the package lists have no usable SHA256 for linux-headers-6.1.0-56-cloud-amd64");
        insta::assert_snapshot!(refuse("Size: ", "Size: -"), @"the package lists have no usable Size for linux-headers-6.1.0-56-cloud-amd64");
    }
}
