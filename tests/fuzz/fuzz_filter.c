/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: a filter from the command line, tried on a span. The compiler reads nothing beyond the text, keeps within
 * its bounds, and says why it refuses; what it takes is evaluated.
 */
#include <assert.h>
#include <stdlib.h>

#include "export/filter.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void make(struct clv_span *s)
{
	static const struct clv_resource resource = {
		.count = 1, .attr = {{.key = CLV_LIT("service.name"), .value = CLV_LIT("shop")}}};

	*s = (struct clv_span){.name = CLV_LIT("GET"),
			       .method = CLV_LIT("GET"),
			       .target = CLV_LIT("/a?b"),
			       .result = CLV_LIT("404"),
			       .status_code = 404,
			       .end_ns = 5000000,
			       .resource = &resource};
	clv_span_str(s, CLV_ATTR_DB_NAMESPACE, CLV_LIT("12"));
	clv_span_int(s, CLV_ATTR_SERVER_PORT, 80);
	clv_span_bool(s, CLV_ATTR_CLOVISOR_GAP, true);
	clv_span_strs(s, CLV_ATTR_DNS_ANSWERS, clv_slice("a\0b\0", 4));
	s->header[s->header_count++] = (struct clv_span_header){.name = CLV_LIT("x-a"), .value = CLV_LIT("b")};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct clv_span span;
	struct clv_filter f = {0};
	const char *why = NULL;
	char *text = malloc(size + 1); /* its own, so that reading beyond it is seen */

	if (!text)
		abort();
	if (size)
		memcpy(text, data, size);
	text[size] = '\0';
	if (!span.end_ns)
		make(&span);
	/* Twice: filters are joined. */
	for (int i = 0; i < 2; i++)
		if (clv_filter_add(&f, text, &why))
			assert(why && *why);
	assert(f.nodes <= CLV_FILTER_NODES);
	clv_filter_match(&f, &span);
	free(text);
	return 0;
}
