// SPDX-License-Identifier: GPL-2.0-only
//! A profile for other programs. docs/profile.md documents it.

use std::path::Path;

use serde::Serialize;

use super::{Annotated, Clock, Part, Profile, Sampling};
use crate::error::{Context, Result};
use crate::machine::Accelerator;
use crate::splat::Language;

/// The version of the JSON. What is added to it leaves the number as it is.
const VERSION: u32 = 1;

/// A profile, and where it comes from.
pub struct Document<'a> {
    /// The module, as verdicts name it.
    pub module: &'a str,
    /// The kernel's name.
    pub kernel: &'a str,
    /// What ran the machine's instructions.
    pub accelerator: Accelerator,
    /// The profile.
    pub profile: &'a Profile,
    /// The file with the stacks.
    pub stacks: &'a Path,
    /// The file with the picture.
    pub flame_graph: &'a Path,
    /// The functions that were asked for.
    pub annotated: &'a [Annotated],
}

#[derive(Serialize)]
struct Object<'a> {
    version: u32,
    module: &'a str,
    kernel: &'a str,
    accelerator: &'a str,
    mode: &'a str,
    unit: &'a str,
    total: u64,
    outside: u64,
    sampling: Option<Sampled>,
    functions: Vec<Function<'a>>,
    annotated: &'a [Annotated],
    stacks: &'a Path,
    flame_graph: &'a Path,
}

#[derive(Serialize)]
struct Sampled {
    clock: &'static str,
    rate: u32,
    lost: u64,
    paused: u64,
}

#[derive(Serialize)]
struct Function<'a> {
    function: &'a str,
    module: Option<&'a str>,
    language: &'static str,
    file: Option<&'a str>,
    inlined: bool,
    own: u64,
    total: u64,
}

impl<'a> From<&'a Part> for Function<'a> {
    fn from(Part { frame, own, total }: &'a Part) -> Self {
        Self {
            function: &frame.function,
            module: frame.module.as_deref(),
            language: match frame.language {
                Language::C => "c",
                Language::Rust => "rust",
                Language::Other => "other",
            },
            file: frame.file.as_deref(),
            inlined: frame.is_inlined,
            own: *own,
            total: *total,
        }
    }
}

impl From<Sampling> for Sampled {
    fn from(Sampling { clock, rate, lost, paused }: Sampling) -> Self {
        let clock = match clock {
            Clock::Cycles => "cycles",
            Clock::Timer => "timer",
        };
        Self { clock, rate, lost, paused }
    }
}

impl Document<'_> {
    /// It as one object, with a line's end.
    ///
    /// # Errors
    ///
    /// When a path is no text.
    pub fn json(&self) -> Result<String> {
        let profile = self.profile;
        let parts = profile.parts();
        let object = Object {
            version: VERSION,
            module: self.module,
            kernel: self.kernel,
            accelerator: self.accelerator.name(),
            mode: if profile.sampling.is_some() { "sampled" } else { "counted" },
            unit: profile.unit(),
            total: profile.total,
            outside: profile.outside,
            sampling: profile.sampling.map(Into::into),
            functions: parts.iter().map(Into::into).collect(),
            annotated: self.annotated,
            stacks: self.stacks,
            flame_graph: self.flame_graph,
        };
        let text =
            serde_json::to_string_pretty(&object).context(|| "write the profile as JSON".to_owned())?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::super::Line;
    use super::super::tests::{profile, sampled};
    use super::*;

    fn json(profile: &Profile) -> Value {
        let mut annotated = profile.annotate("sum").unwrap();
        let source = Line::Source { file: "lib.rs".to_owned(), line: 7, text: None };
        annotated[0].lines.extend([source, Line::Gap(3)]);
        let document = Document {
            module: "m",
            kernel: "debian-6.1",
            accelerator: Accelerator::Tcg,
            profile,
            stacks: Path::new("stacks.folded"),
            flame_graph: Path::new("flame.svg"),
            annotated: &annotated,
        };
        serde_json::from_str(&document.json().unwrap()).unwrap()
    }

    #[test]
    fn it_says_what_is_counted_and_how() {
        let (counted, sampled) = (json(&profile()), json(&sampled()));
        assert_eq!((&counted["mode"], &counted["unit"]), (&"counted".into(), &"instructions".into()));
        assert_eq!(counted["sampling"], Value::Null);
        assert_eq!((&sampled["mode"], &sampled["unit"]), (&"sampled".into(), &"samples".into()));
        insta::assert_snapshot!(sampled["sampling"], @r#"{"clock":"timer","lost":5,"paused":1,"rate":100}"#);
        insta::assert_snapshot!(counted["functions"][0], @r#"{"file":null,"function":"m::sum","inlined":false,"language":"rust","module":"m","own":200,"total":200}"#);
        insta::assert_snapshot!(counted["annotated"][0], @r#"{"lines":[{"instruction":{"executions":100,"offset":1,"text":"nop"}},{"instruction":{"executions":100,"offset":2,"text":"jmp +0x0002"}},{"source":{"file":"lib.rs","line":7,"text":null}},{"gap":3}],"symbol":"m::sum"}"#);
    }

    /// The paths of all values: `functions[].own`.
    fn keys(value: &Value, path: &str, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => members.iter().for_each(|(name, value)| {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                into.insert(path.clone());
                keys(value, &path, into);
            }),
            Value::Array(values) => values.iter().for_each(|value| keys(value, &format!("{path}[]"), into)),
            _ => {}
        }
    }

    #[test]
    fn each_key_is_documented_and_there_is_no_other() {
        let page = include_str!("../../../../docs/profile.md");
        let table = page.split("## The JSON").nth(1).unwrap();
        let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
        let documented: BTreeSet<String> =
            rows.filter_map(|row| row.split_once('`')).map(|(key, _)| key.to_owned()).collect();
        let mut there = BTreeSet::new();
        keys(&json(&profile()), "", &mut there);
        keys(&json(&sampled()), "", &mut there);
        assert_eq!(there, documented);
    }
}
