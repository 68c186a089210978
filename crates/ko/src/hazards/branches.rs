// SPDX-License-Identifier: GPL-2.0-only

use crate::check::Look;
use crate::code::{Code, Function, Step};
use crate::finding::Found;
use crate::graph::Graph;

/// Branches, returns and the beginnings of functions, against the kernel's mitigations.
pub(super) struct Branches;

impl Branches {
    pub(super) fn new(_look: &Look<'_>, _code: &Code<'_>) -> Self {
        Self
    }

    pub(super) fn begin(&mut self, _function: &Function) {}

    pub(super) fn step(
        &mut self,
        _code: &Code<'_>,
        _function: &Function,
        _step: &Step<'_>,
        _found: &mut Found<'_>,
    ) {
    }

    pub(super) fn finish(self, _code: &Code<'_>, _graph: &Graph, _found: &mut Found<'_>) {}
}
