// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::checking::FACTS;
use super::helper::{self, Said};
use super::{Built, Inside, SHORT};
use crate::build::{self, RustPart};
use crate::cache::write_atomically;
use crate::error::{Context, Error, Kind, Result};
use crate::kernel::Kernel;
use crate::share::SOURCE;

/// Where the machine builds: a folder of links to the sources, since those can't be written to.
const BUILDS: &str = "/var/lib/vexlab/build";

/// The longest file that is fetched from a machine, in bytes.
const FILE_LIMIT: u64 = 32 << 20;

impl Inside<'_> {
    /// Builds the module, fetches it, and has it judged.
    pub(super) fn build(&mut self) -> Result<Built> {
        let started = Instant::now();
        let how = self.options.build;
        let (release, version, headers) = self.look()?;
        let kernel = self.kernel(&release, &version, &headers)?;
        let rust = self.rust(&kernel)?;
        let root = format!("{BUILDS}/{}", self.project.name());
        if let Some(rust) = &rust {
            self.check_interface(rust, &release, &headers, &format!("{root}-interface"))?;
        }
        let dir = self.provide_sources(rust.as_ref(), &headers, &root)?;
        let mut words = make_words(&headers, &dir);
        let root_here = self.project.root().display().to_string();
        build::ktest::provide(self.project)?;
        let output = self.project.output_dir();
        let output = Path::new(SOURCE).join(output.strip_prefix(self.project.root()).unwrap_or(&output));
        let flags = build::ktest::compiler_flags(&output, how.tests);
        words.push(format!("KCFLAGS=-ffile-prefix-map={root}={root_here} {flags}"));
        words.extend(build::ktest::make_variables(&output, how.tests));
        words.extend(self.project.manifest().module.make.iter().cloned());
        if how.c_only {
            words.push(build::C_ONLY.to_owned());
        }
        let name = self.project.name().to_owned();
        let what = format!("compiling {name} in {}", self.place.name);
        self.lab.progress(&what, 0, 0);
        let made = self.make(&words);
        self.lab.progress_end();
        let made = made?;
        let output = build::compiler_output(&made.text(), &[]).replace(&root, &root_here);
        let output = renamed(&output, SOURCE, &root_here);
        if made.status != 0 {
            let error =
                Error::new(Kind::Build, format!("the C build of {name} in {} failed", self.place.name));
            return Err(error.with_source(output));
        }
        if !output.trim().is_empty() {
            self.lab.note(output.trim_end());
        }
        let there = format!("{dir}/{name}.ko");
        let module = self.check(&there, &kernel, rust.as_ref())?;
        let key = rust.map(|rust| rust.key);
        Ok(Built { module, release, time: started.elapsed(), there, key })
    }

    fn make(&mut self, words: &[String]) -> Result<Said> {
        let limit = self.project.manifest().timeouts.build;
        self.ask("the C build", json!({ "op": "run", "words": words }), limit)
    }

    /// The machine's kernel, its release and which build of that it is, and the headers that belong to it.
    fn look(&mut self) -> Result<(String, String, String)> {
        let said = self.ask("looking around", json!({ "op": "look" }), SHORT)?;
        said.taint().into_iter().for_each(|taint| self.seen.tainted(taint));
        let text = |key: &str| said.value.get(key).and_then(|value| value.as_str()).map(str::to_owned);
        if said.value.get("source").and_then(serde_json::Value::as_bool) != Some(true) {
            return Err(Error::usage(format!(
                "the machine {} does not see the project: nothing is on {SOURCE}",
                self.place.name
            ))
            .with_remedy("start it in the project's folder"));
        }
        let release = text("release").unwrap_or_default();
        let version = text("version").unwrap_or_default();
        headers(self.place.name, &release, text("build"), text("build_release"))
            .map(|headers| (release, version, headers))
    }

    /// What is to be known here of the machine's kernel. It is fetched once for each.
    fn kernel(&mut self, release: &str, version: &str, headers: &str) -> Result<Kernel> {
        let dir = self.kernel_dir(release);
        let of = dir.join("version");
        if fs::read_to_string(&of).is_ok_and(|of| of != version) {
            for name in ["config", "Module.symvers", FACTS] {
                // What was not there need not go.
                let _ = fs::remove_file(dir.join(name));
            }
        }
        write_atomically(&of, version.as_bytes())?;
        for (name, from) in [
            ("config", format!("{headers}/.config")),
            ("Module.symvers", format!("{headers}/Module.symvers")),
        ] {
            if !dir.join(name).is_file() {
                let content = self.read(&from).map_err(|error| {
                    error.while_doing(&format!("the machine {} has no {from}", self.place.name))
                })?;
                write_atomically(&dir.join(name), &content)?;
            }
        }
        Kernel::elsewhere(&format!("in-{release}"), release, &dir)
    }

    /// Where what is known of this kernel is kept.
    pub(super) fn kernel_dir(&self, release: &str) -> PathBuf {
        self.project.output_dir().join(format!("in-{release}"))
    }

    /// What a file in the machine has in it.
    pub(super) fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        let request = json!({ "op": "read", "path": path, "limit": FILE_LIMIT });
        let said = self.ask(&format!("reading {path}"), request, SHORT)?;
        match said.failure() {
            Some(why) => Err(Error::lab(why)),
            None => Ok(said.data),
        }
    }

    /// Has the machine's compiler compare the header with the Rust side. What has been found to agree for this
    /// kernel is not compared again: a fresh machine would begin anew each time.
    fn check_interface(&mut self, rust: &RustPart, release: &str, headers: &str, dir: &str) -> Result<()> {
        let stamp = self.project.output_dir().join(format!("in-{release}/interface-stamp"));
        let mut hash = Sha256::new();
        for (name, content) in &rust.interface {
            hash.update(format!("{name} {}\n", content.len()));
            hash.update(content);
        }
        let digest: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if rust.interface.is_empty() || fs::read_to_string(&stamp).is_ok_and(|agreed| agreed == digest) {
            return Ok(());
        }
        for (name, content) in &rust.interface {
            self.put(&format!("{dir}/{name}"), content)?;
        }
        let said = self.make(&make_words(headers, dir))?;
        if said.status == 0 {
            return write_atomically(&stamp, digest.as_bytes());
        }
        Err(Error::new(Kind::Build, "the header and the Rust side differ: the comparison failed")
            .with_source(build::compiler_output(&said.text(), &[])))
    }

    /// Has the links to the sources and the Rust object in the machine. Gives the folder to build in.
    fn provide_sources(&mut self, rust: Option<&RustPart>, headers: &str, root: &str) -> Result<String> {
        let project = self.project.root();
        let source_dir = self.project.module_dir()?;
        let relative = source_dir.strip_prefix(project).unwrap_or(Path::new(""));
        let dir = if relative.as_os_str().is_empty() {
            root.to_owned()
        } else {
            format!("{root}/{}", relative.display())
        };
        let sources = build::sources(project)?;
        let links: serde_json::Map<String, serde_json::Value> = sources
            .keys()
            .map(|path| (path.display().to_string(), json!(format!("{SOURCE}/{}", path.display()))))
            .collect();
        self.ask(
            "providing the sources",
            json!({ "op": "mirror", "root": root, "links": links, "keep": [] }),
            SHORT,
        )?;
        if let Some(rust) = rust {
            let content = fs::read(&rust.object).context(|| format!("read {}", rust.object.display()))?;
            let object = format!("{dir}/{}", rust.name);
            // What was sent is compared with what is there, and objtool changes it.
            if self.put(&format!("{root}-rust.o"), &content)? {
                self.objtool(rust, headers, &format!("{root}-rust.o"), &object)?;
            }
            let command = format!("cmd_{object} := linked by vexlab\n");
            self.put(&format!("{dir}/.{}.cmd", rust.name), command.as_bytes())?;
        }
        Ok(dir)
    }

    /// Puts the Rust object in its place, after the objtool of the machine's headers has looked at it, where that is
    /// ours to do.
    fn objtool(&mut self, rust: &RustPart, headers: &str, sent: &str, place: &str) -> Result<()> {
        let copy = json!({ "op": "run", "words": ["cp", "-f", sent, place] });
        let mut said = self.ask("placing the Rust object", copy, SHORT)?;
        if let (0, Some(arguments)) = (said.status, &rust.objtool) {
            let mut words = vec![format!("{headers}/tools/objtool/objtool")];
            words.extend(arguments.iter().cloned());
            words.push(place.to_owned());
            said = self.ask("objtool", json!({ "op": "run", "words": words }), SHORT)?;
        }
        if said.status == 0 {
            return Ok(());
        }
        let _ =
            self.ask("removing the Rust object", json!({ "op": "run", "words": ["rm", "-f", sent] }), SHORT);
        Err(Error::new(Kind::Build, format!("the Rust object can't be placed in {}", self.place.name))
            .with_source(said.text()))
    }

    /// Writes a file in the machine; gives whether it was another before.
    fn put(&mut self, path: &str, content: &[u8]) -> Result<bool> {
        let data = helper::encode(content);
        let said = self.ask("writing a file", json!({ "op": "put", "path": path, "data": data }), SHORT)?;
        match said.failure() {
            Some(why) => Err(Error::lab(format!("write {path} in {}", self.place.name)).with_source(why)),
            None => Ok(said.value.get("changed").and_then(serde_json::Value::as_bool) != Some(false)),
        }
    }
}

