/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Spans and resources in OTLP's protobuf form (opentelemetry-proto 1.11: trace/v1, resource/v1, common/v1). Strings
 * that are no UTF-8 are escaped as docs/output.md says, since protobuf strings must be UTF-8.
 *
 * A request is put together from parts that were encoded once, on the engine's thread: requests are concatenations.
 * No allocation, no check for room: the caller gives the bound's bytes. Any thread; what is written of span->common is
 * kept there, by the thread of the span's engine.
 */
#ifndef CLV_EXPORT_OTLP_ENCODE_H
#define CLV_EXPORT_OTLP_ENCODE_H

#include "export/protobuf.h"
#include "model/span.h"

/* https://opentelemetry.io/schemas/1.44.0 */
extern const struct clv_slice clv_otlp_schema_url;

/* opentelemetry.proto.trace.v1.Span, without tag and length. No span is longer than its bound. */
size_t clv_otlp_span_bound(const struct clv_span *span);
/* Returns how many bytes it wrote. What lies behind them, up to the bound, may have been overwritten. */
size_t clv_otlp_span_write(const struct clv_span *span, char *out);

/* opentelemetry.proto.resource.v1.Resource, likewise. */
size_t clv_otlp_resource_bound(const struct clv_resource *r);
size_t clv_otlp_resource_write(const struct clv_resource *r, char *out);

/*
 * A string field of any message: `s` may be any bytes, and is escaped where it is no UTF-8. Returns the end; at most
 * CLV_OTLP_STRING_BYTES(s.len) bytes, for fields below 2048.
 */
#define CLV_OTLP_STRING_BYTES(len) (PROTOBUF_TAG_MAX + PROTOBUF_VARINT_MAX + 4 * (size_t)(len))
char *clv_otlp_string(char *out, uint32_t field, struct clv_slice s);

/*
 * What stands between the parts of an ExportTraceServiceRequest: for each resource
 *
 *     clv_otlp_group_begin() with the Resource; for each of its spans clv_otlp_group_span(); clv_otlp_group_end()
 *
 * one after the other in one buffer. Each returns the end of what it wrote. CLV_OTLP_GROUP_BYTES cover begin and end
 * beside the Resource itself, and CLV_OTLP_SPAN_BYTES what goes before a span. A group must stay below 2^28 bytes.
 */
#define CLV_OTLP_GROUP_BYTES 256
#define CLV_OTLP_SPAN_BYTES  8

struct clv_otlp_group {
	char *resource_spans, *scope_spans; /* where their lengths go */
};

char *clv_otlp_group_begin(struct clv_otlp_group *g, char *out, struct clv_slice resource);
char *clv_otlp_group_span(char *out, struct clv_slice span);
char *clv_otlp_group_end(struct clv_otlp_group *g, char *out);

#endif
