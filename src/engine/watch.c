/* SPDX-License-Identifier: Apache-2.0 */
/* Makes events of what the engine sees. Owns clv_flow.watch, changes nothing else, guesses no role. Engine thread. */
#include "engine/watch.h"

#include "engine/limits.h"

/* The stream that goes to the server; -1: not known. */
static int client_of(const struct clv_flow *f)
{
	const struct clv_conn *c = f->conn;

	if (f->client >= 0)
		return f->client;
	return c ? c->client : -1;
}

/* What spans of this flow are, too. */
static enum clv_span_kind role_of(const struct clv_flow *f, int client)
{
	return f->side_known && client == 0 ? CLV_KIND_CLIENT : CLV_KIND_SERVER;
}

static struct clv_event event_of(const struct clv_engine *e, const struct clv_flow *f, enum clv_event_kind kind)
{
	return (struct clv_event){
		.kind = kind, .role = role_of(f, client_of(f)), .net = f->key.net, .ts_ns = e->now_ns};
}

static void tell(const struct clv_engine *e, const struct clv_flow *f, enum clv_event_kind kind, uint64_t value)
{
	struct clv_event event = event_of(e, f, kind);

	if (client_of(f) < 0 || !e->config.on_event)
		return;
	event.value = value;
	e->config.on_event(e->config.event_ctx, &event);
}

void clv_watch_answered(struct clv_engine *e, struct clv_flow *f)
{
	if (!f->watched || clv_list_empty(&f->syn))
		return;
	clv_list_remove(&f->syn);
	clv_engine_due(e, 0); /* those behind it are not in the order of their deadlines: who is first now? */
}

/* Once: a connection ends one way. */
static void tell_end(struct clv_engine *e, struct clv_flow *f, enum clv_event_kind kind)
{
	if (!f->watch.over)
		tell(e, f, kind, 0);
	f->watch.over = true;
	clv_watch_answered(e, f);
}

static bool unanswered(const struct clv_flow *f)
{
	return f->watch.opened && !f->watch.answered;
}

/* Which RTT is told: that of what the observed endpoint sends, hence to the far end and back. */
static void tell_rtt(const struct clv_engine *e, const struct clv_flow *f, int d, uint64_t rtt_ns)
{
	if (d == 0 || !f->side_known)
		tell(e, f, CLV_EVENT_RTT, rtt_ns);
}

/* The handshake's two times, in whatever order they came. */
static void tell_connected(const struct clv_engine *e, struct clv_flow *f, const struct clv_packet *p)
{
	struct clv_watch *w = &f->watch;

	if (w->connected || !w->syn_ns || !w->synack_ns)
		return;
	w->connected = true;
	uint64_t took_ns = w->synack_ns > w->syn_ns ? w->synack_ns - w->syn_ns : 0;
	tell(e, f, CLV_EVENT_CONNECTED, took_ns);
	/* The kernel measures it itself. Whom a SYN sent twice was answered to, nobody knows (Karn's rule). */
	if (!p->kernel.gen && !w->syn_again)
		tell_rtt(e, f, client_of(f), took_ns);
}

void clv_watch_syn(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_watch *w = &f->watch;
	bool answer = p->tcp_flags & CLV_TCP_ACK;
	uint64_t *seen_ns = answer ? &w->synack_ns : &w->syn_ns;

	if (!clv_watch_wanted(e))
		return;
	if (!w->opened) {
		w->opened = true;
		tell(e, f, CLV_EVENT_OPENED, 0);
	}
	if (!*seen_ns) {
		*seen_ns = p->ts_ns;
	} else if (!w->over) {
		w->syn_again |= !answer;
		w->retransmits[d] += !p->kernel.gen; /* else the kernel has counted it */
	}
	if (!answer && unanswered(f) && !w->over) {
		clv_list_touch(&e->flows.syn, &f->syn);
		clv_engine_due(e, f->last_ns + CLV_SYN_NS);
	}
	tell_connected(e, f, p);
}

