/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pairing: the requests of one connection that wait for their response, oldest first.
 *
 * First in, first out is right as long as every request and every response was seen. After a gap, and on a
 * connection joined in its middle, requests or responses may be missing from the count, and then a pair needs
 * evidence: a client that does not pipeline sends its next request when it has read the whole answer to the one
 * before, so the answer to a request, with its interim responses, begins exactly at the position which that request
 * acknowledges. A connection whose client was seen pipelining offers no such evidence any more: its pairs end there.
 * No pair is ever guessed.
 */
#ifndef CLV_TRACE_EXCHANGE_H
#define CLV_TRACE_EXCHANGE_H

#include <assert.h>
#include <string.h>

#include "base/apart.h"
#include "base/list.h"
#include "base/mem.h"
#include "engine/limits.h"
#include "model/msg.h"
#include "model/span.h"

struct clv_proto;

/* Where and when a message begins: what pairing and ids are made from. */
struct clv_mark {
	uint64_t pos;     /* stream position of the first byte; low 32 bits: its sequence number */
	uint64_t ts_ns;   /* of the packet that brought it */
	uint32_t ack_seq; /* what that packet acknowledged */
};

/* Whoever calls has made it a moment ago. */
static inline struct clv_mark clv_mark_of(const struct clv_mark *at)
{
	return (struct clv_mark){.pos = clv_apart(at->pos), .ts_ns = clv_apart(at->ts_ns), .ack_seq = at->ack_seq};
}

struct clv_exchange {
	struct clv_node node;
	struct clv_mark request;
	const struct clv_proto *proto; /* of the request; the connection may have changed it since */
	uint64_t id;                   /* as clv_msg.id */
	uint64_t raw_hash;             /* of clv_msg.raw; 0: there was none */
	uint32_t flags;                /* enum clv_span_flag */
	uint32_t head_len;
	uint64_t retransmits_before; /* of the connection, when the request began */
	uint16_t facts_size, response_facts_size;
	bool context;   /* as CLV_MSG_CONTEXT */
	bool unsure;    /* requests that nobody saw may lie before this one */
	bool tentative; /* found in the middle of something: a request only if an answer confirms it */
	bool open[2];   /* by enum clv_dir: that message was begun and has not ended */
	bool oneway;    /* as CLV_MSG_ONEWAY */
	bool cancelled; /* as clv_end.cancelled */
	bool quiet;     /* as CLV_MSG_QUIET, until its answer says that it failed */
	bool lingers;   /* as clv_end.lingers */
	bool counted;   /* an event told of its beginning: one will tell of its end */

	/* Zero when it begins, */
	struct clv_mark response; /* ts_ns 0: none yet */
	uint64_t request_end_ns;  /* 0: not ended */
	uint64_t response_end_ns;
	uint64_t response_seen_ns; /* newest byte of an unfinished response */
	uint64_t request_body_bytes, response_body_bytes;
	uint8_t *kept;        /* fields of the response that were asked for (fields.h); NULL: none */
	uint8_t *answer;      /* of the response, as its parser asked (clv_msg.keep); NULL: nothing */
	uint32_t kept_len;    /* of kept */
	uint32_t answer_len;  /* of answer */
	uint32_t asked_again; /* a datagram: how often it was sent again */
	uint32_t room;        /* bytes that it takes, once it is known how many */
	_Alignas(8) uint8_t response_facts[CLV_FACTS_MAX];

	/* and not set before they are asked for. */
	struct clv_exchange *below[2]; /* of pairs by id, where there is a tree of them */
	struct clv_slice method;       /* as clv_msg.method; of one that is counted */
	_Alignas(8) uint8_t data[];    /* the request's facts, then its head */
};

