// SPDX-License-Identifier: GPL-2.0-only
//! The ways in which a module is damaged: each systematically, then several at random.

use std::collections::BTreeSet;

use crate::elf::{File, HEADER_FIELDS, SECTION_FIELDS, SECTION_HEADER};

/// A damaged module, and how it was made.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) bytes: Vec<u8>,
}

/// The modules that are damaged, by what is in them.
pub(crate) struct Originals {
    /// Exports two symbols, and has no `init`: the smallest.
    pub(crate) exporting: (String, File),
    /// Has parameters, and uses symbols for GPL-compatible modules only.
    pub(crate) driver: (String, File),
    /// Imports a namespace.
    pub(crate) importing: (String, File),
    /// Has per-CPU variables.
    pub(crate) percpu: (String, File),
    /// Was built for another flavour of the kernel.
    pub(crate) foreign: (String, File),
    /// As the first, with its signature.
    pub(crate) signed: (String, File),
}

impl Originals {
    fn all(&self) -> [&(String, File); 5] {
        [&self.exporting, &self.driver, &self.importing, &self.percpu, &self.foreign]
    }
}

/// A xorshift generator: the same copies for the same seed.
pub(crate) struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

/// The cases that are being made. Two that come out the same are one.
#[derive(Default)]
struct Cases {
    list: Vec<Case>,
    seen: BTreeSet<Vec<u8>>,
}

impl Cases {
    fn add(&mut self, (name, file): &(String, File), what: &str, change: impl FnOnce(&mut File)) {
        let mut copy = file.clone();
        change(&mut copy);
        if self.seen.insert(copy.bytes.clone()) {
            self.list.push(Case { what: format!("{name}: {what}"), bytes: copy.bytes });
        }
    }
}

/// All systematic cases, and random ones up to `count`.
pub(crate) fn cases(originals: &Originals, count: usize, seed: u64) -> Vec<Case> {
    let mut cases = Cases::default();
    for original in originals.all() {
        cases.add(original, "as it is", |_| {});
    }
    relocations(&mut cases, originals);
    symbols(&mut cases, originals);
    versions(&mut cases, originals);
    information(&mut cases, originals);
    sections(&mut cases, originals);
    header(&mut cases, originals);
    string_tables(&mut cases, originals);
    this_module(&mut cases, originals);
    cut_off(&mut cases, originals);
    signatures(&mut cases, originals);
    let mut random = Random(seed | 1);
    while cases.list.len() < count {
        at_random(&mut cases, originals, &mut random);
    }
    cases.list
}

/// Every type, on a call; each type that the loader knows, in each table; what a relocation refers to.
fn relocations(cases: &mut Cases, originals: &Originals) {
    let driver = &originals.driver;
    let file = &driver.1;
    for (number, table) in file.relocations().into_iter().enumerate() {
        let name = file.name(table);
        let entries = file.entries(table, 24);
        let kinds: Vec<u64> = match number {
            0 => (0..=50).chain([255, 0xffff_ffff]).collect(),
            _ => vec![0, 1, 2, 4, 9, 10, 11, 24],
        };
        for kind in kinds {
            cases.add(driver, &format!("{name}[0] of type {kind}"), |f| f.write(entries[0] + 8, 4, kind));
        }
        let target = file.field(table, "sh_info") as usize;
        let size = file.place(target).1 as u64;
        let last = entries[entries.len() - 1];
        for offset in [0, 1, size - 4, size - 1, size, size + 4096, u64::MAX - 3, u64::MAX] {
            let what = format!("the last of {name} for offset {offset:#x}");
            cases.add(driver, &what, |f| f.write(last, 8, offset));
        }
    }
    let text = file.entries(file.find(".rela.text").unwrap_or(1), 24);
    let symbols = file.symbols().len() as u64;
    for symbol in [0, 1, symbols - 1, symbols, symbols + 1, 1 << 20, 0xffff_ffff] {
        let what = format!(".rela.text[1] against symbol {symbol}");
        cases.add(driver, &what, |f| f.write(text[1] + 12, 4, symbol));
    }
    for kind in [10, 11] {
        for (index, addend) in [(0_usize, 1 << 40), (9, 1 << 31), (9, 1 << 40), (9, u64::MAX)] {
            let what = format!(".rela.text[{index}] of type {kind} with addend {addend:#x}");
            cases.add(driver, &what, |f| {
                f.write(text[index] + 8, 4, kind);
                f.write(text[index] + 16, 8, addend);
            });
        }
    }
    for shift in [0, 1, 3, 4, 8] {
        let what = format!(".rela.text[1] {shift} bytes behind [0]");
        cases.add(driver, &what, |f| f.write(text[1], 8, f.read(text[0], 8) + shift));
    }
    let place = file.place(file.find(".text").unwrap_or(1)).0 + file.read(text[0], 8) as usize;
    for byte in [0, 3, 4] {
        cases.add(driver, &format!("byte {byte} of what .rela.text[0] fills in is 1"), |f| {
            f.bytes[place + byte] = 1
        });
    }
}

