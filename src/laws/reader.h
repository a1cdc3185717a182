/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bpf/ makes of a connection for a reader that comes when it comes: records wait, windows are overrun, verdicts
 * are late, and a record finds no room. A model of bpf/capture.bpf.c as far as user space can tell: the same rules for
 * what is left out and how that is reported, in sizes that short talks fill.
 */
#ifndef CLV_LAWS_READER_H
#define CLV_LAWS_READER_H

#include "engine/engine.h"

#define READER_RECORDS 512

struct reader_dir {
	uint32_t unsent_from, unsent_to; /* left out, not reported yet */
	uint64_t left_ns;                /* when the last byte of that passed */
	uint32_t window_end, skip_end;
	uint32_t read_to; /* user space has had what lies before this */
	bool skipping, beyond, ignored, probed;
};

struct reader {
	struct clv_engine *engine;
	uint32_t window_bytes; /* of a direction, as far as user space wants so many */
	unsigned room;         /* records that find room, at most READER_RECORDS */
	unsigned lost;         /* those that did not */
	struct reader_dir dir[2];
	int talker;
	bool left_now; /* the packet being worked on is the last one that was left out of */
	unsigned count;
	struct clv_packet record[READER_RECORDS];
};

/* `rng` is the caller's, as the engine is. */
void reader_init(struct reader *r, struct clv_engine *e, uint64_t *rng);
/* A packet of direction `dir` passes; its payload stays where it is until it is read. */
void reader_packet(struct reader *r, int dir, const struct clv_packet *p);
/* Gives what waits to the engine. */
void reader_read(struct reader *r);
/* clv_engine_config.verdict; ctx is the reader. */
void reader_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v);

#endif
