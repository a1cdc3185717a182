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

static void tell(struct clv_conn *c, int d, enum clv_verdict_kind kind, uint64_t pos)
{
	struct clv_engine *e = c->engine;
	struct clv_kverdict v = {.kind = kind, .seq = (uint32_t)pos, .seek = c->half[d].seek};

	e->config.verdict(e->config.verdict_ctx, &c->flow->kernel[d], &v);
}

void clv_conn_retell(struct clv_conn *c, int d)
{
	c->half[d].window_end = 0;
	c->half[d].kernel_skip_end = 0;
}

void clv_conn_steer(struct clv_conn *c, int d)
{
	struct clv_half *h = &c->half[d];

	if (!c->engine->config.verdict || !c->flow->kernel[d].gen)
		return;
	if (c->phase == CLV_CONN_OPAQUE || c->phase == CLV_CONN_PROBING) {
		if (h->window_end != TOLD)
			tell(c, d, c->phase == CLV_CONN_OPAQUE ? CLV_VERDICT_IGNORE : CLV_VERDICT_PROBE, 0);
		h->window_end = TOLD;
		return;
	}
	uint64_t next = c->flow->streams.s[d].next;
	if (h->debt > CLV_KERNEL_SKIP_BYTES) {
		uint64_t reach = h->debt < CLV_KERNEL_SKIP_MAX ? h->debt : CLV_KERNEL_SKIP_MAX;

		if (h->kernel_skip_end < next + reach / 2) {
			h->kernel_skip_end = next + reach;
			tell(c, d, CLV_VERDICT_SKIP, h->kernel_skip_end);
			h->seek = d != c->client && !h->mismatched;
		}
		next = h->kernel_skip_end > next ? h->kernel_skip_end : next;
	}
	uint64_t ahead = h->framed ? CLV_WINDOW_AHEAD_FRAMED : CLV_WINDOW_AHEAD;
	if (h->window_end < next + ahead - CLV_WINDOW_STEP) {
		h->window_end = next + ahead;
		tell(c, d, CLV_VERDICT_WINDOW, h->window_end);
	}
}
