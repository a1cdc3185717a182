/* SPDX-License-Identifier: Apache-2.0 */
/* Names of attributes, the functions that plugins call, and the ABI. What is loaded: tests/cli/test_plugin.py. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <jansson.h>

#include "export/json.h"
#include "export/otlp_encode.h"
#include "plugin/host.h"
#include "proto/proto.h"
#include "usual_span.h"

/*
 * What ABI 1 is. Whoever has to change a number here changes CLV_PROTO_ABI with it, once a version with that number is
 * out: plugins that were built before would read other fields than they meant.
 */
static void test_abi(void **state)
{
	assert_int_equal(CLV_PROTO_ABI, 1);
	assert_int_equal(sizeof(struct clv_slice), 16);
	assert_int_equal(sizeof(struct clv_msg), 104);
	assert_int_equal(offsetof(struct clv_msg, facts), 56);
	assert_int_equal(sizeof(struct clv_end), 56);
	assert_int_equal(sizeof(struct clv_pair), 72);
	assert_int_equal(sizeof(struct clv_fed), 32);
	assert_int_equal(sizeof(struct clv_sink), 40);
	assert_int_equal(sizeof(struct clv_conn_info), 40);
	assert_int_equal(sizeof(struct clv_upgrade), 40);
	assert_int_equal(sizeof(struct clv_framing), 40);
	assert_int_equal(sizeof(struct clv_proto), 112);
	assert_int_equal(offsetof(struct clv_proto, describe), 104);
	assert_int_equal(sizeof(struct clv_plugin), 56);
	assert_int_equal(sizeof(struct clv_talk_source), 32);
	assert_int_equal(offsetof(struct clv_host, number), 88);
	assert_int_equal(offsetof(struct clv_talk_host, opaque), 112);
}

static void test_names(void **state)
{
	char text[64], other[] = "plugin.one";
	int key = clv_attr_key("plugin.one");

	assert_true(key >= CLV_ATTR_COUNT);
	assert_int_equal(clv_attr_key("plugin.one"), key);
	assert_int_equal(clv_attr_key(other), key);
	assert_string_equal(clv_attr_name((enum clv_attr_key)key), "plugin.one");
	/* The same place, another text. */
	other[7] = 't';
	assert_int_not_equal(clv_attr_key(other), key);
	assert_int_equal(clv_attr_key("db.system.name"), CLV_ATTR_DB_SYSTEM_NAME);
	for (int k = 0; k < CLV_ATTR_COUNT; k++)
		assert_int_equal(clv_attr_key(clv_attr_name((enum clv_attr_key)k)), k);
	static const char *const bad[] = {"", ".a", "1a", "a b", "a\"b", "a\xc3\xa4", "a/b"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(clv_attr_key(bad[i]), -EINVAL);
	memset(text, 'a', sizeof(text));
	text[CLV_ATTR_NAME_MAX + 1] = '\0';
	assert_int_equal(clv_attr_key(text), -EINVAL);
	text[CLV_ATTR_NAME_MAX] = '\0';
	assert_true(clv_attr_key(text) > 0);
}

static const char longest[] = "plugin.a-name-as-long-as-they-may-be_45.bytes";
_Static_assert(sizeof(longest) - 1 == CLV_ATTR_NAME_MAX, "the longest name");

static json_t *as_json(struct clv_span *s)
{
	static struct clv_resources *resources;
	struct clv_json j = {0};

	if (!resources)
		assert_int_equal(clv_resources_new(CLV_LIT("shop"), NULL, 0, &resources), 0);
	s->resource = clv_resources_get(resources, 0);
	char *line = malloc(clv_json_bound(&j, s));
	json_error_t why;
	size_t len = clv_json_write(&j, s, line);
	json_t *o = json_loadb(line, len, 0, &why);

	free(line);
	assert_non_null(o);
	return o;
}

/* Does the encoded span have the bytes? */
static bool encodes(const struct clv_span *s, const char *bytes, size_t len)
{
	char *out = malloc(clv_otlp_span_bound(s));
	size_t n = clv_otlp_span_write(s, out);
	bool found = memmem(out, n, bytes, len) != NULL;

	free(out);
	return found;
}

static void test_exported(void **state)
{
	const struct clv_host *h = &clv_plugin_host;
	struct clv_span s = usual_span();

	s.attr_count = 0;
	h->set_str(&s, "plugin.text", CLV_LIT("a \"b\""));
	h->set_str(&s, "plugin.empty", clv_slice(NULL, 0));
	h->set_int(&s, longest, -7);
	h->set_bool(&s, "plugin.yes", true);
	h->set_strs(&s, "plugin.list", clv_slice("a\0bc", 5));
	h->set_int(&s, "db.response.returned_rows", 3);
	assert_int_equal(s.attr_count, 5);
	json_t *o = as_json(&s), *a = json_object_get(o, "attributes");
	assert_string_equal(json_string_value(json_object_get(a, "plugin.text")), "a \"b\"");
	assert_null(json_object_get(a, "plugin.empty"));
	assert_int_equal(json_integer_value(json_object_get(a, longest)), -7);
	assert_true(json_is_true(json_object_get(a, "plugin.yes")));
	assert_int_equal(json_array_size(json_object_get(a, "plugin.list")), 2);
	assert_int_equal(json_integer_value(json_object_get(a, "db.response.returned_rows")), 3);
	assert_null(json_object_get(o, "dropped_attributes_count"));
	json_decref(o);
	assert_true(encodes(&s,
			    "\x0a\x0bplugin.text\x12\x07\x0a\x05"
			    "a \"b\"",
			    22));
	assert_true(encodes(&s, "\x0a\x0aplugin.yes\x12\x02\x10\x01", 16));
	assert_true(encodes(&s, longest, CLV_ATTR_NAME_MAX));
}

/* What has no room, or no name, is left out and counted; what the engine says finds room. */
static void test_dropped(void **state)
{
	const struct clv_host *h = &clv_plugin_host;
	struct clv_span s = usual_span();
	char name[16];

	s.attr_count = 0;
	h->set_ends(&s, clv_slice(NULL, 0));
	assert_int_equal(s.attr_count, 8);
	h->set_int(&s, "not valid", 1);
	h->set_strs(&s, "plugin.list", clv_slice("no end", 6));
	assert_int_equal(s.attrs_dropped, 2);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "plugin.n%d", i);
		h->set_int(&s, name, i);
	}
	assert_int_equal(s.attr_count, CLV_ATTRS_MAX);
	assert_int_equal(s.attrs_dropped, 2 + 100 - (CLV_ATTRS_MAX - 8));
	h->set_ends(&s, clv_slice(NULL, 0));
	assert_int_equal(s.attr_count, CLV_ATTRS_MAX);
	json_t *o = as_json(&s);
	assert_int_equal(json_integer_value(json_object_get(o, "dropped_attributes_count")), s.attrs_dropped);
	json_decref(o);
	s.attrs_dropped = 3;
	assert_true(encodes(&s, "\x50\x03", 2));
}

