// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::environment::{Machines, SOON};
use crate::harness::{Context, USUAL, machine, names_in};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("copies::there_and_back", USUAL, there_and_back),
        machine("copies::what_fails", USUAL, what_fails),
        machine("copies::interrupted", USUAL, interrupted),
        machine("copies::from_a_liar", USUAL, from_a_liar),
    ]
}

/// A folder with all kinds of things in it.
fn tree(dir: &Path) {
    fs::create_dir_all(dir.join("sub/empty")).expect("a folder");
    fs::write(dir.join("run"), "#!/bin/sh\n").expect("a file");
    fs::write(dir.join("sub/large"), vec![7; 3_000_000]).expect("a file");
    fs::write(dir.join("sub/-name with spaces"), "").expect("a file");
    fs::set_permissions(dir.join("run"), fs::Permissions::from_mode(0o751)).expect("a mode");
    fs::set_permissions(dir.join("sub/large"), fs::Permissions::from_mode(0o400)).expect("a mode");
    fs::set_permissions(dir.join("sub/empty"), fs::Permissions::from_mode(0o700)).expect("a mode");
    symlink("../run", dir.join("sub/link")).expect("a link");
    symlink("/nowhere", dir.join("far")).expect("a link");
}

/// Every name below a folder, with its mode, its size and where it links to.
fn listed(context: &Context, dir: &Path) -> String {
    let find = [".", "-type", "f", "-printf", "%P %M %s\n", "-o", "-printf", "%P %M %l\n"];
    let ended = context.program("find".as_ref()).args(find).dir(dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let mut lines: Vec<_> = ended.stdout.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

fn there_and_back(context: &Context) {
    let machines = Machines::with_one(context);
    let copy = |from: &str, to: &str| {
        let ended = machines.run(&["cp", from, to]);
        assert_eq!(ended.told(), "status 0", "{ended}");
    };
    let (tree_here, back) = (context.dir().join("tree"), context.dir().join("back"));
    tree(&tree_here);
    // By a new name; into a folder; over what is there.
    copy("tree", "x:/tmp/other");
    copy("tree/", "x:/tmp");
    copy("tree", "x:tmp/");
    assert_eq!(machines.prints(&["ls", "/tmp"]), "other\ntree\n");
    copy("x:/tmp/other", "back");
    assert_eq!(listed(context, &back), listed(context, &tree_here));
    copy("x:/tmp/tree/", "back");
    assert_eq!(listed(context, &back.join("tree")), listed(context, &tree_here));
    assert_eq!(machines.prints(&["stat", "-c", "%a %u", "/tmp/tree/run"]), "751 0\n");
    // Single files, over what is there.
    fs::write(context.dir().join("-f"), "new").expect("a file");
    copy("./-f", "x:/tmp/tree/run");
    assert_eq!(machines.prints(&["cat", "/tmp/tree/run"]), "new");
    copy("x:/tmp/tree/run", "back/run");
    copy("x:/tmp/tree/sub/-name with spaces", "back");
    copy("x:/tmp/tree/far", "back/far");
    assert_eq!(fs::read_to_string(back.join("run")).expect("it was copied"), "new");
    assert!(back.join("-name with spaces").exists() && back.join("far").is_symlink());
}

fn what_fails(context: &Context) {
    let machines = Machines::with_one(context);
    tree(&context.dir().join("tree"));
    let told = |from: &str, to: &str| machines.run(&["cp", from, to]).told();
    insta::assert_snapshot!(told("x:/none", "."), @r"
    status 2
    error: there is no /none in the machine x
    ");
    insta::assert_snapshot!(told("x:/etc/passwd", "none/file"), @r"
    status 2
    error: there is no folder none here
      help: make it first
    ");
    insta::assert_snapshot!(told("x:/etc/passwd", "none/"), @r"
    status 2
    error: there is no folder none/ here
      help: make it first
    ");
    insta::assert_snapshot!(told("x:/", "."), @r"
    status 2
    error: / in the machine x can't be copied as a whole
      help: name something in it
    ");
    insta::assert_snapshot!(told("x:/dev/null", "."), @r"
    status 20
    error: copy x:/dev/null to .
      cause: unpack ./null
      cause: it is neither a file, a folder nor a link, and is not made here
    ");
    insta::assert_snapshot!(told("tree", "x:/none/tree"), @r"
    status 2
    error: there is no folder /none in the machine x
      help: `vexlab exec x -- mkdir -p /none` makes it
    ");
    insta::assert_snapshot!(told("tree/run", "x:/none/"), @r"
    status 2
    error: there is no folder /none in the machine x
      help: `vexlab exec x -- mkdir -p /none` makes it
    ");
    insta::assert_snapshot!(told("tree", "x:/etc/passwd"), @r"
    status 2
    error: /etc/passwd in the machine x is no folder
    ");
    insta::assert_snapshot!(told("tree/run", "y:/"), @r"
    status 2
    error: there is no machine called y
      help: `vexlab up y` starts one; `vexlab ps` lists those that are there
    ");
    machines.prints(&["sh", "-c", "mkdir /tmp/small; mount -t tmpfs -o size=1M none /tmp/small"]);
    insta::assert_snapshot!(told("tree/sub/large", "x:/tmp/small"), @r"
    status 20
    error: copy tree/sub/large to x:/tmp/small: tar failed in the machine
      cause: tar: write error: No space left on device
    ");
    assert_eq!(names_in(&context.dir()).iter().filter(|name| *name != "tree" && *name != "cache").count(), 0);
    assert_eq!(machines.prints(&["echo", "here"]), "here\n");
}

/// Nobody waits for the rest, on either side.
fn interrupted(context: &Context) {
    let machines = Machines::with_one(context);
    machines.prints(&["touch", "/tmp/file"]);
    // Its tar never comes to an end.
    machines.prints(&["sh", "-c", "rm /bin/tar; printf '#!/bin/sh\\necho begun > /dev/kmsg; exec sleep 600' > /bin/tar; chmod +x /bin/tar"]);
    let running = machines.call(&["cp", "x:/tmp/file", "."]).start();
    let logs = || machines.run(&["logs", "x"]).stdout;
    context.wait_until("it has begun", SOON, || logs().contains("begun"));
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    context.wait_until("tar has ended", SOON, || machines.exec(&["pidof", "sleep"]).run().status == 1);
}

/// What comes from the machine's tar is not believed.
fn from_a_liar(context: &Context) {
    let machines = Machines::with_one(context);
    let dir = context.dir();
    fs::create_dir_all(dir.join("inner/place")).expect("a folder");
    fs::write(dir.join("inner/evil"), "evil").expect("a file");
    let tar = ["-c", "-P", "-f", "evil.tar", "--transform", "s,^inner,../inner,", "inner/evil"];
    let packed = context.program("tar".as_ref()).args(tar).run();
    assert_eq!(packed.status, 0, "{packed}");
    fs::remove_file(dir.join("inner/evil")).expect("it was there");
    assert_eq!(machines.run(&["cp", "evil.tar", "x:/tmp/evil.tar"]).status, 0);
    machines.prints(&[
        "sh",
        "-c",
        "rm /bin/tar; printf '#!/bin/sh\\nexec cat /tmp/evil.tar\\n' > /bin/tar; chmod +x /bin/tar",
    ]);
    let ended = machines.call(&["cp", "x:/tmp/evil.tar", "."]).dir(&dir.join("inner/place")).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    error: copy x:/tmp/evil.tar to .
      cause: unpack ../inner/evil
      cause: ../inner/evil is not what was asked for
    ");
    assert!(!dir.join("inner/evil").exists());
    assert_eq!(names_in(&dir.join("inner/place")), [""; 0]);
}
