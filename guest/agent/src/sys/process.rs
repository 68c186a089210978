// SPDX-License-Identifier: GPL-2.0-only
//! Processes and signals.

use std::ffi::{CStr, CString, c_int, c_void};
use std::fs::File;
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, RawFd};
use std::ptr;

use super::check;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// By itself, with this status.
    Status(i32),
    /// By this signal.
    Signal(i32),
}

/// Starts a copy of this process that carries out `child` and ends with the status it returns. Returns
/// the copy's number.
pub(crate) fn fork(child: impl FnOnce() -> i32) -> io::Result<libc::pid_t> {
    // SAFETY: needed because `std` only starts programs. The agent has one thread, so no lock is held and
    // no data is half written in the copy, and it may do all that this process may.
    match check(unsafe { libc::fork() })? {
        0 => {
            let status = child();
            // SAFETY: needed to end without running what is meant for this process's own end; takes no
            // pointer and does not return.
            unsafe { libc::_exit(status) }
        }
        process => Ok(process),
    }
}

/// The stack of what [`spawn`] carries out, in bytes.
const STACK: usize = 32 << 10;

/// Starts a process that carries out `child` in this process's memory, to become a program: nothing of the
/// memory is copied, which under emulation takes longer than all else. This process stands still until the
/// other has become one, or has ended with the status that `child` returns. Returns the other's number.
///
/// What `child` writes to memory is written to this process's, and what it allocates and still has when it
/// becomes a program is never freed.
pub(crate) fn spawn(child: &dyn Fn() -> i32) -> io::Result<libc::pid_t> {
    extern "C" fn begin(child: *mut c_void) -> c_int {
        // SAFETY: `spawn` hands over the address of its own variable, which it doesn't leave, nor anything
        // else do, while this runs.
        let child = unsafe { *child.cast::<&dyn Fn() -> i32>() };
        child()
    }
    // Of 16 bytes each, to which a stack is aligned.
    let mut stack = vec![0u128; STACK / size_of::<u128>()];
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    let argument = ptr::from_ref(&child).cast_mut();
    // SAFETY: needed because `std` starts programs by other means, without a session or a terminal of their
    // own. The agent has one thread, which waits in this call (CLONE_VFORK) as long as the process uses the
    // memory: the closure, which it only borrows, the stack, and what belongs to the thread.
    check(unsafe { libc::clone(begin, top.cast(), flags, argument.cast()) })
}

/// What `execve(2)` needs beside the program's path, made before the process that calls it is.
pub(crate) struct Call<'a> {
    texts: PhantomData<&'a CStr>,
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(arguments: &'a [CString], environment: &'a [CString]) -> Self {
        let pointers = |texts: &[CString]| -> Vec<*const libc::c_char> {
            texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
        };
        Self { texts: PhantomData, arguments: pointers(arguments), environment: pointers(environment) }
    }

    /// `execve(2)`: returns only when it fails.
    pub(crate) fn exec(&self, program: &CStr) -> io::Error {
        // SAFETY: needed to become another program; both lists end in a null pointer and point to texts that
        // end in NUL and live as long as this value.
        unsafe { libc::execve(program.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

/// Makes the descriptor `target` a copy of `source` that stays open in a program started afterwards.
pub(crate) fn redirect(source: &impl AsFd, target: RawFd) -> io::Result<()> {
    let source = source.as_fd().as_raw_fd();
    if source == target {
        // SAFETY: needed to keep the descriptor open over an exec; no pointer is passed.
        return check(unsafe { libc::fcntl(target, libc::F_SETFD, 0) }).map(drop);
    }
    // SAFETY: needed to give a program its standard streams; no pointer is passed. Only used before an
    // exec, on descriptors 0 to 2, which no owned descriptor of the agent is.
    check(unsafe { libc::dup2(source, target) })?;
    Ok(())
}

/// Makes this process the leader of a new session and of a process group.
pub(crate) fn start_session() -> io::Result<()> {
    // SAFETY: needed because `std` has no such call; no pointer is passed.
    check(unsafe { libc::setsid() })?;
    Ok(())
}

/// Makes a folder the root of this process.
pub(crate) fn change_root(root: &CStr) -> io::Result<()> {
    // SAFETY: needed because programs are given another root than the agent's; the text ends in NUL.
    check(unsafe { libc::chroot(root.as_ptr()) })?;
    Ok(())
}

/// Makes a folder the one that this process is in.
pub(crate) fn enter_folder(folder: &CStr) -> io::Result<()> {
    // SAFETY: needed because `std`'s function may allocate, which a process between fork and exec should not; the
    // text ends in NUL.
    check(unsafe { libc::chdir(folder.as_ptr()) })?;
    Ok(())
}

/// Undoes, before a program is started, what the agent (and Rust's runtime: SIGPIPE) set up for itself.
pub(crate) fn reset_signals() {
    let mut none = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: needed because signal masks and dispositions survive an exec; `sigemptyset` fills the set
    // before it is used, and no handler is installed.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// A non-blocking descriptor that is ready to be read when a child has ended.
pub(crate) fn child_events() -> io::Result<File> {
    let mut children = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: needed because `std` has no signals; `sigemptyset` fills the set before it is used.
    let descriptor = unsafe {
        libc::sigemptyset(children.as_mut_ptr());
        libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, children.as_ptr(), ptr::null_mut()))?;
        check(libc::signalfd(-1, children.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?
    };
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(unsafe { File::from_raw_fd(descriptor) })
}

/// Collects one child that has ended, whoever started it, or `None`.
pub(crate) fn reap() -> Option<(libc::pid_t, Ending)> {
    let mut status = 0;
    // SAFETY: needed because `std` only waits for children it started; the kernel writes to `status`.
    let process = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
    let ending = if libc::WIFSIGNALED(status) {
        Ending::Signal(libc::WTERMSIG(status))
    } else {
        Ending::Status(libc::WEXITSTATUS(status))
    };
    (process > 0).then_some((process, ending))
}

/// Sends a signal to the process group that `process` leads, or to it alone as long as it leads none.
pub(crate) fn send_signal(process: libc::pid_t, signal: i32) -> io::Result<()> {
    // SAFETY: needed because `std` only kills; no pointer is passed.
    match check(unsafe { libc::kill(-process, signal) }) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {
            // SAFETY: as above.
            check(unsafe { libc::kill(process, signal) }).map(drop)
        }
        sent => sent.map(drop),
    }
}
