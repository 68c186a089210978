// SPDX-License-Identifier: GPL-2.0-only
use std::time::Instant;

use rustix::io::Errno;
use wire::life::{Came, Deed};

use super::super::steps::{Step, lab_trouble, read};
use super::exercise::short;
use super::{Living, PATIENCE, outcome, refused_with};
use crate::life::{Parameter, Value, parameters, values};
use crate::verdict::Outcome;

/// The most values that are tried, of all parameters together.
const MOST_VALUES: usize = 128;

/// A parameter that no module has.
const UNKNOWN: &str = "vexlab_unknown";

impl Living<'_, '_> {
    /// The module's parameters are given what they can't have.
    pub(super) fn parameters(&mut self) -> Step {
        let test = "life/parameters";
        if self.is_left_out("parameters") {
            return Ok(());
        }
        let started = Instant::now();
        let tried: Vec<(String, Value)> = self.trials()?.into_iter().take(MOST_VALUES).collect();
        let given = [format!("{UNKNOWN}=1")].into_iter().chain(tried.iter().map(|(given, _)| given.clone()));
        let deeds: Vec<Deed> =
            given.flat_map(|given| [self.load(&given), Deed::Unload { patience: PATIENCE }]).collect();
        let when = "being loaded with parameters that it can't have";
        let came = self.act_and_compare(test, &deeds, when)?;

        let mut problems = Vec::new();
        if came[0] != Came::Done {
            problems.push(format!("with a parameter that it doesn't have, loading it {}", outcome(&came[0])));
        } else if !self.heard(&format!("unknown parameter '{UNKNOWN}' ignored")) {
            problems.push("the kernel did not say that it ignores a parameter that isn't there".to_owned());
        }
        for ((given, value), came) in tried.iter().zip(came[2..].chunks(2)) {
            problems.extend(problem(&short(given), value, &came[0], &came[1]));
        }
        let outcome = if problems.is_empty() { Outcome::Passed } else { Outcome::Failed };
        self.run.result(test, outcome, Some(started.elapsed()), problems);
        Ok(())
    }

    /// What is given, and the value in it.
    fn trials(&self) -> Result<Vec<(String, Value)>, super::Trouble> {
        let with = |parameter: Parameter| {
            let name = parameter.name;
            values(&parameter.kind).into_iter().map(move |value| (format!("{name}={}", value.text), value))
        };
        let parameters = self.its_parameters()?.into_iter();
        let own = self.settings().fail_allocation.clone();
        Ok(parameters.filter(|parameter| Some(&parameter.name) != own.as_ref()).flat_map(with).collect())
    }

    /// The parameters that the module's file says it has.
    pub(super) fn its_parameters(&self) -> Result<Vec<Parameter>, super::Trouble> {
        let file = read(&self.module.built.stripped)?;
        parameters(&file).map_err(|error| lab_trouble(&error))
    }
}

/// What is wrong with how a value was taken.
fn problem(given: &str, value: &Value, loaded: &Came, unloaded: &Came) -> Option<String> {
    match loaded {
        Came::Done if *unloaded == Came::Done => None,
        Came::Done => Some(format!("loaded with `{given}`, unloading it {}", outcome(unloaded))),
        refused if !value.is_wrong || refused_with(refused, &[Errno::INVAL, Errno::RANGE]) => None,
        refused => {
            Some(format!("with `{given}`, loading it {}; expected EINVAL or ERANGE", outcome(refused)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_refused_as_such_or_taken() {
        let failed = |errno: Errno| Came::Failed { errno: errno.raw_os_error() };
        let wrong = Value { text: "x".into(), is_wrong: true };
        let extreme = Value { text: "x".into(), is_wrong: false };
        let gone = failed(Errno::NOENT);
        assert_eq!(problem("a=x", &wrong, &failed(Errno::INVAL), &gone), None);
        assert_eq!(problem("a=x", &wrong, &Came::Done, &Came::Done), None);
        assert_eq!(problem("a=x", &extreme, &failed(Errno::NOMEM), &gone), None);
        insta::assert_snapshot!(problem("a=x", &wrong, &failed(Errno::NOMEM), &gone).unwrap(),
            @"with `a=x`, loading it failed with errno 12 (Cannot allocate memory); expected EINVAL or ERANGE");
        insta::assert_snapshot!(problem("a=x", &wrong, &Came::Done, &failed(Errno::AGAIN)).unwrap(),
            @"loaded with `a=x`, unloading it failed with errno 11 (Resource temporarily unavailable)");
    }
}
