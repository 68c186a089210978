// SPDX-License-Identifier: GPL-2.0-only
//! What went wrong, in the user's terms.

use std::error::Error as StdError;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose business an [`Error`] is. It decides the run's [class](crate::verdict::Class).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// What the user wrote is wrong: an argument, a name, `vexlab.toml`.
    Usage,
    /// The module's source does not build.
    Build,
    /// A check of ours refused the module before any machine was started.
    Check,
    /// The lab itself could not do its work: no network, no space, no QEMU, a broken package.
    Lab,
    /// The machine ended while something was done in it.
    MachineLost,
    /// The user, or whoever runs `vexlab`, stopped it.
    Interrupted,
}

/// An error: what failed, why, and what to do about it.
///
/// `Display` gives the first of the three, lower-case and without a full stop; the cause is in
/// [`source`](StdError::source), the remedy in [`remedy`](Self::remedy).
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    remedy: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of most functions of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error with only a message: `what: object: cause`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), remedy: None, source: None }
    }

    /// [`Kind::Lab`].
    pub fn lab(message: impl Into<String>) -> Self {
        Self::new(Kind::Lab, message)
    }

    /// [`Kind::Usage`].
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    /// Adds what the user can do about it: a sentence, or a command.
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same as the cause of what was being done then.
    pub fn while_doing(self, what: &str) -> Self {
        let remedy = self.remedy.clone();
        Self { kind: self.kind, message: what.to_owned(), remedy, source: Some(Box::new(self)) }
    }

    /// Whose business it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to do about it, if that is known.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// An error on its way from one process of ours to another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    kind: Kind,
    /// What failed.
    pub message: String,
    /// Why: each with its own cause behind it.
    pub causes: Vec<String>,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl From<&Error> for Told {
    fn from(error: &Error) -> Self {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        Self {
            kind: error.kind,
            message: error.message.clone(),
            causes: causes.map(ToString::to_string).collect(),
            remedy: error.remedy.clone(),
        }
    }
}

impl From<Told> for Error {
    fn from(told: Told) -> Self {
        let chain = |cause, text| Some(Box::new(Cause { text, cause }));
        let source = told.causes.into_iter().rev().fold(None, chain);
        let source = source.map(|cause| cause as Box<dyn StdError + Send + Sync>);
        Self { kind: told.kind, message: told.message, remedy: told.remedy, source }
    }
}

/// A cause of which only the words are left.
#[derive(Debug)]
struct Cause {
    text: String,
    cause: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

/// Says what was being done to which object when an operation failed.
pub trait Context<T> {
    /// Turns the failure into [`Kind::Lab`] with `message()` and the failure as its cause.
    ///
    /// # Errors
    ///
    /// When `self` is one.
    fn context(self, message: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for Result<T, E> {
    fn context(self, message: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| {
            let source = source.into();
            let full = source
                .downcast_ref::<std::io::Error>()
                .is_some_and(|e| e.kind() == std::io::ErrorKind::StorageFull);
            let error = Error::lab(message()).with_source(source);
            if full {
                error.with_remedy("make space on that file system, then run the command again")
            } else {
                error
            }
        })
    }
}

/// The known name nearest to `name`, if one is near enough to have been meant.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_of_an_error_is_all_of_it() {
        let inner = Error::lab("inner").with_source("innermost");
        let error = Error::usage("outer").with_source(inner).with_remedy("do it");
        let told = Told::from(&error);
        assert_eq!(told.causes, ["inner", "innermost"]);
        assert_eq!(Told::from(&Error::from(told.clone())), told);
    }

    #[test]
    fn the_nearest_name_is_one_that_was_meant() {
        let known = ["debian-6.1", "debian-6.1-cloud", "host"];
        assert_eq!(nearest("debian6.1", known), Some("debian-6.1"));
        assert_eq!(nearest("debian-6.1-clod", known), Some("debian-6.1-cloud"));
        assert_eq!(nearest("fedora", known), None);
    }
}
