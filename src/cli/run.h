/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run that trace, agent and read share: source -> [capture file] -> engine -> filter -> output, until the source
 * ends, a signal comes, the limit or the time is reached, or nobody reads the output any more.
 *
 * With one worker all of it is on the main thread. With several each has an engine on a thread of its own (lane.h), and
 * the main thread does what is not a packet's: it lets the workers stand still for that (base/gate.h). So whatever a
 * run's owner is called for, by the main thread or by a worker about a packet, it needs no lock: the one never happens
 * during the other. Calls from several workers may come at once, and must change nothing that two of them share.
 */
#ifndef CLV_CLI_RUN_H
#define CLV_CLI_RUN_H

#include <signal.h>
#include <stdio.h>

#include "cli/options.h"
#include "export/health.h"
#include "model/figure.h"
#include "source/source.h"

#define CLV_RUN_FIGURES 64

struct clv_run_config {
	const struct clv_options *line;    /* the command line, for reloads of the file that it names */
	const struct clv_options *options; /* in effect when the run begins */
	struct clv_resources *resources;   /* borrowed; the owner changes them between polls only */
	unsigned workers;                  /* engines: 1..CLV_WORKERS_MOST, as clv_run_workers() says */
	/* The source of a worker, borrowed. Not live: there is one, whose packets are dealt out to the workers. */
	struct clv_source *(*source)(void *ctx, unsigned worker);
	int news_fd;               /* live, with several workers: readable when service() has something to do */
	bool live;                 /* a slow reader loses requests instead of holding up the run */
	uint64_t duration_ns;      /* 0: no end */
	struct clv_health *health; /* borrowed; the run gives it signs of life. May be NULL */
	void *ctx;
	/* The source's counts. */
	size_t (*figures)(void *ctx, struct clv_figure out[CLV_RUN_FIGURES]);
	/*
	 * Often, after each poll of the only worker, with CLOCK_MONOTONIC. Less than 0 ends the run with
	 * CLV_EXIT_FAILURE (it has said why); more than 0: it has something to do soon, news or not. May be NULL.
	 */
	int (*service)(void *ctx, uint64_t now_ns);
	/* For `clovisor status`: what is looked at, as a member of a JSON object, or as lines. May be NULL. */
	void (*places)(void *ctx, FILE *f, bool json);
	/* Other options are in effect. May be NULL. */
	void (*reconfigure)(void *ctx, const struct clv_options *options);
	/*
	 * Gets each span first, to emit it, as it is or changed, now or later: from the same worker, or on the main
	 * thread. May be NULL. end(): no more come, emit what waits.
	 */
	void (*span)(void *ctx, unsigned worker, struct clv_span *span, clv_span_fn emit, void *emit_ctx);
	void (*end)(void *ctx);
	/* This resource is about to go: emit the spans that wait and have it. May be NULL. */
	void (*gone)(void *ctx, uint32_t resource_id);
	/* As clv_engine_config.hint, with this ctx. May be NULL. */
	const struct clv_proto *(*hint)(void *ctx, uint32_t net, uint16_t port);
	/* Called between polls once the run ends, until it returns true: then no more packets come. May be NULL. */
	bool (*stopped)(void *ctx);
};

/*
 * From here on SIGINT and SIGTERM only set clv_run_stop (a second one ends the process at once), also when they
 * were ignored before; SIGPIPE is ignored.
 */
void clv_run_signals(void);
extern volatile sig_atomic_t clv_run_stop;
/* Readable once a signal has come. */
int clv_run_signal_fd(void);

/*
 * How many workers a run has, by its options, and warns where it has fewer than asked for. Left to itself a live run
 * has one for every CLV_WORKERS_CORES processors that this process may use, at least one, up to CLV_WORKERS_AUTO. One
 * engine takes a million requests a second, and processors are there for the pods. A file has one: so its spans always
 * come in the same order.
 */
#define CLV_WORKERS_CORES 4
#define CLV_WORKERS_AUTO  4
unsigned clv_run_workers(const struct clv_options *options, bool live);

/* Returns the exit code; says what went wrong. */
int clv_run(const struct clv_run_config *config);

#endif
