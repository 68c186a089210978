// SPDX-License-Identifier: GPL-2.0
//! 1,000 lookups in a map of 1,000, in the same order as in `bench.c`.

use alloc::collections::BTreeMap;

use ktest::{Bench, kbench, keep};

const KEYS: u64 = 1000;

/// Each key once.
fn key_of(turn: u64) -> u64 {
    turn.wrapping_mul(389) % KEYS
}

#[kbench(name = "tree.btreemap")]
fn btreemap(bench: &mut Bench) {
    let mut map = BTreeMap::new();
    for turn in 0..KEYS {
        map.insert(key_of(turn), turn);
    }
    bench.iter(|| {
        let found = (0..KEYS).filter_map(|turn| map.get(&key_of(turn)));
        keep(found.fold(0, |sum, value| value.wrapping_add(sum)));
    });
}
