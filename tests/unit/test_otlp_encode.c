/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export/otlp_encode.c and protobuf.h: each field where OTLP wants it, any bytes come back as they were, nothing is
 * written past the bound, nothing is allocated.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "../laws/allocations.h"
#include "export/otlp_encode.h"
#include "export/utf8.h"
#include "usual_span.h"
#include "wire.h"

/* Encoded into a buffer of exactly its bound, then cut to what was written; the caller frees .data. */
static struct clv_slice encoded(const struct clv_span *s)
{
	size_t bound = clv_otlp_span_bound(s);
	char *room = malloc(bound);
	unsigned before = allocations;
	size_t len = clv_otlp_span_write(s, room);

	assert_int_equal(allocations, before);
	assert_in_range(len, 1, bound);
	return clv_slice(realloc(room, len), len);
}

static void done(struct clv_slice s)
{
	free((void *)s.data);
}

static void assert_bytes(struct clv_slice got, const void *want, size_t len)
{
	assert_int_equal(got.len, len);
	assert_memory_equal(got.data, want, len);
}

#define assert_text(got, want) assert_bytes((got), (want), sizeof(want) - 1)

/* The value of the only attribute of that name: an AnyValue. */
static struct clv_slice attribute(struct clv_slice message, unsigned field, const char *name)
{
	struct clv_slice found = {0};
	struct wire_field f;

	for (unsigned i = 0; wire_nth(message, field, i, &f); i++) {
		if (!clv_slice_eq(wire_only(f.bytes, 1), clv_slice_str(name)))
			continue;
		assert_null(found.data);
		found = wire_only(f.bytes, 2);
	}
	assert_non_null(found.data);
	return found;
}

static unsigned count(struct clv_slice message, unsigned field)
{
	struct wire_field f;
	unsigned n = 0;

	while (wire_nth(message, field, n, &f))
		n++;
	return n;
}

static void test_varint_sizes(void **state)
{
	char room[PROTOBUF_VARINT_MAX];

	for (int bit = 0; bit < 64; bit++) {
		uint64_t power = (uint64_t)1 << bit, edges[] = {power - 1, power, power + 1, power | (power - 1)};

		for (int i = 0; i < 4; i++) {
			size_t len = (size_t)(protobuf_varint(room, edges[i]) - room);
			struct clv_slice in = clv_slice(room, len);

			assert_int_equal(len, protobuf_varint_size(edges[i]));
			assert_true(wire_varint(&in) == edges[i]);
			assert_int_equal(in.len, 0);
		}
	}
	assert_int_equal(protobuf_varint_size(UINT64_MAX), PROTOBUF_VARINT_MAX);
}

static void test_plain_span(void **state)
{
	struct clv_span s = {
		.trace_id = {[0] = 0xab, [15] = 0xcd},
		.span_id = {[7] = 1},
		.name = CLV_LIT("GET"),
		.kind = CLV_KIND_SERVER,
		.start_ns = 1,
		.end_ns = UINT64_MAX,
	};
	struct clv_slice m = encoded(&s);

	assert_bytes(wire_only(m, 1), s.trace_id, 16);
	assert_bytes(wire_only(m, 2), s.span_id, 8);
	assert_text(wire_only(m, 5), "GET");
	assert_int_equal(wire_number(m, 6, 0, 0), 2);
	assert_true(wire_number(m, 7, 1, 0) == 1);
	assert_true(wire_number(m, 8, 1, 0) == UINT64_MAX);
	/* No trace state, parent, attributes, status, flags. */
	for (unsigned absent = 3; absent < 20; absent += absent == 4 ? 5 : 1)
		assert_int_equal(count(m, absent), 0);
	done(m);
}

