/* SPDX-License-Identifier: Apache-2.0 */
/* A decoded header block as text and facts. Private to HTTP/2's parser. */
#ifndef CLV_PROTO_HTTP2_HEAD_H
#define CLV_PROTO_HTTP2_HEAD_H

#include "engine/limits.h"
#include "proto/hpack.h"
#include "proto/http2.h"

struct http2_head {
	struct clv_slice text;   /* as http2.h has it; valid until the thread's next head */
	struct clv_slice method; /* of a request, as clv_msg.method */
	struct clv_http2_facts facts;
	bool request;  /* has a pseudo-header that only requests have */
	bool missing;  /* fields were not known */
	bool cut;      /* there was no room for all of it, or it is bad */
	bool bad;      /* it could not be decoded to its end */
	uint8_t flags; /* as clv_msg.flags: what of this the sink is told */
};

/* Values of a head that another one of the same shape may have otherwise: in the block and in the text. */
#define HTTP2_HOLES 4u
struct http2_holes {
	uint32_t count;
	struct http2_hole {
		uint32_t block_at, block_len; /* the value's string */
		uint16_t text_at, text_len;
	} hole[HTTP2_HOLES];
};

/* Room for one head of the thread's, and what is put together for it. */
struct http2_scratch {
	uint8_t joined[CLV_HEAD_BYTES]; /* the fragments of a block of several frames */
	char text[CLV_HEAD_BYTES - 1];  /* offsets into it are of 16 bits */
	char kept[CLV_HEAD_BYTES - 1];
};

/* The calling thread's, mapped when it first asks, and there until the thread ends; NULL without memory. */
struct http2_scratch *clv_http2_scratch(void);

struct http2_memo;

/*
 * Reads a block of a request, or of a response, into *room, unless the direction's memo knows it. Returns the head, in
 * *room or the memo's: valid until the next one is read.
 */
const struct http2_head *clv_http2_head_read(struct clv_hpack *hpack, struct http2_memo *memo, bool request,
					     struct clv_slice block, struct http2_head *room);

/* Writes a value as it may stand in a line; returns where it ends. */
uint8_t *clv_http2_put_value(uint8_t *p, struct clv_slice value);

/* The value of grpc-status. */
void clv_http2_grpc_status(struct clv_http2_facts *f, struct clv_slice value);

#endif
