// SPDX-License-Identifier: GPL-2.0-only
//! Debian's archive, through apt under a private state folder: neither root nor the machine's own sources
//! are needed, and nothing is believed that does not follow from a signature of the archive's key. The
//! machine's `apt.conf.d` applies as far as it says how to reach a server (proxies, certificates).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::Lab;
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::process::{Finished, Program};

/// The key that the archive's indices are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names another place than `http://deb.debian.org` for both `debian` and `debian-security`.
pub const MIRROR_VARIABLE: &str = "VEXLAB_DEBIAN_MIRROR";

const DEFAULT_MIRROR: &str = "http://deb.debian.org";

/// How long fetched lists are taken as they are.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Where packages are kept between their download and their unpacking.
const PACKAGES: &str = "packages";

/// Suites of Debian's archive that are looked at together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suites {
    /// The name of the set in the cache.
    pub name: &'static str,
    /// The suites; one that ends in `-security` is in `debian-security`.
    pub suites: &'static [&'static str],
}

/// Debian 12 with its security updates.
pub const BOOKWORM: Suites = Suites { name: "bookworm", suites: &["bookworm", "bookworm-security"] };
/// Newer packages for Debian 12. What they need of Debian 12 itself is not in this set.
pub const BOOKWORM_BACKPORTS: Suites = Suites { name: "bookworm-backports", suites: &["bookworm-backports"] };
/// Newer packages for Debian 13.
pub const TRIXIE_BACKPORTS: Suites = Suites { name: "trixie-backports", suites: &["trixie-backports"] };
/// Debian 13.
pub const TRIXIE: Suites = Suites { name: "trixie", suites: &["trixie"] };
/// Debian 14.
pub const FORKY: Suites = Suites { name: "forky", suites: &["forky"] };
/// Debian unstable.
pub const SID: Suites = Suites { name: "sid", suites: &["sid"] };

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
    fn file_name(&self) -> String {
        format!("{}_{}_{}.deb", self.name, self.version.replace(':', "%3a"), self.architecture)
    }
}

/// A set of suites whose lists can be asked and whose packages can be fetched.
pub struct Archive<'a> {
    lab: &'a Lab,
    suites: Suites,
    dir: PathBuf,
    mirror: String,
}

impl<'a> Archive<'a> {
    /// The archive for these suites. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// When apt or the archive's key is missing, or the state folder can't be made.
    pub fn open(lab: &'a Lab, suites: Suites) -> Result<Self> {
        require_apt(std::env::var_os("PATH").as_deref())?;
        require_keyring(Path::new(KEYRING))?;
        let mirror = std::env::var(MIRROR_VARIABLE).unwrap_or_else(|_| DEFAULT_MIRROR.to_owned());
        let dir = lab.cache.path("apt").join(suites.name);
        for part in ["state/lists/partial", "cache/archives/partial"] {
            make_dir(&dir.join(part))?;
        }
        write_atomically(&dir.join("status"), b"")?;
        write_atomically(&dir.join("apt.conf"), configuration(&dir).as_bytes())?;
        write_atomically(&dir.join("sources.list"), sources(suites, &mirror).as_bytes())?;
        Ok(Self { lab, suites, dir, mirror })
    }

    /// Fetches the lists of the suites if they are missing, are older than a day, or `forced`. Where that
    /// fails and older lists are there, a note says so and these are used. `wanted` is the package that this
    /// is done for.
    ///
    /// # Errors
    ///
    /// When there are no lists to work with; the cause is what apt said.
    pub fn refresh(&self, wanted: &str, forced: bool) -> Result<()> {
        let _lock = self.lab.cache.lock(&format!("apt-{}", self.suites.name), &self.lab.cancel)?;
        let stamp = self.dir.join("fetched");
        let sources = sources(self.suites, &self.mirror);
        let usable = fs::read_to_string(&stamp).is_ok_and(|fetched| fetched == sources);
        let age = fs::metadata(&stamp).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
        if usable && !forced && age.is_some_and(|age| age < FRESH) {
            return Ok(());
        }
        let what = format!("fetching the package lists of {}", self.suites.name);
        self.lab.progress(&what, 0, 0);
        let finished = self.apt("apt-get").args(["update"]).run(&self.lab.cancel);
        self.lab.progress_end();
        let finished = finished?;
        if finished.status.success() {
            return write_atomically(&stamp, sources.as_bytes());
        }
        let cause = complaint(&finished);
        if usable {
            let first = cause.lines().next().unwrap_or("apt-get failed");
            self.lab.note(&format!(
                "the package lists of {} could not be renewed ({first}): going on with older ones",
                self.suites.name
            ));
            return Ok(());
        }
        Err(self.unreachable(
            format!("no package lists of {} to find {wanted} in", self.suites.suites.join(", ")),
            cause,
        ))
    }

