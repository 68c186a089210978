// SPDX-License-Identifier: GPL-2.0-only
void fuse_abort_conn(void *connection)
{
}
