// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab kernel`.

use lab::Lab;
use lab::error::{Error, Result};
use lab::kernel::{self, Condition};

use crate::cli;
use crate::output::{megabytes, print};

pub(crate) fn kernel(lab: &Lab, command: &cli::Kernel) -> Result<()> {
    match command {
        cli::Kernel::List => list(lab),
        cli::Kernel::Add { name } => add(lab, name),
        cli::Kernel::Show { name } => show(lab, name),
        cli::Kernel::Remove { name } => remove(lab, name),
    }
}

fn list(lab: &Lab) -> Result<()> {
    for listed in kernel::list(lab) {
        let condition = match &listed.condition {
            Condition::Absent => "not here".to_owned(),
            Condition::Present { release, size } => format!("{release}, {}", megabytes(*size)),
            Condition::Damaged(error) => format!("damaged: {error}"),
        };
        print(format!("{:<18} {condition:<34} {}", listed.known.name, listed.known.about));
    }
    print(format!("{:<18} {:<34} the kernel of this machine", kernel::HOST, lab::host::kernel_release()));
    Ok(())
}

fn add(lab: &Lab, name: &str) -> Result<()> {
    let kernel = kernel::add(lab, name)?;
    print(format!("{name} is here: {}", kernel.release()));
    Ok(())
}

fn show(lab: &Lab, name: &str) -> Result<()> {
    let known = kernel::KNOWN.iter().any(|known| known.name == name);
    let kernel = match known {
        true => kernel::get(lab, name)?.ok_or_else(|| {
            Error::usage(format!("the kernel {name} is not here"))
                .with_remedy(format!("vexlab kernel add {name}"))
        })?,
        false => kernel::resolve(lab, name)?,
    };
    print(format!("{:<14} {}", "name", kernel.name()));
    print(format!("{:<14} {}", "release", kernel.release()));
    print(format!("{:<14} {}", "image", kernel.image().display()));
    print(format!("{:<14} {}", "build", kernel.build_dir().display()));
    print(format!("{:<14} {}", "modules", kernel.modules_dir().display()));
    print(format!("{:<14} {}", "symvers", kernel.symvers().display()));
    print(format!("{:<14} {}", "rust flags", lab::build::rust_flags(kernel.config()).join(" ")));
    for (package, version) in kernel.packages() {
        print(format!("{:<14} {package} {version}", "package"));
    }
    Ok(())
}

fn remove(lab: &Lab, name: &str) -> Result<()> {
    match kernel::remove(lab, name)? {
        Some(freed) => print(format!("{name} is removed; {} are free again", megabytes(freed))),
        None => print(format!("{name} was not here")),
    }
    Ok(())
}
