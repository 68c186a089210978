// SPDX-License-Identifier: GPL-2.0-only
//! A client as a guest's kernel is one, and one as no kernel should be.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use proptest::prelude::*;
use share::{Garbage, Options, Server, View};
use tempfile::TempDir;

const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const SETATTR: u32 = 4;
const READLINK: u32 = 5;
const SYMLINK: u32 = 6;
const MKDIR: u32 = 9;
const UNLINK: u32 = 10;
const RENAME: u32 = 12;
const OPEN: u32 = 14;
const READ: u32 = 15;
const WRITE: u32 = 16;
const OPENDIR: u32 = 27;
const READDIR: u32 = 28;
const CREATE: u32 = 35;
const ROOT: u64 = 1;

/// Asks a server, and keeps count of the requests.
struct Client(Server, u64);

impl Client {
    fn new(folder: &Path, options: Options) -> Self {
        Self(Server::new(folder, options).unwrap(), 0)
    }

    fn message(&mut self, operation: u32, node: u64, body: &[u8]) -> Vec<u8> {
        self.1 += 1;
        let mut message = ((40 + body.len()) as u32).to_le_bytes().to_vec();
        message.extend(operation.to_le_bytes());
        message.extend(self.1.to_le_bytes());
        message.extend(node.to_le_bytes());
        message.extend([0; 16]);
        message.extend(body);
        message
    }

    /// The content of the reply, or its error number.
    fn ask(&mut self, operation: u32, node: u64, body: &[u8]) -> Result<Vec<u8>, i32> {
        let message = self.message(operation, node, body);
        let reply = self.0.answer(&message).unwrap().expect("a reply");
        let field = |at: usize| i32::from_le_bytes(reply[at..at + 4].try_into().unwrap());
        assert_eq!(field(0) as usize, reply.len());
        assert_eq!(reply[8..16], self.1.to_le_bytes());
        if field(4) == 0 { Ok(reply[16..].to_vec()) } else { Err(-field(4)) }
    }

    fn node(&mut self, folder: u64, name: &str) -> Result<u64, i32> {
        let reply = self.ask(LOOKUP, folder, format!("{name}\0").as_bytes())?;
        match u64::from_le_bytes(reply[..8].try_into().unwrap()) {
            0 => Err(libc_enoent()),
            node => Ok(node),
        }
    }

    fn walk(&mut self, path: &str) -> Result<u64, i32> {
        path.split('/').try_fold(ROOT, |folder, name| self.node(folder, name))
    }

    fn open(&mut self, node: u64, flags: u32) -> Result<u64, i32> {
        let reply = self.ask(OPEN, node, &[flags.to_le_bytes(), [0; 4]].concat())?;
        Ok(u64::from_le_bytes(reply[..8].try_into().unwrap()))
    }

    fn read(&mut self, node: u64, handle: u64, offset: u64, size: u32) -> Result<Vec<u8>, i32> {
        let body = [&handle.to_le_bytes()[..], &offset.to_le_bytes(), &size.to_le_bytes(), &[0; 20]].concat();
        self.ask(READ, node, &body)
    }

    fn write(&mut self, handle: u64, offset: u64, data: &[u8]) -> Result<Vec<u8>, i32> {
        let size = (data.len() as u32).to_le_bytes();
        let body = [&handle.to_le_bytes()[..], &offset.to_le_bytes(), &size, &[0; 20], data].concat();
        self.ask(WRITE, ROOT, &body)
    }

    /// The names in a folder.
    fn list(&mut self, node: u64) -> Vec<String> {
        let opened = self.ask(OPENDIR, node, &[0; 8]);
        let handle = opened.map_or(0, |reply| u64::from_le_bytes(reply[..8].try_into().unwrap()));
        let (mut names, mut offset) = (Vec::new(), 0u64);
        loop {
            let body = [&handle.to_le_bytes()[..], &offset.to_le_bytes(), &100u32.to_le_bytes(), &[0; 20]];
            let reply = self.ask(READDIR, node, &body.concat()).unwrap();
            if reply.is_empty() {
                names.sort();
                return names;
            }
            let mut rest = &reply[..];
            while !rest.is_empty() {
                offset = u64::from_le_bytes(rest[8..16].try_into().unwrap());
                let length = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
                names.push(String::from_utf8(rest[24..24 + length].to_vec()).unwrap());
                rest = &rest[24 + length.next_multiple_of(8)..];
            }
        }
    }
}

