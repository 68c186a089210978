// SPDX-License-Identifier: GPL-2.0-only

use crate::finding::Found;
use crate::image::Image;

pub(super) fn check(_image: &Image<'_>, _found: &mut Found<'_>) {}
