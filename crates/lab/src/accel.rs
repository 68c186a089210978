// SPDX-License-Identifier: GPL-2.0-only
//! Which accelerator machines can use on this host. KVM is tried with a machine, not looked for: the
//! device may be there and no guest may boot under it.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::Lab;
use crate::error::{Context, Result};
use crate::host::{kernel_release, processor};
use crate::machine::{Accelerator, Machine};
use crate::session::{Lost, Session};

/// The device through which KVM is used.
const DEVICE: &str = "/dev/kvm";

/// How long a machine under KVM may take to its first byte on the console.
const FIRST_BYTE: Duration = Duration::from_millis(400);

/// How long a machine that has said something may take until its agent answers.
const WHOLE_BOOT: Duration = Duration::from_secs(4);

/// Whether KVM can be used, and why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Nothing where it can be used; else the reason.
    pub unusable: Option<String>,
}

impl Finding {
    /// The accelerator that follows.
    pub fn accelerator(&self) -> Accelerator {
        if self.unusable.is_none() { Accelerator::Kvm } else { Accelerator::Tcg }
    }

    fn unusable(reason: impl Into<String>) -> Self {
        Self { unusable: Some(reason.into()) }
    }
}

/// What is known of KVM on this host with this QEMU; tries it with `machine` when nothing is known yet. The
/// reason for doing without is told when it is found, and remembered.
///
/// # Errors
///
/// When the trial is interrupted or QEMU can't be started at all.
pub fn find(lab: &Lab, machine: &Machine) -> Result<Finding> {
    // Who may open the device can change at any time, and costs nothing to see.
    if let Some(reason) = closed_device() {
        let finding = Finding::unusable(reason);
        let known = remembered(lab, DEVICE_FINDING).is_some_and(|known| known == finding);
        return if known { Ok(finding) } else { remember(lab, DEVICE_FINDING, finding) };
    }
    let relative = format!("accel/{}.json", key(&machine.qemu));
    match remembered(lab, &relative) {
        Some(finding) => Ok(finding),
        None => remember(lab, &relative, try_kvm(lab, machine)?),
    }
}

/// Where it is kept that the device itself can't be opened, and why.
const DEVICE_FINDING: &str = "accel/device.json";

fn remembered(lab: &Lab, relative: &str) -> Option<Finding> {
    let bytes = fs::read(lab.cache.path(relative)).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Tells a new finding, and keeps it.
fn remember(lab: &Lab, relative: &str, finding: Finding) -> Result<Finding> {
    if let Some(reason) = &finding.unusable {
        lab.note(&format!("KVM can't be used, so machines are emulated: {reason}"));
    }
    let bytes = serde_json::to_vec(&finding).context(|| "write the finding on KVM".to_owned())?;
    lab.cache.write(relative, &bytes)?;
    Ok(finding)
}

/// Why the device can't be opened, if so.
fn closed_device() -> Option<String> {
    let error = OpenOptions::new().read(true).write(true).open(DEVICE).err()?;
    Some(match error.kind() {
        ErrorKind::NotFound => format!("there is no {DEVICE}"),
        ErrorKind::PermissionDenied => {
            format!(
                "{DEVICE} may not be opened by this user (`sudo usermod -aG kvm $USER`, then log in again)"
            )
        }
        _ => format!("{DEVICE} can't be opened: {error}"),
    })
}

/// What the finding depends on: the host's kernel, its processor, and QEMU.
fn key(qemu: &Path) -> String {
    let mut hash = Sha256::new();
    hash.update(kernel_release());
    hash.update(processor().lines().find(|line| line.starts_with("model name")).unwrap_or_default());
    hash.update(qemu.as_os_str().as_encoded_bytes());
    if let Ok(data) = fs::metadata(qemu) {
        hash.update(format!("{} {}", data.len(), data.mtime()));
    }
    hash.finalize().iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Boots the machine under KVM until its agent answers.
fn try_kvm(lab: &Lab, machine: &Machine) -> Result<Finding> {
    let dir = lab.cache.staging()?;
    let machine = Machine { accelerator: Accelerator::Kvm, talkative: true, ..machine.clone() };
    let mut session = Session::start(&machine, dir.path(), &lab.cancel)?;
    let started = Instant::now();
    let mut lost = None;
    while session.console().is_silent() && started.elapsed() < FIRST_BYTE {
        lab.cancel.check()?;
        std::thread::sleep(Duration::from_millis(5));
    }
    if !session.console().is_silent() {
        match session.wait_for_boot(WHOLE_BOOT) {
            Ok(_) => return Ok(Finding { unusable: None }),
            Err(Lost::Interrupted(error)) => return Err(error),
            Err(other) => lost = Some(other.to_string()),
        }
    }
    session.end();
    let qemu = fs::read_to_string(dir.path().join("qemu.log")).unwrap_or_default();
    let said =
        qemu.lines().find(|line| !line.trim().is_empty()).map(|line| format!("; QEMU said: {}", line.trim()));
    let what = lost.unwrap_or_else(|| format!("a machine said nothing for {} ms", FIRST_BYTE.as_millis()));
    Ok(Finding::unusable(format!("{DEVICE} is there, but {what}{}", said.unwrap_or_default())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_qemu_is_another_key() {
        let dir = tempfile::tempdir().unwrap();
        let qemu = dir.path().join("qemu");
        fs::write(&qemu, "1").unwrap();
        let first = key(&qemu);
        assert_eq!(key(&qemu), first);
        fs::write(&qemu, "12").unwrap();
        assert_ne!(key(&qemu), first);
    }
}
