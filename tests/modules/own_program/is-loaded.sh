#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# Says whether a module is loaded.
grep -q "^$1 " /proc/modules || { echo "$1 is not loaded"; exit 1; }
