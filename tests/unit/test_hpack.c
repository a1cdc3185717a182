/* SPDX-License-Identifier: Apache-2.0 */
/* Header blocks: what is told of them when the table is known, when it is not, and when there is no such block. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/hpack.h"

#define BLOCK(text) CLV_LIT(text)

static struct clv_hpack hpack;
static struct clv_mem mem;
static char said[4096];

static void *take(void *ctx, size_t size)
{
	return clv_mem_alloc(ctx, size);
}

static void give(void *ctx, void *p, size_t size)
{
	clv_mem_free(ctx, p, size);
}

static int setup(void **state)
{
	struct clv_conn_info conn = {.alloc = take, .free = give, .mem = &mem};

	clv_mem_init(&mem, 1u << 20);
	clv_hpack_init(&hpack, &conn, *state != NULL);
	return 0;
}

static int teardown(void **state)
{
	clv_hpack_fini(&hpack);
	size_t left = mem.used_bytes;
	clv_mem_fini(&mem);
	return left != 0; /* all of it was given back */
}

static void on_field(void *ctx, struct clv_slice name, struct clv_slice value, size_t literal_at)
{
	size_t len = strlen(said);

	snprintf(said + len, sizeof(said) - len, "%.*s=%.*s ", (int)name.len, (const char *)name.data, (int)value.len,
		 (const char *)value.data);
}

static void expect(struct clv_slice block, enum clv_hpack_result result, const char *fields)
{
	said[0] = '\0';
	assert_int_equal(clv_hpack_block(&hpack, block, on_field, NULL), result);
	assert_string_equal(said, fields);
}

