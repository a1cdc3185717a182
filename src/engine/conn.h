/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection above TCP: what protocol it speaks, what its parser still needs, and its open exchanges.
 * Internal to the engine: between flow/ (delivered bytes), proto/ (parsers) and trace/ (pairs, spans).
 */
#ifndef CLV_ENGINE_CONN_H
#define CLV_ENGINE_CONN_H

#include "engine/engine.h"
#include "engine/tail.h"
#include "flow/table.h"
#include "trace/exchange.h"

/* One direction, by stream index. How far it is skipped is in its stream (clv_stream.credit). */
struct clv_half {
	struct clv_tail *tail;     /* NULL when empty */
	struct clv_exchange *open; /* whose message of this direction is unfinished */
	uint64_t body_bytes;       /* skipped since the last head */
	uint64_t newest_ns;        /* of all bytes delivered */
	uint64_t told_until;       /* the window that the kernel was told suffices up to here; 0: it was told nothing */
	uint32_t need;             /* no use calling the parser with less */
	uint16_t unread;           /* what it has said since it was deaf */
	bool skipping : 1;         /* a skip was asked for and its end not yet announced to the parser */
	bool hunting : 1;          /* after a gap: the next message must be found first */
	bool junk : 1;             /* and bytes of something else were stepped over */
	bool framed : 1;           /* carries bodies that come in frames: what they say must be read */
	bool seek : 1;             /* carries long bodies: the kernel may read their lengths */
	bool sought : 1;           /* it did so for the body now being skipped */
	bool mismatched : 1;       /* and was wrong once: no more of that */
	bool deaf : 1;             /* began as nothing that is known: the other direction may tell more */
	bool long_frames : 1;      /* carries frames so long that the kernel should walk over them */
	bool walked : 1;           /* it does, or did when it took the newest packet */
};

/* What the kernel leaves out of long bodies, by stream. Positions; 0: none. */
struct clv_skipped {
	struct {
		uint64_t skip_end;  /* it was told to skip up to here */
		uint64_t walk_from; /* and that frames begin here */
		uint64_t walked_to; /* and what lies before this may have been walked over */
	} of[2];
};

enum clv_conn_phase {
	CLV_CONN_DETECTING, /* from the stream's first bytes */
	CLV_CONN_PROBING,   /* joined midstream: from the first bytes of any packet */
	CLV_CONN_SPEAKING,
	CLV_CONN_OPAQUE, /* nothing for us, or no longer */
};

/* A parser's state that is no longer stands in the conn itself. */
#define CLV_CONN_ROOM 32

/* By lines of the cache, of which it takes four. */
struct clv_conn {
	struct clv_engine *engine;
	struct clv_flow *flow;
	const struct clv_proto *proto; /* once SPEAKING */
	void *state;                   /* the parser's, proto->state_size bytes */
	uint64_t retransmits;
	struct clv_skipped *skipped; /* NULL: nothing was, and nobody was told to */
	uint8_t phase;               /* enum clv_conn_phase */
	int8_t client;               /* stream that goes to the server; -1: not known */
	bool packet_sought;          /* of the packet being worked on */
	bool datagram;               /* UDP */
	bool tentative;  /* requests since the last gap may be quotations in a body, until an answer confirms one */
	bool likely : 1; /* what it speaks is a guess that no exchange has confirmed */
	bool midstream : 1;
	bool heavy : 1; /* has long bodies or frames: with each packet the kernel may have to be told something */
	uint8_t withdrawals;
	uint8_t probes; /* packets probed in vain */

	struct clv_exchanges exchanges;
	const struct clv_proto *refused; /* was taken for it, and is not */

	struct clv_half half[2];
	_Alignas(16) uint8_t room[CLV_CONN_ROOM];
};

_Static_assert(sizeof(struct clv_conn) <= 256, "a class of its own beyond this");

/* error.type of a request whose connection ended under it. */
#define CLV_ERROR_CLOSED "connection_closed"
#define CLV_ERROR_RESET  "connection_reset"

/* NULL without memory. `client`: -1 when no SYN told. A flow of datagrams has no start: midstream is false. */
struct clv_conn *clv_conn_new(struct clv_engine *e, struct clv_flow *f, int client, bool midstream);
/* Frees everything; pending exchanges must have been finished. NULL is allowed. */
void clv_conn_free(struct clv_conn *c);

/* Frees everything, pending exchanges as well, without reporting them. NULL is allowed. */
void clv_conn_abandon(struct clv_conn *c);

/* A datagram of direction d, and what became of its flow: true when nothing is expected any more. */
bool clv_conn_datagram(struct clv_conn *c, int d, const struct clv_packet *p);

/* What streams of flows deliver, whose conn may be NULL. */
void clv_conn_data(struct clv_streams *st, int d, const struct clv_run *run);
void clv_conn_hole(struct clv_streams *st, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time);
void clv_conn_fin(struct clv_streams *st, int d, uint64_t ts_ns);
/* As clv_conn_data(), of a packet that stands at position `pos` and was delivered whole. */
void clv_conn_packet(struct clv_conn *c, int d, const struct clv_packet *p, uint64_t pos);

/* As clv_engine_open(), of this connection. */
size_t clv_conn_open(struct clv_conn *c, uint64_t now_ns, uint64_t least_ns, size_t most, clv_span_fn fn, void *ctx);

/*
 * The connection is over, or no longer followed: reports every exchange still open. `error` as in struct
 * clv_report.
 */
void clv_conn_finish(struct clv_conn *c, const char *error, uint64_t ts_ns);

/* steer.c. Tells the kernel what direction d needs from now on, where it differs from what was said last. */
void clv_conn_steer(struct clv_conn *c, int d);
/* The kernel is to walk over no more frames of direction d: nobody knows where they are. */
void clv_conn_stop_walk(struct clv_conn *c, int d);
/* What the kernel was told of direction d no longer holds. */
void clv_conn_retell(struct clv_conn *c, int d);
/* A packet of direction d, which ends at position `end`, was walked over in part, or its neighbours. */
void clv_conn_walked(struct clv_conn *c, int d, uint64_t end);

/* Behind a usual packet of direction d: may there be anything to tell the kernel? */
static inline bool clv_conn_steers(const struct clv_conn *c, int d)
{
	return c->heavy || c->phase != CLV_CONN_SPEAKING || c->half[d].told_until < c->flow->streams.s[d].next;
}

/* What of direction d is still to be skipped, behind what was delivered. */
static inline uint64_t clv_conn_debt(const struct clv_conn *c, int d)
{
	const struct clv_stream *s = &c->flow->streams.s[d];

	return s->credit > s->next ? s->credit - s->next : 0;
}

#endif
