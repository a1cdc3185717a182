/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the describe() of many protocols has in common. Strings that are made here live in the span. Engine thread.
 */
#ifndef CLV_PROTO_DESCRIBE_H
#define CLV_PROTO_DESCRIBE_H

#include "base/buf.h"
#include "model/common.h"
#include "model/span.h"

/* The attribute, unless its value is empty. */
static inline void clv_describe_str(struct clv_span *span, enum clv_attr_key key, struct clv_slice value)
{
	if (value.len)
		clv_span_str(span, key, value);
}

/* The same by clv_span_begin(). */
static inline struct clv_attr *clv_describe_put(struct clv_attr *at, enum clv_attr_key key, struct clv_slice value)
{
	return value.len ? clv_attrs_str(at, key, value) : at;
}

/* Room for `cap` bytes in the span; without it the buffer counts as cut. */
struct clv_buf clv_describe_room(struct clv_span *span, size_t cap);
/* What was written to it; empty when it was cut. */
struct clv_slice clv_describe_text(const struct clv_buf *b);
/* A number as text. */
struct clv_slice clv_describe_number(struct clv_span *span, uint64_t n);
struct clv_slice clv_describe_addr(struct clv_span *span, const struct clv_addr *addr);

/*
 * server.*, client.*, network.peer.*, network.transport and network.type as the wire says them. `server`: whom the
 * client meant, where the protocol tells (a host name); empty: the address that it reached.
 */
void clv_describe_ends(struct clv_span *span, struct clv_slice server);

/* What decides about that, with `said` of the parser's own; `form` makes it another thing than others' (from 1 on). */
static inline void clv_describe_key(struct clv_common_key *key, const struct clv_span *span, uint64_t form)
{
	key->client = &span->client.addr;
	key->server = &span->server;
	key->form[0] = form << 16 | (uint64_t)span->transport << 8 | span->kind;
	key->form[1] = 0;
	key->said[0] = key->said[1] = clv_slice(NULL, 0);
}

/*
 * Attributes that are kept, from `at` on, of which CLV_COMMON_ATTRS must have room there: with the span's own client
 * port. `c` is from span->commons.
 */
static inline struct clv_attr *clv_describe_common(struct clv_span *span, struct clv_attr *at, struct clv_common *c)
{
	/* All of them, whatever the count, since that is quickly done; in pieces that compilers move by registers. */
#pragma GCC unroll 3
	for (int i = 0; i < CLV_COMMON_ATTRS; i += 4)
		memcpy(at + i, c->attr + i, 4 * sizeof(*at));
	at[c->port[0]].i = span->client.port;
	at[c->port[1]].i = span->client.port;
	span->common = c;
	span->common_at = at;
	return at + c->count;
}

/* The exchange failed: status ERROR and error.type, `type` of few values. */
void clv_describe_error(struct clv_span *span, struct clv_slice type);

#endif
