// SPDX-License-Identifier: GPL-2.0-only
use std::path::Path;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::call::{Call, Ended};
use crate::harness::{Context, KERNEL, USUAL, names_in, plain, provision};
use crate::mirror::{Lie, Mirror, NOBODY, VARIABLE};

/// A kernel is fetched in each of these, through a mirror of ours.
const FETCH: Duration = Duration::from_secs(420);

/// One of the kernel's packages, and neither the first nor the last.
const VICTIM: &str = "linux-headers-6.1.0";

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("packages::second_add_costs_nothing", USUAL, second_add_costs_nothing),
        plain("packages::no_network", USUAL, no_network),
        plain("packages::no_space_left", Duration::from_secs(60), no_space_left),
        plain("packages::forged_lists", USUAL, forged_lists),
        plain("packages::changed_and_truncated_packages", FETCH, changed_and_truncated_packages),
        plain("packages::two_adds_at_once", FETCH, two_adds_at_once),
        plain("packages::add_that_was_killed", FETCH, add_that_was_killed),
        plain("packages::add_that_was_interrupted", FETCH, add_that_was_interrupted),
        plain("packages::damaged_kernel", USUAL, damaged_kernel),
    ]
}

fn add(context: &Context, cache: &Path, mirror: &str) -> Call {
    context.vexlab(["kernel", "add", KERNEL]).env("XDG_CACHE_HOME", cache).env(VARIABLE, mirror)
}

/// Nothing of a kernel is there that wasn't finished.
fn nothing_half_done(cache: &Path, ended: &Ended) {
    for part in ["kernels", "staging"] {
        let names = names_in(&cache.join("vexlab").join(part));
        assert!(names.is_empty(), "{names:?} in {part} after {ended}");
    }
}

/// Neither a server nor any program is needed for it.
fn second_add_costs_nothing(context: &Context) {
    provision(KERNEL);
    let ended = add(context, context.cache(), NOBODY).env("PATH", "/nowhere").run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    debian-6.1-cloud is here: [RELEASE]
    ");
}

fn no_network(context: &Context) {
    let cache = context.empty_cache();
    let ended = add(context, &cache, NOBODY).run();
    // The cause is in apt's words.
    let ours = ended.told().lines().filter(|line| !line.contains("127.0.0.1:9/")).fold(String::new(), joined);
    insta::assert_snapshot!(ours, @r"
    status 20
    error: no package lists of bookworm, bookworm-security to find linux-image-cloud-amd64 in
      help: check that http://127.0.0.1:9 can be reached (VEXLAB_DEBIAN_MIRROR names another mirror), then run the command again: what was fetched before is kept in [DIR]/cache/vexlab/packages
    ");
    assert!(ended.stderr.contains("  cause: Failed to fetch http://127.0.0.1:9/debian/"), "{ended}");
    nothing_half_done(&cache, &ended);
}

fn joined(text: String, line: &str) -> String {
    text + line + "\n"
}

/// The cache is on a file system of a few megabytes, which exists for this one call.
fn no_space_left(context: &Context) {
    let cache = context.empty_cache();
    let script = "mount -t tmpfs -o size=3m tmpfs \"$1\" && shift && exec \"$@\"";
    let ended = context
        .program("unshare".as_ref())
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script, "sh"])
        .arg(&cache)
        .args([env!("CARGO_BIN_EXE_vexlab"), "kernel", "add", KERNEL])
        .env("XDG_CACHE_HOME", &cache)
        .run();
    let allowed = !ended.stderr.contains("unshare:") && !ended.stderr.contains("mount:");
    assert!(allowed, "this test needs user namespaces in which a tmpfs may be mounted; {ended}");
    let text = ended.told();
    assert!(text.starts_with("status 20\n"), "{ended}");
    assert!(text.contains("error: no space for the package lists"), "{ended}");
    assert!(text.contains("help: make space on that file system, then run the command again"), "{ended}");
}

/// A byte of the signed index is another one.
fn forged_lists(context: &Context) {
    let mirror = Mirror::start(context);
    mirror.lie("bookworm/InRelease", Lie::Changed);
    let cache = context.empty_cache();
    let ended = add(context, &cache, mirror.url()).run();
    assert_eq!(ended.status, 20, "{ended}");
    assert!(mirror.was_asked_for("bookworm/InRelease"), "the forged file was looked at");
    assert!(!mirror.was_asked_for(".deb"), "and nothing believed after it");
    let says = |text: &str| ended.stderr.lines().any(|line| line.contains(text));
    assert!(
        says("no package lists of bookworm, bookworm-security to find linux-image-cloud-amd64 in"),
        "{ended}"
    );
    assert!(says("is not signed") && !says("Failed to fetch"), "{ended}");
    assert!(says("must carry Debian's own signature"), "{ended}");
    nothing_half_done(&cache, &ended);
}