/// For symbols of each sort: the name, the section, the binding, the value.
fn symbols(cases: &mut Cases, originals: &Originals) {
    for original in [&originals.driver, &originals.exporting, &originals.percpu] {
        let file = &original.1;
        let symbols = file.symbols();
        let count = file.count() as u64;
        let strings = file.find(".strtab").map_or((0, 0), |section| file.place(section));
        let has = |wanted: fn(u64, u64) -> bool| {
            move |at: &&usize| wanted(file.read(**at + 6, 2), file.read(**at + 4, 1))
        };
        let mut chosen = vec![symbols[0]];
        chosen.extend(symbols.iter().skip(1).find(has(|section, _| section == 0)));
        chosen.extend(symbols.iter().rfind(has(|section, _| section == 0)));
        chosen.extend(symbols.iter().find(has(|section, info| section != 0 && info == 3)));
        chosen.extend(symbols.iter().find(has(|section, info| section != 0 && info & 15 == 1)));
        chosen.extend(symbols.iter().find(has(|section, info| section != 0 && info == 0x12)));
        for at in chosen {
            let index = symbols.iter().position(|s| *s == at).unwrap_or(0);
            let whole = original.0 == originals.driver.0;
            let mut set = |what: &str, field: usize, width: usize, values: &[u64]| {
                for value in values {
                    let what = format!("symbol {index} (`{}`): {what} {value:#x}", file.symbol_name(at));
                    cases.add(original, &what, |f| f.write(at + field, width, *value));
                }
            };
            let (size, length) = (strings.1 as u64, file.len() as u64);
            let beyond = length - strings.0 as u64;
            let sections = [0, 1, count - 1, count, 0xff00, 0xff20, 0xfff1, 0xfff2, 0xffff];
            if whole {
                set("st_name", 0, 4, &[0, 1, 2, size - 1, size, beyond - 1, beyond, 1 << 20, 0x7fff_ffff]);
                set("st_value", 8, 8, &[1, 1 << 20, 1 << 40, u64::MAX]);
                set("st_info", 4, 1, &[0, 0x10, 0x20, 0xff]);
                set("st_shndx", 6, 2, &sections);
            } else {
                set("st_shndx", 6, 2, &sections);
                set("st_name", 0, 4, &[0, size, 1 << 20]);
            }
        }
    }
    let (name, file) = &originals.exporting;
    let strings = file.find("__ksymtab_strings").map_or((0, 0), |section| file.place(section));
    for export in ["kfree", "printf", "_printk", "vfree"] {
        let what = format!("exports `{export}`");
        cases.add(&(name.clone(), file.clone()), &what, |f| {
            f.bytes[strings.0..strings.0 + export.len()].copy_from_slice(export.as_bytes());
            f.bytes[strings.0 + export.len()] = 0;
        });
    }
}

/// Checksums and names in `__versions`.
fn versions(cases: &mut Cases, originals: &Originals) {
    for original in [&originals.importing, &originals.driver, &originals.percpu] {
        let file = &original.1;
        let Some(section) = file.find("__versions") else { continue };
        let entries = file.entries(section, 64);
        for at in &entries {
            let name = file.text(at + 8).to_owned();
            cases.add(original, &format!("version of `{name}` changed"), |f| f.bytes[*at] ^= 1);
            if original.0 == originals.driver.0 {
                cases.add(original, &format!("no version of `{name}`"), |f| f.bytes[at + 8] ^= 1);
                cases.add(original, &format!("version of `{name}` with bit 32"), |f| f.bytes[at + 4] ^= 1);
            }
        }
        let (first, second) = (entries[0], entries[1]);
        cases.add(original, "the first version twice", |f| f.bytes.copy_within(first..first + 64, second));
        cases.add(original, "the second version twice", |f| f.bytes.copy_within(second..second + 64, first));
        cases.add(original, "a name of versions without an end", |f| {
            f.bytes[first + 8..first + 64].fill(b'a')
        });
        cases.add(original, "no versions", |f| {
            let at = f.place(f.read(0x3e, 2) as usize).0 + f.field(section, "sh_name") as usize;
            f.bytes[at] = b'x';
        });
        let size = file.place(section).1 as u64;
        for size in [0, 1, 63, 64, 127, 128, size - 64, size - 1, size + 1, size + 64] {
            cases.add(original, &format!("{size} bytes of versions"), |f| f.set(section, "sh_size", size));
        }
    }
}

