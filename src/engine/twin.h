/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections whose both ends are in one cgroup. There each packet is seen as it leaves the one socket and as it
 * reaches the other: two flows, one the mirror image of the other, and every request twice. The one at the server's end
 * is kept. Internal to the engine.
 *
 * Which end that is, a SYN tells; of a connection joined midstream, and of datagrams, the smaller port is the server's.
 */
#ifndef CLV_ENGINE_TWIN_H
#define CLV_ENGINE_TWIN_H

#include "engine/engine_internal.h"

/* f has just begun, or its SYN-ACK came: of it and its mirror image, if there is one, the client's end is left out. */
void clv_twin_meet(struct clv_engine *e, struct clv_flow *f);
/* A packet of a flow that is left out: the kernel need not send more. */
void clv_twin_hush(struct clv_engine *e, const struct clv_packet *p);

#endif
