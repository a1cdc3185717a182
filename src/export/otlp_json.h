/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OTLP's JSON form of a request (opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding"; otherwise protobuf's
 * JSON mapping), made from its protobuf form: lowerCamelCase keys, trace and span ids in hex, other bytes in base64,
 * enums as integers, 64-bit integers as strings of decimal digits, NaN and the infinities as strings. What the
 * message has is written, even where it equals the default; what it has not is left out.
 *
 * The messages known are those of traces and metrics, without exponential histograms and summaries, which clovisor
 * does not write. Unknown fields are left out, as protobuf demands. Of a field given twice that may stand but once,
 * and of a oneof's members, the last one counts.
 *
 * Not for the path of a span: it takes some microseconds for each. Any thread, one at a time per struct.
 */
#ifndef CLV_EXPORT_OTLP_JSON_H
#define CLV_EXPORT_OTLP_JSON_H

#include "base/slice.h"

/* No request is longer (OTLP's own limit). */
#define CLV_OTLP_JSON_MAX ((size_t)64 << 20)
/* Messages within messages; clovisor's own have 10. */
#define CLV_OTLP_JSON_DEPTH 32

/* The text, and the room for it, which is kept from one request to the next. Zeroed to begin with. */
struct clv_otlp_json {
	char *data; /* no NUL at the end */
	size_t len, cap;
};

/*
 * Writes an ExportTraceServiceRequest or ExportMetricsServiceRequest over what is there. Returns 0; -EBADMSG when it
 * is not one, is nested too deeply or has a string that is no UTF-8; -E2BIG past CLV_OTLP_JSON_MAX; -ENOMEM. On
 * failure `len` is 0.
 */
int clv_otlp_json_traces(struct clv_otlp_json *j, struct clv_slice request);
int clv_otlp_json_metrics(struct clv_otlp_json *j, struct clv_slice request);

void clv_otlp_json_fini(struct clv_otlp_json *j);

#endif
