// SPDX-License-Identifier: GPL-2.0-only
static int ready;

__attribute__((constructor)) static void prepare(void)
{
	ready = 1;
}

int init_module(void)
{
	return !ready;
}
