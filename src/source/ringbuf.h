/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads one of the kernel's ring buffers (BPF_MAP_TYPE_RINGBUF). Its pages are mapped once, and behind the last one as
 * many of the first ones again as the longest record needs: what is mapped counts as this process's memory. One thread.
 *
 * How it is laid out (Linux: Documentation/bpf/ringbuf.rst): a page with the consumer's position, one with the
 * producer's, then the data. Positions only grow; modulo the size they are offsets. A record is a header of 8 bytes,
 * the first four of which are its length and two flags, then itself, padded to a multiple of 8.
 */
#ifndef CLV_SOURCE_RINGBUF_H
#define CLV_SOURCE_RINGBUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct clv_ringbuf {
	uint64_t *consumer;       /* told to the kernel, which takes it for the beginning of what is not read */
	const uint64_t *producer; /* told by it */
	const uint8_t *data;
	uint64_t read;   /* up to here; may be a little more than was told */
	uint64_t peeked; /* so far peek() has come */
	uint64_t end;    /* the producer's position when it was looked at last */
	uint64_t told;
	bool busy; /* peek() stopped at one that is being written */
	uint32_t bytes, longest, batch;
	size_t page, mapped_bytes; /* of the producer's page and all behind it */
};

/*
 * Maps the ring of the map `fd`, of `bytes`, none of whose records is longer than `longest`. Returns 0 or -errno. One
 * that is all zero is not open, and may be closed.
 */
int clv_ringbuf_open(struct clv_ringbuf *b, int fd, uint32_t bytes, uint32_t longest);
void clv_ringbuf_close(struct clv_ringbuf *b);

/* From now on peek() knows of what is there now. */
void clv_ringbuf_look(struct clv_ringbuf *b);

/*
 * The record behind the one that was returned last, aligned to 8 bytes, its length, and the position behind it; NULL
 * when there is none that is complete. Borrowed until that position is passed.
 */
const void *clv_ringbuf_peek(struct clv_ringbuf *b, uint32_t *bytes, uint64_t *behind);

/* What lies before this position was read. The kernel gets the room back, many records at a time. */
void clv_ringbuf_pass(struct clv_ringbuf *b, uint64_t behind);

/* No more is read for now: what was not passed will be peeked at again. */
void clv_ringbuf_done(struct clv_ringbuf *b);

/* So many bytes were written and not read. */
uint64_t clv_ringbuf_unread(const struct clv_ringbuf *b);

#endif
