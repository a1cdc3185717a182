/* SPDX-License-Identifier: Apache-2.0 */
/* Builds spans. Owns nothing, allocates nothing, guesses nothing. Engine thread only. */
#include "trace/report.h"

#include "trace/context.h"
#include "trace/ids.h"

static void set_ids(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	struct clv_slice head = clv_exchange_head(x);
	uint32_t response_seq = x->response.ts_ns ? (uint32_t)x->response.pos : x->request.ack_seq;
	struct clv_exchange_ids ids = clv_ids_derive((uint32_t)x->request.pos, response_seq, head);
	struct clv_context context;

	memcpy(span->trace_id, ids.trace_id, sizeof(span->trace_id));
	if (r->kind == CLV_KIND_CLIENT) {
		memcpy(span->span_id, ids.client_span_id, sizeof(span->span_id));
	} else {
		memcpy(span->span_id, ids.server_span_id, sizeof(span->span_id));
		/* The caller's span, by whoever sees that side; a file that knows no sides has no other observer. */
		memcpy(span->parent_id, ids.client_span_id, sizeof(span->parent_id));
		span->has_parent = r->side_known;
	}
	if (clv_context_parse(clv_slice_sub(head, x->traceparent_at, x->traceparent_len), &context)) {
		memcpy(span->trace_id, context.trace_id, sizeof(span->trace_id));
		memcpy(span->parent_id, context.parent_id, sizeof(span->parent_id));
		span->has_parent = true;
	}
}

static void set_times(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	span->start_ns = x->request.ts_ns;
	span->first_ns = x->response.ts_ns;
	if (x->response_end_ns)
		span->end_ns = x->response_end_ns;
	else if (x->response_seen_ns)
		span->end_ns = x->response_seen_ns;
	else if (r->error)
		span->end_ns = r->closed_ns;
	else
		span->end_ns = x->request_end_ns;
	if (span->end_ns < span->start_ns)
		span->end_ns = span->start_ns;
}

static void set_missing(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	bool answered = x->response.ts_ns != 0, ended = x->response_end_ns != 0;

	span->flags = x->flags;
	if (!answered && !r->error)
		span->flags |= CLV_SPAN_UNPAIRED;
	if (answered && !ended && !r->error && !(x->flags & CLV_SPAN_GAP))
		span->flags |= CLV_SPAN_TRUNCATED;
	if (!ended && r->error) {
		span->status = CLV_STATUS_ERROR;
		if (!clv_span_get(span, CLV_ATTR_ERROR_TYPE))
			clv_span_str(span, CLV_ATTR_ERROR_TYPE, clv_slice_str(r->error));
	}
}

static void set_observed(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	static const struct {
		enum clv_span_flag flag;
		enum clv_attr_key key;
	} missing[] = {
		{CLV_SPAN_TRUNCATED, CLV_ATTR_CLOVISOR_TRUNCATED},
		{CLV_SPAN_GAP, CLV_ATTR_CLOVISOR_GAP},
		{CLV_SPAN_MIDSTREAM, CLV_ATTR_CLOVISOR_MIDSTREAM},
		{CLV_SPAN_UNPAIRED, CLV_ATTR_CLOVISOR_UNPAIRED},
	};

	if (span->first_ns)
		clv_span_int(span, CLV_ATTR_CLOVISOR_TIME_TO_FIRST_BYTE,
			     span->first_ns > span->start_ns ? (int64_t)(span->first_ns - span->start_ns) : 0);
	/* The first request seen of a connection joined midstream may have had others before it. */
	if (span->flags & CLV_SPAN_REUSED || !(span->flags & CLV_SPAN_MIDSTREAM))
		clv_span_bool(span, CLV_ATTR_CLOVISOR_CONNECTION_REUSED, span->flags & CLV_SPAN_REUSED);
	if (r->retransmits > x->retransmits_before)
		clv_span_int(span, CLV_ATTR_CLOVISOR_RETRANSMITS, (int64_t)(r->retransmits - x->retransmits_before));
	for (size_t i = 0; i < sizeof(missing) / sizeof(missing[0]); i++)
		if (span->flags & missing[i].flag)
			clv_span_bool(span, missing[i].key, true);
}

void clv_report_span(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span)
{
	/* All but the arrays, which counts bound. */
	memset(span, 0, offsetof(struct clv_span, attr));
	span->scratch_used = 0;
	span->overflow = r->overflow;
	span->overflow_used = 0;
	span->kind = r->kind;
	span->side_known = r->side_known;
	span->net = r->net;
	span->client = r->client;
	span->server = r->server;
	span->bytes = x->request_body_bytes + x->response_body_bytes;
	set_ids(r, x, span);
	set_times(r, x, span);

	struct clv_pair pair = {
		.request_head = clv_exchange_head(x),
		.request = clv_exchange_facts(x),
		.response = x->response.ts_ns ? x->response_facts : NULL,
		.request_body_bytes = x->request_body_bytes,
		.response_body_bytes = x->response_body_bytes,
		.request_ended = x->request_end_ns != 0,
		.response_ended = x->response_end_ns != 0,
	};
	r->proto->describe(&pair, span);
	set_missing(r, x, span);
	set_observed(r, x, span);
}
