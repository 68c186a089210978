// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::path::PathBuf;

use libtest_mimic::Trial;

use crate::command_line::{path_with_fake_qemu, real_qemu};
use crate::harness::{Context, KERNEL, USUAL, machine};

/// The note that a user reads when KVM is of no use.
const NOTE: &str = "KVM can't be used, so machines are emulated: ";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("accelerator::kvm_that_boots_nothing", USUAL, kvm_that_boots_nothing),
        machine("accelerator::kvm_that_is_insisted_on", USUAL, kvm_that_is_insisted_on),
    ]
}

/// An emulator under whose KVM nothing ever happens, as with some nested virtualisation; it works otherwise.
/// It notes its calls with KVM in a file.
fn path_without_kvm(context: &Context) -> (String, PathBuf) {
    let calls = context.dir().join("calls");
    let script = format!(
        "#!/bin/sh\ncase \"$*\" in *accel=kvm*) echo >> {}; exec sleep 600;; esac\nexec {} \"$@\"\n",
        calls.display(),
        real_qemu().display()
    );
    (path_with_fake_qemu(context, &script), calls)
}

/// It is tried once, told once, and not tried again. Where the device can't even be opened it isn't tried.
fn kvm_that_boots_nothing(context: &Context) {
    let (path, calls) = path_without_kvm(context);
    let cache = context.own_cache();
    let run = || {
        let call = context.vexlab(["run", "--no-module", "--kernel", KERNEL, "--", "echo", "here"]);
        let ended = call.env("PATH", &path).env("XDG_CACHE_HOME", &cache).run();
        assert_eq!((ended.status, ended.stdout.as_str()), (0, "here\n"), "{ended}");
        ended.stderr.matches(NOTE).count()
    };
    assert_eq!(run(), 1, "the reason is told");
    assert_eq!(run(), 0, "and not told again");
    let device = fs::File::options().read(true).write(true).open("/dev/kvm").is_ok();
    let tried = fs::read_to_string(calls).unwrap_or_default().lines().count();
    assert_eq!(tried, usize::from(device));
}

/// There is no silent fall-back for one who asks for KVM by name.
fn kvm_that_is_insisted_on(context: &Context) {
    let (path, _) = path_without_kvm(context);
    let dir = context.case("good_c");
    let manifest = dir.join("vexlab.toml");
    let text = fs::read_to_string(&manifest).expect("the case has one");
    fs::write(&manifest, format!("{text}\n[timeouts]\nboot = 1\n")).expect("the copy can be written");
    let ended = context.vexlab(["test", "--accel", "kvm"]).env("PATH", path).dir(&dir).run();
    assert_eq!(ended.status, 20, "{ended}");
    assert!(ended.stderr.contains("the machine did not boot: it said nothing"), "{ended}");
    assert!(ended.stderr.contains("help: try `--accel tcg`"), "{ended}");
}
