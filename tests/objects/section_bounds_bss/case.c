// SPDX-License-Identifier: GPL-2.0-only
static char large[1 << 20];

char *init_module(void)
{
	return large;
}
