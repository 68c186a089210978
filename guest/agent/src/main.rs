// SPDX-License-Identifier: GPL-2.0-only
//! The first process of a `vexlab` machine: it looks where it is, brings the machine up, and then does
//! what the host asks for over a virtio-serial port until one of the two ends the session.
//!
//! Run anywhere else it does nothing but say so: see [`guard`].
#![deny(unsafe_code)]

/// What happens once, before the host is listened to. Nearly all of it runs for the first time, which is
/// what costs time under emulation: what is left out here is saved in each run.
mod boot;
/// Who carries between host and agent while there are shares.
mod carrier;
/// Where the agent may work: only as the first process of a machine that carries our marker.
mod guard;
/// Requests that are one system call or a few, made by a process that may die of them.
mod helper;
/// The one process that a request is waiting for, its input and its output.
mod job;
/// The kernel's log, read and written.
mod kmsg;
/// What is done with a module to see how it lives.
mod life;
/// The port to the host: bytes queued, cut and put together.
mod port;
/// Programs that the host asks for, on pipes or on a terminal.
mod program;
/// Where the processors are, looked at again and again.
mod sampler;
/// The loop, and what each request does.
mod session;
/// Folders of the host: carried between the kernel and the port, and mounted.
mod share;
/// System calls: the one place with unsafe code.
mod sys;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    let machine = match guard::admit(&guard::Surroundings) {
        Ok(machine) => machine,
        Err(refusal) => return refuse(&refusal),
    };
    std::panic::set_hook(Box::new(|panic| {
        kmsg::say(kmsg::ERROR, format_args!("{panic}"));
        if std::process::id() == 1 {
            sys::power_off();
        }
    }));
    if let Err(error) = serve(&machine) {
        kmsg::say(kmsg::ERROR, format_args!("{error}"));
    }
    sys::power_off()
}

fn serve(machine: &guard::Machine) -> Result<(), boot::BootError> {
    boot::mount_file_systems()?;
    let modules = boot::load_modules(machine)?;
    let port = port::Port::find()?;
    session::Session::new(machine, port, modules)?.run();
    Ok(())
}

/// Says why, and ends: on a host with a status, in a machine (where ending would panic the kernel) by
/// powering off. There standard error is the console.
fn refuse(refusal: &guard::Refusal) -> ExitCode {
    let line = format!("vexlab-agent: refused: {refusal}\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
    if refusal.in_throwaway_machine() {
        sys::power_off();
    }
    ExitCode::FAILURE
}
