// SPDX-License-Identifier: GPL-2.0-only
//! Debian's archive, through apt under a private state folder: neither root nor the machine's own sources
//! are needed, and nothing is believed that does not follow from a signature of the archive's key. The
//! machine's `apt.conf.d` applies as far as it says how to reach a server (proxies, certificates).

/// What the lists say of a package.
mod index;
/// Package files, unpacked with distrust.
mod unpack;

pub use index::{Package, Relation, parse_depends};
pub use unpack::unpack;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::Lab;
use crate::cache::{make_dir, write_atomically};
use crate::error::{Context, Error, Result};
use crate::process::{Finished, Program};
use index::parse_show;

/// The key that the archive's indices are signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Names another place than `http://deb.debian.org` for both `debian` and `debian-security`.
pub const MIRROR_VARIABLE: &str = "VEXLAB_DEBIAN_MIRROR";

const DEFAULT_MIRROR: &str = "http://deb.debian.org";

/// How long fetched lists are taken as they are.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// What a suite's lists take at most, in bytes: packed and unpacked, with what is there while they are
/// renewed.
const LISTS_SIZE: u64 = 100 << 20;

/// The longest that one call of apt may take. A kernel is 100 MB.
const LONGEST: Duration = Duration::from_secs(30 * 60);

const BROKEN_MIRROR: &str =
    "run the command again; if it stays so, the mirror or a proxy before it is broken or dishonest";

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
/// Debian 13 with its security updates.
pub const TRIXIE_SECURITY: Suites =
    Suites { name: "trixie-security", suites: &["trixie", "trixie-security"] };
/// The same with newer packages, which are installed only where that suite is named for them.
pub const TRIXIE_AND_BACKPORTS: Suites =
    Suites { name: "trixie-and-backports", suites: &["trixie", "trixie-security", "trixie-backports"] };
/// Debian 14.
pub const FORKY: Suites = Suites { name: "forky", suites: &["forky"] };
/// Debian unstable.
pub const SID: Suites = Suites { name: "sid", suites: &["sid"] };

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
        let mirror = mirror();
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
        // On a full file system apt waits for ever.
        self.lab.cache.require_space(LISTS_SIZE, &format!("the package lists to find {wanted} in"))?;
        self.lab.progress(&what, 0, 0);
        let finished = self.apt("apt-get").args(["update"]).limit(LONGEST).run(&self.lab.cancel);
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

    /// Fetches packages and checks each against the signed index. Answers with the package files in the folder
    /// `dir`, in the order asked: links to those in the cache, which stay there until they are
    /// [forgotten](Self::forget), so that what was fetched is not fetched again after an interruption.
    ///
    /// # Errors
    ///
    /// When apt can't fetch one, what it fetched isn't what the index describes, or `dir` is on another file
    /// system than the cache.
    pub fn fetch(&self, packages: &[Package], dir: &Path) -> Result<Vec<PathBuf>> {
        let _lock = self.lab.cache.lock(PACKAGES, &self.lab.cancel)?;
        let kept = self.lab.cache.path(PACKAGES);
        let partial = kept.join("partial");
        make_dir(&partial)?;
        make_dir(dir)?;
        let mut missing = Vec::new();
        for package in packages {
            self.lab.cancel.check()?;
            // What an interrupted download had finished counts as fetched.
            let place = kept.join(package.file_name());
            let unfinished = partial.join(package.file_name());
            if verify(package, &unfinished).is_ok() {
                rename(&unfinished, &place)?;
            }
            if verify(package, &place).is_err() {
                let _ = fs::remove_file(&place);
                missing.push(package);
            }
        }
        self.download(&missing, &partial)?;
        for package in missing {
            let file = partial.join(package.file_name());
            if let Err(error) = verify(package, &file) {
                let _ = fs::remove_file(&file);
                return Err(error);
            }
            rename(&file, &kept.join(package.file_name()))?;
        }
        let link = |package: &Package| {
            let (file, place) = (kept.join(package.file_name()), dir.join(package.file_name()));
            fs::hard_link(&file, &place)
                .context(|| format!("link {} to {}", place.display(), file.display()))?;
            Ok(place)
        };
        packages.iter().map(link).collect()
    }

    /// Removes packages from the cache that are of no further use.
    pub fn forget(&self, packages: &[Package]) {
        for package in packages {
            // One that stays costs only space.
            let _ = fs::remove_file(self.lab.cache.path(PACKAGES).join(package.file_name()));
        }
    }

    /// Fetches the newest version of one package into a folder, as [`fetch`](Self::fetch) does.
    ///
    /// # Errors
    ///
    /// When the lists or the package can't be fetched, or the package is not what the index describes.
    pub fn newest(&self, name: &str, dir: &Path) -> Result<(Package, PathBuf)> {
        self.with_lists(name, || {
            let newest = self.versions(&[name])?.remove(name).and_then(|all| all.into_iter().next());
            let package = newest.ok_or_else(|| {
                Error::lab(format!("the package lists of {} have no {name}", self.suites.name))
            })?;
            let file = self.fetch(std::slice::from_ref(&package), dir)?.remove(0);
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
        self.lab.cache.require_space(total, &names)?;
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
                .limit(LONGEST)
                .run(&self.lab.cancel);
            over.store(true, Ordering::Relaxed);
            finished
        });
        self.lab.progress_end();
        let finished = finished?;
        if finished.status.success() {
            return Ok(());
        }
        let mut failed = Vec::new();
        for (package, file) in packages.iter().zip(&files) {
            if verify(package, file).is_ok() {
                continue;
            }
            failed.push(package.name.as_str());
            // What is whole and wrong would be taken up again for ever; apt sets some of it aside itself.
            if fs::metadata(file).is_ok_and(|meta| meta.len() >= package.size) {
                let _ = fs::remove_file(file);
            }
            let _ = fs::remove_file(dir.join(format!("{}.FAILED", package.file_name())));
        }
        Err(self.unreachable(format!("fetch {}", failed.join(", ")), complaint(&finished)))
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
        let says = |words: &[&str]| words.iter().any(|word| cause.contains(word));
        let remedy = if is_full(&cause) {
            "make space on that file system, then run the command again".to_owned()
        } else if says(&["GPG error", "not signed", "signature"]) {
            format!(
                "{} must carry Debian's own signature; a newer debian-archive-keyring may be needed",
                self.mirror
            )
        } else if says(&["Hash Sum mismatch", "unexpected size", "larger than expected"]) {
            BROKEN_MIRROR.to_owned()
        } else {
            format!(
                "check that {} can be reached ({MIRROR_VARIABLE} names another mirror), then run the command \
                 again: what was fetched before is kept in {}",
                self.mirror,
                self.lab.cache.path(PACKAGES).display()
            )
        };
        Error::lab(message).with_source(cause).with_remedy(remedy)
    }
}

fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context(|| format!("move {} to {}", from.display(), to.display()))
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

/// The sources of these suites, one a line, for another program that fetches packages and checks signatures.
///
/// # Errors
///
/// When apt or the archive's key is missing.
pub(crate) fn source_lines(suites: Suites) -> Result<String> {
    require_apt(std::env::var_os("PATH").as_deref())?;
    require_keyring(Path::new(KEYRING))?;
    Ok(sources(suites, &mirror()))
}

/// Where packages come from.
fn mirror() -> String {
    std::env::var(MIRROR_VARIABLE).unwrap_or_else(|_| DEFAULT_MIRROR.to_owned())
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
            .with_remedy(BROKEN_MIRROR)
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

/// Whether fetching failed because the lists name what the archive no longer has.
fn is_outdated(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.to_string().contains("  404  "))
}

/// What apt or dpkg had to say: its errors, or everything where it named none.
fn complaint(finished: &Finished) -> String {
    let lines: Vec<&str> = finished.errors.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let errors = lines.iter().filter_map(|line| line.strip_prefix("E:")).map(str::trim);
    let errors: Vec<&str> = errors.filter(|line| !line.starts_with("Some index files")).collect();
    // One reason why all of them failed.
    if let Some(full) = lines.iter().find(|line| is_full(line)) {
        return (*full).to_owned();
    }
    match if errors.is_empty() { lines } else { errors }.as_slice() {
        [] => format!("it ended with {}", finished.status),
        [first, second, third, rest @ ..] if !rest.is_empty() => {
            format!("{first}\n{second}\n{third}\nand {} more", rest.len())
        }
        all => all.join("\n"),
    }
}

fn is_full(cause: &str) -> bool {
    cause.contains("No space left on device") || cause.contains("enough free space")
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::index::tests::SHOWN;
    use super::*;

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
        insta::assert_snapshot!(refuse("deb"), @r"
        /p.deb is not what the archive's index describes
        package linux-headers-6.1.0-56-cloud-amd64: size 4 expected, 3 found
        run the command again; if it stays so, the mirror or a proxy before it is broken or dishonest
        ");
        insta::assert_snapshot!(refuse("evil"), @r"
        /p.deb is not what the archive's index describes
        package linux-headers-6.1.0-56-cloud-amd64: SHA-256 00be21c0c17f08ddf26e82d3b53fe7a41efa4a288938da6bb69e89c4b25c281d expected, b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73 found
        run the command again; if it stays so, the mirror or a proxy before it is broken or dishonest
        ");
        package.sha256 = "88d4266fd4e6338d13b845fcf289579d209c897823b9217da3e161936f031589".to_owned();
        fs::write(&file, "abcd").unwrap();
        verify(&package, &file).unwrap();
    }

    #[test]
    fn a_host_without_apt_or_the_key_is_told_what_to_do() {
        let error = require_apt(Some("/nowhere".as_ref())).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.remedy().unwrap()), @r"
        apt-get is not installed: Debian's packages are fetched with Debian's own tools
        use a Debian or Ubuntu host, or give a kernel's build tree with --kernel PATH
        ");
        let error = require_keyring(Path::new("/nowhere/key.gpg")).unwrap_err();
        insta::assert_snapshot!(format!("{error}\n{}", error.remedy().unwrap()), @r"
        the key of Debian's archive is missing: /nowhere/key.gpg
        apt-get install debian-archive-keyring
        ");
    }

    #[test]
    fn sources_ask_for_packages_only_and_with_the_archives_key() {
        insta::assert_snapshot!(sources(BOOKWORM, "http://mirror/"), @r"
        deb [arch=amd64 target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/debian bookworm main
        deb [arch=amd64 target=Packages signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://mirror/debian-security bookworm-security main
        ");
    }
}
