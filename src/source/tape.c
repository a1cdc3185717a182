/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns copies of packets: in blocks, each packet followed by its payload, in the order in which they are played. Never
 * looks into one. One thread.
 */
#include "source/tape.h"

#include <errno.h>
#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

#define TAPE_BLOCK_BYTES (4u << 20)

struct block {
	struct block *next;
	size_t size, used; /* of the bytes behind this */
	alignas(struct clv_packet) uint8_t data[];
};

struct clv_tape {
	struct block *first, *last;
	size_t limit, bytes, packets;
	struct place {
		struct block *at; /* NULL: at the end */
		size_t offset;
	} playing, ahead;
};

int clv_tape_new(size_t bytes, struct clv_tape **out)
{
	struct clv_tape *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->limit = bytes;
	*out = t;
	return 0;
}

void clv_tape_free(struct clv_tape *t)
{
	if (!t)
		return;
	for (struct block *b = t->first, *next; b; b = next) {
		next = b->next;
		free(b);
	}
	free(t);
}

/* What a packet with its payload takes; the next one begins where a packet may. */
static size_t tape_size(size_t payload)
{
	size_t align = alignof(struct clv_packet);

	return (sizeof(struct clv_packet) + payload + align - 1) / align * align;
}

static struct block *tape_grow(struct clv_tape *t, size_t size)
{
	size = size > TAPE_BLOCK_BYTES ? size : TAPE_BLOCK_BYTES;
	struct block *b = malloc(sizeof(*b) + size);

	if (!b)
		return NULL;
	*b = (struct block){.size = size};
	if (t->last)
		t->last->next = b;
	else
		t->first = b;
	t->last = b;
	return b;
}

int clv_tape_add(struct clv_tape *t, const struct clv_packet *p)
{
	struct clv_packet copy = *p;
	size_t size = tape_size(p->payload.len);
	struct block *b = t->last;

	if (size > t->limit - t->bytes)
		return -ENOSPC;
	if ((!b || size > b->size - b->used) && !(b = tape_grow(t, size)))
		return -ENOMEM;
	uint8_t *to = b->data + b->used;
	copy.payload.data = to + sizeof(copy);
	if (p->payload.len)
		memcpy(to + sizeof(copy), p->payload.data, p->payload.len);
	memcpy(to, &copy, sizeof(copy));
	b->used += size;
	t->bytes += size;
	t->packets++;
	return 0;
}

size_t clv_tape_packets(const struct clv_tape *t)
{
	return t->packets;
}

size_t clv_tape_bytes(const struct clv_tape *t)
{
	return t->bytes;
}

static const struct clv_packet *tape_next(struct place *place)
{
	struct block *b = place->at;

	if (!b)
		return NULL;
	const struct clv_packet *p = (const struct clv_packet *)(const void *)(b->data + place->offset);

	place->offset += tape_size(p->payload.len);
	if (place->offset == b->used)
		*place = (struct place){.at = b->next};
	return p;
}

void clv_tape_rewind(struct clv_tape *t)
{
	t->playing = t->ahead = (struct place){.at = t->first};
	for (int i = 0; i < CLV_SOURCE_AHEAD; i++)
		tape_next(&t->ahead);
}

void clv_tape_play(struct clv_tape *t, size_t count, clv_packet_fn fn, clv_packet_fn ahead, void *ctx)
{
	const struct clv_packet *p, *later;

	while (count-- && (p = tape_next(&t->playing))) {
		if (ahead && (later = tape_next(&t->ahead)))
			ahead(ctx, later);
		fn(ctx, p);
	}
}
