/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns copies of field lines, which are compared byte by byte: hashes only find the place. Nothing is copied for lines
 * that come once. Of those that carry trace context only such are kept in which all of it is one traceparent, whose
 * value is a hole: it is new each time, and what it says is read elsewhere. Any thread.
 */
#include "proto/http1_memo.h"

#include "base/hash.h"
#include "base/sixteen.h"

#define MEMO_GUESSES 64u
#define MEMO_SEEN    64u
#define MEMO_WAYS    4u /* the places that a block may be in */

struct memo_block {
	uint32_t len;           /* of the bytes; 0: nothing is kept here */
	uint16_t hole;          /* where the value of traceparent begins; 0: there is none */
	bool has_fields;        /* some are there whose place is kept, or a hole */
	bool used;              /* since its place was wanted */
	struct http1_head head; /* as if nothing were before the block */
	uint8_t bytes[HTTP1_MEMO_BYTES];
};

static _Thread_local struct {
	uint32_t pass; /* so many blocks that are not known are let pass before the next one is looked at */
	uint64_t hash[HTTP1_MEMO_BLOCKS];
	uint64_t seen[MEMO_SEEN];    /* hashes of blocks that came and are not kept */
	uint8_t guess[MEMO_GUESSES]; /* where to look first; see memo_guess() */
	_Alignas(64) struct memo_block block[HTTP1_MEMO_BLOCKS];
} memo;

/* What start lines say: no part of a block. */
#define MEMO_NOT_OURS (CLV_HTTP1_HEAD | CLV_HTTP1_CONNECT | CLV_HTTP1_NO_VERSION)

/* Is it one word, as what was there when the block was kept? */
static inline bool memo_is_word(const uint8_t *value)
{
	clv_sixteen any = (clv_sixteen)(clv_sixteen_load(value) <= ' ');

	_Static_assert(CLV_HTTP1_TRACEPARENT_BYTES >= 48 && CLV_HTTP1_TRACEPARENT_BYTES <= 64, "four loads reach it");
	any |= (clv_sixteen)(clv_sixteen_load(value + 16) <= ' ');
	any |= (clv_sixteen)(clv_sixteen_load(value + 32) <= ' ');
	any |= (clv_sixteen)(clv_sixteen_load(value + CLV_HTTP1_TRACEPARENT_BYTES - 16) <= ' ');
	return !clv_sixteen_any_high(any);
}

/* The same but for the hole, which the block has. */
static __attribute__((noinline)) bool memo_is_around(const struct memo_block *b, const uint8_t *p)
{
	uint32_t behind = b->hole + CLV_HTTP1_TRACEPARENT_BYTES;

	return memcmp(b->bytes, p, b->hole) == 0 && memcmp(b->bytes + behind, p + behind, b->len - behind) == 0 &&
	       memo_is_word(p + b->hole);
}

static inline bool memo_is(const struct memo_block *b, struct clv_slice rest)
{
	if (!b->len || b->len > rest.len)
		return false;
	return b->hole ? memo_is_around(b, rest.data) : memcmp(b->bytes, rest.data, b->len) == 0;
}

/* Where to look on a connection that had another block or none: by how it begins, and how much is there in all. */
static inline uint8_t *memo_guess(struct clv_slice rest)
{
	uint64_t begin;

	memcpy(&begin, rest.data, sizeof(begin));
	return &memo.guess[((begin ^ rest.len) * 0x9e3779b97f4a7c15) >> 58];
}

/* Where fields stand that are there, if the block began at `to` and begins at `from`. */
static inline void memo_move(struct clv_http1_facts *f, size_t from, size_t to)
{
	struct clv_http1_field *const fields[] = {&f->host, &f->user_agent, &f->forwarded, &f->forwarded_for,
						  &f->forwarded_host};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i]->len)
			fields[i]->at = (uint16_t)(fields[i]->at - from + to);
}

/* The start line's part of *h stays. */
static inline bool memo_take(struct memo_block *b, size_t at, struct http1_head *h)
{
	struct clv_http1_facts *f = &h->facts;
	const uint8_t flags = f->flags;
	uint8_t line[CLV_HTTP1_LINE_BYTES];

	b->used = true;
	memcpy(line, f, sizeof(line));
	*h = b->head;
	memcpy(f, line, sizeof(line));
	f->flags |= flags;
	h->len = (uint32_t)at + b->len;
	if (!b->has_fields) /* nor a hole */
		return true;
	memo_move(f, 0, at);
	if (b->hole)
		f->traceparent = (uint16_t)(at + b->hole);
	return true;
}

bool clv_http1_memo_find(uint8_t *place, struct clv_slice in, size_t at, struct http1_head *h)
{
	const struct clv_slice rest = clv_slice(in.data + at, in.len - at);
	unsigned i = *place % HTTP1_MEMO_BLOCKS;
	struct memo_block *b = &memo.block[i];

	if (memo_is(b, rest))
		return memo_take(b, at, h);
	if (rest.len < sizeof(uint64_t))
		return false;
	unsigned guess = *memo_guess(rest);
	b = &memo.block[guess];
	if (guess == i || !memo_is(b, rest))
		return false;
	*place = (uint8_t)guess;
	return memo_take(b, at, h);
}

