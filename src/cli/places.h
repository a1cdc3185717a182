/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The places of capture of a live run: the loaded programs, what they are attached to, and how that goes. Which places
 * there should be is decided by trace.c and agent.c. Main thread; attaching itself happens on attach.c's.
 */
#ifndef CLV_CLI_PLACES_H
#define CLV_CLI_PLACES_H

#include <stdio.h>

#include "cli/options.h"
#include "cli/run.h"
#include "model/resource.h"
#include "source/attach.h"
#include "source/links.h"

/* How long a place that is gone keeps its resource, for spans that end late. */
#define CLV_PLACE_LATE_NS (5ull * 1000 * 1000 * 1000)

enum clv_place_state { CLV_PLACE_ASKED, CLV_PLACE_ATTACHED, CLV_PLACE_FAILED, CLV_PLACE_GONE };

/* A place that is looked at, or will be. */
struct clv_place {
	struct clv_attach_request request; /* its number is clv_packet.net; cgroup: the caller's, borrowed */
	enum clv_place_state state;
	enum clv_attach_mode used; /* of an attached one: TCX, CLSACT, ... */
	int error;                 /* of a failed one: -errno */
	bool pod;                  /* it belongs to a pod or container, not to this host */
	bool needed;               /* asked for by name: a run cannot do without it */
	uint64_t gone_ns;
	/* The caller's, borrowed: whose it is, for people ("shop/web-1"; NULL: nobody's), and anything else. */
	const char *label;
	void *owner;
};

struct clv_places;

struct clv_places_config {
	const struct clv_options *options; /* borrowed */
	struct clv_resources *resources;   /* borrowed: a place takes its own with it */
	struct clv_links *links;           /* borrowed */
	bool cgroups;                      /* some places may be cgroups */
	unsigned workers;                  /* who share what is captured */
	/* An interface is there, or has changed, or is gone (then its place is, too, after this call). */
	void (*link)(void *ctx, const struct clv_link *l, bool gone);
	/* A cgroup is gone, with its place. May be NULL. */
	void (*gone)(void *ctx, const struct clv_place *p);
	/* It could not be attached to. The place stays until it is removed. May be NULL. */
	void (*failed)(void *ctx, const struct clv_place *p);
	void *ctx;
};

/* Loads the programs, once for all places. Says what is wrong and returns -errno then; close() is due either way. */
int clv_places_open(const struct clv_places_config *config, struct clv_places **out);
/* Takes everything off. NULL is allowed. */
void clv_places_close(struct clv_places *ps);

/* What a worker polls. Borrowed. */
struct clv_source *clv_places_source(struct clv_places *ps, unsigned worker);
/* With several workers: readable when there may be something for clv_places_service(). Borrowed. */
int clv_places_news_fd(const struct clv_places *ps);
/*
 * There is news also when `fd` is readable: then the only worker's poll() returns early, or clv_places_news_fd() is
 * readable. Returns 0 or -errno, and says so.
 */
int clv_places_wake_on(struct clv_places *ps, int fd);

/* Begins to attach. NULL, after a line about it, when there is no memory. */
struct clv_place *clv_places_add(struct clv_places *ps, const struct clv_attach_request *request);
struct clv_place *clv_places_find(const struct clv_places *ps, uint32_t net);
/* Takes it off. The place is nobody's from now on. */
void clv_places_remove(struct clv_places *ps, struct clv_place *p);
/* Each that is not gone. */
void clv_places_each(const struct clv_places *ps, void (*fn)(void *ctx, struct clv_place *p), void *ctx);

/* After each poll: news of links and of attaching. Returns 0, or -1 when the run cannot go on (it has said why). */
int clv_places_service(struct clv_places *ps, uint64_t now_ns);
/* No place waits to be attached. */
bool clv_places_settled(const struct clv_places *ps);
/* How many are in that state. */
size_t clv_places_count(const struct clv_places *ps, enum clv_place_state state);
/*
 * From now on each place that is attached gets a line of its own. Writes the line that others wait for: "ready: ...",
 * with `waiting` where nothing is attached yet.
 */
void clv_places_ready(struct clv_places *ps, const char *waiting);

/* For clv_run_config.stopped and .figures, and the interfaces' part of clv_run_config.places. */
bool clv_places_stopped(struct clv_places *ps);
size_t clv_places_figures(struct clv_places *ps, struct clv_figure out[CLV_RUN_FIGURES]);
void clv_places_status(const struct clv_places *ps, FILE *f, bool json);

/* "tcx", "clsact", ... */
const char *clv_place_how(enum clv_attach_mode mode);

#endif
