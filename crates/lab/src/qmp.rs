// SPDX-License-Identifier: GPL-2.0-only
//! QEMU's own protocol, as far as saving and restoring a machine needs it. Texts in, texts out: a
//! [session](crate::session) has the socket.
//!
//! Source: `docs/interop/qmp-spec.rst` and `qapi/migration.json` of QEMU.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Which QEMU it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Version {
    major: u32,
    minor: u32,
    micro: u32,
    /// What the distribution calls it.
    package: String,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { major, minor, micro, package } = self;
        write!(f, "{major}.{minor}.{micro}")?;
        if package.is_empty() { Ok(()) } else { write!(f, " ({package})") }
    }
}

/// What QEMU says, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Its first words.
    Greeting(Version),
    /// A command was carried out.
    Done,
    /// A command was refused, for this reason.
    Refused(String),
    /// Saving or restoring has come to this point: `completed`, `failed`, and others on the way.
    Migration(String),
    /// Something that is of no interest here.
    Other,
}

impl Message {
    /// What a line says; nothing where it is not of this protocol.
    pub fn parse(line: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Numbers {
            major: u32,
            minor: u32,
            micro: u32,
        }
        let value: Value = serde_json::from_str(line).ok()?;
        if let Some(version) = value.pointer("/QMP/version") {
            let Numbers { major, minor, micro } = Numbers::deserialize(version.get("qemu")?).ok()?;
            let package = version.get("package")?.as_str()?.to_owned();
            return Some(Self::Greeting(Version { major, minor, micro, package }));
        }
        if value.get("return").is_some() {
            return Some(Self::Done);
        }
        if let Some(error) = value.get("error") {
            return Some(Self::Refused(error.get("desc")?.as_str()?.to_owned()));
        }
        match value.get("event")?.as_str()? {
            "MIGRATION" => Some(Self::Migration(value.pointer("/data/status")?.as_str()?.to_owned())),
            _ => Some(Self::Other),
        }
    }
}

// QEMU reads these letter by letter, and is waited for: they are as short as can be.

/// Opens the conversation.
pub fn open() -> String {
    command("qmp_capabilities", None)
}

/// Leaves memory, which is a file already, out of what is saved and restored.
pub fn leave_memory_out() -> String {
    set_capability("x-ignore-shared")
}

/// Has QEMU tell how far it is.
pub fn tell_progress() -> String {
    set_capability("events")
}

fn set_capability(name: &str) -> String {
    let on = json!({ "capability": name, "state": true });
    command("migrate-set-capabilities", Some(json!({ "capabilities": [on] })))
}

/// Stops a machine and saves the state of its devices to a file, which is whole once it is there; where that
/// fails, the machine goes on. One that runs when this is said runs at once when it is restored.
pub fn save(version: &Version, devices: &Path) -> String {
    let file = quoted(devices);
    // It is told that all is saved before that program has come to its end.
    let program = format!("cat > {file}.part && mv {file}.part {file}");
    command("migrate", Some(json!({ "uri": uri(version, devices, &program) })))
}

/// Restores a machine with the state of its devices, and has it go on.
pub fn restore(version: &Version, devices: &Path) -> String {
    let program = format!("cat {}", quoted(devices));
    command("migrate-incoming", Some(json!({ "uri": uri(version, devices, &program) })))
}

/// Stops the machine's processors.
pub fn pause() -> String {
    command("stop", None)
}

/// Has them go on.
pub fn resume() -> String {
    command("cont", None)
}

/// A file for QEMU to read or to write. Before 8.2 it needed a program for that.
fn uri(version: &Version, file: &Path, program: &str) -> String {
    if (version.major, version.minor) >= (8, 2) {
        format!("file:{}", file.display())
    } else {
        format!("exec:{program}")
    }
}

/// A path as a word of the shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}

fn command(name: &str, arguments: Option<Value>) -> String {
    let command = match arguments {
        Some(arguments) => json!({ "execute": name, "arguments": arguments }),
        None => json!({ "execute": name }),
    };
    format!("{command}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(major: u32, minor: u32) -> Version {
        Version { major, minor, micro: 1, package: "Debian 1:10".to_owned() }
    }

    #[test]
    fn what_qemu_says_is_understood() {
        let cases = [
            (
                r#"{"QMP": {"version": {"qemu": {"micro": 1, "minor": 0, "major": 10}, "package": "Debian 1:10"}, "capabilities": ["oob"]}}"#,
                Message::Greeting(version(10, 0)),
            ),
            (r#"{"return": {}}"#, Message::Done),
            (
                r#"{"error": {"class": "GenericError", "desc": "Parameter 'capability' does not accept value 'x'"}}"#,
                Message::Refused("Parameter 'capability' does not accept value 'x'".to_owned()),
            ),
            (
                r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "MIGRATION", "data": {"status": "completed"}}"#,
                Message::Migration("completed".to_owned()),
            ),
            (r#"{"timestamp": {"seconds": 1, "microseconds": 2}, "event": "STOP"}"#, Message::Other),
        ];
        for (line, expected) in cases {
            assert_eq!(Message::parse(line), Some(expected), "{line}");
        }
        for line in ["", "{", "[]", "{}", r#"{"error": 1}"#, r#"{"QMP": {"version": {}}}"#] {
            assert_eq!(Message::parse(line), None, "{line}");
        }
    }

    #[test]
    fn commands_are_one_line_each() {
        let devices = Path::new("/it's/devices");
        let commands = [
            open(),
            leave_memory_out(),
            tell_progress(),
            save(&version(10, 0), devices),
            restore(&version(7, 2), devices),
        ];
        insta::assert_snapshot!(commands.concat(), @r#"
        {"execute":"qmp_capabilities"}
        {"arguments":{"capabilities":[{"capability":"x-ignore-shared","state":true}]},"execute":"migrate-set-capabilities"}
        {"arguments":{"capabilities":[{"capability":"events","state":true}]},"execute":"migrate-set-capabilities"}
        {"arguments":{"uri":"file:/it's/devices"},"execute":"migrate"}
        {"arguments":{"uri":"exec:cat '/it'\\''s/devices'"},"execute":"migrate-incoming"}
        "#);
        insta::assert_snapshot!(save(&version(8, 1), Path::new("/d")), @r#"{"arguments":{"uri":"exec:cat > '/d'.part && mv '/d'.part '/d'"},"execute":"migrate"}"#);
    }

    #[test]
    fn a_version_is_shown_as_qemu_shows_its_own() {
        assert_eq!(version(10, 0).to_string(), "10.0.1 (Debian 1:10)");
        assert_eq!(Version { package: String::new(), ..version(7, 2) }.to_string(), "7.2.1");
    }
}
