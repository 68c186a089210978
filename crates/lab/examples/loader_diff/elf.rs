// SPDX-License-Identifier: GPL-2.0-only
//! A module's file that is to be damaged: where its fields are, and how to write to them.

/// The size of an entry of the table of sections.
pub(crate) const SECTION_HEADER: usize = 64;

/// A module's file.
#[derive(Clone)]
pub(crate) struct File {
    pub(crate) bytes: Vec<u8>,
}

/// The fields of a section's header: the name, where it is, how many bytes it has.
pub(crate) const SECTION_FIELDS: [(&str, usize, usize); 10] = [
    ("sh_name", 0, 4),
    ("sh_type", 4, 4),
    ("sh_flags", 8, 8),
    ("sh_addr", 16, 8),
    ("sh_offset", 24, 8),
    ("sh_size", 32, 8),
    ("sh_link", 40, 4),
    ("sh_info", 44, 4),
    ("sh_addralign", 48, 8),
    ("sh_entsize", 56, 8),
];

/// The fields of the ELF header after its first 16 bytes.
pub(crate) const HEADER_FIELDS: [(&str, usize, usize); 13] = [
    ("e_type", 0x10, 2),
    ("e_machine", 0x12, 2),
    ("e_version", 0x14, 4),
    ("e_entry", 0x18, 8),
    ("e_phoff", 0x20, 8),
    ("e_shoff", 0x28, 8),
    ("e_flags", 0x30, 4),
    ("e_ehsize", 0x34, 2),
    ("e_phentsize", 0x36, 2),
    ("e_phnum", 0x38, 2),
    ("e_shentsize", 0x3a, 2),
    ("e_shnum", 0x3c, 2),
    ("e_shstrndx", 0x3e, 2),
];

impl File {
    pub(crate) fn read(&self, at: usize, width: usize) -> u64 {
        let mut value = [0; 8];
        value[..width].copy_from_slice(&self.bytes[at..at + width]);
        u64::from_le_bytes(value)
    }

    pub(crate) fn write(&mut self, at: usize, width: usize, value: u64) {
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// How many sections there are.
    pub(crate) fn count(&self) -> usize {
        self.read(0x3c, 2) as usize
    }

    /// Where a section's header is.
    pub(crate) fn header(&self, section: usize) -> usize {
        self.read(0x28, 8) as usize + SECTION_HEADER * section
    }

    pub(crate) fn field(&self, section: usize, name: &str) -> u64 {
        let (_, at, width) = SECTION_FIELDS[SECTION_FIELDS.iter().position(|f| f.0 == name).unwrap_or(0)];
        self.read(self.header(section) + at, width)
    }

    pub(crate) fn set(&mut self, section: usize, name: &str, value: u64) {
        let (_, at, width) = SECTION_FIELDS[SECTION_FIELDS.iter().position(|f| f.0 == name).unwrap_or(0)];
        let at = self.header(section) + at;
        self.write(at, width, value);
    }

    /// Where a section's bytes begin, and how many there are.
    pub(crate) fn place(&self, section: usize) -> (usize, usize) {
        (self.field(section, "sh_offset") as usize, self.field(section, "sh_size") as usize)
    }

    pub(crate) fn name(&self, section: usize) -> &str {
        let names = self.place(self.read(0x3e, 2) as usize).0;
        self.text(names + self.field(section, "sh_name") as usize)
    }

    pub(crate) fn text(&self, at: usize) -> &str {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let text = rest.split(|byte| *byte == 0).next().unwrap_or_default();
        str::from_utf8(text).unwrap_or_default()
    }

    pub(crate) fn find(&self, name: &str) -> Option<usize> {
        (1..self.count()).find(|section| self.name(*section) == name)
    }

    pub(crate) fn of_type(&self, kind: u64) -> Vec<usize> {
        (1..self.count()).filter(|section| self.field(*section, "sh_type") == kind).collect()
    }

    /// Where each entry of a table is.
    pub(crate) fn entries(&self, section: usize, size: usize) -> Vec<usize> {
        let (at, length) = self.place(section);
        (0..length / size).map(|index| at + index * size).collect()
    }

    /// Where the entries of the symbol table are.
    pub(crate) fn symbols(&self) -> Vec<usize> {
        self.of_type(2).first().map(|table| self.entries(*table, 24)).unwrap_or_default()
    }

    pub(crate) fn symbol_name(&self, at: usize) -> &str {
        let names = self.find(".strtab").map_or(0, |section| self.place(section).0);
        self.text(names + self.read(at, 4) as usize)
    }

    /// The sections with relocations of what is loaded.
    pub(crate) fn relocations(&self) -> Vec<usize> {
        let tables = self.of_type(4).into_iter();
        tables.filter(|s| self.field(self.field(*s, "sh_info") as usize, "sh_flags") & 2 != 0).collect()
    }

    /// The entries of `.modinfo`.
    pub(crate) fn info(&self) -> Vec<String> {
        let Some((at, size)) = self.find(".modinfo").map(|section| self.place(section)) else {
            return Vec::new();
        };
        let entries = self.bytes[at..at + size].split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        entries.map(|entry| String::from_utf8_lossy(entry).into_owned()).collect()
    }

    /// Gives a section other bytes, at the file's end.
    pub(crate) fn replace(&mut self, section: usize, content: &[u8]) {
        self.bytes.resize(self.len().next_multiple_of(16), 0);
        let at = self.len() as u64;
        self.bytes.extend(content);
        self.bytes.resize(self.len().next_multiple_of(16), 0);
        self.set(section, "sh_offset", at);
        self.set(section, "sh_size", content.len() as u64);
    }

    /// Gives it another `.modinfo`.
    pub(crate) fn set_info(&mut self, entries: &[String]) {
        let content: String = entries.iter().map(|entry| format!("{entry}\0")).collect();
        if let Some(section) = self.find(".modinfo") {
            self.replace(section, content.as_bytes());
        }
    }
}
