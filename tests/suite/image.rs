// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use libtest_mimic::Trial;
use rustix::process::Signal;

use crate::call::Call;
use crate::command_line::{path_with_fake_qemu, path_without, real_qemu};
use crate::harness::{Context, USUAL, machine, names_in, plain, processes_with};
use crate::shell::Terminal;

/// Names the image for the tests that need a real one. Building it takes minutes.
const IMAGE: &str = "VEXLAB_TEST_IMAGE";

/// Time for building an image and booting it, on a busy machine.
const BUILD: Duration = Duration::from_secs(1800);

/// Time for an image with a Rust compiler, and for `core` and `alloc` on an emulated processor.
const COMPILE: Duration = Duration::from_secs(5400);

/// An image with a Rust compiler that can build for its kernel.
const WITH_RUST: &str = "debian-13-rust";

pub(crate) fn tests() -> Vec<Trial> {
    let mut tests = vec![
        plain("image::names_are_listed", USUAL, names_are_listed),
        plain("image::what_is_no_image", USUAL, what_is_no_image),
        plain("image::what_does_not_go_with_one", USUAL, what_does_not_go_with_one),
        plain("image::without_mmdebstrap", USUAL, without_mmdebstrap),
        plain("image::without_qemu_img", USUAL, without_qemu_img),
        plain("image::interrupted_build", USUAL, interrupted_build),
        machine("image::without_cloud_init", USUAL, without_cloud_init),
        machine("image::a_port_that_is_taken", USUAL, a_port_that_is_taken),
    ];
    if std::env::var_os(IMAGE).is_some() {
        tests.push(machine("image::a_whole_distribution", BUILD, a_whole_distribution));
        tests.push(machine("image::building_and_testing_inside", BUILD, building_and_testing_inside));
        tests.push(machine("image::what_is_built_inside_is_checked", BUILD, what_is_built_inside_is_checked));
        tests.push(machine(
            "image::what_the_kernel_says_inside_is_judged",
            BUILD,
            what_the_kernel_says_inside,
        ));
        tests.push(machine("image::without_a_rust_compiler", BUILD, without_a_rust_compiler));
        tests.push(machine("image::rust_compiled_inside", COMPILE, rust_compiled_inside));
        tests.push(machine("image::commands_beside_the_module", BUILD, commands_beside_the_module));
        tests.push(machine("image::kept_in_the_background", BUILD, kept_in_the_background));
        tests.push(machine("image::commands_in_one_that_is_kept", BUILD, commands_in_one_that_is_kept));
        tests.push(machine("image::files_into_and_out_of_it", BUILD, files_into_and_out_of_it));
        tests.push(machine("image::a_damaged_state", BUILD, a_damaged_state));
    }
    tests
}

fn names_are_listed(context: &Context) {
    let ended = context.vexlab(["image", "list"]).env("XDG_CACHE_HOME", context.empty_cache()).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    debian-12          not here                           Debian 12 with its generic kernel, headers and compiler
    debian-13          not here                           Debian 13 with its generic kernel, headers and compiler
    debian-13-rust     not here                           the same with a Rust compiler that can build for its kernel
    ");
    let ended =
        context.vexlab(["image", "remove", "debian-12"]).env("XDG_CACHE_HOME", context.empty_cache()).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    debian-12 was not here
    ");
}

