/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Before each file that is compiled for coverage. What gcc makes for its own
 * library names a function of that, which nobody calls in a kernel.
 */
asm(".weak __gcov_merge_add");
