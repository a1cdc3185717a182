/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the requests that wait. Never reads a byte of a protocol; decides only which request a response answers.
 * Engine thread only.
 */
#include "trace/exchange.h"

#include <string.h>

#include "base/hash.h"
#include "engine/limits.h"
#include "model/span.h"

void clv_exchanges_init(struct clv_exchanges *xs, bool by_id, bool midstream)
{
	*xs = (struct clv_exchanges){.by_id = by_id, .unsure = midstream};
	clv_list_init(&xs->pending);
}

/* ---- by id ------------------------------------------------------------------------------------------------------- */

/*
 * Few that wait are looked through, the oldest first: mostly it is the one. More than so many are found by a tree,
 * which is made when it is needed, and goes when they are few again.
 */
#define FEW       16u
#define FEW_AGAIN (FEW / 4)

/*
 * Those that wait are then the nodes of a binary tree, in which the bits of its scattered id lead to each: the highest
 * one from the first node to the second, and so on. It needs no balance and no memory of its own, and no choice of ids
 * makes a way longer than an id has bits.
 */
static uint64_t way_to(uint64_t id)
{
	return id * 0x9e3779b97f4a7c15; /* odd: no two ids have the same way */
}

/* Where the tree has a place for one with this id. */
static struct clv_exchange **place_for(struct clv_exchanges *xs, uint64_t id)
{
	struct clv_exchange **at = &xs->by_ids;

	for (uint64_t way = way_to(id); *at; way <<= 1)
		at = &(*at)->below[way >> 63];
	return at;
}

static void tree_add(struct clv_exchanges *xs, struct clv_exchange *x)
{
	x->below[0] = x->below[1] = NULL;
	*place_for(xs, x->id) = x;
}

static __attribute__((noinline)) void tree_make(struct clv_exchanges *xs)
{
	xs->by_ids = NULL;
	xs->tree = true;
	for (struct clv_exchange *x = clv_exchanges_first(xs); x; x = clv_exchanges_next(xs, x))
		tree_add(xs, x);
}

/*
 * Those below it on one way move up by one place each, so of equal ids, which are all on one way, the older ones stay
 * before the younger.
 */
static __attribute__((noinline)) void tree_remove(struct clv_exchanges *xs, const struct clv_exchange *x)
{
	struct clv_exchange **at = &xs->by_ids, *up;

	for (uint64_t way = way_to(x->id); *at != x; way <<= 1)
		at = &(*at)->below[way >> 63];
	struct clv_exchange *below[2] = {x->below[0], x->below[1]};
	while ((up = below[0] ? below[0] : below[1])) {
		unsigned from = up != below[0];
		struct clv_exchange *left[2] = {up->below[0], up->below[1]};

		up->below[!from] = below[!from];
		*at = up;
		at = &up->below[from];
		memcpy(below, left, sizeof(below));
	}
	*at = NULL;
}

static bool answered(const struct clv_exchange *x)
{
	return x->response.ts_ns != 0;
}

/* Is it of this id? `unanswered`: and waits for its answer. */
static inline bool is_of(const struct clv_exchange *x, uint64_t id, bool unanswered)
{
	return x->id == id && !(unanswered && (answered(x) || x->oneway));
}

static __attribute__((noinline)) struct clv_exchange *tree_find(const struct clv_exchanges *xs, uint64_t id,
								bool unanswered)
{
	struct clv_exchange *x = xs->by_ids;

	for (uint64_t way = way_to(id); x && !is_of(x, id, unanswered); way <<= 1)
		x = x->below[way >> 63];
	return x;
}

static inline struct clv_exchange *seek(struct clv_exchanges *xs, uint64_t id, bool unanswered)
{
	struct clv_exchange *x;

	if (xs->tree)
		x = tree_find(xs, id, unanswered);
	else
		for (x = clv_exchanges_first(xs); x && !is_of(x, id, unanswered);)
			x = clv_exchanges_next(xs, x);
	if (x)
		xs->touched = x;
	return x;
}

/* One that is the last of those that wait, and counted. */
static inline void note_id(struct clv_exchanges *xs, struct clv_exchange *x)
{
	xs->touched = x;
	if (xs->tree)
		tree_add(xs, x);
	else if (xs->count > FEW)
		tree_make(xs);
}

/* One that is counted no more. */
static inline void forget_id(struct clv_exchanges *xs, const struct clv_exchange *x)
{
	if (xs->touched == x)
		xs->touched = NULL;
	if (!xs->tree)
		return;
	if (xs->count > FEW_AGAIN)
		tree_remove(xs, x);
	else
		xs->tree = false;
}

void clv_exchanges_go_by_id(struct clv_exchanges *xs, bool by_id)
{
	xs->by_id = by_id;
	xs->touched = NULL;
	xs->tree = false;
	if (by_id && xs->count > FEW)
		tree_make(xs);
}

