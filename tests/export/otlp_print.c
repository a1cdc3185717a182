/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For test_otlp_decode.py, which knows these spans: OTLP as clovisor writes it, to standard output.
 *
 *     otlp_print spans                       an ExportTraceServiceRequest of odd spans
 *     otlp_print traces|metrics <REQUEST     a request from standard input as OTLP/JSON
 */
#include <stdio.h>
#include <stdlib.h>

#include "export/otlp_encode.h"
#include "export/otlp_json.h"

#define LARGE 70000u

static char resource[2 * CLV_RESOURCE_BYTES], encoded[16 * LARGE], request[16 * LARGE];
static char large[LARGE];

static struct clv_span plain(void)
{
	return (struct clv_span){
		.trace_id = {1, 2, 3, [15] = 0xff},
		.span_id = {4, [7] = 0xfe},
		.name = CLV_LIT("GET"),
		.start_ns = 1700000000123456789,
		.end_ns = 1700000000223456789,
	};
}

static struct clv_span full(void)
{
	struct clv_span s = plain();

	s.kind = CLV_KIND_CLIENT;
	s.status = CLV_STATUS_ERROR;
	s.has_parent = s.remote = true;
	s.parent_id[0] = 9;
	s.trace_flags = 1;
	s.tracestate = CLV_LIT("vendor=1,other=2");
	clv_span_str(&s, CLV_ATTR_HTTP_REQUEST_METHOD, CLV_LIT("GET"));
	clv_span_int(&s, CLV_ATTR_HTTP_RESPONSE_STATUS_CODE, 503);
	clv_span_int(&s, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, INT64_MAX);
	clv_span_int(&s, CLV_ATTR_HTTP_RESPONSE_BODY_SIZE, INT64_MIN);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_GAP, true);
	clv_span_bool(&s, CLV_ATTR_CLOVISOR_TRUNCATED, false);
	s.header_count = 3;
	s.header[0] = (struct clv_span_header){CLV_LIT("x-a"), CLV_LIT("one"), false};
	s.header[1] = (struct clv_span_header){CLV_LIT("x-a"), CLV_LIT("tw\xf6"), false};
	s.header[2] = (struct clv_span_header){CLV_LIT("x-a"), CLV_LIT(""), true};
	return s;
}

static struct clv_span strange(void)
{
	struct clv_span s = plain();

	memset(large, 'x', sizeof(large));
	s.has_parent = true;
	s.parent_id[7] = 8;
	s.name = CLV_LIT("caf\xc3\xa9 \xff\\x41\\y\n");
	clv_span_str(&s, CLV_ATTR_URL_PATH, clv_slice(large, sizeof(large)));
	memset(large + sizeof(large) / 2, '\xff', sizeof(large) / 2);
	clv_span_str(&s, CLV_ATTR_URL_QUERY, clv_slice(large + sizeof(large) / 2, 300));
	clv_span_str(&s, CLV_ATTR_USER_AGENT_ORIGINAL, CLV_LIT(""));
	return s;
}

static char *group(char *out, const struct clv_resource *r, const struct clv_span *spans, size_t count)
{
	struct clv_otlp_group g;

	out = clv_otlp_group_begin(&g, out, clv_slice(resource, clv_otlp_resource_write(r, resource)));
	for (size_t i = 0; i < count; i++) {
		if (clv_otlp_span_bound(&spans[i]) > sizeof(encoded))
			abort();
		out = clv_otlp_group_span(out, clv_slice(encoded, clv_otlp_span_write(&spans[i], encoded)));
	}
	return clv_otlp_group_end(&g, out);
}

static int print_spans(void)
{
	const struct clv_resource_attr more[] = {{CLV_LIT("k8s.pod.name"), CLV_LIT("shop-1")},
						 {CLV_LIT("odd"), CLV_LIT("\xfe\\x")}};
	const struct clv_span first[] = {plain(), full()}, second[] = {strange()};
	struct clv_resources *rs;
	char *end = request;

	if (clv_resources_new(CLV_LIT("rest"), NULL, 0, &rs) || clv_resources_set(rs, 1, CLV_LIT("shop"), more, 2))
		return 1;
	end = group(end, clv_resources_get(rs, 1), first, 2);
	end = group(end, clv_resources_get(rs, 0), second, 1);
	fwrite(request, 1, (size_t)(end - request), stdout);
	clv_resources_free(rs);
	return 0;
}

static int print_json(int (*write)(struct clv_otlp_json *j, struct clv_slice request))
{
	size_t len = fread(request, 1, sizeof(request), stdin);
	struct clv_otlp_json j = {0};
	int err = write(&j, clv_slice(request, len));

	if (err)
		fprintf(stderr, "otlp_print: %s\n", strerror(-err));
	fwrite(j.data, 1, j.len, stdout);
	clv_otlp_json_fini(&j);
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "spans") == 0)
		return print_spans();
	if (argc == 2 && strcmp(argv[1], "traces") == 0)
		return print_json(clv_otlp_json_traces);
	if (argc == 2 && strcmp(argv[1], "metrics") == 0)
		return print_json(clv_otlp_json_metrics);
	fprintf(stderr, "usage: otlp_print spans|traces|metrics\n");
	return 2;
}
