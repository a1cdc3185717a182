/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 exchanges as spans: what http1_span.c says of any HTTP, and how a stream was given up. Never allocates.
 * Engine thread, once per span.
 */
#include "proto/describe.h"
#include "proto/http2.h"

/* Error codes that one may mean nothing bad by (RFC 9113 section 7). */
#define HTTP2_NO_ERROR 0u
#define HTTP2_CANCEL   8u

static struct clv_slice http2_error_name(uint32_t code)
{
	static const struct clv_slice names[] = {
		CLV_LIT("NO_ERROR"),
		CLV_LIT("PROTOCOL_ERROR"),
		CLV_LIT("INTERNAL_ERROR"),
		CLV_LIT("FLOW_CONTROL_ERROR"),
		CLV_LIT("SETTINGS_TIMEOUT"),
		CLV_LIT("STREAM_CLOSED"),
		CLV_LIT("FRAME_SIZE_ERROR"),
		CLV_LIT("REFUSED_STREAM"),
		CLV_LIT("CANCEL"),
		CLV_LIT("COMPRESSION_ERROR"),
		CLV_LIT("CONNECT_ERROR"),
		CLV_LIT("ENHANCE_YOUR_CALM"),
		CLV_LIT("INADEQUATE_SECURITY"),
		CLV_LIT("HTTP_1_1_REQUIRED"),
	};

	return code < sizeof(names) / sizeof(names[0]) ? names[code] : CLV_LIT("_OTHER");
}

/* A client that wants no answer any more has not failed; whoever else ends a stream early has. */
static void http2_describe_reset(const struct clv_http2_facts *f, struct clv_span *span)
{
	bool wanted = f->flags & CLV_HTTP2_RESET_BY_CLIENT && (f->reset == HTTP2_NO_ERROR || f->reset == HTTP2_CANCEL);
	struct clv_slice name = f->flags & CLV_HTTP2_REFUSED ? CLV_LIT("GOAWAY") : http2_error_name(f->reset);

	if (!(f->flags & (CLV_HTTP2_RESET | CLV_HTTP2_REFUSED)))
		return;
	span->result = name;
	if (!wanted && span->status != CLV_STATUS_ERROR)
		clv_describe_error(span, name);
}

static bool http2_is_grpc(const struct clv_http2_facts *f)
{
	return f && f->kind != CLV_HTTP2_PLAIN;
}

void clv_http2_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const uint8_t odd = CLV_HTTP2_RESET | CLV_HTTP2_REFUSED | CLV_HTTP2_CUT;
	const struct clv_http2_facts *request = pair->request, *response = pair->response;
	struct clv_http_form form = {
		.version = CLV_LIT("2"),
		.scheme = request->flags & CLV_HTTP2_HTTPS ? CLV_LIT("https") : CLV_LIT("http"),
		.partial = true,
		.sizes_unknown = {request->flags & odd, response && response->flags & odd},
	};

	clv_http_describe(pair, &form, span);
	if (http2_is_grpc(request) || http2_is_grpc(response)) {
		clv_grpc_describe(pair, span);
		return;
	}
	http2_describe_reset(response ? response : request, span);
}
