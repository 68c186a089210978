// SPDX-License-Identifier: GPL-2.0-only
//! Requests of a guest's kernel, parsed: nothing of them is believed before it has been looked at.
//!
//! Source: `include/uapi/linux/fuse.h` of Linux, version 7.31 of the protocol and what later ones added to it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

/// The longest name in a folder, in bytes: `NAME_MAX`.
const LONGEST_NAME: usize = 255;

/// The longest target of a symbolic link, in bytes: `PATH_MAX` with its NUL.
const LONGEST_TARGET: usize = 4095;

/// What stands before each request: `struct fuse_in_header`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) operation: u32,
    /// Said back in the reply.
    pub(crate) unique: u64,
    /// The node that it is about.
    pub(crate) node: u64,
}

/// The size of [`Header`] in bytes.
const HEADER: usize = 40;

impl Header {
    /// The header, and the bytes behind it. `None` when there is none, or it lies about the length.
    pub(crate) fn parse(message: &[u8]) -> Option<(Self, &[u8])> {
        let (header, body) = message.split_at_checked(HEADER)?;
        let mut fields = Fields(header);
        let length = fields.u32().ok()?;
        let operation = fields.u32().ok()?;
        let (unique, node) = (fields.u64().ok()?, fields.u64().ok()?);
        (length as usize == message.len()).then_some((Self { operation, unique, node }, body))
    }
}

/// A name in a folder: one that is not empty, holds neither a slash nor a NUL, and is neither `.` nor `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Name<'a>(&'a OsStr);

impl<'a> Name<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Errno> {
        if bytes.len() > LONGEST_NAME {
            return Err(Errno::NAMETOOLONG);
        }
        let bad =
            bytes.is_empty() || bytes == b"." || bytes == b".." || bytes.iter().any(|b| b"/\0".contains(b));
        if bad { Err(Errno::INVAL) } else { Ok(Self(OsStr::from_bytes(bytes))) }
    }

    pub(crate) fn as_os_str(self) -> &'a OsStr {
        self.0
    }
}

/// A point in time that a file is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    Now,
    At { seconds: i64, nanoseconds: u32 },
}

/// What of a file is to be changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) handle: Option<u64>,
    pub(crate) mode: Option<u32>,
    pub(crate) owner: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) accessed: Option<Time>,
    pub(crate) modified: Option<Time>,
}

/// What a guest's kernel asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request<'a> {
    Lookup {
        name: Name<'a>,
    },
    /// Pairs of a node and how many of its look-ups are forgotten. Never answered.
    Forget(Vec<(u64, u64)>),
    GetAttributes {
        handle: Option<u64>,
    },
    Change(Changes),
    ReadLink,
    Symlink {
        name: Name<'a>,
        target: &'a OsStr,
    },
    MakeNode {
        name: Name<'a>,
        mode: u32,
    },
    MakeFolder {
        name: Name<'a>,
        mode: u32,
    },
    Unlink {
        name: Name<'a>,
    },
    RemoveFolder {
        name: Name<'a>,
    },
    Rename {
        name: Name<'a>,
        folder: u64,
        new_name: Name<'a>,
        flags: u32,
    },
    Link {
        node: u64,
        name: Name<'a>,
    },
    Open {
        flags: u32,
    },
    Create {
        name: Name<'a>,
        flags: u32,
        mode: u32,
    },
    Read {
        handle: u64,
        offset: u64,
        size: u32,
    },
    Write {
        handle: u64,
        offset: u64,
        data: &'a [u8],
    },
    Sync {
        handle: u64,
    },
    Release {
        handle: u64,
    },
    OpenFolder,
    ReadFolder {
        handle: u64,
        offset: u64,
        size: u32,
        plus: bool,
    },
    StatFs,
    Init {
        major: u32,
        read_ahead: u32,
        flags: u32,
    },
    /// Not answered; what it is about is answered soon in any case.
    Interrupt,
    Destroy,
}

