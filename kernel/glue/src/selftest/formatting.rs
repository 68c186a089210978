// SPDX-License-Identifier: GPL-2.0
//! Into a string on the heap, and into a buffer on the stack.

use alloc::{collections::BTreeMap, format, string::String, vec, vec::Vec};
use core::{
    fmt::{self, Write},
    hint::black_box,
};

use ktest::{Test, ktest};

use super::report::Expect;
use crate::text::Text;

fn expect(report: &mut Test, what: &str, expected: &str, got: &str) {
    report.bytes(what, expected.as_bytes(), got.as_bytes());
}

#[ktest(name = "rust.formatting.numbers")]
fn numbers(report: &mut Test) {
    let value = black_box(48_879_u64);
    expect(report, "decimal", "48879|-9223372036854775808", &format!("{value}|{}", black_box(i64::MIN)));
    expect(report, "hexadecimal", "beef|BEEF|0x0000beef", &format!("{value:x}|{value:X}|{value:#010x}"));
    expect(report, "binary and octal", "101|0o17", &format!("{:b}|{:#o}", black_box(5), black_box(15)));
    expect(report, "wide", "340282366920938463463374607431768211455", &format!("{}", black_box(u128::MAX)));
}

#[ktest(name = "rust.formatting.text")]
fn text(report: &mut Test) {
    let word = black_box("vexfs");
    expect(report, "padded", "[vexfs  ][  vexfs][*vexfs*]", &format!("[{word:7}][{word:>7}][{word:*^7}]"));
    expect(report, "cut", "vex", &format!("{word:.3}"));
    expect(report, "width as argument", "   42", &format!("{:1$}", black_box(42), black_box(5)));
    let mut long = String::new();
    for number in 0..black_box(500) {
        if write!(long, "{number},").is_err() {
            report.holds("writing to a string", false);
        }
    }
    report.size("length of 0 to 499 with commas", 10 * 2 + 90 * 3 + 400 * 4, long.len());
}

#[derive(Debug)]
#[expect(dead_code, reason = "read by Debug only")]
struct Extent {
    start: u64,
    flags: Option<&'static str>,
}

struct Hidden;

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad("hidden")
    }
}

#[ktest(name = "rust.formatting.debug")]
fn debug(report: &mut Test) {
    let extent = black_box(Extent { start: 8, flags: Some("a\n\"b\"") });
    expect(report, "structure", r#"Extent { start: 8, flags: Some("a\n\"b\"") }"#, &format!("{extent:?}"));
    let mut map = BTreeMap::new();
    map.insert(1_u64, 2_u64);
    let collections = black_box((map, vec!['x'], Vec::<char>::new()));
    expect(report, "collections", "({1: 2}, ['x'], [])", &format!("{collections:?}"));
    expect(report, "own Display", "    hidden", &format!("{:>10}", black_box(Hidden)));
}

/// As the log and the panic handler do it.
#[ktest(name = "rust.formatting.buffer")]
fn buffer(report: &mut Test) {
    let mut room = [0; 12];
    let mut line = Text::new(&mut room);
    let result = write!(line, "{}-{:02}", black_box("ab"), black_box(7));
    report.holds("writing to a buffer", result.is_ok());
    report.bytes("text in a buffer", b"ab-07", line.bytes());
    let result = write!(line, " {}", black_box(1_234_567_890));
    report.holds("writing beyond its end", result.is_ok());
    report.bytes("text that was cut off", b"ab-07 123456", line.bytes());
}
