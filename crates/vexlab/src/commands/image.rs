// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab image`.

use lab::Lab;
use lab::error::Result;
use lab::image;

use crate::cli;
use crate::output::{megabytes, print};

pub(crate) fn image(lab: &Lab, command: &cli::Image) -> Result<()> {
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
    }
    Ok(())
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
