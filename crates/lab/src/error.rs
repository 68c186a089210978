// SPDX-License-Identifier: GPL-2.0-only
//! What went wrong, in the user's terms.

use std::error::Error as StdError;
use std::fmt;

/// Whose business an [`Error`] is. It decides the run's [class](crate::verdict::Class).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// What the user wrote is wrong: an argument, a name, `vexlab.toml`.
    Usage,
    /// The module's source does not build.
    Build,
    /// A check of ours refused the module before any machine was started.
    Check,
    /// The lab itself could not do its work: no network, no space, no QEMU, a broken package.
    Lab,
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
    fn the_nearest_name_is_one_that_was_meant() {
        let known = ["debian-6.1", "debian-6.1-cloud", "host"];
        assert_eq!(nearest("debian6.1", known), Some("debian-6.1"));
        assert_eq!(nearest("debian-6.1-clod", known), Some("debian-6.1-cloud"));
        assert_eq!(nearest("fedora", known), None);
    }
}
