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
 * Sets the ids of an exchange's span, whose kind is set, and whether it has a parent: that is the client's span then.
 * `response_seq`: sequence number of the response's first byte; without a response what the request's first packet
 * acknowledged, which is the same unless the client pipelined. None of the ids is ever all zero (W3C Trace Context
 * section 3.2.2).
 */
void clv_ids_derive(struct clv_span *span, uint32_t request_seq, uint32_t response_seq, struct clv_slice head);

#endif
