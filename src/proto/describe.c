/* SPDX-License-Identifier: Apache-2.0 */
/* Attributes that many protocols set alike. Owns nothing, allocates nothing; engine thread. */
#include "proto/describe.h"

#include "model/packet.h"

struct clv_buf clv_describe_room(struct clv_span *span, size_t cap)
{
	struct clv_buf b = clv_buf(clv_span_scratch(span, cap), cap);

	b.cut = !b.data;
	return b;
}

struct clv_slice clv_describe_text(const struct clv_buf *b)
{
	return clv_slice(b->data, b->cut ? 0 : b->len);
}

struct clv_slice clv_describe_number(struct clv_span *span, uint64_t n)
{
	struct clv_buf b = clv_describe_room(span, 20);

	clv_buf_u64(&b, n);
	return clv_describe_text(&b);
}

struct clv_slice clv_describe_addr(struct clv_span *span, const struct clv_addr *addr)
{
	char *text = clv_span_scratch(span, CLV_ADDR_TEXT);

	return clv_slice(text, text ? clv_addr_format(addr, text) : 0);
}

#define ENDS 8 /* attributes */

static struct clv_attr *describe_ends(struct clv_span *span, struct clv_slice server, struct clv_attr *at)
{
	bool serving = span->kind == CLV_KIND_SERVER;
	struct clv_slice client_addr = clv_describe_addr(span, &span->client.addr), server_addr = {0};

	if (!serving || !server.len)
		server_addr = clv_describe_addr(span, &span->server.addr);
	at = clv_describe_put(at, CLV_ATTR_SERVER_ADDRESS, server.len ? server : server_addr);
	at = clv_attrs_int(at, CLV_ATTR_SERVER_PORT, span->server.port);
	at = clv_describe_put(at, CLV_ATTR_CLIENT_ADDRESS, client_addr);
	at = clv_attrs_int(at, CLV_ATTR_CLIENT_PORT, span->client.port);
	at = clv_describe_put(at, CLV_ATTR_NETWORK_PEER_ADDRESS, serving ? client_addr : server_addr);
	at = clv_attrs_int(at, CLV_ATTR_NETWORK_PEER_PORT, serving ? span->client.port : span->server.port);
	at = clv_attrs_str(at, CLV_ATTR_NETWORK_TRANSPORT,
			   span->transport == CLV_TRANSPORT_UDP ? CLV_LIT("udp") : CLV_LIT("tcp"));
	return clv_attrs_str(at, CLV_ATTR_NETWORK_TYPE,
			     clv_addr_is_v4(&span->server.addr) ? CLV_LIT("ipv4") : CLV_LIT("ipv6"));
}

void clv_describe_ends(struct clv_span *span, struct clv_slice server)
{
	struct clv_common_key key;
	struct clv_attr *begin = clv_span_begin(span, ENDS), *end;
	/* A second time must not take the place of what the span borrows. */
	bool usable = span->commons && !span->common && span->attr_count + CLV_COMMON_ATTRS <= CLV_SPAN_ATTRS;
	struct clv_common *c;

	clv_describe_key(&key, span, 0);
	key.said[0] = server;
	c = usable ? clv_commons_find(span->commons, &key) : NULL;
	if (c) {
		clv_span_end(span, clv_describe_common(span, begin, c));
		return;
	}
	end = describe_ends(span, server, begin);
	clv_span_end(span, end);
	c = usable ? clv_commons_want(span->commons, &key) : NULL;
	if (c)
		clv_commons_keep(span->commons, c, &key, begin, (unsigned)(end - begin), span->kind == CLV_KIND_SERVER);
}

void clv_describe_error(struct clv_span *span, struct clv_slice type)
{
	span->status = CLV_STATUS_ERROR;
	clv_describe_str(span, CLV_ATTR_ERROR_TYPE, type);
}