struct clv_exchange *clv_exchanges_seek(struct clv_exchanges *xs, uint64_t id)
{
	return seek(xs, id, false);
}

/* ---- where they are allocated ------------------------------------------------------------------------------------ */

/* No longer one is kept, */
#define SPARE_BYTES 1024u
/* nor given to who needs so many bytes less. */
#define SPARE_WASTE 256u

/* The first of those that are kept. */
static struct clv_exchange *pool_pop(struct clv_exchange_pool *pool)
{
	struct clv_exchange *x = pool->spare;

	pool->spare = x->node.next ? clv_list_entry(x->node.next, struct clv_exchange, node) : NULL;
	pool->spares--;
	return x;
}

void clv_exchange_pool_trim(struct clv_exchange_pool *pool)
{
	while (pool->spare) {
		struct clv_exchange *x = pool_pop(pool);

		clv_mem_free(pool->mem, x, x->room);
	}
}

static __attribute__((noinline)) struct clv_exchange *pool_alloc(struct clv_exchange_pool *pool, size_t bytes)
{
	struct clv_exchange *x = pool->spare ? pool_pop(pool) : NULL;

	if (x) /* it does not fit; those that do take its place in time */
		clv_mem_free(pool->mem, x, x->room);
	x = clv_mem_alloc(pool->mem, bytes);
	if (x)
		x->room = (uint32_t)clv_mem_class_size(bytes);
	return x;
}

/* One with `bytes` in all, of which only `room` is set; NULL without memory. */
static inline struct clv_exchange *pool_take(struct clv_exchange_pool *pool, size_t bytes)
{
	struct clv_exchange *x = pool->spare;

	if (x && x->room - bytes < SPARE_WASTE) /* as a difference that is not below zero */
		return pool_pop(pool);
	return pool_alloc(pool, bytes);
}

static inline void pool_give(struct clv_exchange_pool *pool, struct clv_exchange *x)
{
	if (pool->spares == CLV_EXCHANGE_SPARES || x->room > SPARE_BYTES) {
		clv_mem_free(pool->mem, x, x->room);
		return;
	}
	x->node.next = pool->spare ? &pool->spare->node : NULL;
	pool->spare = x;
	pool->spares++;
}

/* ---- requests and answers ---------------------------------------------------------------------------------------- */

/* Does a request beginning at `at` show that its client does not wait for answers? */
static bool shows_pipelining(const struct clv_exchanges *xs, const struct clv_mark *at)
{
	if (xs->lost && (int32_t)(at->ack_seq - xs->heard) <= 0)
		return true;
	if (clv_list_empty(&xs->pending))
		return false;
	const struct clv_exchange *last = clv_list_entry(xs->pending.prev, struct clv_exchange, node);

	if (last->response_end_ns)
		return false;
	/* Its answer may have been lost; but a client that read any of it would have acknowledged more. */
	if (last->unsure && !answered(last))
		return last->request.ack_seq == at->ack_seq;
	return true;
}

/* What is special about a request. */
static inline void begin_flags(struct clv_exchange *x, uint32_t flags)
{
	x->flags |= flags & CLV_MSG_TRUNCATED ? CLV_SPAN_TRUNCATED : 0;
	x->flags |= flags & CLV_MSG_MIDSTREAM ? CLV_SPAN_MIDSTREAM : 0;
	x->context = flags & CLV_MSG_CONTEXT;
	x->oneway = flags & CLV_MSG_ONEWAY;
	x->quiet = flags & CLV_MSG_QUIET;
}

/* Notes all that is known when a request begins. */
static inline void begin(struct clv_exchange *x, const struct clv_exchanges *xs, const struct clv_msg *msg,
			 const struct clv_mark *at)
{
	x->request = clv_mark_of(at);
	x->proto = NULL;
	x->id = msg->id;
	x->raw_hash = msg->raw.len ? clv_hash(msg->raw.data, msg->raw.len, 0) | 1 : 0;
	x->flags = xs->any ? CLV_SPAN_REUSED : 0;
	x->head_len = (uint32_t)msg->head.len;
	x->retransmits_before = 0;
	x->facts_size = msg->facts_size;
	x->response_facts_size = 0;
	x->context = x->tentative = x->oneway = x->cancelled = x->quiet = x->lingers = x->counted = false;
	x->open[CLV_TO_SERVER] = true;
	x->open[CLV_TO_CLIENT] = false;
	x->unsure = xs->unsure;
	if (msg->flags) /* mostly none */
		begin_flags(x, msg->flags);
	x->response = (struct clv_mark){0};
	x->request_end_ns = x->response_end_ns = x->response_seen_ns = 0;
	x->request_body_bytes = x->response_body_bytes = 0;
	x->kept = x->answer = NULL;
	x->kept_len = x->answer_len = x->asked_again = 0;
	memset(x->response_facts, 0, sizeof(x->response_facts)); /* another protocol's answer may have fewer */
}

