// SPDX-License-Identifier: GPL-2.0-only
//! Replies, as a guest's kernel expects them. Source: `include/uapi/linux/fuse.h` of Linux.

use std::time::Duration;

use rustix::fs::{StatVfs, Statx};
use rustix::io::Errno;

/// The size of `struct fuse_out_header` in bytes.
const HEADER: usize = 16;

/// A reply that is being written.
#[derive(Debug)]
pub(crate) struct Reply(Vec<u8>);

impl Reply {
    /// With no content yet, and room for so many bytes of it.
    pub(crate) fn with_room(bytes: usize) -> Self {
        let mut reply = Vec::with_capacity(HEADER + bytes);
        reply.resize(HEADER, 0);
        Self(reply)
    }

    /// How many bytes of content there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len() - HEADER
    }

    /// Cuts the content to so many bytes.
    pub(crate) fn truncate(&mut self, bytes: usize) {
        self.0.truncate(HEADER + bytes);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_le_bytes())
    }

    pub(crate) fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// So many bytes of zeros at the end, to be written to; afterwards [`truncate`](Self::truncate) keeps what was.
    pub(crate) fn space(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.0.len();
        self.0.resize(start + bytes, 0);
        &mut self.0[start..]
    }

    /// `struct fuse_attr`.
    pub(crate) fn attributes(&mut self, of: &Attributes) -> &mut Self {
        let found = &of.found;
        self.u64(of.number).u64(found.stx_size).u64(found.stx_blocks);
        let times = [found.stx_atime, found.stx_mtime, found.stx_ctime];
        for time in times {
            self.u64(time.tv_sec as u64);
        }
        for time in times {
            self.u32(time.tv_nsec);
        }
        self.u32(u32::from(found.stx_mode)).u32(found.stx_nlink).u32(of.owner).u32(of.group);
        self.u32(device_number(found.stx_rdev_major, found.stx_rdev_minor)).u32(found.stx_blksize).u32(0)
    }

    /// `struct fuse_attr_out`.
    pub(crate) fn attributes_for(&mut self, of: &Attributes, valid: Duration) -> &mut Self {
        self.u64(valid.as_secs()).u32(valid.subsec_nanos()).u32(0).attributes(of)
    }

    /// `struct fuse_entry_out`: a file that was looked up.
    pub(crate) fn entry(&mut self, node: u64, of: &Attributes, valid: Duration) -> &mut Self {
        self.u64(node).u64(0).u64(valid.as_secs()).u64(valid.as_secs());
        self.u32(valid.subsec_nanos()).u32(valid.subsec_nanos()).attributes(of)
    }

    /// `struct fuse_entry_out`: there is none of this name, and for how long that may be believed.
    pub(crate) fn no_entry(&mut self, valid: Duration) -> &mut Self {
        self.zeros(16).u64(valid.as_secs()).u64(0).u32(valid.subsec_nanos()).zeros(4 + ATTRIBUTES)
    }

    /// `struct fuse_dirent`, padded.
    pub(crate) fn folder_entry(&mut self, number: u64, next: u64, kind: u32, name: &[u8]) -> &mut Self {
        self.u64(number).u64(next).u32(name.len() as u32).u32(kind).bytes(name);
        self.zeros(name.len().next_multiple_of(8) - name.len())
    }

    /// `struct fuse_open_out`.
    pub(crate) fn opened(&mut self, handle: u64) -> &mut Self {
        self.u64(handle).u64(0)
    }

    /// `struct fuse_statfs_out`.
    pub(crate) fn file_system(&mut self, of: &StatVfs) -> &mut Self {
        self.u64(of.f_blocks).u64(of.f_bfree).u64(of.f_bavail).u64(of.f_files).u64(of.f_ffree);
        self.u32(of.f_bsize as u32).u32(of.f_namemax as u32).u32(of.f_frsize as u32).zeros(28)
    }

    /// The whole reply.
    pub(crate) fn finish(self, unique: u64) -> Vec<u8> {
        finish(self.0, unique, 0)
    }
}

/// The size of `struct fuse_attr` in bytes.
const ATTRIBUTES: usize = 88;

/// The size of `struct fuse_entry_out` in bytes.
pub(crate) const ENTRY: usize = 40 + ATTRIBUTES;

/// The size of a folder's entry in bytes.
pub(crate) fn folder_entry_size(name: &[u8]) -> usize {
    24 + name.len().next_multiple_of(8)
}

/// The whole reply of a request that failed.
pub(crate) fn failed(unique: u64, errno: Errno) -> Vec<u8> {
    finish(vec![0; HEADER], unique, -errno.raw_os_error())
}

fn finish(mut reply: Vec<u8>, unique: u64, error: i32) -> Vec<u8> {
    let length = reply.len() as u32;
    reply[..4].copy_from_slice(&length.to_le_bytes());
    reply[4..8].copy_from_slice(&error.to_le_bytes());
    reply[8..HEADER].copy_from_slice(&unique.to_le_bytes());
    reply
}

/// What is said of a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) found: Statx,
    /// The inode number shown.
    pub(crate) number: u64,
    pub(crate) owner: u32,
    pub(crate) group: u32,
}

/// A device's number as kernels pass it on (`new_encode_dev`).
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}