fn errno(kind: rustix::io::Errno) -> i32 {
    kind.raw_os_error()
}

fn libc_enoent() -> i32 {
    errno(rustix::io::Errno::NOENT)
}

/// A folder with some of everything, and a secret beside it.
fn folder() -> (TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let shared = dir.path().join("shared");
    fs::create_dir_all(shared.join("sub")).unwrap();
    fs::write(dir.path().join("secret"), "s").unwrap();
    fs::write(shared.join("sub/file"), "content").unwrap();
    symlink("../secret", shared.join("out")).unwrap();
    symlink("sub", shared.join("within")).unwrap();
    (dir, shared)
}

fn writable() -> Options {
    Options { writable: true, ..Options::default() }
}

#[test]
fn a_file_is_read() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let node = client.walk("sub/file").unwrap();
    let handle = client.open(node, 0).unwrap();
    assert_eq!(client.read(node, handle, 3, 100).unwrap(), b"tent");
    assert_eq!(client.read(node, handle, u64::MAX, 100), Err(errno(rustix::io::Errno::INVAL)));
    assert_eq!(client.list(ROOT), [".", "..", "out", "sub", "within"]);
}

#[test]
fn a_guest_that_may_believe_opens_nothing() {
    let (_dir, shared) = folder();
    let options = Options { valid: Duration::from_secs(9), ..Options::default() };
    let mut client = Client::new(&shared, options);
    let node = client.walk("sub/file").unwrap();
    assert_eq!(client.open(node, 0), Err(errno(rustix::io::Errno::NOSYS)));
    assert_eq!(client.read(node, 0, 0, u32::MAX).unwrap(), b"content");
    assert_eq!(client.list(ROOT), [".", "..", "out", "sub", "within"]);
}

#[test]
fn links_are_told_and_never_followed() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, writable());
    for (link, target) in [("out", "../secret"), ("within", "sub")] {
        let node = client.node(ROOT, link).unwrap();
        assert_eq!(client.ask(READLINK, node, &[]).unwrap(), target.as_bytes());
        assert_eq!(client.open(node, 0), Err(errno(rustix::io::Errno::LOOP)));
        assert!(client.node(node, "file").is_err());
    }
}

#[test]
fn a_folder_that_becomes_a_link_leads_nowhere() {
    let (dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let sub = client.node(ROOT, "sub").unwrap();
    fs::rename(shared.join("sub"), shared.join("old")).unwrap();
    symlink(dir.path(), shared.join("sub")).unwrap();
    assert_eq!(client.node(sub, "secret"), Err(errno(rustix::io::Errno::STALE)));
}

#[test]
fn no_name_leads_out() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, writable());
    for name in ["..", ".", "", "../secret", "/etc/passwd", "sub/file"] {
        assert_eq!(client.node(ROOT, name), Err(errno(rustix::io::Errno::INVAL)), "{name}");
        let made = client.ask(MKDIR, ROOT, &[&[0; 8][..], name.as_bytes(), &[0]].concat());
        assert_eq!(made, Err(errno(rustix::io::Errno::INVAL)), "{name}");
    }
    assert_eq!(client.node(77, "x"), Err(errno(rustix::io::Errno::STALE)), "a node that was never told");
    assert_eq!(
        client.read(ROOT, 77, 0, 1),
        Err(errno(rustix::io::Errno::BADF)),
        "a handle that was never given"
    );
}

