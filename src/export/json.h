/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One span as one line of JSON, in the form that docs/output.md fixes. Always valid JSON and UTF-8, whatever
 * bytes the span's strings hold; their loss-free escaping is described there too.
 *
 * No allocation, no printf. What is written of span->common is kept there: the thread of the span's engine, and any
 * thread where a span has none.
 */
#ifndef CLV_EXPORT_JSON_H
#define CLV_EXPORT_JSON_H

#include "model/flow_record.h"
#include "model/span.h"

/* Keeps the resource and the second written last, since most spans follow one of the same. Zeroed to begin with. */
struct clv_json {
	uint64_t second; /* Unix time */
	char second_text[16];
	uint32_t second_len; /* 0: there is none */
	uint32_t resource_id;
	size_t resource_len;
	char resource[64 + 6 * CLV_RESOURCE_BYTES + 8 * CLV_RESOURCE_ATTRS]; /* ends the line: ,"resource":{...}}\n */
};

/* No line of this span, whose resource is set, is longer. */
size_t clv_json_bound(struct clv_json *j, const struct clv_span *span);
/* Writes the line, with its newline, into `out` of clv_json_bound() bytes, asked for this span. Returns its length. */
size_t clv_json_write(const struct clv_json *j, const struct clv_span *span, char *out);

/* Likewise of a connection record: a line whose first key is "connection". */
size_t clv_json_flow_bound(struct clv_json *j, const struct clv_flow_record *r);
size_t clv_json_flow(const struct clv_json *j, const struct clv_flow_record *r, char *out);

/* Writes `s`, any bytes, as the inside of a JSON string, at most 6 * s.len bytes. Returns the end. */
char *clv_json_escape(char *out, struct clv_slice s);
/* The same of text that is UTF-8 already and stays as it is; NULL when it is not UTF-8. */
char *clv_json_quote(char *out, struct clv_slice s);

#endif
