// SPDX-License-Identifier: GPL-2.0-only
//! What a user calls a machine.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The most bytes in a name.
const LONGEST: usize = 64;

/// The name of the machine of a folder that is in no project.
const DEFAULT: &str = "default";

/// A machine's name. Holding one proves that it is a plain word, which can be a file's name and stand before a colon.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// What the user wrote, as a name.
    ///
    /// # Errors
    ///
    /// When it is no plain word.
    pub fn parse(text: &str) -> Result<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let begins = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        if begins && text.len() <= LONGEST && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::usage(format!("`{}` is no name for a machine", text.escape_debug())).with_remedy(format!(
            "a name has letters, digits, `.`, `_` and `-`, begins with a letter or a digit, and has at most \
             {LONGEST} of them"
        )))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Name {
    fn default() -> Self {
        Self(DEFAULT.to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_word_is_a_name() {
        for text in ["a", "0", "debian-6.1_x", &"n".repeat(LONGEST)] {
            assert_eq!(Name::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn what_could_leave_its_folder_or_hide_is_no_name() {
        for text in ["", ".", "..", ".x", "-x", "a/b", "a:b", "a b", "ä", "a\0", &"n".repeat(LONGEST + 1)] {
            assert!(Name::parse(text).is_err(), "{text}");
        }
        let error = Name::parse("../x\n").unwrap_err();
        insta::assert_snapshot!(error, @r"`../x\n` is no name for a machine");
        insta::assert_snapshot!(
            error.remedy().unwrap(),
            @"a name has letters, digits, `.`, `_` and `-`, begins with a letter or a digit, and has at most 64 of them"
        );
    }
}
