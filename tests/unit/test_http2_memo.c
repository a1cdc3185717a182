/* SPDX-License-Identifier: Apache-2.0 */
/* Which heads are kept, for how long, and that all memory is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "proto/http2_memo.h"

static struct clv_hpack hpack;
static struct clv_mem mem;
static struct http2_memo memo;

static void *take(void *ctx, size_t size)
{
	return clv_mem_alloc(ctx, size);
}

static void give(void *ctx, void *p, size_t size)
{
	clv_mem_free(ctx, p, size);
}

static int setup(void **unused)
{
	struct clv_conn_info conn = {.alloc = take, .free = give, .mem = &mem};

	clv_mem_init(&mem, 1u << 20);
	clv_hpack_init(&hpack, &conn, false);
	memset(&memo, 0, sizeof(memo));
	return 0;
}

static int teardown(void **unused)
{
	clv_http2_memo_fini(&memo, &hpack);
	clv_hpack_fini(&hpack);
	size_t left = mem.used_bytes;
	clv_mem_fini(&mem);
	return left != 0;
}

static void keep(bool request, struct clv_slice block, struct clv_slice text)
{
	struct http2_memo_key key = clv_http2_memo_key(&hpack, request, block);
	struct http2_head h = {.text = text, .request = request, .facts.http.status = (uint16_t)text.len};

	clv_http2_memo_keep(&memo, &hpack, &key, &h);
}

/* Is it the block that was found last? */
static bool again(bool request, struct clv_slice block)
{
	return clv_http2_memo_again(&memo, &hpack, request, block);
}

/* Is the head of the block known? If so, it is `text`. */
static bool known(bool request, struct clv_slice block, struct clv_slice text)
{
	struct http2_memo_key key = clv_http2_memo_key(&hpack, request, block);
	bool last = again(request, block);
	const struct http2_head *h = clv_http2_memo_find(&memo, &key);

	if (!h) {
		assert_false(last);
		return false;
	}
	assert_ptr_equal(clv_http2_memo_again(&memo, &hpack, request, block), h);
	assert_true(clv_slice_eq(h->text, text));
	assert_ptr_not_equal(h->text.data, text.data);
	assert_int_equal(h->request, request);
	assert_int_equal(h->facts.http.status, text.len);
	return true;
}

static void test_the_second_time(void **unused)
{
	const struct clv_slice block = CLV_LIT("\x82\x86"), text = CLV_LIT("GET\r\n\r\n");

	assert_false(known(true, block, text));
	keep(true, block, text);
	assert_int_equal(mem.used_bytes, 0);
	assert_false(known(true, block, text));
	keep(true, block, text);
	assert_true(known(true, block, text));
	assert_true(known(true, block, text));
	assert_false(known(true, CLV_LIT("\x82\x87"), text));
	assert_false(known(true, CLV_LIT("\x82"), text));
	assert_false(known(false, block, text));
}

/* What was found last is found without a hash, and nothing else is. */
static void test_the_same_again(void **unused)
{
	const struct clv_slice one = CLV_LIT("\x82\x86"), two = CLV_LIT("\x83"), text = CLV_LIT("GET\r\n\r\n");

	for (int i = 0; i < 2; i++) {
		keep(true, one, text);
		keep(true, two, text);
	}
	assert_true(known(true, one, text));
	assert_true(again(true, one));
	assert_false(again(false, one));
	assert_false(again(true, two));
	assert_true(known(true, two, text));
	assert_false(again(true, one));
	hpack.changes++;
	assert_false(again(true, two));
}

static void test_another_table(void **unused)
{
	const struct clv_slice block = CLV_LIT("\xbe"), text = CLV_LIT("one"), other = CLV_LIT("another");

	keep(false, block, text);
	keep(false, block, text);
	assert_true(known(false, block, text));
	hpack.changes++;
	assert_false(known(false, block, text));
	keep(false, block, other);
	keep(false, block, other);
	assert_true(known(false, block, other));
}

/* However many there are, so much memory is enough; the last one is always kept. */
static void test_bounds(void **unused)
{
	static char text[HTTP2_MEMO_BYTES];
	size_t most = 0;

	for (unsigned i = 0; i < 1000; i++) {
		struct clv_slice block = clv_slice(&i, sizeof(i)), t = clv_slice(text, sizeof(text) - sizeof(i));

		keep(true, block, t);
		keep(true, block, t);
		assert_true(known(true, block, t));
		most = mem.used_bytes > most ? mem.used_bytes : most;
	}
	assert_true(most <= (size_t)HTTP2_MEMO_SLOTS * 2 * HTTP2_MEMO_BYTES);
	keep(true, CLV_LIT("12345"), clv_slice(text, sizeof(text) - 4));
	keep(true, CLV_LIT("12345"), clv_slice(text, sizeof(text) - 4));
	assert_false(known(true, CLV_LIT("12345"), clv_slice(text, sizeof(text) - 4)));
}

static void test_no_memory(void **unused)
{
	void *all = clv_mem_alloc(&mem, 1u << 20);

	assert_non_null(all);
	keep(true, CLV_LIT("\x82"), CLV_LIT("GET"));
	keep(true, CLV_LIT("\x82"), CLV_LIT("GET"));
	assert_false(known(true, CLV_LIT("\x82"), CLV_LIT("GET")));
	clv_mem_free(&mem, all, 1u << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_second_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_same_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
