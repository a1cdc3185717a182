/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the requests that wait. Never reads a byte of a protocol; decides only which request a response answers.
 * Engine thread only.
 */
#include "trace/exchange.h"

#include <assert.h>
#include <string.h>

#include "engine/limits.h"
#include "model/span.h"

void clv_exchanges_init(struct clv_exchanges *xs, bool by_id, bool midstream)
{
	*xs = (struct clv_exchanges){.by_id = by_id, .unsure = midstream};
	clv_list_init(&xs->pending);
}

static bool answered(const struct clv_exchange *x)
{
	return x->response.ts_ns != 0;
}

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

bool clv_exchanges_full(const struct clv_exchanges *xs, const struct clv_msg *msg)
{
	return xs->count >= CLV_PENDING_MAX || msg->facts_size + msg->head.len > CLV_PENDING_BYTES - xs->bytes;
}

struct clv_exchange *clv_exchanges_request(struct clv_exchanges *xs, struct clv_mem *mem, const struct clv_msg *msg,
					   const struct clv_mark *at)
{
	if (!xs->by_id && shows_pipelining(xs, at))
		xs->pipelined = true;
	xs->lost = false;
	if (clv_exchanges_full(xs, msg))
		return NULL;
	struct clv_exchange *x = clv_mem_alloc(mem, sizeof(*x) + msg->facts_size + msg->head.len);
	if (!x)
		return NULL;
	*x = (struct clv_exchange){
		.request = *at,
		.id = msg->id,
		.flags = (xs->any ? CLV_SPAN_REUSED : 0) | (msg->flags & CLV_MSG_TRUNCATED ? CLV_SPAN_TRUNCATED : 0),
		.head_len = (uint32_t)msg->head.len,
		.facts_size = msg->facts_size,
		.context = msg->flags & CLV_MSG_CONTEXT,
		.unsure = xs->unsure,
	};
	memcpy(x->data, msg->facts, msg->facts_size);
	memcpy(x->data + msg->facts_size, msg->head.data, msg->head.len);
	xs->unsure = false;
	xs->any = true;
	clv_list_append(&xs->pending, &x->node);
	xs->count++;
	xs->bytes += x->facts_size + x->head_len;
	return x;
}

/*
 * Could a response beginning at `at` answer x at all? Not if the client had read past it before it asked, nor if
 * the server had not got as far as x. (That the server acknowledges x itself is usual but not needed: it may
 * answer in the very moment that x arrives.)
 */
static bool possible(const struct clv_exchange *x, const struct clv_mark *at)
{
	return (int32_t)((uint32_t)at->pos - x->request.ack_seq) >= 0 &&
	       (int32_t)(at->ack_seq - (uint32_t)x->request.pos) >= 0;
}

struct clv_exchange *clv_exchanges_match(struct clv_exchanges *xs, const struct clv_msg *msg, const struct clv_mark *at)
{
	struct clv_exchange *x = clv_exchanges_first(xs);

	while (x && (answered(x) || (xs->by_id && x->id != msg->id)))
		x = clv_exchanges_next(xs, x);
	if (!x || xs->by_id)
		return x;
	if (!x->unsure)
		return possible(x, at) ? x : NULL;
	if (xs->pipelined)
		return NULL;
	while (x && (answered(x) || (uint32_t)at->pos != x->request.ack_seq || !possible(x, at)))
		x = clv_exchanges_next(xs, x);
	return x;
}

void clv_exchange_answer(struct clv_exchange *x, const struct clv_msg *msg, const struct clv_mark *at)
{
	assert(msg->facts_size <= sizeof(x->response_facts));
	x->response = *at;
	x->response_seen_ns = at->ts_ns;
	x->unsure = x->tentative = false;
	x->response_facts_size = msg->facts_size;
	memcpy(x->response_facts, msg->facts, msg->facts_size);
	if (msg->flags & CLV_MSG_TRUNCATED)
		x->flags |= CLV_SPAN_TRUNCATED;
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
	xs->unsure = !xs->by_id;
}

void clv_exchanges_take(struct clv_exchanges *xs, struct clv_exchange *x)
{
	clv_list_remove(&x->node);
	xs->count--;
	xs->bytes -= x->facts_size + x->head_len;
}

void clv_exchange_free(struct clv_mem *mem, struct clv_exchange *x)
{
	if (x->kept)
		clv_mem_free(mem, x->kept, x->kept_len);
	clv_mem_free(mem, x, sizeof(*x) + x->facts_size + x->head_len);
}
