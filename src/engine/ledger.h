/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ledger of a flow: what its connection record will say (model/flow_record.h). Internal to the engine. Each call is
 * over at once when nobody wants records.
 */
#ifndef CLV_ENGINE_LEDGER_H
#define CLV_ENGINE_LEDGER_H

#include "engine/conn.h"
#include "engine/engine_internal.h"

/* A note is cut to this many bytes: the longest DNS name has 253. */
#define CLV_NOTE_BYTES 255u

/* A packet is about to be taken: the first one begins the ledger. */
void clv_ledger_begin(struct clv_engine *e, struct clv_flow *f, int d, const struct clv_packet *p);
/* It was; `again`: bytes of its payload that had been seen before. */
void clv_ledger_packet(struct clv_flow *f, int d, const struct clv_packet *p, uint32_t again);
/* A span was made of it. */
void clv_ledger_span(struct clv_flow *f);
/* Something its parser knows of it; takes the place of what was noted so before. */
void clv_ledger_note(struct clv_engine *e, struct clv_flow *f, enum clv_note note, struct clv_slice text);
/* No parser wants it: what do its first bytes look like? */
void clv_ledger_guess(struct clv_flow *f, struct clv_slice first);
/* What f->conn has found out, which is about to be freed while the flow goes on. */
void clv_ledger_learn(struct clv_flow *f);
/* It is over: reports it, once. f->conn, if any, is still there. */
/* Of this flow there is no record. */
void clv_ledger_drop(struct clv_engine *e, struct clv_flow *f);
void clv_ledger_end(struct clv_engine *e, struct clv_flow *f, enum clv_flow_end end);

#endif
