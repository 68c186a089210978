// SPDX-License-Identifier: GPL-2.0-only

use std::io::{Cursor, Write};

use fatfs::{FatType, FileSystem, FormatVolumeOptions, FsOptions};
use serde_json::{Value, json};

use super::recipe::{ADDRESS, GATEWAY, NAME_SERVER};
use super::ssh::Keys;
use crate::error::{Context, Result};

/// The volume's label, by which cloud-init finds it.
///
/// Source: cloud-init's documentation, "NoCloud".
const LABEL: &[u8; 11] = b"cidata     ";

/// The size of the volume in bytes.
const SIZE: usize = 1 << 20;

/// The address of the machine's network card.
pub(super) const MAC: &str = "52:54:00:76:65:78";

/// The name of the port to the [keeper](KEEPER) in the machine.
pub(super) const PORT: &str = "vexlab.keeper";

/// What does in the machine what is asked for through the port.
const KEEPER: &str = include_str!("guest/keeper.py");

const KEEPER_PLACE: &str = "/usr/local/lib/vexlab-keeper.py";
const KEEPER_UNIT: &str = "vexlab-keeper.service";

/// What a machine is told when it boots for the first time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seed {
    /// Its name.
    pub host_name: String,
    /// The user beside root: the name, and the number where it is to be that of the user here.
    pub user: (String, Option<u32>),
    /// Debian packages to install, by the machine itself.
    pub packages: Vec<String>,
}

impl Seed {
    /// The machine's configuration, in the form of cloud-init. `word` is what the machine says once all of it is
    /// done.
    fn user_data(&self, keys: &Keys, word: &str) -> Value {
        let (name, number) = &self.user;
        let mut user = json!({
            "name": name,
            "shell": "/bin/bash",
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "lock_passwd": true,
            "ssh_authorized_keys": [keys.user_public()],
        });
        if let Some(number) = number {
            user["uid"] = json!(number);
        }
        let unit = format!(
            "[Unit]\nAfter=cloud-init.service cloud-init-network.service cloud-final.service ssh.service sshd.service\n\
             [Service]\nExecStart=/usr/bin/python3 {KEEPER_PLACE} {word}\n"
        );
        let mut data = json!({
            "users": [user, { "name": "root", "ssh_authorized_keys": [keys.user_public()] }],
            "disable_root": false,
            "ssh_pwauth": false,
            "ssh_deletekeys": true,
            "ssh_genkeytypes": ["ed25519"],
            "ssh_keys": {
                "ed25519_private": keys.host_private(),
                "ed25519_public": keys.host_public(),
            },
            "no_ssh_fingerprints": true,
            "write_files": [
                { "path": KEEPER_PLACE, "content": KEEPER },
                { "path": format!("/etc/systemd/system/{KEEPER_UNIT}"), "content": unit },
            ],
            "runcmd": [["mkdir", "-p", "/src"], ["systemctl", "start", "--no-block", KEEPER_UNIT]],
        });
        if !self.packages.is_empty() {
            data["packages"] = json!(self.packages);
            data["package_update"] = json!(true);
        }
        data
    }

    /// The network: what QEMU has for one machine. The first version of this format is understood by all.
    fn network() -> Value {
        json!({
            "version": 1,
            "config": [{
                "type": "physical",
                "name": "eth0",
                "mac_address": MAC,
                "subnets": [{
                    "type": "static",
                    "address": ADDRESS,
                    "gateway": GATEWAY,
                    "dns_nameservers": [NAME_SERVER],
                }],
            }],
        })
    }

    /// The volume for a machine with these keys, which says `word` when it is ready.
    ///
    /// # Errors
    ///
    /// When what is in it is too long.
    pub(super) fn volume(&self, keys: &Keys, word: &str) -> Result<Vec<u8>> {
        let files = [
            ("meta-data", json!({ "instance-id": word, "local-hostname": self.host_name }).to_string()),
            ("user-data", format!("#cloud-config\n{:#}\n", self.user_data(keys, word))),
            ("network-config", Self::network().to_string()),
        ];
        let write = || -> std::io::Result<Vec<u8>> {
            let mut volume = Cursor::new(vec![0; SIZE]);
            let options = FormatVolumeOptions::new().volume_label(*LABEL).fat_type(FatType::Fat12);
            fatfs::format_volume(&mut volume, options)?;
            let system = FileSystem::new(&mut volume, FsOptions::new())?;
            for (name, content) in &files {
                let mut file = system.root_dir().create_file(name)?;
                file.write_all(content.as_bytes())?;
                file.flush()?;
            }
            system.unmount()?;
            Ok(volume.into_inner())
        };
        write().context(|| "write the configuration for cloud-init".to_owned())
    }

    /// What of it shapes the machine: all but its secrets.
    pub(super) fn shape(&self) -> String {
        format!("{:?}\n{KEEPER}", self.user_data(&Keys::none(), ""))
            + &format!("{}{}", self.host_name, Self::network())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn seed() -> Seed {
        Seed { host_name: "vexlab".into(), user: ("vex".into(), Some(1000)), packages: vec!["fio".into()] }
    }

    #[test]
    fn the_volume_has_what_cloud_init_reads() {
        let volume = seed().volume(&Keys::none(), "word").unwrap();
        let system = FileSystem::new(Cursor::new(volume), FsOptions::new()).unwrap();
        assert_eq!(system.volume_label(), "cidata");
        let read = |name: &str| {
            let mut text = String::new();
            system.root_dir().open_file(name).unwrap().read_to_string(&mut text).unwrap();
            text
        };
        insta::assert_snapshot!(read("meta-data"), @r#"{"instance-id":"word","local-hostname":"vexlab"}"#);
        insta::assert_snapshot!(read("network-config"), @r#"{"config":[{"mac_address":"52:54:00:76:65:78","name":"eth0","subnets":[{"address":"10.0.2.15/24","dns_nameservers":["10.0.2.3"],"gateway":"10.0.2.2","type":"static"}],"type":"physical"}],"version":1}"#);
        let user_data = read("user-data");
        let data: Value = serde_json::from_str(user_data.strip_prefix("#cloud-config\n").unwrap()).unwrap();
        assert_eq!(data, seed().user_data(&Keys::none(), "word"));
        assert!(data["write_files"][1]["content"].as_str().unwrap().ends_with("vexlab-keeper.py word\n"));
        assert_eq!((&data["users"][0]["uid"], &data["packages"][0]), (&json!(1000), &json!("fio")));
    }

    #[test]
    fn another_configuration_has_another_shape_and_a_secret_has_none() {
        let others = [
            Seed { host_name: "other".into(), ..seed() },
            Seed { user: ("vex".into(), None), ..seed() },
            Seed { packages: Vec::new(), ..seed() },
        ];
        for other in others {
            assert_ne!(other.shape(), seed().shape(), "{other:?}");
        }
        assert!(!seed().shape().contains("PRIVATE KEY"));
    }
}
