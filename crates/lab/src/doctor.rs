// SPDX-License-Identifier: GPL-2.0-only
//! What the lab needs of the machine it runs on, and whether it is there.

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Lab;
use crate::accel;
use crate::error::{Error, Kind, Result};
use crate::kernel::{self, KNOWN};
use crate::process::{self, Program};
use crate::run;
use crate::toolchain;

/// One thing that was looked at.
#[derive(Debug)]
pub struct Finding {
    /// What: a program, a device.
    pub what: &'static str,
    /// How it stands.
    pub state: State,
}

/// How a thing stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is there; the text says more.
    Good(String),
    /// It is missing, and the lab can't work without it.
    Missing {
        /// What is missing, and what for.
        why: String,
        /// The Debian package that has it, or a command where it isn't a package.
        mend: Mend,
    },
    /// It isn't there, and the lab does without: the text says why.
    Without(String),
}

/// What mends a lack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// Installing this Debian package.
    Package(&'static str),
    /// Doing this.
    Command(String),
}

/// The programs that the lab starts: name, how it is asked for its version, Debian package, what for.
const PROGRAMS: [(&str, &str, &str, &str); 9] = [
    ("qemu-system-x86_64", "--version", "qemu-system-x86", "machines"),
    ("setpriv", "--version", "util-linux", "ending machines with their owner"),
    ("make", "--version", "make", "Kbuild"),
    ("gcc", "--version", "gcc", "Kbuild"),
    ("gcc-12", "--version", "gcc-12", "modules for Debian's kernels 6.1 and 6.12"),
    ("ld", "--version", "binutils", "linking"),
    ("objcopy", "--version", "binutils", "linking"),
    ("apt-get", "--version", "apt", "fetching kernels"),
    ("dpkg-deb", "--version", "dpkg", "unpacking kernels"),
];

/// The programs that only machines with a whole distribution need: name, Debian package, what for.
const OPTIONAL: [(&str, &str, &str); 3] = [
    ("mmdebstrap", "mmdebstrap", "`vexlab image build`"),
    ("qemu-img", "qemu-utils", "machines of images"),
    ("ssh", "openssh-client", "machines of images"),
];

/// The key that Debian's archive is signed with.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A library that the kernel's own build tools are linked against.
const LIBELF: [&str; 3] =
    ["/usr/lib/x86_64-linux-gnu/libelf.so.1", "/lib/x86_64-linux-gnu/libelf.so.1", "/usr/lib64/libelf.so.1"];

/// The space that a kernel and its builds take, in bytes.
const SPACE: u64 = 2 << 30;

/// Looks at everything.
///
/// # Errors
///
/// When it is interrupted.
pub fn examine(lab: &Lab) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (name, argument, package, purpose) in PROGRAMS {
        let mend = Mend::Package(package);
        findings.push(Finding { what: name, state: program(lab, name, argument, mend, purpose)? });
    }
    for (name, package, purpose) in OPTIONAL {
        findings.push(Finding { what: name, state: optional(name, package, purpose) });
    }
    for (name, purpose) in [("cargo", "building Rust"), ("rustc", "building Rust")] {
        let mend = Mend::Command("install Rust with rustup: https://rustup.rs".to_owned());
        findings.push(Finding { what: name, state: program(lab, name, "--version", mend, purpose)? });
    }
    findings.push(Finding { what: "rust-src", state: rust_src(lab)? });
    findings.push(Finding { what: "libelf", state: file(&LIBELF, "libelf1", "the kernel's build tools") });
    findings.push(Finding {
        what: "keyring",
        state: file(&[KEYRING], "debian-archive-keyring", "checking packages"),
    });
    findings.push(Finding { what: "space", state: space(lab) });
    findings.push(Finding { what: "kvm", state: kvm(lab)? });
    Ok(findings)
}

/// The one command that mends what is missing.
pub fn remedy(findings: &[Finding]) -> Option<String> {
    let mut packages = Vec::new();
    let mut commands = Vec::new();
    for finding in findings {
        match &finding.state {
            State::Missing { mend: Mend::Package(package), .. } => packages.push(*package),
            State::Missing { mend: Mend::Command(command), .. } => commands.push(command.clone()),
            State::Good(_) | State::Without(_) => {}
        }
    }
    packages.sort_unstable();
    packages.dedup();
    commands.dedup();
    if !packages.is_empty() {
        let sudo = if rustix::process::geteuid().is_root() { "" } else { "sudo " };
        commands.insert(0, format!("{sudo}apt-get install --no-install-recommends {}", packages.join(" ")));
    }
    (!commands.is_empty()).then(|| commands.join(" && "))
}

