/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine: packets in, spans out. Everything between (flows, reassembly, detection, parsing, pairing)
 * happens in the call that brings the packet. It reads no clock, no file and no socket: its time is the
 * packets' time, so the same packets always give the same spans.
 *
 * One engine belongs to one thread and shares nothing; several may run side by side.
 */
#ifndef CLV_ENGINE_ENGINE_H
#define CLV_ENGINE_ENGINE_H

#include "proto/proto.h"
#include "model/event.h"
#include "model/flow_record.h"
#include "model/packet.h"
#include "model/span.h"
#include "trace/report.h"

struct clv_engine;

/* --port PORT[:PROTO]: with any rule, only server ports named by one are looked at. */
struct clv_port_rule {
	uint16_t port;
	const struct clv_proto *proto; /* NULL: the bytes decide */
};

/*
 * --egress ADDR[/LEN]:PORT[:POD-PREFIX][=record|ignore]: the first rule that matches says whether a request going out
 * is traced. Those that none matches are, unless some rule records.
 */
struct clv_egress_rule {
	struct clv_addr addr;
	uint8_t prefix_bits;  /* of 128; 0: any address */
	uint16_t port;        /* 0: any */
	struct clv_slice pod; /* only from pods whose name begins so; empty: from anywhere */
	bool ignore;
};

struct clv_engine_config {
	size_t memory_bytes; /* 0: CLV_MEMORY_BYTES */
	const struct clv_port_rule *ports;
	size_t port_count;
	const struct clv_egress_rule *egress;
	size_t egress_count;
	/* Is that place of capture a pod's whose name begins so? NULL: none is. */
	bool (*pod_named)(void *ctx, uint32_t net, struct clv_slice prefix);
	void *pod_ctx;
	/*
	 * What a server port of what is captured there is said to speak, or NULL: counts as one of the protocol's usual
	 * ports. May itself be NULL.
	 */
	const struct clv_proto *(*hint)(void *ctx, uint32_t net, uint16_t port);
	void *hint_ctx;
	struct clv_head_rules rules; /* what it points to must stay until other rules take its place */
	clv_span_fn on_span;
	void *span_ctx;
	clv_event_fn on_event; /* NULL: nobody counts, and it costs nothing */
	void *event_ctx;
	clv_flow_fn on_flow; /* a connection has ended; NULL: nobody wants records, and it costs nothing */
	void *flow_ctx;
	/* NULL: nobody to tell */
	void (*verdict)(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v);
	void *verdict_ctx;
};

/* X(name, drop, text), as CLV_KSTATS. */
#define CLV_ENGINE_STATS(X)                                                                      \
	X(flows, 0, "connections seen, and flows of datagrams")                                  \
	X(spans, 0, "spans")                                                                     \
	X(flow_records, 0, "connection records")                                                 \
	X(requests, 0, "request heads parsed")                                                   \
	X(responses, 0, "response heads parsed")                                                 \
	X(withdrawn, 0, "connections taken for a protocol that they turned out not to speak")    \
	X(both_ends, 0, "connections within a cgroup, left out at the client's end")             \
	X(opaque_flows, 0, "connections of no known protocol")                                   \
	X(retransmits, 0, "segments whose payload had been seen before")                         \
	X(skipped_bytes, 0, "body bytes not read")                                               \
	X(drop_gaps, 1, "holes in a stream where a parser needed the bytes")                     \
	X(drop_gap_bytes, 1, "bytes of those holes")                                             \
	X(drop_orphan_responses, 1, "responses whose request was not seen")                      \
	X(drop_unconfirmed, 1, "what looked like requests, was in doubt, and never answered")    \
	X(drop_parse_errors, 1, "places where a stream broke its protocol")                      \
	X(drop_pending_overflow, 1, "requests beyond the bound of unanswered ones")              \
	X(drop_memory, 1, "connections and heads given up to stay within the memory budget")     \
	X(drop_sought_mismatch, 1, "bodies skipped by the kernel that the parser saw otherwise") \
	X(drop_headers, 1, "values of captured header fields beyond their bounds")               \
	X(redacted_whole, 0, "values hidden as a whole, since a --redact pattern costs too much on them")

struct clv_engine_stats {
#define X(name, drop, text) uint64_t name;
	CLV_ENGINE_STATS(X)
#undef X
};

/* Returns 0 and the engine in *out, or -ENOMEM. The config's arrays must outlive the engine. */
int clv_engine_new(const struct clv_engine_config *config, struct clv_engine **out);
/* Ends without reporting what is pending: call clv_engine_flush() first. NULL is allowed. */
void clv_engine_free(struct clv_engine *e);

/*
 * Other rules, between two packets: spans reported from here on follow them. What the old ones pointed to is not used
 * any more.
 */
void clv_engine_set_rules(struct clv_engine *e, const struct clv_head_rules *rules);

/*
 * A packet that will come some eight packets from now: what it needs is fetched into the processor's cache meanwhile. A
 * hint; of the packet only the endpoints, the net, the side and the transport matter.
 */
void clv_engine_expect(struct clv_engine *e, const struct clv_packet *p);
/* Is that of use: are there so many flows that they do not stay in the cache? */
bool clv_engine_wants_ahead(const struct clv_engine *e);

/* One packet. Spans that end with it are reported before it returns. */
void clv_engine_packet(struct clv_engine *e, const struct clv_packet *p);
/*
 * No packet before `now_ns` (Unix time) will come any more. Only makes reports earlier: the spans of a run
 * are the same with and without ticks.
 */
void clv_engine_tick(struct clv_engine *e, uint64_t now_ns);
/* Is something held back that time alone will release, at most CLV_GAP_UNACKED_NS from now? */
bool clv_engine_waits(const struct clv_engine *e);
/*
 * Requests that have been open for `least_ns` at `now_ns` (Unix time): calls `fn` with each as it stands, ended now, at
 * most `most` times; the span is lent for the call. Returns how many there are. Between packets.
 */
size_t clv_engine_open(struct clv_engine *e, uint64_t now_ns, uint64_t least_ns, size_t most, clv_span_fn fn,
		       void *ctx);
/* The capture ended: reports every request still open. */
void clv_engine_flush(struct clv_engine *e);

const struct clv_engine_stats *clv_engine_stats(const struct clv_engine *e);
/* Connections that are followed now. */
size_t clv_engine_flows(const struct clv_engine *e);
/* Bytes in use, peak, and system allocations so far (law 4 watches the last). Each pointer may be NULL. */
void clv_engine_memory(const struct clv_engine *e, size_t *used_bytes, size_t *peak_bytes, uint64_t *fresh);

#endif
