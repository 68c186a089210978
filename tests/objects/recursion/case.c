// SPDX-License-Identifier: GPL-2.0-only
struct node {
	struct node *left, *right;
};

__attribute__((noinline)) int case_depth(const struct node *node)
{
	int left, right;

	if (!node)
		return 0;
	left = case_depth(node->left);
	right = case_depth(node->right);
	return 1 + (left > right ? left : right);
}
