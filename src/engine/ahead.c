/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fetches into the processor's cache what packets that come soon will need. Of many connections hardly one is there
 * when its next packet comes, and its flow, its conn and its open exchange are found one through the other: each of
 * them would be waited for. So of each packet expected one thing is asked for with each one that is expected behind it.
 * Changes nothing that anybody else looks at. Engine thread only.
 */
#include "engine/engine.h"

#include <stddef.h>

#include "engine/conn.h"
#include "engine/engine_internal.h"

/* As long as no more is in use, all of it stays in the cache anyway. */
#define AHEAD_BYTES ((size_t)4 * 1024 * 1024)
#define CACHE_LINE  64
/* So much of a request's facts and head, behind its exchange: they are read when its answer comes. */
#define HEAD_BYTES (4 * CACHE_LINE)

/* Without a call: gcc takes a function that only prefetches for one that does nothing, and leaves the call out. */
#define FETCH static inline __attribute__((always_inline)) void

FETCH fetch(const void *p, size_t bytes)
{
	for (size_t at = 0; at < bytes; at += CACHE_LINE)
		__builtin_prefetch((const char *)p + at, 1);
}

static struct clv_expected *expected(struct clv_engine *e, unsigned back)
{
	return &e->ahead.last[(e->ahead.count - back) % CLV_AHEAD];
}

/* The flow that was found for this packet before, if it is still there. */
static struct clv_flow *flow_of(const struct clv_engine *e, const struct clv_expected *x)
{
	return clv_flows_at(&e->flows, x->place, x->hash);
}

FETCH fetch_flow(const struct clv_engine *e, const struct clv_flow *f)
{
	fetch(f, offsetof(struct clv_flow, syn));
	if (e->flows.watched)
		fetch(&f->syn, sizeof(*f) - offsetof(struct clv_flow, syn));
}

FETCH fetch_conn(const struct clv_engine *e, const struct clv_flow *f, bool speaks)
{
	if (!f->closed && clv_flows_moves(&e->flows, f)) { /* it will go to the end of its queue */
		__builtin_prefetch(f->used.prev, 1);
		__builtin_prefetch(f->used.next, 1);
	}
	if (speaks && f->conn)
		fetch(f->conn, sizeof(struct clv_conn));
}

FETCH fetch_exchange(const struct clv_conn *c)
{
	const struct clv_exchange *x = clv_exchanges_first(&c->exchanges);

	if (c->state && c->state != c->room)
		fetch(c->state, 2 * CACHE_LINE);
	if (x)
		fetch(x, sizeof(*x) + HEAD_BYTES);
}

bool clv_engine_wants_ahead(const struct clv_engine *e)
{
	return e->mem.used_bytes >= AHEAD_BYTES;
}

/* Apart from the question whether it is worth it, which is all that most packets are asked. */
static __attribute__((noinline)) void expect(struct clv_engine *e, const struct clv_packet *p)
{
	struct clv_expected *x;
	struct clv_flow *f;

	e->ahead.count++;
	*expected(e, 0) = (struct clv_expected){
		.hash = clv_flows_fetch(&e->flows, p),
		.speaks = p->len || p->tcp_flags & (CLV_TCP_FIN | CLV_TCP_RST),
	};
	x = expected(e, 2);
	if ((f = clv_flows_guess(&e->flows, x->hash, &x->place)))
		fetch_flow(e, f);
	x = expected(e, 4);
	if ((f = flow_of(e, x)))
		fetch_conn(e, f, x->speaks);
	x = expected(e, 6);
	if (x->speaks && (f = flow_of(e, x)) && f->conn)
		fetch_exchange(f->conn);
}

void clv_engine_expect(struct clv_engine *e, const struct clv_packet *p)
{
	if (clv_engine_wants_ahead(e))
		expect(e, p);
}

/* Flows go in the order in which they were closed, one every few packets. */
void clv_engine_expect_end(const struct clv_engine *e)
{
	const struct clv_node *queue = &e->flows.closed, *next = queue->next;

	if (!clv_engine_wants_ahead(e) || next == queue || next->next == queue)
		return;
	clv_flows_fetch_place(&e->flows, clv_list_entry(next, struct clv_flow, used));
	fetch_flow(e, clv_list_entry(next->next, struct clv_flow, used));
}
