// SPDX-License-Identifier: GPL-2.0-only
//! What the kernel's taint says of trouble.

use super::{Kind, Splat};

/// A flag of the taint that tells of trouble; the others tell of what was loaded.
///
/// Source: `Documentation/admin-guide/tainted-kernels.rst`.
struct Flag {
    bit: u32,
    letter: char,
    meaning: &'static str,
    /// Whether the kernel sets it along with what it reports.
    is_reported: bool,
}

const fn flag(bit: u32, letter: char, is_reported: bool, meaning: &'static str) -> Flag {
    Flag { bit, letter, meaning, is_reported }
}

const FLAGS: [Flag; 6] = [
    flag(1, 'F', false, "a module was loaded by force"),
    flag(3, 'R', false, "a module was unloaded by force"),
    flag(4, 'M', true, "the processor reported an error of the machine's"),
    flag(5, 'B', true, "memory was found in a state that it can't be in"),
    flag(9, 'W', true, "the kernel warned"),
    flag(14, 'L', true, "a processor did not get on"),
];

/// A report of what the taint has come to tell, from `before` to `after`, and no other report does. That the kernel
/// died (`D`) is not a matter of this.
pub fn unexplained_taint(before: u64, after: u64, reports: &[Splat]) -> Option<Splat> {
    let is_new = |flag: &&Flag| (after & !before) >> flag.bit & 1 == 1;
    let is_told = |flag: &&Flag| flag.is_reported && !reports.is_empty();
    let flags: Vec<&Flag> = FLAGS.iter().filter(is_new).filter(|flag| !is_told(flag)).collect();
    if flags.is_empty() {
        return None;
    }
    let letters: String = flags.iter().map(|flag| flag.letter).collect();
    let lines = flags.iter().map(|flag| format!("{}: {}", flag.letter, flag.meaning)).collect();
    Some(Splat::new(Kind::Taint, format!("taint {letters}, of which no report tells"), lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUT_OF_TREE: u64 = 1 << 12;
    const WARNED: u64 = 1 << 9;

    #[test]
    fn a_taint_that_nothing_explains_is_a_report() {
        assert_eq!(unexplained_taint(0, OUT_OF_TREE, &[]), None);
        assert_eq!(unexplained_taint(WARNED, WARNED | OUT_OF_TREE, &[]), None, "it was so before");
        let splat = unexplained_taint(0, WARNED | OUT_OF_TREE | 1 << 5, &[]).unwrap();
        assert_eq!(splat.title, "taint BW, of which no report tells");
        assert_eq!(
            splat.lines,
            ["B: memory was found in a state that it can't be in", "W: the kernel warned"]
        );
    }

    #[test]
    fn a_report_explains_the_taint_that_comes_with_reports() {
        let reports = crate::splat::parse("WARNING: CPU: 0 PID: 1 at m.c:1 g+0x5/0x10 [m]\n");
        assert_eq!(unexplained_taint(0, WARNED, &reports), None);
        let forced = unexplained_taint(0, WARNED | 1 << 3, &reports).unwrap();
        assert_eq!(forced.title, "taint R, of which no report tells");
    }
}
