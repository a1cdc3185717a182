/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where lines end, from the first one on: 64 bytes are looked at in one step, each once, so that many short lines cost
 * little. Never reads outside the slice. Any thread.
 */
#ifndef CLV_BASE_LINES_H
#define CLV_BASE_LINES_H

#include "base/slice.h"

#define CLV_LINES_STEP 64u

struct clv_lines {
	struct clv_slice in;
	size_t at;     /* of the step that was looked at last */
	uint64_t ends; /* a bit for each LF in it that was not told yet */
};

/* A bit for each LF in the step that begins at `at` <= in.len, the first byte's lowest. */
uint64_t clv_lines_step(struct clv_slice in, size_t at);

/* Those at or after `at` <= in.len. */
static inline struct clv_lines clv_lines(struct clv_slice in, size_t at)
{
	return (struct clv_lines){.in = in, .at = at, .ends = clv_lines_step(in, at)};
}

/* The offset of the next LF; in.len when there is none. */
static inline size_t clv_lines_next(struct clv_lines *l)
{
	while (!l->ends) {
		if (l->in.len - l->at <= CLV_LINES_STEP)
			return l->in.len;
		l->at += CLV_LINES_STEP;
		l->ends = clv_lines_step(l->in, l->at);
	}
	size_t lf = l->at + (unsigned)__builtin_ctzll(l->ends);
	l->ends &= l->ends - 1;
	return lf;
}

#endif
