/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the kernel which bytes of a connection are still needed: compares what the parser has read with what was said
 * last, and speaks where they differ. Never looks at a byte. Engine thread only.
 */
#include "engine/conn.h"

#include "engine/engine_internal.h"
#include "engine/limits.h"

/* Stands in window_end once the kernel knows that there is none. */
#define TOLD UINT64_MAX

static void tell(struct clv_conn *c, int d, const struct clv_kverdict *v)
{
	struct clv_engine *e = c->engine;

	e->config.verdict(e->config.verdict_ctx, &c->flow->kernel[d], v);
}

static void tell_skip(struct clv_conn *c, int d, uint64_t end, const struct clv_framing *framing)
{
	c->half[d].kernel_skip_end = end;
	tell(c, d, &(struct clv_kverdict){.kind = CLV_VERDICT_SKIP, .seq = (uint32_t)end, .framing = framing});
}

void clv_conn_retell(struct clv_conn *c, int d)
{
	c->half[d].window_end = 0;
	c->half[d].kernel_skip_end = 0;
	c->half[d].walk_from = 0;
	c->half[d].walked = false;
}

void clv_conn_stop_walk(struct clv_conn *c, int d)
{
	c->half[d].walked = false;
	c->half[d].walk_from = 0;
	if (c->engine->config.verdict && c->flow->kernel[d].gen)
		tell_skip(c, d, c->flow->streams.s[d].next, NULL);
}

/*
 * The frames that the kernel should walk over from position *at on, but does not; NULL: none. It can only begin where
 * it has not passed yet: while the direction rests, or at the end of a skip.
 */
static const struct clv_framing *steer_walk(const struct clv_conn *c, int d, uint64_t *at)
{
	const struct clv_half *h = &c->half[d];

	if (!h->long_frames || h->walked || h->mismatched || h->hunting || h->tail || h->debt >= CLV_KERNEL_SKIP_MAX ||
	    !c->proto->framing)
		return NULL;
	*at = c->flow->streams.s[d].next + h->debt;
	if (*at == h->walk_from)
		return NULL;
	return c->proto->framing(c->state, d == c->client ? CLV_TO_SERVER : CLV_TO_CLIENT);
}

/* What is skipped, and the frames behind it. */
static void steer_skip(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];
	uint64_t next = c->flow->streams.s[d].next, at;
	const struct clv_framing *framing = steer_walk(c, d, &at);

	if (framing) {
		h->walk_from = at;
		tell_skip(c, d, at, framing);
	}
	if (h->walked || h->walk_from > next || h->debt <= CLV_KERNEL_SKIP_BYTES)
		return;
	uint64_t reach = h->debt < CLV_KERNEL_SKIP_MAX ? h->debt : CLV_KERNEL_SKIP_MAX;

	if (h->kernel_skip_end < next + reach / 2) {
		tell_skip(c, d, next + reach, NULL);
		h->seek = d != c->client && !h->mismatched;
	}
}

void clv_conn_steer(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];

	if (!c->engine->config.verdict || !c->flow->kernel[d].gen)
		return;
	if (c->phase == CLV_CONN_OPAQUE || (c->phase == CLV_CONN_PROBING && !c->datagram)) {
		enum clv_verdict_kind kind = c->phase == CLV_CONN_OPAQUE ? CLV_VERDICT_IGNORE : CLV_VERDICT_PROBE;

		if (h->window_end != TOLD)
			tell(c, d, &(struct clv_kverdict){.kind = kind});
		h->window_end = TOLD;
		return;
	}
	if (c->datagram) /* each of them is wanted, whole */
		return;
	if (c->phase == CLV_CONN_SPEAKING)
		steer_skip(c, d);
	uint64_t next = c->flow->streams.s[d].next;
	if (h->debt > CLV_KERNEL_SKIP_BYTES && h->kernel_skip_end > next)
		next = h->kernel_skip_end;
	uint64_t ahead = h->framed ? CLV_WINDOW_AHEAD_FRAMED : CLV_WINDOW_AHEAD;
	if (h->window_end < next + ahead - CLV_WINDOW_STEP) {
		h->window_end = next + ahead;
		tell(c, d,
		     &(struct clv_kverdict){
			     .kind = CLV_VERDICT_WINDOW, .seq = (uint32_t)h->window_end, .seek = h->seek});
	}
}
