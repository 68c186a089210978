// SPDX-License-Identifier: GPL-2.0-only
//! What changes the whole machine, or asks it something.

use std::ffi::{CStr, c_void};
use std::fs::File;
use std::io;
use std::mem::{MaybeUninit, zeroed};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::ptr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use wire::SEED;

use super::check;
use crate::guard::Machine;

/// The magic number of the file system that holds `path`.
pub(crate) fn file_system_type(path: &CStr) -> io::Result<i64> {
    let mut answer = MaybeUninit::<libc::statfs>::uninit();
    // SAFETY: needed because `std` has no `statfs`; the path ends in NUL and the kernel writes to
    // `answer`, which has the size and the alignment it expects.
    check(unsafe { libc::statfs(path.as_ptr(), answer.as_mut_ptr()) })?;
    // SAFETY: the call succeeded, so the kernel has filled all of it.
    Ok(unsafe { answer.assume_init() }.f_type)
}

/// `mount(2)`.
pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: libc::c_ulong,
    options: &CStr,
) -> io::Result<()> {
    let options = options.as_ptr().cast::<c_void>();
    // SAFETY: needed because `std` can't mount; four texts that end in NUL and outlive the call.
    check(unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options) })?;
    Ok(())
}

/// `finit_module(2)`. Only a [`Machine`] of ours has its kernel changed.
pub(crate) fn load_module(_: &Machine, module: &File, parameters: &CStr) -> io::Result<()> {
    let descriptor = module.as_raw_fd();
    // SAFETY: needed because libc has no function for it; the descriptor is open, the text ends in NUL,
    // and the kernel copies it.
    check(unsafe { libc::syscall(libc::SYS_finit_module, descriptor, parameters.as_ptr(), 0) })?;
    Ok(())
}

/// `delete_module(2)`, which neither waits for the module's users nor forces anything.
pub(crate) fn unload_module(_: &Machine, name: &CStr) -> io::Result<()> {
    // SAFETY: needed because libc has no function for it; the text ends in NUL, and the kernel copies it.
    check(unsafe { libc::syscall(libc::SYS_delete_module, name.as_ptr(), libc::O_NONBLOCK) })?;
    Ok(())
}

/// Ends the machine. Without ACPI a kernel would halt for ever instead of powering off; a restart ends
/// the machine as well, because QEMU is told not to do it.
pub(crate) fn power_off() -> ! {
    if Path::new("/sys/firmware/acpi").exists() {
        // SAFETY: needed because `std` has no such call; it takes no pointer, and it keeps nothing of
        // this process that could be used afterwards.
        unsafe { libc::reboot(libc::RB_POWER_OFF) };
    }
    // SAFETY: as above.
    unsafe { libc::reboot(libc::RB_AUTOBOOT) };
    // Reached without the right to do either, which process 1 of a machine has.
    std::process::abort()
}

/// Microseconds since the kernel started.
pub(crate) fn uptime_micros() -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: needed because `std` doesn't show this clock's value; the kernel writes to `time`, for
    // which zeros, left there should it fail, are valid too.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_BOOTTIME, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000
}

/// Sets the clock to a time since 1970, unless it is right to the second.
pub(crate) fn set_clock(since_1970: Duration) -> io::Result<()> {
    let right = UNIX_EPOCH.checked_add(since_1970).ok_or(io::ErrorKind::InvalidInput)?;
    let now = SystemTime::now();
    let off = now.duration_since(right).unwrap_or_else(|error| error.duration());
    if off <= Duration::from_secs(1) {
        return Ok(());
    }
    let time = libc::timespec {
        tv_sec: since_1970.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(since_1970.subsec_nanos() as i32),
    };
    // SAFETY: needed because `std` can't set clocks; the kernel reads `time`, which outlives the call.
    check(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) })?;
    Ok(())
}

/// Makes all random numbers that follow depend on these bytes, which count as random. `device` is `/dev/urandom`.
pub(crate) fn seed_random_numbers(device: &File, seed: &[u8; SEED]) -> io::Result<()> {
    // linux/random.h: `_IOW('R', 0x03, int[2])` and `_IO('R', 0x07)`
    const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
    const RNDRESEEDCRNG: libc::Ioctl = 0x5207;
    /// `struct rand_pool_info` with its buffer.
    #[repr(C)]
    struct PoolInfo {
        entropy_count: libc::c_int,
        buf_size: libc::c_int,
        buf: [u8; SEED],
    }
    let pool =
        PoolInfo { entropy_count: (8 * SEED) as libc::c_int, buf_size: SEED as libc::c_int, buf: *seed };
    // SAFETY: needed because bytes that are written to the device count for nothing; the kernel reads `pool`,
    // which has the layout it expects and as many bytes in its buffer as it says.
    check(unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY, &pool) })?;
    // SAFETY: needed to have the bytes used at once instead of within a minute; no pointer is passed.
    check(unsafe { libc::ioctl(device.as_raw_fd(), RNDRESEEDCRNG) })?;
    Ok(())
}

/// Lets every kernel message through to the console, which a boot with `quiet` doesn't.
pub(crate) fn show_all_on_console() -> io::Result<()> {
    const CONSOLE_LEVEL: libc::c_int = 8; // SYSLOG_ACTION_CONSOLE_LEVEL, syslog(2)
    // SAFETY: needed because `std` has no such call; this action takes no pointer.
    check(unsafe { libc::klogctl(CONSOLE_LEVEL, ptr::null_mut(), 8) })?;
    Ok(())
}

/// Brings a network interface up.
pub(crate) fn bring_interface_up(name: &[u8]) -> io::Result<()> {
    // SAFETY: needed because `std` opens no socket without an address; no pointer is passed.
    let socket = check(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) })?;
    // SAFETY: the socket was just opened, and nothing else owns it.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: a C struct of integers and pointers, for which all zeros are a value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: needed because there is no other call for it; the kernel reads `request`, whose name ends
    // in NUL and whose flags are set, as SIOCSIFFLAGS expects.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request) })?;
    Ok(())
}
