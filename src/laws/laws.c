/* SPDX-License-Identifier: Apache-2.0 */
/* The list of laws, and what their functions share. Owns nothing. Main thread. */
#include "laws/laws.h"

#include <stdarg.h>

const struct law laws_all[] = {
	{"probe", "the first bytes of a talk are known for what they are, however few", law_probe, true, false, true,
	 false},
	{"splits", "any split of the input gives the same messages", law_splits, true, false, true, false},
	{"losses", "what is lost makes no message another one, and later ones are found", law_losses, true, false, true,
	 false},
	{"offsets", "started anywhere, it finds a later message", law_offsets, true, false, true, false},
	{"allocations", "steady state allocates nothing", law_allocations, true, false, true, true},
	{"noise", "whatever arrives: no byte outside the slice is read, memory is bounded", law_noise, false, false,
	 false, false},
	{"describe", "spans have names, and attributes have good ones; nothing is allocated or read beyond",
	 law_describe, true, false, true, false},
	{"pairs", "each request gives one span, and all that it says is true", law_pairs, true, true, false, false},
	{"pairs-losses", "under loss no span says what is not true", law_pairs_losses, true, true, false, false},
	{"pairs-late", "read late, no span says what is not true", law_pairs_late, true, true, false, false},
	{"pairs-offsets", "joined late, no span says what is not true", law_pairs_offsets, true, true, false, false},
	{"steady", "the same talks again take no more memory", law_steady, true, true, false, false},
	{0},
};

static void put(char *text, const char *fmt, va_list ap)
{
	vsnprintf(text, LAWS_WHY, fmt, ap);
}

bool laws_fail(struct laws *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(l->why, fmt, ap);
	va_end(ap);
	return false;
}

bool laws_hold(struct laws *l, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	put(l->why, fmt, ap);
	va_end(ap);
	return true;
}

void laws_say(const struct laws *l, const char *fmt, ...)
{
	char line[LAWS_WHY];
	va_list ap;

	if (!l->say)
		return;
	va_start(ap, fmt);
	put(line, fmt, ap);
	va_end(ap);
	l->say(line);
}
