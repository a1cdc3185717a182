/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tail of one direction: the bytes that its parser has not consumed yet, and which packets brought them.
 * A tail is NULL as long as it is empty. Internal to the engine.
 */
#ifndef CLV_ENGINE_TAIL_H
#define CLV_ENGINE_TAIL_H

#include "engine/engine_internal.h"
#include "trace/exchange.h"

#define CLV_TAIL_MARKS 16

struct clv_tail {
	uint32_t from, len; /* the bytes are data[from .. from + len) */
	uint32_t room;      /* of data */
	uint32_t marks;
	uint32_t at[CLV_TAIL_MARKS]; /* where in data a packet's bytes begin */
	struct clv_mark mark[CLV_TAIL_MARKS];
	uint8_t data[];
};

static inline struct clv_slice clv_tail_bytes(const struct clv_tail *t)
{
	return t ? clv_slice(t->data + t->from, t->len) : clv_slice(NULL, 0);
}

/*
 * Appends as much of `bytes`, which came with packet `at`, as CLV_TAIL_BYTES allow. Returns the number of bytes taken;
 * 0 also without memory.
 */
uint32_t clv_tail_append(struct clv_engine *e, struct clv_tail **t, struct clv_slice bytes, const struct clv_mark *at);

/* Takes the first `used` bytes off, at a cost that does not depend on how many are left. */
void clv_tail_consume(struct clv_engine *e, struct clv_tail **t, uint32_t used);

void clv_tail_drop(struct clv_engine *e, struct clv_tail **t);

/* Which packet brought the byte at offset `at` of the bytes. */
struct clv_mark clv_tail_mark(const struct clv_tail *t, uint32_t at);

#endif
