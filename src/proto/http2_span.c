/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2 exchanges as spans: what http1_span.c says of any HTTP, and how a stream was given up. Never allocates.
 * Engine thread, once per span.
 */
#include "base/apart.h"
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

/* Whose descriptions these are: other protocols' have other numbers. */
#define HTTP2_FORM (2u << 8)

/* Of these it matters when they happened, or more is said that is not in the facts. */
#define HTTP2_ODD (CLV_HTTP2_RESET | CLV_HTTP2_REFUSED | CLV_HTTP2_CUT)

static __attribute__((noinline)) void http2_describe_anew(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_http2_facts *request = pair->request, *response = pair->response;
	struct clv_http_form form = {
		.version = CLV_LIT("2"),
		.scheme = request->flags & CLV_HTTP2_HTTPS ? CLV_LIT("https") : CLV_LIT("http"),
		.partial = true,
		.sizes_unknown = {request->flags & HTTP2_ODD, response && response->flags & HTTP2_ODD},
	};

	clv_http_describe(pair, &form, span);
	if (http2_is_grpc(request) || http2_is_grpc(response)) {
		clv_grpc_describe(pair, span);
		return;
	}
	http2_describe_reset(response ? response : request, span);
}

/* Of the target what is at its end, and the status. */
static uint64_t http2_spot(const struct clv_pair *pair)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	const struct clv_http2_facts *request = pair->request, *response = pair->response;
	struct clv_http1_field target = request->http.target;
	size_t end = (size_t)target.at + target.len;
	uint64_t word[3] = {0};

	if (end >= sizeof(word) && end <= pair->request_head.len)
		memcpy(word, pair->request_head.data + end - sizeof(word), sizeof(word));
	else if (end >= sizeof(*word) && end <= pair->request_head.len)
		memcpy(word, pair->request_head.data + end - sizeof(*word), sizeof(*word));
	return (word[0] * odd ^ word[1]) * odd ^ word[2] ^ (uint64_t)response->http.status << 48;
}

/*
 * A usual exchange is described by its facts and head alone. Where trace context is in that, no two are the same.
 */
void clv_http2_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_http2_facts *request = pair->request, *response = pair->response;

	if (!span->commons || !response || (request->flags | response->flags) & HTTP2_ODD ||
	    request->http.flags & CLV_HTTP1_CONTEXT) {
		http2_describe_anew(pair, span);
		return;
	}
	struct clv_again_key key = {
		.said = {[CLV_AGAIN_REQUEST] = clv_slice(request, sizeof(*request)),
			 [CLV_AGAIN_RESPONSE] = clv_slice(response, sizeof(*response)),
			 [CLV_AGAIN_HEAD] = clv_apart_slice(&pair->request_head)},
		.spot = http2_spot(pair),
		.form = HTTP2_FORM | (pair->request_ended ? 1 : 0) | (pair->response_ended ? 2 : 0),
		.body = {(int64_t)clv_apart(pair->request_body_bytes), (int64_t)clv_apart(pair->response_body_bytes)},
	};
	if (clv_again_find(&span->commons->whole, &key, span))
		return;
	http2_describe_anew(pair, span);
	clv_again_note(&key, span);
}