struct clv_exchanges {
	struct clv_node pending;      /* by order of requests; the answered but unfinished are in it, too */
	struct clv_exchange *by_ids;  /* the same of pairs by id, as a tree, if there is one */
	struct clv_exchange *touched; /* the one of them that was asked for last; NULL: none */
	uint32_t count;
	uint32_t bytes;    /* of their facts and heads */
	uint32_t heard;    /* when requests were lost: what the client had acknowledged, as a sequence number */
	uint32_t begun_at; /* of what `begun` is about: its sequence number */
	bool by_id : 1;
	bool tree : 1;      /* by_ids is one */
	bool unsure : 1;    /* the next request may have unseen ones before it */
	bool pipelined : 1; /* the client was seen sending before it had its answer */
	bool any : 1;       /* a request was seen before */
	bool lost : 1;      /* requests were missed since the last one */
	bool begun : 1;     /* of the answer that comes next interim responses were seen */
};

/*
 * Where exchanges are allocated. The last ones that were freed are kept, since the next ones are mostly as long: few
 * and short, and under the budget as before.
 */
struct clv_exchange_pool {
	struct clv_mem *mem;
	struct clv_exchange *spare; /* linked by node.next; NULL: none */
	uint32_t spares;
};

#define CLV_EXCHANGE_SPARES 8

static inline struct clv_exchange_pool clv_exchange_pool(struct clv_mem *mem)
{
	return (struct clv_exchange_pool){.mem = mem};
}

/* Gives back what is kept. */
void clv_exchange_pool_trim(struct clv_exchange_pool *pool);

void clv_exchanges_init(struct clv_exchanges *xs, bool by_id, bool midstream);
/* From now on pairs are made by id, or not; what waits already stays. */
void clv_exchanges_go_by_id(struct clv_exchanges *xs, bool by_id);

/* Are there as many, or as long ones, that this request cannot be kept as well? */
static inline bool clv_exchanges_full(const struct clv_exchanges *xs, const struct clv_msg *msg)
{
	return xs->count >= CLV_PENDING_MAX || msg->facts_size + msg->head.len > CLV_PENDING_BYTES - xs->bytes;
}

/*
 * A request's head: copies what must outlive the packet. NULL without memory, or when full; then
 * clv_exchanges_lost_requests() must follow.
 */
struct clv_exchange *clv_exchanges_request(struct clv_exchanges *xs, struct clv_exchange_pool *pool,
					   const struct clv_msg *msg, const struct clv_mark *at);

/*
 * The request that a response beginning at `at` answers; NULL: an orphan. Does not change the list: requests
 * before the one returned are now known to stay unanswered, and the caller takes them out.
 */
struct clv_exchange *clv_exchanges_match_any(struct clv_exchanges *xs, const struct clv_msg *msg,
					     const struct clv_mark *at);
static inline struct clv_exchange *clv_exchanges_match(struct clv_exchanges *xs, const struct clv_msg *msg,
						       const struct clv_mark *at);

/* By clv_msg.id, whether answered or not; NULL when there is none. Of pairs by id only. */
struct clv_exchange *clv_exchanges_seek(struct clv_exchanges *xs, uint64_t id);

/* The same, and mostly it is the one that was asked for last. */
static inline struct clv_exchange *clv_exchanges_find(struct clv_exchanges *xs, uint64_t id)
{
	struct clv_exchange *x = xs->touched;

	return x && x->id == id ? x : clv_exchanges_seek(xs, id);
}

/* Facts, CLV_FACTS_MAX bytes at most, by words, without a call; the last ones where they fit, maybe once more. */
static inline void clv_facts_copy(uint8_t *to, const void *facts, uint16_t size)
{
	const uint8_t *from = facts;

	_Static_assert(CLV_FACTS_MAX <= 64, "four words reach all of them");
	if (size < 16) {
		if (size)
			memcpy(to, from, size);
		return;
	}
	memcpy(to, from, 16);
	if (size > 32)
		memcpy(to + 16, from + 16, 16);
	if (size > 48)
		memcpy(to + 32, from + 32, 16);
	memcpy(to + size - 16, from + size - 16, 16);
}

