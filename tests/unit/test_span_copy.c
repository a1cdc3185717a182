/* SPDX-License-Identifier: Apache-2.0 */
/* A copy says what its span said, whatever becomes of the span, and takes no more room than that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "model/span_copy.h"

/* A string on the heap of its own, so that it can go; `used` remembers it. */
struct strings {
	size_t count;
	char *at[200];
};

static struct clv_slice string(struct strings *s, const char *text)
{
	s->at[s->count] = strdup(text);
	return clv_slice_str(s->at[s->count++]);
}

static void strings_go(struct strings *s)
{
	for (size_t i = 0; i < s->count; i++) {
		memset(s->at[i], '#', strlen(s->at[i]));
		free(s->at[i]);
	}
	s->count = 0;
}

static const struct clv_resource resource = {.id = 7};

/* Every field has a value of its own; as many attributes and header fields as fit, if they are to be `full`. */
static void fill(struct clv_span *s, struct strings *strings, bool full)
{
	memset(s, 0xa5, sizeof(*s));
	memset(s, 0, offsetof(struct clv_span, attr));
	memset(s->trace_id, 1, sizeof(s->trace_id));
	memset(s->span_id, 2, sizeof(s->span_id));
	memset(s->parent_id, 3, sizeof(s->parent_id));
	s->has_parent = s->remote = s->side_known = true;
	s->trace_flags = 3;
	s->parent_sampled = CLV_SAMPLED;
	s->tracestate = string(strings, "a=b");
	s->net = 12;
	s->resource = &resource;
	s->protocol = "http";
	s->kind = CLV_KIND_CLIENT;
	s->transport = 1;
	s->status = CLV_STATUS_ERROR;
	s->flags = CLV_SPAN_GAP | CLV_SPAN_REUSED;
	s->name = string(strings, "GET /a");
	s->start_ns = 1;
	s->end_ns = 4;
	s->first_ns = 2;
	s->client.port = 1;
	s->server.port = 80;
	s->server.addr.b[3] = 9;
	s->bytes = 99;
	s->traceparent = string(strings, "00-");
	s->method = string(strings, "GET");
	s->target = string(strings, "/a?b");
	s->result = string(strings, "404");
	s->status_code = 404;
	s->attrs_dropped = 2;
	clv_span_str(s, CLV_ATTR_URL_PATH, string(strings, "/a"));
	clv_span_int(s, CLV_ATTR_SERVER_PORT, -5);
	clv_span_bool(s, CLV_ATTR_CLOVISOR_GAP, true);
	clv_span_strs(s, CLV_ATTR_DNS_ANSWERS, clv_slice(string(strings, "x").data, 2));
	clv_span_str(s, CLV_ATTR_URL_QUERY, clv_slice(NULL, 0));
	s->header[s->header_count++] = (struct clv_span_header){string(strings, "x-a"), string(strings, "1"), true};
	for (unsigned i = s->attr_count; full && i < CLV_SPAN_ATTRS; i++)
		clv_span_str(s, i % CLV_ATTR_COUNT, string(strings, "more"));
	while (full && s->header_count < CLV_SPAN_HEADERS)
		s->header[s->header_count++] =
			(struct clv_span_header){string(strings, "x-b"), string(strings, "2"), false};
}

static void assert_same_string(struct clv_slice a, struct clv_slice b)
{
	assert_true(clv_slice_eq(a, b));
}

static void assert_same(const struct clv_span *a, const struct clv_span *b)
{
	struct clv_span x = *a, y = *b;

	assert_same_string(a->tracestate, b->tracestate);
	assert_same_string(a->name, b->name);
	assert_same_string(a->method, b->method);
	assert_same_string(a->target, b->target);
	assert_same_string(a->result, b->result);
	assert_true(!a->traceparent.len || !b->traceparent.len);
	x.traceparent = y.traceparent = (struct clv_slice){0};
	x.tracestate = x.name = x.method = x.target = x.result = (struct clv_slice){0};
	y.tracestate = y.name = y.method = y.target = y.result = (struct clv_slice){0};
	assert_memory_equal(&x, &y, offsetof(struct clv_span, attr)); /* every other field, also those to come */
	for (unsigned i = 0; i < a->attr_count; i++) {
		assert_int_equal(a->attr[i].key, b->attr[i].key);
		assert_int_equal(a->attr[i].type, b->attr[i].type);
		if (a->attr[i].type == CLV_TYPE_STRING || a->attr[i].type == CLV_TYPE_STRINGS)
			assert_same_string(a->attr[i].s, b->attr[i].s);
		else if (a->attr[i].type == CLV_TYPE_INT)
			assert_int_equal(a->attr[i].i, b->attr[i].i);
		else
			assert_int_equal(a->attr[i].b, b->attr[i].b);
	}
	for (unsigned i = 0; i < a->header_count; i++) {
		assert_same_string(a->header[i].name, b->header[i].name);
		assert_same_string(a->header[i].value, b->header[i].value);
		assert_int_equal(a->header[i].response, b->header[i].response);
	}
}

static void test_a_copy_is_its_own(void **state)
{
	static struct clv_span span, same, back;

	for (int full = 0; full < 2; full++) {
		struct strings strings = {0}, again = {0};

		fill(&span, &strings, full);
		span.common = (struct clv_common *)&same; /* which may be gone before the copy is */
		span.common_at = span.attr;
		span.commons = (struct clv_commons *)&same;
		struct clv_span_copy *c = clv_span_copy_new(&span);
		strings_go(&strings);
		memset(&span, 0x77, sizeof(span));
		fill(&same, &again, full);
		for (int twice = 0; twice < 2; twice++) {
			clv_span_copy_get(c, &back);
			assert_same(&back, &same);
		}
		assert_ptr_equal(clv_span_copy_resource(c), &resource);
		assert_in_range(clv_span_copy_bytes(c), 1, full ? sizeof(struct clv_span) : 800);
		/* It can be added to. */
		assert_null(back.overflow);
		assert_non_null(clv_span_scratch(&back, CLV_SPAN_SCRATCH));
		assert_null(clv_span_scratch(&back, 1));
		clv_span_copy_free(c);
		strings_go(&again);
	}
	clv_span_copy_free(NULL);
}

static void test_of_nothing(void **state)
{
	static struct clv_span span, back;
	struct clv_span_copy *c = clv_span_copy_new(&span);

	memset(&back, 0x77, sizeof(back));
	clv_span_copy_get(c, &back);
	assert_same(&back, &span);
	clv_span_copy_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_copy_is_its_own),
		cmocka_unit_test(test_of_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
