// SPDX-License-Identifier: GPL-2.0-only
//! What is done with untrusted bytes: a function for each target. The fuzzer calls them, and so does a test of the main
//! workspace (`crates/ko/tests/corpus.rs`), with all that the fuzzer ever found.
#![forbid(unsafe_code)]

use std::sync::LazyLock;

use ko::{Allowance, Answer, Exports, Kernel, Options, OwnModule, Policy, Symbolised, TracePlace};

/// The target of a name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    Some(match name {
        "check" => check,
        "relax" => relax,
        "archive" => archive,
        "kernel" => kernel,
        "symbolise" => symbolise,
        _ => return None,
    })
}

/// The names of all targets.
pub const TARGETS: [&str; 5] = ["check", "relax", "archive", "kernel", "symbolise"];

/// A module, judged by kernels with each form of the loader and with every option, and asked for what its tests say.
pub fn check(bytes: &[u8]) {
    for kernel in &*KERNELS {
        let report = ko::check(kernel, bytes, &POLICY);
        let findings = report.findings().chain(report.allowed.iter().map(|one| &one.finding));
        // More than the findings of all rules take.
        assert!(findings.map(|one| one.to_string().len()).sum::<usize>() < 64 << 20);
        assert_eq!(report.is_refused(), report.first().is_some());
    }
    let interface = ["init_module", "cleanup_module", "kfree"].into();
    let _ = ko::with_boundary(bytes, |boundary| {
        let _ = boundary.claims(&interface, &["init_module"].into());
        boundary.ways(&["init_module"].into(), &interface)
    });
}

/// An object to be relaxed. What was relaxed has nothing left to relax.
pub fn relax(bytes: &[u8]) {
    let Ok(relaxed) = ko::relax(bytes) else { return };
    assert_eq!(relaxed.bytes.len(), bytes.len());
    for one in &relaxed.kept {
        let _ = one.to_string();
    }
}

/// A static library, and an object.
pub fn archive(bytes: &[u8]) {
    let _ = ko::exports(bytes);
    let _ = ko::undefined(bytes);
}

/// What a kernel is described by: its image, one of its modules, what it exports.
pub fn kernel(bytes: &[u8]) {
    let _ = ko::builtin_in_sysfs(bytes);
    let _ = OwnModule::read(bytes);
    let _ = Exports::parse(&String::from_utf8_lossy(bytes));
}

/// A module that has crashed, asked for places in its sources.
pub fn symbolise(bytes: &[u8]) {
    let Ok(file) = Symbolised::read(bytes) else { return };
    let index = file.index();
    for (symbol, size) in file.symbols().take(64) {
        for offset in 0..size.min(32) {
            let place = TracePlace { symbol, offset, size, exact: offset % 2 == 0 };
            if let Answer::Found(places) = index.find(&place) {
                assert!(!places.is_empty() && places.iter().all(|place| place.function.len() < 1100));
            }
        }
    }
}

static KERNELS: LazyLock<Vec<Kernel>> = LazyLock::new(|| {
    let symvers = "0x11111111\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x22222222\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x33333333\tkernel_fpu_begin_mask\tvmlinux\tEXPORT_SYMBOL_GPL\t\n\
                   0x66666666\tmemset\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x77777777\tjiffies\tvmlinux\tEXPORT_SYMBOL\t\n\
                   0x88888888\tdma_buf_get\tdrivers/dma-buf/dma-buf\tEXPORT_SYMBOL_GPL\tDMA_BUF\n";
    let exports = Exports::parse(symvers).expect("the table is one");
    let kernel = |release: &str, value: Option<&str>| Kernel {
        name: release.to_owned(),
        release: release.to_owned(),
        vermagic: Some("6.12.1 SMP mod_unload modversions ".to_owned()),
        this_module_size: Some(1280),
        exports: exports.clone(),
        options: Options::new(|name| match name {
            "CONFIG_MODULE_SIG_FORCE" => None,
            "CONFIG_FRAME_WARN" => Some("1024"),
            _ => value,
        }),
        builtin: ["virtio".to_owned()].into(),
        in_sysfs: ["printk".to_owned()].into(),
        modules: ["fuse".to_owned()].into(),
        loaded: ["virtio_mmio".to_owned()].into(),
    };
    vec![kernel("6.1.0", Some("y")), kernel("6.12.1", Some("y")), kernel("6.13.0", None)]
});

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    functions: vec!["init_module".to_owned()],
    max_size: Some(1 << 20),
    max_stack: Some(4096),
    partial: false,
    allowances: vec![Allowance {
        rule: "vector-registers".to_owned(),
        symbol: Some("init_module".to_owned()),
        reason: "a test".to_owned(),
    }],
});