/// `.modinfo`: each tag missing or changed, every licence, parts of the version magic.
fn information(cases: &mut Cases, originals: &Originals) {
    let mut change = |original: &(String, File), what: &str, change: &dyn Fn(&mut Vec<String>)| {
        let mut entries = original.1.info();
        change(&mut entries);
        cases.add(original, &format!(".modinfo: {what}"), |file| file.set_info(&entries));
    };
    for original in [&originals.driver, &originals.importing, &originals.exporting] {
        let tags: BTreeSet<String> =
            original.1.info().iter().filter_map(|e| Some(e.split_once('=')?.0.to_owned())).collect();
        for tag in &tags {
            change(original, &format!("no {tag}"), &|e| e.retain(|e| !e.starts_with(&format!("{tag}="))));
            change(original, &format!("{tag} is empty"), &|e| set(e, tag, Some("")));
            change(original, &format!("{tag} is `x`"), &|e| set(e, tag, Some("x")));
        }
    }
    let driver = &originals.driver;
    change(driver, "empty", &Vec::clear);
    for license in [
        "GPL",
        "GPL v2",
        "GPL and additional rights",
        "Dual BSD/GPL",
        "Dual MIT/GPL",
        "Dual MPL/GPL",
        "Proprietary",
        "GPLv2",
        "GPL v3",
        "gpl",
        "GPL ",
        " GPL",
        "MIT",
        "unspecified",
    ] {
        for original in [driver, &originals.importing] {
            change(original, &format!("the licence is `{license}`"), &|e| set(e, "license", Some(license)));
        }
        change(&originals.exporting, &format!("the licence is `{license}`"), &|e| {
            set(e, "license", Some(license))
        });
    }
    let magic = driver.1.info().iter().find_map(|e| Some(e.strip_prefix("vermagic=")?.to_owned()));
    let magic = magic.unwrap_or_default();
    for word in magic.split(' ') {
        for (what, other) in [("without", String::new()), ("with another", format!("{word}x"))] {
            let what = format!("version magic {what} `{word}`");
            change(driver, &what, &|e| set(e, "vermagic", Some(&magic.replacen(word, &other, 1))));
        }
    }
    for (what, other) in [
        ("with a tab", magic.replace(' ', "\t")),
        ("without the last space", magic.trim_end().to_owned()),
        ("with two spaces", magic.replace(' ', "  ")),
        ("with a byte 127", magic.replace("mod_unload", "m\u{7f}d_unload")),
        ("with a byte 255", magic.replace("mod_unload", "m\u{ff}d_unload")),
        ("with a line feed", magic.replace("mod_unload", "m\nd_unload")),
        ("with a backslash", magic.replace("mod_unload", "m\\d_unload")),
    ] {
        change(driver, &format!("version magic {what}"), &|e| set(e, "vermagic", Some(&other)));
    }
    change(driver, "version magic twice", &|e| e.insert(0, "vermagic=x".into()));
    for extra in ["livepatch=Y", "staging=Y", "test=Y", "depends=nowhere", "name=vmlinux", "import_ns=NONE"] {
        change(driver, extra, &|e| e.insert(0, extra.into()));
    }
    let imported = originals.importing.1.info();
    let space = imported.iter().find_map(|e| e.strip_prefix("import_ns=")).unwrap_or("NS").to_owned();
    for other in [space[1..].to_owned(), format!("{space}_"), space.to_lowercase()] {
        let what = format!("imports `{other}`");
        change(&originals.importing, &what, &|e| set(e, "import_ns", Some(&other)));
        change(&originals.importing, &format!("{what} as well"), &|e| {
            e.insert(0, format!("import_ns={other}"))
        });
    }
    let section = driver.1.find(".modinfo").unwrap_or(1);
    let (at, size) = driver.1.place(section);
    for byte in [b'x', b'='] {
        cases.add(driver, &format!(".modinfo ends with `{}`", char::from(byte)), |f| {
            f.bytes[at + size - 1] = byte
        });
    }
    for zeros in [0, 1, 7] {
        cases.add(driver, &format!(".modinfo begins with {zeros} zeros, and is at the file's end"), |f| {
            let content = [vec![0; zeros], f.bytes[at..at + size].to_vec()].concat();
            f.replace(section, &content);
        });
    }
    let end = driver.1.info().join("\0").len() as u64;
    for size in [0, 1, 8, end - 1, end, end + 1] {
        cases.add(driver, &format!("{size} bytes of .modinfo"), |f| f.set(section, "sh_size", size));
    }
}