    /// What the lists say about these packages, all versions of each, newest first. A name that the lists
    /// don't have is not in the answer.
    ///
    /// # Errors
    ///
    /// When apt fails or its answer can't be understood.
    pub fn versions(&self, names: &[&str]) -> Result<BTreeMap<String, Vec<Package>>> {
        let finished =
            self.apt("apt-cache").args(["show", "--all-versions"]).args(names).run(&self.lab.cancel)?;
        let unknown = finished.errors.contains("No packages found");
        if !finished.status.success() && !unknown {
            return Err(Error::lab(format!("ask the package lists of {}", self.suites.name))
                .with_source(complaint(&finished)));
        }
        let mut found: BTreeMap<String, Vec<Package>> = BTreeMap::new();
        for package in parse_show(&finished.output)? {
            found.entry(package.name.clone()).or_default().push(package);
        }
        Ok(found)
    }

    /// Fetches packages into the cache and checks each against the signed index. What is there already, and
    /// right, is not fetched again. Answers with the package files, in the order asked.
    ///
    /// # Errors
    ///
    /// When apt can't fetch one, or what it fetched isn't what the index describes.
    pub fn fetch(&self, packages: &[Package]) -> Result<Vec<PathBuf>> {
        let lock = self.lab.cache.lock(PACKAGES, &self.lab.cancel)?;
        let kept = self.lab.cache.path(PACKAGES);
        let partial = kept.join("partial");
        make_dir(&partial)?;
        let mut missing = Vec::new();
        for package in packages {
            self.lab.cancel.check()?;
            let (name, place) = (package.file_name(), kept.join(package.file_name()));
            // What an interrupted download had finished counts as fetched.
            for file in [place.clone(), partial.join(&name)] {
                if verify(package, &file).is_ok() {
                    let moved = fs::rename(&file, &place);
                    moved.context(|| format!("move {} to {}", file.display(), place.display()))?;
                }
            }
            if verify(package, &place).is_err() {
                let _ = fs::remove_file(&place);
                missing.push(package);
            }
        }
        self.download(&missing, &partial)?;
        for package in missing {
            let (file, place) = (partial.join(package.file_name()), kept.join(package.file_name()));
            if let Err(error) = verify(package, &file) {
                let _ = fs::remove_file(&file);
                return Err(error);
            }
            fs::rename(&file, &place)
                .context(|| format!("move {} to {}", file.display(), place.display()))?;
        }
        drop(lock);
        Ok(packages.iter().map(|package| kept.join(package.file_name())).collect())
    }

    /// Fetches the newest version of one package.
    ///
    /// # Errors
    ///
    /// When the lists or the package can't be fetched, or the package is not what the index describes.
    pub fn newest(&self, name: &str) -> Result<(Package, PathBuf)> {
        self.with_lists(name, || {
            let newest = self.versions(&[name])?.remove(name).and_then(|all| all.into_iter().next());
            let package = newest.ok_or_else(|| {
                Error::lab(format!("the package lists of {} have no {name}", self.suites.name))
            })?;
            let file = self.fetch(std::slice::from_ref(&package))?.remove(0);
            Ok((package, file))
        })
    }

    /// Does something with the lists; where it fails because they name what the archive has replaced since,
    /// once more with new ones. `wanted` is the package that this is done for.
    ///
    /// # Errors
    ///
    /// Those of [`refresh`](Self::refresh), and those of `work`.
    pub fn with_lists<T>(&self, wanted: &str, work: impl Fn() -> Result<T>) -> Result<T> {
        self.refresh(wanted, false)?;
        match work() {
            Err(error) if is_outdated(&error) => {
                self.refresh(wanted, true)?;
                work()
            }
            result => result,
        }
    }

