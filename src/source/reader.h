/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's part of the live source: its ring buffer read into packets, its verdicts. ring.h is what others see. */
#ifndef CLV_SOURCE_READER_H
#define CLV_SOURCE_READER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "source/merge.h"
#include "source/sides.h"
#include "source/source.h"
#include "wire/record.h"

/* What all workers share. It is ring.c's, and does not change while they run, but for what says so. */
struct clv_kernel {
	volatile struct clv_shared *shared; /* a clv_wake belongs to its worker */
	struct clv_ctl *ctl;                /* a slot's words belong to the worker that has its flow */
	const struct clv_counts *counts;    /* NULL: nobody asked */
	struct clv_cpu_ring *cpu_rings;     /* by worker and CPU; a CPU's belongs to its worker */
	size_t cpu_ring_stride;             /* from one to the next; 0: there are none */
	uint32_t cpus, cpu_ring_bytes;
	uint32_t slots;
	uint64_t unix_offset_ns; /* CLOCK_MONOTONIC to Unix time */
	struct clv_sides sides;

	struct clv_shape *shapes; /* CLV_SHAPES of them, the first not used; from shape_count on all are free */
	_Atomic uint8_t shape_count;
	pthread_mutex_t shapes_lock; /* who adds one */
};

/* Its fields are its thread's; on cache lines of its own. */
struct clv_reader {
	struct clv_source source;
	struct clv_kernel *kernel;
	volatile struct clv_wake *wake;
	struct clv_merge merge;
	uint64_t settled_ns;          /* CLOCK_MONOTONIC before the last complete drain */
	_Atomic uint64_t bad_records; /* any thread may read it */
	int epoll_fd, ring_fd;
	unsigned idle_drains;
	uint64_t began_ns;    /* the last drain, CLOCK_MONOTONIC, */
	uint64_t apart_ns;    /* so long after the one before */
	uint64_t bytes;       /* that it read */
	uint32_t drain_bytes; /* a drain is to read no more, if a shorter time between two can help it */
	uint32_t wake_bytes;  /* in the ring buffer, and its reader is woken */
	uint32_t keep_bytes;  /* and the CPUs' rings are full: so much may stay while it is held */
	bool asked;           /* for a wake-up, and every record since would bring it */
	bool cut;             /* the last drain left something */
	bool held;            /* what can stay in the ring does */

	/* the drain that is running */
	clv_packet_fn fn;
	void *ctx;
	uint32_t delivered;
	uint32_t ahead;       /* records that were told of and not delivered yet */
	uint32_t leave_bytes; /* it ends when no more than these are left; 0: when nothing is */
} __attribute__((aligned(64)));

/*
 * `fd`: the worker's ring buffer, of `ring_bytes`, whose reader the kernel wakes at `wake_bytes`; it stays the
 * caller's. Returns 0 or -errno; then, as one that is all zero but for epoll_fd = -1, it may be closed.
 */
int clv_reader_open(struct clv_reader *r, struct clv_kernel *kernel, uint32_t worker, int fd, uint32_t ring_bytes,
		    uint32_t wake_bytes);
void clv_reader_close(struct clv_reader *r);

/* clv_ring_wake_on(). */
int clv_reader_wake_on(struct clv_reader *r, int fd);

#endif
