// SPDX-License-Identifier: GPL-2.0-only
use std::path::{Path, PathBuf};
use std::time::Duration;

use libtest_mimic::Trial;

use crate::cases;
use crate::harness::{Context, machine, root};

/// The build tree of the kernel. Without it nothing here is tested: to build it takes minutes.
const KERNEL: &str = "VEXLAB_TEST_DEBUG_KERNEL";

/// Time for a test, in a kernel that looks at each access to memory, on a busy machine.
const LIMIT: Duration = Duration::from_secs(900);

/// Modules that are well, and that a kernel which looks at itself has nothing to say of either.
const HEALTHY: [&str; 6] = ["good_c", "good_rust", "life_good", "parameters", "ktests", "ktests_rust"];

pub(crate) fn tests() -> Vec<Trial> {
    let Some(kernel) = std::env::var_os(KERNEL).map(PathBuf::from) else { return Vec::new() };
    let kernel =
        kernel.canonicalize().unwrap_or_else(|error| panic!("{KERNEL}: {}: {error}", kernel.display()));
    let healthy = HEALTHY.map(str::to_owned).into_iter();
    let cases = cases::of_debug_kernel().into_iter().chain(healthy).map(|case| {
        let kernel = kernel.clone();
        machine(&format!("debug_kernel::{case}"), LIMIT, move |context| {
            cases::with_kernel(context, &case, &kernel);
        })
    });
    let vexfs = {
        let kernel = kernel.clone();
        machine("debug_kernel::vexfs", LIMIT, move |context| vexfs(context, &kernel))
    };
    cases.chain([vexfs]).collect()
}

/// VexFS passes its own tests, unchanged.
fn vexfs(context: &Context, kernel: &Path) {
    let ended = context.vexlab(["test", "--kernel"]).arg(kernel).dir(&root()).run();
    assert_eq!(ended.status, 0, "{ended}");
    assert!(ended.stdout.contains("allocations of its init failed in turn by failslab"), "{ended}");
}
