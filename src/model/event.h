/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the engine sees beside spans: the life of connections, and requests beginning and ending. Events are for
 * counting only; what they count is in docs/metrics.md.
 */
#ifndef CLV_MODEL_EVENT_H
#define CLV_MODEL_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "model/span.h"

enum clv_event_kind {
	CLV_EVENT_OPENED,      /* the first SYN, or SYN-ACK, of a connection */
	CLV_EVENT_CONNECTED,   /* value: nanoseconds from the first SYN to the SYN-ACK */
	CLV_EVENT_FAILED,      /* its SYN was answered by RST, or by nothing */
	CLV_EVENT_CLOSED,      /* both ends sent FIN, and all before it was seen or given up */
	CLV_EVENT_RESET,       /* it ended by RST */
	CLV_EVENT_RTT,         /* value: nanoseconds from data leaving the observed endpoint to their acknowledgement */
	CLV_EVENT_RETRANSMITS, /* value: segments seen again */
	CLV_EVENT_BYTES,       /* value: payload bytes, each counted once */
	CLV_EVENT_DATAGRAM,    /* value: payload bytes of one of UDP; of these nothing else is told */
	CLV_EVENT_REQUEST,     /* a request's head was parsed */
	CLV_EVENT_REQUEST_END, /* its exchange is over; once for each of the former */
	CLV_EVENT_KINDS
};

struct clv_event {
	enum clv_event_kind kind;
	enum clv_span_kind role; /* what the observed endpoint is; SERVER where a capture file does not tell */
	bool transmit;           /* BYTES, RETRANSMITS, DATAGRAM: sent by the observed endpoint */
	uint32_t net;            /* the place of capture, as clv_packet.net */
	uint64_t ts_ns;          /* Unix time */
	uint64_t value;
	struct clv_slice method; /* REQUEST and its END: as clv_msg.method, borrowed during the call */
	const char *protocol;    /* REQUEST and its END: as clv_span.protocol */
};

/* On the engine's thread, within the call that brings the packet. */
typedef void (*clv_event_fn)(void *ctx, const struct clv_event *event);

#endif
