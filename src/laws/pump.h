/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest engine: one parser, one connection. It pays skips, keeps tails, reports holes and hunts for the
 * next message, as proto.h asks of an engine, and compares every message reported with the talk's truth.
 * Every slice it hands out ends at a guard page.
 */
#ifndef CLV_LAWS_PUMP_H
#define CLV_LAWS_PUMP_H

#include "laws/talk.h"

/* Blocks of 64 bytes to 1 MiB, by powers of two. */
#define PUMP_LOAN_SHIFT   6
#define PUMP_LOAN_CLASSES 15
#define PUMP_LOANS        (8u << 20)

struct pump_side {
	uint8_t *tail; /* unconsumed bytes: in the guarded area, so that they end where it ends */
	uint32_t tail_len;
	uint64_t base; /* stream offset of the tail's first byte */
	uint64_t debt; /* of a skip */
	bool hunting, at_packet, over;
	int message; /* the one announced and not ended; -1: none */
	bool offer;  /* the one announced is none, as pump.offered allows */
	bool alone;  /* it answers a request that was not seen */
	uint64_t body;
};

struct pump {
	struct clv_sink sink;
	const struct clv_proto *proto;
	const struct talk_sample *sample;
	const struct talk *talk;
	void *state;
	struct pump_side side[2];
	uint8_t seen[TALK_MESSAGES]; /* 1: head, 2: truncated head, 4: end */
	struct pump_loans {          /* what the parser may take: memory of its own, not the heap's */
		uint8_t *area;
		size_t used;
		unsigned count;
		void *free[PUMP_LOAN_CLASSES];
	} loans;
	enum clv_dir feeding; /* whose bytes the parser has */
	bool opened;
	unsigned wrong;   /* messages reported that are not in the talk, or not so */
	unsigned reports; /* calls of the sink */
	uint32_t most_tail;
	void (*verbose)(const char *line); /* NULL: nobody listens */
	void (*broken)(const char *what);  /* the contract is; NULL: standard error is told */
	char first_wrong[160];
	bool offered;  /* likewise, once: it need not be a message */
	bool in_doubt; /* something was lost: sizes of responses to unknown requests are not held against it */
	struct pump_guard {
		uint8_t *area;
		size_t size;
	} guard[2];
	uint64_t ids[TALK_MESSAGES];    /* as clv_msg.id */
	uint64_t bodies[TALK_MESSAGES]; /* what body() has said */
	_Alignas(16) uint8_t facts[TALK_MESSAGES][CLV_FACTS_MAX];
};

#define SEEN_HEAD 1
#define SEEN_CUT  2
#define SEEN_END  4

void pump_init(struct pump *p, const struct talk_sample *sample);
void pump_fini(struct pump *p);
/* A new connection, on which `talk` is about to be heard from the given offsets on. */
void pump_open(struct pump *p, const struct talk *talk, bool midstream, const uint32_t from[2]);
/* The next `len` bytes of a direction, one segment. */
void pump_bytes(struct pump *p, enum clv_dir dir, uint32_t len);
/* The next `len` bytes will never come. */
void pump_hole(struct pump *p, enum clv_dir dir, uint32_t len);
/* The next `len` bytes of a direction, one datagram, of which the first ones were captured. */
void pump_datagram(struct pump *p, enum clv_dir dir, uint32_t len, uint32_t captured);
void pump_fin(struct pump *p, enum clv_dir dir);

/* What probe() says to the first `len` bytes of a direction, which end at a guard page. */
enum clv_match pump_probe(struct pump *p, enum clv_dir dir, uint32_t len, enum clv_where where);
/* `len` bytes of a direction's stream, likewise; good until the next call. */
struct clv_slice pump_slice(struct pump *p, enum clv_dir dir, uint32_t from, uint32_t len);

#endif