impl<'a> Request<'a> {
    /// Parses what stands behind the header.
    ///
    /// # Errors
    ///
    /// `ENOSYS` for what is not known here, after which the kernel does without; `EINVAL` and `ENAMETOOLONG`.
    pub(crate) fn parse(header: &Header, body: &'a [u8]) -> Result<Self, Errno> {
        let mut fields = Fields(body);
        let fields = &mut fields;
        Ok(match header.operation {
            1 => Self::Lookup { name: fields.name()? },
            2 => Self::Forget(vec![(header.node, fields.u64()?)]),
            42 => Self::Forget(fields.forgotten()?),
            3 => {
                let flags = fields.u32()?;
                fields.skip(4)?;
                let handle = fields.u64()?;
                Self::GetAttributes { handle: (flags & 1 != 0).then_some(handle) }
            }
            4 => Self::Change(fields.changes()?),
            5 => Self::ReadLink,
            6 => Self::Symlink { name: fields.name()?, target: fields.target()? },
            8 => {
                let mode = fields.u32()?;
                fields.skip(12)?;
                Self::MakeNode { name: fields.name()?, mode }
            }
            9 => {
                let mode = fields.u32()?;
                fields.skip(4)?;
                Self::MakeFolder { name: fields.name()?, mode }
            }
            10 => Self::Unlink { name: fields.name()? },
            11 => Self::RemoveFolder { name: fields.name()? },
            12 => {
                let folder = fields.u64()?;
                Self::Rename { name: fields.name()?, folder, new_name: fields.name()?, flags: 0 }
            }
            45 => {
                let (folder, flags) = (fields.u64()?, fields.u32()?);
                fields.skip(4)?;
                Self::Rename { name: fields.name()?, folder, new_name: fields.name()?, flags }
            }
            13 => Self::Link { node: fields.u64()?, name: fields.name()? },
            14 => Self::Open { flags: fields.u32()? },
            15 | 28 | 44 => {
                let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
                match header.operation {
                    15 => Self::Read { handle, offset, size },
                    operation => Self::ReadFolder { handle, offset, size, plus: operation == 44 },
                }
            }
            16 => {
                let (handle, offset, size) = (fields.u64()?, fields.u64()?, fields.u32()?);
                fields.skip(20)?;
                Self::Write { handle, offset, data: fields.bytes(size as usize)? }
            }
            17 => Self::StatFs,
            18 | 29 => Self::Release { handle: fields.u64()? },
            20 => Self::Sync { handle: fields.u64()? },
            26 => {
                let (major, _minor) = (fields.u32()?, fields.u32()?);
                Self::Init { major, read_ahead: fields.u32()?, flags: fields.u32()? }
            }
            27 => Self::OpenFolder,
            35 => {
                let (flags, mode) = (fields.u32()?, fields.u32()?);
                fields.skip(8)?;
                Self::Create { name: fields.name()?, flags, mode }
            }
            36 => Self::Interrupt,
            38 => Self::Destroy,
            _ => return Err(Errno::NOSYS),
        })
    }
}

