/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns copies of field lines, which are compared byte by byte: hashes only find the place. Nothing is copied for lines
 * that come once, and nothing at all for those that carry trace context, which are new each time. Any thread.
 */
#include "proto/http1_memo.h"

#include "base/hash.h"

#define MEMO_GUESSES 64u
#define MEMO_SEEN    64u
#define MEMO_WAYS    4u /* the places that a block may be in */

struct memo_block {
	uint32_t len;           /* of the bytes; 0: nothing is kept here */
	bool has_fields;        /* some are there whose place is kept */
	struct http1_head head; /* as if nothing were before the block */
	uint8_t bytes[HTTP1_MEMO_BYTES];
};

static _Thread_local struct {
	uint32_t pass; /* so many blocks that are not known are let pass before the next one is looked at */
	bool used[HTTP1_MEMO_BLOCKS];
	uint64_t hash[HTTP1_MEMO_BLOCKS];
	uint64_t seen[MEMO_SEEN];    /* hashes of blocks that came and are not kept */
	uint8_t guess[MEMO_GUESSES]; /* where to look first; see memo_guess() */
	_Alignas(64) struct memo_block block[HTTP1_MEMO_BLOCKS];
} memo;

/* What start lines say: no part of a block. */
#define MEMO_NOT_OURS (CLV_HTTP1_HEAD | CLV_HTTP1_CONNECT | CLV_HTTP1_NO_VERSION)

static inline bool memo_is(const struct memo_block *b, struct clv_slice rest)
{
	return b->len && b->len <= rest.len && memcmp(b->bytes, rest.data, b->len) == 0;
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

static inline void memo_take(const struct memo_block *b, size_t at, struct http1_head *h)
{
	const struct clv_http1_facts start = h->facts;
	struct clv_http1_facts *f = &h->facts;

	*h = b->head;
	f->target = start.target;
	f->method_len = start.method_len;
	f->status = start.status;
	f->minor = start.minor;
	f->flags |= start.flags;
	f->method = start.method;
	h->len = (uint32_t)at + b->len;
	if (b->has_fields)
		memo_move(f, 0, at);
}

bool clv_http1_memo_find(uint8_t *place, struct clv_slice in, size_t at, struct http1_head *h)
{
	struct clv_slice rest = clv_slice_from(in, at);
	unsigned i = *place % HTTP1_MEMO_BLOCKS;

	if (rest.len < sizeof(uint64_t))
		return false;
	if (!memo_is(&memo.block[i], rest)) {
		unsigned guess = *memo_guess(rest);

		if (guess == i || !memo_is(&memo.block[guess], rest))
			return false;
		*place = (uint8_t)guess;
		i = guess;
	}
	memo.used[i] = true;
	memo_take(&memo.block[i], at, h);
	return true;
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
		if (!memo.used[i])
			return i;
	memset(&memo.used[first], 0, MEMO_WAYS);
	return first;
}

static void memo_keep(struct memo_block *b, struct clv_slice block, size_t at, const struct http1_head *h)
{
	b->len = (uint32_t)block.len;
	b->head = *h;
	b->head.facts.flags &= (uint8_t)~MEMO_NOT_OURS;
	memo_move(&b->head.facts, at, 0);
	b->has_fields = h->facts.host.len || h->facts.user_agent.len || h->facts.forwarded.len ||
			h->facts.forwarded_for.len || h->facts.forwarded_host.len;
	memcpy(b->bytes, block.data, block.len);
}

static __attribute__((noinline)) void memo_learn(uint8_t *place, struct clv_slice in, size_t at,
						 const struct http1_head *h)
{
	struct clv_slice block = clv_slice_sub(in, at, h->len - at);

	memo.pass = HTTP1_MEMO_EVERY;
	if (block.len < sizeof(uint64_t) || block.len > HTTP1_MEMO_BYTES)
		return;
	uint64_t hash = clv_hash(block.data, block.len, 0), *seen = &memo.seen[hash / HTTP1_MEMO_BLOCKS % MEMO_SEEN];
	memo.pass = (hash >> 32) % (2 * HTTP1_MEMO_EVERY); /* heads take turns: none must be the one that is let pass */
	unsigned i = memo_place(block, hash);
	if (i == HTTP1_MEMO_BLOCKS) {
		if (*seen != hash) {
			*seen = hash;
			return;
		}
		i = memo_victim(hash);
		memo.hash[i] = hash;
		memo_keep(&memo.block[i], block, at, h);
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
