// SPDX-License-Identifier: GPL-2.0-only
int case_rs_add(int one, int other);

int init_module(int number)
{
	return case_rs_add(number, 1);
}
