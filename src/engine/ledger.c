/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns clv_flow.ledger, which is there only when somebody wants connection records. Counts what packets say, changes
 * nothing else. Engine thread only.
 */
#include "engine/ledger.h"

#include "proto/guess.h"

struct clv_ledger {
	uint64_t start_ns, last_ns;
	uint64_t bytes[2], packets[2], retransmits[2]; /* by stream */
	uint64_t requests;
	const char *protocol, *guess; /* NULL: not known */
	struct {
		uint8_t *text; /* NULL: nothing was noted */
		uint32_t len;
	} note[CLV_NOTES];
	int8_t first;  /* the stream that was heard first */
	int8_t client; /* the stream that goes to the server, as a conn that is gone has known it; -1: not known */
	bool midstream;
};

/* NULL: there is none, or no room for one. */
static struct clv_ledger *ledger_of(const struct clv_flow *f)
{
	return f->recorded ? f->ledger : NULL;
}

void clv_ledger_begin(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	if (!e->config.on_flow || f->ledger)
		return;
	struct clv_ledger *l = clv_engine_alloc(e, sizeof(*l));
	if (!l) {
		e->stats.drop_memory++;
		return;
	}
	*l = (struct clv_ledger){.start_ns = p->ts_ns, .last_ns = p->ts_ns, .first = (int8_t)d, .client = -1};
	l->midstream = p->transport == CLV_TRANSPORT_TCP && !(p->tcp_flags & CLV_TCP_SYN) && !f->watch.syn_ns;
	f->ledger = l;
}

/* Where the kernel counts, it knows of packets that it did not hand over. */
static void ledger_count(struct clv_ledger *l, int d, const struct clv_packet *p, uint32_t again)
{
	if (p->total_packets > l->packets[d])
		l->packets[d] = p->total_packets;
	else if (!p->total_packets)
		l->packets[d]++;
	l->bytes[d] += (uint64_t)p->hole_len + (p->len > again ? p->len - again : 0);
	l->retransmits[d] += p->retransmits + (again > 0);
}

void clv_ledger_packet(struct clv_flow *f, int d, const struct clv_packet *p, uint32_t again)
{
	struct clv_ledger *l = ledger_of(f);

	if (!l)
		return;
	ledger_count(l, d, p, again);
	if (p->ts_ns < l->start_ns)
		l->start_ns = p->ts_ns;
	if (p->ts_ns > l->last_ns)
		l->last_ns = p->ts_ns;
}

void clv_ledger_span(struct clv_flow *f)
{
	struct clv_ledger *l = ledger_of(f);

	if (l)
		l->requests++;
}

static void ledger_forget(struct clv_engine *e, struct clv_ledger *l, enum clv_note note)
{
	clv_mem_free(&e->mem, l->note[note].text, l->note[note].len);
	l->note[note].text = NULL;
	l->note[note].len = 0;
}

void clv_ledger_note(struct clv_engine *e, struct clv_flow *f, enum clv_note note, struct clv_slice text)
{
	struct clv_ledger *l = ledger_of(f);

	if (!l || (unsigned)note >= CLV_NOTES || !text.len)
		return;
	text = clv_slice_head(text, CLV_NOTE_BYTES);
	if (l->note[note].text && clv_slice_eq(text, clv_slice(l->note[note].text, l->note[note].len)))
		return;
	uint8_t *room = clv_engine_alloc(e, text.len);
	if (!room) {
		e->stats.drop_memory++;
		return;
	}
	memcpy(room, text.data, text.len);
	ledger_forget(e, l, note);
	l->note[note].text = room;
	l->note[note].len = (uint32_t)text.len;
}

void clv_ledger_guess(struct clv_flow *f, struct clv_slice first)
{
	struct clv_ledger *l = ledger_of(f);

	if (l && !l->guess)
		l->guess = clv_guess(first, f->key.transport == CLV_TRANSPORT_UDP);
}

void clv_ledger_learn(struct clv_flow *f)
{
	const struct clv_conn *c = f->conn;
	struct clv_ledger *l = ledger_of(f);

	if (!l || !c)
		return;
	if (c->proto)
		l->protocol = c->proto->name;
	if (c->client >= 0)
		l->client = c->client;
}

static void ledger_notes(const struct clv_ledger *l, struct clv_flow_record *r)
{
	struct clv_slice *const where[CLV_NOTES] = {
		[CLV_NOTE_SERVER_NAME] = &r->server_name,   [CLV_NOTE_ALPN] = &r->alpn,
		[CLV_NOTE_VERSION] = &r->version,           [CLV_NOTE_USER] = &r->user,
		[CLV_NOTE_ALPN_OFFERED] = &r->alpn_offered, [CLV_NOTE_VERSION_OFFERED] = &r->version_offered,
	};

	for (int i = 0; i < CLV_NOTES; i++)
		*where[i] = clv_slice(l->note[i].text, l->note[i].len);
}

static void ledger_report(struct clv_engine *e, const struct clv_flow *f, const struct clv_ledger *l,
			  enum clv_flow_end end)
{
	const struct clv_watch *w = &f->watch;
	int known = f->client >= 0 ? f->client : l->client;
	int client = known >= 0 ? known : l->first;
	struct clv_flow_record r = {
		.client = clv_flow_endpoint(f, client),
		.server = clv_flow_endpoint(f, !client),
		.roles_known = known >= 0,
		.side_known = f->side_known,
		.midstream = l->midstream,
		.role = f->side_known && client == 0 ? CLV_KIND_CLIENT : CLV_KIND_SERVER,
		.end = end,
		.transport = (uint8_t)f->key.transport,
		.net = f->key.net,
		.start_ns = l->start_ns,
		.end_ns = l->last_ns,
		.requests = l->requests,
		.protocol = l->protocol ? l->protocol : l->guess,
		.guessed = !l->protocol && l->guess,
	};

	/* Whom a SYN sent twice was answered to, nobody knows. */
	if (w->syn_ns && w->synack_ns > w->syn_ns && !w->syn_again)
		r.handshake_ns = w->synack_ns - w->syn_ns;
	for (int d = 0; d < 2; d++) {
		enum clv_dir dir = d == client ? CLV_TO_SERVER : CLV_TO_CLIENT;

		r.bytes[dir] = l->bytes[d];
		r.packets[dir] = l->packets[d];
		r.retransmits[dir] = l->retransmits[d];
	}
	ledger_notes(l, &r);
	e->stats.flow_records++;
	e->config.on_flow(e->config.flow_ctx, &r);
}

void clv_ledger_drop(struct clv_engine *e, struct clv_flow *f)
{
	struct clv_ledger *l = ledger_of(f);

	if (!l)
		return;
	for (int i = 0; i < CLV_NOTES; i++)
		ledger_forget(e, l, (enum clv_note)i);
	clv_mem_free(&e->mem, l, sizeof(*l));
	f->ledger = NULL;
}

void clv_ledger_end(struct clv_engine *e, struct clv_flow *f, enum clv_flow_end end)
{
	if (!ledger_of(f))
		return;
	clv_ledger_learn(f);
	ledger_report(e, f, f->ledger, end);
	clv_ledger_drop(e, f);
}
