// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::call::Call;
use crate::harness::{Context, KERNEL, Slot, USUAL, in_context, machine, provision};

/// Each is another FUSE and another overlay: in modules and built in.
const KERNELS: [&str; 4] = ["debian-6.1", "debian-6.1-cloud", "debian-6.12", "debian-6.12-cloud"];

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        machine("share::edits_are_seen_at_once", USUAL, edits_are_seen_at_once),
        machine("share::read_only", USUAL, read_only),
        machine("share::writable", USUAL, writable),
        machine("share::credentials", USUAL, credentials),
        machine("share::of_another_folder", USUAL, of_another_folder),
        machine("share::shell", USUAL, shell),
        machine("share::test_with_this_hosts_tools", USUAL, test_with_this_hosts_tools),
        machine("share::nobody_waits_for_one_that_is_gone", USUAL, nobody_waits_for_one_that_is_gone),
        machine("share::the_end_does_not_wait", USUAL, the_end_does_not_wait),
        machine("share::no_saved_machine_has_one", USUAL, no_saved_machine_has_one),
        machine("share::a_program_with_its_libraries", USUAL, a_program_with_its_libraries),
        machine("share::what_is_no_program", USUAL, what_is_no_program),
    ];
    tests.extend(KERNELS.map(|kernel| {
        Trial::test(format!("share::{kernel}"), move || {
            provision(kernel);
            let _turn = Slot::wait();
            in_context(USUAL, |context| on(context, kernel));
            Ok(())
        })
    }));
    tests
}

/// A command in a machine without a module.
fn run(context: &Context, options: &[&str], command: &[&str]) -> Call {
    context.vexlab(["run", "--no-module", "--kernel", KERNEL]).args(options).arg("--").args(command)
}

/// The option that shares a folder.
fn src(folder: &Path) -> String {
    format!("--src={}", folder.display())
}

/// A folder to share.
fn folder(context: &Context) -> PathBuf {
    let folder = context.dir().join("folder");
    fs::create_dir(&folder).expect("a folder");
    folder
}

/// A large file is the same, and this host's programs run and leave nothing behind.
fn on(context: &Context, kernel: &str) {
    let folder = folder(context);
    let large: Vec<u8> = (0..50_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(folder.join("large"), large).unwrap();
    let ours = context.program("sha256sum".as_ref()).arg(folder.join("large")).run();
    let digest = ours.stdout.split(' ').next().expect("a digest");
    let machine = ["run", "--no-module", "--kernel", kernel];
    let script = "sha256sum large; wc -c < large";
    let ended = context.vexlab(machine).args([&src(&folder), "--", "sh", "-c", script]).run();
    assert_eq!(ended.stdout, format!("{digest}  large\n{}\n", 50 << 20), "{ended}");

    let written = format!("/etc/vexlab-{}", std::process::id());
    let script = format!(
        "set -e; /usr/bin/env true; python3 -c 'print(6 * 7)'; echo x > {written}; cat {written}; \
         rm /etc/passwd; ! test -e /etc/passwd; test -r /proc/self/status; test -d /sys/kernel/debug; \
         test -c /dev/null; ls /tmp | wc -l; sha256sum large"
    );
    let ended =
        context.vexlab(machine).args(["--root", "host", &src(&folder), "--", "bash", "-c", &script]).run();
    assert_eq!(ended.stdout, format!("42\nx\n0\n{digest}  large\n"), "{ended}");
    assert_eq!(ended.status, 0, "{ended}");
    assert!(!Path::new(&written).exists() && Path::new("/etc/passwd").exists());
}

/// The machine looks until it sees what the host has done; then all of it is there.
fn edits_are_seen_at_once(context: &Context) {
    let folder = folder(context);
    let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
    write("file", "one\n");
    let script = "
        await() { echo $1; until test -e $1; do usleep 10000; done; }
        cat file; await changed
        cat file; wc -c < file; await replaced
        cat file; await removed
        test -e file || echo gone; ls";
    let running = run(context, &[&src(&folder)], &["sh", "-c", script]).start();
    let told = |text: &str| context.wait_until(text, USUAL, || running.stdout().ends_with(text));
    told("one\nchanged\n");
    write("file", "one and two\n");
    write("changed", "");
    told("one and two\n12\nreplaced\n");
    write("other", "3\n");
    fs::rename(folder.join("other"), folder.join("file")).unwrap();
    write("replaced", "");
    told("3\nremoved\n");
    fs::remove_file(folder.join("file")).unwrap();
    write("removed", "");
    let ended = running.wait();
    assert!(ended.stdout.ends_with("removed\ngone\nchanged\nremoved\nreplaced\n"), "{ended}");
}

fn read_only(context: &Context) {
    let folder = folder(context);
    fs::write(folder.join("file"), "content").unwrap();
    let script = "for what in 'touch new' 'rm file' 'mkdir d' 'mv file f' 'ln -s a b' 'chmod 777 file' 'truncate -s 0 file'
        do $what 2>&1 | grep -c 'Read-only file system'; done; mount -o remount,rw /src; touch new";
    let ended = run(context, &[&src(&folder)], &["sh", "-c", script]).run();
    assert_eq!(ended.stdout, "1\n".repeat(7), "{ended}");
    assert!(ended.status != 0 && ended.stderr.contains("touch: new: Read-only file system"), "{ended}");
    assert_eq!(fs::read_to_string(folder.join("file")).unwrap(), "content");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

/// A program is compiled in the machine, by this host's compiler, in this host's folder.
fn writable(context: &Context) {
    let folder = folder(context);
    fs::write(folder.join("hello.c"), "#include <stdio.h>\nint main(void) { puts(\"hello\"); }\n").unwrap();
    let script = "set -e; gcc -o hello hello.c; ./hello > out; mkdir d; mv out d/moved; ln -s d/moved link; \
                  cat link; chmod 750 d; touch -d @1000000000 hello.c; echo more >> d/moved; rm hello; \
                  truncate -s 3 d/moved; ls -n d/moved | cut -d' ' -f3,4";
    let ended = run(context, &["--root", "host", "--rw", &src(&folder)], &["bash", "-c", script]).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "hello\n0 0\n"), "{ended}");
    assert_eq!(fs::read_to_string(folder.join("link")).unwrap(), "hel");
    assert_eq!(fs::metadata(folder.join("d")).unwrap().permissions().mode() & 0o777, 0o750);
    let modified = fs::metadata(folder.join("hello.c")).unwrap().modified().unwrap();
    assert_eq!(modified, std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000));
    assert!(!folder.join("hello").exists());
}

