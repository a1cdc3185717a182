/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From an exchange to a span: times, kind, ids, context, route, captured fields, what is missing; the protocol adds its
 * own. And what may not leave is taken out here, last, so that nobody behind it has to.
 */
#ifndef CLV_TRACE_REPORT_H
#define CLV_TRACE_REPORT_H

#include "model/span.h"
#include "proto/proto.h"
#include "trace/context.h"
#include "trace/exchange.h"
#include "trace/fields.h"
#include "trace/redact.h"
#include "trace/route.h"

/*
 * What a user says about reading heads. Zeroed: the default, which reads every known trace context and nothing else.
 * What it points to belongs to whoever made it.
 */
struct clv_head_rules {
	struct clv_propagators propagators;
	const struct clv_routes *routes;   /* NULL: none */
	bool guess_templates;              /* url.template for paths that no route fits */
	const struct clv_capture *capture; /* NULL: no header fields */
	struct clv_redact *redact;         /* NULL: only what OpenTelemetry's conventions demand */
};

/* What is lost on the way, for whoever counts. */
struct clv_report_counts {
	uint64_t *headers_dropped; /* captured fields past CLV_SPAN_HEADERS or CLV_CAPTURE_BYTES, or without memory */
	uint64_t
		*redacted_whole; /* values that no pattern could be searched for in bounds, or without room: REDACTED */
};

/* What a span takes from its connection. */
struct clv_report {
	const struct clv_proto *proto;
	struct clv_endpoint client, server;
	enum clv_span_kind kind;
	bool side_known;
	bool both_ends;       /* the caller is at the same place, and nobody else reports what it sees */
	bool open;            /* it goes on: a span as it stands, in which nothing counts as missing yet */
	uint8_t transport;    /* enum clv_transport */
	uint32_t net;         /* the place of capture */
	uint64_t retransmits; /* of the connection, until now */
	uint64_t closed_ns;   /* when it ended under the exchange; 0: it did not */
	const char *error;    /* error.type for an exchange that did not end; NULL: capture or evidence ended */
	char *overflow;       /* CLV_SPAN_OVERFLOW bytes for long composed strings */
	const struct clv_head_rules *rules;
	struct clv_commons *commons; /* as clv_span.commons */
	struct clv_report_counts counts;
};

/* Fills *span, which borrows from x, r and itself. */
void clv_report_span(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span);

#endif