fn changed_and_truncated_packages(context: &Context) {
    let mirror = Mirror::start(context);
    let cache = context.empty_cache();
    let mut all = Vec::new();
    for lie in [Lie::Changed, Lie::CutShort] {
        mirror.lie(VICTIM, lie);
        let ended = add(context, &cache, mirror.url()).run();
        assert_eq!(ended.status, 20, "{lie:?}: {ended}");
        let says = |text: &str| ended.stderr.lines().any(|line| line.contains(text));
        assert!(
            says("error: fetch linux-headers-6.1.0") || says("is not what the archive's index"),
            "{lie:?}: {ended}"
        );
        assert!(
            says("help: run the command again; if it stays so, the mirror or a proxy"),
            "{lie:?}: {ended}"
        );
        nothing_half_done(&cache, &ended);
        all.extend(mirror.packages());
    }
    assert!(all.iter().any(|name| name.starts_with("linux-image-6.1.0")), "{all:?}");

    // What was fetched in order is not fetched again, and the rest is not taken for what it was.
    mirror.repent();
    let ended = add(context, &cache, mirror.url()).run();
    assert_eq!(ended.status, 0, "{ended}");
    let again = mirror.packages();
    assert!(!again.is_empty() && again.iter().all(|name| name.starts_with(VICTIM)), "{again:?}");
}

/// Both end well, and the kernel is fetched once.
fn two_adds_at_once(context: &Context) {
    let mirror = Mirror::start(context);
    let cache = context.empty_cache();
    let one = add(context, &cache, mirror.url()).start();
    let other = add(context, &cache, mirror.url()).start();
    for ended in [one.wait(), other.wait()] {
        assert_eq!(ended.status, 0, "{ended}");
        assert!(ended.stdout.starts_with("debian-6.1-cloud is here: 6.1."), "{ended}");
    }
    let mut packages = mirror.packages();
    let count = packages.len();
    packages.dedup();
    assert!(count > 3 && packages.len() == count, "{packages:?}");
    assert_eq!(names_in(&cache.join("vexlab/staging")), [""; 0]);
}

/// Starts an add that comes to a halt in the middle of a package.
fn add_in_the_middle(context: &Context, cache: &Path, mirror: &Mirror) -> crate::call::Running {
    mirror.lie(VICTIM, Lie::Stalled);
    let running = add(context, cache, mirror.url()).start();
    context.wait_until("a package is on its way", USUAL, || mirror.was_asked_for(VICTIM));
    running
}

fn add_that_was_killed(context: &Context) {
    let mirror = Mirror::start(context);
    let cache = context.empty_cache();
    let running = add_in_the_middle(context, &cache, &mirror);
    running.signal(Signal::KILL);
    mirror.repent();
    let ended = add(context, &cache, mirror.url()).run();
    assert_eq!(ended.status, 0, "{ended}");
    let ended = context.vexlab(["kernel", "show", KERNEL]).env("XDG_CACHE_HOME", &cache).run();
    assert_eq!(ended.status, 0, "{ended}");
    drop(running);
}

fn add_that_was_interrupted(context: &Context) {
    let mirror = Mirror::start(context);
    let cache = context.empty_cache();
    let running = add_in_the_middle(context, &cache, &mirror);
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    nothing_half_done(&cache, &ended);
    mirror.repent();
    let ended = add(context, &cache, mirror.url()).run();
    assert_eq!(ended.status, 0, "{ended}");
}

/// A kernel whose manifest is no manifest: it is named, and the remedy that is given works.
fn damaged_kernel(context: &Context) {
    let cache = context.empty_cache();
    let kernel = cache.join("vexlab/kernels").join(KERNEL);
    std::fs::create_dir_all(&kernel).expect("a folder for a kernel");
    std::fs::write(kernel.join("kernel.json"), "{").expect("a manifest");
    let vexlab = |arguments: &[&str]| context.vexlab(arguments).env("XDG_CACHE_HOME", &cache).run();
    insta::assert_snapshot!(vexlab(&["kernel", "show", KERNEL]).told(), @r"
    status 20
    error: the kernel debian-6.1-cloud is damaged in the cache: [DIR]/cache/vexlab/kernels/debian-6.1-cloud/kernel.json
      cause: EOF while parsing an object at line 1 column 1
      help: vexlab kernel remove debian-6.1-cloud && vexlab kernel add debian-6.1-cloud
    ");
    let ended = vexlab(&["kernel", "list"]);
    assert!(ended.stdout.contains("damaged: the kernel debian-6.1-cloud is damaged"), "{ended}");
    assert_eq!(vexlab(&["kernel", "remove", KERNEL]).status, 0);
    let ended = vexlab(&["kernel", "list"]);
    assert!(!ended.stdout.contains("damaged"), "{ended}");
}