/// What is left out is not there, by whatever way: its own name, a link, `..`, or a hard link.
fn credentials(context: &Context) {
    let home = folder(context);
    let secrets = [
        ".ssh/id_ed25519",
        ".gnupg/key",
        ".aws/credentials",
        ".kube/config",
        ".docker/config.json",
        ".config/gcloud/key",
        ".config/gh/hosts.yml",
        ".netrc",
        ".git-credentials",
        ".cargo/credentials.toml",
        ".npmrc",
        ".pypirc",
        ".password-store/x",
        ".mozilla/x",
    ];
    for secret in secrets {
        let path = home.join(secret);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "secret").unwrap();
    }
    fs::write(home.join(".cargo/config.toml"), "public\n").unwrap();
    symlink(".ssh", home.join("link")).unwrap();
    fs::hard_link(home.join(".netrc"), home.join("hard")).unwrap();
    let script = format!(
        "for path in {} .ssh .cargo/../.ssh link/id_ed25519 hard; do test -e $path && echo $path; done; \
         cat .cargo/config.toml; ls -a; find . -type f; mkdir .ssh || echo refused; cp .cargo/config.toml .netrc || echo refused",
        secrets.join(" ")
    );
    let ended = run(context, &["--rw", &src(&home)], &["sh", "-c", &script]).env("HOME", &home).run();
    let expected = "public\n.\n..\n.cargo\n.config\nlink\n./.cargo/config.toml\nrefused\nrefused\n";
    assert_eq!(ended.stdout, expected, "{ended}");

    let script = "for path in /etc/shadow /etc/ssl/private /etc/ssh/ssh_host_* ~/.ssh ~/.gnupg; do
            test -e $path && echo $path; done; ls -A /run /tmp | grep -v :; ls /proc | grep -c ^1$";
    let ended = run(context, &["--root", "host"], &["bash", "-c", script]).run();
    assert_eq!(ended.stdout, "\n1\n", "{ended}");
}

fn of_another_folder(context: &Context) {
    let ended = run(context, &["--src=/no/such/folder"], &["true"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: the folder /no/such/folder can't be shown at /src
      cause: No such file or directory (os error 2)
    ");
}

/// A shell in a project begins at its source.
fn shell(context: &Context) {
    let dir = context.case("good_c");
    let ended = context.vexlab(["shell"]).dir(&dir).input(b"pwd; ls vexlab.toml; cat /proc/modules").run();
    assert!(ended.stdout.starts_with("/src\nvexlab.toml\ngood_c "), "{ended}");
}

/// A project's own tests may use what is installed here.
fn test_with_this_hosts_tools(context: &Context) {
    let dir = context.case("good_c");
    let mut manifest = fs::read_to_string(dir.join("vexlab.toml")).unwrap();
    manifest.push_str("\n[[test]]\nname = \"python\"\nrun = [\"python3\", \"-c\", \"import json\"]\n");
    fs::write(dir.join("vexlab.toml"), manifest).unwrap();
    let ended = context.vexlab(["test", "--root", "host"]).dir(&dir).run();
    assert!(ended.stdout.contains("ok   python"), "{ended}");
    assert_eq!(ended.status, 0, "{ended}");
}

/// The kernel ends the connection, as it does when nobody serves it any more.
fn nobody_waits_for_one_that_is_gone(context: &Context) {
    let folder = folder(context);
    fs::write(folder.join("file"), "content").unwrap();
    let script = "cat file; mount -t fusectl none /mnt; for end in /mnt/*/abort; do echo 1 > $end; done; cat file; ls /src; true";
    let ended = run(context, &[&src(&folder)], &["sh", "-c", script]).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "content"), "{ended}");
    assert_eq!(ended.stderr.matches("Transport endpoint is not connected").count(), 2, "{ended}");
}

