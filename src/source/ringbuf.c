/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the mappings of one ring buffer and how far it was read. Never waits, never looks into a record. On the thread
 * of its reader.
 *
 * The kernel, on other CPUs, writes a record's length last and the producer's position before: so both are loaded with
 * acquire. The consumer's position is stored with release, when all before it has been looked at.
 */
#include "source/ringbuf.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/bpf.h>

#define HEADER BPF_RINGBUF_HDR_SZ
/*
 * Each packet's program reads the consumer's position, on its own CPU: so it changes once in so many bytes, and in a
 * small ring in a sixteenth of them.
 */
#define BATCH_BYTES (64u << 10)

static size_t round_up(size_t v, size_t to)
{
	return (v + to - 1) / to * to;
}

int clv_ringbuf_open(struct clv_ringbuf *b, int fd, uint32_t bytes, uint32_t longest)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), again = round_up((size_t)longest + HEADER, page);
	size_t mapped = page + bytes + (again < bytes ? again : bytes);
	void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (consumer == MAP_FAILED)
		return -errno;
	void *rest = mmap(NULL, mapped, PROT_READ, MAP_SHARED, fd, (off_t)page);

	if (rest == MAP_FAILED) {
		int err = -errno;

		munmap(consumer, page);
		return err;
	}
	*b = (struct clv_ringbuf){
		.consumer = consumer,
		.producer = rest,
		.data = (const uint8_t *)rest + page,
		.bytes = bytes,
		.longest = longest,
		.batch = bytes / 16 < BATCH_BYTES ? bytes / 16 : BATCH_BYTES,
		.page = page,
		.mapped_bytes = mapped,
	};
	b->read = b->peeked = b->end = b->told = *b->consumer;
	return 0;
}

void clv_ringbuf_close(struct clv_ringbuf *b)
{
	if (!b->consumer)
		return;
	munmap(b->consumer, b->page);
	munmap((void *)(uintptr_t)b->producer, b->mapped_bytes);
	b->consumer = NULL;
}

static void tell(struct clv_ringbuf *b)
{
	__atomic_store_n(b->consumer, b->read, __ATOMIC_RELEASE);
	b->told = b->read;
}

/* The record at `pos`, and in *next the position behind it. NULL: it is not complete, or, with *next, is none. */
static const void *record_at(const struct clv_ringbuf *b, uint64_t pos, uint64_t *next, uint32_t *bytes)
{
	const uint8_t *at = b->data + (pos & (b->bytes - 1));
	uint32_t header = __atomic_load_n((const uint32_t *)(const void *)at, __ATOMIC_ACQUIRE);

	*next = pos;
	if (header & BPF_RINGBUF_BUSY_BIT)
		return NULL;
	uint32_t len = header & ~BPF_RINGBUF_DISCARD_BIT;

	*next = pos + round_up((size_t)len + HEADER, 8);
	if (header & BPF_RINGBUF_DISCARD_BIT)
		return NULL;
	/* There is none; but what is not mapped is not read, whatever is written there. */
	*bytes = len < b->longest ? len : b->longest;
	return at + HEADER;
}

void clv_ringbuf_look(struct clv_ringbuf *b)
{
	b->end = __atomic_load_n(b->producer, __ATOMIC_ACQUIRE);
}

const void *clv_ringbuf_peek(struct clv_ringbuf *b, uint32_t *bytes, uint64_t *behind)
{
	while (b->peeked < b->end) {
		uint64_t at = b->peeked;
		const void *record = record_at(b, at, &b->peeked, bytes);

		*behind = b->peeked;
		b->busy = !record && b->peeked == at;
		if (record || b->busy)
			return record;
	}
	b->busy = false;
	return NULL;
}

void clv_ringbuf_pass(struct clv_ringbuf *b, uint64_t behind)
{
	b->read = behind;
	if (b->read - b->told >= b->batch)
		tell(b);
}

void clv_ringbuf_done(struct clv_ringbuf *b)
{
	b->peeked = b->read;
	if (b->read != b->told)
		tell(b);
}

uint64_t clv_ringbuf_unread(const struct clv_ringbuf *b)
{
	return __atomic_load_n(b->producer, __ATOMIC_ACQUIRE) - b->read;
}
