/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue of events between the API's thread and the one that wants to know. Bounded in number and in bytes: while it
 * is full, the API's thread waits, and so reads nothing from the server.
 */
#ifndef CLV_KUBE_EVENTS_H
#define CLV_KUBE_EVENTS_H

#include "kube/api.h"

/* Of the objects that wait. One is always let in. */
#define CLV_KUBE_QUEUE_BYTES (4u << 20)

struct clv_kube_events;

/* Returns 0 or -errno. */
int clv_kube_events_new(struct clv_kube_events **out);
/* Frees what waits, too. NULL is allowed. Nobody waits in it any more. */
void clv_kube_events_free(struct clv_kube_events *q);

/* Takes the event's object; waits while there is no room. Returns 0, -ENOMEM, or -ECANCELED after stop(); the object is
 * freed then. The API's thread. */
int clv_kube_events_put(struct clv_kube_events *q, const struct clv_kube_event *event);
/* How often put() had to wait. Any thread. */
uint64_t clv_kube_events_stalls(struct clv_kube_events *q);
/* Whoever waits in put() comes back. Any thread. */
void clv_kube_events_stop(struct clv_kube_events *q);

/* kube/api.h's clv_kube_api_fd() and clv_kube_api_poll(). */
int clv_kube_events_fd(const struct clv_kube_events *q);
size_t clv_kube_events_poll(struct clv_kube_events *q, size_t most, void (*fn)(void *ctx, struct clv_kube_event *event),
			    void *ctx);

#endif
