// SPDX-License-Identifier: GPL-2.0-only
use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libtest_mimic::Trial;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};

use crate::harness::{Context, KERNEL, USUAL, machine};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("shell::is_on_a_terminal", USUAL, is_on_a_terminal),
        machine("shell::follows_the_window", USUAL, follows_the_window),
        machine("shell::passes_ctrl_c_on", USUAL, passes_ctrl_c_on),
        machine("shell::ends_with_its_terminal", USUAL, ends_with_its_terminal),
        machine("shell::reads_commands_from_a_pipe", USUAL, reads_commands_from_a_pipe),
    ]
}

/// A shell in a machine, with a terminal of ours around it.
pub(crate) struct Terminal {
    user: File,
    screen: Arc<Mutex<String>>,
    child: Child,
}

impl Terminal {
    fn open(context: &Context) -> Self {
        Self::with(context, context.cache(), &["shell", "--no-module", "--kernel", KERNEL])
    }

    /// A call of the program on a terminal of its own.
    pub(crate) fn with(context: &Context, cache: &Path, arguments: &[&str]) -> Self {
        let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&user).and_then(|()| unlockpt(&user)).expect("a terminal can be used");
        let name = ptsname(&user, Vec::new()).expect("a terminal has a name");
        let line = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its line");
        set_size(&user, 33, 101);
        let share = || Stdio::from(line.try_clone().expect("a line can be shared"));
        // setsid makes the terminal the one that the program is controlled by: it is told of new sizes.
        let child = Command::new("setsid")
            .args(["--ctty", "--wait", env!("CARGO_BIN_EXE_vexlab")])
            .args(arguments)
            .env("XDG_CACHE_HOME", cache)
            .env("TERM", "dumb")
            .current_dir(context.dir())
            .stdin(share())
            .stdout(share())
            .stderr(share())
            .spawn()
            .expect("setsid can be started");
        drop(line);
        let screen = Arc::new(Mutex::new(String::new()));
        let reader = user.try_clone().expect("a terminal can be shared");
        watch(reader, Arc::clone(&screen));
        Self { user: user.into(), screen, child }
    }

    pub(crate) fn types(&mut self, keys: &str) {
        self.user.write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    pub(crate) fn screen(&self) -> String {
        self.screen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until the screen shows a text. What is typed is shown as well: the text is never typed as it is.
    pub(crate) fn shows(&mut self, context: &Context, text: &str) {
        let screen = Arc::clone(&self.screen);
        let shown = move || screen.lock().unwrap_or_else(PoisonError::into_inner).contains(text);
        context.wait_until(&format!("the screen shows {text:?}"), USUAL, shown);
    }

    /// Leaves the shell and answers with the program's status.
    pub(crate) fn leaves(mut self, context: &Context, keys: &str) -> Option<i32> {
        self.types(keys);
        let child = RefCell::new(&mut self.child);
        let ended = || child.borrow_mut().try_wait().is_ok_and(|status| status.is_some());
        context.wait_until("the shell has ended", USUAL, ended);
        self.child.wait().expect("it has ended").code()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Where the test has failed, it is still there: the terminal's end is its end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn watch(reader: OwnedFd, screen: Arc<Mutex<String>>) {
    thread::spawn(move || {
        let mut reader = File::from(reader);
        let mut buffer = [0; 1024];
        while let Ok(length @ 1..) = reader.read(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            screen.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
        }
    });
}

fn set_size(terminal: &OwnedFd, rows: u16, columns: u16) {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).expect("a terminal has a size");
}

fn is_on_a_terminal(context: &Context) {
    let mut terminal = Terminal::open(context);
    let before = tcgetattr(&terminal.user).expect("a terminal has settings").local_modes;
    terminal.types("stty size; tty; echo \"TE\"\"RM is $TERM\"\n");
    terminal.shows(context, "33 101");
    terminal.shows(context, "/dev/pts/");
    terminal.shows(context, "TERM is dumb");
    let user = terminal.user.try_clone().expect("a terminal can be shared");
    assert_eq!(terminal.leaves(context, "exit 3\n"), Some(3));
    let after = tcgetattr(&user).expect("a terminal has settings").local_modes;
    assert_eq!(before, after, "the terminal is left as it was found");
}

fn follows_the_window(context: &Context) {
    let mut terminal = Terminal::open(context);
    terminal.types("stty size\n");
    terminal.shows(context, "33 101");
    let user: OwnedFd = terminal.user.try_clone().expect("a terminal can be shared").into();
    set_size(&user, 44, 122);
    // The new size takes a moment on its way.
    terminal.types("while ! stty size | grep '44 12[2]'; do sleep 1; done; echo fol\"\"lowed\n");
    terminal.shows(context, "44 122");
    terminal.shows(context, "followed");
    assert_eq!(terminal.leaves(context, "exit\n"), Some(0));
}

/// Ctrl-C ends what runs in the shell, and neither the shell nor vexlab.
fn passes_ctrl_c_on(context: &Context) {
    let mut terminal = Terminal::open(context);
    // What says that it has begun is what is to be interrupted, not the shell on its way to it.
    terminal.types("sh -c 'echo be\"\"gun; exec sleep 600'; echo over\"\" with $?\n");
    terminal.shows(context, "begun");
    terminal.types("\x03");
    terminal.types("echo still he\"\"re\n");
    terminal.shows(context, "still here");
    assert!(!terminal.screen().contains("over with 0"), "{}", terminal.screen());
    assert_eq!(terminal.leaves(context, "exit 5\n"), Some(5));
}

/// A program that does not outlive its test.
struct Guarded(RefCell<Child>);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It has ended already where the test has passed.
        let _ = self.0.get_mut().kill();
        let _ = self.0.get_mut().wait();
    }
}

