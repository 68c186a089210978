// SPDX-License-Identifier: GPL-2.0-only
int nowhere(void);

int init_module(void)
{
	return nowhere();
}
