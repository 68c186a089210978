// SPDX-License-Identifier: GPL-2.0-only
//! What is done with a guest's requests for files. A file of its own: no other target needs a folder.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use share::{Options, Server};

/// What lies beside the shared folder, and is never to be seen.
const OUTSIDE: &[u8] = b"what no guest was given";

/// Requests to a server, one after the other: what is said in replies, nodes and handles, can be used in the next ones.
/// Of each there is its operation, its node, its body's length, and its body. `scratch` is an empty folder.
pub(crate) fn share(scratch: &Path, bytes: &[u8]) {
    let Some((&first, mut rest)) = bytes.split_first() else { return };
    let folder = scratch.join("shared");
    fs::create_dir_all(folder.join("a/b")).expect("a folder");
    fs::write(folder.join("a/file"), "content").expect("a file");
    fs::write(scratch.join("outside"), OUTSIDE).expect("a file");
    // Absolute ones and relative ones are the guest's to follow, in the guest.
    let _ = symlink("../outside", folder.join("link"));
    let _ = symlink(scratch, folder.join("a/up"));
    let options = Options { writable: first & 1 == 1, ..Options::default() };
    let mut server = Server::new(&folder, options).expect("a server");
    while let Some((&[operation, node, length], after)) = rest.split_first_chunk() {
        let (body, after) = after.split_at(after.len().min(usize::from(length)));
        rest = after;
        let Ok(reply) = server.answer(&message(operation, node, body)) else { continue };
        let reply = reply.unwrap_or_default();
        assert!(reply.len() <= share::LARGEST_MESSAGE);
        assert!(!reply.windows(OUTSIDE.len()).any(|part| part == OUTSIDE));
    }
    // As they came, the bytes are hardly ever a request.
    let _ = server.answer(bytes);
    assert_eq!(fs::read(scratch.join("outside")).expect("it is there"), OUTSIDE);
    assert_eq!(fs::read_dir(scratch).expect("it is there").count(), 2, "something is new beside the folder");
}

fn message(operation: u8, node: u8, body: &[u8]) -> Vec<u8> {
    let mut message = ((40 + body.len()) as u32).to_le_bytes().to_vec();
    message.extend(u32::from(operation).to_le_bytes());
    message.extend(7u64.to_le_bytes());
    message.extend(u64::from(node).to_le_bytes());
    message.extend([0; 16]);
    message.extend(body);
    message
}
