/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads that one direction of a connection has had before. A header block means the same as long as the table does not
 * change, and most peers say the same few blocks over and over, but for a path, a length or an id: such a head is not
 * decoded and written down again, its values are put where those of the other one were. Private to HTTP/2's parser.
 * Engine thread.
 */
#ifndef CLV_PROTO_HTTP2_MEMO_H
#define CLV_PROTO_HTTP2_MEMO_H

#include "proto/hpack.h"
#include "proto/http2_head.h"

/* A power of two. */
#define HTTP2_MEMO_SLOTS 8u
/* Values that are longer when they are decoded go into no hole. */
#define HTTP2_MEMO_VALUES 512u
/* Blocks and heads that together are longer are not kept. */
#define HTTP2_MEMO_BYTES 2048u

/* Empty when it is all zeros. Its memory is that of the direction's clv_hpack. */
struct http2_memo {
	uint32_t last; /* the slot that was found last */
	struct http2_memo_slot {
		uint64_t seen;           /* hash of the block that came last, without what may vary */
		struct http2_kept *kept; /* NULL: none */
	} slot[HTTP2_MEMO_SLOTS];
};

struct http2_kept {
	uint64_t table; /* clv_hpack.changes */
	struct http2_head head;
	size_t size; /* of all this */
	uint32_t block_len;
	bool request;
	struct http2_holes holes;
	uint8_t bytes[]; /* the block, and the head's text */
};

static inline bool clv_http2_kept_is(const struct http2_kept *k, const struct clv_hpack *hpack, bool request)
{
	return k && k->table == hpack->changes && k->request == request;
}

/* The head of the very block that came last, as clv_http2_memo_find(); NULL: it is another one. */
static inline const struct http2_head *clv_http2_memo_same(const struct http2_memo *m, const struct clv_hpack *hpack,
							   bool request, struct clv_slice block)
{
	const struct http2_kept *k = m->slot[m->last].kept;

	if (!clv_http2_kept_is(k, hpack, request) || !clv_slice_eq(clv_slice(k->bytes, k->block_len), block))
		return NULL;
	return &k->head;
}

/*
 * The block's head: the memo's own, valid until clv_http2_memo_keep() or clv_http2_memo_fini(), or put together in
 * *room, its text in the thread's scratch. NULL: not known.
 */
const struct http2_head *clv_http2_memo_find(struct http2_memo *m, const struct clv_hpack *hpack, bool request,
					     struct clv_slice block, struct http2_head *room);

/*
 * `h` was read from the block, and the table is as it was before. Kept when a block that differs from it in `holes`
 * only comes for the second time. Holes stand in the order of the block, which is that of the text; their values change
 * nothing but the text and, for the first of a request's at its target, facts.http.target.
 */
void clv_http2_memo_keep(struct http2_memo *m, struct clv_hpack *hpack, bool request, struct clv_slice block,
			 const struct http2_head *h, const struct http2_holes *holes);

void clv_http2_memo_fini(struct http2_memo *m, struct clv_hpack *hpack);

#endif