#[test]
fn a_pipe_is_shown_and_not_opened() {
    let (_dir, shared) = folder();
    let pipe = shared.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o644.into(), 0).unwrap();
    let mut client = Client::new(&shared, writable());
    let node = client.node(ROOT, "pipe").unwrap();
    assert_eq!(client.open(node, 0), Err(errno(rustix::io::Errno::NXIO)));
    let create = [&1u32.to_le_bytes()[..], &0o644u32.to_le_bytes(), &[0; 8], b"pipe\0"].concat();
    assert_eq!(client.ask(CREATE, ROOT, &create), Err(errno(rustix::io::Errno::NXIO)));
}

#[test]
fn nothing_is_changed_where_it_may_not_be() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let node = client.walk("sub/file").unwrap();
    let readonly = Err(errno(rustix::io::Errno::ROFS));
    let truncating = 0o1000;
    for flags in [1, 2, truncating] {
        assert_eq!(client.open(node, flags).map(|_| Vec::new()), readonly, "{flags}");
    }
    let handle = client.open(node, 0).unwrap();
    assert_eq!(client.write(handle, 0, b"x"), readonly);
    for (operation, body) in [
        (SETATTR, &[0xff; 88][..]),
        (SYMLINK, b"a\0b\0"),
        (MKDIR, b"\0\0\0\0\0\0\0\0a\0"),
        (UNLINK, b"out\0"),
        (RENAME, b"\x01\0\0\0\0\0\0\0out\0in\0"),
        (CREATE, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0a\0"),
    ] {
        let reply = client.ask(operation, ROOT, body);
        assert!(reply == readonly || reply == Err(errno(rustix::io::Errno::INVAL)), "{operation}: {reply:?}");
    }
    assert_eq!(fs::read_to_string(shared.join("sub/file")).unwrap(), "content");
    assert_eq!(fs::read_dir(&shared).unwrap().count(), 3);
}

#[test]
fn what_a_writable_share_is_told_is_done() -> io::Result<()> {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, writable());
    let create = [&0o2u32.to_le_bytes()[..], &0o640u32.to_le_bytes(), &[0; 8], b"new\0"].concat();
    let reply = client.ask(CREATE, ROOT, &create).unwrap();
    let handle = u64::from_le_bytes(reply[128..136].try_into().unwrap());
    client.write(handle, 2, b"abc").unwrap();
    assert_eq!(fs::read(shared.join("new"))?, b"\0\0abc");
    assert_eq!(fs::metadata(shared.join("new"))?.permissions().mode() & 0o7777, 0o640);
    client.ask(MKDIR, ROOT, b"\xed\x01\0\0\0\0\0\0dir\0").unwrap();
    let dir = client.node(ROOT, "dir").unwrap();
    let new = client.node(ROOT, "new").unwrap();
    client.ask(RENAME, ROOT, &[&dir.to_le_bytes()[..], b"new\0moved\0"].concat()).unwrap();
    assert!(client.ask(GETATTR, new, &[0; 16]).is_ok(), "a node goes where its file goes");
    assert!(shared.join("dir/moved").exists() && !shared.join("new").exists());
    client.ask(SYMLINK, dir, b"link\0/anything\0").unwrap();
    assert_eq!(fs::read_link(shared.join("dir/link"))?, Path::new("/anything"));
    client.ask(UNLINK, dir, b"moved\0").unwrap();
    assert!(!shared.join("dir/moved").exists());
    Ok(())
}