/// Takes little-endian fields from the front of a request.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn bytes(&mut self, count: usize) -> Result<&'a [u8], Errno> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Errno> {
        self.bytes(count).map(drop)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Errno> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Errno::INVAL)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u32(&mut self) -> Result<u32, Errno> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Errno> {
        self.array().map(u64::from_le_bytes)
    }

    /// A text that ends in NUL.
    fn text(&mut self) -> Result<&'a [u8], Errno> {
        let end = self.0.iter().position(|byte| *byte == 0).ok_or(Errno::INVAL)?;
        let text = self.bytes(end)?;
        self.skip(1)?;
        Ok(text)
    }

    fn name(&mut self) -> Result<Name<'a>, Errno> {
        Name::new(self.text()?)
    }

    fn target(&mut self) -> Result<&'a OsStr, Errno> {
        match self.text()? {
            [] => Err(Errno::INVAL),
            long if long.len() > LONGEST_TARGET => Err(Errno::NAMETOOLONG),
            text => Ok(OsStr::from_bytes(text)),
        }
    }

    /// `struct fuse_batch_forget_in` and what follows it, as far as it is there.
    fn forgotten(&mut self) -> Result<Vec<(u64, u64)>, Errno> {
        let count = self.u32()? as usize;
        self.skip(4)?;
        let (pairs, _) = self.0.as_chunks::<16>();
        if pairs.len() < count {
            return Err(Errno::INVAL);
        }
        pairs[..count].iter().map(|pair| Ok((Fields(pair).u64()?, Fields(&pair[8..]).u64()?))).collect()
    }

    /// `struct fuse_setattr_in`.
    fn changes(&mut self) -> Result<Changes, Errno> {
        let valid = self.u32()?;
        self.skip(4)?;
        let (handle, size) = (self.u64()?, self.u64()?);
        self.skip(8)?; // lock_owner
        let (accessed, modified, _changed) = (self.u64()? as i64, self.u64()? as i64, self.u64()?);
        let (accessed_nanos, modified_nanos, _changed_nanos) = (self.u32()?, self.u32()?, self.u32()?);
        let mode = self.u32()?;
        self.skip(4)?;
        let (owner, group) = (self.u32()?, self.u32()?);
        let asked = |bit: u32| valid & (1 << bit) != 0;
        let time = |given: u32, now: u32, seconds: i64, nanoseconds: u32| {
            let at = || Time::At { seconds, nanoseconds };
            asked(given).then(|| if asked(now) { Time::Now } else { at() })
        };
        if accessed_nanos.max(modified_nanos) >= 1_000_000_000 {
            return Err(Errno::INVAL);
        }
        Ok(Changes {
            handle: asked(6).then_some(handle),
            mode: asked(0).then_some(mode),
            owner: asked(1).then_some(owner),
            group: asked(2).then_some(group),
            size: asked(3).then_some(size),
            accessed: time(4, 7, accessed, accessed_nanos),
            modified: time(5, 8, modified, modified_nanos),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(operation: u32, body: &[u8]) -> Vec<u8> {
        let mut message = vec![0; HEADER];
        message[..4].copy_from_slice(&((HEADER + body.len()) as u32).to_le_bytes());
        message[4..8].copy_from_slice(&operation.to_le_bytes());
        message.extend_from_slice(body);
        message
    }

    fn parsed(message: &[u8]) -> Result<Request<'_>, Errno> {
        let (header, body) = Header::parse(message).expect("a header");
        Request::parse(&header, body)
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in [&b".\0"[..], b"..\0", b"a/b\0", b"/\0", b"\0", b"no end"] {
            assert_eq!(parsed(&message(1, name)), Err(Errno::INVAL), "{name:?}");
        }
        assert_eq!(parsed(&message(1, &[&[b'x'; 256][..], &[0]].concat())), Err(Errno::NAMETOOLONG));
        assert!(parsed(&message(1, b"...\0")).is_ok());
    }

    #[test]
    fn a_header_that_lies_is_none() {
        let mut lying = message(1, b"a\0");
        lying[0] += 1;
        assert_eq!(Header::parse(&lying), None);
        assert_eq!(Header::parse(&[0; HEADER - 1]), None);
    }

    #[test]
    fn more_is_announced_than_is_there() {
        let write =
            [&0u64.to_le_bytes()[..], &0u64.to_le_bytes(), &u32::MAX.to_le_bytes(), &[0; 20]].concat();
        assert_eq!(parsed(&message(16, &write)), Err(Errno::INVAL));
        assert_eq!(parsed(&message(42, &[0xff; 8])), Err(Errno::INVAL));
    }

    #[test]
    fn what_is_not_known_is_said_not_to_be() {
        for operation in [0, 21, 22, 34, 39, 46, 4096, u32::MAX] {
            assert_eq!(parsed(&message(operation, &[0; 64])), Err(Errno::NOSYS), "{operation}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(operation in 0u32..60, body in prop::collection::vec(any::<u8>(), 0..128)) {
            let _ = parsed(&message(operation, &body));
        }
    }
}
