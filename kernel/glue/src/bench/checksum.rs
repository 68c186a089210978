// SPDX-License-Identifier: GPL-2.0
//! CRC-32C (Castagnoli), eight bytes at a time: the way of the kernel's `lib/crc32.c`.

use ktest::{Bench, Test, kbench, keep, ktest};

use crate::c;

/// The polynomial 0x1EDC6F41, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// What each byte comes to that is so many bytes before the last of eight.
static TABLES: [[u32; 256]; 8] = tables();

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut byte = 0;
        while byte < 256 {
            let crc: u32 = tables[table - 1][byte];
            tables[table][byte] = (crc >> 8) ^ tables[0][(crc & 255) as usize];
            byte += 1;
        }
        table += 1;
    }
    tables
}

#[inline(never)]
fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    let (words, rest) = bytes.as_chunks::<8>();
    let crc = words.iter().fold(crc, |crc, word| {
        let [b0, b1, b2, b3, b4, b5, b6, b7] = (u64::from_le_bytes(*word) ^ u64::from(crc)).to_le_bytes();
        let [t0, t1, t2, t3, t4, t5, t6, t7] = &TABLES;
        let at = |table: &[u32; 256], byte: u8| table[usize::from(byte)];
        at(t7, b0) ^ at(t6, b1) ^ at(t5, b2) ^ at(t4, b3) ^ at(t3, b4) ^ at(t2, b5) ^ at(t1, b6) ^ at(t0, b7)
    });
    rest.iter().fold(crc, |crc, byte| (crc >> 8) ^ TABLES[0][usize::from(crc as u8 ^ byte)])
}

/// The same by the kernel.
fn kernels_crc32c(bytes: &[u8]) -> u32 {
    // SAFETY: needed to call C. Pointer and length are those of a slice, which C only reads.
    unsafe { c::vexfs_c_bench_crc32c(bytes.as_ptr(), bytes.len()) }
}

#[ktest(name = "crc32c.as_the_kernel", of = "vexfs_c_bench_crc32c: good edge")]
fn as_the_kernel(test: &mut Test) {
    let bytes: [u8; 300] = core::array::from_fn(|index| index as u8);
    for len in [0, 1, 7, 8, 9, 300] {
        let bytes = bytes.get(..len).unwrap_or_default();
        if crc32c(!0, bytes) != kernels_crc32c(bytes) {
            test.fail_bytes(b"it is not what the kernel computes");
        }
    }
}

#[kbench(name = "crc32c.rust")]
fn rust(bench: &mut Bench) {
    let bytes: &[u8] = core::hint::black_box(&[0; 4096]);
    bench.iter(|| keep(crc32c(ktest::hide(u32::MAX.into()) as u32, bytes).into()));
}
