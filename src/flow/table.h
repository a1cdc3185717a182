/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow table: one entry a connection (TCP), or pair of endpoints (UDP), and place of capture, least recently used
 * first.
 *
 * Stream 0 of a flow goes from endpoint a to endpoint b. Where the side is known, a is the observed endpoint
 * (the pod, or this host), so the two ends of a loopback connection are two flows; otherwise a is the smaller.
 */
#ifndef CLV_FLOW_TABLE_H
#define CLV_FLOW_TABLE_H

#include "base/list.h"
#include "flow/stream.h"

struct clv_flow_key {
	struct clv_addr a_addr, b_addr;
	uint16_t a_port, b_port;
	uint32_t net;
	uint32_t transport; /* enum clv_transport */
};

/* What is counted of a connection; the engine's (engine/watch.h). */
struct clv_watch {
	uint64_t syn_ns, synack_ns; /* the first ones; 0: not seen */
	uint64_t bytes[2];          /* by stream: not told yet, since nobody knows who is the client */
	uint32_t retransmits[2];
	bool opened, syn_again, connected;
	bool answered; /* the server said anything but RST */
	bool over;
};

/* By lines of the cache: what every packet asks for comes first. */
struct clv_flow {
	struct clv_flow_key key;
	uint8_t blocked : 4; /* enum clv_blocked it is queued for */
	int8_t client : 4;   /* the stream that goes to the server, when a SYN told; else -1 */
	bool closed : 1;
	bool side_known : 1;
	bool last : 1;      /* the observed endpoint's FIN is all that will be seen of its end (clv_packet.last) */
	bool left_out : 1;  /* and closed: another flow tells of the same connection (engine/twin.h), */
	bool both_ends : 1; /* and this is the other */
	bool watched : 1, recorded : 1;
	bool hinted : 1;  /* packets came of which the kernel had read something: the conn knows what of the newest */
	uint16_t season;  /* of clv_flows, when it was put into its queue */
	void *conn;       /* the engine's */
	uint64_t last_ns; /* of its newest packet */

	struct clv_streams streams;
	uint64_t wait_since_ns;          /* blocked, or closed, since then */
	struct clv_kernel_ref kernel[2]; /* by stream; gen 0: none */
	struct clv_node used;            /* in clv_flows.used, .datagrams, or .closed when closed */
	struct clv_node wait;            /* in one of clv_flows.wait while blocked */

	/* Only if it is watched: else the flow ends here. */
	struct clv_node syn; /* in clv_flows.syn while its SYN waits for an answer */
	struct clv_watch watch;

	/* Only if it is recorded, too. */
	void *ledger; /* the engine's (engine/ledger.h) */
};

/* So many seasons back it is known when they were. */
#define CLV_FLOWS_SEASONS 64

/* Where a flow is found. With its hash, so that no flow is looked at but the right one. */
struct clv_flow_place {
	struct clv_flow *flow; /* NULL: free */
	uint32_t hash;
};

struct clv_flows {
	struct clv_flow_place *places;
	size_t place_count, count;
	struct clv_node used, closed; /* `used`: see `rough` */
	struct clv_node datagrams;    /* as used, of UDP */
	struct clv_node wait[2];      /* by enum clv_blocked - 1, in the order of wait_since_ns */
	struct clv_node syn;          /* in the order of their last SYN; the engine's (engine/watch.h) */
	struct clv_mem *mem;
	uint64_t seed[4];
	bool watched;  /* flows have a watch, */
	bool recorded; /* and a ledger */

	/*
	 * To move a flow to the end of its queue takes a line of each of its neighbours, which of many flows are not in
	 * the cache. So of many, `used` is in order by seasons only: a flow moves with its first packet of a season. A
	 * season's flows are put in order when the oldest is asked for.
	 */
	bool rough;
	uint16_t season;                      /* this one */
	uint16_t sorted;                      /* the flows of this one, and of those before it, are in order */
	uint64_t until_ns;                    /* this one lasts */
	uint64_t since_ns[CLV_FLOWS_SEASONS]; /* the last ones did, by their number: no packet of them came before */
};

/* From so many flows on they are many, until they are half as many. */
#define CLV_FLOWS_MANY      16384u
#define CLV_FLOWS_SEASON_NS (16ull * 1000 * 1000 * 1000)

