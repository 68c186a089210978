// SPDX-License-Identifier: GPL-2.0-only
int init_module(int number)
{
	volatile int twice = 2 * number;

	return twice;
}
