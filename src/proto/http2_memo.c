/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the copies of heads that came before, with their blocks, which are compared byte by byte: hashes only find the
 * place. Nothing is copied for a block that comes once. Engine thread.
 */
#include "proto/http2_memo.h"

#include "base/hash.h"

struct http2_kept {
	uint64_t table;
	struct http2_head head;
	size_t size; /* of all this */
	uint32_t block_len;
	bool request;
	uint8_t bytes[]; /* the block, and the head's text */
};

static uint32_t memo_slot(const struct http2_memo_key *key)
{
	return (uint32_t)key->hash & (HTTP2_MEMO_SLOTS - 1);
}

struct http2_memo_key clv_http2_memo_key(const struct clv_hpack *hpack, bool request, struct clv_slice block)
{
	return (struct http2_memo_key){.block = block,
				       .table = hpack->changes,
				       .hash = clv_hash(block.data, block.len, hpack->changes),
				       .request = request};
}

static bool memo_is(const struct http2_kept *k, uint64_t table, bool request, struct clv_slice block)
{
	return k && k->table == table && k->request == request &&
	       clv_slice_eq(clv_slice(k->bytes, k->block_len), block);
}

const struct http2_head *clv_http2_memo_find(struct http2_memo *m, const struct http2_memo_key *key)
{
	uint32_t slot = memo_slot(key);
	const struct http2_kept *k = m->slot[slot].kept;

	if (!memo_is(k, key->table, key->request, key->block))
		return NULL;
	m->last = slot;
	return &k->head;
}

const struct http2_head *clv_http2_memo_again(const struct http2_memo *m, const struct clv_hpack *hpack, bool request,
					      struct clv_slice block)
{
	const struct http2_kept *k = m->slot[m->last].kept;

	return memo_is(k, hpack->changes, request, block) ? &k->head : NULL;
}

static void memo_drop(struct http2_memo_slot *slot, struct clv_hpack *hpack)
{
	if (slot->kept)
		hpack->free(hpack->ctx, slot->kept, slot->kept->size);
	slot->kept = NULL;
}

void clv_http2_memo_keep(struct http2_memo *m, struct clv_hpack *hpack, const struct http2_memo_key *key,
			 const struct http2_head *h)
{
	struct http2_memo_slot *slot = &m->slot[memo_slot(key)];
	size_t bytes = key->block.len + h->text.len;

	if (slot->seen != key->hash || bytes > HTTP2_MEMO_BYTES) {
		slot->seen = key->hash;
		return;
	}
	memo_drop(slot, hpack);
	struct http2_kept *k = hpack->alloc(hpack->ctx, sizeof(*k) + bytes);
	if (!k)
		return;
	*k = (struct http2_kept){.table = key->table,
				 .head = *h,
				 .size = sizeof(*k) + bytes,
				 .block_len = (uint32_t)key->block.len,
				 .request = key->request};
	if (key->block.len)
		memcpy(k->bytes, key->block.data, key->block.len);
	memcpy(k->bytes + key->block.len, h->text.data, h->text.len);
	k->head.text.data = k->bytes + key->block.len;
	slot->kept = k;
}

void clv_http2_memo_fini(struct http2_memo *m, struct clv_hpack *hpack)
{
	for (uint32_t i = 0; i < HTTP2_MEMO_SLOTS; i++)
		memo_drop(&m->slot[i], hpack);
}
