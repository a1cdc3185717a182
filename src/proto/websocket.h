/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket (RFC 6455): what is counted of a session, from the HTTP upgrade that led to it up to its end. */
#ifndef CLV_PROTO_WEBSOCKET_H
#define CLV_PROTO_WEBSOCKET_H

#include "proto/http1.h"
#include "proto/proto.h"

/* Of the upgrade's head, which is the session's too, so many bytes are kept. */
#define CLV_WEBSOCKET_HEAD_BYTES 4096u

enum clv_websocket_flag {
	CLV_WEBSOCKET_CLOSED = 1 << 0, /* there was a close frame; without a code in it close_code is 1005; or both ends
					  closed without one: 1006 */
	CLV_WEBSOCKET_CUT = 1 << 1,    /* the head kept ends before its end */
};

#define CLV_WEBSOCKET_NOBODY 2

/* Facts of a session. Counts are by enum clv_dir of the sender. */
struct clv_websocket_facts {
	struct clv_http1_field target, host; /* in the head */
	uint32_t text[2], binary[2];         /* messages, by their last frame */
	uint32_t control[2];                 /* pings and pongs */
	uint64_t bytes[2];                   /* payload of messages, as sent (compressed or not) */
	uint16_t close_code;                 /* RFC 6455 section 7.4; of the first close frame */
	uint8_t closer;                      /* enum clv_dir: who sent that, or CLV_WEBSOCKET_NOBODY */
	uint8_t flags;                       /* enum clv_websocket_flag */
};

extern const struct clv_proto clv_websocket;

/* clv_proto.describe (websocket_span.c). */
void clv_websocket_describe(const struct clv_pair *pair, struct clv_span *span);

#endif