/* Notes the response on the exchange. */
static inline void clv_exchange_answer(struct clv_exchange *x, const struct clv_msg *msg, const struct clv_mark *at)
{
	assert(msg->facts_size <= sizeof(x->response_facts));
	x->response = clv_mark_of(at);
	x->response_seen_ns = at->ts_ns;
	x->unsure = x->tentative = false;
	x->open[CLV_TO_CLIENT] = true;
	x->response_facts_size = msg->facts_size;
	clv_facts_copy(x->response_facts, msg->facts, msg->facts_size);
	if (msg->flags & CLV_MSG_MIDSTREAM)
		x->flags |= CLV_SPAN_MIDSTREAM;
	if (msg->flags & CLV_MSG_TRUNCATED)
		x->flags |= CLV_SPAN_TRUNCATED;
}

/* Keeps `keep` of the response in place of what was kept before; without memory what was kept stays. */
void clv_exchange_keep(struct clv_exchange *x, struct clv_mem *mem, struct clv_slice keep);
/* Facts that came later take the place of the head's, if they have their size. */
void clv_exchange_update(struct clv_exchange *x, enum clv_dir dir, const void *facts, uint16_t size);
/* What a message's end says of its exchange. */
static inline void clv_exchange_amend(struct clv_exchange *x, enum clv_dir dir, const struct clv_end *end)
{
	x->cancelled |= end->cancelled;
	x->quiet &= !end->failed;
	if (end->facts)
		clv_exchange_update(x, dir, end->facts, end->facts_size);
}

/*
 * Requests were missed, while the server had been heard up to sequence number `heard`. The next request needs
 * evidence for its answer; if it acknowledges no more than that, its client sent it without waiting.
 */
void clv_exchanges_lost_requests(struct clv_exchanges *xs, uint32_t heard);

/* Answers were missed, to requests that the caller has taken out. The next request needs evidence. */
void clv_exchanges_lost_answers(struct clv_exchanges *xs);

/* The same, to requests that are still there: each of them needs evidence. */
void clv_exchanges_doubt(struct clv_exchanges *xs);

/* Takes the exchange out of the list; it stays the caller's until freed. */
void clv_exchanges_take(struct clv_exchanges *xs, struct clv_exchange *x);
void clv_exchange_free(struct clv_exchange_pool *pool, struct clv_exchange *x);

static inline struct clv_exchange *clv_exchanges_first(const struct clv_exchanges *xs)
{
	return clv_list_first(&xs->pending, struct clv_exchange, node);
}

/* The one behind x, or NULL. */
static inline struct clv_exchange *clv_exchanges_next(const struct clv_exchanges *xs, const struct clv_exchange *x)
{
	return x->node.next == &xs->pending ? NULL : clv_list_entry(x->node.next, struct clv_exchange, node);
}

/*
 * Could a response beginning at `at` answer x at all? Not if the client had read past it before it asked, nor if
 * the server had not got as far as x. (That the server acknowledges x itself is usual but not needed: it may
 * answer in the very moment that x arrives.)
 */
static inline bool clv_exchange_possible(const struct clv_exchange *x, const struct clv_mark *at)
{
	return (int32_t)((uint32_t)at->pos - x->request.ack_seq) >= 0 &&
	       (int32_t)(at->ack_seq - (uint32_t)x->request.pos) >= 0;
}

static inline struct clv_exchange *clv_exchanges_match(struct clv_exchanges *xs, const struct clv_msg *msg,
						       const struct clv_mark *at)
{
	struct clv_exchange *x = clv_exchanges_first(xs);

	/* Nearly always it is the first one's, of which nothing is to be doubted. */
	if (xs->by_id || xs->begun || msg->role != CLV_RESPONSE || !x || x->response.ts_ns || x->oneway || x->unsure)
		return clv_exchanges_match_any(xs, msg, at);
	xs->begun_at = (uint32_t)at->pos;
	return clv_exchange_possible(x, at) ? x : NULL;
}

static inline const void *clv_exchange_facts(const struct clv_exchange *x)
{
	return x->data;
}

static inline struct clv_slice clv_exchange_head(const struct clv_exchange *x)
{
	return clv_slice(x->data + x->facts_size, x->head_len);
}

#endif
