// SPDX-License-Identifier: GPL-2.0-only

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::Lab;
use crate::error::{Context, Error, Result};
use crate::process::Program;

/// The private key that opens the machine.
const USER_KEY: &str = "id_ed25519";
/// The private key by which the machine is known.
const HOST_KEY: &str = "host_ed25519";
/// What ssh is told of the machine.
const KNOWN_HOSTS: &str = "known_hosts";

/// The package that has ssh.
pub(super) const PACKAGE: &str = "openssh-client";

/// The two keys of a machine: its own, and the one that opens it. They are made for it, and live in a folder of the
/// cache that only its owner can read. All machines that are restored from one state have the keys of that state:
/// it is the past of each of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    user_public: String,
    host_private: String,
    host_public: String,
}

impl Keys {
    /// Makes new keys in a folder.
    ///
    /// # Errors
    ///
    /// When `ssh-keygen` is missing or fails.
    pub fn make(lab: &Lab, dir: &Path) -> Result<Self> {
        Self::remove(dir);
        for name in [USER_KEY, HOST_KEY] {
            let path = dir.join(name);
            let finished = Program::new("ssh-keygen")
                .from_package(PACKAGE)
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "vexlab", "-f"])
                .args([&path])
                .run(&lab.cancel)?;
            if !finished.status.success() {
                return Err(Error::lab(format!("make the key {}", path.display()))
                    .with_source(finished.errors.trim().to_owned()));
            }
        }
        Self::read(dir)
    }

    /// Reads the keys in a folder.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub fn read(dir: &Path) -> Result<Self> {
        let read = |name: String| {
            let path = dir.join(name);
            fs::read_to_string(&path).context(|| format!("read the key {}", path.display()))
        };
        let public = |name: &str| read(format!("{name}.pub")).map(|text| text.trim().to_owned());
        Ok(Self {
            user_public: public(USER_KEY)?,
            host_private: read(HOST_KEY.to_owned())?,
            host_public: public(HOST_KEY)?,
        })
    }

    /// Copies the keys of a saved machine into the folder of one that is restored from it.
    ///
    /// # Errors
    ///
    /// When that fails.
    pub fn copy(from: &Path, to: &Path) -> Result<Self> {
        for name in
            [USER_KEY.to_owned(), format!("{USER_KEY}.pub"), HOST_KEY.to_owned(), format!("{HOST_KEY}.pub")]
        {
            let (from, to) = (from.join(&name), to.join(&name));
            let copy = || -> std::io::Result<()> {
                let content = fs::read(&from)?;
                let mut file =
                    fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&to)?;
                file.set_permissions(fs::Permissions::from_mode(0o600))?;
                std::io::Write::write_all(&mut file, &content)
            };
            copy().context(|| format!("copy the key {}", from.display()))?;
        }
        Self::read(to)
    }

    /// Removes the keys in a folder, if there are some, and what ssh was told of them.
    pub(super) fn remove(dir: &Path) {
        for name in [USER_KEY, HOST_KEY] {
            let _ = fs::remove_file(dir.join(name));
            let _ = fs::remove_file(dir.join(format!("{name}.pub")));
        }
        let _ = fs::remove_file(dir.join(KNOWN_HOSTS));
    }

    /// No keys, for what is not secret.
    pub(crate) fn none() -> Self {
        Self { user_public: String::new(), host_private: String::new(), host_public: String::new() }
    }

    /// The line for `authorized_keys`.
    pub fn user_public(&self) -> &str {
        &self.user_public
    }

    pub(super) fn host_private(&self) -> &str {
        &self.host_private
    }

    /// The type of the machine's own key, and the key.
    pub fn host_public(&self) -> &str {
        &self.host_public
    }
}

/// How a machine is reached by ssh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ssh {
    dir: PathBuf,
    port: u16,
    user: String,
}

impl Ssh {
    /// For the machine whose keys are in this folder, and whose port is this one of 127.0.0.1. Writes what ssh is to
    /// know of it: its key is known before the first call, and no other is taken.
    ///
    /// # Errors
    ///
    /// When that can't be written.
    pub fn new(dir: &Path, keys: &Keys, port: u16, user: &str) -> Result<Self> {
        let key: Vec<&str> = keys.host_public().split(' ').take(2).collect();
        let line = format!("[127.0.0.1]:{port} {}\n", key.join(" "));
        let path = dir.join(KNOWN_HOSTS);
        fs::write(&path, line).context(|| format!("write {}", path.display()))?;
        Ok(Self { dir: dir.to_owned(), port, user: user.to_owned() })
    }

    /// For the machine with this folder, which runs.
    ///
    /// # Errors
    ///
    /// When it can't be read how it is reached.
    pub fn of_machine(dir: &Path) -> Result<Self> {
        let path = dir.join(KNOWN_HOSTS);
        let text = fs::read_to_string(&path).context(|| format!("read {}", path.display()))?;
        let port = text.strip_prefix("[127.0.0.1]:").and_then(|rest| rest.split(' ').next()?.parse().ok());
        let port = port.ok_or_else(|| Error::lab(format!("{} names no port", path.display())))?;
        Ok(Self { dir: dir.to_owned(), port, user: super::USER.to_owned() })
    }