static void test_texts(void **state)
{
	const struct clv_host *h = &clv_plugin_host;
	struct clv_span s = usual_span();

	h->set_text(&s, CLV_SPAN_NAME, CLV_LIT("n"));
	h->set_text(&s, CLV_SPAN_METHOD, CLV_LIT("m"));
	h->set_text(&s, CLV_SPAN_TARGET, CLV_LIT("t"));
	h->set_text(&s, CLV_SPAN_RESULT, CLV_LIT("r"));
	h->set_status(&s, 5);
	h->set_error(&s, CLV_LIT("bad"));
	assert_true(clv_slice_eq(s.name, CLV_LIT("n")) && clv_slice_eq(s.method, CLV_LIT("m")));
	assert_true(clv_slice_eq(s.target, CLV_LIT("t")) && clv_slice_eq(s.result, CLV_LIT("r")));
	assert_int_equal(s.status_code, 5);
	assert_int_equal(s.status, CLV_STATUS_ERROR);
	assert_true(clv_slice_eq(clv_span_get(&s, CLV_ATTR_ERROR_TYPE)->s, CLV_LIT("bad")));
	assert_true(clv_slice_eq(h->number(&s, 1234), CLV_LIT("1234")));
	assert_null(h->room(&s, (size_t)1 << 30));
	s.kind = CLV_KIND_CLIENT;
	assert_false(h->is_server(&s));
}

static void test_registry(void **state)
{
	static const struct clv_proto http = {.name = "http"};
	static struct clv_proto added[CLV_PROTOS_ADDED + 1];
	static char names[CLV_PROTOS_ADDED + 1][8];
	char text[64];
	size_t before = 0, after = 0;

	while (clv_protos[before])
		before++;
	assert_int_equal(clv_proto_add(&http), -EEXIST);
	for (int i = 0; i <= CLV_PROTOS_ADDED; i++) {
		snprintf(names[i], sizeof(names[i]), "p%d", i);
		added[i].name = names[i];
		assert_int_equal(clv_proto_add(&added[i]), i < CLV_PROTOS_ADDED ? 0 : -ENOSPC);
	}
	while (clv_protos[after])
		after++;
	assert_int_equal(after, before + CLV_PROTOS_ADDED);
	assert_ptr_equal(clv_proto_find("p7"), &added[7]);
	assert_ptr_equal(clv_protos[before], &added[0]);
	assert_true(strncmp(clv_proto_names(text, sizeof(text)), "http, ", 6) == 0);
	assert_int_equal(strlen(text), sizeof(text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_abi),     cmocka_unit_test(test_names), cmocka_unit_test(test_exported),
		cmocka_unit_test(test_dropped), cmocka_unit_test(test_texts), cmocka_unit_test(test_registry),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
