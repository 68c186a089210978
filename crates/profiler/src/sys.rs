// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's interface for plugins, and what it calls.
//!
//! Unsafe code is needed because QEMU calls C functions of ours and is asked by C functions of its own. What is declared
//! here is version 3 of its interface, which QEMU has since 9.1. Version 1 would be enough by its letter, but QEMU 7.2 does
//! not tell of each return.
//!
//! Source: `include/qemu/qemu-plugin.h` of QEMU 10.0.
#![allow(unsafe_code, reason = "QEMU calls C functions and has C functions; everything else is safe")]

use std::cell::RefCell;
use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::fs;
use std::sync::OnceLock;

use crate::instruction::{Does, does};
use crate::recorder::{Block, Recorder};

/// The interface that this was made for.
#[unsafe(no_mangle)]
pub(crate) static qemu_plugin_version: c_int = 3;

/// Callbacks look at no registers.
const NO_REGISTERS: c_int = 0;
const READ: c_int = 1;
const WRITE: c_int = 2;

/// The longest instruction, in bytes.
const LONGEST: usize = 15;

#[repr(C)]
struct Tb {
    _opaque: [u8; 0],
}

#[repr(C)]
struct Insn {
    _opaque: [u8; 0],
}

type Translated = extern "C" fn(u64, *mut Tb);
type Executed = extern "C" fn(c_uint, *mut c_void);
type Accessed = extern "C" fn(c_uint, u32, u64, *mut c_void);

unsafe extern "C" {
    fn qemu_plugin_register_vcpu_tb_trans_cb(id: u64, call: Translated);
    fn qemu_plugin_register_vcpu_tb_exec_cb(tb: *mut Tb, call: Executed, flags: c_int, data: *mut c_void);
    fn qemu_plugin_register_vcpu_insn_exec_cb(
        insn: *mut Insn,
        call: Executed,
        flags: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_register_vcpu_mem_cb(
        insn: *mut Insn,
        call: Accessed,
        flags: c_int,
        access: c_int,
        data: *mut c_void,
    );
    fn qemu_plugin_tb_n_insns(tb: *const Tb) -> usize;
    fn qemu_plugin_tb_vaddr(tb: *const Tb) -> u64;
    fn qemu_plugin_tb_get_insn(tb: *const Tb, index: usize) -> *mut Insn;
    fn qemu_plugin_insn_data(insn: *const Insn, to: *mut u8, length: usize) -> usize;
    fn qemu_plugin_insn_size(insn: *const Insn) -> usize;
    fn qemu_plugin_insn_vaddr(insn: *const Insn) -> u64;
}

/// The file to write to.
static OUT: OnceLock<String> = OnceLock::new();

thread_local! {
    /// A machine with one processor has one thread that runs it, which is the one that translates.
    static RECORDER: RefCell<Recorder> = RefCell::default();
}

/// QEMU loads the plugin. Gives 0, or 1 when it has no place to write to.
///
/// # Safety
///
/// As QEMU calls it: `arguments` has `count` texts.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn qemu_plugin_install(
    id: u64,
    _: *const c_void,
    count: c_int,
    arguments: *const *const c_char,
) -> c_int {
    let find = |index: usize| {
        // SAFETY: the index is below the count, and each of them is a text that ends with a zero.
        let argument = unsafe { CStr::from_ptr(*arguments.add(index)) };
        argument.to_str().ok()?.strip_prefix("out=").map(str::to_owned)
    };
    let Some(out) = (0..usize::try_from(count).unwrap_or_default()).find_map(find) else { return 1 };
    if OUT.set(out).is_err() {
        return 1;
    }
    // SAFETY: the function has the type that QEMU asks for.
    unsafe { qemu_plugin_register_vcpu_tb_trans_cb(id, translated) };
    0
}

/// An instruction's bytes.
///
/// # Safety
///
/// The instruction is one of the block that is being translated.
unsafe fn bytes_of(insn: *const Insn) -> Vec<u8> {
    // SAFETY: as the caller says.
    let size = unsafe { qemu_plugin_insn_size(insn) }.min(LONGEST);
    let mut bytes = vec![0; size];
    // SAFETY: as above, and there is room for `size` bytes.
    let copied = unsafe { qemu_plugin_insn_data(insn, bytes.as_mut_ptr(), size) };
    bytes.truncate(copied);
    bytes
}

/// A block was translated: it is to be told when it is executed, and when something in it calls or returns.
extern "C" fn translated(_: u64, tb: *mut Tb) {
    let mut code = Vec::new();
    // SAFETY: the block and its instructions live as long as this call; the numbers that are handed over as pointers
    // are never followed.
    unsafe {
        let (address, count) = (qemu_plugin_tb_vaddr(tb), qemu_plugin_tb_n_insns(tb));
        for index in 0..count {
            let insn = qemu_plugin_tb_get_insn(tb, index);
            let bytes = bytes_of(insn);
            let after = qemu_plugin_insn_vaddr(insn) + bytes.len() as u64;
            let after = std::ptr::without_provenance_mut(after as usize);
            let nothing = std::ptr::null_mut();
            match does(&bytes) {
                Does::Call => qemu_plugin_register_vcpu_mem_cb(insn, called, NO_REGISTERS, WRITE, after),
                Does::Return => qemu_plugin_register_vcpu_mem_cb(insn, returned, NO_REGISTERS, READ, nothing),
                Does::Begin => qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, NO_REGISTERS, nothing),
                Does::End => qemu_plugin_register_vcpu_insn_exec_cb(insn, end, NO_REGISTERS, nothing),
                Does::Other => {}
            }
            code.extend(bytes);
        }
        let block = Block { address, instructions: u32::try_from(count).unwrap_or(u32::MAX), code };
        let number = RECORDER.with_borrow_mut(|recorder| recorder.number(block));
        let number = std::ptr::without_provenance_mut(number as usize);
        qemu_plugin_register_vcpu_tb_exec_cb(tb, executed, NO_REGISTERS, number);
    }
}

extern "C" fn executed(_: c_uint, number: *mut c_void) {
    RECORDER.with_borrow_mut(|recorder| recorder.executed(number.addr() as u32));
}

extern "C" fn called(_: c_uint, _: u32, slot: u64, returns_to: *mut c_void) {
    RECORDER.with_borrow_mut(|recorder| recorder.called(slot, returns_to.addr() as u64));
}

extern "C" fn returned(_: c_uint, _: u32, slot: u64, _: *mut c_void) {
    RECORDER.with_borrow_mut(|recorder| recorder.returned(slot));
}

extern "C" fn begin(_: c_uint, _: *mut c_void) {
    RECORDER.with_borrow_mut(Recorder::begin);
}

/// Writes what was counted, in one step. Where that fails nothing is there, which whoever looks for it tells.
extern "C" fn end(_: c_uint, _: *mut c_void) {
    let Some(text) = RECORDER.with_borrow_mut(Recorder::end) else { return };
    let Some(out) = OUT.get() else { return };
    let part = format!("{out}.part");
    let _ = fs::write(&part, text).and_then(|()| fs::rename(&part, out));
}
