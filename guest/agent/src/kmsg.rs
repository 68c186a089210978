// SPDX-License-Identifier: GPL-2.0-only
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;

use crate::sys;

const DEVICE: &str = "/dev/kmsg";

/// `KERN_ERR`: shown on the console even when the kernel was booted with `quiet`.
pub(crate) const ERROR: u8 = 3;
/// `KERN_WARNING`.
pub(crate) const WARNING: u8 = 4;

/// `CONSOLE_EXT_LOG_MAX` of the kernel's `printk/internal.h`: no record is longer.
const LONGEST_RECORD: usize = 8192;

/// Writes one line of our own to the kernel's log. There is nowhere to report that it can't be.
pub(crate) fn say(level: u8, text: fmt::Arguments<'_>) {
    let line = format!("<{level}>vexlab-agent: {text}\n");
    let _ = OpenOptions::new().write(true).open(DEVICE).and_then(|mut log| log.write_all(line.as_bytes()));
}

/// A record of the kernel's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    /// The `printk` level, 0 to 7.
    pub(crate) level: u8,
    /// Microseconds on the kernel's log clock.
    pub(crate) micros: u64,
    /// The text, its escapes undone.
    pub(crate) text: String,
}

impl Record {
    /// Understands what one `read(2)` of `/dev/kmsg` returns
    /// (`Documentation/ABI/testing/dev-kmsg`): `priority,sequence,micros,flags[,…];text`, then lines
    /// ` KEY=value`, which are left out. `None` when it is something else.
    fn parse(bytes: &[u8]) -> Option<Self> {
        let semicolon = bytes.iter().position(|&byte| byte == b';')?;
        let (prefix, rest) = (str::from_utf8(&bytes[..semicolon]).ok()?, &bytes[semicolon + 1..]);
        let mut fields = prefix.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let micros = fields.nth(1)?.parse().ok()?;
        let text = rest.split(|&byte| byte == b'\n').next().unwrap_or_default();
        let text = String::from_utf8_lossy(&unescape(text)).into_owned();
        Some(Self { level: (priority & 7) as u8, micros, text })
    }
}

/// Undoes the escapes `\xNN`, which stand for control characters, bytes beyond ASCII, and the backslash.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|hex| {
            let digits = str::from_utf8(hex.get(..2)?).ok()?;
            Some((u8::from_str_radix(digits, 16).ok()?, &hex[2..]))
        });
        let (byte, after) = escaped.unwrap_or((byte, after));
        plain.push(byte);
        rest = after;
    }
    plain
}

/// The kernel's log, read from its first record that is still there, or from one that is still to come.
#[derive(Debug)]
pub(crate) struct Log {
    device: File,
    record: Box<[u8; LONGEST_RECORD]>,
}

impl Log {
    /// Opens the log.
    pub(crate) fn open() -> io::Result<Self> {
        let device = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(DEVICE)?;
        Ok(Self { device, record: Box::new([0; LONGEST_RECORD]) })
    }

    /// Opens the log behind its last record: what is said from now on.
    pub(crate) fn open_at_end() -> io::Result<Self> {
        let mut log = Self::open()?;
        log.device.seek(SeekFrom::End(0))?;
        Ok(log)
    }

    /// The next record, or `None` when all have been read. Records that the kernel overwrote before they
    /// were read are replaced by one of ours that says so.
    pub(crate) fn next(&mut self) -> io::Result<Option<Record>> {
        loop {
            let error = match self.device.read(&mut self.record[..]) {
                Ok(length) => match Record::parse(&self.record[..length]) {
                    Some(record) => return Ok(Some(record)),
                    None => continue,
                },
                Err(error) => error,
            };
            match error.kind() {
                io::ErrorKind::WouldBlock => return Ok(None),
                io::ErrorKind::BrokenPipe => {
                    let text = wire::LOST_RECORDS.to_owned();
                    return Ok(Some(Record { level: WARNING, micros: sys::uptime_micros(), text }));
                }
                io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }
}

impl AsRawFd for Log {
    fn as_raw_fd(&self) -> RawFd {
        self.device.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(level: u8, micros: u64, text: &str) -> Option<Record> {
        Some(Record { level, micros, text: text.to_owned() })
    }

    #[test]
    fn real_lines_are_understood() {
        assert_eq!(
            Record::parse(b"6,339,5140900,-;NET: Registered PF_ALG protocol family\n"),
            record(6, 5_140_900, "NET: Registered PF_ALG protocol family")
        );
        assert_eq!(
            Record::parse(b"4,412,915342,-,caller=T1;vexfs: loading out-of-tree module taints kernel.\n"),
            record(4, 915_342, "vexfs: loading out-of-tree module taints kernel.")
        );
        assert_eq!(
            Record::parse(
                b"6,244,1043,-;virtio_blk virtio0: 1/0/0 queues\n SUBSYSTEM=virtio\n DEVICE=+virtio:virtio0\n"
            ),
            record(6, 1043, "virtio_blk virtio0: 1/0/0 queues")
        );
    }

    #[test]
    fn the_facility_is_not_part_of_the_level() {
        assert_eq!(Record::parse(b"12,1,2,-;from user space\n"), record(4, 2, "from user space"));
        assert_eq!(Record::parse(b"30,1,2,c;systemd\n"), record(6, 2, "systemd"));
    }

    #[test]
    fn escapes_are_undone() {
        assert_eq!(
            Record::parse(b"3,7,8,-;a\\x09b\\x0ac: \\xc3\\xa4 back\\x5cslash\n"),
            record(3, 8, "a\tb\nc: ä back\\slash")
        );
        assert_eq!(Record::parse(b"3,7,8,-;\\xff \\xg0 \\x4\n"), record(3, 8, "\u{fffd} \\xg0 \\x4"));
    }

    #[test]
    fn text_may_be_empty_or_hold_separators() {
        assert_eq!(Record::parse(b"6,1,2,-;\n"), record(6, 2, ""));
        assert_eq!(Record::parse(b"6,1,2,-;a;b,c=d"), record(6, 2, "a;b,c=d"));
    }

    #[test]
    fn what_is_no_record_is_none() {
        for bytes in [&b""[..], b"\n", b"6,1;text", b"6,1,x,-;text", b"x,1,2,-;text", b"no semicolon"] {
            assert_eq!(Record::parse(bytes), None, "{bytes:?}");
        }
    }
}
