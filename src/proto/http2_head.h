/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded header block as text and facts. Private to HTTP/2's parser. */
#ifndef CLV_PROTO_HTTP2_HEAD_H
#define CLV_PROTO_HTTP2_HEAD_H

#include "engine/limits.h"
#include "proto/hpack.h"
#include "proto/http2.h"

struct http2_head {
	struct clv_slice text; /* as http2.h has it; valid until the thread's next head */
	struct clv_http2_facts facts;
	bool request; /* has a pseudo-header that only requests have */
	bool missing; /* fields were not known */
	bool cut;     /* there was no room for all of it, or it is bad */
	bool bad;     /* it could not be decoded to its end */
};

/* Room for one head of the thread's, and what is put together for it. */
struct http2_scratch {
	uint8_t joined[CLV_HEAD_BYTES]; /* the fragments of a block of several frames */
	char text[CLV_HEAD_BYTES - 1];  /* offsets into it are of 16 bits */
	char kept[CLV_HEAD_BYTES - 1];
};

/* The calling thread's, mapped when it first asks, and there as long as the program; NULL without memory. */
struct http2_scratch *clv_http2_scratch(void);

struct http2_memo;

/*
 * Reads a block of a request, or of a response, into *room, unless the direction's memo knows it. Returns the head, in
 * *room or the memo's: valid until the next one is read.
 */
const struct http2_head *clv_http2_head_read(struct clv_hpack *hpack, struct http2_memo *memo, bool request,
					     struct clv_slice block, struct http2_head *room);

/* The value of grpc-status. */
void clv_http2_grpc_status(struct clv_http2_facts *f, struct clv_slice value);

#endif
