// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::base::Base;
use super::keeper::{Keeper, Lost};
use super::machine::{Machine, SHARE, Share};
use super::seed::Seed;
use super::ssh::{Keys, Ssh};
use super::{HOST_NAME, USER};
use crate::Lab;
use crate::accel;
use crate::console::Watch;
use crate::emulator;
use crate::error::{Context, Error, Result};
use crate::host;
use crate::kernel::{self, KNOWN};
use crate::machine::{Accelerator, Start, tsc_khz};
use crate::process::Program;
use crate::project::{Project, Size};
use crate::run;
use crate::saved::{self, Key, State, Unfinished};
use crate::share::SOURCE;

/// How long a machine may take to be ready where nothing else is said. A vendor's image takes minutes when it is
/// emulated.
pub const READY: Duration = Duration::from_secs(300);

/// What a distribution needs at least, in bytes.
const MEMORY: u64 = 1 << 30;

/// With one processor less, booting takes longer.
const PROCESSORS: u16 = 2;

/// How long a restored machine may take until its keeper answers.
const RESTORED: Duration = Duration::from_secs(10);

/// How long one command in the machine may take that the lab itself asks for.
const COMMAND: Duration = Duration::from_secs(60);

/// How many ports are tried for ssh.
const PORTS: usize = 8;

const DISK: &str = "disk.qcow2";
const SEED: &str = "seed.img";

/// The folder that is shared where none is asked for: a machine's devices are the same with and without.
const NOTHING: &str = "nothing";

/// What the user chose for a machine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its memory.
    pub memory: Size,
    /// Its processors.
    pub processors: u16,
    /// The accelerator; nothing means that KVM is tried.
    pub accelerator: Option<Accelerator>,
    /// Boot it, and neither restore nor save it.
    pub cold: bool,
    /// Debian packages that it is to install when it boots for the first time.
    pub packages: Vec<String>,
    /// The folder of the host that it is to see.
    pub share: Option<Share>,
    /// How long it may take to be ready.
    pub limit: Duration,
}

impl Options {
    /// For a project's module: what `vexlab.toml` asks for, where that is more than an image needs.
    pub fn of(project: Option<&Project>) -> Self {
        let asked = project.map(|project| &project.manifest().machine);
        Self {
            memory: Size(asked.map_or(0, |machine| machine.memory.0).max(MEMORY)),
            processors: asked.map_or(0, |machine| machine.processors).max(PROCESSORS),
            accelerator: None,
            cold: false,
            packages: Vec::new(),
            share: None,
            limit: READY,
        }
    }
}

/// A machine that is ready: cloud-init has done its work, and ssh answers. It ends with this value.
#[derive(Debug)]
pub struct Running {
    keeper: Keeper,
    ssh: Ssh,
    console: PathBuf,
    accelerator: Accelerator,
    share: Option<Share>,
    restored: bool,
}

impl Running {
    /// How it is reached.
    pub fn ssh(&self) -> &Ssh {
        &self.ssh
    }

    /// What has been said on its console, as a file.
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// What runs its instructions.
    pub fn accelerator(&self) -> Accelerator {
        self.accelerator
    }

    /// QEMU's process.
    pub fn pid(&self) -> u32 {
        self.keeper.pid()
    }

    /// Whether it was restored rather than booted.
    pub fn was_restored(&self) -> bool {
        self.restored
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.keeper.is_running()
    }

    /// Mounts the host's folder on `/src`, where one was to be shared. What is edited on the host is seen there at
    /// once.
    ///
    /// # Errors
    ///
    /// When the machine's kernel can't.
    pub fn mount_source(&mut self) -> Result<()> {
        let Some(share) = &self.share else { return Ok(()) };
        let access = if share.writable { "rw" } else { "ro" };
        let options = format!("trans=virtio,version=9p2000.L,msize=512000,{access}");
        let answer = self
            .keeper
            .run(&["mount", "-t", "9p", "-o", &options, SHARE, SOURCE], COMMAND)
            .map_err(|lost| Error::lab("the machine did not mount /src").with_source(lost.to_string()))?;
        if answer.status == 0 {
            return Ok(());
        }
        Err(not_mountable(&share.path, answer.output.trim()))
    }

