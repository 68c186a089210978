// SPDX-License-Identifier: GPL-2.0-only
// Breaks no rule.
void kfree(const void *memory);
extern unsigned long volatile jiffies;

int init_module(void)
{
	return jiffies == 0;
}

void cleanup_module(void)
{
	kfree((void *)0);
}
