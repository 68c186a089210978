// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab profile`.

use std::path::{Path, PathBuf};

use lab::Lab;
use lab::cache::{make_dir, write_atomically};
use lab::error::Result;
use lab::event::Event;
use lab::profile::{Document, Profile, Way};
use lab::project::Project;
use lab::run::{self, Order, Profiled, Selection, Terminal};
use lab::share::program;
use lab::share::{Root, Shown};
use wire::{Process, Stream};

use super::machine::{environment_of_ours, exit_status, one_kernel};
use super::our_root;
use crate::cli::{ProfileArgs, ProfileFormat};
use crate::output;
use crate::terminal;

/// Finds out what tests or a command have the machine execute. Gives the exit status of `test` or of the command.
pub(crate) fn profile(lab: &Lab, dir: &Path, arguments: &ProfileArgs) -> Result<u8> {
    let project = if arguments.no_module { None } else { Some(Project::find(dir)?) };
    let root = our_root(&arguments.run, "profile")?;
    let kernel = one_kernel(lab, &arguments.run, project.as_ref())?;
    let accelerator = arguments.run.accel.map(Into::into);
    let way = Way::choose(arguments.sampled, accelerator, arguments.rate, arguments.force);
    let Profiled { record, profile } = match (&project, arguments.command.as_slice()) {
        (Some(project), []) => {
            let selection = Selection {
                filters: arguments.tests.clone(),
                repeat: arguments.repeat,
                ..Selection::default()
            };
            let shown = Shown { root, ..Shown::default() };
            let order = Order { options: (&arguments.run).into(), shown, selection };
            run::profile_tests(lab, project, &kernel, &order, way)?
        }
        _ => {
            let mut process =
                Process { environment: environment_of_ours(), ..Process::new(arguments.command.clone()) };
            let program = match root {
                Root::Host => None,
                Root::Tiny => {
                    let word = &mut process.arguments[0];
                    program::find(lab, word)?.inspect(|program| program.path.clone_into(word))
                }
            };
            let shown = Shown { root, programs: program.into_iter().collect(), ..Shown::default() };
            let mut show = |stream: Stream, bytes: &[u8]| lab.reporter.event(&Event::Output(stream, bytes));
            let mut terminal = Terminal { output: &mut show, input: &mut terminal::send_input };
            let options = (&arguments.run).into();
            let project = project.as_ref();
            run::profile_command(lab, project, &kernel, options, &shown, process, &mut terminal, way)?
        }
    };
    if let Some(profile) = &profile {
        let title = format!("{} on {}", record.module, record.kernel);
        let folder = match (&arguments.output, &project) {
            (Some(folder), _) => folder.clone(),
            (None, Some(project)) => project.output_dir().join(kernel.name()).join("profile"),
            (None, None) => record.dir.clone(),
        };
        let (stacks, graph) = write(profile, &title, &folder)?;
        let annotated = arguments.annotate.iter().map(|function| profile.annotate(function));
        match arguments.format {
            ProfileFormat::Text => {
                output::profile(&title, profile, arguments.top);
                output::print(format!("\nstacks: {}\nflame graph: {}", stacks.display(), graph.display()));
                for functions in annotated {
                    functions?.iter().for_each(output::annotated);
                }
            }
            ProfileFormat::Json => {
                let annotated = annotated.collect::<Result<Vec<_>>>()?.concat();
                let document = Document {
                    module: &record.module,
                    kernel: &record.kernel,
                    accelerator: record.accelerator,
                    profile,
                    stacks: &stacks,
                    flame_graph: &graph,
                    annotated: &annotated,
                };
                output::print_raw(document.json()?.as_bytes());
            }
        }
    } else if arguments.format == ProfileFormat::Json {
        output::aside(&format!("{}: there is no profile; `vexlab log last` says more", record.class));
    }
    Ok(exit_status(&record))
}

/// Writes the stacks and the picture of them. Gives their paths.
fn write(profile: &Profile, title: &str, folder: &Path) -> Result<(PathBuf, PathBuf)> {
    make_dir(folder)?;
    let (stacks, graph) = (folder.join("stacks.folded"), folder.join("flame.svg"));
    write_atomically(&stacks, profile.folded().as_bytes())?;
    write_atomically(&graph, &profile.flame_graph(title)?)?;
    Ok((stacks, graph))
}