    /// What has been seen of its console.
    pub fn watch(&self) -> &Watch {
        self.keeper.console()
    }

    /// What QEMU has said of itself.
    pub fn qemu_said(&self) -> String {
        self.keeper.qemu_said()
    }

    /// Lets a machine that is dying by itself finish its last words, then ends it.
    pub fn let_die(&mut self, limit: Duration) {
        self.keeper.console().wait_for_end(limit);
        self.keeper.end();
    }

    /// Ends it at once.
    pub fn end(&mut self) {
        self.keeper.end();
    }
}

/// Removes what a machine that has ended has left in its folder but its console.
pub fn clean(dir: &Path) {
    for name in [DISK, SEED] {
        // What is left is written over by the next start.
        let _ = fs::remove_file(dir.join(name));
    }
    let _ = fs::remove_dir(dir.join(NOTHING));
    Keys::remove(dir);
}

/// The error for a machine whose kernel can't mount what the host shares.
fn not_mountable(path: &Path, said: &str) -> Error {
    Error::lab(format!("the machine can't mount {} by 9p, the only way that is tried", path.display()))
        .with_source(format!("{said}; virtio-fs is not offered"))
        .with_remedy(
            "use an image with a kernel that has 9p (Debian's generic ones have, its cloud ones have not)",
        )
}

/// Starts a machine and waits until it is ready: restored where one like it was saved, else booted, saved, and
/// restored. Its files are in `dir`.
///
/// # Errors
///
/// When what it is made of can't be provided, or it does not become ready.
pub fn up(lab: &Lab, base: &Base, options: &Options, dir: &Path) -> Result<Running> {
    let plan = Plan::new(lab, base, options, dir)?;
    let mut way = plan.choose();
    loop {
        way = match way {
            Way::PowerOn => return plan.boot(),
            Way::Restored { state, own } => match plan.restore(&state)? {
                Ok(running) => return Ok(running),
                Err(lost) => plan.not_restored(state, own, &lost)?,
            },
            Way::ToBeSaved(unfinished) => match plan.boot_and_save(unfinished)? {
                Some(state) => Way::Restored { state, own: true },
                None => Way::PowerOn,
            },
        }
    }
}

/// What a machine starts from, and what is to become of it.
enum Way {
    /// From a saved state; and whether it was made just now, so that another one would be no better.
    Restored { state: State, own: bool },
    /// From power-on; it is saved once it is ready.
    ToBeSaved(Unfinished),
    /// From power-on.
    PowerOn,
}

/// A machine that is to be.
struct Plan<'a> {
    lab: &'a Lab,
    base: &'a Base,
    options: &'a Options,
    dir: &'a Path,
    machine: Machine,
    seed: Seed,
    key: Key,
}

impl<'a> Plan<'a> {
    fn new(lab: &'a Lab, base: &'a Base, options: &'a Options, dir: &'a Path) -> Result<Self> {
        let nothing = dir.join(NOTHING);
        crate::cache::make_dir(&nothing)?;
        let accelerator = match options.accelerator {
            Some(accelerator) => accelerator,
            None => find_accelerator(lab)?,
        };
        let share = options.share.clone().unwrap_or(Share { path: nothing, writable: false });
        let qemu = run::find_qemu()?;
        let machine = Machine {
            cmpxchg16b: emulator::has_cmpxchg16b(lab, &qemu)?,
            qemu,
            accelerator,
            loader: base.loader.clone(),
            memory: options.memory,
            processors: options.processors,
            disk: dir.join(DISK),
            seed: dir.join(SEED),
            port: 0,
            share,
            tsc_khz: tsc_khz(&host::processor()),
            start: Start::PowerOn,
        };
        let number = rustix::process::geteuid().as_raw();
        let user = (USER.to_owned(), (number >= 1000).then_some(number));
        let seed = Seed { host_name: HOST_NAME.to_owned(), user, packages: options.packages.clone() };
        let key = key(&machine, base, &seed)?;
        Ok(Self { lab, base, options, dir, machine, seed, key })
    }