/* Returns 0 or -ENOMEM. `mem` is borrowed for the table's life. */
int clv_flows_init(struct clv_flows *t, struct clv_mem *mem);
/* All flows must have been removed. */
void clv_flows_fini(struct clv_flows *t);

/* The key of a packet's connection, and in *dir the stream that the packet belongs to. */
struct clv_flow_key clv_flow_key_of(const struct clv_packet *p, int *dir);

/* Fetches a flow's place into the cache. Returns the key's hash. */
uint32_t clv_flows_fetch(const struct clv_flows *t, const struct clv_packet *p);
/* The same, of a flow that will be removed. */
void clv_flows_fetch_place(const struct clv_flows *t, const struct clv_flow *f);
/* The flow of a packet's connection, NULL when there is none; and the stream that the packet belongs to. */
struct clv_flow *clv_flows_seek(const struct clv_flows *t, const struct clv_packet *p, int *dir, uint32_t *hash);
struct clv_flow *clv_flows_find(const struct clv_flows *t, const struct clv_flow_key *key, uint32_t *hash);
/* A flow whose key has this hash, most likely the only one, and its place; NULL: there is none. Looks at no flow. */
struct clv_flow *clv_flows_guess(const struct clv_flows *t, uint32_t hash, uint32_t *place);
/* The same, if it is still at the place where it was. NULL: it is not, or there was none. */
static inline struct clv_flow *clv_flows_at(const struct clv_flows *t, uint32_t place, uint32_t hash)
{
	return t->places[place].hash == hash ? t->places[place].flow : NULL;
}
/* `hash` as clv_flows_find() or clv_flows_seek() gave it. NULL without memory: remove a flow and try again. */
struct clv_flow *clv_flows_add(struct clv_flows *t, const struct clv_flow_key *key, uint32_t hash);
/* What a flow takes. */
size_t clv_flows_bytes(const struct clv_flows *t);
/* Frees the flow and what waits in its streams. */
void clv_flows_remove(struct clv_flows *t, struct clv_flow *f);

/* Will the flow move with its next packet? */
static inline bool clv_flows_moves(const struct clv_flows *t, const struct clv_flow *f)
{
	return !t->rough || f->season != t->season;
}

/* Of flows that are kept in order by seasons: does this one move, now? */
bool clv_flows_move_now(struct clv_flows *t, const struct clv_flow *f, uint64_t now_ns);

/* A packet came: moves the flow to the end of the queue it is in. */
static inline void clv_flows_touch(struct clv_flows *t, struct clv_flow *f, uint64_t now_ns)
{
	f->last_ns = now_ns;
	if (f->closed)
		return;
	if (f->key.transport == CLV_TRANSPORT_UDP) {
		clv_list_touch(&t->datagrams, &f->used);
		return;
	}
	if (t->rough && !clv_flows_move_now(t, f, now_ns))
		return;
	f->season = t->season;
	clv_list_touch(&t->used, &f->used);
}

/* Of clv_flows.used the one that was quiet longest; but for `busy`, which may be NULL. NULL: there is none. */
struct clv_flow *clv_flows_oldest(struct clv_flows *t, const struct clv_flow *busy);
/* None of clv_flows.used has been quiet since before this; UINT64_MAX: there is none. The oldest's time, or earlier. */
uint64_t clv_flows_quiet_since(const struct clv_flows *t);
/* Puts all of clv_flows.used in order. */
void clv_flows_sort(struct clv_flows *t);

/* The connection is over: the flow lingers for stragglers only. */
void clv_flows_close(struct clv_flows *t, struct clv_flow *f);
/* (Re)queues the flow after its delivery state changed. `moved`: something was delivered since. */
void clv_flows_wait(struct clv_flows *t, struct clv_flow *f, enum clv_blocked blocked, bool moved, uint64_t now_ns);

/* Endpoint a (0) or b (1): stream d goes from endpoint d to endpoint !d. */
static inline struct clv_endpoint clv_flow_endpoint(const struct clv_flow *f, int which)
{
	if (which == 0)
		return (struct clv_endpoint){.addr = f->key.a_addr, .port = f->key.a_port};
	return (struct clv_endpoint){.addr = f->key.b_addr, .port = f->key.b_port};
}

#endif
