/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A worker's records in the order of their times: those of each CPU (cpuring.h), and those of the ring buffer that CPUs
 * share (ringbuf.h). One thread.
 *
 * What was written until a moment is read, and nothing later. So whatever was caused by a packet comes behind it: a
 * packet's record is there before the packet goes on its way, and no answer's is older than that.
 */
#ifndef CLV_SOURCE_MERGE_H
#define CLV_SOURCE_MERGE_H

#include <stdbool.h>
#include <stdint.h>

#include "source/cpuring.h"
#include "source/ringbuf.h"
#include "wire/record.h"

/* So many records are known at once. */
#define CLV_MERGE_LINE 16

struct clv_merged {
	const struct clv_rec *rec;
	uint32_t bytes;  /* that may be looked at */
	uint32_t source; /* 0: the ring buffer; otherwise 1 + CPU */
	uint64_t behind; /* position in there */
	uint64_t ts_ns;
};

struct clv_merge {
	struct clv_ringbuf ring;
	struct clv_cpuring *cpu;
	uint32_t cpus;
	uint64_t until_ns;
	uint64_t ring_ns;        /* the newest of the ring buffer's that was peeked at */
	uint32_t heads;          /* of sources that have something */
	struct clv_merged *head; /* a heap: the oldest first */
	uint32_t first, count;   /* of the line */
	struct clv_merged line[CLV_MERGE_LINE];
};

/* Nothing is open yet but the ring buffer. `cpus` of `stride` bytes each lie one behind the other. 0 or -ENOMEM. */
int clv_merge_open(struct clv_merge *m, struct clv_cpu_ring *rings, uint32_t cpus, size_t stride, uint32_t bytes);
void clv_merge_close(struct clv_merge *m);

/* A round begins: of what is there now, all up to `until_ns` (CLOCK_MONOTONIC, not in the future) is merged. */
void clv_merge_begin(struct clv_merge *m, uint64_t until_ns);

/* The i-th of the records that come next, of CLV_MERGE_LINE; NULL: so many are not left. Borrowed until it is passed.
 */
const struct clv_merged *clv_merge_at(struct clv_merge *m, uint32_t i);

/* The first of them is done with. */
void clv_merge_pass(struct clv_merge *m);

/* The round is over: what was not passed comes in the next. */
void clv_merge_end(struct clv_merge *m);

/* So many bytes were written and not read. */
uint64_t clv_merge_unread(const struct clv_merge *m);

#endif