/* Where the block is kept: in one of the places that its hash allows. HTTP1_MEMO_BLOCKS: nowhere. */
static unsigned memo_place(struct clv_slice block, uint64_t hash)
{
	unsigned first = hash % (HTTP1_MEMO_BLOCKS / MEMO_WAYS) * MEMO_WAYS;

	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		if (memo.hash[i] == hash && memo_is(&memo.block[i], block))
			return i;
	return HTTP1_MEMO_BLOCKS;
}

/* One of them whose block was not found for a while; if all were, that is asked anew. */
static unsigned memo_victim(uint64_t hash)
{
	unsigned first = hash % (HTTP1_MEMO_BLOCKS / MEMO_WAYS) * MEMO_WAYS;

	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		if (!memo.block[i].used)
			return i;
	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		memo.block[i].used = false;
	return first;
}

static void memo_keep(struct memo_block *b, struct clv_slice block, size_t hole, size_t at, const struct http1_head *h)
{
	b->len = (uint32_t)block.len;
	b->head = *h;
	b->head.facts.flags &= (uint8_t)~MEMO_NOT_OURS;
	memo_move(&b->head.facts, at, 0);
	b->hole = (uint16_t)hole;
	b->has_fields = hole || h->facts.host.len || h->facts.user_agent.len || h->facts.forwarded.len ||
			h->facts.forwarded_for.len || h->facts.forwarded_host.len;
	memcpy(b->bytes, block.data, block.len);
}

/* What fields of a head carry trace context. */
struct memo_context {
	struct clv_slice traceparent;
	unsigned traceparents, others;
};

/* Every name that trace/context.c knows. */
static void memo_note_context(void *ctx, struct clv_slice name, struct clv_slice value)
{
	static const struct clv_slice others[] = {
		CLV_LIT("tracestate"),      CLV_LIT("b3"),         CLV_LIT("x-b3-traceid"), CLV_LIT("x-b3-spanid"),
		CLV_LIT("x-b3-sampled"),    CLV_LIT("x-b3-flags"), CLV_LIT("x-request-id"), CLV_LIT("uber-trace-id"),
		CLV_LIT("x-amzn-trace-id"),
	};
	struct memo_context *c = ctx;

	if (clv_slice_eq_nocase(name, CLV_LIT("traceparent"))) {
		c->traceparent = value;
		c->traceparents++;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		c->others += clv_slice_eq_nocase(name, others[i]);
}

/* Where in the block is the value of traceparent, if that is all that carries trace context? 0: it is not. */
static size_t memo_hole(struct clv_slice head, size_t at)
{
	struct memo_context c = {0};

	clv_http1_fields(head, memo_note_context, &c);
	if (c.traceparents != 1 || c.others || c.traceparent.len != CLV_HTTP1_TRACEPARENT_BYTES ||
	    !memo_is_word(c.traceparent.data))
		return 0;
	return (size_t)(c.traceparent.data - head.data) - at;
}

static __attribute__((noinline)) void memo_learn(uint8_t *place, struct clv_slice in, size_t at,
						 const struct http1_head *h)
{
	struct clv_slice block = clv_slice_sub(in, at, h->len - at);
	uint8_t filled[HTTP1_MEMO_BYTES];
	size_t hole = 0;

	memo.pass = HTTP1_MEMO_EVERY;
	if (block.len < sizeof(uint64_t) || block.len > HTTP1_MEMO_BYTES)
		return;
	if (h->facts.flags & CLV_HTTP1_CONTEXT) {
		hole = memo_hole(clv_slice_head(in, h->len), at);
		if (!hole)
			return;
		memcpy(filled, block.data, block.len);
		memset(filled + hole, '0', CLV_HTTP1_TRACEPARENT_BYTES);
		block.data = filled;
	}
	uint64_t hash = clv_hash(block.data, block.len, hole), *seen = &memo.seen[hash / HTTP1_MEMO_BLOCKS % MEMO_SEEN];
	memo.pass = (hash >> 32) % (2 * HTTP1_MEMO_EVERY); /* heads take turns: none must be the one that is let pass */
	unsigned i = memo_place(block, hash);
	if (i == HTTP1_MEMO_BLOCKS) {
		if (*seen != hash) {
			*seen = hash;
			return;
		}
		i = memo_victim(hash);
		memo.hash[i] = hash;
		memo_keep(&memo.block[i], block, hole, at, h);
	}
	*place = *memo_guess(clv_slice_from(in, at)) = (uint8_t)i;
}

void clv_http1_memo_learn(uint8_t *place, struct clv_slice in, size_t at, const struct http1_head *h)
{
	if (memo.pass)
		memo.pass--;
	else
		memo_learn(place, in, at, h);
}

void clv_http1_memo_forget(void)
{
	memset(&memo, 0, sizeof(memo));
}
