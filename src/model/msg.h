/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message as a parser reports it: its head as bytes, and the protocol's own facts about them.
 *
 * Facts are a plain struct of the protocol's (no pointers: offsets into the head), so that a request can be
 * kept until its response comes by copying two runs of bytes.
 */
#ifndef CLV_MODEL_MSG_H
#define CLV_MODEL_MSG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

/* Which way bytes go on a connection. */
enum clv_dir { CLV_TO_SERVER = 0, CLV_TO_CLIENT = 1 };

enum clv_role {
	CLV_REQUEST,
	CLV_RESPONSE,
	CLV_INTERIM, /* a response that another one follows (HTTP 1xx); answers nothing */
};

enum clv_msg_flag {
	CLV_MSG_TRUNCATED = 1 << 0, /* the head was cut (gap, snaplen, limit): facts hold what was there */
};

#define CLV_FACTS_MAX 64

struct clv_msg {
	enum clv_role role;
	uint32_t flags; /* enum clv_msg_flag */
	uint64_t id;    /* pairs request and response where the protocol has CLV_CAP_BY_ID */
	/* The first byte is at this offset of the slice given to feed() or gap(); the head follows there. */
	uint32_t at;
	struct clv_slice head;   /* borrowed; begins at the message's first byte */
	struct clv_slice method; /* a request's, part of the head: what is counted before its end is told by it */
	/* A request's W3C traceparent as it stands there, borrowed; empty: none, or several (then none counts). */
	struct clv_slice traceparent;
	const void *facts; /* at most CLV_FACTS_MAX bytes, borrowed */
	uint16_t facts_size;
};

/* A request and its response, as kept for describe(). The heads stay valid during the call only. */
struct clv_pair {
	struct clv_slice request_head;
	const void *request;  /* facts */
	const void *response; /* facts; NULL when there was no response */
	uint64_t request_body_bytes;
	uint64_t response_body_bytes;
	bool request_ended;  /* the whole request was seen, so its body size is known */
	bool response_ended; /* likewise */
};

#endif
