// SPDX-License-Identifier: GPL-2.0-only

use crate::finding::Finding;
use crate::image::Image;

pub(super) fn check(_image: &Image<'_>, _found: &mut Vec<Finding>) {}
