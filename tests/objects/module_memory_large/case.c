// SPDX-License-Identifier: GPL-2.0-only
static char large[64 << 20];

char *init_module(void)
{
	return large;
}
