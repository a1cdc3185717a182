/* SPDX-License-Identifier: Apache-2.0 */
/* export/otlp_json.c: every kind of value, scattered and repeated fields, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

#include "export/otlp_encode.h"
#include "export/otlp_json.h"
#include "usual_span.h"

static struct clv_otlp_json out;

/* A message that is put together by hand. */
struct message {
	char data[4096], *end;
};

static void begin(struct message *m)
{
	m->end = m->data;
}

static struct clv_slice bytes_of(const struct message *m)
{
	return clv_slice(m->data, (size_t)(m->end - m->data));
}

static void put_message(struct message *m, uint32_t field, const struct message *inner)
{
	m->end = protobuf_bytes(m->end, field, bytes_of(inner));
}

/* In a message of its own, as field `outer` of that, `depth` times. */
static void wrap(struct message *m, const uint32_t *outer, size_t depth)
{
	for (size_t i = 0; i < depth; i++) {
		struct message copy = *m;

		copy.end = copy.data + (m->end - m->data);
		begin(m);
		put_message(m, outer[i], &copy);
	}
}

static void assert_traces(struct message *span, const char *want)
{
	static const uint32_t path[] = {2, 2, 1}; /* span, scope_spans, resource_spans */

	wrap(span, path, 3);
	assert_int_equal(clv_otlp_json_traces(&out, bytes_of(span)), 0);
	char *text = strndup(out.data, out.len), *whole = NULL;
	assert_true(asprintf(&whole, "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[%s]}]}]}", want) > 0);
	assert_string_equal(text, whole);
	free(whole);
	free(text);
}

static void test_empty(void **state)
{
	struct message m;

	assert_int_equal(clv_otlp_json_traces(&out, clv_slice(NULL, 0)), 0);
	assert_int_equal(out.len, 2);
	assert_memory_equal(out.data, "{}", 2);
	begin(&m);
	assert_traces(&m, "{}");
}

static void test_ids_and_numbers(void **state)
{
	struct message m;

	begin(&m);
	m.end = protobuf_bytes(m.end, 1, CLV_LIT("\x00\x01\xfe\xff"));
	m.end = protobuf_bytes(m.end, 4, CLV_LIT(""));
	m.end = protobuf_uint(m.end, 6, 3);
	m.end = protobuf_fixed64(m.end, 7, UINT64_MAX);
	m.end = protobuf_uint(m.end, 10, 0);
	m.end = protobuf_fixed32(m.end, 16, 0x303);
	m.end = protobuf_bytes(m.end, 99, CLV_LIT("unknown"));
	assert_traces(&m, "{\"traceId\":\"0001feff\",\"parentSpanId\":\"\",\"flags\":771,\"kind\":3,"
			  "\"startTimeUnixNano\":\"18446744073709551615\",\"droppedAttributesCount\":0}");
}

