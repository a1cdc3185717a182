/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field lines that heads have had before. Most heads of a client or a server repeat all that stands behind the start
 * line, to the byte: such lines are compared, not parsed again. What a block of lines says, by itself, depends on
 * nothing else, so all of a thread's connections share one memo: a table of a fixed size, which begins empty and
 * dies with the thread. Where traceparent is the only trace context its value may be another one each time, and is
 * told by its place (clv_http1_facts.traceparent); and so may Content-Length, which is read anew.
 * Private to HTTP/1's parser. Any thread.
 */
#ifndef CLV_PROTO_HTTP1_MEMO_H
#define CLV_PROTO_HTTP1_MEMO_H

#include "proto/http1.h"

/* Powers of two: blocks that are kept, and how long they may be. */
#define HTTP1_MEMO_BLOCKS 32u
#define HTTP1_MEMO_BYTES  512u
/* One of about so many blocks that are not known is asked whether it came before; of twice as many, at least one. */
#define HTTP1_MEMO_EVERY 8u

/* What a head says. */
struct http1_head {
	struct clv_http1_facts facts;
	bool started; /* the start line is complete and good */
	bool has_length, bad_length;
	bool coded, chunked; /* Transfer-Encoding is there; its last coding is chunked */
	uint32_t len;
	uint64_t length; /* Content-Length */
};

/*
 * Does in.data[at..], at <= in.len, begin with a block that is known: field lines, and the empty line behind them? Then
 * *h, which holds what the start line before `at` said, becomes what parsing them would make of it. *place is where the
 * same direction's last block was found; it may be any number, and begins with 0.
 */
bool clv_http1_memo_find(uint8_t *place, struct clv_slice in, size_t at, struct http1_head *h);

/* *h was parsed, for the block that begins at `at` was not found. Blocks are kept when they come again. */
void clv_http1_memo_learn(uint8_t *place, struct clv_slice in, size_t at, const struct http1_head *h);

/* Forgets all that this thread knows. */
void clv_http1_memo_forget(void);

#endif
