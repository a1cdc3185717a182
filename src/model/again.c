/* SPDX-License-Identifier: Apache-2.0 */
/* Whole descriptions: when they are kept, and how. Allocates nothing. Engine thread. */
#include "model/again.h"

#include "model/common.h"

static inline bool same(const void *a, const void *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]));
}

static inline bool is_of(const struct clv_again_place *p, const struct clv_again_key *key, const struct clv_span *span)
{
	const uint8_t *text = p->text;

	if (p->form != key->form || p->kind != (uint8_t)span->kind || p->transport != span->transport ||
	    p->server.port != span->server.port || !same(&p->client, &span->client.addr) ||
	    !same(&p->server.addr, &span->server.addr))
		return false;
	for (int i = 0; i < CLV_AGAIN_SAID; i++) {
		if (!clv_slice_eq(clv_slice(text, p->said_len[i]), key->said[i]))
			return false;
		text += p->said_len[i];
	}
	return true;
}

static inline void tell(const struct clv_again_place *p, struct clv_common *c, const struct clv_again_key *key,
			struct clv_span *span)
{
	struct clv_attr *attr = span->attr;

	memcpy(attr, p->attr, p->count * sizeof(*attr));
	span->protocol = p->protocol;
	span->name = p->name;
	span->method = p->method;
	span->target = p->target;
	span->result = p->result;
	span->status = p->status;
	span->status_code = p->status_code;
	span->common = c;
	span->common_at = attr + p->common_at;
	attr[p->port_at[0]].i = span->client.port;
	attr[p->port_at[1]].i = span->client.port;
	attr[p->body_at[0]].i = key->body[0];
	attr[p->body_at[1]].i = key->body[1];
	span->attr_count = p->count;
}

bool clv_again_tell(struct clv_commons *cs, const struct clv_again_key *key, struct clv_span *span)
{
	struct clv_again_place *p = key->place;
	struct clv_common *c = &cs->place[p->common];

	_Static_assert(CLV_AGAIN_ATTRS < CLV_SPAN_ATTRS, "one that is not told has a place behind them");
	if (c->version != p->version || !is_of(p, key, span))
		return false;
	cs->again[p->common] = p->used = true;
	tell(p, c, key, span);
	return true;
}

/* Where the span's strings are, and where what is kept of them is. */
struct moving {
	const struct clv_span *span;
	struct clv_slice head;
	const uint8_t *new_head, *new_scratch;
};

static bool lies_in(const uint8_t *p, size_t len, const void *room, size_t size)
{
	size_t from = (size_t)((uintptr_t)p - (uintptr_t)room);

	return from <= size && len <= size - from;
}

/* Makes a string one of what is kept. What is in neither place is the program's own. */
static void move(const struct moving *m, struct clv_slice *s)
{
	if (!s->len)
		*s = clv_slice(NULL, 0);
	else if (lies_in(s->data, s->len, m->head.data, m->head.len))
		s->data = m->new_head + (s->data - m->head.data);
	else if (lies_in(s->data, s->len, m->span->scratch, m->span->scratch_used))
		s->data = m->new_scratch + (s->data - (const uint8_t *)m->span->scratch);
}

/* Attributes; those that are common stay as they are. Returns false when one is of another kind. */
static bool move_attrs(struct clv_again_place *p, const struct moving *m)
{
	const struct clv_span *span = m->span;

	p->body_at[0] = p->body_at[1] = CLV_AGAIN_ATTRS;
	memcpy(p->attr, span->attr, span->attr_count * sizeof(*span->attr));
	for (unsigned i = 0; i < span->attr_count; i++) {
		struct clv_attr *a = &p->attr[i];

		if (a->type == CLV_TYPE_STRINGS)
			return false;
		if (a->key == CLV_ATTR_HTTP_REQUEST_BODY_SIZE)
			p->body_at[0] = (uint8_t)i;
		if (a->key == CLV_ATTR_HTTP_RESPONSE_BODY_SIZE)
			p->body_at[1] = (uint8_t)i;
		if (a->type == CLV_TYPE_STRING && i - p->common_at >= span->common->count)
			move(m, &a->s);
	}
	return true;
}

static bool put(struct clv_again_place *p, size_t *used, const void *data, size_t len)
{
	if (len > sizeof(p->text) - *used)
		return false;
	if (len)
		memcpy(p->text + *used, data, len);
	*used += len;
	return true;
}

static bool keep(struct clv_again_place *p, const struct clv_commons *cs, const struct clv_again_key *key,
		 const struct clv_span *span)
{
	struct moving m = {.span = span, .head = key->said[CLV_AGAIN_HEAD]};
	size_t used = 0;

	if (!span->common || span->attr_count > CLV_AGAIN_ATTRS || span->overflow_used)
		return false;
	for (int i = 0; i < CLV_AGAIN_SAID; i++) {
		m.new_head = p->text + used; /* it is the last */
		p->said_len[i] = (uint16_t)key->said[i].len;
		if (!put(p, &used, key->said[i].data, key->said[i].len))
			return false;
	}
	m.new_scratch = p->text + used;
	if (!put(p, &used, span->scratch, span->scratch_used))
		return false;
	p->form = key->form;
	p->kind = (uint8_t)span->kind;
	p->transport = span->transport;
	p->client = span->client.addr;
	p->server = span->server;
	p->common = (uint8_t)(span->common - cs->place);
	p->common_at = (uint8_t)(span->common_at - span->attr);
	p->version = span->common->version;
	for (int i = 0; i < CLV_COMMON_PORTS; i++)
		p->port_at[i] = (uint8_t)(p->common_at + span->common->port[i]);
	p->count = (uint8_t)span->attr_count;
	p->protocol = span->protocol;
	p->name = span->name;
	p->method = span->method;
	p->target = span->target;
	p->result = span->result;
	p->status = span->status;
	p->status_code = span->status_code;
	move(&m, &p->name);
	move(&m, &p->method);
	move(&m, &p->target);
	move(&m, &p->result);
	return move_attrs(p, &m);
}

void clv_again_keep(struct clv_commons *cs, const struct clv_again_key *key, const struct clv_span *span)
{
	struct clv_again_place *p = key->place;

	if (++p->came <= p->doubt)
		return;
	/* What is kept and never comes again makes harder to please. */
	p->doubt = p->hash && !p->used ? (uint8_t)(2 * p->doubt + 1) : 0;
	p->came = 0;
	p->used = false;
	p->hash = keep(p, cs, key, span) ? key->hash : 0;
}
