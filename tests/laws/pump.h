/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The smallest engine: one parser, one connection. It pays skips, keeps tails, reports holes and hunts for the
 * next message, as proto.h asks of an engine, and compares every message reported with the talk's truth.
 * Every slice it hands out ends at a guard page.
 */
#ifndef CLV_TESTS_LAWS_PUMP_H
#define CLV_TESTS_LAWS_PUMP_H

#include "talk.h"

struct pump_side {
	uint8_t *tail; /* unconsumed bytes: in the guarded area, so that they end where it ends */
	uint32_t tail_len;
	uint64_t base; /* stream offset of the tail's first byte */
	uint64_t debt; /* of a skip */
	bool hunting, at_packet, over;
	int message; /* the one announced and not ended; -1: none */
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
	unsigned wrong;              /* messages reported that are not in the talk, or not so */
	unsigned reports;            /* calls of the sink */
	uint32_t most_tail;
	bool verbose;
	bool in_doubt; /* something was lost: sizes of responses to unknown requests are not held against it */
	struct pump_guard {
		uint8_t *area;
		size_t size;
	} guard[2];
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
void pump_fin(struct pump *p, enum clv_dir dir);

#endif