    /// The same machine, for another user.
    pub fn with_user(&self, user: &str) -> Self {
        Self { user: user.to_owned(), ..self.clone() }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn options(&self) -> [(&'static str, String); 9] {
        let known = self.dir.join(KNOWN_HOSTS);
        [
            ("HostName", "127.0.0.1".to_owned()),
            ("Port", self.port.to_string()),
            ("User", self.user.clone()),
            ("IdentityFile", quoted(&self.dir.join(USER_KEY))),
            ("IdentitiesOnly", "yes".to_owned()),
            ("UserKnownHostsFile", quoted(&known)),
            ("GlobalKnownHostsFile", "/dev/null".to_owned()),
            ("StrictHostKeyChecking", "yes".to_owned()),
            ("BatchMode", "yes".to_owned()),
        ]
    }

    /// The arguments of `ssh` up to the command, or of `scp` and `sftp`: nothing of the user's own configuration
    /// counts.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = ["-F", "none"].map(str::to_owned).to_vec();
        for (name, value) in self.options() {
            arguments.extend(["-o".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }

    /// The whole command line: `ssh`, its arguments, and the command, each word of it as it is.
    pub fn command(&self, command: &[String]) -> Vec<String> {
        let mut line = vec!["ssh".to_owned()];
        line.extend(self.arguments());
        line.extend(["--".to_owned(), "127.0.0.1".to_owned()]);
        line.extend(command.iter().map(|word| shell_word(word)));
        line
    }

    /// A block for `ssh_config`, so that editors reach the machine under this name.
    pub fn config(&self, name: &str) -> String {
        let lines = self.options().map(|(key, value)| format!("    {key} {value}\n"));
        format!("Host {name}\n{}", lines.concat())
    }
}

/// A path as a value for ssh, which takes a space for the end of one.
fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

/// A word as the shell on the other side reads it: ssh hands the words on as one text.
pub(super) fn shell_word(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./=:,+@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{cache::Cache, cancel::Cancel, event::Silent};

    fn keys() -> Keys {
        Keys {
            user_public: "ssh-ed25519 USER vexlab".into(),
            host_private: "PRIVATE".into(),
            host_public: "ssh-ed25519 HOST vexlab".into(),
        }
    }

    #[test]
    fn ssh_is_told_all_that_it_may_believe() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = Ssh::new(dir.path(), &keys(), 40022, "vex").unwrap();
        let there = dir.path().to_str().unwrap();
        insta::assert_snapshot!(fs::read_to_string(dir.path().join(KNOWN_HOSTS)).unwrap(), @"[127.0.0.1]:40022 ssh-ed25519 HOST");
        let line = ssh.command(&["echo".into(), "it's here".into()]).join(" ").replace(there, "DIR");
        insta::assert_snapshot!(line, @r#"ssh -F none -o HostName=127.0.0.1 -o Port=40022 -o User=vex -o IdentityFile="DIR/id_ed25519" -o IdentitiesOnly=yes -o UserKnownHostsFile="DIR/known_hosts" -o GlobalKnownHostsFile=/dev/null -o StrictHostKeyChecking=yes -o BatchMode=yes -- 127.0.0.1 echo 'it'\''s here'"#);
        insta::assert_snapshot!(ssh.with_user("root").config("demo").replace(there, "DIR"), @r#"
        Host demo
            HostName 127.0.0.1
            Port 40022
            User root
            IdentityFile "DIR/id_ed25519"
            IdentitiesOnly yes
            UserKnownHostsFile "DIR/known_hosts"
            GlobalKnownHostsFile /dev/null
            StrictHostKeyChecking yes
            BatchMode yes
        "#);
    }

    #[test]
    fn words_arrive_as_they_are() {
        let words = ["plain/path-1.2", "", "two words", "it's", "$HOME;`id`"];
        let line = words.map(shell_word).join(" ");
        let output = std::process::Command::new("sh").args(["-c", &format!("printf '<%s>' {line}")]).output();
        let said = String::from_utf8(output.unwrap().stdout).unwrap();
        assert_eq!(said, "<plain/path-1.2><><two words><it's><$HOME;`id`>");
    }

    #[test]
    fn keys_are_made_for_their_owner_alone_and_each_time_others() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path().join("cache")).unwrap();
        let lab = Lab { cache, reporter: Arc::new(Silent), cancel: Cancel::default() };
        let made = ["one", "two", "three"].map(|name| {
            let place = dir.path().join(name);
            fs::create_dir(&place).unwrap();
            place
        });
        let one = Keys::make(&lab, &made[0]).unwrap();
        assert_ne!(one, Keys::make(&lab, &made[1]).unwrap());
        assert_eq!(one, Keys::copy(&made[0], &made[2]).unwrap());
        for place in &made {
            for name in [USER_KEY, HOST_KEY] {
                let mode = fs::metadata(place.join(name)).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{name}");
            }
        }
        let error =
            Keys::read(dir.path()).unwrap_err().to_string().replace(dir.path().to_str().unwrap(), "DIR");
        insta::assert_snapshot!(error, @"read the key DIR/id_ed25519.pub");
    }
}
