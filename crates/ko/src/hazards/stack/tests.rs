// SPDX-License-Identifier: GPL-2.0-only
//! Frames and chains of assembled code.

use proptest::prelude::*;

use super::*;
use crate::hazards::specimen::{module, report, specimen, with_text};
use crate::image::{Bytes, Image};
use crate::kernel::{Kernel, Loader, Options};

/// The frames of a module's functions by name, and the depth at each instruction of the first.
fn frames(source: &str) -> Vec<(String, Frame)> {
    let bytes = module(source);
    let image = Image::parse(Bytes(&bytes), Loader::Trusting).unwrap();
    let code = Code::new(&image);
    let mut stacks = Stacks::new(&code);
    for function in code.functions() {
        stacks.begin(&code, function);
        code.walk(function, |step| stacks.step(&code, function, step));
        stacks.end(&code, function);
    }
    stacks.parts(&code);
    code.functions().iter().map(|function| code.name(function).into_owned()).zip(stacks.frames).collect()
}

/// The depth of the first function's frame.
fn depth(source: &str) -> i64 {
    frames(&format!("{}{source}", specimen("f"))).swap_remove(0).1.depth
}

/// The depths at the first function's instructions.
fn depths(source: &str) -> Vec<i64> {
    let frame = frames(&format!("{}{source}", specimen("f"))).swap_remove(0).1;
    frame.depths.into_iter().map(|(_, depth)| depth).collect()
}

fn hazards(source: &str, policy: &Policy) -> Vec<(String, String, String)> {
    let report = report(&Kernel::default(), source, policy);
    let wanted = ["red-zone", "stack-frame", "stack-depth", "recursion"];
    let of_stack = report.hazards.iter().filter(|finding| wanted.contains(&finding.rule.name));
    of_stack
        .map(|f| (f.rule.name.to_owned(), f.symbol.clone().unwrap_or_default(), f.message.clone()))
        .collect()
}

fn rules(source: &str) -> Vec<String> {
    hazards(source, &Policy::default()).into_iter().map(|(rule, ..)| rule).collect()
}

#[test]
fn pushes_and_subtractions_are_a_frame() {
    assert_eq!(depth("ret"), 8);
    assert_eq!(depth("push %rbx\n sub $0x20, %rsp\n add $0x20, %rsp\n pop %rbx\n ret"), 48);
    assert_eq!(depths("push %rbp\n mov %rsp, %rbp\n sub $16, %rsp\n leave\n ret"), [8, 16, 16, 32, 8]);
    assert_eq!(
        depths("push %rbp\n mov %rsp, %rbp\n push %rbx\n lea -8(%rbp), %rsp\n pop %rbx\n ret")[4..],
        [24, 16]
    );
    assert_eq!(depth("lea -0x100(%rsp), %rsp\n lea 0x100(%rsp), %rsp\n ret"), 0x108);
    assert_eq!(depth("pushf\n pop %rax\n ret"), 16);
}

#[test]
fn an_aligned_frame_counts_what_it_may_take() {
    let source = "lea 8(%rsp), %r10\n and $-64, %rsp\n push -8(%r10)\n push %rbp\n mov %rsp, %rbp\n push %r10\n \
                  sub $0x60, %rsp\n xor %r10d, %r10d\n add $0x60, %rsp\n pop %r10\n pop %rbp\n lea -8(%r10), %rsp\n ret";
    let depths = depths(source);
    assert_eq!(depths.iter().max(), Some(&(8 + 56 + 24 + 0x60)));
    assert_eq!(depths.last(), Some(&8));
}

#[test]
fn a_frame_that_is_touched_page_by_page_is_whole() {
    let inline = "lea -0x5000(%rsp), %r11\n1: sub $0x1000, %rsp\n orq $0, (%rsp)\n cmp %r11, %rsp\n jne 1b\n \
                  sub $0x10, %rsp\n add $0x5010, %rsp\n ret";
    assert_eq!(depth(inline), 0x5018);
    assert_eq!(
        depth("mov $0x3000, %eax\n call __rust_probestack\n sub %rax, %rsp\n add $0x3000, %rsp\n ret"),
        0x3008
    );
    let (_, frame) = frames(&format!("{}sub %rdi, %rsp\n ret", specimen("f"))).swap_remove(0);
    assert!(frame.is_dynamic);
}

#[test]
fn a_place_has_the_depth_of_the_jumps_that_lead_to_it() {
    // After the return, from before the frame was taken down; and from further down.
    let source = "push %rbx\n test %edi, %edi\n je 1f\n pop %rbx\n ret\n1: nop\n jmp 3f\n2: nop\n pop %rbx\n ret\n \
                  3: nop\n jmp 2b";
    assert_eq!(depths(source), [8, 16, 16, 16, 8, 16, 16, 16, 16, 8, 16, 16]);
    let backwards = "push %rbx\n jmp 2f\n1: nop\n pop %rbx\n ret\n2: push %rax\n pop %rax\n jmp 1b";
    assert_eq!(depths(backwards), [8, 16, 16, 16, 8, 16, 24, 16]);
}

#[test]
fn a_part_kept_elsewhere_has_the_frame_of_its_function() {
    let source = format!(
        "{}push %rbx\n test %edi, %edi\n jne f.cold\n1: pop %rbx\n ret\n .section .text.unlikely, \"ax\"\n{} \
         push %rax\n pop %rax\n jmp 1b",
        specimen("f"),
        specimen("f.cold")
    );
    let frames = frames(&source);
    assert_eq!((&*frames[1].0, frames[1].1.depth), ("f.cold", 24));
    assert_eq!(rules(&source), [""; 0], "back and forth is no circle");
}