/// Sets a tag of `.modinfo`, or takes it away.
fn set(entries: &mut Vec<String>, tag: &str, value: Option<&str>) {
    entries.retain(|entry| !entry.starts_with(&format!("{tag}=")));
    entries.extend(value.map(|value| format!("{tag}={value}")));
}

/// Every field of the headers of sections of every sort.
fn sections(cases: &mut Cases, originals: &Originals) {
    let chosen: [(&(String, File), &[&str]); 3] = [
        (
            &originals.driver,
            &[
                ".text",
                ".rela.text",
                ".init.text",
                ".rodata",
                ".modinfo",
                "__param",
                ".return_sites",
                "__versions",
                ".data..read_mostly",
                ".gnu.linkonce.this_module",
                ".bss",
                ".BTF",
                ".symtab",
                ".strtab",
                ".shstrtab",
            ],
        ),
        (
            &originals.exporting,
            &["__ksymtab", "__kcrctab", "__ksymtab_strings", ".rela__ksymtab", "__mcount_loc"],
        ),
        (&originals.percpu, &[".data..percpu", "__ksymtab_gpl"]),
    ];
    for (original, names) in chosen {
        let file = &original.1;
        let first = if original.0 == originals.driver.0 { Some(0) } else { None };
        for section in first.into_iter().chain(names.iter().filter_map(|name| file.find(name))) {
            let label = if section == 0 { "section 0" } else { file.name(section) };
            for (field, _, _) in SECTION_FIELDS {
                let now = file.field(section, field);
                for value in field_values(file, field, now) {
                    let what = format!("{label}: {field} is {value:#x} (was {now:#x})");
                    cases.add(original, &what, |f| f.set(section, field, value));
                }
            }
        }
    }
}

/// What a section's field is set to: zero, one, little, just beyond, very much.
fn field_values(file: &File, field: &str, now: u64) -> Vec<u64> {
    let (length, count) = (file.len() as u64, file.count() as u64);
    match field {
        "sh_name" => {
            let names = file.place(file.read(0x3e, 2) as usize);
            vec![0, 1, names.1 as u64 - 1, names.1 as u64, length - names.0 as u64, 0xffff_ffff]
        }
        "sh_type" => vec![0, 1, 2, 3, 4, 7, 8, 9, 0x7fff_ffff],
        "sh_flags" => vec![0, now ^ 1, now ^ 2, now ^ 4, 7, now | 1 << 20, now | 1 << 21],
        "sh_offset" => vec![0, 1, length - 1, length, 1 << 40, u64::MAX],
        "sh_size" => vec![0, 1, now.wrapping_sub(1), now + 1, now + 64, length, 1 << 32, u64::MAX],
        "sh_link" | "sh_info" => vec![0, 1, count - 1, count, 0xffff_ffff],
        "sh_addralign" => vec![0, 3, 4096, 1 << 20, 1 << 63],
        _ => vec![1, u64::MAX],
    }
}

/// Every field of the ELF header.
fn header(cases: &mut Cases, originals: &Originals) {
    let original = &originals.exporting;
    let file = &original.1;
    for at in 0..16 {
        cases.add(original, &format!("e_ident[{at}]"), |f| f.bytes[at] ^= 3);
    }
    for (name, at, width) in HEADER_FIELDS {
        let (now, length) = (file.read(at, width), file.len() as u64);
        for value in [0, 1, 2, 3, now.wrapping_sub(1), now + 1, now + 64, length - 64, length, u64::MAX] {
            cases.add(original, &format!("{name} is {value:#x}"), |f| f.write(at, width, value));
        }
    }
    for machine in [3, 40, 62, 183, 243] {
        cases.add(original, &format!("e_machine is {machine}"), |f| f.write(0x12, 2, machine));
    }
}

