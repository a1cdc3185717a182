/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads that one direction of a connection has had before. A header block means the same as long as the table does not
 * change, and most peers say the same few blocks over and over: such a head is not decoded and written down again.
 * Private to HTTP/2's parser. Engine thread.
 */
#ifndef CLV_PROTO_HTTP2_MEMO_H
#define CLV_PROTO_HTTP2_MEMO_H

#include "proto/hpack.h"
#include "proto/http2_head.h"

/* A power of two. */
#define HTTP2_MEMO_SLOTS 8u
/* Blocks and heads that together are longer are not kept. */
#define HTTP2_MEMO_BYTES 2048u

/* Empty when it is all zeros. Its memory is that of the direction's clv_hpack. */
struct http2_memo {
	uint32_t last; /* the slot that was found last */
	struct http2_memo_slot {
		uint64_t seen;           /* hash of the block that came last */
		struct http2_kept *kept; /* NULL: none */
	} slot[HTTP2_MEMO_SLOTS];
};

/* The block with which a memo is asked, and its hash. */
struct http2_memo_key {
	struct clv_slice block;
	uint64_t table; /* clv_hpack.changes, before the block */
	uint64_t hash;
	bool request;
};

struct http2_memo_key clv_http2_memo_key(const struct clv_hpack *hpack, bool request, struct clv_slice block);

/* The block's head, valid until clv_http2_memo_keep() or clv_http2_memo_fini(); NULL: not known. */
const struct http2_head *clv_http2_memo_find(struct http2_memo *m, const struct http2_memo_key *key);
/* The same, if it is the one that was found last: that needs no hash. */
const struct http2_head *clv_http2_memo_again(const struct http2_memo *m, const struct clv_hpack *hpack, bool request,
					      struct clv_slice block);

/* `h` was read from the block, and the table is as it was before. Kept when the same block comes for the second time.
 */
void clv_http2_memo_keep(struct http2_memo *m, struct clv_hpack *hpack, const struct http2_memo_key *key,
			 const struct http2_head *h);

void clv_http2_memo_fini(struct http2_memo *m, struct clv_hpack *hpack);

#endif
