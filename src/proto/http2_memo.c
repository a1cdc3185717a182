/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the copies of heads that came before, with their blocks, which are compared byte by byte but for the holes:
 * hashes only find the place for a new one. Nothing is copied for a block that comes once. Engine thread.
 */
#include "proto/http2_memo.h"

#include "base/hash.h"

/* ---- another head of the same shape ------------------------------------------------------------------------------ */

/* Reads the values out of a block that is k's but for these; *room is for those that must be decoded. */
static bool memo_values(const struct http2_kept *k, struct clv_slice block, struct clv_buf *room,
			struct clv_slice *value)
{
	struct clv_slice kept = clv_slice(k->bytes, k->block_len);
	size_t from = 0;

	for (uint32_t i = 0; i < k->holes.count; i++) {
		size_t fixed = k->holes.hole[i].block_at - from;

		if (!clv_slice_starts(block, clv_slice_sub(kept, from, fixed)))
			return false;
		block = clv_slice_from(block, fixed);
		size_t bytes = clv_hpack_string(block, room, &value[i]);
		if (!bytes)
			return false;
		block = clv_slice_from(block, bytes);
		from += fixed + k->holes.hole[i].block_len;
	}
	return clv_slice_eq(block, clv_slice_from(kept, from));
}

/* What is behind the hole moves by as much as its value is longer. */
static void memo_move(struct clv_http1_facts *f, size_t hole_at, size_t by)
{
	struct clv_http1_field *const field[] = {&f->target,    &f->host,          &f->user_agent,
						 &f->forwarded, &f->forwarded_for, &f->forwarded_host};

	for (size_t i = 0; i < sizeof(field) / sizeof(field[0]); i++)
		if (field[i]->at > hole_at)
			field[i]->at = (uint16_t)(field[i]->at + by);
}

/* Puts the values where k's were. Returns false when there is no room. */
static bool memo_fill(const struct http2_kept *k, const struct clv_slice *value, struct http2_head *h)
{
	struct http2_scratch *scratch = clv_http2_scratch();
	struct clv_slice text = k->head.text;
	size_t len = text.len, from = 0;

	for (uint32_t i = 0; i < k->holes.count; i++)
		len += value[i].len - k->holes.hole[i].text_len;
	if (!scratch || len > sizeof(scratch->text))
		return false;
	*h = k->head;
	h->text = clv_slice(scratch->text, len);
	uint8_t *p = (uint8_t *)scratch->text;
	for (uint32_t i = 0; i < k->holes.count; i++) {
		const struct http2_hole *hole = &k->holes.hole[i];
		size_t at = (size_t)(p - h->text.data) + hole->text_at - from;

		if (value[i].len != hole->text_len)
			memo_move(&h->facts.http, at, value[i].len - hole->text_len);
		if (k->request && at == h->facts.http.target.at) {
			if (!value[i].len)
				return false; /* another :path may stand behind it */
			h->facts.http.target.len = (uint16_t)value[i].len;
		}
		memcpy(p, text.data + from, hole->text_at - from);
		p = clv_http2_put_value(p + (hole->text_at - from), value[i]);
		from = (size_t)hole->text_at + hole->text_len;
	}
	memcpy(p, text.data + from, text.len - from);
	return true;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

/* The head of a block that is k's, or of its shape. */
static const struct http2_head *memo_head(const struct http2_kept *k, struct clv_slice block, struct http2_head *room)
{
	char decoded[HTTP2_MEMO_VALUES];
	struct clv_buf values = clv_buf(decoded, sizeof(decoded));
	struct clv_slice value[HTTP2_HOLES];

	if (clv_slice_eq(clv_slice(k->bytes, k->block_len), block))
		return &k->head;
	return k->holes.count && memo_values(k, block, &values, value) && memo_fill(k, value, room) ? room : NULL;
}

const struct http2_head *clv_http2_memo_find(struct http2_memo *m, const struct clv_hpack *hpack, bool request,
					     struct clv_slice block, struct http2_head *room)
{
	/* The one that was found last first, then the others, in any order. */
	for (uint32_t i = 0; i < HTTP2_MEMO_SLOTS; i++) {
		uint32_t slot = m->last ^ i;
		const struct http2_kept *k = m->slot[slot].kept;
		const struct http2_head *h = clv_http2_kept_is(k, hpack, request) ? memo_head(k, block, room) : NULL;

		if (!h)
			continue;
		m->last = slot;
		return h;
	}
	return NULL;
}

/* ---- keeping ----------------------------------------------------------------------------------------------------- */

/* Of what all blocks of this shape have in common. */
static uint64_t memo_hash(uint64_t table, bool request, struct clv_slice block, const struct http2_holes *holes)
{
	uint64_t hash = table * 2 + request;
	size_t from = 0;

	for (uint32_t i = 0; i < holes->count; i++) {
		size_t at = holes->hole[i].block_at;

		hash = clv_hash(block.data + from, at - from, hash);
		from = at + holes->hole[i].block_len;
	}
	return clv_hash(block.data + from, block.len - from, hash);
}

static void memo_drop(struct http2_memo_slot *slot, struct clv_hpack *hpack)
{
	if (slot->kept)
		hpack->free(hpack->ctx, slot->kept, slot->kept->size);
	slot->kept = NULL;
}

void clv_http2_memo_keep(struct http2_memo *m, struct clv_hpack *hpack, bool request, struct clv_slice block,
			 const struct http2_head *h, const struct http2_holes *holes)
{
	size_t bytes = block.len + h->text.len;
	uint64_t hash = memo_hash(hpack->changes, request, block, holes);
	struct http2_memo_slot *slot = &m->slot[hash & (HTTP2_MEMO_SLOTS - 1)];

	if (slot->seen != hash || bytes > HTTP2_MEMO_BYTES) {
		slot->seen = hash;
		return;
	}
	memo_drop(slot, hpack);
	struct http2_kept *k = hpack->alloc(hpack->ctx, sizeof(*k) + bytes);
	if (!k)
		return;
	*k = (struct http2_kept){.table = hpack->changes,
				 .head = *h,
				 .size = sizeof(*k) + bytes,
				 .block_len = (uint32_t)block.len,
				 .request = request,
				 .holes = *holes};
	if (block.len)
		memcpy(k->bytes, block.data, block.len);
	memcpy(k->bytes + block.len, h->text.data, h->text.len);
	k->head.text.data = k->bytes + block.len;
	slot->kept = k;
}

void clv_http2_memo_fini(struct http2_memo *m, struct clv_hpack *hpack)
{
	for (uint32_t i = 0; i < HTTP2_MEMO_SLOTS; i++)
		memo_drop(&m->slot[i], hpack);
}