/* What has come together in stream d, once it is known whose it is. */
static void tell_sums(const struct clv_engine *e, struct clv_flow *f, int d)
{
	struct clv_watch *w = &f->watch;
	struct clv_event event = event_of(e, f, CLV_EVENT_BYTES);

	event.transmit = (event.role == CLV_KIND_CLIENT) == (d == client_of(f));
	if (w->bytes[d] && e->config.on_event) {
		event.value = w->bytes[d];
		e->config.on_event(e->config.event_ctx, &event);
	}
	if (w->retransmits[d] && e->config.on_event) {
		event.kind = CLV_EVENT_RETRANSMITS;
		event.value = w->retransmits[d];
		e->config.on_event(e->config.event_ctx, &event);
	}
	w->bytes[d] = w->retransmits[d] = 0;
}

void clv_watch_payload(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p, uint32_t again)
{
	struct clv_watch *w = &f->watch;
	int client;

	w->bytes[d] += (uint64_t)p->hole_len + (p->len > again ? p->len - again : 0);
	w->retransmits[d] += p->retransmits + (again > 0);
	client = client_of(f);
	if (client < 0)
		return;
	/* A client sends more than its SYN once it has been answered; data on a SYN (RFC 7413) are no answer. */
	if (!(p->tcp_flags & CLV_TCP_RST) && (d != client || (p->len && !(p->tcp_flags & CLV_TCP_SYN)))) {
		w->answered = true;
		clv_watch_answered(e, f);
	}
	tell_sums(e, f, 0);
	tell_sums(e, f, 1);
	if (p->rtt_ns)
		tell_rtt(e, f, d, p->rtt_ns);
}

bool clv_watch_failed(const struct clv_flow *f)
{
	return f->watched && unanswered(f);
}

void clv_watch_datagram(struct clv_engine *e, const struct clv_flow *f, int d, const struct clv_packet *p)
{
	struct clv_event event;

	if (!e->config.on_event)
		return;
	event = event_of(e, f, CLV_EVENT_DATAGRAM);
	event.transmit = f->side_known && d == 0;
	event.value = p->len;
	e->config.on_event(e->config.event_ctx, &event);
}

void clv_watch_closed(struct clv_engine *e, struct clv_flow *f)
{
	if (clv_watch_wanted(e))
		tell_end(e, f, CLV_EVENT_CLOSED);
}

void clv_watch_reset(struct clv_engine *e, struct clv_flow *f)
{
	if (clv_watch_wanted(e))
		tell_end(e, f, unanswered(f) ? CLV_EVENT_FAILED : CLV_EVENT_RESET);
}

void clv_watch_given_up(struct clv_engine *e, struct clv_flow *f)
{
	if (!f->watched)
		return;
	clv_watch_answered(e, f);
	if (unanswered(f))
		tell_end(e, f, CLV_EVENT_FAILED);
}

void clv_watch_request(struct clv_conn *c, struct clv_exchange *x, const struct clv_msg *msg)
{
	const struct clv_engine *e = c->engine;
	struct clv_event event;

	/* One that may be a quotation in a body is no request yet. */
	if (!e->config.on_event || x->tentative)
		return;
	x->counted = true;
	x->method = msg->method;
	event = event_of(e, c->flow, CLV_EVENT_REQUEST);
	event.method = msg->method;
	event.protocol = x->proto->name;
	e->config.on_event(e->config.event_ctx, &event);
}

void clv_watch_request_end(struct clv_conn *c, const struct clv_exchange *x)
{
	const struct clv_engine *e = c->engine;
	struct clv_event event;

	if (!e->config.on_event || !x->counted)
		return;
	event = event_of(e, c->flow, CLV_EVENT_REQUEST_END);
	event.method = x->method;
	event.protocol = x->proto->name;
	e->config.on_event(e->config.event_ctx, &event);
}