static void test_full_span(void **state)
{
	struct clv_span s = usual_span();

	s.kind = CLV_KIND_CLIENT;
	s.status = CLV_STATUS_ERROR;
	s.has_parent = s.remote = true;
	s.parent_id[0] = 0xf0;
	s.trace_flags = 3;
	s.tracestate = CLV_LIT("a=1,b=2");
	struct clv_slice m = encoded(&s);

	assert_text(wire_only(m, 3), "a=1,b=2");
	assert_bytes(wire_only(m, 4), s.parent_id, 8);
	assert_int_equal(wire_number(m, 6, 0, 0), 3);
	assert_int_equal(wire_number(wire_only(m, 15), 3, 0, 0), 2);
	assert_int_equal(wire_number(m, 16, 5, 0), 0x303);
	assert_int_equal(count(m, 9), s.attr_count);
	assert_text(wire_only(attribute(m, 9, "url.path"), 1), "/api/v1/items/4711/details");
	assert_int_equal(wire_number(attribute(m, 9, "server.port"), 3, 0, 0), 8080);
	assert_true((int64_t)wire_number(attribute(m, 9, "clovisor.retransmits"), 3, 0, 0) == -1);
	assert_int_equal(wire_number(attribute(m, 9, "clovisor.connection.reused"), 2, 0, 9), 1);
	done(m);

	s.remote = false; /* the parent's id is derived, and the parent in another process all the same */
	s.kind = CLV_KIND_SERVER;
	s.trace_flags = 0;
	m = encoded(&s);
	assert_int_equal(wire_number(m, 16, 5, 0), 0x300);
	done(m);

	s.has_parent = false;
	m = encoded(&s);
	assert_int_equal(wire_number(m, 16, 5, 0), 0);
	done(m);
}

static void test_every_attribute(void **state)
{
	for (unsigned key = 0; key < CLV_ATTR_COUNT; key++) {
		struct clv_span s = {.name = CLV_LIT("GET")};

		clv_span_str(&s, key, CLV_LIT(""));
		clv_span_int(&s, (key + 1) % CLV_ATTR_COUNT, INT64_MIN);
		clv_span_bool(&s, (key + 2) % CLV_ATTR_COUNT, false);
		struct clv_slice m = encoded(&s);

		assert_int_equal(wire_only(attribute(m, 9, clv_attr_name(key)), 1).len, 0);
		struct clv_slice i = attribute(m, 9, clv_attr_name((key + 1) % CLV_ATTR_COUNT));
		assert_true((int64_t)wire_number(i, 3, 0, 0) == INT64_MIN);
		struct clv_slice b = attribute(m, 9, clv_attr_name((key + 2) % CLV_ATTR_COUNT));
		assert_int_equal(wire_number(b, 2, 0, 9), 0);
		done(m);
	}
}

