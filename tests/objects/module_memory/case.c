// SPDX-License-Identifier: GPL-2.0-only
static char large[256 << 20];

char *init_module(void)
{
	return large;
}