    fn choose(&self) -> Way {
        if self.options.cold || saved::given_up(self.lab, &self.key).is_some() {
            return Way::PowerOn;
        }
        match State::find(self.lab, &self.key) {
            Ok(Some(state)) => return Way::Restored { state, own: false },
            Ok(None) => {}
            Err(error) => {
                saved::remove(self.lab, &self.key);
                self.note("the saved machine can't be used, so one is booted", &error);
            }
        }
        self.to_be_saved()
    }

    fn to_be_saved(&self) -> Way {
        match Unfinished::new(self.lab, self.key.clone(), self.options.memory) {
            Ok(unfinished) => Way::ToBeSaved(unfinished),
            Err(error) => {
                self.note(NOT_SAVED, &error);
                Way::PowerOn
            }
        }
    }

    fn note(&self, what: &str, why: &dyn std::fmt::Display) {
        let why = why.to_string();
        let why: Vec<&str> = why.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        self.lab.note(&format!("{}: {what}: {}", self.base.name, why.join("; ")));
    }

    /// Boots a machine that is not to be saved.
    fn boot(&self) -> Result<Running> {
        let (mut keeper, ssh) = self.power_on(self.dir, Start::PowerOn)?;
        self.prove(&mut keeper, &ssh)?;
        Ok(self.running(keeper, ssh, false))
    }

    /// Boots a machine and saves it; nothing where that can't be done.
    fn boot_and_save(&self, unfinished: Unfinished) -> Result<Option<State>> {
        let (mut keeper, ssh) = self.power_on(unfinished.dir(), Start::ToBeSaved(unfinished.memory()))?;
        self.prove(&mut keeper, &ssh)?;
        let saved = keeper.run(&["sync"], COMMAND).and_then(|_| keeper.save(&unfinished.devices()));
        keeper.end();
        let published = match saved {
            Ok(qemu) => unfinished.publish(self.lab, &self.base.name, qemu),
            Err(Lost::Interrupted(error)) => return Err(error),
            Err(lost) => Err(Error::lab(lost.to_string())),
        };
        published.map(Some).or_else(|error| {
            self.note(NOT_SAVED, &error);
            Ok(None)
        })
    }

    /// Boots a machine with new keys, whose disk and configuration are in this folder, and waits until it is ready.
    fn power_on(&self, place: &Path, start: Start) -> Result<(Keeper, Ssh)> {
        let keys = Keys::make(self.lab, place)?;
        let word: [u8; 16] = crate::random_bytes().context(|| "read random bytes".to_owned())?;
        let word: String = word.iter().map(|byte| format!("{byte:02x}")).collect();
        let seed = place.join(SEED);
        write_private(&seed, &self.seed.volume(&keys, &word)?)?;
        let what = format!("booting {}", self.base.name);
        let started = on_a_free_port(free_port, |port| {
            let disk = place.join(DISK);
            make_overlay(self.lab, &disk, &self.base.disk, self.base.format)?;
            let machine =
                Machine { disk, seed: seed.clone(), port, start: start.clone(), ..self.machine.clone() };
            let mut keeper = Keeper::start(&machine, self.dir, &self.lab.cancel)?;
            self.lab.progress(&what, 0, 0);
            let ready = keeper.wait_until_ready(&word, self.options.limit);
            self.lab.progress_end();
            match ready {
                Ok(()) => Ok(Some((keeper, port))),
                Err(Lost::PortTaken) => Ok(None),
                Err(lost) => Err(self.not_ready(&mut keeper, lost)),
            }
        });
        let (keeper, port) = started?;
        let ssh = Ssh::new(place, &keys, port, USER)?;
        Ok((keeper, ssh))
    }

    /// Has ssh do something in the machine. What a machine does for the first time takes longer, and it is saved
    /// afterwards.
    fn prove(&self, keeper: &mut Keeper, ssh: &Ssh) -> Result<()> {
        for user in ["root", USER] {
            let line = ssh.with_user(user).command(&["true".to_owned()]);
            let finished = Program::new("ssh")
                .from_package("openssh-client")
                .args(&line[1..])
                .limit(COMMAND)
                .run(&self.lab.cancel)?;
            if !finished.status.success() {
                let tail = last_words(keeper);
                return Err(Error::lab(format!(
                    "the machine of {} is ready, but ssh does not work",
                    self.base.name
                ))
                .with_source(format!("{}\n{tail}", finished.errors.trim())));
            }
        }
        Ok(())
    }