fn string_tables(cases: &mut Cases, originals: &Originals) {
    for original in [&originals.exporting, &originals.driver] {
        for name in [".strtab", ".shstrtab"] {
            let Some(section) = original.1.find(name) else { continue };
            let (at, size) = original.1.place(section);
            cases.add(original, &format!("{name} doesn't end with zero"), |f| f.bytes[at + size - 1] = b'x');
            cases.add(original, &format!("{name} doesn't begin with zero"), |f| f.bytes[at] = b'x');
            cases.add(original, &format!("{name} is all zeros"), |f| f.bytes[at..at + size].fill(0));
            cases.add(original, &format!("{name} is at the file's end, unterminated"), |f| {
                let mut content = f.bytes[at..at + size].to_vec();
                content.resize(size.next_multiple_of(16), b'x');
                f.replace(section, &content);
            });
        }
    }
    for name in [".modinfo", ".gnu.linkonce.this_module", "__versions", ".text"] {
        let original = &originals.driver;
        let Some((section, other)) = original.1.find(name).zip(original.1.find(".rodata")) else { continue };
        cases.add(original, &format!(".rodata is called {name} as well"), |f| {
            f.set(other, "sh_name", f.field(section, "sh_name"));
        });
        let other = original.1.find(".comment").unwrap_or(other);
        cases.add(original, &format!(".comment is called {name} as well"), |f| {
            f.set(other, "sh_name", f.field(section, "sh_name"));
        });
    }
}

/// The module's own structure: its size, its name, a byte elsewhere in it.
fn this_module(cases: &mut Cases, originals: &Originals) {
    let original = &originals.driver;
    let Some(section) = original.1.find(".gnu.linkonce.this_module") else { return };
    let (at, size) = original.1.place(section);
    for other in [0, 8, 24, 80, size - 64, size - 8, size + 8, size + 64] {
        cases.add(original, &format!("struct module of {other} bytes"), |f| {
            f.set(section, "sh_size", other as u64);
        });
    }
    for name in
        ["", "a", "with space", "with/slash", "printk", "kernel", "module", "virtio_mmio", "vmlinux", "lve"]
    {
        cases.add(original, &format!("struct module names `{name}`"), |f| {
            f.bytes[at + 24..at + 80].fill(0);
            f.bytes[at + 24..at + 24 + name.len()].copy_from_slice(name.as_bytes());
        });
    }
    cases.add(original, "a name of 56 bytes", |f| f.bytes[at + 24..at + 80].fill(b'n'));
    for offset in [0, 8, 16, 80, 160, 256, size - 8] {
        cases.add(original, &format!("struct module has 1 at {offset}"), |f| f.bytes[at + offset] = 1);
    }
}

/// The file ends at each boundary, and one byte before and after it.
fn cut_off(cases: &mut Cases, originals: &Originals) {
    let original = &originals.exporting;
    let file = &original.1;
    let mut ends = BTreeSet::from([0, 1, 16, 63, 64, 65]);
    for section in 1..file.count() {
        let (at, size) = file.place(section);
        ends.extend([at - 1, at, at + 1, at + size - 1, at + size, at + size + 1]);
    }
    for section in 0..=file.count() {
        let at = file.header(section);
        ends.extend([at - 1, at, at + 1]);
    }
    for end in ends.into_iter().filter(|end| *end < file.len()) {
        cases.add(original, &format!("cut off at {end:#x}"), |f| f.bytes.truncate(end));
    }
    // With the table of sections in front, the loader gets to look at the sections of a file that was cut off.
    for (at, size) in (1..file.count()).map(|section| file.place(section)) {
        for end in [at, at + 1, (at + size).saturating_sub(1), at + size] {
            cases.add(original, &format!("table of sections in front, the rest cut off at {end:#x}"), |f| {
                let moved = SECTION_HEADER * f.count();
                let table = f.header(0);
                let headers = f.bytes[table..table + moved].to_vec();
                f.bytes.splice(64..64, headers);
                f.write(0x28, 8, 64);
                for section in 1..f.count() {
                    f.set(section, "sh_offset", f.field(section, "sh_offset") + moved as u64);
                }
                f.bytes.truncate((end + moved).max(64 + moved));
            });
        }
    }
}