/* A span with one attribute for each kind of value, scattered among other fields. */
static void test_values(void **state)
{
	static const uint32_t value_path[] = {2, 9};
	struct message m, v, inner;

	begin(&m);
#define ATTRIBUTE(write)                                 \
	do {                                             \
		begin(&v);                               \
		v.end = write;                           \
		wrap(&v, value_path, 2);                 \
		memcpy(m.end, v.data, bytes_of(&v).len); \
		m.end += bytes_of(&v).len;               \
	} while (0)
	ATTRIBUTE(protobuf_bytes(v.end, 1, CLV_LIT("a\"\\x\xc3\xa9\n")));
	m.end = protobuf_bytes(m.end, 5, CLV_LIT("first"));
	ATTRIBUTE(protobuf_uint(v.end, 2, 1));
	ATTRIBUTE(protobuf_uint(v.end, 2, 0));
	ATTRIBUTE(protobuf_uint(v.end, 3, (uint64_t)INT64_MIN));
	m.end = protobuf_bytes(m.end, 5, CLV_LIT("last"));
	ATTRIBUTE(protobuf_double(v.end, 4, 0.1));
	ATTRIBUTE(protobuf_double(v.end, 4, 1.0 / 3));
	ATTRIBUTE(protobuf_double(v.end, 4, -0.0));
	ATTRIBUTE(protobuf_double(v.end, 4, NAN));
	ATTRIBUTE(protobuf_double(v.end, 4, INFINITY));
	ATTRIBUTE(protobuf_double(v.end, 4, -INFINITY));
	ATTRIBUTE(protobuf_bytes(v.end, 7, CLV_LIT("")));
	ATTRIBUTE(protobuf_bytes(v.end, 7, CLV_LIT("\xff")));
	ATTRIBUTE(protobuf_bytes(v.end, 7, CLV_LIT("\xff\xfe")));
	ATTRIBUTE(protobuf_bytes(v.end, 7, CLV_LIT("\xff\xfe\xfd\xfc")));
	begin(&inner);
	inner.end = protobuf_uint(inner.end, 3, 7);
	wrap(&inner, (uint32_t[]){1}, 1);
	ATTRIBUTE(protobuf_bytes(v.end, 5, bytes_of(&inner)));
	ATTRIBUTE(protobuf_bytes(v.end, 6, CLV_LIT("")));
	ATTRIBUTE(protobuf_uint(protobuf_uint(v.end, 3, 1), 2, 1)); /* a oneof: the last one */
#undef ATTRIBUTE
	assert_traces(&m, "{\"name\":\"last\",\"attributes\":["
			  "{\"value\":{\"stringValue\":\"a\\\"\\\\x\xc3\xa9\\u000a\"}},"
			  "{\"value\":{\"boolValue\":true}},{\"value\":{\"boolValue\":false}},"
			  "{\"value\":{\"intValue\":\"-9223372036854775808\"}},"
			  "{\"value\":{\"doubleValue\":0.1}},{\"value\":{\"doubleValue\":0.3333333333333333}},"
			  "{\"value\":{\"doubleValue\":-0.0}},{\"value\":{\"doubleValue\":\"NaN\"}},{\"value\":{"
			  "\"doubleValue\":\"Infinity\"}},"
			  "{\"value\":{\"doubleValue\":\"-Infinity\"}},"
			  "{\"value\":{\"bytesValue\":\"\"}},{\"value\":{\"bytesValue\":\"/w==\"}},"
			  "{\"value\":{\"bytesValue\":\"//4=\"}},{\"value\":{\"bytesValue\":\"//79/A==\"}},"
			  "{\"value\":{\"arrayValue\":{\"values\":[{\"intValue\":\"7\"}]}}},"
			  "{\"value\":{\"kvlistValue\":{}}},{\"value\":{\"boolValue\":true}}]}");
}

static void test_metrics(void **state)
{
	static const uint32_t path[] = {1, 9, 2, 2, 1}; /* point, histogram, metric, scope_metrics, resource_metrics */
	struct message m;
	char *packed;

	begin(&m);
	m.end = protobuf_fixed64(m.end, 4, 3);
	m.end = protobuf_double(m.end, 5, 2.5);
	m.end = protobuf_open(m.end, 6, &packed); /* packed, then one by itself */
	for (uint64_t i = 0; i < 2; i++) {
		memcpy(m.end, &i, sizeof(i));
		m.end += sizeof(i);
	}
	protobuf_close(packed, m.end);
	m.end = protobuf_fixed64(m.end, 6, 2);
	m.end = protobuf_double(m.end, 7, 0.005);
	wrap(&m, path, 5);
	assert_int_equal(clv_otlp_json_metrics(&out, bytes_of(&m)), 0);
	char *text = strndup(out.data, out.len);
	assert_string_equal(text,
			    "{\"resourceMetrics\":[{\"scopeMetrics\":[{\"metrics\":[{\"histogram\":{\"dataPoints\":["
			    "{\"count\":\"3\",\"sum\":2.5,\"bucketCounts\":[\"0\",\"1\",\"2\"],"
			    "\"explicitBounds\":[0.005]}]}}]}]}]}");
	free(text);
	/* The same is no request for traces: metrics stand where spans do, and a histogram is no status or name. */
	assert_int_equal(clv_otlp_json_traces(&out, bytes_of(&m)), -EBADMSG);
}

