// SPDX-License-Identifier: GPL-2.0-only
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use libtest_mimic::Trial;

use crate::harness::{Context, KERNEL, USUAL, machine, modules, names_in, plain};

pub(crate) fn tests() -> Vec<Trial> {
    vec![
        plain("command_line::unknown_kernel", USUAL, unknown_kernel),
        plain("command_line::unknown_key", USUAL, unknown_key),
        plain("command_line::wrong_type", USUAL, wrong_type),
        plain("command_line::outside_a_project", USUAL, outside_a_project),
        plain("command_line::no_kbuild_file", USUAL, no_kbuild_file),
        plain("command_line::unknown_option", USUAL, unknown_option),
        plain("command_line::exit_statuses", USUAL, exit_statuses),
        plain("command_line::completions_and_man_pages", USUAL, completions_and_man_pages),
        plain("command_line::names_are_listed", USUAL, names_are_listed),
        machine("command_line::init_writes_a_project", USUAL, init_writes_a_project),
        machine("command_line::no_qemu", USUAL, no_qemu),
        machine("command_line::qemu_that_cannot_start", USUAL, qemu_that_cannot_start),
        machine("command_line::qemu_that_says_nothing", USUAL, qemu_that_says_nothing),
    ]
}

/// A project with this `vexlab.toml` and the sources of a good module.
fn project(context: &Context, manifest: &str) -> PathBuf {
    let dir = context.case("good_c");
    fs::write(dir.join("vexlab.toml"), manifest).expect("the copy can be written");
    dir
}

