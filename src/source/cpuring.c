/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns how far one CPU's ring was read. Never waits, never looks into a payload. On the thread of its reader.
 *
 * The CPU writes `begin`, then records, then `end`: so that is loaded first, with acquire. It takes `read` for what it
 * may write over, and, where nothing is left to read, for a reason to go back to the beginning of the data.
 */
#include "source/cpuring.h"

#include <stdbool.h>

/* So seldom is the CPU told, whose own the line is that it looks at. */
#define BATCHES 16

void clv_cpuring_open(struct clv_cpuring *c, struct clv_cpu_ring *shared, uint32_t bytes)
{
	*c = (struct clv_cpuring){.shared = shared, .bytes = bytes};
}

static void tell(struct clv_cpuring *c)
{
	__atomic_store_n(&c->shared->read, c->read, __ATOMIC_RELEASE);
	c->told = c->read;
}

/* Where what is not read begins, of what there is up to `end`. More than there is room for cannot be. */
static uint64_t first_unread(const struct clv_cpuring *c, uint64_t end)
{
	uint64_t begin = __atomic_load_n(&c->shared->begin, __ATOMIC_RELAXED);
	uint64_t first = begin > c->read && begin < end ? begin : c->read;

	return end - first > c->bytes ? end : first;
}

void clv_cpuring_look(struct clv_cpuring *c)
{
	c->end = __atomic_load_n(&c->shared->end, __ATOMIC_ACQUIRE);
	if (c->end != c->read)
		c->read = c->peeked = first_unread(c, c->end);
}

const void *clv_cpuring_peek(struct clv_cpuring *c, uint32_t *bytes, uint64_t *behind)
{
	uint64_t left = c->end - c->peeked;
	const struct clv_rec *rec = (const void *)&c->shared->data[c->peeked & (c->bytes - 1)];

	if (!left)
		return NULL;
	bool sound = left >= sizeof(*rec) && rec->cap <= CLV_CPU_RING_RECORD - sizeof(*rec) &&
		     clv_cpu_ring_step(rec->cap) <= left;

	*bytes = sound ? clv_cpu_ring_step(rec->cap) : 0;
	c->peeked = sound ? c->peeked + *bytes : c->end;
	*behind = c->peeked;
	return rec;
}

void clv_cpuring_pass(struct clv_cpuring *c, uint64_t behind)
{
	c->read = behind;
	if (c->read - c->told >= c->bytes / BATCHES)
		tell(c);
}

void clv_cpuring_done(struct clv_cpuring *c)
{
	c->peeked = c->read;
	if (c->read != c->told)
		tell(c);
}

uint64_t clv_cpuring_unread(const struct clv_cpuring *c)
{
	uint64_t end = __atomic_load_n(&c->shared->end, __ATOMIC_ACQUIRE);

	return end - first_unread(c, end);
}
