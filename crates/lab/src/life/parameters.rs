// SPDX-License-Identifier: GPL-2.0-only
use crate::error::Result;
use crate::kernel::modinfo_of_file;

/// A parameter of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its type, as `MODULE_PARM` macros write it into `.modinfo`: `int`, `charp`, `array of uint`; empty where
    /// it is not said.
    pub kind: String,
}

/// A value to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What follows `NAME=`.
    pub text: String,
    /// Whether no parameter of the type has such a value: a refusal has to say so, by `EINVAL` or `ERANGE`. One that
    /// is merely extreme may be refused for any reason.
    pub is_wrong: bool,
}

/// The parameters that a module's file says it has, in order.
///
/// # Errors
///
/// When the bytes are no ELF file.
pub fn parameters(module: &[u8]) -> Result<Vec<Parameter>> {
    let typed = modinfo_of_file(module, "parmtype")?;
    let mut found: Vec<Parameter> = Vec::new();
    for text in typed.iter().chain(&modinfo_of_file(module, "parm")?) {
        let (name, kind) = text.split_once(':').unwrap_or((text, ""));
        if !name.is_empty() && found.iter().all(|known| known.name != name) {
            let kind = if typed.contains(text) { kind } else { "" };
            found.push(Parameter { name: name.to_owned(), kind: kind.to_owned() });
        }
    }
    Ok(found)
}

/// A number that no integer of the kernel holds.
const TOO_LARGE: &str = "99999999999999999999";

/// Longer than a text that a parameter may be (`param_set_charp`: 1024).
const TOO_LONG: usize = 1025;

/// More elements than arrays of parameters have.
const TOO_MANY: usize = 1025;

/// Values that a parameter should not have, or that are the least and the greatest it can have.
pub fn values(kind: &str) -> Vec<Value> {
    let wrong = |text: &str| Value { text: text.to_owned(), is_wrong: true };
    let extreme = |text: String| Value { text, is_wrong: false };
    let bounds = match kind {
        "byte" => Some((0, i128::from(u8::MAX))),
        "short" => Some((i128::from(i16::MIN), i128::from(i16::MAX))),
        "ushort" => Some((0, i128::from(u16::MAX))),
        "int" => Some((i128::from(i32::MIN), i128::from(i32::MAX))),
        "uint" | "hexint" => Some((0, i128::from(u32::MAX))),
        "long" => Some((i128::from(i64::MIN), i128::from(i64::MAX))),
        "ulong" | "ullong" => Some((0, i128::from(u64::MAX))),
        _ => None,
    };
    if let Some((least, most)) = bounds {
        let mut values = vec![wrong(TOO_LARGE), wrong("x"), wrong("")];
        if least == 0 {
            values.push(wrong("-1"));
        }
        values.extend([extreme(least.to_string()), extreme(most.to_string())]);
        return values;
    }
    match kind {
        "bool" | "invbool" | "bint" => vec![wrong("maybe"), wrong("2"), wrong("")],
        "charp" | "string" => vec![extreme("x".repeat(TOO_LONG)), extreme(String::new())],
        _ if kind.starts_with("array of ") => {
            vec![extreme(vec!["1"; TOO_MANY].join(",")), extreme(TOO_LARGE.into()), extreme(String::new())]
        }
        _ => vec![extreme(TOO_LARGE.into()), extreme("x".into()), extreme(String::new())],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(kind: &str) -> Vec<String> {
        let shown = |value: Value| format!("{}{}", value.text, if value.is_wrong { "!" } else { "" });
        values(kind).into_iter().map(shown).collect()
    }

    #[test]
    fn a_number_is_tried_beyond_and_at_its_bounds() {
        assert_eq!(texts("int"), ["99999999999999999999!", "x!", "!", "-2147483648", "2147483647"]);
        assert_eq!(texts("ushort"), ["99999999999999999999!", "x!", "!", "-1!", "0", "65535"]);
    }

    #[test]
    fn what_is_no_number_is_tried_with_what_it_can_t_be() {
        assert_eq!(texts("bool"), ["maybe!", "2!", "!"]);
        assert_eq!(texts("charp").iter().map(String::len).collect::<Vec<_>>(), [1025, 0]);
        assert_eq!(texts("array of int")[1..], ["99999999999999999999", ""]);
        assert_eq!(texts("of its own"), ["99999999999999999999", "x", ""]);
    }
}