fn program(lab: &Lab, name: &str, argument: &str, mend: Mend, purpose: &str) -> Result<State> {
    let missing = |why: String| State::Missing { why, mend };
    if process::find(name).is_none() {
        return Ok(missing(format!("it is not installed; needed for {purpose}")));
    }
    let finished =
        Program::new(name).args([argument]).merged().limit(Duration::from_secs(20)).run(&lab.cancel);
    Ok(match finished {
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => missing(format!("it can't be started: {error}")),
        Ok(finished) if !finished.status.success() => {
            missing(format!("it does not work: {}", finished.output.trim()))
        }
        Ok(finished) => State::Good(finished.output.lines().next().unwrap_or_default().to_owned()),
    })
}

/// A program that most of the lab does without.
fn optional(name: &str, package: &str, purpose: &str) -> State {
    match process::find(name) {
        Some(path) => State::Good(path.display().to_string()),
        None => {
            State::Without(format!("it is not installed; {purpose} would need it: apt-get install {package}"))
        }
    }
}

fn file(places: &[&str], package: &'static str, purpose: &str) -> State {
    match places.iter().find(|place| Path::new(place).exists()) {
        Some(place) => State::Good((*place).to_owned()),
        None => State::Missing {
            why: format!("{} is not there; needed for {purpose}", places[0]),
            mend: Mend::Package(package),
        },
    }
}

fn rust_src(lab: &Lab) -> Result<State> {
    if process::find("rustc").is_none() {
        return Ok(State::Without("it goes with the compiler, which is not here".to_owned()));
    }
    let dir = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    Ok(match toolchain::find(lab, &dir) {
        Ok(toolchain) => State::Good(format!("{} in {}", toolchain.version, toolchain.sysroot.display())),
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => {
            let mend = error.remedy().unwrap_or("rustup component add rust-src").to_owned();
            State::Missing { why: with_cause(&error), mend: Mend::Command(mend) }
        }
    })
}

fn with_cause(error: &Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

fn space(lab: &Lab) -> State {
    match lab.cache.free_space() {
        Err(error) => State::Without(with_cause(&error)),
        Ok(free) => {
            let text = format!("{} MB free in {}", free / 1_000_000, lab.cache.path("").display());
            if free >= SPACE {
                return State::Good(text);
            }
            let mend = Mend::Command(format!("make {} MB of space there", SPACE / 1_000_000));
            State::Missing { why: text, mend }
        }
    }
}

/// KVM, tried with a kernel that is here already; none is fetched for it.
fn kvm(lab: &Lab) -> Result<State> {
    let here = KNOWN.iter().find_map(|known| kernel::get(lab, known.name).ok().flatten());
    let Some(kernel) = here else {
        return Ok(State::Without(
            "not tried yet: that needs a kernel (`vexlab kernel add debian-6.1-cloud`)".into(),
        ));
    };
    let finding = match run::describe_for_trial(lab, &kernel).and_then(|machine| accel::find(lab, &machine)) {
        Ok(finding) => finding,
        Err(error) if error.kind() == Kind::Interrupted => return Err(error),
        Err(error) => return Ok(State::Without(format!("not tried: {}", with_cause(&error)))),
    };
    Ok(match finding.unusable {
        None => State::Good("a machine boots under it".to_owned()),
        Some(reason) => State::Without(format!("machines are emulated: {reason}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_mends_all_that_is_missing() {
        let missing = |what, mend| Finding { what, state: State::Missing { why: String::new(), mend } };
        let findings = [
            Finding { what: "make", state: State::Good(String::new()) },
            missing("objcopy", Mend::Package("binutils")),
            missing("ld", Mend::Package("binutils")),
            missing("rust-src", Mend::Command("rustup component add rust-src".into())),
            Finding { what: "kvm", state: State::Without(String::new()) },
        ];
        let command = remedy(&findings).unwrap();
        let command = command.strip_prefix("sudo ").unwrap_or(&command);
        assert_eq!(
            command,
            "apt-get install --no-install-recommends binutils && rustup component add rust-src"
        );
        assert_eq!(remedy(&findings[..1]), None);
    }
}
