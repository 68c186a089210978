// SPDX-License-Identifier: GPL-2.0-only
#define __init __attribute__((section(".init.text"), cold, noinline))
#define __ref __attribute__((section(".ref.text"), noinline))
static int __init prepare(int number)
{
	asm volatile("" : "+r"(number));
	return number;
}

int __ref case_open(int number)
{
	return prepare(number);
}