    /// Has apt download packages into a folder, telling how far it is by the size of the files.
    fn download(&self, packages: &[&Package], dir: &Path) -> Result<()> {
        let names = match packages {
            [] => return Ok(()),
            [one] => one.name.clone(),
            [first, others @ ..] => format!("{} and {} more", first.name, others.len()),
        };
        let what = format!("fetching {names}");
        let total = packages.iter().map(|p| p.size).sum();
        let files: Vec<PathBuf> = packages.iter().map(|p| dir.join(p.file_name())).collect();
        let over = AtomicBool::new(false);
        let finished = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let done = files.iter().filter_map(|f| fs::metadata(f).ok()).map(|m| m.len()).sum();
                    self.lab.progress(&what, done, total);
                    std::thread::park_timeout(Duration::from_millis(200));
                }
            });
            let finished = self
                .apt("apt-get")
                .args(["download"])
                .args(packages.iter().map(|p| format!("{}={}", p.name, p.version)))
                .dir(dir)
                .run(&self.lab.cancel);
            over.store(true, Ordering::Relaxed);
            finished
        });
        self.lab.progress_end();
        let finished = finished?;
        if finished.status.success() {
            return Ok(());
        }
        // apt is done with files that are no longer what the index says; they would be resumed for ever.
        for (package, file) in packages.iter().zip(&files) {
            if fs::metadata(file).is_ok_and(|m| m.len() >= package.size) && verify(package, file).is_err() {
                let _ = fs::remove_file(file);
            }
        }
        Err(self.unreachable(format!("fetch {names}"), complaint(&finished)))
    }

    /// A program of apt that sees this state folder only.
    fn apt(&self, program: &str) -> Program {
        Program::new(program)
            .from_package("apt")
            .args(["-q", "-c"])
            .args([self.dir.join("apt.conf")])
            .env("LC_ALL", "C")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .env_remove("APT_CONFIG")
    }

    fn unreachable(&self, message: String, cause: String) -> Error {
        let remedy = if is_full(&cause) {
            "make space on that file system, then run the command again".to_owned()
        } else {
            format!(
                "check that {} can be reached ({MIRROR_VARIABLE} names another mirror), then run the command \
                 again: what was fetched before is kept in {}",
                self.mirror,
                self.lab.cache.path("").display()
            )
        };
        Error::lab(message).with_source(cause).with_remedy(remedy)
    }
}

fn require_apt(path: Option<&std::ffi::OsStr>) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg-deb"] {
        let found = path.is_some_and(|path| std::env::split_paths(path).any(|d| d.join(program).is_file()));
        if !found {
            return Err(Error::lab(format!(
                "{program} is not installed: Debian's packages are fetched with Debian's own tools"
            ))
            .with_remedy("use a Debian or Ubuntu host, or give a kernel's build tree with --kernel PATH"));
        }
    }
    Ok(())
}

fn require_keyring(path: &Path) -> Result<()> {
    if path.is_file() {
        return Ok(());
    }
    Err(Error::lab(format!("the key of Debian's archive is missing: {}", path.display()))
        .with_remedy("apt-get install debian-archive-keyring"))
}

/// The sources that apt is given: of each suite the packages, and nothing else there is.
fn sources(suites: Suites, mirror: &str) -> String {
    let line = |suite: &&str| {
        let archive = if suite.ends_with("-security") { "debian-security" } else { "debian" };
        let mirror = mirror.trim_end_matches('/');
        format!("deb [arch=amd64 target=Packages signed-by={KEYRING}] {mirror}/{archive} {suite} main\n")
    };
    suites.suites.iter().map(line).collect()
}

/// apt.conf(5) for a private state folder. It is read after the machine's own configuration.
fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        r#"Dir::State "{dir}/state";
Dir::State::lists "lists/";
Dir::State::status "{dir}/status";
Dir::Cache "{dir}/cache";
Dir::Cache::archives "archives/";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "";
Dir::Etc::SourceList "{dir}/sources.list";
Dir::Etc::SourceParts "/dev/null";
Dir::Etc::Preferences "/dev/null";
Dir::Etc::PreferencesParts "/dev/null";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
#clear APT::Default-Release;
APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
"#
    )
}

