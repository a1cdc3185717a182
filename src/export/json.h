/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One span as one line of JSON, in the form that docs/output.md fixes. Always valid JSON and UTF-8, whatever
 * bytes the span's strings hold; their loss-free escaping is described there too.
 *
 * Pure functions over a const struct: any thread. No allocation, no printf; about 200 ns for a usual span.
 */
#ifndef CLV_EXPORT_JSON_H
#define CLV_EXPORT_JSON_H

#include "model/span.h"

/* The longest --service in bytes. */
#define CLV_JSON_SERVICE_MAX 255

struct clv_json {
	size_t resource_len;
	char resource[64 + 6 * CLV_JSON_SERVICE_MAX]; /* ends the line: ,"resource":{...}}\n */
};

/* Returns 0, or -EINVAL when the service's name is empty or longer than CLV_JSON_SERVICE_MAX. */
int clv_json_init(struct clv_json *j, const char *service);

/* No line of this span is longer. */
size_t clv_json_bound(const struct clv_json *j, const struct clv_span *span);
/* Writes the line, with its newline, into `out` of clv_json_bound() bytes. Returns its length. */
size_t clv_json_write(const struct clv_json *j, const struct clv_span *span, char *out);

/* Writes `s` as the inside of a JSON string, at most 6 * s.len bytes. Returns the end. */
char *clv_json_escape(char *out, struct clv_slice s);

#endif
