// SPDX-License-Identifier: GPL-2.0-only
//! What no machine is shown of this host, whatever is shared.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use share::View;

use crate::Lab;

/// Left out of every home folder. A `*` at the end means every name that begins like it.
const IN_HOMES: &[&str] = &[
    ".ssh",
    ".gnupg",
    ".aws",
    ".azure",
    ".kube",
    ".docker",
    ".config/containers/auth.json",
    ".config/gcloud",
    ".config/gh",
    ".config/glab-cli",
    ".config/hub",
    ".config/op",
    ".config/rclone",
    ".config/sops",
    ".config/pypoetry/auth.toml",
    ".config/git/credentials",
    ".config/google-chrome*",
    ".config/chromium",
    ".config/BraveSoftware",
    ".config/microsoft-edge*",
    ".config/Bitwarden*",
    ".mozilla",
    ".thunderbird",
    ".netrc",
    ".authinfo*",
    ".git-credentials",
    ".cargo/credentials*",
    ".gem/credentials",
    ".m2/settings.xml",
    ".m2/settings-security.xml",
    ".gradle/gradle.properties",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".pgpass",
    ".my.cnf",
    ".s3cfg",
    ".vault-token",
    ".terraform.d/credentials*",
    ".password-store",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".pki",
    ".Xauthority",
    ".ICEauthority",
    "snap/firefox",
    "snap/chromium",
    ".var/app/org.mozilla.firefox",
];

/// Left out of the system.
const IN_SYSTEM: &[&str] = &[
    "/etc/shadow*",
    "/etc/gshadow*",
    "/etc/ssh/ssh_host_*",
    "/etc/ssl/private",
    "/etc/pki/tls/private",
    "/etc/letsencrypt",
    "/etc/krb5.keytab",
    "/etc/wireguard",
    "/etc/NetworkManager/system-connections",
    "/etc/apt/auth.conf*",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/sss/secrets",
    "/var/run/secrets",
];

/// Shown without anything in them: a machine has its own.
pub(super) const OWN: [&str; 5] = ["/proc", "/sys", "/dev", "/run", "/tmp"];

/// Shows everything but credentials.
pub(super) fn view(lab: &Lab) -> View {
    let mut view = View::default();
    for home in homes(&fs::read_to_string("/etc/passwd").unwrap_or_default(), env::home_dir()) {
        IN_HOMES.iter().for_each(|path| view.hide(&home.join(path)));
    }
    IN_SYSTEM.iter().for_each(|path| view.hide(Path::new(path)));
    // The keys of machines.
    view.hide(&lab.cache.path("machines"));
    let ours = env::home_dir();
    if ours.as_deref() != Some(Path::new("/root")) {
        view.hide(Path::new("/root"));
    }
    view
}

/// The home folders of all users of this host that are there, as they are named and as they are.
fn homes(passwd: &str, ours: Option<PathBuf>) -> BTreeSet<PathBuf> {
    let listed = passwd.lines().filter_map(|line| line.split(':').nth(5)).map(PathBuf::from);
    let below_home = fs::read_dir("/home").into_iter().flatten().flatten().map(|entry| entry.path());
    let all = listed.chain(below_home).chain(ours).filter(|home| home.parent().is_some());
    all.flat_map(|home| home.canonicalize().into_iter().chain([home])).filter(|home| home.is_dir()).collect()
}

/// What of our environment programs on this host's file system need.
pub(super) fn environment() -> Vec<(String, String)> {
    const PASSED_ON: [&str; 8] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ"];
    let ours = PASSED_ON.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    ours.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_are_those_of_every_user() {
        let dir = tempfile::tempdir().unwrap();
        let (real, link) = (dir.path().join("real"), dir.path().join("link"));
        fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let passwd =
            format!("a:x:1:1::{}:/bin/sh\nb:x:2:2::/nowhere:/bin/sh\nroot:x:0:0::/:\n", link.display());
        let found = homes(&passwd, None);
        assert!(found.contains(&real.canonicalize().unwrap()) && found.contains(&link));
        assert!(!found.contains(Path::new("/nowhere")) && !found.contains(Path::new("/")));
    }
}