    /// Restores a machine from a state.
    fn restore(&self, state: &State) -> Result<Result<Running, Lost>> {
        let from = state.dir();
        let restored = on_a_free_port(free_port, |port| {
            let disk = self.dir.join(DISK);
            make_overlay(self.lab, &disk, &from.join(DISK), "qcow2")?;
            let seed = from.join(SEED);
            let machine =
                Machine { disk, seed, port, start: Start::Restored(state.memory()), ..self.machine.clone() };
            let mut keeper = Keeper::start(&machine, self.dir, &self.lab.cancel)?;
            keeper.restore(&state.devices(), state.qemu());
            match keeper.freshen(RESTORED) {
                Ok(()) if keeper.version().is_some_and(|here| here != state.qemu()) => {
                    Ok(Some(Err(Lost::Refused(format!("it was saved by QEMU {}", state.qemu())))))
                }
                Ok(()) => Ok(Some(Ok((keeper, port)))),
                Err(Lost::PortTaken) => Ok(None),
                Err(Lost::Interrupted(error)) => Err(error),
                Err(lost) => Ok(Some(Err(lost))),
            }
        });
        Ok(match restored? {
            Ok((keeper, port)) => {
                let keys = Keys::copy(from, self.dir)?;
                Ok(self.running(keeper, Ssh::new(self.dir, &keys, port, USER)?, true))
            }
            Err(lost) => Err(lost),
        })
    }

    /// What to do when a machine could not be restored.
    fn not_restored(&self, state: State, own: bool, lost: &Lost) -> Result<Way> {
        self.note("the saved machine can't be used, so one is booted", lost);
        drop(state);
        if own {
            saved::give_up(self.lab, &self.key, &lost.to_string())?;
            return Ok(Way::PowerOn);
        }
        saved::remove(self.lab, &self.key);
        Ok(self.to_be_saved())
    }

    fn running(&self, keeper: Keeper, ssh: Ssh, restored: bool) -> Running {
        let (console, accelerator) = (self.dir.join("console.log"), self.machine.accelerator);
        Running { keeper, ssh, console, accelerator, share: self.options.share.clone(), restored }
    }

    fn not_ready(&self, keeper: &mut Keeper, lost: Lost) -> Error {
        let name = &self.base.name;
        match lost {
            Lost::Interrupted(error) => error,
            Lost::TimedOut(limit) => {
                let limit = limit.as_secs_f64();
                Error::lab(format!("the machine of {name} did not say within {limit} s that it is ready"))
                    .with_source(last_words(keeper))
                    .with_remedy(
                        "an image needs cloud-init (22 or newer) and python3 to be set up from outside",
                    )
            }
            lost => {
                keeper.end();
                Error::lab(format!("the machine of {name} ended while it booted"))
                    .with_source(format!("{lost}\n{}", last_words(keeper)))
            }
        }
    }
}

const NOT_SAVED: &str = "the machine is not saved, so the next one is booted, too";

/// The last things that were said on a machine's console.
fn last_words(keeper: &Keeper) -> String {
    let tail: Vec<String> = keeper.console().tail().iter().map(|line| plain(line)).collect();
    let tail: Vec<&String> = tail.iter().filter(|line| !line.is_empty()).collect();
    if tail.is_empty() {
        return "it said nothing on its serial console".to_owned();
    }
    let last =
        tail[tail.len().saturating_sub(10)..].iter().map(|line| format!("\n{line}")).collect::<String>();
    format!("its last words on the console were:{last}")
}

/// A console's line without colours and the like.
fn plain(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\x1b' {
            // A control sequence ends with a letter; other escapes are one character long.
            if characters.next() == Some('[') {
                let _ = characters.by_ref().find(|c| c.is_ascii_alphabetic());
            }
        } else if !character.is_control() {
            plain.push(character);
        }
    }
    plain.trim().to_owned()
}

