// SPDX-License-Identifier: GPL-2.0-only
void kfree(const void *memory);
extern unsigned long volatile jiffies;

int init_module(void)
{
	kfree((void *)&jiffies);
	return 0;
}
