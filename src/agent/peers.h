/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names the other side of a span by the cluster's knowledge of addresses: service.peer.name and .namespace (semantic
 * conventions 1.44), clovisor.peer.* for what they have no names for. Of a request that went out the other side is its
 * server, of one that came in its client.
 *
 * A span whose peer is of the cluster but has no name yet waits for it a little: a copy of the span, in a bounded list.
 * In the end it goes out with what is known. An address that was waited for in vain is not waited for again for a
 * while.
 *
 * The engine's thread.
 */
#ifndef CLV_AGENT_PEERS_H
#define CLV_AGENT_PEERS_H

#include "agent/cluster.h"
#include "model/span.h"

/* Spans that wait at most, and bytes of them; more, and the oldest goes out. */
#define CLV_PEERS_WAITING 4096u
#define CLV_PEERS_BYTES   (4u << 20)
#define CLV_PEERS_WAIT_NS (1000ull * 1000 * 1000)
/* For so long nobody waits for an address again that did not get a name in time. */
#define CLV_PEERS_VAIN_NS (30ull * 1000 * 1000 * 1000)

struct clv_peers_config {
	const struct clv_cluster *cluster;     /* borrowed */
	const struct clv_resources *resources; /* borrowed: spans that wait get theirs at once */
	uint64_t wait_ns;                      /* 0: CLV_PEERS_WAIT_NS */
	clv_span_fn emit;                      /* in the order in which they can go out */
	void *ctx;
};

struct clv_peers;

/* Returns 0 or -ENOMEM. */
int clv_peers_new(const struct clv_peers_config *config, struct clv_peers **out);
/* What waits is lost: clv_peers_flush() before. NULL is allowed. */
void clv_peers_free(struct clv_peers *p);

/* Names its peer and emits it, now or later. Spans that leave later have the resource that they have now. */
void clv_peers_span(struct clv_peers *p, struct clv_span *span);
/* Often: lets out those whose peer is known now, or who have waited long enough (CLOCK_MONOTONIC). */
void clv_peers_tick(struct clv_peers *p, uint64_t now_ns);
/* A resource goes (clv_resources_watch()): lets out its spans, while there is time. */
void clv_peers_gone(struct clv_peers *p, uint32_t resource_id);
/* All of them, now: at the end. */
void clv_peers_flush(struct clv_peers *p);

#define CLV_PEERS_FIGURES 4
/* kube_waiting, kube_waited, ... Returns how many. */
size_t clv_peers_figures(const struct clv_peers *p, struct clv_figure out[CLV_PEERS_FIGURES]);

#endif
