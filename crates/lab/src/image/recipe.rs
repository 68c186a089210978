// SPDX-License-Identifier: GPL-2.0-only

use super::HOST_NAME;
use crate::apt::{self, Suites};
use crate::error::{Error, Result, nearest};

/// An image that can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recipe {
    /// What the user calls it.
    pub name: &'static str,
    /// What it is, for lists.
    pub about: &'static str,
    /// Where its packages come from; the first one is its own.
    pub(super) suites: Suites,
    /// Units that are not to run, beside those of [`MASKED`].
    masked: &'static [&'static str],
    /// Packages beside [`PACKAGES`].
    more: &'static [&'static str],
    /// Whether a Rust compiler is among them.
    pub(super) has_rust: bool,
}

/// The images that can be built. A new one is a new row.
pub const RECIPES: &[Recipe] = &[
    Recipe {
        name: "debian-12",
        about: "Debian 12 with its generic kernel, headers and compiler",
        suites: apt::BOOKWORM,
        // Each stage of this cloud-init is a Python of its own, which an emulated processor needs seconds to
        // start: everything is done in one of them.
        masked: &["cloud-init-local.service", "cloud-config.service", "cloud-final.service"],
        more: &[],
        has_rust: false,
    },
    Recipe {
        name: "debian-13",
        about: "Debian 13 with its generic kernel, headers and compiler",
        suites: apt::TRIXIE_SECURITY,
        masked: &[],
        more: &[],
        has_rust: false,
    },
    Recipe {
        name: "debian-13-rust",
        about: "the same with a Rust compiler that can build for its kernel",
        suites: apt::TRIXIE_AND_BACKPORTS,
        masked: &[],
        // The rustc of Debian 13 itself, 1.85, knows too few of the kernel's mitigations.
        more: &["rustc/trixie-backports", "cargo/trixie-backports", "rust-src/trixie-backports"],
        has_rust: true,
    },
];

/// What is in an image beside what a Debian can't be without: what boots it, what makes it reachable, and what
/// modules are built with.
const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "udev",
    "cloud-init",
    "openssh-server",
    "sudo",
    "linux-image-amd64",
    "linux-headers-amd64",
    "gcc",
    "make",
    "libc6-dev",
    "libelf1",
    "kmod",
    "iproute2",
    "ca-certificates",
    "netbase",
];

/// What nobody reads in a machine.
const EXCLUDED: &[&str] = &[
    "/usr/share/doc/*",
    "/usr/share/locale/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/lintian/*",
];

/// Units that cost a start time and give a throw-away machine nothing. A mount point or a timer that an image
/// doesn't have is masked all the same.
const MASKED: &[&str] = &[
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-resolved.service",
    "systemd-pstore.service",
    "systemd-binfmt.service",
    "systemd-update-utmp.service",
    "systemd-hwdb-update.service",
    "systemd-journal-catalog-update.service",
    "ldconfig.service",
    "cloud-init-hotplugd.service",
    "cloud-init-hotplugd.socket",
    "serial-getty@ttyS0.service",
    "getty@tty1.service",
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "dev-hugepages.mount",
    "dev-mqueue.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-fs-fuse-connections.mount",
];

/// Drivers of devices that a virtual PC has and nobody uses. udev would load each.
const UNUSED_DRIVERS: &[&str] = &[
    "acpi_cpufreq",
    "ahci",
    "button",
    "cdrom",
    "evdev",
    "i2c_i801",
    "iTCO_wdt",
    "intel_agp",
    "joydev",
    "lpc_ich",
    "pcspkr",
    "powernow_k8",
    "psmouse",
    "qemu_fw_cfg",
    "serio_raw",
    "sg",
];

/// The address of the machine in QEMU's user network, and those that QEMU has there.
///
/// Source: `docs/system/devices/net.rst` of QEMU.
pub(super) const ADDRESS: &str = "10.0.2.15/24";
pub(super) const GATEWAY: &str = "10.0.2.2";
pub(super) const NAME_SERVER: &str = "10.0.2.3";

/// The modules that are loaded before the disk with everything else can be.
const FIRST_MODULES: &str = "virtio_pci virtio_blk ext4 crc32c_generic";

