/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Chunks of spans in a directory, so that they outlive the process. A log of segment files; docs/export.md has the
 * format. What was appended is there after SIGKILL at any point; what was acknowledged is not read again. What was
 * damaged is found by its checksum, skipped and counted. Nothing is synced: a power cut may lose the last seconds.
 *
 * Memory does not grow with the spool: chunks are read when their turn comes.
 *
 * One thread at a time.
 */
#ifndef CLV_EXPORT_SPOOL_H
#define CLV_EXPORT_SPOOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

/* A segment is this part of the whole, within these bounds. */
#define CLV_SPOOL_SEGMENTS    64
#define CLV_SPOOL_SEGMENT_MIN (64u << 10)
#define CLV_SPOOL_SEGMENT_MAX (64u << 20)
/* No chunk is longer. */
#define CLV_SPOOL_CHUNK_MAX (16u << 20)

struct clv_spool;
struct clv_spool_segment;

/* A chunk that was taken: borrowed until clv_spool_ack() or clv_spool_keep(). */
struct clv_spool_ref {
	struct clv_spool_segment *segment;
	uint64_t offset;
};

struct clv_spool_figures {
	uint64_t waiting_spans;  /* appended or found, not taken */
	uint64_t found_spans;    /* left by earlier runs */
	uint64_t evicted_spans;  /* removed for want of room */
	uint64_t damaged_spans;  /* counted as waiting once, and unreadable when their turn came */
	uint64_t damaged_places; /* stretches of segments that were no records */
	uint64_t bytes;          /* on disk */
};

/*
 * Takes possession of the directory, which is made if it is not there, and finds what earlier runs left.
 * Returns 0 or -errno; -EBUSY: another process uses it.
 */
int clv_spool_open(const char *directory, uint64_t max_bytes, struct clv_spool **out);
/* What was not acknowledged stays. NULL is allowed. */
void clv_spool_close(struct clv_spool *s);

/*
 * Appends a chunk; the oldest segments go when there are max_bytes. Returns 0 or -errno (-ENOSPC: the disk is full);
 * then nothing was appended.
 */
int clv_spool_append(struct clv_spool *s, struct clv_slice chunk, uint32_t spans);
/* Whether a chunk of that size fits without removing others. */
bool clv_spool_fits(const struct clv_spool *s, size_t bytes);

/* The oldest chunk that was not taken; false: none. Borrowed until the next call. */
bool clv_spool_peek(struct clv_spool *s, struct clv_slice *chunk, uint32_t *spans);
/* Takes what clv_spool_peek() showed. */
void clv_spool_take(struct clv_spool *s, struct clv_spool_ref *ref);
/* It needs never be sent again. */
void clv_spool_ack(struct clv_spool *s, struct clv_spool_ref ref);
/* It is left for the next run. False: its segment was removed for want of room. */
bool clv_spool_keep(struct clv_spool *s, struct clv_spool_ref ref);

const struct clv_spool_figures *clv_spool_figures(const struct clv_spool *s);

#endif