/* Lengths of one, two and three bytes; words of eight and what is left of them. */
static void test_every_length(void **state)
{
	static char text[20000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	for (size_t len = 0; len < sizeof(text); len += len < 400 ? 1 : 997) {
		char *exact = malloc(len ? len : 1); /* for AddressSanitizer */
		memcpy(exact, text, len);
		struct clv_span s = {.name = clv_slice(exact, len)};
		clv_span_str(&s, CLV_ATTR_URL_PATH, clv_slice(exact, len));
		struct clv_slice m = encoded(&s);

		assert_bytes(wire_only(m, 5), text, len);
		assert_bytes(wire_only(attribute(m, 9, "url.path"), 1), text, len);
		done(m);
		free(exact);
	}
}

static void test_headers(void **state)
{
	struct clv_span s = {
		.name = CLV_LIT("GET"),
		.header_count = 5,
		.header = {{CLV_LIT("x-a"), CLV_LIT("1"), false},
			   {CLV_LIT("x-a"), CLV_LIT("t\xffo"), false},
			   {CLV_LIT("x-a"), CLV_LIT(""), true},
			   {CLV_LIT("x-b"), CLV_LIT("3"), true},
			   {CLV_LIT("x-b"), CLV_LIT("4"), true}},
	};
	struct clv_slice m = encoded(&s), list;
	struct wire_field f;

	assert_int_equal(count(m, 9), 3);
	list = wire_only(attribute(m, 9, "http.request.header.x-a"), 5);
	assert_int_equal(count(list, 1), 2);
	assert_true(wire_nth(list, 1, 0, &f));
	assert_text(wire_only(f.bytes, 1), "1");
	assert_true(wire_nth(list, 1, 1, &f));
	assert_text(wire_only(f.bytes, 1), "t\\xffo");
	list = wire_only(attribute(m, 9, "http.response.header.x-a"), 5);
	assert_int_equal(wire_only(wire_only(list, 1), 1).len, 0);
	assert_int_equal(count(wire_only(attribute(m, 9, "http.response.header.x-b"), 5), 1), 2);
	done(m);
}

static void test_escapes(void **state)
{
	static const struct {
		struct clv_slice in, out;
	} cases[] = {
		{CLV_LIT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80"),
		 CLV_LIT("caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80")},
		{CLV_LIT("\0\n\"\x7f"), CLV_LIT("\0\n\"\x7f")},
		{CLV_LIT("\\y\\"), CLV_LIT("\\y\\")},
		{CLV_LIT("\\xff"), CLV_LIT("\\x5cxff")},
		{CLV_LIT("\\\xff"), CLV_LIT("\\\\xff")},
		{CLV_LIT("\xff"), CLV_LIT("\\xff")},
		{CLV_LIT("\xff\xfe"), CLV_LIT("\\xff\\xfe")},
		{CLV_LIT("a\xff"
			 "b"),
		 CLV_LIT("a\\xffb")},
		{CLV_LIT("1234567\xc0"), CLV_LIT("1234567\\xc0")},
		{CLV_LIT("12345678\xc0"), CLV_LIT("12345678\\xc0")},
		{CLV_LIT("\xc0"
			 "12345678"),
		 CLV_LIT("\\xc0"
			 "12345678")},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char room[CLV_OTLP_STRING_BYTES(16)];
		char *end = clv_otlp_string(room, 100, cases[i].in);
		struct clv_slice got = wire_only(clv_slice(room, (size_t)(end - room)), 100);

		assert_bytes(got, cases[i].out.data, cases[i].out.len);
	}
}

static void assert_utf8(struct clv_slice s)
{
	uint32_t point;

	for (size_t n; s.len; s = clv_slice_from(s, n)) {
		n = utf8_decode(s.data, s.len, &point);
		assert_true(n > 0);
	}
}

static unsigned digit(uint8_t c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'a' + 10);
}

/* What docs/output.md says gives the bytes back. */
static size_t restore(struct clv_slice s, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < s.len; i++) {
		bool escape = s.data[i] == '\\' && i + 3 < s.len && s.data[i + 1] == 'x';

		out[n++] = escape ? (uint8_t)(digit(s.data[i + 2]) << 4 | digit(s.data[i + 3])) : s.data[i];
		i += escape ? 3 : 0;
	}
	return n;
}

static void test_any_bytes_come_back(void **state)
{
	static const uint8_t edges[] = {'\\', 'x', 'f', 0, 0x7f, 0x80, 0xbf, 0xc2, 0xe0, 0xa0, 0xed, 0xf0, 0x90, 0xff};
	uint8_t back[4 * 100];

	srandom(1);
	for (int round = 0; round < 50000; round++) {
		size_t len = (size_t)random() % 100;
		uint8_t *bytes = malloc(len ? len : 1);

		for (size_t i = 0; i < len; i++)
			bytes[i] = round % 2 ? edges[(size_t)random() % sizeof(edges)] : (uint8_t)random();
		struct clv_slice in = clv_slice(bytes, len);
		struct clv_span s = {.name = in, .tracestate = in, .header_count = 1, .header = {{in, in, true}}};
		clv_span_str(&s, CLV_ATTR_URL_PATH, in);
		struct clv_slice m = encoded(&s), path = wire_only(attribute(m, 9, "url.path"), 1);

		assert_utf8(path);
		assert_int_equal(restore(path, back), len);
		assert_memory_equal(back, bytes, len);
		assert_true(clv_slice_eq(path, wire_only(m, 5)));
		done(m);
		free(bytes);
	}
}