/// A terminal that is closed is the end of what runs on it, also where no signal tells: it controls nobody.
fn ends_with_its_terminal(context: &Context) {
    // The program must not hold our end open itself.
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let user = openpt(flags).expect("a terminal");
    grantpt(&user).and_then(|()| unlockpt(&user)).expect("a terminal can be used");
    let name = ptsname(&user, Vec::new()).expect("a terminal has a name");
    let line = rustix::fs::open(&name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).expect("its line");
    let share = || Stdio::from(line.try_clone().expect("a line can be shared"));
    let child = Command::new(env!("CARGO_BIN_EXE_vexlab"))
        .args(["shell", "--no-module", "--kernel", KERNEL])
        .env("XDG_CACHE_HOME", context.cache())
        .env("TERM", "dumb")
        .current_dir(context.dir())
        .stdin(share())
        .stdout(share())
        .stderr(Stdio::null())
        .spawn()
        .expect("vexlab can be started");
    let child = Guarded(RefCell::new(child));
    drop(line);
    let mut user = File::from(user);
    user.write_all(b"sh -c 'echo be\"\"gun; exec sleep 600'\n").expect("the terminal takes keys");
    let (mut screen, mut buffer) = (String::new(), [0; 1024]);
    while !screen.contains("begun") {
        let length = user.read(&mut buffer).expect("vexlab has not ended");
        screen.push_str(&String::from_utf8_lossy(&buffer[..length]));
    }
    drop(user);
    let ended = Cell::new(None);
    context.wait_until("vexlab has ended", USUAL, || {
        ended.set(child.0.borrow_mut().try_wait().expect("it is our child"));
        ended.get().is_some()
    });
    assert_eq!(ended.get().and_then(|status| status.code()), Some(128 + 1), "as a shell says it of SIGHUP");
}

/// Without a terminal the shell is one that reads a script.
fn reads_commands_from_a_pipe(context: &Context) {
    let call = context.vexlab(["shell", "--no-module", "--kernel", KERNEL]);
    let ended = call.input(b"tty\necho he\"\"re\nexit 4\n").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (4, "not a tty\nhere\n"), "{ended}");
}
