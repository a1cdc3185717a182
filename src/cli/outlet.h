/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One lane's way into the outputs: what its engine reports goes out here. What sampling and filters leave out is
 * decided here, once for all who get a span:
 *
 *     span -> metrics (all) -> filter -> summary, line -> sampling -> collector
 *
 * An outlet belongs to one lane's thread. It writes straight into the outputs' queues, where lines have one for each
 * lane; of several each collects encoded spans in a parcel of its own, and takes a lock once a parcel.
 */
#ifndef CLV_CLI_OUTLET_H
#define CLV_CLI_OUTLET_H

#include <stdbool.h>

#include "model/event.h"
#include "model/flow_record.h"
#include "model/span.h"

struct clv_outlet;

/* Sets the span's resource, unless it has waited and has it, and gives it to everybody. */
void clv_outlet_span(struct clv_outlet *t, struct clv_span *span);
/* A connection's record, likewise. It has a line only: filters, --limit and sampling are about requests. */
void clv_outlet_flow(struct clv_outlet *t, struct clv_flow_record *record);
/* Only where clv_outputs_counts_events(). */
void clv_outlet_event(struct clv_outlet *t, const struct clv_event *event);
/* Often: hands on what waits. */
void clv_outlet_tick(struct clv_outlet *t);
/* Hands on all of it now: at the end. */
void clv_outlet_flush(struct clv_outlet *t);
/* Does some thread of the outputs fall behind? Then no packets should be read that can wait. */
bool clv_outlet_pressed(struct clv_outlet *t);

#endif
