// SPDX-License-Identifier: GPL-2.0-only
use wire::life::{Came, Deed};
use wire::{Decoder, Reply, Request};

use super::super::steps::{Run, Step, unexpected};
use super::super::trouble::Trouble;
use super::super::{Module, guest_path};
use super::Living;
use crate::session::Collect;
use crate::verdict::Class;

/// How many of the kernel's last lines are shown with a failure.
const SHOWN_WORDS: usize = 8;

impl Run<'_> {
    /// Has the machine do these things with the module, for the sake of a test, and gives what came of each.
    pub(super) fn exercise(
        &mut self,
        module: &Module,
        test: &str,
        deeds: &[Deed],
    ) -> Result<Vec<Came>, Trouble> {
        let (path, name) = (guest_path(&module.file()), module.kernel_name());
        let request = Request::Exercise { path, name, deeds: deeds.to_vec() };
        let limit = self.timeouts.load + self.timeouts.test + self.timeouts.unload;
        let mut output = Collect::default();
        let reply = self.ask_as(test, test, &request, limit, &mut output);
        let came = decode(&output.0);
        match reply {
            Ok(Reply::Done) if came.len() == deeds.len() => Ok(came),
            Ok(reply) => Err(unexpected(test, &reply)),
            Err(trouble) => Err(trouble.because(doing(deeds, came.len()))),
        }
    }
}

impl Living<'_, '_> {
    /// As [`Run::exercise`]; what the module says that it lost, and what the kernel complains of, ends it as well.
    pub(super) fn act(&mut self, test: &str, deeds: &[Deed]) -> Result<Vec<Came>, Trouble> {
        let came = self.do_and_listen(test, deeds)?;
        self.complaint(test)?;
        Ok(came)
    }

    /// As [`act`](Self::act), and looks at the end what is left `when` all of it was done. What is left explains what
    /// the kernel complains of, and why things fail that are done again.
    pub(super) fn act_and_compare(
        &mut self,
        test: &str,
        deeds: &[Deed],
        when: &str,
    ) -> Result<Vec<Came>, Trouble> {
        let deeds: Vec<Deed> = deeds.iter().cloned().chain([Deed::Look]).collect();
        let came = self.do_and_listen(test, &deeds)?;
        self.is_as_before(came.last(), when)?;
        self.complaint(test)?;
        Ok(came)
    }

    /// What there is now has to be what there was without the module.
    pub(super) fn is_as_before(&mut self, look: Option<&Came>, when: &str) -> Step {
        let Some(Came::Listed(after)) = look else { return Ok(()) };
        let before = std::mem::take(&mut self.unloaded);
        let compared = self.compare(when, &before, after);
        self.unloaded = before;
        compared
    }

    /// As [`act`](Self::act), whatever the kernel complains of.
    pub(super) fn do_and_listen(&mut self, test: &str, deeds: &[Deed]) -> Result<Vec<Came>, Trouble> {
        self.heard = self.run.session().log().len();
        let came = self.run.exercise(self.module, test, deeds)?;
        self.said(self.heard)?;
        Ok(came)
    }

    /// Ends it if the kernel has complained since the last deeds began.
    pub(super) fn complaint(&mut self, test: &str) -> Step {
        if !self.run.was_in_trouble(self.heard) {
            return Ok(());
        }
        self.failed(test, Vec::new());
        // What the kernel said is added to the verdict, and decides if it is worse.
        Err(Trouble::new(Class::KernelWarning, format!("the kernel complained during {test}")))
    }

    /// A test has failed because of this; with what the kernel said last.
    pub(super) fn failed_with_words(&mut self, test: &str, what: String) -> bool {
        let log = &self.run.session().log()[self.heard..];
        let words = log[log.len().saturating_sub(SHOWN_WORDS)..].iter();
        let words = words.map(|record| format!("kernel: {}", record.text));
        let details = [what].into_iter().chain(words).collect();
        self.failed(test, details)
    }

    /// Whether the kernel has said something with this text in it since the last deeds began.
    pub(super) fn heard(&mut self, text: &str) -> bool {
        self.run.session().log()[self.heard..].iter().any(|record| record.text.contains(text))
    }
}

/// What came of deeds, as far as it was sent whole.
fn decode(bytes: &[u8]) -> Vec<Came> {
    let mut decoder = Decoder::<Came>::default();
    decoder.push(bytes);
    std::iter::from_fn(|| decoder.next().ok().flatten()).collect()
}

/// What was being done when only so many deeds had been.
fn doing(deeds: &[Deed], done: usize) -> Option<String> {
    let is_load = |deed: &&Deed| matches!(deed, Deed::Load { .. } | Deed::LoadFailing { .. });
    let times = deeds.iter().take(done + 1).filter(is_load).count();
    match deeds.get(done)? {
        Deed::Load { parameters } if parameters.is_empty() => {
            Some(format!("while it was being loaded, the {} time in this test", ordinal(times)))
        }
        Deed::Load { parameters } => Some(format!("while it was being loaded with `{}`", short(parameters))),
        Deed::LoadFailing { allocation, .. } => {
            Some(format!("while it was being loaded with allocation {allocation} of its loading failing"))
        }
        Deed::Unload { .. } => {
            Some(format!("while it was being unloaded, the {} time in this test", ordinal(times)))
        }
        Deed::Hold { .. } => Some("while its files were being opened".to_owned()),
        Deed::Look | Deed::Count | Deed::Settle => Some(
            "while it was looked at what the kernel has: something of a module that is gone may be in it"
                .to_owned(),
        ),
        Deed::Release => Some("while its file was being closed".to_owned()),
        Deed::Failslab => Some("while failslab was being set up".to_owned()),
        Deed::Parameter { name } => Some(format!("while its parameter {name} was being read")),
    }
}

fn ordinal(number: usize) -> String {
    let ending = match (number % 10, number % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A text, cut where it gets too long for a line.
pub(super) fn short(text: &str) -> String {
    const MOST: usize = 60;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The agent answered something else than what it was asked.
pub(super) fn out_of_turn(test: &str) -> Trouble {
    Trouble::new(Class::LabFailed, format!("{test}: the agent's answers are in disorder"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_being_done_is_named() {
        let load = |parameters: &str| Deed::Load { parameters: parameters.to_owned() };
        let failing = Deed::LoadFailing { parameters: String::new(), allocation: 57 };
        let deeds = [load(""), Deed::Unload { patience: 0 }, load(""), load("index=7"), Deed::Look, failing];
        let said: Vec<String> = (0..7).filter_map(|done| doing(&deeds, done)).collect();
        insta::assert_snapshot!(said.join("\n"), @r"
        while it was being loaded, the 1st time in this test
        while it was being unloaded, the 1st time in this test
        while it was being loaded, the 2nd time in this test
        while it was being loaded with `index=7`
        while it was looked at what the kernel has: something of a module that is gone may be in it
        while it was being loaded with allocation 57 of its loading failing
        ");
        assert_eq!([11, 21, 102, 13].map(ordinal), ["11th", "21st", "102nd", "13th"]);
    }

    #[test]
    fn what_was_sent_whole_counts() {
        let came = [Came::Done, Came::Failed { errno: 17 }];
        let mut bytes: Vec<u8> = came.iter().flat_map(|came| wire::encode(came).unwrap()).collect();
        assert_eq!(decode(&bytes), came);
        bytes.pop();
        assert_eq!(decode(&bytes), came[..1]);
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(short("x=1"), "x=1");
        assert_eq!(short(&"y".repeat(100)), format!("{}… (100 bytes)", "y".repeat(60)));
    }
}
