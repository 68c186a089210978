// SPDX-License-Identifier: GPL-2.0-only
static int ready = 1;

__attribute__((destructor)) static void finish(void)
{
	ready = 0;
}

int init_module(void)
{
	return !ready;
}