/// Tries a port after the other, until `attempt` gives something.
fn on_a_free_port<T>(
    mut choose: impl FnMut() -> io::Result<u16>,
    mut attempt: impl FnMut(u16) -> Result<Option<T>>,
) -> Result<T> {
    for _ in 0..PORTS {
        let port = choose().context(|| "find a free port on 127.0.0.1".to_owned())?;
        if let Some(result) = attempt(port)? {
            return Ok(result);
        }
    }
    Err(Error::lab(format!("no port for ssh: {PORTS} that were free were taken a moment later")))
}

/// A port that is free now.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Makes an empty overlay over an image, instead of what is there.
fn make_overlay(lab: &Lab, place: &Path, base: &Path, format: &str) -> Result<()> {
    let finished = Program::new("qemu-img")
        .from_package("qemu-utils")
        .args(["create", "-q", "-f", "qcow2", "-F", format, "-b"])
        .args([base, place])
        .run(&lab.cancel)?;
    if finished.status.success() {
        return Ok(());
    }
    Err(Error::lab(format!("make a disk over {}", base.display()))
        .with_source(finished.errors.trim().to_owned()))
}

fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        io::Write::write_all(&mut file, content)
    };
    write().context(|| format!("write {}", path.display()))
}

/// All that shapes a machine until it is ready, but its secrets.
fn key(machine: &Machine, base: &Base, seed: &Seed) -> Result<Key> {
    let plain = Machine {
        disk: PathBuf::new(),
        seed: PathBuf::new(),
        port: 0,
        // It is not looked at before it is mounted, which happens later.
        share: Share { path: PathBuf::new(), writable: false },
        tsc_khz: machine.tsc_khz.map(|_| 0),
        start: Start::PowerOn,
        ..machine.clone()
    };
    let words = plain.arguments(crate::session::SOCKETS);
    let words: Vec<String> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let text = [words.join("\0"), base.identity()?, seed.shape()].join("\0");
    Key::of_text(&machine.qemu, machine.accelerator, &text)
}

/// Whether KVM can be used, tried with a kernel that is here.
fn find_accelerator(lab: &Lab) -> Result<Accelerator> {
    let here = KNOWN.iter().find_map(|known| kernel::get(lab, known.name).ok().flatten());
    let Some(kernel) = here else {
        lab.note("KVM has not been tried, for want of a kernel (`vexlab kernel add debian-6.1-cloud`): the machine is emulated");
        return Ok(Accelerator::Tcg);
    };
    Ok(accel::find(lab, &run::describe_for_trial(lab, &kernel)?)?.accelerator())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_port_that_is_taken_in_between_is_left_for_another() {
        let next = Cell::new(40000);
        let choose = || Ok(next.replace(next.get() + 1));
        let found = on_a_free_port(choose, |port| Ok((port == 40002).then_some(port))).unwrap();
        assert_eq!(found, 40002);
        let error = on_a_free_port(free_port, |_| Ok(None::<()>)).unwrap_err();
        insta::assert_snapshot!(error, @"no port for ssh: 8 that were free were taken a moment later");
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert_ne!(free_port().unwrap(), listener.local_addr().unwrap().port());
    }

    #[test]
    fn a_console_is_quoted_without_its_colours() {
        assert_eq!(
            plain("[\x1b[0;32m  OK  \x1b[0m] Started \x1b[0;1;39mssh\x1b[0m.\r"),
            "[  OK  ] Started ssh."
        );
        assert_eq!(plain("\x1bc\x1b[?7l\x1b[2J"), "");
    }

    #[test]
    fn a_folder_that_can_not_be_mounted_is_told_with_the_way_tried() {
        let error = not_mountable(Path::new("/p"), "mount: /src: unknown filesystem type '9p'.");
        let text = format!("{error}\n{}\n{}", error.source().unwrap(), error.remedy().unwrap());
        insta::assert_snapshot!(text, @r"
        the machine can't mount /p by 9p, the only way that is tried
        mount: /src: unknown filesystem type '9p'.; virtio-fs is not offered
        use an image with a kernel that has 9p (Debian's generic ones have, its cloud ones have not)
        ");
    }
}