/// The command that builds a module in the machine.
fn make_words(headers: &str, dir: &str) -> Vec<String> {
    let mut words: Vec<String> = ["make", "-s", "-C", headers].map(str::to_owned).into();
    words.push(format!("M={dir}"));
    // The kernel's vmlinux, which module BTF is made against, is not part of the headers.
    words.extend(["-j2", "CONFIG_DEBUG_INFO_BTF_MODULES=", "modules"].map(str::to_owned));
    words
}

/// A text in which what is below one folder, and that folder, are named as below another; `/usr/src` is not below `/src`.
fn renamed(text: &str, from: &str, to: &str) -> String {
    let is_of_a_name = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    let mut renamed = String::new();
    let mut copied = 0;
    for (at, _) in text.match_indices(from) {
        let after = &text[at + from.len()..];
        let goes_on = after.starts_with(|c| c != '/' && is_of_a_name(c));
        if !goes_on && !text[..at].ends_with(is_of_a_name) {
            renamed.push_str(&text[copied..at]);
            renamed.push_str(to);
            copied = at + from.len();
        }
    }
    renamed + &text[copied..]
}

/// The headers of the running kernel, where they are its own.
fn headers(machine: &str, release: &str, build: Option<String>, of: Option<String>) -> Result<String> {
    let remedy = format!("in the machine: apt-get install linux-headers-{release}");
    match (build, of) {
        (Some(build), Some(of)) if of == release => Ok(build),
        (Some(build), of) => {
            let of = of.unwrap_or_else(|| "no kernel".to_owned());
            let what =
                format!("the machine {machine} runs {release}, and its headers in {build} are those of {of}");
            Err(Error::lab(what).with_remedy(remedy))
        }
        (None, _) => Err(Error::lab(format!("the machine {machine} has no headers of its kernel {release}"))
            .with_remedy(remedy)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_below_the_folder_is_renamed() {
        let text = "/src/src/a.c:1: /usr/src/b.h, see \"/src\", /src2 and /home/src/x; (/src/c.rs)";
        let named = renamed(text, "/src", "/home/src/x");
        assert_eq!(
            named,
            "/home/src/x/src/a.c:1: /usr/src/b.h, see \"/home/src/x\", /src2 and /home/src/x; (/home/src/x/c.rs)"
        );
    }

    #[test]
    fn headers_of_another_kernel_are_named_with_it() {
        let of = |build: Option<&str>, of: Option<&str>| {
            headers("demo", "6.1.0-56-amd64", build.map(str::to_owned), of.map(str::to_owned))
        };
        assert_eq!(of(Some("/h"), Some("6.1.0-56-amd64")).unwrap(), "/h");
        let said = |error: Error| format!("{error}\n{}", error.remedy().unwrap_or_default());
        insta::assert_snapshot!(said(of(Some("/h"), Some("6.1.0-55-amd64")).unwrap_err()), @r"
        the machine demo runs 6.1.0-56-amd64, and its headers in /h are those of 6.1.0-55-amd64
        in the machine: apt-get install linux-headers-6.1.0-56-amd64
        ");
        insta::assert_snapshot!(said(of(None, None).unwrap_err()), @r"
        the machine demo has no headers of its kernel 6.1.0-56-amd64
        in the machine: apt-get install linux-headers-6.1.0-56-amd64
        ");
    }
}