/// What stands at the end of a signed module.
fn signatures(cases: &mut Cases, originals: &Originals) {
    const MARKER: &[u8] = b"~Module signature appended~\n";
    cases.add(&originals.signed, "signed, as it is", |_| {});
    let original = &originals.exporting;
    let length = original.1.len() as u32;
    let trailer = |fields: [u8; 8], size: u32| [&fields[..], &size.to_be_bytes()].concat();
    let pkcs7 = [0, 0, 2, 0, 0, 0, 0, 0];
    for (what, trailer) in [
        ("a marker alone", Vec::new()),
        ("a marker after 5 bytes", vec![0; 5]),
        ("no bytes of signature", trailer(pkcs7, 0)),
        ("a signature of 16 bytes of nothing", [vec![0; 16], trailer(pkcs7, 16)].concat()),
        ("a signature as long as the file", trailer(pkcs7, length)),
        ("a signature longer than the file", trailer(pkcs7, length + 1)),
        ("a signature of 4 GiB", trailer(pkcs7, u32::MAX)),
        ("a signature of type 0", [vec![0; 16], trailer([0; 8], 16)].concat()),
        ("a signature of type 1", [vec![0; 16], trailer([0, 0, 1, 0, 0, 0, 0, 0], 16)].concat()),
        ("a signature of type 3", [vec![0; 16], trailer([0, 0, 3, 0, 0, 0, 0, 0], 16)].concat()),
        ("a signature with an algorithm", [vec![0; 16], trailer([1, 0, 2, 0, 0, 0, 0, 0], 16)].concat()),
        ("a signature with a hash", [vec![0; 16], trailer([0, 4, 2, 0, 0, 0, 0, 0], 16)].concat()),
        ("a signature with padding", [vec![0; 16], trailer([0, 0, 2, 0, 0, 0, 0, 9], 16)].concat()),
    ] {
        cases.add(original, what, |f| f.bytes.extend([&trailer[..], MARKER].concat()));
        cases.add(original, &format!("{what}, and the marker lacks its line feed"), |f| {
            f.bytes.extend([&trailer[..], &MARKER[..MARKER.len() - 1]].concat());
        });
    }
    cases.add(original, "the marker and nothing else", |f| f.bytes = MARKER.to_vec());
}

/// One thing changed at random that isn't code or data.
fn at_random(cases: &mut Cases, originals: &Originals, random: &mut Random) {
    let all = originals.all();
    let original = all[random.below(all.len())];
    let file = &original.1;
    let values = [0, 1, 2, 4, 7, 0xff, 0xffff, 0xffff_ffff, file.len() as u64, u64::MAX, random.next()];
    let value = random.pick(&values);
    match random.below(8) {
        0 => {
            let table = random.pick(&file.relocations());
            let at = random.pick(&file.entries(table, 24));
            let kind = random.below(44) as u64;
            let what = format!("relocation at {at:#x} ({}) of type {kind}", file.name(table));
            cases.add(original, &what, |f| f.write(at + 8, 4, kind));
        }
        1 => {
            let end = random.below(file.len());
            cases.add(original, &format!("cut off at {end:#x}"), |f| f.bytes.truncate(end));
        }
        2 => {
            let section = random.below(file.count());
            let (field, _, _) = random.pick(&SECTION_FIELDS);
            let what = format!("section {section} ({}): {field} is {value:#x}", file.name(section));
            cases.add(original, &what, |f| f.set(section, field, value));
        }
        3 => {
            let at = random.below(64);
            cases.add(original, &format!("ELF header: byte {at:#x} is {:#x}", value as u8), |f| {
                f.bytes[at] = value as u8;
            });
        }
        4 => flip(cases, original, ".modinfo", random),
        5 => flip(cases, original, "__versions", random),
        6 => {
            let at = random.pick(&file.symbols());
            let (field, width) = random.pick(&[(4, 1), (6, 2), (6, 2), (0, 4)]);
            let value = if field == 0 { random.below(4096) as u64 } else { value };
            let what = format!("symbol at {at:#x} (`{}`): field {field} is {value:#x}", file.symbol_name(at));
            cases.add(original, &what, |f| f.write(at + field, width, value));
        }
        _ => flip(cases, original, random.pick(&[".strtab", ".shstrtab"]), random),
    }
}

fn flip(cases: &mut Cases, original: &(String, File), name: &str, random: &mut Random) {
    let Some((at, size)) = original.1.find(name).map(|section| original.1.place(section)) else { return };
    let at = at + random.below(size);
    let bit = 1 << random.below(7);
    cases.add(original, &format!("{name}: byte {at:#x} ^ {bit:#x}"), |f| f.bytes[at] ^= bit);
}