#[test]
fn memory_below_the_stack_pointer() {
    let of = |code: &str| rules(&format!("{}{code}", specimen("f")));
    assert_eq!(of("mov %rdi, -8(%rsp)\n ret"), ["red-zone"]);
    assert_eq!(of("push %rbp\n mov %rsp, %rbp\n mov %rdi, -8(%rbp)\n pop %rbp\n ret"), ["red-zone"]);
    assert_eq!(of("mov %rdi, 8(%rsp)\n ret"), [""; 0]);
    assert_eq!(
        of("push %rbp\n mov %rsp, %rbp\n push %rbx\n mov %rdi, -8(%rbp)\n pop %rbx\n pop %rbp\n ret"),
        [""; 0]
    );
    assert_eq!(of("lea -8(%rsp), %rax\n lock addl $0, -4(%rsp)\n ret"), [""; 0], "an address, a barrier");
    assert_eq!(
        of("push %rbp\n mov %rsp, %rbp\n pop %rbp\n mov %rdi, -8(%rbp)\n ret"),
        [""; 0],
        "no frame any more"
    );
    let list =
        "push %rbp\n sub $16, %rsp\n mov %rsp, %rbp\n mov -8(%rbp), %rax\n add $16, %rsp\n pop %rbp\n ret";
    assert_eq!(of(list), [""; 0], "what a list's head would be part of");
}

#[test]
fn large_frames_and_deep_chains() {
    let call = |name: &str, bytes: u64, next: &str| {
        format!("{}sub ${bytes}, %rsp\n call {next}\n add ${bytes}, %rsp\n ret\n", specimen(name))
    };
    let source = [call("a", 2040, "b"), call("b", 2048, "c"), call("c", 100, "kfree")].concat();
    let found = hazards(&source, &Policy::default());
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].0, &*found[0].1), ("stack-frame", "b"));

    let policy = Policy { max_stack: Some(4000), ..Policy::default() };
    let found = hazards(&source, &policy);
    assert_eq!((&*found[1].0, &*found[1].1), ("stack-depth", "a"));
    assert_eq!(
        found[1].2,
        "a → b → c needs 4212 bytes of the stack, and `max-stack` allows 4000; what it calls comes on top: kfree"
    );
    let policy = Policy { max_stack: Some(4212), ..Policy::default() };
    assert_eq!(hazards(&source, &policy).len(), 1);

    let stack = report(&Kernel::default(), &source, &policy).measures.stack.unwrap();
    assert_eq!((stack.depth(), stack.largest), (4212, ("b".to_owned(), 2056)));
    assert_eq!(stack.available, Options::default().stack());
}

#[test]
fn a_jump_at_the_end_takes_the_callers_place() {
    let source = format!(
        "{}sub $100, %rsp\n add $100, %rsp\n jmp b\n{}sub $92, %rsp\n call *%rax\n add $92, %rsp\n ret\n",
        specimen("a"),
        specimen("b")
    );
    let stack = report(&Kernel::default(), &source, &Policy::default()).measures.stack.unwrap();
    assert_eq!(stack.depth(), 108);
    assert_eq!(stack.largest, ("a".to_owned(), 108));
}

#[test]
fn pointers_are_named_and_returns_and_barriers_are_not() {
    let source = format!(
        "{}call __fentry__\n push %rbx\n call __x86_indirect_thunk_rax\n call *%rax\n call kfree\n pop %rbx\n \
         jmp __x86_return_thunk",
        specimen("a")
    );
    let stack = report(&Kernel::default(), &source, &Policy::default()).measures.stack.unwrap();
    assert_eq!(stack.unknown, ["a pointer in a", "kfree"]);
}

#[test]
fn circles() {
    let call = |name: &str, next: &str| format!("{}call {next}\n ret\n", specimen(name));
    let source = [call("a", "c"), call("b", "a"), call("c", "b"), call("z", "b")].concat();
    let found = hazards(&source, &Policy::default());
    let message = "functions call each other in a circle: b → a → c → b";
    assert_eq!(found, [("recursion".to_owned(), "b".to_owned(), message.to_owned())]);
    let stack = report(&Kernel::default(), &source, &Policy::default()).measures.stack.unwrap();
    assert_eq!(stack.depth(), 4 * 8, "each once");

    assert_eq!(hazards(&call("a", "a"), &Policy::default())[0].2, "`a` calls itself");
    let jumps = format!("{}jmp b\n{}jmp a\n", specimen("a"), specimen("b"));
    assert_eq!(rules(&jumps), [""; 0], "jumps take no stack");
    assert_eq!(rules(&[call("a", "b"), call("b", "kfree")].concat()), [""; 0]);
}

#[test]
fn a_chain_may_be_as_deep_as_it_likes() {
    let mut calls = Calls::new(200_000);
    for node in 0..200_000 {
        calls.frame(node, 8);
        calls.edge(node, Edge { to: (node + 1) % 200_000, used: 8, is_call: true });
    }
    let paths = chain::Paths::new(&calls);
    assert_eq!((paths.circles.len(), paths.circles[0].len()), (1, 200_000));
    assert_eq!(paths.deepest(&calls).len(), 200_000);
    assert_eq!(chain::around(&calls, &paths, 7).len(), 200_001);
}

proptest! {
    #[test]
    fn any_bytes_are_followed(bytes in proptest::collection::vec(any::<u8>(), 1..400)) {
        let options = Options { retpoline: true, rethunk: true, sls: true, ibt: true, ..Options::default() };
        let kernel = Kernel { options, ..Kernel::default() };
        let report = crate::check(&kernel, &with_text(&bytes), &Policy::default());
        prop_assert!(report.measures.stack.is_some(), "{:?}", report.refusals);
    }
}