#[test]
fn what_is_hidden_is_not_there() {
    let (_dir, shared) = folder();
    let shared = shared.canonicalize().unwrap();
    let key = shared.join(".ssh");
    fs::create_dir(&key).unwrap();
    fs::write(shared.join("token"), "t").unwrap();
    fs::hard_link(shared.join("token"), shared.join("sub/other-name")).unwrap();
    let mut view = View::default();
    view.hide(&key);
    view.hide(&shared.join("token"));
    for valid in [0, 9] {
        let valid = Duration::from_secs(valid);
        let mut client = Client::new(&shared, Options { view: view.clone(), valid, ..Options::default() });
        for path in [".ssh", "token", "sub/other-name", ".ssh/x"] {
            assert_eq!(client.walk(path), Err(libc_enoent()), "{path}");
        }
        assert_eq!(client.list(ROOT), [".", "..", "out", "sub", "within"]);
        let sub = client.node(ROOT, "sub").unwrap();
        assert_eq!(client.list(sub), [".", "..", "file"]);
    }
    let mut client = Client::new(&shared, Options { view, ..writable() });
    let denied = Err(errno(rustix::io::Errno::ACCESS));
    let create = [&0o2u32.to_le_bytes()[..], &0o640u32.to_le_bytes(), &[0; 8], b"token\0"].concat();
    assert_eq!(client.ask(CREATE, ROOT, &create), denied);
    assert_eq!(client.ask(RENAME, ROOT, b"\x01\0\0\0\0\0\0\0out\0token\0"), denied);
    assert_eq!(client.ask(UNLINK, ROOT, b"token\0"), Err(libc_enoent()));
    assert_eq!(fs::read_to_string(shared.join("token")).unwrap(), "t");
}

#[test]
fn a_forgotten_node_is_not_known() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let sub = client.node(ROOT, "sub").unwrap();
    assert_eq!(client.node(ROOT, "sub"), Ok(sub), "looked up twice");
    let forget = |client: &mut Client, times: u64| {
        let message = client.message(FORGET, sub, &times.to_le_bytes());
        assert_eq!(client.0.answer(&message), Ok(None), "forgetting is not answered");
    };
    forget(&mut client, 1);
    assert!(client.ask(GETATTR, sub, &[0; 16]).is_ok());
    forget(&mut client, u64::MAX);
    assert_eq!(client.ask(GETATTR, sub, &[0; 16]), Err(errno(rustix::io::Errno::STALE)));
}

#[test]
fn open_files_are_bounded() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let node = client.walk("sub/file").unwrap();
    let refused = (0..2000).find_map(|_| client.open(node, 0).err());
    assert_eq!(refused, Some(errno(rustix::io::Errno::NFILE)));
}

#[test]
fn another_file_of_the_same_name_is_another_node() {
    let (_dir, shared) = folder();
    let mut client = Client::new(&shared, Options::default());
    let before = client.walk("sub/file").unwrap();
    fs::write(shared.join("new"), "new").unwrap();
    fs::rename(shared.join("new"), shared.join("sub/file")).unwrap();
    assert_eq!(client.ask(GETATTR, before, &[0; 16]), Err(errno(rustix::io::Errno::STALE)));
    assert_ne!(client.walk("sub/file").unwrap(), before);
}

#[test]
fn bytes_that_are_no_request_are_garbage() {
    let (_dir, shared) = folder();
    let mut server = Server::new(&shared, Options::default()).unwrap();
    for message in [&[][..], &[0; 39], &[0xff; 64]] {
        assert_eq!(server.answer(message), Err(Garbage));
    }
}

#[test]
fn what_is_no_folder_is_not_shared() {
    let (_dir, shared) = folder();
    assert!(Server::new(&shared.join("sub/file"), Options::default()).is_err());
    assert!(Server::new(&shared.join("missing"), Options::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is asked, in whatever order: nothing panics, and nothing outside changes or comes in.
    #[test]
    fn a_hostile_client_gets_nowhere(
        requests in prop::collection::vec((0u32..56, 0u64..6, prop::collection::vec(any::<u8>(), 0..100)), 1..40),
        writable in any::<bool>(),
        names in any::<bool>(),
    ) {
        let (dir, shared) = folder();
        let mut client = Client::new(&shared, Options { writable, ..Options::default() });
        let _ = (client.walk("sub/file"), client.walk("out"), client.walk("within"));
        for (operation, node, mut body) in requests {
            if names {
                body.extend(b"../../secret\0sub\0");
            }
            let message = client.message(operation, node, &body);
            if let Some(reply) = client.0.answer(&message).unwrap() {
                prop_assert!(reply.len() >= 16 && reply.len() <= share::LARGEST_MESSAGE);
            }
        }
        prop_assert_eq!(fs::read_to_string(dir.path().join("secret")).unwrap(), "s");
        prop_assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
