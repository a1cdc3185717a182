/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets that a source has read and decoded together, and where their bytes lie: what is handed from the thread that
 * reads to those that work, without a call or a copy for each packet.
 */
#ifndef CLV_SOURCE_BATCH_H
#define CLV_SOURCE_BATCH_H

#include <stdalign.h>

#include "model/packet.h"

/* Frames of a batch. */
#define CLV_BATCH_FRAMES 256
/* A room is filled so far, then the next one is taken: small, since several of them are to stay in a cache. */
#define CLV_ROOM_FILL_BYTES (128u << 10)
/* What follows is only touched where there are long frames: the longest one, begun before the end of the former. */
#define CLV_ROOM_BYTES (CLV_ROOM_FILL_BYTES + (256u << 10) + 64)

/* What was counted in a batch: by a capture file, see pcap.c. */
#define CLV_BATCH_COUNTS 11

struct clv_batch {
	unsigned frames; /* that were looked at */
	unsigned count;  /* packets that they are */
	bool moved;      /* the room was taken, and is where the next frames are looked for */
	uint64_t counts[CLV_BATCH_COUNTS];
	alignas(64) struct clv_packet packet[CLV_BATCH_FRAMES]; /* no packet in three lines of the cache */
};

#endif