/// Checks a package file against the index: size, then SHA-256.
fn verify(package: &Package, file: &Path) -> Result<()> {
    let wrong = |what: &str, expected: &str, got: &str| {
        Error::lab(format!("{} is not what the archive's index describes", file.display()))
            .with_source(format!("package {}: {what} {expected} expected, {got} found", package.name))
            .with_remedy("run the command again; if it stays so, the mirror or a proxy before it is broken")
    };
    let mut reader = File::open(file).context(|| format!("open {}", file.display()))?;
    let length = reader.metadata().context(|| format!("read {}", file.display()))?.len();
    if length != package.size {
        return Err(wrong("size", &package.size.to_string(), &length.to_string()));
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match reader.read(&mut buffer).context(|| format!("read {}", file.display()))? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    let got: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if got != package.sha256 {
        return Err(wrong("SHA-256", &package.sha256, &got));
    }
    Ok(())
}

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

/// Whether fetching failed because the lists name what the archive no longer has.
fn is_outdated(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("404  Not Found"))
}

/// What apt or dpkg had to say: its errors, or everything where it named none.
fn complaint(finished: &Finished) -> String {
    let lines: Vec<&str> = finished.errors.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let errors: Vec<&str> = lines.iter().copied().filter(|l| l.starts_with("E:")).collect();
    let chosen = if errors.is_empty() { lines } else { errors };
    if chosen.is_empty() { format!("it ended with {}", finished.status) } else { chosen.join("\n") }
}

fn is_full(cause: &str) -> bool {
    cause.contains("No space left on device") || cause.contains("enough free space")
}

/// Parses what `apt-cache show` prints: paragraphs of `Field: value`, as deb-control(5) describes.
///
/// # Errors
///
/// When a paragraph lacks a field that is needed, or one holds what it can't.
pub fn parse_show(text: &str) -> Result<Vec<Package>> {
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
mod tests {
    use std::error::Error as _;

    use super::*;

    const SHOWN: &str = "\
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

    #[test]
    fn a_package_that_is_cut_short_or_changed_is_named_with_what_was_expected() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("p.deb");
        let mut package = parse_show(SHOWN).unwrap().remove(0);
        package.size = 4;
        let refuse = |content: &str| {
            fs::write(&file, content).unwrap();
            let error = verify(&package, &file).unwrap_err();
            let text = format!("{error}\n{}\n{}", error.source().unwrap(), error.remedy().unwrap());
            text.replace(dir.path().to_str().unwrap(), "")
        };
        insta::assert_snapshot!(refuse("deb"), @"");
        insta::assert_snapshot!(refuse("evil"), @"");
        package.sha256 = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589".to_owned();
        fs::write(&file, "abcd").unwrap();
        verify(&package, &file).unwrap();
    }

    #[test]
    fn links_may_not_leave_the_package() {
        let target = |link, target| confined_target(Path::new(link), Path::new(target));
        assert_eq!(target("lib/modules/6/build", "/usr/src/h"), Some("../../../usr/src/h".into()));
        assert_eq!(target("usr/src/h/scripts", "../../lib/k"), Some("../../lib/k".into()));
        assert_eq!(target("link", "/"), Some(".".into()));
        assert_eq!(target("usr/link", "../../etc/passwd"), None);
        assert_eq!(target("link", "/usr/../../etc"), None);
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("a/absolute")).unwrap();
        confine(dir.path()).unwrap();
        assert_eq!(fs::read_link(dir.path().join("a/absolute")).unwrap(), Path::new("../etc/passwd"));
        std::os::unix::fs::symlink("../../x", dir.path().join("a/out")).unwrap();
        insta::assert_snapshot!(
            confine(dir.path()).unwrap_err(),
            @"the package holds a link that leads out of it: a/out -> ../../x"
        );
    }

    #[test]
    fn a_host_without_apt_or_the_key_is_told_what_to_do() {
        let error = require_apt(Some("/nowhere".as_ref())).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.remedy().unwrap()), @"");
        let error = require_keyring(Path::new("/nowhere/key.gpg")).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.remedy().unwrap()), @"");
    }

    #[test]
    fn sources_ask_for_packages_only_and_with_the_archives_key() {
        insta::assert_snapshot!(sources(BOOKWORM, "http://mirror/"), @"");
    }
}
