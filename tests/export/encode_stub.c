/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in for export/otlp_encode.c, for as long as that is not there (tests/export/meson.build): ids and names
 * only. Keeps the contract of otlp_encode.h.
 */
#include "export/otlp_encode.h"

#include "export/protobuf.h"

size_t clv_otlp_span_bound(const struct clv_span *span)
{
	return 64 + span->name.len;
}

size_t clv_otlp_span_write(const struct clv_span *span, char *out)
{
	char *end = protobuf_bytes(out, 1, clv_slice(span->trace_id, 16));

	end = protobuf_bytes(end, 2, clv_slice(span->span_id, 8));
	end = protobuf_bytes(end, 5, span->name);
	return (size_t)(end - out);
}

size_t clv_otlp_resource_bound(const struct clv_resource *r)
{
	return r->used + 64 * (size_t)r->count;
}

size_t clv_otlp_resource_write(const struct clv_resource *r, char *out)
{
	char *end = out;

	for (uint32_t i = 0; i < r->count; i++) {
		char *attr, *value;

		end = protobuf_open(end, 1, &attr);
		end = protobuf_bytes(end, 1, r->attr[i].key);
		end = protobuf_open(end, 2, &value);
		end = protobuf_bytes(end, 1, r->attr[i].value);
		protobuf_close(value, end);
		protobuf_close(attr, end);
	}
	return (size_t)(end - out);
}

char *clv_otlp_group_begin(struct clv_otlp_group *g, char *out, struct clv_slice resource)
{
	out = protobuf_open(out, 1, &g->resource_spans);
	out = protobuf_bytes(out, 1, resource);
	return protobuf_open(out, 2, &g->scope_spans);
}

char *clv_otlp_group_span(char *out, struct clv_slice span)
{
	return protobuf_bytes(out, 2, span);
}

char *clv_otlp_group_end(struct clv_otlp_group *g, char *out)
{
	protobuf_close(g->scope_spans, out);
	protobuf_close(g->resource_spans, out);
	return out;
}