static void test_refused(void **state)
{
	static const struct clv_slice bad[] = {
		CLV_LIT("\x0a"),                                         /* no length */
		CLV_LIT("\x0a\x05"),                                     /* longer than what is there */
		CLV_LIT("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), /* the same, with the largest length */
		CLV_LIT("\x0a\x80"),                                     /* a length that does not end */
		CLV_LIT("\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"), /* a tag of 11 bytes */
		CLV_LIT("\x08\x01"),                                     /* a number where a message belongs */
		CLV_LIT("\x02\x00"),                                     /* field 0 */
		CLV_LIT("\x0b\x0c"),                                     /* a group */
		CLV_LIT("\x11\x00\x00\x00"),                             /* fixed64, cut */
		CLV_LIT("\x15\x00\x00\x00"),                             /* fixed32, cut */
		CLV_LIT("\x10"),                                         /* a varint that is not there */
		CLV_LIT("\x0a\x03\x1a\x01\xff"),                         /* a schema URL that is no UTF-8 */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_int_equal(clv_otlp_json_traces(&out, bad[i]), -EBADMSG);
		assert_int_equal(out.len, 0);
	}
}

/* Lists in lists: as deep as allowed, and one deeper. */
static void test_depth(void **state)
{
	static const uint32_t list[] = {1, 5}, path[] = {2, 1, 1, 1}; /* value; attribute, resource, resource_spans */
	/* The request, three messages and a value, then two for each list. */
	const unsigned most = (CLV_OTLP_JSON_DEPTH - 5) / 2;

	for (unsigned lists = most; lists <= most + 1; lists++) {
		struct message m;

		begin(&m);
		for (unsigned i = 0; i < lists; i++)
			wrap(&m, list, 2);
		wrap(&m, path, 4);
		assert_int_equal(clv_otlp_json_traces(&out, bytes_of(&m)), lists == most ? 0 : -EBADMSG);
	}
}

/* The text grows as needed, and ends at 64 MiB. */
static void test_too_large(void **state)
{
	size_t events = 6u << 20, len = 2 * events;
	char *body = malloc(len + 64), *p = body, *rs, *ss, *span;

	p = protobuf_open(p, 1, &rs);
	p = protobuf_open(p, 2, &ss);
	p = protobuf_open(p, 2, &span);
	char *first = p;
	for (size_t i = 0; i < events; i++)
		*p++ = 0x5a, *p++ = 0; /* an empty event: {}, */
	protobuf_close(span, p), protobuf_close(ss, p), protobuf_close(rs, p);
	assert_int_equal(clv_otlp_json_traces(&out, clv_slice(body, (size_t)(p - body))), 0);
	assert_true(out.len > 3 * events);
	assert_non_null(memmem(out.data, out.len, "\"events\":[{},{},", 16));

	/* Strings of control characters, six times as long. */
	for (p = first; p + 4 + 60000 < first + len; p += 60000)
		p = protobuf_varint(protobuf_tag(p, 13, PROTOBUF_BYTES), 60004),
		p = protobuf_varint(protobuf_tag(p, 3, PROTOBUF_BYTES), 60000), memset(p, 1, 60000);
	protobuf_close(span, p), protobuf_close(ss, p), protobuf_close(rs, p);
	assert_int_equal(clv_otlp_json_traces(&out, clv_slice(body, (size_t)(p - body))), -E2BIG);
	assert_int_equal(out.len, 0);
	free(body);
}

/* What the encoder writes, read by a JSON parser. */
static void test_usual_span(void **state)
{
	struct clv_span s = usual_span();
	static char span[8192], request[8192];
	struct clv_otlp_group g;
	char *p = clv_otlp_group_begin(&g, request, clv_slice(NULL, 0));

	clv_span_str(&s, CLV_ATTR_ERROR_TYPE, CLV_LIT("\xff\\x"));
	assert_true(clv_otlp_span_bound(&s) <= sizeof(span));
	p = clv_otlp_group_span(p, clv_slice(span, clv_otlp_span_write(&s, span)));
	p = clv_otlp_group_end(&g, p);
	assert_int_equal(clv_otlp_json_traces(&out, clv_slice(request, (size_t)(p - request))), 0);

	json_t *j = json_loadb(out.data, out.len, JSON_REJECT_DUPLICATES, NULL);
	json_t *rs = json_array_get(json_object_get(j, "resourceSpans"), 0);
	json_t *ss = json_array_get(json_object_get(rs, "scopeSpans"), 0);
	json_t *one = json_array_get(json_object_get(ss, "spans"), 0), *attributes = json_object_get(one, "attributes");
	json_t *last = json_object_get(json_array_get(attributes, s.attr_count - 1u), "value");

	assert_int_equal(json_object_size(json_object_get(rs, "resource")), 0);
	assert_string_equal(json_string_value(json_object_get(json_object_get(ss, "scope"), "name")), "clovisor");
	assert_string_equal(json_string_value(json_object_get(one, "traceId")), "0af7651916cd43dd8448eb211c80319c");
	assert_int_equal(json_array_size(attributes), s.attr_count);
	/* Escaped by the encoder; not once more. */
	assert_string_equal(json_string_value(json_object_get(last, "stringValue")), "\\xff\\x5cx");
	json_decref(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_empty),     cmocka_unit_test(test_ids_and_numbers), cmocka_unit_test(test_values),
		cmocka_unit_test(test_metrics),   cmocka_unit_test(test_refused),         cmocka_unit_test(test_depth),
		cmocka_unit_test(test_too_large), cmocka_unit_test(test_usual_span),
	};
	int failed = cmocka_run_group_tests(tests, NULL, NULL);

	clv_otlp_json_fini(&out);
	return failed;
}
