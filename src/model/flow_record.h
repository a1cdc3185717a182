/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection record: one connection (TCP), or one pair of endpoints (UDP), as it was when it ended, whether a parser
 * wanted it or not. Built on the engine thread, lent to the consumer for the length of one call.
 */
#ifndef CLV_MODEL_FLOW_RECORD_H
#define CLV_MODEL_FLOW_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/slice.h"
#include "model/msg.h"
#include "model/resource.h"
#include "model/span.h"

/* How it ended. X(IDENTIFIER, "word") */
#define CLV_FLOW_ENDS(X)                                                                              \
	X(CLOSED, "closed")           /* both ends sent FIN */                                        \
	X(RESET, "reset")             /* RST */                                                       \
	X(FAILED, "failed")           /* its SYN was refused or never answered */                     \
	X(IDLE, "idle")               /* nothing came any more; datagrams have no other end */        \
	X(REPLACED, "replaced")       /* its ports were used anew: how it ended was not seen */       \
	X(EVICTED, "evicted")         /* clovisor needed its memory for others: it may be going on */ \
	X(CAPTURE_END, "capture_end") /* it was going on when the capture ended */

enum clv_flow_end {
#define X(id, word) CLV_FLOW_##id,
	CLV_FLOW_ENDS(X)
#undef X
		CLV_FLOW_END_COUNT
};

struct clv_flow_record {
	struct clv_endpoint client, server;
	bool roles_known;        /* false: nothing told who is the client; it is whoever was heard first */
	bool side_known;         /* false: a capture file that does not tell; role is SERVER then */
	bool midstream;          /* it began before the capture */
	enum clv_span_kind role; /* what the observed endpoint is */
	enum clv_flow_end end;
	uint8_t transport;                   /* enum clv_transport */
	uint32_t net;                        /* the place of capture, as clv_packet.net */
	const struct clv_resource *resource; /* set before it is exported */
	uint64_t start_ns, end_ns;           /* Unix time of the first and the last packet */
	/* By enum clv_dir. Payload bytes are each counted once; live, packets are what the kernel counted. */
	uint64_t bytes[2], packets[2], retransmits[2];
	uint64_t handshake_ns; /* from the first SYN to its SYN-ACK; 0: not known */
	uint64_t requests;     /* spans made of it */
	const char *protocol;  /* clv_proto.name, or a word for what it looks like (`guessed`); NULL: not known */
	bool guessed;
	/* What its parser has noted (enum clv_note); any bytes; empty: nothing. Borrowed. */
	struct clv_slice server_name, version, alpn, user;
	struct clv_slice version_offered, alpn_offered; /* by the client, its choices between commas */
};

/* The receiver sets the record's resource. */
typedef void (*clv_flow_fn)(void *ctx, struct clv_flow_record *record);

/* "closed", ... */
static inline const char *clv_flow_end_word(enum clv_flow_end end)
{
	static const char *const words[] = {
#define X(id, word) [CLV_FLOW_##id] = word,
		CLV_FLOW_ENDS(X)
#undef X
	};

	return words[end];
}

#endif
