/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trace context that applications send along: which trace a request belongs to, which span is its parent, and whether
 * that is sampled. Which header means what, and which one wins: docs/context.md.
 *
 * Formats: W3C Trace Context levels 1 and 2 (traceparent, tracestate), B3 in one header and in several, Jaeger's
 * uber-trace-id, AWS X-Ray's X-Amzn-Trace-Id; Envoy's x-request-id for correlation only. Pure functions, no
 * allocation, any thread.
 */
#ifndef CLV_TRACE_CONTEXT_H
#define CLV_TRACE_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"
#include "model/span.h"

/* ---- what is wanted ------------------------------------------------------------------------------------------ */

/* As OTEL_PROPAGATORS names them. B3 is one: either name reads both forms, as OpenTelemetry demands of it. */
enum clv_propagator { CLV_PROPAGATOR_W3C, CLV_PROPAGATOR_B3, CLV_PROPAGATOR_JAEGER, CLV_PROPAGATOR_XRAY };
#define CLV_PROPAGATOR_COUNT 4

/* Zeroed: all of them, in the order above. */
struct clv_propagators {
	bool chosen; /* false: the default */
	uint8_t count;
	uint8_t order[CLV_PROPAGATOR_COUNT]; /* enum clv_propagator, the strongest first */
};

/*
 * A list such as "tracecontext,b3,b3multi,jaeger,xray", or "none"; blanks around names are allowed, and what is named
 * twice counts once. "baggage" is known and says nothing of traces. Returns 0, or -EINVAL with *out untouched and
 * *unknown (which may be NULL) the name that is none of these.
 */
int clv_propagators_parse(const char *list, struct clv_propagators *out, struct clv_slice *unknown);

/* Is it one of them? */
bool clv_propagators_want(const struct clv_propagators *p, enum clv_propagator which);

/* ---- what was there ------------------------------------------------------------------------------------------ */

/* No more tracestate headers are joined; with more there is none. It bounds this struct, nothing else. */
#define CLV_TRACESTATE_FIELDS 8

/* The fields of a head that matter here, as they stand there. Zeroed to begin with. */
struct clv_context_fields {
	struct clv_slice traceparent;
	unsigned traceparents; /* how many; more than one: none is valid */
	struct clv_slice tracestate[CLV_TRACESTATE_FIELDS];
	unsigned tracestates;
	struct clv_slice b3;
	struct clv_slice b3_trace_id, b3_span_id, b3_sampled, b3_flags; /* X-B3-* */
	struct clv_slice jaeger, xray, request_id;
};

/* The next field of a head. Of a header other than tracestate the first one counts. */
void clv_context_take(struct clv_context_fields *f, struct clv_slice name, struct clv_slice value);

/* ---- what it means ------------------------------------------------------------------------------------------- */

struct clv_context {
	bool has_trace; /* trace_id is set */
	bool has_parent;
	bool w3c; /* they come from traceparent: a tracestate belongs to them */
	uint8_t trace_id[16];
	uint8_t parent_id[8];
	uint8_t flags; /* W3C trace-flags: 0x01 sampled, 0x02 random; others are not ours to interpret */
	enum clv_decision decision;
};

#define CLV_CONTEXT_SAMPLED 0x01
#define CLV_CONTEXT_RANDOM  0x02

/*
 * The first valid context in the order of `p`; one with ids wins over those that only say whether to sample. False,
 * with *out untouched, when there is nothing.
 */
bool clv_context_read(const struct clv_context_fields *f, const struct clv_propagators *p, struct clv_context *out);

/*
 * W3C Trace Context section 3.2: a traceparent. Version 00 is exactly 55 characters; a higher one may carry more
 * behind a '-'. Returns false, with *out untouched, when it is not valid: then there is no context.
 */
bool clv_context_parse(struct clv_slice value, struct clv_context *out);

/* "longer lists" (section 3.3.1.5) lose members until this much is left. */
#define CLV_TRACESTATE_BYTES   512u
#define CLV_TRACESTATE_MEMBERS 32u

/*
 * The headers joined, without white space and empty members; empty when one of them is not valid, or none is there.
 * Written to `room` of CLV_TRACESTATE_BYTES.
 */
struct clv_slice clv_context_tracestate(const struct clv_context_fields *f, char *room);

/* x-request-id when it is a UUID, otherwise empty: any other text may hold what must not leave. */
struct clv_slice clv_context_request_id(const struct clv_context_fields *f);
/* What Envoy wrote into it: CLV_SAMPLED when its 14th hex digit says so, else CLV_UNDECIDED. */
enum clv_decision clv_context_request_decision(struct clv_slice request_id);

#endif
