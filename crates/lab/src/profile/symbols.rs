// SPDX-License-Identifier: GPL-2.0-only
//! Which function an address of a running kernel is in.

/// Where the kernel's addresses begin.
const KERNEL: u64 = 1 << 63;

/// What a running kernel lists in `/proc/kallsyms`, by address.
#[derive(Debug)]
pub(super) struct Symbols<'a>(Vec<Symbol<'a>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Symbol<'a> {
    address: u64,
    name: &'a str,
    module: Option<&'a str>,
}

/// A place in a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) name: &'a str,
    pub(super) module: Option<&'a str>,
    /// Bytes behind its beginning.
    pub(super) offset: u64,
    /// Bytes from its beginning to the next symbol.
    pub(super) size: u64,
}

impl<'a> Symbols<'a> {
    /// Reads the text of `/proc/kallsyms`; nothing where addresses are hidden from whoever has read it.
    pub(super) fn parse(kallsyms: &'a str) -> Option<Self> {
        let mut symbols: Vec<_> = kallsyms.lines().filter_map(symbol).collect();
        // Of those at one place, the first is the one that the kernel names.
        symbols.sort_by_key(|symbol| symbol.address);
        symbols.dedup_by_key(|symbol| symbol.address);
        (!symbols.is_empty()).then_some(Self(symbols))
    }

    /// The function with this address.
    pub(super) fn find(&self, address: u64) -> Option<Found<'a>> {
        let after = self.0.partition_point(|symbol| symbol.address <= address);
        let symbol = self.0.get(after.checked_sub(1)?)?;
        let next = self.0.get(after).filter(|next| next.module == symbol.module);
        let end = next.map_or(u64::MAX, |next| next.address);
        Some(Found {
            name: symbol.name,
            module: symbol.module,
            offset: address - symbol.address,
            size: end - symbol.address,
        })
    }
}

/// A line: address, kind, name, and after a tab the module. Of the kernel's own symbols only code counts; of modules'
/// all do, since a function ends where the next symbol begins.
fn symbol(line: &str) -> Option<Symbol<'_>> {
    let (address, rest) = line.split_once(' ')?;
    let (kind, rest) = rest.split_once(' ')?;
    let (name, module) = match rest.split_once('\t') {
        Some((name, module)) => (name, Some(module.trim().strip_prefix('[')?.strip_suffix(']')?)),
        None => (rest, None),
    };
    let address = u64::from_str_radix(address, 16).ok().filter(|address| *address >= KERNEL)?;
    (module.is_some() || matches!(kind, "t" | "T" | "w" | "W")).then_some(Symbol { address, name, module })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KALLSYMS: &str = "0000000000000000 A fixed_percpu_data\nffffffff81000000 T _stext\n\
        ffffffff81000010 t one\nffffffff81000010 t one_alias\nffffffff81000020 D data\nffffffff81000030 t two\n\
        ffffffffc0000000 t init\t[m]\nffffffffc0000040 d table\t[m]\n";

    #[test]
    fn an_address_is_in_the_function_before_it() {
        let symbols = Symbols::parse(KALLSYMS).unwrap();
        let found =
            |address| symbols.find(address).map(|found| (found.name, found.module, found.offset, found.size));
        assert_eq!(found(0xffff_ffff_8100_0013), Some(("one", None, 3, 0x20)));
        assert_eq!(found(0xffff_ffff_c000_0001), Some(("init", Some("m"), 1, 0x40)));
        assert_eq!(found(0xffff_ffff_8000_0000), None);
    }

    #[test]
    fn hidden_addresses_are_none() {
        assert!(Symbols::parse("0000000000000000 T _stext\n0000000000000000 t one\n").is_none());
    }
}
