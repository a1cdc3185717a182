/* SPDX-License-Identifier: Apache-2.0 */
/* From an exchange to a span: times, kind, ids, context, what is missing; the protocol adds its own. */
#ifndef CLV_TRACE_REPORT_H
#define CLV_TRACE_REPORT_H

#include "model/span.h"
#include "proto/proto.h"
#include "trace/exchange.h"

/* What a span takes from its connection. */
struct clv_report {
	const struct clv_proto *proto;
	struct clv_endpoint client, server;
	enum clv_span_kind kind;
	bool side_known;
	uint32_t net;         /* the place of capture */
	uint64_t retransmits; /* of the connection, until now */
	uint64_t closed_ns;   /* when it ended under the exchange; 0: it did not */
	const char *error;    /* error.type for an exchange that did not end; NULL: capture or evidence ended */
	char *overflow;       /* CLV_SPAN_OVERFLOW bytes for long composed strings */
};

/* Fills *span, which borrows from x, r and itself. */
void clv_report_span(const struct clv_report *r, const struct clv_exchange *x, struct clv_span *span);

#endif
