// SPDX-License-Identifier: GPL-2.0-only
int nowhere(void) __attribute__((weak));

int init_module(void)
{
	return nowhere ? nowhere() : 0;
}