/// What is still being read when the command has ended holds nothing up.
fn the_end_does_not_wait(context: &Context) {
    let folder = folder(context);
    fs::File::create(folder.join("large")).unwrap().set_len(1 << 40).unwrap();
    let script = "cat large > /dev/null & echo ends";
    let ended = run(context, &[&src(&folder)], &["sh", "-c", script]).run();
    assert_eq!((ended.status, ended.stdout.as_str()), (0, "ends\n"), "{ended}");
}

fn no_saved_machine_has_one(context: &Context) {
    let cache = context.own_cache();
    let folder = folder(context);
    let boots = run(context, &[&src(&folder)], &["pwd"]).env("XDG_CACHE_HOME", &cache).run();
    assert_eq!(boots.stdout, "/src\n", "{boots}");
    let script = "pwd; ls -d /src /vexlab/host; grep -c fuse /proc/mounts";
    let restored = run(context, &[], &["sh", "-c", script]).env("XDG_CACHE_HOME", &cache).run();
    assert_eq!(restored.stdout, "/\n0\n", "{restored}");
}

fn a_program_with_its_libraries(context: &Context) {
    let dir = context.dir();
    fs::write(dir.join("p.c"), "#include <stdio.h>\nint main(int c, char **v) { puts(v[1]); return 7; }\n")
        .unwrap();
    for (name, option) in [("dynamic", "-O1"), ("static", "-static")] {
        let built = context.program("gcc".as_ref()).args([option, "-o", name, "p.c"]).run();
        assert_eq!(built.status, 0, "{built}");
        for path in [format!("./{name}"), dir.join(name).display().to_string()] {
            let ended = run(context, &[], &[&path, "was run"]).run();
            assert_eq!((ended.status, ended.stdout.as_str()), (7, "was run\n"), "{path}: {ended}");
        }
    }
    fs::write(dir.join("script"), "#!/bin/sh\necho script\nls /usr/bin /etc").unwrap();
    fs::set_permissions(dir.join("script"), fs::Permissions::from_mode(0o755)).unwrap();
    let ended = run(context, &[], &["./script"]).run();
    // Nothing came with it but itself.
    assert_eq!(ended.stdout, "script\n/etc:\ngroup\npasswd\n", "{ended}");
}

fn what_is_no_program(context: &Context) {
    let dir = context.dir();
    let put = |name: &str, content: &[u8], mode: u32| {
        fs::write(dir.join(name), content).unwrap();
        fs::set_permissions(dir.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    put("script", b"#!/usr/bin/perl -w\n", 0o755);
    put("plain", b"#!/bin/sh\n", 0o644);
    put("text", b"text", 0o755);
    let mut other = fs::read("/proc/self/exe").unwrap();
    other[18..20].copy_from_slice(&[0xb7, 0]); // EM_AARCH64
    put("other", &other, 0o755);
    let told = |name: &str| {
        let ended = run(context, &[], &[name]).run();
        assert_eq!(ended.status, 2, "{ended}");
        ended.told()
    };
    insta::assert_snapshot!(told("./missing"), @r"
    status 2
    error: ./missing can't be run
      cause: No such file or directory (os error 2)
    ");
    insta::assert_snapshot!(told("./script"), @r"
    status 2
    error: ./script is a script for /usr/bin/perl, which the machine's own file system lacks
      help: run it with --root host
    ");
    insta::assert_snapshot!(told("./plain"), @r"
    status 2
    error: ./plain is not executable
      help: chmod +x ./plain
    ");
    insta::assert_snapshot!(told("./text"), @r"
    status 2
    error: ./text is neither an ELF program nor a script
    ");
    insta::assert_snapshot!(told("./other"), @r"
    status 2
    error: ./other can't be run: it is no program for x86-64
    ");
    insta::assert_snapshot!(told(".//"), @r"
    status 2
    error: .// is not a file
    ");
}
