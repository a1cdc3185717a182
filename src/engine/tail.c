/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the blocks that tails are kept in. What is consumed stays where it is until room is needed, so that thousands
 * of small messages in one tail cost no more than their bytes. Never reads them. Engine thread only.
 */
#include "engine/tail.h"

#include "engine/limits.h"

/* Most tails are the first part of a head: a block of one KiB holds them. */
#define TAIL_FIRST_BYTES 512u

static size_t tail_size(uint32_t room)
{
	return sizeof(struct clv_tail) + room;
}

void clv_tail_drop(struct clv_engine *e, struct clv_tail **t)
{
	if (*t)
		clv_mem_free(&e->mem, *t, tail_size((*t)->room));
	*t = NULL;
}

void clv_tail_consume(struct clv_engine *e, struct clv_tail **tail, uint32_t used)
{
	struct clv_tail *t = *tail;
	uint32_t gone = 0;

	if (!t || used >= t->len) {
		clv_tail_drop(e, tail);
		return;
	}
	t->from += used;
	t->len -= used;
	while (gone + 1 < t->marks && t->at[gone + 1] <= t->from)
		gone++;
	if (!gone)
		return;
	t->marks -= gone;
	memmove(t->at, t->at + gone, t->marks * sizeof(t->at[0]));
	memmove(t->mark, t->mark + gone, t->marks * sizeof(t->mark[0]));
}

struct clv_mark clv_tail_mark(const struct clv_tail *t, uint32_t at)
{
	uint32_t i = 0;

	at += t->from;
	while (i + 1 < t->marks && t->at[i + 1] <= at)
		i++;
	struct clv_mark m = t->mark[i];
	m.pos += at - t->at[i];
	return m;
}

/* Copies t to the front of `to`, which may be t itself. */
static void tail_move(struct clv_tail *to, const struct clv_tail *t)
{
	uint32_t from = t->from;
	struct clv_mark first = clv_tail_mark(t, 0);

	memmove(to->data, t->data + from, t->len);
	to->from = 0;
	to->len = t->len;
	to->marks = t->marks;
	to->at[0] = 0;
	to->mark[0] = first;
	for (uint32_t i = 1; i < t->marks; i++) {
		to->at[i] = t->at[i] - from;
		to->mark[i] = t->mark[i];
	}
}

/* Makes room for `more` bytes behind those that are there. False without memory. */
static bool tail_reserve(struct clv_engine *e, struct clv_tail **tail, uint32_t more)
{
	struct clv_tail *old = *tail;
	uint32_t len = (old ? old->len : 0) + more;

	if (old && old->from + len <= old->room)
		return true;
	if (old && len <= old->room) {
		tail_move(old, old);
		return true;
	}
	size_t size = clv_mem_class_size(tail_size(len < TAIL_FIRST_BYTES ? TAIL_FIRST_BYTES : len));
	struct clv_tail *t = clv_engine_alloc(e, size);
	if (!t)
		return false;
	if (old)
		tail_move(t, old);
	else
		t->from = t->len = t->marks = 0;
	t->room = (uint32_t)(size - sizeof(*t));
	clv_tail_drop(e, tail);
	*tail = t;
	return true;
}

/*
 * Notes that the bytes from here on came with packet `at`. Too many packets: one in the middle is forgotten, as
 * messages that wait begin in the first ones (behind empty lines) or, held back, in the last.
 */
static void tail_note(struct clv_tail *t, const struct clv_mark *at)
{
	const struct clv_mark *last = t->marks ? &t->mark[t->marks - 1] : NULL;

	if (last && last->ts_ns == at->ts_ns && last->ack_seq == at->ack_seq)
		return;
	if (t->marks == CLV_TAIL_MARKS) {
		const uint32_t mid = CLV_TAIL_MARKS / 2, behind = CLV_TAIL_MARKS - mid - 1;

		t->marks--;
		memmove(&t->mark[mid], &t->mark[mid + 1], behind * sizeof(t->mark[0]));
		memmove(&t->at[mid], &t->at[mid + 1], behind * sizeof(t->at[0]));
	}
	t->at[t->marks] = t->from + t->len;
	t->mark[t->marks++] = *at;
}

uint32_t clv_tail_append(struct clv_engine *e, struct clv_tail **tail, struct clv_slice bytes,
			 const struct clv_mark *at)
{
	bytes = clv_slice_head(bytes, CLV_TAIL_BYTES - clv_tail_bytes(*tail).len);
	if (!bytes.len || !tail_reserve(e, tail, (uint32_t)bytes.len))
		return 0;
	struct clv_tail *t = *tail;
	tail_note(t, at);
	memcpy(t->data + t->from + t->len, bytes.data, bytes.len);
	t->len += (uint32_t)bytes.len;
	return (uint32_t)bytes.len;
}
