// SPDX-License-Identifier: GPL-2.0-only

use std::collections::{BTreeMap, BTreeSet};

use crate::Lab;
use crate::apt::{Package, Relation};
use crate::error::{Error, Result};
use crate::process::Program;

/// The source packages that Debian's kernels are built from: `linux` has the headers and tools, the other
/// the images, signed.
const SOURCES: &[&str] = &["linux", "linux-signed-amd64"];

/// The packages that make up a kernel: those of `roots`, and what they need as far as it is built from a
/// kernel's sources (not the compiler, say).
///
/// `versions` answers with all versions of each package that is known, newest first; `satisfies` compares
/// a version with what an inequality asks.
///
/// # Errors
///
/// When a root or an exact version that is asked for isn't there.
pub(super) fn closure(
    roots: &[&str],
    mut versions: impl FnMut(&[&str]) -> Result<BTreeMap<String, Vec<Package>>>,
    satisfies: impl Fn(&str, &str, &str) -> Result<bool>,
) -> Result<Vec<Package>> {
    let root = |name: &&str| vec![Relation { name: (*name).to_owned(), version: None }];
    let mut wanted: Vec<Vec<Relation>> = roots.iter().map(root).collect();
    let mut chosen: Vec<Package> = Vec::new();
    let mut seen = BTreeSet::new();
    let mut is_root = true;
    while !wanted.is_empty() {
        let names: BTreeSet<&str> = wanted.iter().flatten().map(|r| r.name.as_str()).collect();
        let known = versions(&names.into_iter().collect::<Vec<_>>())?;
        let mut next = Vec::new();
        for alternatives in &wanted {
            let Some(package) = choose(alternatives, &known, &satisfies)? else {
                if is_root || alternatives.iter().any(asks_exactly) {
                    return Err(missing(alternatives));
                }
                continue;
            };
            if !SOURCES.contains(&package.source.as_str()) || !seen.insert(package.name.clone()) {
                continue;
            }
            next.extend(package.depends.iter().cloned());
            chosen.push(package.clone());
        }
        wanted = next;
        is_root = false;
    }
    Ok(chosen)
}

/// The first alternative that is there in a version that will do.
fn choose<'a>(
    alternatives: &[Relation],
    known: &'a BTreeMap<String, Vec<Package>>,
    satisfies: &impl Fn(&str, &str, &str) -> Result<bool>,
) -> Result<Option<&'a Package>> {
    for relation in alternatives {
        for package in known.get(&relation.name).into_iter().flatten() {
            let suits = match &relation.version {
                None => true,
                Some((operator, version)) if operator == "=" => package.version == *version,
                Some((operator, version)) => satisfies(&package.version, operator, version)?,
            };
            if suits {
                return Ok(Some(package));
            }
        }
    }
    Ok(None)
}

fn asks_exactly(relation: &Relation) -> bool {
    relation.version.as_ref().is_some_and(|(operator, _)| operator == "=")
}

fn missing(alternatives: &[Relation]) -> Error {
    let names: Vec<String> = alternatives
        .iter()
        .map(|relation| match &relation.version {
            Some((operator, version)) => format!("{} ({operator} {version})", relation.name),
            None => relation.name.clone(),
        })
        .collect();
    Error::lab(format!("the archive's package lists have no {}", names.join(" or ")))
        .with_remedy("the mirror may be in the middle of an update: run the command again later")
}

/// Compares versions as dpkg does.
pub(super) fn satisfies(lab: &Lab, version: &str, operator: &str, other: &str) -> Result<bool> {
    let compared = Program::new("dpkg")
        .from_package("dpkg")
        .args(["--compare-versions", version, operator, other])
        .run(&lab.cancel)?;
    Ok(compared.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::apt::parse_depends;

    fn package(name: &str, version: &str, source: &str, depends: &str) -> Package {
        Package {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: "amd64".to_owned(),
            source: source.to_owned(),
            depends: parse_depends(depends),
            size: 1,
            sha256: "0".repeat(64),
        }
    }

    fn run(archive: &[Package], roots: &[&str]) -> Result<Vec<(String, String)>> {
        let versions = |names: &[&str]| {
            let mut known: BTreeMap<String, Vec<Package>> = BTreeMap::new();
            for package in archive.iter().filter(|p| names.contains(&p.name.as_str())) {
                known.entry(package.name.clone()).or_default().push(package.clone());
            }
            Ok(known)
        };
        let satisfies = |version: &str, _: &str, other: &str| Ok(version >= other);
        let chosen = closure(roots, versions, satisfies)?;
        Ok(chosen.into_iter().map(|p| (p.name, p.version)).collect())
    }

    #[test]
    fn dependencies_are_followed_within_the_kernels_sources_and_in_the_version_asked_for() {
        let archive = [
            package("headers", "2", "linux-signed-amd64", "headers-v (= 1)"),
            package("headers-v", "2", "linux", ""),
            package("headers-v", "1", "linux", "kbuild (>= 1), gcc-12, unknown | base, image (= 1) | other"),
            package("kbuild", "2", "linux", "headers (>= 1)"),
            package("gcc-12", "12", "gcc-12", "libc"),
            package("base", "4", "linux-base", "libc"),
            package("image", "1", "linux-signed-amd64", ""),
        ];
        let names = run(&archive, &["headers"]).unwrap();
        let names: Vec<_> = names.iter().map(|(n, v)| format!("{n}={v}")).collect();
        assert_eq!(names, ["headers=2", "headers-v=1", "kbuild=2", "image=1"]);
    }

    #[test]
    fn what_is_asked_for_exactly_must_be_there() {
        let archive = [package("meta", "1", "linux", "image (= 7) | image-unsigned (= 7)")];
        let error = run(&archive, &["meta"]).unwrap_err();
        insta::assert_snapshot!(error, @"the archive's package lists have no image (= 7) or image-unsigned (= 7)");
        let error = run(&archive, &["none-such"]).unwrap_err();
        insta::assert_snapshot!(error, @"the archive's package lists have no none-such");
    }
}
