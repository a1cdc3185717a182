/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a run's spans, events and figures go: lines on standard output, a collector, metrics; each only if asked for.
 *
 * What comes from the lanes comes through outlets (outlet.h), each of which is its lane's thread's. All else here is
 * the main thread's, while no lane uses its outlet; the outputs have threads of their own behind queues.
 */
#ifndef CLV_CLI_OUTPUTS_H
#define CLV_CLI_OUTPUTS_H

#include <signal.h>

#include "cli/options.h"
#include "cli/outlet.h"
#include "export/health.h"
#include "export/summary.h"

struct clv_outputs;

struct clv_outputs_config {
	const struct clv_options *options;     /* borrowed until others take their place */
	const struct clv_resources *resources; /* borrowed */
	bool live;                             /* a slow reader loses requests instead of holding up the run */
	unsigned lanes;                        /* how many outlets: 1..CLV_WORKERS_MOST */
	const volatile sig_atomic_t *stop;
	struct clv_health *health; /* borrowed, for who asks the metrics' endpoint; may be NULL */
};

/* Says what is wrong, and returns -errno then. */
int clv_outputs_open(const struct clv_outputs_config *config, struct clv_outputs **out);

/* The way in of the lane with this number, from 0 on. Borrowed. */
struct clv_outlet *clv_outputs_outlet(struct clv_outputs *o, unsigned lane);
/* Does anybody count events? */
bool clv_outputs_counts_events(const struct clv_outputs *o);
/* About once a second, after clv_outputs_figures(). */
void clv_outputs_second(struct clv_outputs *o);
/* A resource is gone, since now: what was counted of it goes, too, in time. */
void clv_outputs_gone(struct clv_outputs *o, uint32_t resource_id);

/* As many spans as --limit were shown. Any thread. */
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