/* Where each byte becomes four, the bound holds by what it is made of; AddressSanitizer sees a write past it. */
static void test_worst_case(void **state)
{
	static char bad[5000];
	const struct clv_slice in = clv_slice(bad, sizeof(bad)), service = clv_slice(bad, CLV_SERVICE_MAX);
	const struct clv_resource_attr more = {clv_slice(bad, 1500), clv_slice(bad, 2000)};
	struct clv_span s = {.name = in, .tracestate = in, .header_count = CLV_SPAN_HEADERS};
	struct clv_resources *rs;

	memset(bad, '\xff', sizeof(bad));
	for (unsigned i = 0; i < CLV_SPAN_HEADERS; i++)
		s.header[i] = (struct clv_span_header){in, in, i % 2};
	for (unsigned i = 0; i < CLV_SPAN_ATTRS; i++)
		clv_span_str(&s, i % CLV_ATTR_COUNT, in);
	struct clv_slice m = encoded(&s);
	assert_true(m.len > 4 * sizeof(bad) * (2 + CLV_SPAN_ATTRS + 2 * CLV_SPAN_HEADERS));
	done(m);

	assert_int_equal(clv_resources_new(service, NULL, 0, &rs), 0);
	assert_int_equal(clv_resources_set(rs, 1, service, &more, 1), 0);
	const struct clv_resource *r = clv_resources_get(rs, 1);
	size_t bound = clv_otlp_resource_bound(r);
	char *room = malloc(bound);
	assert_in_range(clv_otlp_resource_write(r, room), 4 * (3500 + CLV_SERVICE_MAX), bound);
	free(room);
	clv_resources_free(rs);
}

static void test_request(void **state)
{
	static char resource[2 * CLV_RESOURCE_BYTES], out[8192];
	const struct clv_resource_attr more[] = {{CLV_LIT("k8s.pod.name"), CLV_LIT("shop-1")},
						 {CLV_LIT("odd\xff"), CLV_LIT("\\x")}};
	struct clv_resources *rs;
	struct clv_otlp_group g;
	char *p = out;

	assert_int_equal(clv_resources_new(CLV_LIT("rest"), NULL, 0, &rs), 0);
	assert_int_equal(clv_resources_set(rs, 1, CLV_LIT("shop"), more, 2), 0);
	for (uint32_t net = 0; net < 2; net++) {
		const struct clv_resource *r = clv_resources_get(rs, net);
		size_t bound = clv_otlp_resource_bound(r), len = clv_otlp_resource_write(r, resource);
		char *begin = p;

		assert_in_range(len, 1, bound);
		p = clv_otlp_group_begin(&g, p, clv_slice(resource, len));
		for (uint32_t i = 0; i <= net; i++)
			p = clv_otlp_group_span(p, CLV_LIT("\x2a\x01X")); /* a name, as good a span as any */
		p = clv_otlp_group_end(&g, p);
		assert_in_range(p - begin, 1, CLV_OTLP_GROUP_BYTES + len + (net + 1) * (3 + CLV_OTLP_SPAN_BYTES));
	}
	struct clv_slice request = clv_slice(out, (size_t)(p - out));
	struct wire_field f;

	assert_int_equal(count(request, 1), 2);
	assert_true(wire_nth(request, 1, 1, &f));
	struct clv_slice r = wire_only(f.bytes, 1), scope_spans = wire_only(f.bytes, 2);

	assert_text(wire_only(f.bytes, 3), "https://opentelemetry.io/schemas/1.44.0");
	assert_int_equal(count(r, 1), 3);
	assert_text(wire_only(attribute(r, 1, "service.name"), 1), "shop");
	assert_text(wire_only(attribute(r, 1, "k8s.pod.name"), 1), "shop-1");
	assert_text(wire_only(attribute(r, 1, "odd\\xff"), 1), "\\x5cx");
	assert_text(wire_only(scope_spans, 3), "https://opentelemetry.io/schemas/1.44.0");
	assert_text(wire_only(wire_only(scope_spans, 1), 1), "clovisor");
	assert_text(wire_only(wire_only(scope_spans, 1), 2), CLV_VERSION);
	assert_int_equal(count(scope_spans, 2), 2);
	assert_true(wire_nth(scope_spans, 2, 1, &f));
	assert_text(wire_only(f.bytes, 5), "X");
	clv_resources_free(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_varint_sizes), cmocka_unit_test(test_plain_span),
		cmocka_unit_test(test_full_span),    cmocka_unit_test(test_every_attribute),
		cmocka_unit_test(test_every_length), cmocka_unit_test(test_headers),
		cmocka_unit_test(test_escapes),      cmocka_unit_test(test_any_bytes_come_back),
		cmocka_unit_test(test_request),      cmocka_unit_test(test_worst_case),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
