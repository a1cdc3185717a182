/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The API server's word on what there is: lists in pages, then watches, resumed after anything that ends them. A thread
 * of its own with libcurl; events wait in a bounded queue, and while that is full the thread reads no more from the
 * server.
 *
 * https://kubernetes.io/docs/reference/using-api/api-concepts/ (lists, watches, bookmarks, 410 Gone).
 */
#ifndef CLV_KUBE_API_H
#define CLV_KUBE_API_H

#include <stddef.h>
#include <stdint.h>

#include "kube/access.h"
#include "kube/objects.h"
#include "model/figure.h"

/* Events that wait. */
#define CLV_KUBE_QUEUE 1024u
#define CLV_KUBE_PAGE  500u

enum clv_kube_event_type {
	CLV_KUBE_LISTING, /* all objects of that kind are about to be told again; also when that begins anew */
	CLV_KUBE_LISTED,  /* they have been: what was not told since is gone */
	CLV_KUBE_SET,     /* an object that is new, or has changed, or just is there */
	CLV_KUBE_GONE,    /* the object as it was last */
	CLV_KUBE_TROUBLE, /* this kind cannot be had now; what is known stays, the thread tries again. Once per state,
			     not per try; once more when it turns out to be our credentials */
	CLV_KUBE_DENIED,  /* RBAC does not let us (403), or the server does not know the kind (404): tried again now and
			     then, but nobody needs to wait for it */
	CLV_KUBE_WORKING, /* after TROUBLE or DENIED */
};

struct clv_kube_event {
	enum clv_kube_event_type type;
	enum clv_kube_kind kind;
	struct clv_kube_object *object; /* of SET and GONE: the receiver frees it */
	char why[CLV_KUBE_WHY];         /* of TROUBLE and DENIED: one line, with the next step */
};

struct clv_kube_api_config {
	struct clv_kube_access_config access;
	const char *node;           /* pods of this node... */
	bool all_pods;              /* ...or all pods of the cluster */
	unsigned kinds;             /* bit 1 << enum clv_kube_kind: which are followed */
	const char *label_selector; /* for pods; NULL: all */
	/* For tests: 0 is 800 ms and 30 s. What is denied is tried again after twice the latter. */
	uint32_t backoff_least_ms, backoff_most_ms;
	/* For tests, too: in this time an answer must begin; 0 is 30 s. */
	uint32_t patience_ms;
};

struct clv_kube_api;

/* Starts the thread, which connects. Strings of the config are copied. Returns 0, or -errno with `why`. */
int clv_kube_api_open(const struct clv_kube_api_config *config, struct clv_kube_api **out, char why[CLV_KUBE_WHY]);
/* Ends the thread at once, without a goodbye to the server. NULL is allowed. */
void clv_kube_api_close(struct clv_kube_api *api);

/* Readable while events wait. Borrowed. */
int clv_kube_api_fd(const struct clv_kube_api *api);
/* Delivers at most `most` waiting events on the calling thread; returns how many. */
size_t clv_kube_api_poll(struct clv_kube_api *api, size_t most, void (*fn)(void *ctx, struct clv_kube_event *event),
			 void *ctx);

/* Where it is connected to, for people: "https://10.96.0.1:443 (the pod's service account)". Any thread. Borrowed. */
const char *clv_kube_api_server(const struct clv_kube_api *api);

#define CLV_KUBE_FIGURES 8
/* kube_lists, kube_watches, kube_events, kube_errors, kube_skipped, ... Any thread. Returns how many. */
size_t clv_kube_api_figures(const struct clv_kube_api *api, struct clv_figure out[CLV_KUBE_FIGURES]);

#endif
