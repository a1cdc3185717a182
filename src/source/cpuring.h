/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads what one CPU has written for one worker (wire/record.h: struct clv_cpu_ring), as ringbuf.h does the ring buffer
 * that all CPUs share. One thread.
 */
#ifndef CLV_SOURCE_CPURING_H
#define CLV_SOURCE_CPURING_H

#include <stddef.h>
#include <stdint.h>

#include "wire/record.h"

struct clv_cpuring {
	struct clv_cpu_ring *shared;
	uint32_t bytes;  /* of its data, a power of two; CLV_CPU_RING_RECORD more are mapped */
	uint64_t read;   /* up to here; may be a little more than was told */
	uint64_t peeked; /* so far peek() has come */
	uint64_t end;    /* of what there was when it was looked at last */
	uint64_t told;
};

/* `shared` was never read from, and is mapped as long as it is. */
void clv_cpuring_open(struct clv_cpuring *c, struct clv_cpu_ring *shared, uint32_t bytes);

/* As those of ringbuf.h. One that makes no sense is returned as one of 0 bytes, and is the last that there was. */
void clv_cpuring_look(struct clv_cpuring *c);
const void *clv_cpuring_peek(struct clv_cpuring *c, uint32_t *bytes, uint64_t *behind);
void clv_cpuring_pass(struct clv_cpuring *c, uint64_t behind);
void clv_cpuring_done(struct clv_cpuring *c);
uint64_t clv_cpuring_unread(const struct clv_cpuring *c);

#endif
