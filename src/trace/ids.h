/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ids without coordination. The sequence numbers of a request's and of its response's first byte, and the
 * request's head, are the same wherever the exchange is captured, behind NAT, too. Ids derived from them let two
 * observers that never talk to each other report the client's and the server's span of one trace.
 */
#ifndef CLV_TRACE_IDS_H
#define CLV_TRACE_IDS_H

#include "base/slice.h"
#include "model/span.h"

/*
 * Derives the ids of an exchange. `response_seq`: sequence number of the response's first byte; without a
 * response what the request's first packet acknowledged, which is the same unless the client pipelined.
 * None of the ids is ever all zero (W3C Trace Context section 3.2.2).
 */
struct clv_exchange_ids { /* in the order of bytes that they are written in */
	uint64_t trace_id[2];
	uint64_t client_span_id, server_span_id;
};

struct clv_exchange_ids clv_ids_derive(uint32_t request_seq, uint32_t response_seq, struct clv_slice head);

#endif
