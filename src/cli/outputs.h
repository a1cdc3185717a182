/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a run's spans, events and figures go: lines on standard output, a collector, metrics; each only if asked for.
 * What sampling and filters leave out is decided here, once for all of them:
 *
 *     span -> metrics (all) -> filter -> summary, line -> sampling -> collector
 *
 * Main thread, which is the engine's; the outputs have threads of their own behind queues.
 */
#ifndef CLV_CLI_OUTPUTS_H
#define CLV_CLI_OUTPUTS_H

#include <signal.h>

#include "cli/options.h"
#include "export/summary.h"
#include "model/event.h"

struct clv_outputs;

struct clv_outputs_config {
	const struct clv_options *options;     /* borrowed until others take their place */
	const struct clv_resources *resources; /* borrowed */
	bool live;                             /* a slow reader loses requests instead of holding up the run */
	const volatile sig_atomic_t *stop;
};

/* Says what is wrong, and returns -errno then. */
int clv_outputs_open(const struct clv_outputs_config *config, struct clv_outputs **out);

/* Sets the span's resource and gives it to everybody. */
void clv_outputs_span(struct clv_outputs *o, struct clv_span *span);
/* Does anybody count events? */
bool clv_outputs_counts_events(const struct clv_outputs *o);
void clv_outputs_event(struct clv_outputs *o, const struct clv_event *event);
/* Often: hands on what waits. */
void clv_outputs_tick(struct clv_outputs *o);
/* About once a second, after clv_outputs_figures(). */
void clv_outputs_second(struct clv_outputs *o);
/* A resource is gone, since now: what was counted of it goes, too, in time. */
void clv_outputs_gone(struct clv_outputs *o, uint32_t resource_id);

/* As many spans as --limit were shown. */
bool clv_outputs_full(const struct clv_outputs *o);
/* Standard output cannot be written any more: -errno. */
int clv_outputs_error(struct clv_outputs *o);

/* Adds its own figures. */
void clv_outputs_figures(struct clv_outputs *o, struct clv_summary *s);
/* What was shown, and the figures that were set: for reports. Borrowed. */
struct clv_summary *clv_outputs_summary(struct clv_outputs *o);

/* Other options, whose settings differ only where they may take effect at once. */
void clv_outputs_configure(struct clv_outputs *o, const struct clv_options *options);

/* No more spans come: waits for the collector, for as long as --flush-timeout says. */
void clv_outputs_flush(struct clv_outputs *o);
/* After that: did the collector take all of it? What stays in the spool it did not take yet. */
bool clv_outputs_delivered(struct clv_outputs *o);
/* Ends standard output; returns what clv_out_close() does. Once. */
int clv_outputs_end_lines(struct clv_outputs *o);
/* NULL is allowed. */
void clv_outputs_close(struct clv_outputs *o);

#endif
