/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A WebSocket session as a span. OpenTelemetry has no conventions for it: url.* and network.* where they fit, counts as
 * clovisor.*. The request that led here has a span of its own (HTTP, status 101). Engine thread, once per span.
 */
#include "proto/describe.h"
#include "proto/websocket.h"

/* Codes that say that all is well: normal closure, going away, none given (RFC 6455 section 7.4.1). */
static bool websocket_clean(uint16_t code)
{
	return code == 1000 || code == 1001 || code == 1005;
}

/* The path of a request target; of an absolute one what is behind its authority. */
static struct clv_slice websocket_path(struct clv_slice target)
{
	struct clv_slice t = clv_slice_head(target, clv_slice_find(target, 0, '?'));
	uint8_t *scheme = t.len ? memmem(t.data, t.len, "://", 3) : NULL;

	if (!scheme)
		return t;
	size_t authority = (size_t)(scheme - t.data) + 3;
	return clv_slice_from(t, clv_slice_find(t, authority, '/'));
}

/* Host without its port. */
static struct clv_slice websocket_host(struct clv_slice host)
{
	size_t end = host.len && host.data[0] == '[' ? clv_slice_find(host, 0, ']') : clv_slice_find(host, 0, ':');

	if (host.len && host.data[0] == '[')
		return clv_slice_sub(host, 1, end - 1);
	return clv_slice_head(host, end);
}

static void websocket_describe_counts(const struct clv_websocket_facts *f, struct clv_span *span)
{
	enum clv_dir sent = span->kind == CLV_KIND_CLIENT ? CLV_TO_SERVER : CLV_TO_CLIENT;
	enum clv_dir received = sent == CLV_TO_SERVER ? CLV_TO_CLIENT : CLV_TO_SERVER;

	clv_span_int(span, CLV_ATTR_CLOVISOR_MESSAGES_SENT, (int64_t)f->text[sent] + f->binary[sent]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_MESSAGES_RECEIVED, (int64_t)f->text[received] + f->binary[received]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_BYTES_SENT, (int64_t)f->bytes[sent]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_BYTES_RECEIVED, (int64_t)f->bytes[received]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_TEXT_SENT, f->text[sent]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_TEXT_RECEIVED, f->text[received]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_BINARY_SENT, f->binary[sent]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_BINARY_RECEIVED, f->binary[received]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CONTROL_SENT, f->control[sent]);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CONTROL_RECEIVED, f->control[received]);
	span->bytes = f->bytes[0] + f->bytes[1];
}

void clv_websocket_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_websocket_facts *f = pair->request;
	struct clv_slice target = clv_slice_sub(pair->request_head, f->target.at, f->target.len);
	struct clv_slice host = clv_slice_sub(pair->request_head, f->host.at, f->host.len);

	span->name = span->method = CLV_LIT("WEBSOCKET");
	span->target = websocket_path(target);
	clv_describe_str(span, CLV_ATTR_URL_PATH, span->target);
	clv_span_str(span, CLV_ATTR_URL_SCHEME, CLV_LIT("ws"));
	clv_span_str(span, CLV_ATTR_NETWORK_PROTOCOL_NAME, CLV_LIT("websocket"));
	clv_describe_ends(span, websocket_host(host));
	websocket_describe_counts(f, span);
	if (!(f->flags & CLV_WEBSOCKET_CLOSED))
		return;
	span->status_code = f->close_code;
	span->result = clv_describe_number(span, f->close_code);
	clv_span_int(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CLOSE_CODE, f->close_code);
	if (f->closer != CLV_WEBSOCKET_NOBODY)
		clv_span_str(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CLOSED_BY,
			     f->closer == CLV_TO_SERVER ? CLV_LIT("client") : CLV_LIT("server"));
	if (!websocket_clean(f->close_code))
		clv_describe_error(span, span->result);
}
