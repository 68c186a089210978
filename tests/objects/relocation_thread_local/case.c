// SPDX-License-Identifier: GPL-2.0-only
__thread int counter;

int init_module(void)
{
	return counter;
}
