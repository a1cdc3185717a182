/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gRPC calls as spans: OpenTelemetry's RPC conventions (v1.44) on top of what HTTP says, from the facts that http2.c
 * kept. The call's path is "/package.Service/Method"; its status is a number in the trailers, or in the only head there
 * is. grpc-message is text for people, made by the application: it stays where it is. Never allocates. Engine thread.
 */
#include "proto/describe.h"
#include "proto/http2.h"

/* RST_STREAM's codes that stand for a status (gRPC over HTTP/2, "Errors"). */
#define GRPC_RESET_REFUSED 7u
#define GRPC_RESET_CANCEL  8u
#define GRPC_RESET_CALM    11u
#define GRPC_RESET_CRYPTO  12u

enum grpc_status {
	GRPC_OK = 0,
	GRPC_CANCELLED = 1,
	GRPC_UNKNOWN = 2,
	GRPC_DEADLINE_EXCEEDED = 4,
	GRPC_PERMISSION_DENIED = 7,
	GRPC_RESOURCE_EXHAUSTED = 8,
	GRPC_UNIMPLEMENTED = 12,
	GRPC_INTERNAL = 13,
	GRPC_UNAVAILABLE = 14,
	GRPC_DATA_LOSS = 15,
	GRPC_STATUSES = 17,
	GRPC_NOT_SAID = 255,
};

static struct clv_slice grpc_status_name(unsigned status)
{
	static const struct clv_slice names[GRPC_STATUSES] = {
		CLV_LIT("OK"),
		CLV_LIT("CANCELLED"),
		CLV_LIT("UNKNOWN"),
		CLV_LIT("INVALID_ARGUMENT"),
		CLV_LIT("DEADLINE_EXCEEDED"),
		CLV_LIT("NOT_FOUND"),
		CLV_LIT("ALREADY_EXISTS"),
		CLV_LIT("PERMISSION_DENIED"),
		CLV_LIT("RESOURCE_EXHAUSTED"),
		CLV_LIT("FAILED_PRECONDITION"),
		CLV_LIT("ABORTED"),
		CLV_LIT("OUT_OF_RANGE"),
		CLV_LIT("UNIMPLEMENTED"),
		CLV_LIT("INTERNAL"),
		CLV_LIT("UNAVAILABLE"),
		CLV_LIT("DATA_LOSS"),
		CLV_LIT("UNAUTHENTICATED"),
	};

	return names[status];
}

/* A client's call that did not succeed has failed; a server has only where the fault is its own. */
static bool grpc_failed(unsigned status, enum clv_span_kind kind)
{
	static const uint32_t servers = 1u << GRPC_UNKNOWN | 1u << GRPC_DEADLINE_EXCEEDED | 1u << GRPC_UNIMPLEMENTED |
					1u << GRPC_INTERNAL | 1u << GRPC_UNAVAILABLE | 1u << GRPC_DATA_LOSS;

	return kind == CLV_KIND_SERVER ? servers >> status & 1 : status != GRPC_OK;
}

/* What both ends take a reset for. A client that is out of time says that it cancels. */
static unsigned grpc_reset_status(const struct clv_http2_facts *f, uint64_t timeout_ns, const struct clv_span *span)
{
	switch (f->reset) {
	case GRPC_RESET_REFUSED:
		return GRPC_UNAVAILABLE;
	case GRPC_RESET_CANCEL:
		return timeout_ns && span->end_ns - span->start_ns >= timeout_ns ? GRPC_DEADLINE_EXCEEDED
										 : GRPC_CANCELLED;
	case GRPC_RESET_CALM:
		return GRPC_RESOURCE_EXHAUSTED;
	case GRPC_RESET_CRYPTO:
		return GRPC_PERMISSION_DENIED;
	default:
		return GRPC_INTERNAL;
	}
}

static unsigned grpc_status(const struct clv_http2_facts *request, const struct clv_http2_facts *response,
			    const struct clv_span *span)
{
	const struct clv_http2_facts *ended = response ? response : request;

	if (response && response->flags & CLV_HTTP2_STATUS)
		return response->grpc_status < GRPC_STATUSES ? response->grpc_status : GRPC_UNKNOWN;
	if (ended->flags & CLV_HTTP2_REFUSED)
		return GRPC_UNAVAILABLE;
	if (ended->flags & CLV_HTTP2_RESET)
		return grpc_reset_status(ended, request->timeout_ns, span);
	return GRPC_NOT_SAID;
}

/* How many there were is known at the end. */
static void grpc_describe_messages(const struct clv_http2_facts *f, bool ended, bool sent, struct clv_span *span)
{
	if (!f || !ended || f->kind == CLV_HTTP2_PLAIN || f->kind == CLV_HTTP2_GRPC_WEB_TEXT ||
	    f->flags & CLV_HTTP2_CUT)
		return;
	clv_span_int(span, sent ? CLV_ATTR_CLOVISOR_MESSAGES_SENT : CLV_ATTR_CLOVISOR_MESSAGES_RECEIVED, f->messages);
	clv_span_int(span, sent ? CLV_ATTR_CLOVISOR_BYTES_SENT : CLV_ATTR_CLOVISOR_BYTES_RECEIVED, (int64_t)f->bytes);
}

/* "package.Service/Method", when that is what the path is. */
/* Letters of package, service and method names. */
static bool grpc_is_name(uint8_t c)
{
	return (uint8_t)((c | 0x20) - 'a') < 26 || (uint8_t)(c - '0') < 10 || c == '_' || c == '.' || c == '-';
}

static void grpc_describe_method(const struct clv_http2_facts *request, struct clv_slice head, struct clv_span *span)
{
	struct clv_slice path = clv_slice_sub(head, request->http.target.at, request->http.target.len);
	struct clv_slice method = clv_slice_from(path, 1);
	size_t slash = clv_slice_find(method, 0, '/');

	if (!method.len || path.data[0] != '/' || !slash || slash >= method.len - 1)
		return;
	/* A name and nothing behind it: a query, say, may hold what must not leave. */
	for (size_t i = 0; i < method.len; i++)
		if (i != slash && !grpc_is_name(method.data[i]))
			return;
	clv_span_str(span, CLV_ATTR_RPC_METHOD, method);
	span->name = method;
}

void clv_grpc_describe(const struct clv_pair *pair, struct clv_span *span)
{
	const struct clv_http2_facts *request = pair->request, *response = pair->response;
	bool serving = span->kind == CLV_KIND_SERVER;
	unsigned status = grpc_status(request, response, span);

	span->protocol = "grpc";
	clv_span_str(span, CLV_ATTR_RPC_SYSTEM_NAME, CLV_LIT("grpc"));
	grpc_describe_method(request, pair->request_head, span);
	if (request->timeout_ns)
		clv_span_int(span, CLV_ATTR_CLOVISOR_GRPC_TIMEOUT, (int64_t)request->timeout_ns);
	grpc_describe_messages(request, pair->request_ended, !serving, span);
	grpc_describe_messages(response, pair->response_ended, serving, span);
	if (status == GRPC_NOT_SAID)
		return;
	span->result = grpc_status_name(status);
	clv_span_str(span, CLV_ATTR_RPC_RESPONSE_STATUS_CODE, span->result);
	/* What HTTP called an error before is one under that name. */
	if (grpc_failed(status, span->kind) && span->status != CLV_STATUS_ERROR)
		clv_describe_error(span, span->result);
}
