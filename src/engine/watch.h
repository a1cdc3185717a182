/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events: what the engine tells whoever counts (model/event.h). Internal to the engine. Each call is over at once when
 * nobody does.
 *
 * A connection's role is known from its SYN, or once its protocol is; until then bytes and retransmissions wait in the
 * flow. One whose role never becomes known is not counted.
 */
#ifndef CLV_ENGINE_WATCH_H
#define CLV_ENGINE_WATCH_H

#include "engine/conn.h"
#include "engine/engine_internal.h"

/* Does anybody count? */
static inline bool clv_watch_wanted(const struct clv_engine *e)
{
	return e->config.on_event || e->config.on_flow;
}

/* A SYN or SYN-ACK of the connection in f, new or not. */
void clv_watch_syn(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p);
/* Any packet of a connection that is not over, if anybody counts; `again`: bytes of its payload that had been seen
 * before. */
void clv_watch_payload(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p, uint32_t again);
/* A datagram. Who is its client is not asked. */
void clv_watch_datagram(struct clv_engine *e, const struct clv_flow *f, int d, const struct clv_packet *p);
void clv_watch_closed(struct clv_engine *e, struct clv_flow *f);
void clv_watch_reset(struct clv_engine *e, struct clv_flow *f);
/* Nothing comes any more, its SYN had no answer for CLV_SYN_NS, or another connection has taken its place. */
void clv_watch_given_up(struct clv_engine *e, struct clv_flow *f);

/* Its SYN waits for no answer any more. */
void clv_watch_answered(struct clv_engine *e, struct clv_flow *f);

/* It began with a SYN that nobody has answered so far. */
bool clv_watch_failed(const struct clv_flow *f);

/* A request was noted as x; its exchange ends. */
void clv_watch_request(struct clv_conn *c, struct clv_exchange *x, const struct clv_msg *msg);
void clv_watch_request_end(struct clv_conn *c, const struct clv_exchange *x);

#endif
