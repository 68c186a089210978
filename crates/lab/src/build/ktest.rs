// SPDX-License-Identifier: GPL-2.0-only
//! What tests in a module need of its build: the headers, the linker script that puts the tests side by side, and the
//! cargo feature of the Rust side.

use std::fs;
use std::path::{Path, PathBuf};

use super::fingerprint::named_by_content;
use crate::cache::{make_dir, write_unless_same};
use crate::error::Result;
use crate::project::Project;

/// The make variable that tells a Kbuild file that tests are to be in the module.
const VARIABLE: &str = "VEXLAB_TEST=y";

/// The cargo feature of a Rust side that has tests.
const FEATURE: &str = "ktest";

/// The linker script.
const SCRIPT: &str = include_str!("../../../ktest/ktest.lds");

/// What a C build finds, by the names that it has in the folder for that.
const HEADERS: [(&str, &str); 4] = [
    ("vexlab/kbench.h", include_str!("../../../ktest/include/vexlab/kbench.h")),
    ("vexlab/kbench_main.h", include_str!("../../../ktest/include/vexlab/kbench_main.h")),
    ("vexlab/ktest.h", include_str!("../../../ktest/include/vexlab/ktest.h")),
    ("vexlab/ktest_main.h", include_str!("../../../ktest/include/vexlab/ktest_main.h")),
];

/// The folder with the headers, for a project whose output is in `output`.
fn folder(output: &Path) -> PathBuf {
    output.join("include")
}

/// Has the headers in the project's folder for output. What is there already stays as it is: what includes them would
/// be compiled again.
pub(crate) fn provide(project: &Project) -> Result<()> {
    let folder = folder(&project.output_dir());
    make_dir(&folder.join("vexlab"))?;
    for (name, content) in HEADERS {
        write_unless_same(&folder.join(name), content.as_bytes())?;
    }
    write_unless_same(&folder.join(script_name()), SCRIPT.as_bytes())
}

/// The script's name, another one for another script: make links again where its command is another.
fn script_name() -> String {
    named_by_content("ktest", SCRIPT, "lds")
}

/// What the headers are, as far as it shapes what is compiled.
pub(super) fn text() -> String {
    HEADERS.map(|(_, content)| content).concat()
}

/// What the C compiler is told, where the project's output is in `output`. The headers are there in each build.
pub(crate) fn compiler_flags(output: &Path, tests: bool) -> String {
    let include = format!("-I{}", folder(output).display());
    if tests { format!("{include} -DVEXLAB_TEST") } else { include }
}

/// What make is told for a module with its tests in it, where the project's output is in `output`.
pub(crate) fn make_variables(output: &Path, tests: bool) -> Vec<String> {
    if !tests {
        return Vec::new();
    }
    let script = folder(output).join(script_name());
    vec![VARIABLE.to_owned(), format!("LDFLAGS_MODULE=-T {}", script.display())]
}

/// The cargo feature with which the tests of a crate's Rust side are built, if it has them.
pub(super) fn feature(crate_dir: &Path, tests: bool) -> Option<&'static str> {
    let text = fs::read_to_string(crate_dir.join("Cargo.toml")).ok().filter(|_| tests)?;
    // What is no manifest is cargo's to complain of.
    let manifest: toml::Table = toml::from_str(&text).ok()?;
    let declared = manifest.get("features").is_some_and(|features| features.get(FEATURE).is_some());
    let dependency = manifest.get("dependencies").and_then(|all| all.get(FEATURE));
    let optional = dependency.and_then(|one| one.get("optional")).and_then(toml::Value::as_bool);
    (declared || optional == Some(true)).then_some(FEATURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_build_with_tests_is_told_of_them() {
        let output = Path::new("/p/target/vexlab");
        assert_eq!(compiler_flags(output, false), "-I/p/target/vexlab/include");
        assert_eq!(compiler_flags(output, true), "-I/p/target/vexlab/include -DVEXLAB_TEST");
        assert!(make_variables(output, false).is_empty());
        let script = format!("LDFLAGS_MODULE=-T /p/target/vexlab/include/{}", script_name());
        assert_eq!(make_variables(output, true), ["VEXLAB_TEST=y", &script]);
    }

    #[test]
    fn the_headers_are_written_once() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("vexlab.toml"), "kernels = ['k']\n[module]\nname = 'm'\n").unwrap();
        let project = Project::find(dir.path()).unwrap();
        provide(&project).unwrap();
        let header = project.output_dir().join("include/vexlab/ktest.h");
        let time = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
        let before = std::time::SystemTime::UNIX_EPOCH;
        fs::File::open(&header).unwrap().set_modified(before).unwrap();
        provide(&project).unwrap();
        assert_eq!(time(&header), before);
        fs::write(&header, "old").unwrap();
        provide(&project).unwrap();
        assert!(fs::read_to_string(&header).unwrap().contains("KTEST_LAYOUT"));
    }

    #[test]
    fn a_crate_has_tests_if_it_has_the_feature() {
        let dir = tempfile::tempdir().unwrap();
        let feature = |manifest: &str, tests| {
            fs::write(dir.path().join("Cargo.toml"), manifest).unwrap();
            feature(dir.path(), tests)
        };
        let optional = "[dependencies]\nktest = { path = '../k', optional = true }";
        assert_eq!(feature(optional, true), Some("ktest"));
        assert_eq!(feature(optional, false), None);
        assert_eq!(feature("[features]\nktest = ['dep:ktest']", true), Some("ktest"));
        assert_eq!(feature("[dependencies]\nktest = '1'", true), None, "it is always there");
        assert_eq!(feature("[package]\nname = 'x'", true), None);
        assert_eq!(feature("no manifest", true), None);
    }
}
