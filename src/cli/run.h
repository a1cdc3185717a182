/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The run that trace and read share: source -> [capture file] -> engine -> filter -> output, until the source
 * ends, a signal comes, the limit or the time is reached, or nobody reads the output any more.
 */
#ifndef CLV_CLI_RUN_H
#define CLV_CLI_RUN_H

#include <signal.h>

#include "cli/options.h"
#include "model/figure.h"
#include "source/source.h"

#define CLV_RUN_FIGURES 48

struct clv_run_config {
	const struct clv_options *line;    /* the command line, for reloads of the file that it names */
	const struct clv_options *options; /* in effect when the run begins */
	struct clv_resources *resources;   /* borrowed; the owner changes them between polls only */
	struct clv_source *source;         /* borrowed */
	bool live;                         /* a slow reader loses requests instead of holding up the run */
	uint64_t duration_ns;              /* 0: no end */
	void *ctx;
	/* The source's counts. */
	size_t (*figures)(void *ctx, struct clv_figure out[CLV_RUN_FIGURES]);
	/* After each poll; anything but 0 ends the run with CLV_EXIT_FAILURE (it has said why). May be NULL. */
	int (*service)(void *ctx);
	/* Other options are in effect. May be NULL. */
	void (*reconfigure)(void *ctx, const struct clv_options *options);
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

/* Returns the exit code; says what went wrong. */
int clv_run(const struct clv_run_config *config);

#endif
