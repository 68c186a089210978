// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab image`.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use lab::Lab;
use lab::error::{Context, Result};
use lab::image::{self, Base, Options, Share};

use crate::cli::{self, ImageRunArgs};
use crate::output::{megabytes, print};

pub(crate) fn image(lab: &Lab, command: &cli::Image) -> Result<u8> {
    match command {
        cli::Image::List => list(lab),
        cli::Image::Build { name } => {
            let image = image::build(lab, name)?;
            print(format!("{name} is here: Linux {}, {}", image.release(), image.disk().display()));
        }
        cli::Image::Remove { name } => match image::remove(lab, name)? {
            Some(freed) => print(format!("{name} is removed; {} are free again", megabytes(freed))),
            None => print(format!("{name} was not here")),
        },
        cli::Image::Run(arguments) => return run(lab, arguments),
    }
    Ok(0)
}

fn list(lab: &Lab) {
    for listed in image::list(lab) {
        let condition = match &listed.built {
            Ok(None) => "not here".to_owned(),
            Ok(Some((release, size))) => format!("{release}, {}", megabytes(*size)),
            Err(error) => format!("damaged: {error}"),
        };
        print(format!("{:<18} {condition:<34} {}", listed.recipe.name, listed.recipe.about));
    }
}

/// Runs a command in a fresh machine of an image, by ssh, and gives its exit status.
fn run(lab: &Lab, arguments: &ImageRunArgs) -> Result<u8> {
    let base = Base::find(lab, &arguments.image)?;
    let share = arguments.source.as_deref().map(|path| share(path, arguments.rw)).transpose()?;
    let options = Options {
        memory: arguments.memory,
        processors: arguments.processors,
        accelerator: arguments.accel.map(Into::into),
        cold: arguments.cold,
        packages: arguments.package.clone(),
        share,
        limit: Duration::from_secs(arguments.limit),
    };
    let dir = lab.cache.staging()?;
    let mut machine = image::up(lab, &base, &options, dir.path())?;
    machine.mount_source()?;
    lab.progress_end();
    let line = machine.ssh().with_user("root").command(&arguments.command);
    let mut ssh = Command::new(&line[0]).args(&line[1..]).spawn().context(|| "start ssh".to_owned())?;
    let status = loop {
        if let Some(status) = ssh.try_wait().context(|| "wait for ssh".to_owned())? {
            break status;
        }
        if lab.cancel.is_cancelled() {
            // It may be gone already.
            let _ = ssh.kill();
            let _ = ssh.wait();
            lab.cancel.check()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    machine.end();
    // As a shell has it.
    let status = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default());
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

fn share(path: &Path, writable: bool) -> Result<Share> {
    let path = std::fs::canonicalize(path).context(|| format!("there is no folder {}", path.display()))?;
    Ok(Share { path, writable })
}
