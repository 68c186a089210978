// SPDX-License-Identifier: GPL-2.0-only
//! The kernel's symbols as it lists them itself, and as an object file that a debugger reads.

use std::fmt::Write;

use crate::error::{Error, Result};

/// The section that stands for the kernel's code: empty, as long as that is.
pub(super) const SECTION: &str = ".kernel.text";

/// The symbols of a running kernel, without its modules'.
#[derive(Debug)]
pub(super) struct Kernel<'a> {
    symbols: Vec<Symbol<'a>>,
    /// From where to where its code goes, in the machine's addresses.
    text: std::ops::Range<u64>,
}

#[derive(Debug, PartialEq, Eq)]
struct Symbol<'a> {
    address: u64,
    name: &'a str,
}

impl<'a> Kernel<'a> {
    /// Reads the text of `/proc/kallsyms`. It comes from the machine: names that are no words of C are left out.
    ///
    /// # Errors
    ///
    /// When it doesn't say where the code begins and ends, as where addresses are hidden from the reader.
    pub(super) fn parse(kallsyms: &'a str) -> Result<Self> {
        let lines = kallsyms.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let all: Vec<Symbol<'a>> = lines
            .filter_map(|words| match words[..] {
                // A module's name comes after a tab, in the last word.
                [address, _, name] if is_name(name) => {
                    Some(Symbol { address: u64::from_str_radix(address, 16).ok()?, name })
                }
                _ => None,
            })
            .collect();
        let address = |name: &str| all.iter().find(|symbol| symbol.name == name).map(|symbol| symbol.address);
        let text = match (address("_stext"), address("_etext")) {
            (Some(start), Some(end)) if 0 < start && start < end => start..end,
            _ => return Err(Error::lab("the kernel doesn't say in /proc/kallsyms where its code is")),
        };
        let symbols = all.into_iter().filter(|symbol| text.contains(&symbol.address)).collect();
        Ok(Self { symbols, text })
    }

    /// Whether there is a function of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.symbols.iter().any(|symbol| symbol.name == name)
    }

    /// The address of its code.
    pub(super) fn text_start(&self) -> u64 {
        self.text.start
    }

    /// The source of an object with all functions at their places in [`SECTION`], for the assembler.
    pub(super) fn source(&self) -> String {
        let mut text = format!(".section {SECTION},\"ax\",@nobits\n");
        for Symbol { address, name } in &self.symbols {
            let offset = address - self.text.start;
            // Writing to a text doesn't fail.
            let _ = writeln!(text, ".type \"{name}\",@function\n.set \"{name}\",{SECTION}+{offset}");
        }
        let _ = writeln!(text, ".skip {}", self.text.end - self.text.start);
        text
    }
}

/// Whether this can be a function's name: what a compiler makes of one in C or in Rust.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.$".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _stext\nffffffff81000010 t do_init_module\nffffffff81000020 t x.cold\n\
        ffffffff81001000 T _etext\nffffffff82000000 D jiffies\nffffffff81000030 t \"\n.incbin\n\
        ffffffffc0000000 t init\t[vexfs]\n";

    #[test]
    fn functions_are_at_their_places() {
        let kernel = Kernel::parse(KALLSYMS).unwrap();
        assert!(kernel.has("do_init_module") && !kernel.has("init"));
        assert_eq!(kernel.text_start(), 0xffff_ffff_8100_0000);
        insta::assert_snapshot!(kernel.source(), @r#"
        .section .kernel.text,"ax",@nobits
        .type "_stext",@function
        .set "_stext",.kernel.text+0
        .type "do_init_module",@function
        .set "do_init_module",.kernel.text+16
        .type "x.cold",@function
        .set "x.cold",.kernel.text+32
        .skip 4096
        "#);
    }

    #[test]
    fn hidden_addresses_are_told() {
        let hidden = "0000000000000000 T _stext\n0000000000000000 T _etext\n";
        let error = Kernel::parse(hidden).unwrap_err();
        insta::assert_snapshot!(error, @"the kernel doesn't say in /proc/kallsyms where its code is");
    }
}
