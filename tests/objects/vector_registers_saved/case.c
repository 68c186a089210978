// SPDX-License-Identifier: GPL-2.0-only
void kernel_fpu_begin_mask(unsigned int mask);
void kernel_fpu_end(void);

int case_sum(const int *numbers)
{
	int sum = 0;

	kernel_fpu_begin_mask(2);
	for (int i = 0; i < 256; i++)
		sum += numbers[i];
	kernel_fpu_end();
	return sum;
}
