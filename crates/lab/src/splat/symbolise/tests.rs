// SPDX-License-Identifier: GPL-2.0-only
//! Frames of an object that a compiler made, with its source beside it.

use std::process::Command;
use std::time::Duration;

use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::*;
use crate::splat::{Frame, Kind};

const C: &str = "\
extern int outside(int);
static inline __attribute__((always_inline)) int inner(int x)
{
	return outside(x) * 2;
}
int outer(int x)
{
	return inner(x) + 1;
}
";

struct Case {
    dir: tempfile::TempDir,
    module: ModuleFile,
    size: u64,
    /// Where the call returns to.
    returns: u64,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("project");
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/case.c"), C).unwrap();
        let gcc = Command::new("gcc")
            .current_dir(&root)
            .args(["-O2", "-g", "-c", "./src/../src/case.c", "-o", "case.o"])
            .status();
        assert!(gcc.unwrap().success());
        let bytes = fs::read(root.join("case.o")).unwrap();
        let object = object::File::parse(&*bytes).unwrap();
        let size = object.symbols().map(|symbol| symbol.size()).max();
        let (call, _) = object.section_by_name(".text").unwrap().relocations().next().unwrap();
        let module = ModuleFile { name: "case".to_owned(), file: root.join("case.o"), root };
        Self { dir, module, size: size.unwrap(), returns: call + 4 }
    }

    fn frame(&self, module: Option<&str>) -> Frame {
        Frame {
            symbol: "outer".to_owned(),
            offset: self.returns,
            size: self.size + 0x1000,
            module: module.map(str::to_owned),
            reliable: true,
            exact: false,
            ambiguous: false,
            places: Vec::new(),
        }
    }

    fn splat(&self) -> Splat {
        let trace = vec![self.frame(Some("case")), self.frame(Some("other")), self.frame(None)];
        Splat { trace, ..Splat::new(Kind::Bug, String::new(), Vec::new()) }
    }

    fn symbolised(&self, built: SystemTime) -> Splat {
        let mut splats = [self.splat()];
        symbolise(&mut splats, &self.module, built).unwrap();
        let [splat] = splats;
        splat
    }
}

fn later() -> SystemTime {
    SystemTime::now() + Duration::from_secs(1)
}

#[test]
fn frames_of_the_module_get_their_places_with_the_lines_around() {
    let case = Case::new();
    let splat = case.symbolised(later());
    let places: Vec<_> =
        splat.trace[0].places.iter().map(|p| format!("{} {}:{}", p.function, p.file, p.line)).collect();
    assert_eq!(places, ["inner src/case.c:4", "outer src/case.c:8"]);
    let excerpt: Vec<_> =
        splat.trace[0].places[1].excerpt.iter().map(|l| (l.number, l.text.as_str())).collect();
    assert_eq!(excerpt, [(6, "int outer(int x)"), (7, "{"), (8, "\treturn inner(x) + 1;"), (9, "}")]);
    assert_eq!(splat.trace[0].places[0].language, Language::C);
}

#[test]
fn frames_of_other_modules_and_of_the_kernel_have_none() {
    let case = Case::new();
    let splat = case.symbolised(later());
    assert!(splat.trace[1].places.is_empty() && splat.trace[2].places.is_empty());
}

#[test]
fn lines_that_were_written_after_the_build_are_not_shown() {
    let case = Case::new();
    let splat = case.symbolised(SystemTime::now() - Duration::from_secs(3600));
    assert_eq!(splat.trace[0].places[1].line, 8);
    assert!(splat.trace[0].places.iter().all(|place| place.excerpt.is_empty()));
}

#[test]
fn a_source_that_is_gone_is_still_named() {
    let case = Case::new();
    fs::write(case.module.root.join("src/case.c"), "one line\n").unwrap();
    assert!(case.symbolised(later()).trace[0].places[1].excerpt.is_empty(), "it is too short");
    fs::remove_file(case.module.root.join("src/case.c")).unwrap();
    let splat = case.symbolised(later());
    assert!(splat.trace[0].places[1].file.ends_with("src/case.c"), "{splat:?}");
    assert!(splat.trace[0].places[1].excerpt.is_empty());
}

#[test]
fn a_module_that_can_not_be_read_is_an_error_and_only_asked_for_when_needed() {
    let mut case = Case::new();
    case.module.file = case.dir.path().join("missing.ko");
    let mut splats = [case.splat()];
    let error = symbolise(&mut splats, &case.module, later()).unwrap_err();
    let text = error.to_string().replace(&case.dir.path().display().to_string(), "{dir}");
    insta::assert_snapshot!(text, @"read {dir}/missing.ko");
    splats[0].trace.remove(0);
    symbolise(&mut splats, &case.module, later()).unwrap();
    fs::write(&case.module.file, "no module").unwrap();
    let error = symbolise(&mut [case.splat()], &case.module, later()).unwrap_err();
    let text = error.to_string().replace(&case.dir.path().display().to_string(), "{dir}");
    insta::assert_snapshot!(text, @"read the symbols of {dir}/missing.ko");
}