impl Recipe {
    /// The recipe of this name.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn find(name: &str) -> Result<&'static Self> {
        RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
            let names = || RECIPES.iter().map(|recipe| recipe.name);
            let list = names().collect::<Vec<_>>().join(", ");
            let error = Error::usage(format!("there is no recipe for an image called {name}"));
            match nearest(name, names()) {
                Some(near) => error.with_remedy(format!("did you mean {near}? there are: {list}")),
                None => error.with_remedy(format!("there are: {list}")),
            }
        })
    }

    /// mmdebstrap's arguments for a file system in the folder `root`, with packages from these sources.
    pub(super) fn mmdebstrap(&self, mode: &str, sources: &str, root: &str) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["--format=directory", "--variant=minbase", "--architectures=amd64"].map(str::to_owned).into();
        arguments.push(format!("--mode={mode}"));
        let options =
            ["APT::Install-Recommends \"false\"", "Acquire::Languages \"none\"", "Acquire::Retries \"2\""];
        arguments.extend(options.map(|option| format!("--aptopt={option}")));
        arguments.extend(EXCLUDED.iter().map(|path| format!("--dpkgopt=path-exclude={path}")));
        // Nothing is lost with a half-made image.
        arguments.push("--dpkgopt=force-unsafe-io".to_owned());
        arguments.push(format!("--include={}", [PACKAGES, self.more].concat().join(",")));
        arguments.extend([self.suites.suites[0].to_owned(), root.to_owned()]);
        arguments.extend(sources.lines().map(str::to_owned));
        arguments
    }

    /// The shell script that makes the unpacked packages into an image's file system. It is given the folder
    /// `root`, and a folder `out` for what a machine is started with from outside: `vmlinuz`, `config`,
    /// `release`, and `modules/` in the order of loading.
    pub(super) fn finishing_script(&self) -> String {
        let masked = [MASKED, self.masked].concat().join(" ");
        let drivers = UNUSED_DRIVERS.iter().map(|driver| format!("blacklist {driver}\n")).collect::<String>();
        format!(
            r#"set -eu
root=$1 out=$2
# Who only plays root has made links that lead out of the image.
find "$root" -xdev -type l -lname "$root/*" | while read -r link; do
	target=$(readlink "$link")
	ln -sfn "${{target#"$root"}}" "$link"
done
# Each machine gets its own.
rm -f "$root"/etc/ssh/ssh_host_* "$root"/boot/initrd.img-*
: >"$root/etc/machine-id"
rm -f "$root/etc/resolv.conf"
echo "nameserver {NAME_SERVER}" >"$root/etc/resolv.conf"
printf '127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n' >"$root/etc/hosts"
echo "/dev/vda / ext4 noatime 0 0" >"$root/etc/fstab"
cat >"$root/etc/cloud/cloud.cfg.d/90_vexlab.cfg" <<'END'
datasource_list: [NoCloud]
network: {{config: disabled}}
cloud_init_modules: [write-files, set_hostname, users-groups, ssh, mounts, package-update-upgrade-install, runcmd, scripts-user]
cloud_config_modules: []
cloud_final_modules: []
END
mkdir -p "$root/etc/systemd/network"
cat >"$root/etc/systemd/network/10-eth0.network" <<'END'
[Match]
Name=eth0
[Network]
Address={ADDRESS}
Gateway={GATEWAY}
LinkLocalAddressing=no
IPv6AcceptRA=no
END
cat >"$root/etc/modprobe.d/vexlab.conf" <<'END'
# systemd-networkd asks for wireless devices, which loads all of that.
install cfg80211 /bin/false
{drivers}END
printf '9p\n9pnet_virtio\n' >"$root/etc/modules-load.d/vexlab.conf"
# It would look for where the configuration comes from, which is known.
mkdir -p "$root/etc/systemd/system-generators" "$root/etc/systemd/system/multi-user.target.wants"
ln -sf /dev/null "$root/etc/systemd/system-generators/cloud-init-generator"
ln -sf /lib/systemd/system/cloud-init.target "$root/etc/systemd/system/multi-user.target.wants/"
ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
chroot "$root" systemctl enable systemd-networkd.service ssh.service
chroot "$root" systemctl mask {masked}
release=$(ls "$root/lib/modules")
echo "$release" >"$out/release"
cp "$root/boot/vmlinuz-$release" "$out/vmlinuz"
cp "$root/boot/config-$release" "$out/config"
mkdir "$out/modules"
number=10
chroot "$root" modprobe -S "$release" -a --show-depends {FIRST_MODULES} | while read -r what file rest; do
	[ "$what" = insmod ] || continue
	for there in "$out/modules/"??-"${{file##*/}}"; do
		[ ! -e "$there" ] || continue 2
	done
	cp "$root$file" "$out/modules/$number-${{file##*/}}"
	number=$((number + 1))
done
chmod -R a+rX "$out"
"#
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let said = |name: &str| {
            let error = Recipe::find(name).unwrap_err();
            format!("{error}\n{}", error.remedy().unwrap_or_default())
        };
        insta::assert_snapshot!(said("debian12"), @r"
        there is no recipe for an image called debian12
        did you mean debian-12? there are: debian-12, debian-13, debian-13-rust
        ");
        insta::assert_snapshot!(said("fedora"), @r"
        there is no recipe for an image called fedora
        there are: debian-12, debian-13, debian-13-rust
        ");
    }

    #[test]
    fn mmdebstrap_is_told_where_everything_comes_from() {
        let arguments =
            RECIPES[0].mmdebstrap("root", "deb [signed-by=K] http://m/debian bookworm main\n", "/root");
        insta::assert_snapshot!(arguments.join("\n"), @r#"
        --format=directory
        --variant=minbase
        --architectures=amd64
        --mode=root
        --aptopt=APT::Install-Recommends "false"
        --aptopt=Acquire::Languages "none"
        --aptopt=Acquire::Retries "2"
        --dpkgopt=path-exclude=/usr/share/doc/*
        --dpkgopt=path-exclude=/usr/share/locale/*
        --dpkgopt=path-exclude=/usr/share/man/*
        --dpkgopt=path-exclude=/usr/share/info/*
        --dpkgopt=path-exclude=/usr/share/lintian/*
        --dpkgopt=force-unsafe-io
        --include=systemd,systemd-sysv,dbus,udev,cloud-init,openssh-server,sudo,linux-image-amd64,linux-headers-amd64,gcc,make,libc6-dev,libelf1,kmod,iproute2,ca-certificates,netbase
        bookworm
        /root
        deb [signed-by=K] http://m/debian bookworm main
        "#);
    }

    #[test]
    fn the_finishing_script_is_one_that_a_shell_can_read() {
        for recipe in RECIPES {
            let checked =
                std::process::Command::new("sh").args(["-n", "-c", &recipe.finishing_script()]).output();
            assert!(checked.unwrap().status.success(), "{}", recipe.name);
        }
    }
}
