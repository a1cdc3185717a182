/* SPDX-License-Identifier: Apache-2.0 */
/* Which heads are kept, for how long, and that all memory is given back. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

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

static void keep_with(bool request, struct clv_slice block, struct clv_slice text, const struct http2_holes *holes)
{
	struct http2_head h = {.text = text, .request = request, .facts.http.status = (uint16_t)text.len};

	clv_http2_memo_keep(&memo, &hpack, request, block, &h, holes);
}

static void keep(bool request, struct clv_slice block, struct clv_slice text)
{
	keep_with(request, block, text, &(struct http2_holes){0});
}

/* Is the head of the block known? If so, it is `text`. */
static bool known(bool request, struct clv_slice block, struct clv_slice text)
{
	struct http2_head room;
	const struct http2_head *h = clv_http2_memo_find(&memo, &hpack, request, block, &room);

	if (!h)
		return false;
	assert_ptr_equal(clv_http2_memo_find(&memo, &hpack, request, block, &room), h);
	assert_ptr_not_equal(h, &room);
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

/* Several are known at once, in any order. */
static void test_the_same_again(void **unused)
{
	const struct clv_slice one = CLV_LIT("\x82\x86"), two = CLV_LIT("\x83"), text = CLV_LIT("GET\r\n\r\n");

	for (int i = 0; i < 2; i++) {
		keep(true, one, text);
		keep(true, two, text);
	}
	assert_true(known(true, one, text));
	assert_false(known(false, one, text));
	assert_true(known(true, two, text));
	assert_true(known(true, one, text));
	hpack.changes++;
	assert_false(known(true, two, text));
}

/* GET with a path and, behind a field of the table, an id: both as literals. */
#define SHAPE(path_len, path, id_len, id) CLV_LIT("\x82\x04" path_len path "\xbe\x0f\x2d" id_len id "\x90")
#define AGENT                             "user-agent: a\r\n"
#define TEXT(path, id)                    CLV_LIT("GET " path " HTTP/2.0\r\nhost: h\r\n" AGENT "id: " id "\r\n\r\n")

static const struct http2_head *shaped(struct clv_slice block, struct http2_head *room)
{
	return clv_http2_memo_find(&memo, &hpack, true, block, room);
}

static struct clv_slice part(const struct http2_head *h, struct clv_http1_field f)
{
	return clv_slice_sub(h->text, f.at, f.len);
}

static void keep_shape(void)
{
	const struct http2_holes holes = {.count = 2,
					  .hole = {{.block_at = 2, .block_len = 3, .text_at = 4, .text_len = 2},
						   {.block_at = 8, .block_len = 4, .text_at = 45, .text_len = 3}}};
	const struct http2_head h = {.text = TEXT("/a", "123"),
				     .request = true,
				     .facts.http = {.target = {.at = 4, .len = 2},
						    .host = {.at = 23, .len = 1},
						    .user_agent = {.at = 38, .len = 1},
						    .method_len = 3}};

	for (int i = 0; i < 2; i++)
		clv_http2_memo_keep(&memo, &hpack, true, SHAPE("\2", "/a", "\3", "123"), &h, &holes);
}

/* Other values: their text, and everything behind them where it is now. */
static void test_other_values(void **unused)
{
	static const struct {
		struct clv_slice block, text, path;
	} table[] = {
		{SHAPE("\2", "/b", "\3", "456"), TEXT("/b", "456"), CLV_LIT("/b")},
		{SHAPE("\11", "/a/longer", "\1", "7"), TEXT("/a/longer", "7"), CLV_LIT("/a/longer")},
		{SHAPE("\1", "/", "\0", ""), TEXT("/", ""), CLV_LIT("/")},
		{SHAPE("\4", "/\r\nb", "\1", "8"), TEXT("/  b", "8"), CLV_LIT("/  b")},
		{SHAPE("\x8c", "\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff", "\x82", "\x64\x02"),
		 TEXT("www.example.com", "302"), CLV_LIT("www.example.com")},
	};
	struct http2_head room;

	keep_shape();
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct http2_head *h = shaped(table[i].block, &room);

		assert_ptr_equal(h, &room);
		assert_true(h->request);
		assert_true(clv_slice_eq(h->text, table[i].text));
		assert_true(clv_slice_eq(part(h, h->facts.http.target), table[i].path));
		assert_true(clv_slice_eq(part(h, h->facts.http.host), CLV_LIT("h")));
		assert_true(clv_slice_eq(part(h, h->facts.http.user_agent), CLV_LIT("a")));
		assert_int_equal(h->facts.http.forwarded.at, 0);
	}
	const struct http2_head *same = shaped(SHAPE("\2", "/a", "\3", "123"), &room);
	assert_non_null(same);
	assert_ptr_not_equal(same, &room);
}

/* What differs in anything else is another head. */
static void test_other_shapes(void **unused)
{
	static const struct clv_slice others[] = {
		CLV_LIT("\x83\x04\2/b\xbe\x0f\x2d\3"
			"456\x90"),
		CLV_LIT("\x82\x04\2/b\xbf\x0f\x2d\3"
			"456\x90"),
		CLV_LIT("\x82\x04\2/b\xbe\x0f\x2d\3"
			"456\x91"),
		CLV_LIT("\x82\x04\2/b\xbe\x0f\x2d\3"
			"456"),
		CLV_LIT("\x82\x04\2/b\xbe\x0f\x2d\3"
			"456\x90\x90"),
		CLV_LIT("\x82\x04\2/b\xbe\x0f\x2d\3"
			"45"), /* the value is cut, */
		CLV_LIT("\x82\x04\2/b\xbe\x0f\x2d"),
		CLV_LIT("\x82\x04\5/b"),
		CLV_LIT("\x82\x04"),
		CLV_LIT(""),
		SHAPE("\0", "", "\3", "456"), /* or the path is not there */
	};
	struct http2_head room;

	keep_shape();
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_null(shaped(others[i], &room));
	hpack.changes++;
	assert_null(shaped(SHAPE("\2", "/a", "\3", "123"), &room));
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

static void *ask_for_scratch(void *unused)
{
	struct http2_scratch *s = clv_http2_scratch();

	assert_non_null(s);
	assert_ptr_equal(clv_http2_scratch(), s);
	memset(s, 1, sizeof(*s));
	return s;
}

/* What was mapped for it is not there any more. */
static void test_a_thread_ends(void **unused)
{
	pthread_t thread;
	void *s;

	assert_int_equal(pthread_create(&thread, NULL, ask_for_scratch, NULL), 0);
	assert_int_equal(pthread_join(thread, &s), 0);
	assert_int_equal(msync(s, 1, MS_ASYNC), -1);
	assert_int_equal(errno, ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_the_second_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_same_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_other_shapes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
		cmocka_unit_test(test_a_thread_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