fn unknown_kernel(context: &Context) {
    let dir = context.case("good_c");
    let ended = context.vexlab(["test", "--kernel", "debian-6.1-clod"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: there is no kernel called debian-6.1-clod
      help: did you mean debian-6.1-cloud? known are: debian-6.1, debian-6.1-cloud, debian-6.12, debian-6.12-cloud, host; a path names a build tree
    ");
    let ended = context.vexlab(["kernel", "add", "plan9"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: there is no kernel called plan9
      help: known are: debian-6.1, debian-6.1-cloud, debian-6.12, debian-6.12-cloud, host; a path names a build tree
    ");
}

fn unknown_key(context: &Context) {
    let dir =
        project(context, "kernels = [\"debian-6.1\"]\n\n[module]\nname = \"good_c\"\nparametres = \"\"\n");
    let ended = context.vexlab(["test"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: [DIR]/good_c/vexlab.toml:5:1: unknown key `parametres`
      help: did you mean `parameters`?
    ");
}

fn wrong_type(context: &Context) {
    let dir = project(
        context,
        "kernels = [\"debian-6.1\"]\n\n[module]\nname = \"good_c\"\n\n[machine]\nprocessors = \"two\"\n",
    );
    let ended = context.vexlab(["build"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r#"
    status 2
    error: [DIR]/good_c/vexlab.toml:7:14: `processors`: invalid type: string "two", expected a whole number
      help: `vexlab init` in an empty folder writes an example with every key
    "#);
}

fn outside_a_project(context: &Context) {
    let ended = context.vexlab(["test"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: [DIR] is not in a project: neither it nor a folder above it has a vexlab.toml
      help: go to the module's folder, or write the file with `vexlab init`
    ");
    let ended = context.vexlab(["-C", "no/such/folder", "test"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: the project's folder no/such/folder can't be entered
      cause: No such file or directory (os error 2)
    ");
}

fn no_kbuild_file(context: &Context) {
    let dir =
        project(context, &format!("kernels = [\"{KERNEL}\"]\n\n[module]\nname = \"m\"\ndir = \"sub\"\n"));
    let ended = context.vexlab(["build"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: the module's folder [DIR]/good_c/sub has neither a Kbuild file nor a Makefile
      help: set `dir` under [module] in [DIR]/good_c/vexlab.toml to the folder that has it
    ");
}

fn unknown_option(context: &Context) {
    let ended = context.vexlab(["test", "--kernal", "debian-6.1"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: unexpected argument '--kernal' found

      tip: a similar argument exists: '--kernel'

    Usage: vexlab test --kernel <KERNEL> [FILTER]...

    For more information, try '--help'.
    ");
}

/// The statuses are what scripts rely on: they change only on purpose.
fn exit_statuses(context: &Context) {
    let ended = context.vexlab(["doc", "exit-codes"]).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 0
    # Exit statuses

    Every run ends in one class, and each class has its own exit status. `vexlab run`, `vexlab exec` and `vexlab shell` exit with the command's own status when the command was run, and nothing else went wrong. `vexlab test --watch` goes on until it is interrupted.

    | status | class | meaning |
    | ---: | --- | --- |
    | 0 | `passed` | The module was loaded, tested and unloaded, and nothing was wrong. |
    | 1 | `test-failed` | A test failed, or none ran to its end. |
    | 2 | `usage` | The arguments or vexlab.toml are wrong; nothing was done. |
    | 10 | `build-failed` | The module's C or Rust does not build. |
    | 11 | `refused-by-check` | The built module was refused before it was loaded. |
    | 12 | `refused-by-kernel` | The kernel refused to load the module. |
    | 13 | `kernel-warning` | The kernel printed a warning with a trace while the module was in use. |
    | 14 | `oops` | The kernel oopsed or panicked. |
    | 15 | `hang` | A phase took longer than its time-out, or the machine fell silent. |
    | 16 | `unload-failed` | The module could not be unloaded. |
    | 17 | `machine-lost` | The machine ended without its end message. |
    | 18 | `leak` | The module left something behind when it was unloaded, or when its init failed. |
    | 20 | `lab-failed` | The lab could not do its work; nothing is known about the module. |
    | 130 | `interrupted` | The run was interrupted. |
    ");
}

fn completions_and_man_pages(context: &Context) {
    for shell in ["bash", "zsh", "fish"] {
        let ended = context.vexlab(["completions", shell]).run();
        assert_eq!(ended.status, 0, "{ended}");
        assert!(ended.stdout.contains("vexlab") && ended.stdout.contains("c-only"), "{ended}");
    }
    let ended = context.vexlab(["man", "pages"]).run();
    assert_eq!(ended.status, 0, "{ended}");
    let mut pages = names_in(&context.dir().join("pages"));
    pages.retain(|page| ["vexlab.1", "vexlab-test.1", "vexlab-kernel-add.1"].contains(&page.as_str()));
    assert_eq!(pages.len(), 3, "{pages:?}");
}

fn names_are_listed(context: &Context) {
    let ended = context.vexlab(["kernel", "list"]).env("XDG_CACHE_HOME", context.empty_cache()).run();
    assert_eq!(ended.status, 0, "{ended}");
    for name in ["debian-6.1 ", "debian-6.1-cloud ", "debian-6.12 ", "host "] {
        let line = ended.stdout.lines().find(|line| line.starts_with(name));
        let line = line.unwrap_or_else(|| panic!("{name} is listed; {ended}"));
        assert!(name == "host " || line.contains("not here"), "nothing is in an empty cache; {ended}");
    }
}

fn init_writes_a_project(context: &Context) {
    let dir = context.case("good_c");
    fs::remove_file(dir.join("vexlab.toml")).expect("the copy has one");
    let ended = context.vexlab(["init"]).dir(&dir).run();
    assert_eq!(ended.status, 0, "{ended}");
    let ended = context.vexlab(["test", "--kernel", KERNEL]).dir(&dir).run();
    assert!(ended.stdout.contains("passed: good_c on debian-6.1-cloud"), "{ended}");
    let ended = context.vexlab(["init"]).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 2
    error: [DIR]/good_c/vexlab.toml is there already
      help: edit it, or remove it first
    ");
}

/// A `PATH` with all that the present one has, but no emulator.
pub(crate) fn path_without_qemu(context: &Context) -> PathBuf {
    path_without(context, "qemu-")
}

/// A `PATH` with all that the present one has, but nothing whose name begins like this.
pub(crate) fn path_without(context: &Context, prefix: &str) -> PathBuf {
    let programs = context.dir().join("programs");
    fs::create_dir(&programs).expect("a folder for programs");
    let path = std::env::var_os("PATH").expect("there is a PATH");
    for dir in std::env::split_paths(&path) {
        for name in names_in(&dir).into_iter().filter(|name| !name.starts_with(prefix)) {
            // The first of a name is the one that counts.
            let _ = symlink(dir.join(&name), programs.join(&name));
        }
    }
    programs
}

fn no_qemu(context: &Context) {
    let programs = path_without_qemu(context);
    let dir = context.case("good_c");
    let ended = context.vexlab(["test"]).env("PATH", &programs).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    lab-failed: good_c on debian-6.1-cloud
    error: qemu-system-x86_64 is not installed
      help: apt-get install --no-install-recommends qemu-system-x86
    ");

    let ended = context.vexlab(["doctor"]).env("PATH", &programs).run();
    assert_eq!(ended.status, 20, "{ended}");
    let line = ended.stdout.lines().find(|line| line.contains("qemu-system-x86_64"));
    assert!(line.is_some_and(|line| line.starts_with("MISSING")), "{ended}");
    assert!(ended.stdout.contains("apt-get install") && ended.stdout.contains("qemu-system-x86"), "{ended}");
}

/// A `PATH` in which another program comes before the emulator.
pub(crate) fn path_with_fake_qemu(context: &Context, script: &str) -> String {
    let programs = context.dir().join("fake");
    fs::create_dir(&programs).expect("a folder for programs");
    executable(&programs.join("qemu-system-x86_64"), script);
    format!("{}:{}", programs.display(), std::env::var("PATH").expect("there is a PATH"))
}

/// The emulator itself.
pub(crate) fn real_qemu() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    let mut programs = std::env::split_paths(&path).map(|dir| dir.join("qemu-system-x86_64"));
    programs.find(|path| path.is_file()).expect("QEMU is installed")
}

fn executable(path: &Path, script: &str) {
    fs::write(path, script).expect("a program can be written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("and made one");
}

fn qemu_that_cannot_start(context: &Context) {
    let path = path_with_fake_qemu(context, "#!/bin/sh\necho 'qemu: the stars are not right' >&2\nexit 1\n");
    let dir = context.case("good_c");
    let call = context.vexlab(["test", "--accel", "tcg"]).env("PATH", path);
    let ended = call.env("XDG_CACHE_HOME", context.own_cache()).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    lab-failed: good_c on debian-6.1-cloud
    error: [DIR]/fake/qemu-system-x86_64 could not start the machine
      cause: qemu: the stars are not right
      help: `vexlab doctor` looks at QEMU
    ");
}

/// A machine that never says a word is ended, booted once more, and given up.
fn qemu_that_says_nothing(context: &Context) {
    let calls = context.dir().join("calls");
    let fake =
        format!("#!/bin/sh\n[ \"$1\" = --version ] && exit 1\necho >> {}\nexec sleep 600\n", calls.display());
    let path = path_with_fake_qemu(context, &fake);
    let manifest = fs::read_to_string(modules().join("good_c/vexlab.toml")).expect("the case has one");
    let dir = project(context, &format!("{manifest}\n[timeouts]\nboot = 1\n"));
    let cache = context.own_cache();
    let call = context.vexlab(["test", "--accel", "tcg"]).env("PATH", path);
    let ended = call.env("XDG_CACHE_HOME", &cache).dir(&dir).run();
    insta::assert_snapshot!(ended.told(), @r"
    status 20
    lab-failed: good_c on debian-6.1-cloud
    the machine said nothing for 1 s; it was ended and is booted once more
    error: the machine did not boot: it said nothing
      cause: no answer within 1 s
      help: on a very slow machine, raise `boot` under [timeouts] in vexlab.toml
    ");
    let calls = fs::read_to_string(calls).expect("it was called").lines().count();
    assert_eq!(calls, 2, "it is tried once more, and not again");
}