/* RFC 7541 appendix C.4: three requests with Huffman code on one connection. */
static void test_the_standards_examples(void **state)
{
	expect(BLOCK("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), CLV_HPACK_WHOLE,
	       ":method=GET :scheme=http :path=/ :authority=www.example.com ");
	expect(BLOCK("\x82\x86\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf"), CLV_HPACK_WHOLE,
	       ":method=GET :scheme=http :path=/ :authority=www.example.com cache-control=no-cache ");
	expect(BLOCK("\x82\x87\x85\xbf\x40\x88\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f\x89\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4"
		     "\xbf"),
	       CLV_HPACK_WHOLE,
	       ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value ");
}

/* What the first block put into the table was not seen; what came later is known by its place from the newest on. */
static void test_joined_late(void **state)
{
	expect(BLOCK("\x82\x84\xbe\xbf\xc4"), CLV_HPACK_PARTIAL, ":method=GET :path=/ ");
	expect(BLOCK("\x83\x40\x01"
		     "a\x01"
		     "1\xbe"),
	       CLV_HPACK_WHOLE, ":method=POST a=1 a=1 ");
	expect(BLOCK("\xbe\xbf"), CLV_HPACK_PARTIAL, "a=1 ");
	expect(BLOCK("\x40\x01"
		     "b\x01"
		     "2"),
	       CLV_HPACK_WHOLE, "b=2 ");
	expect(BLOCK("\xbe\xbf\xc0"), CLV_HPACK_PARTIAL, "b=2 a=1 ");
}

/* An entry whose name points to what was not seen: nobody knows it, and the others keep their places. */
static void test_names_from_before(void **state)
{
	expect(BLOCK("\x40\x01"
		     "a\x01"
		     "1"),
	       CLV_HPACK_WHOLE, "a=1 ");
	expect(BLOCK("\x7f\x05\x01"
		     "x\x40\x01"
		     "b\x01"
		     "2"),
	       CLV_HPACK_PARTIAL, "b=2 ");
	expect(BLOCK("\xbe\xbf\xc0"), CLV_HPACK_PARTIAL, "b=2 a=1 ");
	expect(BLOCK("\x0f\x40\x01"
		     "y\x0f\x2f\x01"
		     "z"),
	       CLV_HPACK_PARTIAL, "b=z ");
}

static void test_sizes(void **state)
{
	expect(BLOCK("\x40\x01"
		     "a\x01"
		     "1\x40\x01"
		     "b\x01"
		     "2"),
	       CLV_HPACK_WHOLE, "a=1 b=2 ");
	/* 40 bytes: one entry has room. */
	expect(BLOCK("\x3f\x09\xbe"), CLV_HPACK_WHOLE, "b=2 ");
	expect(BLOCK("\xbf"), CLV_HPACK_PARTIAL, "");
	/* Far more than is kept: what fits is. */
	expect(BLOCK("\x20\x3f\xe1\xff\xff\x03\x40\x01"
		     "c\x01"
		     "3"),
	       CLV_HPACK_WHOLE, "c=3 ");
	expect(BLOCK("\xbe\xbf"), CLV_HPACK_PARTIAL, "c=3 ");
}

/* What is no block takes the table with it: what follows is as joined late. */
static void test_bad_blocks(void **state)
{
	static const struct {
		struct clv_slice block;
		const char *fields;
	} bad[] = {
		{BLOCK("\x82\x80"), ":method=GET "}, /* index 0 */
		{BLOCK("\x40\x05"
		       "ab"),
		 ""},                                                    /* a string that is cut */
		{BLOCK("\x84\x41\x8c\xf1\xe3"), ":path=/ "},             /* likewise */
		{BLOCK("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), ""}, /* an index without end */
		{BLOCK("\x40\x81\xff\x01"
		       "x"),
		 ""}, /* padding that is none */
		{BLOCK("\x7f"), ""},
		{BLOCK("\x82\x20"), ":method=GET "}, /* a size behind a field */
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		expect(BLOCK("\x40\x01"
			     "a\x01"
			     "1"),
		       CLV_HPACK_WHOLE, "a=1 ");
		expect(BLOCK("\xbe"), CLV_HPACK_WHOLE, "a=1 ");
		expect(bad[i].block, CLV_HPACK_BAD, bad[i].fields);
		expect(BLOCK("\xbe"), CLV_HPACK_PARTIAL, "");
	}
	clv_hpack_forget(&hpack, false);
	expect(BLOCK("\x82"), CLV_HPACK_WHOLE, ":method=GET ");
}

/* Without memory nothing is known, and nothing is wrong. */
static void test_no_memory(void **state)
{
	void *all = clv_mem_alloc(&mem, 1u << 20);

	assert_non_null(all);
	expect(BLOCK("\x82"), CLV_HPACK_BAD, "");
	clv_mem_free(&mem, all, 1u << 20);
	expect(BLOCK("\x82\xbe"), CLV_HPACK_PARTIAL, ":method=GET ");
}

static void test_looks(void **state)
{
	static const struct {
		struct clv_slice block;
		enum clv_hpack_look look;
	} table[] = {
		{BLOCK("\x82\x86\x84\xbe"), CLV_HPACK_LOOKS_REQUEST},
		{BLOCK("\x04\x02/x"), CLV_HPACK_LOOKS_REQUEST},
		{BLOCK("\x88"), CLV_HPACK_LOOKS_RESPONSE},
		{BLOCK("\x48\x03"
		       "418"),
		 CLV_HPACK_LOOKS_RESPONSE},
		{BLOCK("\xbe\xbf"), CLV_HPACK_LOOKS_PLAIN},
		{BLOCK(""), CLV_HPACK_LOOKS_PLAIN},
		{BLOCK("\x82\x88"), CLV_HPACK_LOOKS_BAD},
		{BLOCK("\x80"), CLV_HPACK_LOOKS_BAD},
		{BLOCK("\x82\x41\x8c\xf1"), CLV_HPACK_LOOKS_CUT},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		assert_int_equal(clv_hpack_look(table[i].block), table[i].look);
}

int main(void)
{
#define LATE(f)                                                                                                   \
	{                                                                                                         \
		.name = #f, .test_func = f, .setup_func = setup, .teardown_func = teardown, .initial_state = said \
	}
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_standards_examples, setup, teardown),
		LATE(test_joined_late),
		LATE(test_names_from_before),
		cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_blocks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test(test_looks),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
