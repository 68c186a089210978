// SPDX-License-Identifier: GPL-2.0-only
//! What is done with a console's bytes. A file of its own: no other target needs the laboratory.

/// A console, whole, and cut off in its midst.
pub(crate) fn splat(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let splats = lab::splat::parse(&text);
    let lines = text.lines().count() + 1;
    assert!(splats.len() <= lines);
    for splat in &splats {
        assert!(splat.lines.len() <= 450 && splat.trace.len() <= 201);
        let _ = splat.severity();
    }
    let half: String = text.chars().take(text.len() / 2).collect();
    let _ = lab::splat::parse(&half);
}
