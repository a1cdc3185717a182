/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One kind of objects, as it is followed: listed in pages, watched, resumed, listed again. One request at a time, in a
 * multi handles that all kinds share.
 *
 * The API's thread.
 */
#ifndef CLV_KUBE_STREAM_H
#define CLV_KUBE_STREAM_H

#include <stdatomic.h>

#include "kube/api.h"
#include "kube/events.h"
#include "kube/parse.h"
#include "kube/request.h"

/* Counted by streams; any thread may read. */
enum clv_kube_count {
	CLV_KUBE_COUNT_LISTS,
	CLV_KUBE_COUNT_WATCHES,
	CLV_KUBE_COUNT_EVENTS,
	CLV_KUBE_COUNT_RELISTS,
	CLV_KUBE_COUNT_ERRORS,
	CLV_KUBE_COUNT_RESUMED,
	CLV_KUBE_COUNT_SKIPPED,
	CLV_KUBE_COUNTS
};

/* What all kinds share. */
struct clv_kube_client {
	struct clv_kube_access *access;
	struct clv_kube_events *events;
	CURLM *watches;   /* they share a connection */
	CURLM *lists;     /* NULL: none is on its way */
	const char *name; /* the server's, for people */
	const char *node; /* pods of this node alone; NULL: of all */
	const char *label_selector;
	uint32_t least_ms, most_ms, patience_ms;
	uint64_t waited_ns; /* so long nobody could be heard: events had no room, or a plugin ran */
	_Atomic uint64_t count[CLV_KUBE_COUNTS];
};

enum clv_kube_health {
	CLV_KUBE_HEALTH_UNKNOWN,
	CLV_KUBE_HEALTH_WORKING,
	CLV_KUBE_HEALTH_TROUBLE,
	CLV_KUBE_HEALTH_REFUSED, /* as TROUBLE, by our credentials: until it works, failures of other kinds say less */
	CLV_KUBE_HEALTH_DENIED
};

struct clv_kube_stream {
	struct clv_kube_client *client;
	enum clv_kube_kind kind;
	struct clv_kube_request request;
	CURLM *multi; /* where that is, while it is on its way */
	enum clv_kube_health health;

	/* Where it stands. */
	bool watching;                        /* the list is told, and version says from where to watch */
	bool listing;                         /* LISTING was told */
	bool listed_once;                     /* the next list must not be an old one */
	bool unpaged;                         /* pages expired while they were told */
	char version[CLV_KUBE_VERSION_BYTES]; /* resourceVersion */
	char *next;                           /* the list's continue; NULL: its first page */

	/* The request on its way. */
	bool busy, answered, fresh;
	bool worked; /* it gave something */
	long status;
	struct clv_kube_cutter *cutter;
	uint64_t skipped;    /* by the cutter, counted so far */
	uint64_t begun_ns;   /* CLOCK_MONOTONIC */
	uint64_t heard_ns;   /* the same without the client's waited_ns */
	uint64_t generation; /* of the credentials it was made with */
	int err;             /* why the answer was not read to its end: -errno; -ESTALE: 410 */
	char why[CLV_KUBE_WHY];
	char *body; /* of an error */
	size_t body_len;

	/* The next one. */
	unsigned failures; /* in a row */
	unsigned expired;  /* lists that were begun anew in a row, with no watch that worked between */
	bool refused;      /* 401: the credentials of that generation were not taken */
	bool renewed;      /* and that has been so for others since */
	uint64_t retry_ns;
};

/* Returns 0 or -ENOMEM; fini() is due in any case. */
int clv_kube_stream_init(struct clv_kube_stream *s, struct clv_kube_client *client, enum clv_kube_kind kind);
void clv_kube_stream_fini(struct clv_kube_stream *s);

/* Begins what is due, ends what is too late. Returns when there is something of that to do again (CLOCK_MONOTONIC). */
uint64_t clv_kube_stream_tend(struct clv_kube_stream *s);
/* Is a list of it on its way? */
bool clv_kube_stream_lists(const struct clv_kube_stream *s);
/* Its request has ended, as libcurl says by CURLINFO_PRIVATE. */
void clv_kube_stream_done(struct clv_kube_stream *s, CURLcode code);

#endif
