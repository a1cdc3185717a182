/* SPDX-License-Identifier: Apache-2.0 */
/* Leaves out one of two flows that are the same connection. Engine thread only. */
#include "engine/twin.h"

#include "engine/conn.h"
#include "engine/ledger.h"
#include "engine/watch.h"

static struct clv_flow *twin_of(const struct clv_engine *e, const struct clv_flow *f)
{
	const struct clv_flow_key *k = &f->key;
	struct clv_flow_key mirrored = {
		.a_addr = k->b_addr,
		.b_addr = k->a_addr,
		.a_port = k->b_port,
		.b_port = k->a_port,
		.net = k->net,
		.transport = k->transport,
	};
	uint32_t hash;
	struct clv_flow *twin = clv_flows_find(&e->flows, &mirrored, &hash);

	return twin == f ? NULL : twin;
}

/* Is the end that f observes the client's? */
static bool at_client(const struct clv_flow *f, const struct clv_flow *twin)
{
	struct clv_endpoint here = clv_flow_endpoint(f, 0), there = clv_flow_endpoint(f, 1);

	if (f->client >= 0)
		return f->client == 0;
	if (twin->client >= 0)
		return twin->client != 0;
	if (here.port != there.port)
		return here.port > there.port;
	return clv_endpoint_cmp(&here, &there) > 0;
}

/* Nothing is reported of what it has carried; what was told of it comes to an end. */
static void leave_out(struct clv_engine *e, struct clv_flow *f)
{
	struct clv_conn *c = f->conn;
	struct clv_exchange *x;

	while (c && (x = clv_exchanges_first(&c->exchanges))) {
		clv_watch_request_end(c, x);
		clv_exchanges_take(&c->exchanges, x);
		clv_exchange_free(&e->exchanges, x);
	}
	if (f->watched && f->watch.opened)
		clv_watch_closed(e, f);
	clv_watch_answered(e, f);
	clv_conn_free(c);
	f->conn = NULL;
	clv_ledger_drop(e, f);
	clv_engine_close(e, f);
	f->left_out = true;
	e->stats.both_ends++;
}

void clv_twin_meet(struct clv_engine *e, struct clv_flow *f)
{
	struct clv_flow *twin = twin_of(e, f);

	/* A client's SYN is seen before it arrives anywhere: a mirror image that is there already is an older one's. */
	if (!twin || f->client == 0)
		return;
	struct clv_flow *client = at_client(f, twin) ? f : twin, *server = client == f ? twin : f;

	server->both_ends = true;
	if (!client->left_out)
		leave_out(e, client);
}

/* Datagrams have no SYN that would take it back. */
void clv_twin_hush(struct clv_engine *e, const struct clv_packet *p)
{
	if (p->kernel.gen && p->len && p->transport == CLV_TRANSPORT_TCP && e->config.verdict)
		e->config.verdict(e->config.verdict_ctx, &p->kernel,
				  &(struct clv_kverdict){.kind = CLV_VERDICT_IGNORE});
}
