// SPDX-License-Identifier: GPL-2.0-only
//! `vexlab test --watch`.

use std::collections::VecDeque;
use std::path::Path;

use lab::Lab;
use lab::error::{Error, Kind, Result};
use lab::kernel::Kernel;
use lab::project::Project;
use lab::run::{Kept, Order};
use lab::verdict::Class;
use lab::watch::{Changes, Watch};

use super::{kernels, module, order};
use crate::cli::TestArgs;
use crate::output;

/// How many verdicts the line of marks shows.
const SHOWN: usize = 10;

/// Tests the project's module, and again with each change, until it is interrupted.
pub(crate) fn watch(lab: &Lab, dir: &Path, arguments: &TestArgs) -> Result<u8> {
    let project = Project::find(dir)?;
    let order = order(arguments, "--watch")?;
    // A change stops a run, but not the program.
    let of_run = Lab { cancel: lab.cancel.of_part(), ..lab.clone() };
    let watch = Watch::start(&project, order.options.build, output::files(), of_run.cancel.clone())?;
    let mut rounds = Rounds { project, kernels: Vec::new(), kept: Kept::default() };
    let mut marks = Marks::default();
    let mut last = None;
    loop {
        let class = rounds.test(lab, &of_run, &arguments.run.build.kernel, &order);
        // What was being done when the round was stopped may still be shown.
        lab.progress_end();
        lab.cancel.check()?;
        if let Some(class) = class {
            marks.add(class);
            output::print(format!("{marks} {class} at {}", time_of_day()));
        }
        let changed = match watch.during_run()? {
            Some(changes) => Some(changes),
            None if class.is_none() => last.take(),
            None => {
                rounds.kept.prepare(&of_run, &rounds.project, &rounds.kernels, order.options);
                output::aside(&waiting(&rounds.project, last.as_ref()));
                Some(watch.wait(&lab.cancel)?)
            }
        };
        of_run.cancel.take_back();
        output::new_page();
        if let Some(changes) = &changed {
            output::aside(&format!("{} changed", named(&rounds.project, changes)));
        }
        last = changed;
    }
}

/// What is there from one round to the next.
struct Rounds {
    project: Project,
    /// Those of the last round.
    kernels: Vec<Kernel>,
    kept: Kept,
}

impl Rounds {
    /// Tests the project as it is now. What is wrong with it, or with the lab, is told; nothing comes of a round that
    /// was stopped.
    fn test(&mut self, lab: &Lab, of_run: &Lab, named: &[String], order: &Order) -> Option<Class> {
        self.try_test(lab, of_run, named, order).map_or_else(|error| of_error(&error), Some)
    }

    fn try_test(&mut self, lab: &Lab, of_run: &Lab, named: &[String], order: &Order) -> Result<Class> {
        self.project = self.project.reread()?;
        // No change of a source makes fetching a kernel vain.
        self.kernels = kernels(lab, named, Some(&self.project))?;
        module::test_on_each(of_run, &self.project, &self.kernels, order, &mut self.kept)
    }
}

fn of_error(error: &Error) -> Option<Class> {
    if error.kind() == Kind::Interrupted {
        return None;
    }
    output::error(error);
    Some(Class::from(error))
}

fn waiting(project: &Project, last: Option<&Changes>) -> String {
    match last {
        Some(changes) => format!("waiting for changes; {} changed last", named(project, changes)),
        None => "waiting for changes".to_owned(),
    }
}

/// Changed files as a user names them.
fn named(project: &Project, changes: &Changes) -> String {
    let mut files = changes.files();
    let more = files.len() - 1;
    let first = files.next().unwrap_or(Path::new(""));
    let first = first.strip_prefix(project.root()).unwrap_or(first).display();
    match more {
        0 => first.to_string(),
        more => format!("{first} and {more} more"),
    }
}

fn time_of_day() -> String {
    jiff::Zoned::now().strftime("%H:%M:%S").to_string()
}

/// The last verdicts, a mark for each, the newest at the right.
#[derive(Debug, Default)]
struct Marks(VecDeque<char>);

impl Marks {
    fn add(&mut self, class: Class) {
        if self.0.len() == SHOWN {
            self.0.pop_front();
        }
        self.0.push_back(mark(class));
    }
}

impl std::fmt::Display for Marks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|mark| write!(f, "{mark}"))
    }
}

/// The mark of a verdict: the help of `--watch` explains them.
fn mark(class: Class) -> char {
    match class {
        Class::Passed => '✓',
        Class::TestFailed => '✗',
        Class::BuildFailed => 'b',
        Class::RefusedByCheck | Class::RefusedByKernel => 'r',
        Class::KernelWarning
        | Class::Oops
        | Class::Hang
        | Class::UnloadFailed
        | Class::MachineLost
        | Class::Leak => '!',
        Class::Usage | Class::LabFailed | Class::Interrupted => '?',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_verdicts_are_shown_the_newest_at_the_right() {
        let mut marks = Marks::default();
        assert_eq!(marks.to_string(), "");
        for class in Class::ALL {
            marks.add(class);
        }
        // Four of the fourteen are gone: passed, test-failed, usage, build-failed.
        assert_eq!(marks.to_string(), "rr!!!!!!??");
        marks.add(Class::TestFailed);
        marks.add(Class::Passed);
        assert_eq!(marks.to_string(), "!!!!!!??✗✓");
    }
}
