/* SPDX-License-Identifier: GPL-2.0 */
#ifndef MISBEHAVE_H
#define MISBEHAVE_H

/* A way to misbehave: what is written to the parameter `do`, and what comes of it. */
struct behaviour {
	const char *name;
	void (*run)(void);
};

/* Each list ends with an entry without a name. */
extern const struct behaviour faults[];
extern const struct behaviour memory[];
extern const struct behaviour stuck[];
extern const struct behaviour debug[];

#endif
