// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::harness::{Context, KERNEL, USUAL, copy, machine, names_in, plain};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        machine("kernels::build_tree", Duration::from_secs(180), build_tree),
        plain("kernels::folder_that_is_no_build_tree", USUAL, folder_that_is_no_build_tree),
        plain("kernels::host_without_parts", USUAL, host_without_parts),
    ]
}

/// A build tree, put together from what a distribution's kernel is made of.
pub(crate) fn tree_of(context: &Context) -> PathBuf {
    let shown = context.vexlab(["kernel", "show", KERNEL]).run();
    let part = |name: &str| {
        let line = shown.stdout.lines().find_map(|line| line.strip_prefix(name));
        PathBuf::from(line.unwrap_or_else(|| panic!("{name} is shown; {shown}")).trim())
    };
    let (headers, modules) = (part("build "), part("modules "));
    let tree = context.dir().join("linux");
    // Debian's headers find their other half beside them.
    link_all(headers.parent().expect("the headers are in a folder"), &context.dir(), "");
    link_all(&headers, &tree, "arch");
    link_all(&headers.join("arch"), &tree.join("arch"), "x86");
    link_all(&headers.join("arch/x86"), &tree.join("arch/x86"), "boot");
    let release = modules.file_name().expect("the modules are in a folder").to_string_lossy().into_owned();
    let root = modules.ancestors().nth(3).expect("the modules are in lib/modules");
    fs::create_dir(tree.join("arch/x86/boot")).expect("a folder in the tree");
    let image = root.join("boot").join(format!("vmlinuz-{release}"));
    symlink(image, tree.join("arch/x86/boot/bzImage")).expect("a link in the tree");
    for folder in ["drivers/virtio", "drivers/char"] {
        fs::create_dir_all(tree.join(folder)).expect("a folder in the tree");
        copy(&modules.join("kernel").join(folder), &tree.join(folder));
    }
    tree
}

/// Makes a folder with links to all that is in another, but for one name.
fn link_all(from: &Path, to: &Path, but: &str) {
    fs::create_dir_all(to).expect("a folder in the tree");
    for name in names_in(from).into_iter().filter(|name| name != but) {
        symlink(from.join(&name), to.join(&name)).expect("a link in the tree");
    }
}

fn build_tree(context: &Context) {
    let tree = tree_of(context);
    let dir = context.case("good_c");
    let ended = context.vexlab(["test", "--kernel"]).arg(&tree).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains(&format!("passed: good_c on {}", tree.display())), "{ended}");
}

fn folder_that_is_no_build_tree(context: &Context) {
    let dir = context.case("good_c");
    let ended = context.vexlab(["test", "--kernel", "/nowhere/linux"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: there is no kernel build tree at /nowhere/linux
      cause: No such file or directory (os error 2)
    ");
    let ended = context.vexlab(["test", "--kernel"]).arg(&dir).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: [DIR]/good_c is no kernel build tree: it has no Makefile
      help: name the folder in which a kernel was built
    ");
}

/// In a mount namespace the machine's own modules are out of sight, if it has any.
fn host_without_parts(context: &Context) {
    let dir = context.case("good_c");
    let script = "test ! -d /lib/modules || mount -t tmpfs tmpfs /lib/modules || exit 99; exec \"$@\"";
    let ended = context
        .program("unshare".as_ref())
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .args([env!("CARGO_BIN_EXE_vexlab"), "build", "--kernel", "host"])
        .dir(&dir)
        .run();
    assert_eq!(ended.status, 20, "{ended}");
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").expect("a kernel has a release");
    let error = format!("error: the running kernel {} has no modules here: /lib/modules/", release.trim());
    assert!(ended.stderr.contains(&error), "{ended}");
    assert!(ended.stderr.contains("help: apt-get install linux-image-"), "{ended}");
}
