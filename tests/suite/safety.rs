// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::harness::{Context, KERNEL, USUAL, machine, names_in};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("safety::the_agent_refuses_a_host", USUAL, the_agent_refuses_a_host),
        machine("safety::the_agent_refuses_a_container", USUAL, the_agent_refuses_a_container),
        machine(
            "safety::nothing_that_is_started_can_load_modules",
            USUAL,
            nothing_that_is_started_can_load_modules,
        ),
    ]
}

/// The agent, taken out of the initramfs that a machine has booted with.
fn agent(context: &Context) -> PathBuf {
    let cache = context.own_cache();
    let ended = context
        .vexlab(["run", "--no-module", "--kernel", KERNEL, "--", "true"])
        .env("XDG_CACHE_HOME", &cache)
        .run();
    assert_eq!(ended.status, 0, "{ended}");
    let folder = cache.join("vexlab/initramfs");
    let names = names_in(&folder);
    let archive = names.iter().find(|name| name.ends_with(".cpio")).expect("the machine had an initramfs");
    let place = context.dir().join("agent");
    fs::write(&place, extract(&folder.join(archive), "init")).expect("the agent can be written");
    fs::set_permissions(&place, fs::Permissions::from_mode(0o755)).expect("and made a program");
    place
}

/// One file of a newc archive (cpio(5)).
fn extract(archive: &Path, wanted: &str) -> Vec<u8> {
    let bytes = fs::read(archive).expect("the archive can be read");
    let mut rest = &bytes[..];
    while rest.starts_with(b"070701") {
        let number = |index: usize| {
            let digits =
                std::str::from_utf8(&rest[6 + 8 * index..14 + 8 * index]).expect("hexadecimal digits");
            usize::from_str_radix(digits, 16).expect("hexadecimal digits")
        };
        let (size, name_size) = (number(6), number(11));
        let content = (110 + name_size).next_multiple_of(4);
        let name = &rest[110..110 + name_size - 1];
        if name.strip_prefix(b"/").unwrap_or(name) == wanted.as_bytes() {
            return rest[content..content + size].to_vec();
        }
        rest = &rest[content + size.next_multiple_of(4)..];
    }
    panic!("{} has no {wanted}", archive.display());
}

fn the_agent_refuses_a_host(context: &Context) {
    let ended = context.program(&agent(context)).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{ended}");
    insta::assert_snapshot!(ended.stderr, @r"vexlab-agent: refused: this is process [PID], not process 1 of a virtual machine");
}

/// The first process of a container is not that of a machine.
fn the_agent_refuses_a_container(context: &Context) {
    let agent = agent(context);
    let namespaces = ["--user", "--map-root-user", "--pid", "--fork"];
    let ended = context.program("unshare".as_ref()).args(namespaces).arg(agent).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (1, ""), "{ended}");
    let refusal = "vexlab-agent: refused: the root file system (type ";
    assert!(ended.stderr.starts_with(refusal), "{ended}");
    assert!(ended.stderr.ends_with("is not an initramfs\n"), "{ended}");
}

/// A program that is called as QEMU tries to load a module into the kernel of the host. There is no file -1,
/// so that nothing would be loaded if it were allowed.
fn nothing_that_is_started_can_load_modules(context: &Context) {
    let fake = context.dir().join("fake");
    fs::create_dir(&fake).expect("a folder for programs");
    let program = fake.join("qemu-system-x86_64");
    let script = "#!/bin/sh\nperl -e 'for (313, 175, 176, 246, 320) { syscall($_, -1, 0, 0, 0, 0); \
                  print STDERR \"$_ gives $!\\n\" }'\nexit 1\n";
    fs::write(&program, script).expect("a program can be written");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("and made one");
    let path = format!("{}:{}", fake.display(), std::env::var("PATH").expect("there is a PATH"));
    let ended = context
        .vexlab(["run", "--no-module", "--accel", "tcg", "--kernel", KERNEL, "--", "true"])
        .env("PATH", path)
        .run();
    assert_eq!(ended.status, 20, "{ended}");
    for call in [313, 175, 176, 246, 320] {
        assert!(ended.stderr.contains(&format!("{call} gives Operation not permitted")), "{ended}");
    }
}