struct clv_exchange *clv_exchanges_request(struct clv_exchanges *xs, struct clv_exchange_pool *pool,
					   const struct clv_msg *msg, const struct clv_mark *at)
{
	uint16_t facts_size = msg->facts_size;
	size_t head_len = msg->head.len;

	if (!xs->by_id && shows_pipelining(xs, at))
		xs->pipelined = true;
	xs->lost = false;
	if (clv_exchanges_full(xs, msg))
		return NULL;
	struct clv_exchange *x = pool_take(pool, sizeof(*x) + facts_size + head_len);
	if (!x)
		return NULL;
	begin(x, xs, msg, at);
	clv_facts_copy(x->data, msg->facts, facts_size);
	if (head_len)
		memcpy(x->data + facts_size, msg->head.data, head_len);
	xs->unsure &= x->oneway; /* one that has no answer cannot settle it */
	xs->any = true;
	clv_list_append(&xs->pending, &x->node);
	xs->count++;
	if (xs->by_id)
		note_id(xs, x);
	xs->bytes += facts_size + (uint32_t)head_len;
	return x;
}

/* Where the answer begins that `msg`, at `at`, is a part of: interim responses before it are, too. */
static uint32_t answer_from(struct clv_exchanges *xs, const struct clv_msg *msg, const struct clv_mark *at)
{
	if (!xs->begun)
		xs->begun_at = (uint32_t)at->pos;
	xs->begun = msg->role == CLV_INTERIM;
	return xs->begun_at;
}

struct clv_exchange *clv_exchanges_match_any(struct clv_exchanges *xs, const struct clv_msg *msg,
					     const struct clv_mark *at)
{
	if (xs->by_id)
		return seek(xs, msg->id, true);
	uint32_t from = answer_from(xs, msg, at);
	struct clv_exchange *x = clv_exchanges_first(xs);
	while (x && (answered(x) || x->oneway))
		x = clv_exchanges_next(xs, x);
	if (!x)
		return NULL;
	if (!x->unsure)
		return clv_exchange_possible(x, at) ? x : NULL;
	if (xs->pipelined)
		return NULL;
	while (x && (answered(x) || x->oneway || from != x->request.ack_seq || !clv_exchange_possible(x, at)))
		x = clv_exchanges_next(xs, x);
	return x;
}

void clv_exchange_keep(struct clv_exchange *x, struct clv_mem *mem, struct clv_slice keep)
{
	keep = clv_slice_head(keep, CLV_KEEP_MAX);
	uint8_t *room = keep.len ? clv_mem_alloc(mem, keep.len) : NULL;

	if (!room)
		return;
	memcpy(room, keep.data, keep.len);
	if (x->answer)
		clv_mem_free(mem, x->answer, x->answer_len);
	x->answer = room;
	x->answer_len = (uint32_t)keep.len;
}

void clv_exchange_update(struct clv_exchange *x, enum clv_dir dir, const void *facts, uint16_t size)
{
	/* Of a request that another protocol left behind this one's facts say nothing. */
	if (size == (dir == CLV_TO_SERVER ? x->facts_size : x->response_facts_size))
		memcpy(dir == CLV_TO_SERVER ? x->data : x->response_facts, facts, size);
}

void clv_exchanges_lost_requests(struct clv_exchanges *xs, uint32_t heard)
{
	xs->unsure = !xs->by_id;
	if (!xs->lost || (int32_t)(heard - xs->heard) > 0)
		xs->heard = heard;
	xs->lost = true;
}

void clv_exchanges_lost_answers(struct clv_exchanges *xs)
{
	xs->begun = false;
	xs->unsure = !xs->by_id;
}

void clv_exchanges_doubt(struct clv_exchanges *xs)
{
	clv_exchanges_lost_answers(xs);
	for (struct clv_exchange *x = clv_exchanges_first(xs); x; x = clv_exchanges_next(xs, x))
		x->unsure |= !xs->by_id && !answered(x);
}

void clv_exchanges_take(struct clv_exchanges *xs, struct clv_exchange *x)
{
	clv_list_unlink(&x->node);
	xs->count--;
	if (xs->by_id)
		forget_id(xs, x);
	xs->bytes -= x->facts_size + x->head_len;
}

static __attribute__((noinline)) void free_all(struct clv_exchange_pool *pool, struct clv_exchange *x)
{
	if (x->kept)
		clv_mem_free(pool->mem, x->kept, x->kept_len);
	if (x->answer)
		clv_mem_free(pool->mem, x->answer, x->answer_len);
	pool_give(pool, x);
}

void clv_exchange_free(struct clv_exchange_pool *pool, struct clv_exchange *x)
{
	if (x->kept || x->answer)
		free_all(pool, x);
	else
		pool_give(pool, x);
}
