/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets kept in memory, to be played as often as wanted: what a benchmark needs, so that no file is read while it
 * measures. One thread.
 */
#ifndef CLV_SOURCE_TAPE_H
#define CLV_SOURCE_TAPE_H

#include <stddef.h>

#include "source/source.h"

struct clv_tape;

/* Keeps up to `bytes` bytes of packets. Returns 0 or -ENOMEM. */
int clv_tape_new(size_t bytes, struct clv_tape **out);
/* NULL is allowed. */
void clv_tape_free(struct clv_tape *t);

/* Copies the packet behind those that are there. Returns 0, -ENOSPC when it does not fit any more, or -ENOMEM. */
int clv_tape_add(struct clv_tape *t, const struct clv_packet *p);

size_t clv_tape_packets(const struct clv_tape *t);
size_t clv_tape_bytes(const struct clv_tape *t);

/* Begins again with the first packet. */
void clv_tape_rewind(struct clv_tape *t);
/* Gives the next `count` packets, or those that are left, to `fn`; each of them CLV_SOURCE_AHEAD before to `ahead`, if
 * not NULL. */
void clv_tape_play(struct clv_tape *t, size_t count, clv_packet_fn fn, clv_packet_fn ahead, void *ctx);

#endif
