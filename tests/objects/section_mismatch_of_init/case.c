// SPDX-License-Identifier: GPL-2.0-only
#define __init __attribute__((section(".init.text"), cold, noinline))

static int __init prepare(int number)
{
	asm volatile("" : "+r"(number));
	return number;
}

int __init init_module(int number)
{
	return prepare(number);
}
