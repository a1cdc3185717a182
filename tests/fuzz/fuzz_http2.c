/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: header blocks of one direction, each several times and with one byte changed. Whatever the memo knows of
 * those that came before, the head is the one that is read without it, and so is what the blocks leave behind.
 *
 * Input: a byte of settings, the place of the byte that changes, then blocks: a byte of length and so many bytes.
 */
#include <assert.h>
#include <stdlib.h>

#include "proto/http2_memo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum setting { SETTING_REQUEST = 1 << 0, SETTING_JOINED = 1 << 1 };

#define ROUNDS 4

static void *take(void *ctx, size_t size)
{
	return malloc(size);
}

static void give(void *ctx, void *p, size_t size)
{
	free(p);
}

/* Two that read the same, of which one has a memory. */
static struct reader {
	struct clv_hpack hpack;
	struct http2_memo memo;
} knows, forgets;

static const struct http2_head *read_block(struct reader *r, bool request, struct clv_slice block,
					   struct http2_head *room)
{
	const struct http2_head *h = clv_http2_memo_same(&r->memo, &r->hpack, request, block);

	return h ? h : clv_http2_head_read(&r->hpack, &r->memo, request, block, room);
}

static bool same_facts(const struct clv_http2_facts *a, const struct clv_http2_facts *b)
{
	return memcmp(&a->http, &b->http, sizeof(a->http)) == 0 && a->messages == b->messages && a->bytes == b->bytes &&
	       a->timeout_ns == b->timeout_ns && a->reset == b->reset && a->kind == b->kind && a->flags == b->flags &&
	       a->grpc_status == b->grpc_status;
}

static void compare(bool request, struct clv_slice block)
{
	struct http2_head one, other;
	const struct http2_head *h = read_block(&knows, request, block, &one);
	size_t len = h->text.len;
	char *text = malloc(len + 1);

	assert(text);
	if (len)
		memcpy(text, h->text.data, len);
	one = *h;
	memset(&forgets.memo, 0, sizeof(forgets.memo)); /* it has kept nothing: nothing came twice */
	h = read_block(&forgets, request, block, &other);
	assert(clv_slice_eq(h->text, clv_slice(text, len)));
	assert(same_facts(&h->facts, &one.facts));
	assert(h->request == one.request && h->missing == one.missing && h->cut == one.cut && h->bad == one.bad);
	assert(knows.hpack.changes == forgets.hpack.changes);
	free(text);
}

static void open(struct reader *r, bool joined)
{
	struct clv_conn_info conn = {.alloc = take, .free = give};

	memset(r, 0, sizeof(*r));
	clv_hpack_init(&r->hpack, &conn, joined);
}

static void close(struct reader *r)
{
	clv_http2_memo_fini(&r->memo, &r->hpack);
	clv_hpack_fini(&r->hpack);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	bool request = data[0] & SETTING_REQUEST;
	open(&knows, data[0] & SETTING_JOINED);
	open(&forgets, data[0] & SETTING_JOINED);
	for (uint8_t round = 0; round < ROUNDS; round++)
		for (size_t at = 2; at < size;) {
			size_t len = data[at] < size - at ? data[at] : size - at - 1;
			uint8_t *block = malloc(len + 1); /* of its own: what is read beyond it shows */

			assert(block);
			memcpy(block, data + at + 1, len);
			compare(request, clv_slice(block, len));
			if (data[1] < len)
				block[data[1]] ^= (uint8_t)(1 << round);
			compare(request, clv_slice(block, len));
			free(block);
			at += 1 + len;
		}
	close(&knows);
	close(&forgets);
	return 0;
}