fn what_is_no_image(context: &Context) {
    let run = |image: &str| {
        let call = context.vexlab(["run", "--no-module", "--root", image, "--", "true"]);
        call.env("XDG_CACHE_HOME", context.empty_cache()).run().told()
    };
    insta::assert_snapshot!(run("debian-12"), @r"
    status 2
    error: the image debian-12 is not here
      help: vexlab image build debian-12
    ");
    insta::assert_snapshot!(run("debian12"), @r"
    status 2
    error: there is no image called debian12
      help: did you mean debian-12? there are: debian-12, debian-13, debian-13-rust; the image of a vendor is named by its path: ./debian12.qcow2
    ");
    insta::assert_snapshot!(run("./none.qcow2"), @r"
    status 2
    error: there is no image ./none.qcow2
      cause: No such file or directory (os error 2)
    ");
    fs::write(context.dir().join("text.qcow2"), "some text").expect("a file can be written");
    insta::assert_snapshot!(run("./text.qcow2"), @r"
    status 2
    error: ./text.qcow2 is not an image in the format qcow2: it is something else
      help: give an image in the format qcow2; `qemu-img convert -O qcow2` makes one of others
    ");
    let ended =
        context.vexlab(["image", "build", "debian-11"]).env("XDG_CACHE_HOME", context.empty_cache()).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: there is no recipe for an image called debian-11
      help: did you mean debian-13? there are: debian-12, debian-13, debian-13-rust
    ");
}

fn what_does_not_go_with_one(context: &Context) {
    let (dir, cache) = (context.case("good_c"), context.empty_cache());
    let told =
        |arguments: &[&str]| context.vexlab(arguments).dir(&dir).env("XDG_CACHE_HOME", &cache).run().told();
    insta::assert_snapshot!(told(&["run", "--root", "debian-12", "--kernel", "host", "--", "true"]), @r"
    status 2
    error: a machine with a distribution has the kernel of its image
      help: leave --kernel away, or --root IMAGE
    ");
    let same = told(&["run", "--root", "debian-12", "--kernel", "host", "--", "true"]);
    for command in ["test", "shell", "up"] {
        assert_eq!(told(&[command, "--root", "debian-12", "--kernel", "host"]), same, "{command}");
    }
    insta::assert_snapshot!(told(&["run", "--memory", "2G", "--", "true"]), @r"
    status 2
    error: --memory, --processors, --package and --limit are for a machine with a distribution
      help: name an image with --root; for others [machine] and [timeouts] in vexlab.toml say it
    ");
    let same = told(&["run", "--memory", "2G", "--", "true"]);
    for arguments in [&["test", "--root", "host"][..], &["shell"], &["up"], &["build"], &["gdb"]] {
        assert_eq!(told(&[arguments, &["--package", "gcc"]].concat()), same, "{arguments:?}");
    }
    insta::assert_snapshot!(told(&["gdb", "--root", "debian-12"]), @r"
    status 2
    error: gdb does not go with the image debian-12
      help: leave --root away: it works in a machine with a kernel of vexlab's
    ");
    insta::assert_snapshot!(told(&["test", "--watch", "--root", "debian-12"]), @r"
    status 2
    error: --watch does not go with the image debian-12
      help: leave --root away: it works in a machine with a kernel of vexlab's
    ");
    for (arguments, what) in [
        (&["a_name"][..], "a filter"),
        (&["--list"], "--list"),
        (&["--jobs", "2"], "--jobs"),
        (&["--retries", "1"], "--retries"),
        (&["--repeat", "2"], "--repeat"),
        (&["--fail-fast"], "--fail-fast"),
        (&["--isolated"], "--isolated"),
    ] {
        let refused = told(&[&["test", "--root", "debian-12"], arguments].concat());
        let words = format!("error: {what} does not go with the image debian-12");
        assert!(refused.starts_with("status 2") && refused.contains(&words), "{refused}");
        let refused = told(&[&["test", "--in", "debian-12"], arguments].concat());
        assert!(refused.starts_with("status 2") && refused.contains("cannot be used with"), "{refused}");
    }
    insta::assert_snapshot!(told(&["test", "--rust", "inside"]), @r"
    status 2
    error: --rust inside is for a machine with a distribution
      help: name an image with --root, or such a machine with `build --in` or `test --in`
    ");
    let same = told(&["test", "--rust", "inside"]);
    for arguments in [&["build"][..], &["shell"], &["gdb"], &["test", "--watch"], &["run", "--", "true"]] {
        let (command, rest) = arguments.split_first().expect("a command");
        assert_eq!(told(&[&[command, "--rust", "inside"], rest].concat()), same, "{arguments:?}");
    }
    insta::assert_snapshot!(told(&["build", "--rust", "inside", "--in", "debian-12"]), @r"
    status 2
    error: good_c has no Rust side that could be compiled inside
      help: leave `--rust inside` away, or name the crate under [rust] in vexlab.toml
    ");
    for arguments in [
        &["build", "--c-only", "--rust", "inside"][..],
        &["run", "--no-module", "--rust", "inside", "--", "true"],
    ] {
        let refused = told(arguments);
        assert!(refused.starts_with("status 2") && refused.contains("cannot be used with"), "{refused}");
    }
    insta::assert_snapshot!(told(&["run", "--root", "debian-12", "--src=/usr", "--", "true"]), @r"
    status 2
    error: the module is built from the project's folder on /src, where /usr can't be then
      help: leave DIR away, or the module: --no-module
    ");
    insta::assert_snapshot!(told(&["up", "--root", "debian-12"]), @r"
    status 2
    error: the image debian-12 is not here
      help: vexlab image build debian-12
    ");
    let missing = told(&["up", "--root", "debian-12"]);
    for arguments in [
        &["up", "--image", "debian-12"][..],
        &["test", "--root", "debian-12"],
        &["test", "--in", "debian-12"],
        &["build", "--in", "debian-12"],
        &["shell", "--root", "debian-12"],
        &["run", "--root", "debian-12", "--", "true"],
    ] {
        assert!(missing.lines().all(|line| told(arguments).contains(line)), "{arguments:?}");
    }
}

fn without_mmdebstrap(context: &Context) {
    let programs = path_without(context, "mmdebstrap");
    let cache = context.empty_cache();
    let call = context.vexlab(["image", "build", "debian-12"]).env("XDG_CACHE_HOME", &cache);
    let ended = call.env("PATH", &programs).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    error: mmdebstrap is not installed: it makes a file system of Debian's packages
      help: apt-get install --no-install-recommends mmdebstrap
    ");
    assert_eq!(names_in(&cache.join("vexlab/cloud-images")), [""; 0]);
    let ended = context.vexlab(["doctor"]).env("PATH", &programs).run();
    assert!(ended.stdout.contains("`vexlab image build` would need it"), "{ended}");
}

fn without_qemu_img(context: &Context) {
    let image = empty_image(context);
    let programs = path_without(context, "qemu-img");
    let call = context.vexlab(["run", "--no-module", "--accel", "tcg", "--root", &image, "--", "true"]);
    let ended = call.env("PATH", &programs).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    error: qemu-img is not installed
      help: apt-get install qemu-utils
    ");
}

/// A build that waits for its mirror is interrupted, and leaves nothing.
fn interrupted_build(context: &Context) {
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let mirror = format!("http://{}", silent.local_addr().expect("it has an address"));
    let cache = context.empty_cache();
    let call = context.vexlab(["image", "build", "debian-12"]).env("XDG_CACHE_HOME", &cache);
    let running = call.env("VEXLAB_DEBIAN_MIRROR", mirror).start();
    let (_client, _) = silent.accept().expect("the mirror is asked");
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
    assert_eq!(processes_with(&context.dir().display().to_string()), [], "processes are left");
    for part in ["staging", "cloud-images"] {
        assert_eq!(names_in(&cache.join("vexlab").join(part)), [""; 0], "leavings in {part}");
    }
}

/// A disk on which there is nothing.
fn empty_image(context: &Context) -> String {
    let image = context.dir().join("empty.qcow2");
    let made = context
        .program(Path::new("qemu-img"))
        .args(["create", "-q", "-f", "qcow2"])
        .arg(&image)
        .arg("64M")
        .run();
    assert_eq!(made.status, 0, "{made}");
    image.display().to_string()
}

/// What the program says of a disk from which nothing boots.
fn boot_nothing(context: &Context, cache: &Path, path: Option<&str>) -> String {
    let image = empty_image(context);
    let arguments = ["run", "--no-module", "--accel", "tcg", "--limit", "20", "--root", &image, "--", "true"];
    let mut call = context.vexlab(arguments).env("XDG_CACHE_HOME", cache);
    if let Some(path) = path {
        call = call.env("PATH", path);
    }
    let ended = call.run();
    assert_eq!(ended.status, 20, "{ended}");
    ended.stderr
}

fn without_cloud_init(context: &Context) {
    let cache = context.own_cache();
    let said = boot_nothing(context, &cache, None);
    for part in [
        "did not say within 20 s that it is ready",
        "its last words on the console were",
        "No bootable device",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for part in ["staging", "states"] {
        assert_eq!(names_in(&cache.join("vexlab").join(part)), [""; 0], "leavings in {part}");
    }
    assert_eq!(processes_with(&context.dir().display().to_string()), [], "processes are left");
}

/// The port that was chosen for ssh belongs to someone else when QEMU wants it: another is taken.
fn a_port_that_is_taken(context: &Context) {
    let ports = context.dir().join("ports");
    let (qemu, ports_file) = (real_qemu().display().to_string(), ports.display().to_string());
    let script = format!(
        r#"#!/bin/sh
case "$*" in *hostfwd=*) ;; *) exec {qemu} "$@" ;; esac
port=$(echo "$*" | sed 's/.*hostfwd=tcp:127.0.0.1:\([0-9]*\)-.*/\1/')
first=yes
[ ! -e {ports_file} ] || first=no
echo "$port" >>{ports_file}
[ "$first" = yes ] || exec {qemu} "$@"
exec perl -e 'use IO::Socket::INET; $^F = 255; $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.1",
LocalPort => shift @ARGV) or die "no port"; exec @ARGV' "$port" {qemu} "$@"
"#
    );
    let path = path_with_fake_qemu(context, &script);
    let said = boot_nothing(context, &context.own_cache(), Some(&path));
    assert!(said.contains("No bootable device"), "{said}");
    let ports = fs::read_to_string(ports).expect("QEMU was called");
    let ports: Vec<&str> = ports.lines().collect();
    assert!(ports.len() == 2 && ports[0] != ports[1], "{ports:?}");
}

fn digest(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output().expect("sha256sum can be started");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The image of the shared cache, built once.
fn image(context: &Context) -> (String, PathBuf) {
    let name = std::env::var(IMAGE).expect("it is set");
    provide(context, &name);
    let disk = context.cache().join("vexlab/cloud-images").join(&name).join("disk.img");
    (name, disk)
}

fn provide(context: &Context, image: &str) {
    let ended = context.vexlab(["image", "build", image]).run();
    assert_eq!(ended.status, 0, "{ended}");
}

fn a_whole_distribution(context: &Context) {
    let (name, disk) = image(context);
    let before = digest(&disk);
    let shown = context.dir().join("source");
    fs::create_dir(&shown).expect("a folder");
    fs::write(shown.join("file"), "one\n").expect("a file");
    let source = format!("--src={}", shown.display());
    let run = |script: &str| {
        let ended =
            context.vexlab(["run", "--no-module", "--root", &name, &source, "--", "sh", "-c", script]).run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    };
    // The first machine is booted and saved; the others are restored, and know nothing of each other.
    let script =
        "cat /src/file; cat /left 2>/dev/null; echo mine >/left; cat /proc/sys/kernel/random/uuid; date +%s";
    let first = run(script);
    fs::write(shown.join("file"), "two\n").expect("a file");
    let second = run(script);
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (first, second) = (lines(&first), lines(&second));
    assert_eq!((first[0].as_str(), second[0].as_str()), ("one", "two"), "the source is live");
    assert_eq!((first.len(), second.len()), (3, 3), "nothing of one is in the next: {second:?}");
    assert_ne!(first[1], second[1], "what is random is another each time");
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later").as_secs();
    let there: u64 = second[2].parse().expect("a number");
    assert!(now.abs_diff(there) < 60, "the clock is {there} and should be {now}");

    let refused = run("touch /src/new 2>&1 || echo refused");
    assert!(refused.ends_with("refused\n"), "{refused}");
    run("test -e /lib/modules/$(uname -r)/build/Makefile && gcc --version && systemctl is-active ssh");
    assert_eq!(digest(&disk), before, "the image was written to");
}

fn building_and_testing_inside(context: &Context) {
    let (name, _) = image(context);
    let test = |case: &str| context.vexlab(["test", "--in", &name]).dir(&context.case(case)).run();
    let ended = test("good_c");
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains(&format!("passed: good_c on {name}")), "{ended}");

    let ended = test("init_error");
    assert_eq!(ended.status, 12, "{ended}");
    for part in
        [" FAIL  load", "refused-by-kernel: init_error on", "kernel: init_error: there is no such device"]
    {
        assert!(ended.stdout.contains(part), "{part}: {ended}");
    }
    let ended = test("init_oops");
    let title = "kernel: NULL pointer dereference in init_oops_init+0x";
    assert!(ended.status == 14 && ended.stdout.contains(title), "{ended}");

    let dir = context.case("good_c");
    fs::write(dir.join("good_c.c"), "#error no such luck\n").expect("the copy can be written");
    let ended = context.vexlab(["build", "--in", &name]).dir(&dir).run();
    let place = dir.join("good_c.c").display().to_string();
    assert!(
        ended.status == 10 && ended.stderr.contains("no such luck") && ended.stderr.contains(&place),
        "{ended}"
    );
    assert!(!dir.join("good_c.o").exists(), "nothing is written beside the sources");
}

/// It is judged here before it is loaded there, by what the machine's kernel is.
fn what_is_built_inside_is_checked(context: &Context) {
    let kept = Kept::start(context, "suite-image-checks", "checked_vermagic", &[]);
    let ended = kept.call(&["test", "--in", kept.name]).run();
    let words = "is refused: .modinfo: the version magic differs";
    assert!(ended.status == 11 && ended.stderr.contains(words), "{ended}");
    let ended = kept.call(&["test", "--no-check", "--in", kept.name]).run();
    let words = "kernel: checked_vermagic: version magic '5.0.0";
    assert!(ended.status == 12 && ended.stdout.contains(words), "{ended}");
    let ended = kept.call(&["test", "--memory", "2G", "--in", kept.name]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: the machine suite-image-checks is there already, and stays as it is
      help: `vexlab stop suite-image-checks`, then `vexlab up suite-image-checks` with what it is to have
    ");

    let (name, _) = image(context);
    let built = context.vexlab(["build", "--in", &name]).dir(&context.case("hazard_told")).run();
    let hazard = "hazard in hazard_told.ko: constructors: ";
    assert!(built.status == 0 && built.stderr.contains(hazard), "{built}");
    assert!(!built.stderr.contains("not all is checked"), "{built}");
    let (module, _) = built.stdout.split_once(" for ").expect("it says where the module is");
    assert!(fs::read(module).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF")), "{built}");
}

/// What a tiny machine's run fails for, a distribution's does, too: what was expected and has not come, and what only the
/// kernel's taint tells.
fn what_the_kernel_says_inside(context: &Context) {
    let (name, _) = image(context);
    let test = |dir: &Path| context.vexlab(["test", "--in", &name]).dir(dir).run();
    let ended = test(&context.case("taints"));
    for part in ["  ok   unload", "kernel-warning: taints on", "kernel: taint W, of which no report tells"] {
        assert!(ended.status == 13 && ended.stdout.contains(part), "{part}: {ended}");
    }
    let ended = test(&context.case("expected_in_vain"));
    let words =
        "no bug with `` in its title came, which was expected: the module is to notice that it is misused";
    for part in [" FAIL  trigger", words, "test-failed: expected_in_vain on"] {
        assert!(ended.status == 1 && ended.stdout.contains(part), "{part}: {ended}");
    }
    let ended = test(&context.case("expected_warning"));
    assert!(ended.status == 0 && ended.stdout.contains("  ok   trigger"), "{ended}");

    // What one test of a file is expected to do is expected of that test alone.
    let dir = context.case("ktests_expected");
    let manifest = dir.join("vexlab.toml");
    let text = fs::read_to_string(&manifest).expect("the case has one");
    let text = text.replace("ktests_expected.oopses", "ktests_expected.before");
    fs::write(&manifest, text).expect("the copy can be written");
    let code = dir.join("ktests_expected.c");
    let text =
        fs::read_to_string(&code).expect("the case has one").replace("*(int *)READ_ONCE(nowhere) = 1;", "");
    fs::write(&code, text).expect("the copy can be written");
    let ended = test(&dir);
    for part in [
        " FAIL  kernel/ktests_expected.before",
        "  ok   kernel/ktests_expected.then",
        "came, which was expected",
    ] {
        assert!(ended.status == 1 && ended.stdout.contains(part), "{part}: {ended}");
    }
}

/// Nothing else takes the place of a compiler that is not there, or will not do.
fn without_a_rust_compiler(context: &Context) {
    let kept = Kept::start(context, "suite-image-no-rust", "good_rust", &[]);
    let build = || {
        let ended = kept.call(&["build", "--rust", "inside", "--in", kept.name]).run();
        assert!(!ended.stdout.contains(".ko"), "{ended}");
        ended.told()
    };
    insta::assert_snapshot!(build(), @r"
    status 20
    error: the machine suite-image-no-rust has no rustc and no cargo: looked for in /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/root/.cargo/bin
      help: `vexlab image build debian-13-rust` makes an image that has what it takes; or compile the Rust side here: --rust host
    ");
    let script = r#"for name in rustc cargo; do
        printf '#!/bin/sh\necho release: 1.63.0\n' >/usr/local/bin/$name
        chmod 755 /usr/local/bin/$name
    done"#;
    kept.prints(&["sh", "-c", script]);
    let told = build();
    let words = "rustc 1.63.0 (/usr/local/bin/rustc) in the machine suite-image-no-rust does not know what code for its";
    assert!(told.starts_with("status 20\n") && told.contains(words) && told.contains("-Zplt, "), "{told}");
}

/// The Rust side is made by the machine's own compiler, and is held to what it is when it is made here.
fn rust_compiled_inside(context: &Context) {
    provide(context, WITH_RUST);
    let kept = Kept::of(context, WITH_RUST, "suite-image-rust", "good_rust", &["--memory", "2G"]);
    let call = |command: &str| kept.call(&[command, "--rust", "inside", "--in", kept.name]).run();
    let note = "the crate rust was compiled in suite-image-rust, by its rustc 1.";
    let ended = call("test");
    for part in ["  ok   load", "  ok   proof", "  ok   rust-computes", "  ok   unload"] {
        assert!(ended.status == 0 && ended.stdout.contains(part), "{part}: {ended}");
    }
    assert!(ended.stderr.contains(note), "{ended}");
    let verdict = "passed: good_rust, its Rust compiled inside, on suite-image-rust";
    assert!(ended.stdout.contains(verdict), "{ended}");

    let code = kept.dir.join("rust/src/lib.rs");
    let text = fs::read_to_string(&code).expect("the case has one");
    let edit = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        fs::write(&code, text.replace(from, to)).expect("the copy can be written");
    };
    edit("    a\n}", "    a + 1\n}");
    let ended = call("test");
    assert!(
        ended.status == 1 && ended.stdout.contains(" FAIL  rust-computes"),
        "what was edited is seen: {ended}"
    );
    edit("    a\n}", "    no_such_thing\n}");
    let ended = call("build");
    let place = code.display().to_string();
    let told = &ended.stderr;
    assert!(
        ended.status == 10 && told.contains("the Rust build of good_rust in suite-image-rust failed"),
        "{ended}"
    );
    assert!(
        told.contains("no_such_thing") && (told.contains(&place) || told.contains("src/lib.rs:")),
        "{ended}"
    );
    edit("fn good_rust_count(questions: u32)", "fn good_rust_count(questions: u64)");
    let ended = call("build");
    assert!(ended.status == 10 && ended.stderr.contains("the header and the Rust side differ"), "{ended}");

    edit("    a\n}", "    a\n}");
    let manifest = kept.dir.join("rust/Cargo.toml");
    let crates = fs::read_to_string(&manifest).expect("the case has one");
    let newer = crates.replace("edition = \"2024\"", "edition = \"2024\"\nrust-version = \"1.999\"");
    fs::write(&manifest, newer).expect("the copy can be written");
    let ended = call("build");
    let words = "is too old: the crate is for 1.999 and later, as its Cargo.toml says";
    assert!(ended.status == 20 && ended.stderr.contains(words), "{ended}");
    fs::write(&manifest, crates).expect("the copy can be written");
    kept.prints(&["rm", "/usr/lib/rustlib/src/rust"]);
    let ended = call("build");
    let words =
        "comes without the source of `core` and `alloc`: /usr/lib/rustlib/src/rust/library is not there";
    assert!(ended.status == 20 && ended.stderr.contains(words), "{ended}");
}

/// `run` and `shell` in a fresh machine are what they are in a tiny one.
fn commands_beside_the_module(context: &Context) {
    let (name, _) = image(context);
    let dir = context.case("good_c");
    let run = |script: &str| {
        context.vexlab(["run", "--root", &name, "--", "sh", "-c", script]).dir(&dir).input(b"typed\n").run()
    };
    let ended = run("grep -o '^good_c ' /proc/modules; id -un; pwd; cat; exit 7");
    assert_eq!((ended.status, ended.stdout.as_str()), (7, "good_c \nroot\n/src\ntyped\n"), "{ended}");
    let ended = run("echo c >/proc/sysrq-trigger; sleep 600");
    assert!(ended.status == 14 && ended.stdout.contains("sysrq triggered crash"), "{ended}");
    let console = ended.stdout.lines().find_map(|line| line.strip_prefix("  console: "));
    let id = Path::new(console.expect("a console is kept")).iter().nth_back(1).expect("a run has a folder");
    let log = context.vexlab(["log", &id.to_string_lossy()]).run();
    assert!(log.stdout.contains(&format!("oops: good_c on {name} ")), "{log}");
    let shell = context.vexlab(["shell", "--no-module", "--root", &name]).dir(&dir);
    let ended = shell.input(b"grep '^good_c' /proc/modules; uname -n; exit 3\n").run();
    assert_eq!((ended.status, ended.stdout.as_str()), (3, "vexlab\n"), "{ended}");
    let running =
        context.vexlab(["run", "--no-module", "--root", &name, "--", "sh", "-c", "echo here; sleep 600"]);
    let running = running.dir(&dir).start();
    context.wait_until("it is there", USUAL, || running.stdout().contains("here"));
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!(ended.status, 130, "{ended}");
}

/// A saved machine that can't be used is dropped with a note, and another one is booted.
fn a_damaged_state(context: &Context) {
    let (name, _) = image(context);
    let cache = context.own_cache();
    std::os::unix::fs::symlink(
        context.cache().join("vexlab/cloud-images"),
        cache.join("vexlab/cloud-images"),
    )
    .expect("a link to the images");
    let run = || {
        let ended = context
            .vexlab(["run", "--no-module", "--root", &name, "--", "true"])
            .env("XDG_CACHE_HOME", &cache)
            .run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stderr
    };
    assert!(!run().contains("can't be used"));
    let states = cache.join("vexlab/states");
    let state = states.join(&names_in(&states)[0]);
    fs::write(state.join("devices"), "nonsense").expect("the state can be written");
    assert!(run().contains("the saved machine can't be used, so one is booted"));
    assert!(!run().contains("can't be used"), "the new state is good");
}

/// Two machines of one image run at once, each behind a port of its own, and are used by ssh and by what ssh is told.
fn kept_in_the_background(context: &Context) {
    let (name, _) = image(context);
    let dir = context.case("good_c");
    let names = ["suite-image-one", "suite-image-two"];
    let call = |arguments: &[&str]| context.vexlab(arguments).dir(&dir).run();
    for machine in names {
        call(&["rm", "--force", machine]);
        let ended = call(&["up", machine, "--root", &name]);
        assert!(
            ended.status == 0 && ended.stdout.contains(&format!("vexlab test --in {machine}")),
            "{ended}"
        );
    }
    let again = call(&["up", names[0], "--root", &name]);
    assert!(again.status == 2 && again.stderr.contains("is running already"), "{again}");

    let told = call(&["ssh", names[0], "--", "sh", "-c", "echo \"$0 two\" >~/left; id -un; exit 7", "it's"]);
    assert_eq!((told.status, told.stdout.as_str()), (7, "vex\n"), "{told}");
    let left = call(&["ssh", names[1], "--", "sh", "-c", "test ! -e ~/left && cat /src/Kbuild"]);
    assert_eq!(left.stdout, fs::read_to_string(dir.join("Kbuild")).expect("the case has one"), "{left}");
    let config = context.dir().join("ssh_config");
    fs::write(&config, call(&["ssh-config", names[0]]).stdout).expect("a file can be written");
    let ssh = context.program(Path::new("ssh")).arg("-F").arg(&config).args([names[0], "cat", "left"]).run();
    assert_eq!((ssh.status, ssh.stdout.as_str()), (0, "it's two\n"), "{ssh}");

    let tested = call(&["test", "--in", names[0]]);
    assert!(tested.stdout.contains(&format!("passed: good_c on {}", names[0])), "{tested}");
    call(&["ssh", names[1], "--", "sudo", "poweroff"]);
    context.wait_until("the machine is dead", USUAL, || call(&["ps"]).stdout.contains("it was powered off"));
    for command in [&["ssh", names[1]][..], &["exec", names[1], "--", "true"], &["shell", names[1]]] {
        let gone = call(command);
        assert!(gone.status == 2 && gone.stderr.contains("is dead"), "{gone}");
    }
    for machine in names {
        assert_eq!(call(&["rm", "--force", machine]).status, 0);
        let place = context.cache().join("vexlab/machines").join(machine);
        assert!(
            !place.exists() && processes_with(&place.display().to_string()).is_empty(),
            "{machine} is left"
        );
    }
}

/// A machine of the image that is kept, and gone with this value.
struct Kept<'a> {
    context: &'a Context,
    name: &'static str,
    dir: PathBuf,
}

impl<'a> Kept<'a> {
    fn start(context: &'a Context, name: &'static str, case: &str, more: &[&str]) -> Self {
        let (image, _) = image(context);
        Self::of(context, &image, name, case, more)
    }

    fn of(context: &'a Context, image: &str, name: &'static str, case: &str, more: &[&str]) -> Self {
        let kept = Self { context, name, dir: context.case(case) };
        kept.call(&["rm", "--force", name]).run();
        let ended = kept.call(&["up", name, "--root", image]).args(more).run();
        assert_eq!(ended.status, 0, "{ended}");
        kept
    }

    fn call(&self, arguments: &[&str]) -> Call {
        self.context.vexlab(arguments).dir(&self.dir)
    }

    fn exec(&self, command: &[&str]) -> Call {
        self.call(&["exec", self.name, "--"]).args(command)
    }

    /// What a command prints in it, where it succeeds.
    fn prints(&self, command: &[&str]) -> String {
        let ended = self.exec(command).run();
        assert_eq!(ended.status, 0, "{ended}");
        ended.stdout
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        self.call(&["rm", "--force", self.name]).run();
    }
}

/// Commands have what they have in a tiny machine: input, both outputs, exit status, signals, an end with ours.
fn commands_in_one_that_is_kept(context: &Context) {
    let kept = Kept::start(context, "suite-image-commands", "good_c", &[]);
    let ended = kept.exec(&["sh", "-c", "id -un; pwd; cat; echo bad >&2; exit 7"]).input(b"good\n").run();
    let told = (ended.status, ended.stdout.as_str(), ended.stderr.as_str());
    assert_eq!(told, (7, "root\n/src\ngood\n", "bad\n"), "{ended}");
    assert_eq!(kept.prints(&["printf", "<%s>", "it's", "two words", "$HOME"]), "<it's><two words><$HOME>");
    insta::assert_snapshot!(kept.exec(&["no-such-program"]).run().told(), @r"
    status 127
    run no-such-program: errno 2 (No such file or directory)
    ");
    assert_eq!(kept.exec(&["sh", "-c", "kill -KILL $$"]).run().status, 137);

    let running =
        kept.exec(&["sh", "-c", "trap 'echo caught; exit 3' INT; echo ready; sleep 600 & wait"]).start();
    context.wait_until("it is ready", USUAL, || running.stdout().contains("ready"));
    running.signal(Signal::INT);
    let ended = running.wait();
    assert_eq!((ended.status, ended.stdout.as_str()), (3, "ready\ncaught\n"), "{ended}");
    let running = kept.exec(&["sh", "-c", "echo $$; exec sleep 600"]).start();
    context.wait_until("it is ready", USUAL, || running.stdout().ends_with('\n'));
    let place = format!("/proc/{}", running.stdout().trim());
    kept.prints(&["test", "-e", &place]);
    running.signal(Signal::KILL);
    running.wait();
    context
        .wait_until("it has ended with us", USUAL, || kept.exec(&["test", "-e", &place]).run().status == 1);

    let shell = kept.call(&["shell", kept.name]).input(b"echo $0 $USER; exit 4\n").run();
    assert_eq!((shell.status, shell.stdout.as_str()), (4, "/bin/bash root\n"), "{shell}");
    // On a terminal: Ctrl-C is a key there, and not for ssh or for us.
    let mut terminal = Terminal::around(context, &["shell", kept.name], &kept.dir);
    terminal.types("stty size; tty; sh -c 'echo be\"\"gun; exec sleep 600'\n");
    for text in ["33 101", "/dev/pts/", "begun"] {
        terminal.shows(context, text);
    }
    terminal.types("\x03");
    terminal.types("echo still he\"\"re\n");
    terminal.shows(context, "still here");
    assert_eq!(terminal.leaves(context, "exit 5\n"), Some(5));
    let refused = kept.call(&["exec", "--terminal", kept.name, "--", "true"]).run();
    insta::assert_snapshot!(refused.told(), @r"
    status 2
    error: there is no terminal to give to the command
      help: leave --terminal away where standard input or output is none
    ");
    let ended = kept.exec(&["sh", "-c", "echo c >/proc/sysrq-trigger; sleep 60"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 17
    error: the machine suite-image-commands has died meanwhile: Kernel panic - not syncing: sysrq triggered crash
      help: `vexlab logs suite-image-commands` shows its console, `vexlab up suite-image-commands` starts it anew
    ");
}

/// What goes in comes out again as it was: content, modes, links; and errors are those of a tiny machine.
fn files_into_and_out_of_it(context: &Context) {
    let kept =
        Kept::start(context, "suite-image-files", "good_c", &["--processors", "1", "--memory", "1200M"]);
    let size = || {
        kept.prints(&["sh", "-c", "nproc; sed -n 's/MemTotal: *\\(.*\\)[0-9]\\{5\\} kB/\\1/p' /proc/meminfo"])
    };
    assert_eq!(size(), "1\n11\n", "so many processors, and 100 MB");
    let folder = context.dir().join("folder");
    fs::create_dir_all(folder.join("empty")).expect("a folder");
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    fs::write(folder.join("large"), &content).expect("a file");
    fs::set_permissions(folder.join("large"), fs::Permissions::from_mode(0o740)).expect("a mode");
    std::os::unix::fs::symlink("no/where", folder.join("link")).expect("a link");
    let copy = |from: &str, to: &str| kept.call(&["cp", from, to]).run();
    let (here, there) = (folder.display().to_string(), format!("{}:/tmp", kept.name));
    assert_eq!(copy(&here, &there).status, 0);
    let seen = kept.prints(&["sh", "-c", "cd /tmp/folder; stat -c '%A %U %N' *"]);
    insta::assert_snapshot!(seen, @r"
    drwxr-xr-x root 'empty'
    -rwxr----- root 'large'
    lrwxrwxrwx root 'link' -> 'no/where'
    ");
    let back = context.dir().join("back").display().to_string();
    assert_eq!(copy(&format!("{there}/folder"), &back).status, 0);
    let back = Path::new(&back);
    assert_eq!(fs::read(back.join("large")).expect("it came back"), content);
    let mode = fs::metadata(back.join("large")).expect("it came back").permissions().mode();
    assert_eq!(mode & 0o777, 0o740);
    assert_eq!(fs::read_link(back.join("link")).expect("a link"), Path::new("no/where"));
    assert!(back.join("empty").is_dir());

    insta::assert_snapshot!(copy(&format!("{there}/missing"), "x").told(), @r"
    status 2
    error: there is no /tmp/missing in the machine suite-image-files
    ");
    insta::assert_snapshot!(copy(&here, &format!("{}:/no/such", kept.name)).told(), @r"
    status 2
    error: there is no folder /no in the machine suite-image-files
      help: `vexlab exec suite-image-files -- mkdir -p /no` makes it
    ");
    // It sends what no honest tar would.
    let evil = r#"#!/bin/sh
python3 -c 'import io, sys, tarfile
tar = tarfile.open(fileobj=sys.stdout.buffer, mode="w|")
entry = tarfile.TarInfo("../evil")
entry.size = 4
tar.addfile(entry, io.BytesIO(b"evil"))
tar.close()'
"#;
    fs::write(context.dir().join("tar"), evil).expect("a file");
    assert_eq!(
        copy(&context.dir().join("tar").display().to_string(), &format!("{}:/usr/local/bin", kept.name))
            .status,
        0
    );
    kept.prints(&["chmod", "755", "/usr/local/bin/tar"]);
    let place = context.dir().join("place");
    fs::create_dir(&place).expect("a folder");
    insta::assert_snapshot!(copy(&format!("{there}/folder"), &place.join("x").display().to_string()).told(), @r"
    status 20
    error: copy suite-image-files:/tmp/folder to [DIR]/place/x
      cause: unpack ../evil
      cause: ../evil is not what was asked for
    ");
    assert_eq!(names_in(&place), [""; 0]);
    assert!(!context.dir().join("evil").exists());
}
