// SPDX-License-Identifier: GPL-2.0-only
//! Builds the agent, statically linked, and the plugin that counts in QEMU, for the library to carry in itself: one
//! program is all there is to install, and the two ends of a protocol are always of one version.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

use sha2::{Digest, Sha256};

const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let workspace = here.join("../..");
    for path in ["guest/agent", "crates/profiler", "crates/wire", "Cargo.lock", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", workspace.join(path).display());
    }
    let target_dir = out.join("agent-build");
    let build = |package: &str, flags: &str, file: &str| {
        let status = Command::new(env::var_os("CARGO").expect("cargo sets CARGO"))
            .args(["build", "--quiet", "--package", package, "--profile", "agent", "--target", TARGET])
            .arg("--manifest-path")
            .arg(workspace.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&target_dir)
            // What the caller's cargo set for the host's programs is not for this one.
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .env_remove("CARGO_BUILD_TARGET")
            .env("CARGO_ENCODED_RUSTFLAGS", flags)
            .status()
            .expect("cargo can be started");
        assert!(status.success(), "{package} does not build");
        let built = target_dir.join(TARGET).join("agent").join(file);
        fs::copy(&built, out.join(file)).unwrap_or_else(|error| panic!("copy {}: {error}", built.display()));
    };
    build("agent", "-Ctarget-feature=+crt-static\u{1f}-Crelocation-model=static", "agent");
    build("profiler", "", "libprofiler.so");
    // Each run wants it, and to make it then would take a millisecond of it.
    let agent = fs::read(out.join("agent")).expect("the agent can be read");
    let digest: String = Sha256::digest(agent).iter().map(|byte| format!("{byte:02x}")).collect();
    println!("cargo::rustc-env=AGENT_DIGEST={digest}");
}
