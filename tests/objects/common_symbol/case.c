// SPDX-License-Identifier: GPL-2.0-only
int left_to_the_linker;

int init_module(void)
{
	return left_to_the_linker;
}
