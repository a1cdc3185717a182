/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HPACK (RFC 7541 section 6), as a front of libnghttp2's inflater. Owns the inflater, whose memory is the engine's.
 *
 *	1 index(7)                                   a field of the table
 *	01 index(6) [name] value                     a literal that enters the table
 *	001 size(5)                                  the table's new size
 *	0000 index(4) [name] value, 0001 ...         a literal that does not
 *	name, value = huffman(1) length(7) bytes
 *
 * The inflater's table holds what was inserted since it was made, newest first, as the encoder's does: the same
 * entries have the same indices in both as long as neither has thrown them away, and ours throws away no earlier. So
 * an index is either one that the inflater has, or one that nobody can know who came late. An entry whose name is not
 * known is inserted under a name that no field has. A field that stands in the table whole, and a literal that does
 * not enter it, change nothing there, so they are read without the inflater's decoding: most fields of most blocks are
 * such.
 */
#include "proto/hpack.h"

#include <assert.h>

#include "proto/huffman.h"

/* RFC 7541 appendix A. */
#define HPACK_STATIC_ENTRIES 61u
/* Indices and lengths beyond this are nobody's. */
#define HPACK_INT_MAX (1u << 24)

/* Longer texts are the inflater's to decode: so much has a string that stands in 127 bytes. */
#define HPACK_EASY_BYTES 208u

/* Stands for a name that is not known. */
static const uint8_t hpack_nameless[] = {0x40, 1, 0};

/* ---- memory: the engine wants to know sizes, the inflater does not keep them ------------------------------------- */

struct hpack_block {
	size_t size; /* with this */
	_Alignas(16) uint8_t data[];
};

static void *hpack_malloc(size_t size, void *ctx)
{
	struct clv_hpack *h = ctx;

	if (size > SIZE_MAX - sizeof(struct hpack_block))
		return NULL;
	struct hpack_block *b = h->alloc(h->ctx, sizeof(*b) + size);
	if (!b)
		return NULL;
	b->size = sizeof(*b) + size;
	return b->data;
}

static struct hpack_block *hpack_block_of(void *p)
{
	return (struct hpack_block *)(void *)((uint8_t *)p - offsetof(struct hpack_block, data));
}

static void hpack_free(void *p, void *ctx)
{
	struct clv_hpack *h = ctx;

	if (p)
		h->free(h->ctx, hpack_block_of(p), hpack_block_of(p)->size);
}

static void *hpack_calloc(size_t count, size_t size, void *ctx)
{
	size_t bytes;
	void *p = __builtin_mul_overflow(count, size, &bytes) ? NULL : hpack_malloc(bytes, ctx);

	if (p)
		memset(p, 0, bytes);
	return p;
}

static void *hpack_realloc(void *p, size_t size, void *ctx)
{
	void *fresh = hpack_malloc(size, ctx);

	if (fresh && p) {
		size_t old = hpack_block_of(p)->size - sizeof(struct hpack_block);

		memcpy(fresh, p, old < size ? old : size);
		hpack_free(p, ctx);
	}
	return fresh;
}

/* ---- the inflater ------------------------------------------------------------------------------------------------ */

/* Shows the inflater `in`. Returns what it used, or less than 0; true in *told if nv is a field. */
static ssize_t hpack_show(struct clv_hpack *h, struct clv_slice in, nghttp2_nv *nv, bool *told)
{
	int flags = 0;
	ssize_t used = nghttp2_hd_inflate_hd2(h->inflater, nv, &flags, in.data, in.len, 0);

	*told = flags & NGHTTP2_HD_INFLATE_EMIT;
	return used;
}

/* The encoder's table now has `size` bytes; ours as well, up to its bound. */
static bool hpack_resize(struct clv_hpack *h, uint32_t size)
{
	uint8_t text[6] = {0x3f};
	size_t len = 1;
	nghttp2_nv nv;
	bool told;

	h->changes++;
	if (size > CLV_HPACK_TABLE_BYTES)
		size = CLV_HPACK_TABLE_BYTES;
	if (size < 31) {
		text[0] = (uint8_t)(0x20 | size);
	} else {
		for (size -= 31; size >= 128; size >>= 7)
			text[len++] = (uint8_t)(size | 0x80);
		text[len++] = (uint8_t)size;
	}
	return hpack_show(h, clv_slice(text, len), &nv, &told) == (ssize_t)len;
}

/* An inflater is there afterwards, or there is no memory. */
static bool hpack_ready(struct clv_hpack *h)
{
	if (h->inflater)
		return true;
	if (nghttp2_hd_inflate_new2(&h->inflater, &h->mem)) {
		h->inflater = NULL;
		h->joined = true;
		return false;
	}
	bool good = nghttp2_hd_inflate_change_table_size(h->inflater, CLV_HPACK_TABLE_BYTES) == 0;
	if (good && h->joined)
		good = hpack_resize(h, CLV_HPACK_JOINED_BYTES) && nghttp2_hd_inflate_end_headers(h->inflater) == 0;
	if (!good)
		clv_hpack_forget(h, true);
	return good;
}

void clv_hpack_init(struct clv_hpack *h, const struct clv_conn_info *conn, bool joined)
{
	*h = (struct clv_hpack){.alloc = conn->alloc, .free = conn->free, .ctx = conn->mem, .joined = joined};
	h->mem = (nghttp2_mem){.mem_user_data = h,
			       .malloc = hpack_malloc,
			       .free = hpack_free,
			       .calloc = hpack_calloc,
			       .realloc = hpack_realloc};
}

void clv_hpack_fini(struct clv_hpack *h)
{
	if (h->inflater)
		nghttp2_hd_inflate_del(h->inflater);
	h->inflater = NULL;
}

void clv_hpack_forget(struct clv_hpack *h, bool joined)
{
	clv_hpack_fini(h);
	h->joined = joined;
	h->changes++;
}

/* ---- representations --------------------------------------------------------------------------------------------- */

/* An integer with a prefix of `bits` bits (section 5.1). Returns its bytes; 0: it is not all there; -1: no such. */
static int hpack_int(struct clv_slice in, unsigned bits, uint32_t *out)
{
	uint32_t mask = (1u << bits) - 1, v;

	if (!in.len)
		return 0;
	v = in.data[0] & mask;
	if (v < mask) {
		*out = v;
		return 1;
	}
	for (unsigned i = 1, shift = 0; shift <= 21; i++, shift += 7) {
		if (i >= in.len)
			return 0;
		v += (uint32_t)(in.data[i] & 0x7f) << shift;
		if (v > HPACK_INT_MAX)
			return -1;
		if (!(in.data[i] & 0x80)) {
			*out = v;
			return (int)i + 1;
		}
	}
	return -1;
}

/* A string's bytes, its length among them (section 5.2); results as hpack_int()'s. */
static int hpack_string(struct clv_slice in)
{
	uint32_t len;
	int n = hpack_int(in, 7, &len);

	if (n <= 0)
		return n;
	return len <= in.len - (size_t)n ? n + (int)len : 0;
}

enum hpack_kind { HPACK_INDEXED, HPACK_INSERTED, HPACK_RESIZE, HPACK_LITERAL };

/* One representation. */
struct hpack_item {
	enum hpack_kind kind;
	uint32_t index; /* or the size */
	int head;       /* bytes up to the strings */
};

/* Results as hpack_int()'s. */
static int hpack_item(struct clv_slice in, struct hpack_item *item)
{
	uint8_t c = in.data[0];
	unsigned bits = c & 0x80 ? 7 : c & 0x40 ? 6 : c & 0x20 ? 5 : 4;

	item->kind = c & 0x80 ? HPACK_INDEXED : c & 0x40 ? HPACK_INSERTED : c & 0x20 ? HPACK_RESIZE : HPACK_LITERAL;
	item->head = hpack_int(in, bits, &item->index);
	return item->kind == HPACK_INDEXED && item->head > 0 && !item->index ? -1 : item->head;
}

struct hpack_run {
	struct clv_hpack *h;
	struct clv_slice block;
	clv_hpack_fn fn;
	void *ctx;
	bool missing;
	bool begun; /* a field was read that the inflater was not shown */
};

/* What the inflater decoded. */
static void hpack_tell(struct hpack_run *r, const nghttp2_nv *nv, size_t literal_at)
{
	if (nv->namelen == 1 && nv->name[0] == 0)
		r->missing = true;
	else
		r->fn(r->ctx, clv_slice(nv->name, nv->namelen), clv_slice(nv->value, nv->valuelen), literal_at);
}

/* A name that points to what nobody saw; the value may enter the table. Returns the bytes used, -1 when it is bad. */
static ssize_t hpack_unknown(struct hpack_run *r, struct clv_slice in, const struct hpack_item *item)
{
	nghttp2_nv nv;
	bool told;

	r->missing = true;
	struct clv_slice value = clv_slice_from(in, (size_t)item->head);
	int len = hpack_string(value);
	if (len <= 0)
		return -1;
	if (item->kind == HPACK_INSERTED) {
		r->h->changes++;
		struct clv_slice name = clv_slice(hpack_nameless, sizeof(hpack_nameless));

		if (hpack_show(r->h, name, &nv, &told) != (ssize_t)name.len ||
		    hpack_show(r->h, clv_slice_head(value, (size_t)len), &nv, &told) != len || !told)
			return -1;
	}
	return item->head + len;
}

/* A field that is in the table, whole. */
static ssize_t hpack_indexed(struct hpack_run *r, const struct hpack_item *item)
{
	const nghttp2_nv *nv = nghttp2_hd_inflate_get_table_entry(r->h->inflater, item->index);

	r->begun = true;
	if (nv)
		hpack_tell(r, nv, 0);
	else
		r->missing = true;
	return item->head;
}

/* The table's size changes before a block's first field (section 4.2). */
static ssize_t hpack_new_size(struct hpack_run *r, const struct hpack_item *item)
{
	return !r->begun && hpack_resize(r->h, item->index) ? item->head : -1;
}

size_t clv_hpack_string(struct clv_slice in, struct clv_buf *room, struct clv_slice *text)
{
	size_t len = in.len ? in.data[0] & 0x7f : 0x7f;

	/* Longer ones go the way of all others. */
	if (len == 0x7f || len >= in.len)
		return 0;
	*text = clv_slice(in.data + 1, len);
	if (!(in.data[0] & 0x80))
		return 1 + len;
	char *p = room->data + room->len;
	ssize_t decoded = clv_huffman_decode(*text, p, room->cap - room->len);
	if (decoded < 0)
		return 0;
	room->len += (size_t)decoded;
	*text = clv_slice(p, (size_t)decoded);
	return 1 + len;
}

size_t clv_hpack_string_bytes(struct clv_slice in)
{
	int n = hpack_string(in);

	return n > 0 ? (size_t)n : 0;
}

/*
 * The representations that change nothing: an index in one byte; a literal that does not enter the
 * table, whose name stands there. Returns the bytes used; 0: it is another one.
 */
static inline size_t hpack_easy(struct hpack_run *r, struct clv_slice in)
{
	uint8_t c = in.data[0];
	size_t at = 1, bytes;
	uint32_t index = c & 0x80 ? c & 0x7f : c & 0x0f;
	struct clv_slice value;
	char room[HPACK_EASY_BYTES];
	struct clv_buf decoded = clv_buf(room, sizeof(room));

	if (c & 0x80) {
		if (!index || index == 0x7f)
			return 0;
	} else if (c & 0x60 || !index) {
		return 0;
	} else if (index == 0x0f) {
		if (in.len < 2 || in.data[1] & 0x80)
			return 0;
		index += in.data[at++];
	}
	const nghttp2_nv *nv = nghttp2_hd_inflate_get_table_entry(r->h->inflater, index);
	if (!nv || (nv->namelen == 1 && nv->name[0] == 0))
		return 0;
	if (c & 0x80) {
		r->begun = true;
		r->fn(r->ctx, clv_slice(nv->name, nv->namelen), clv_slice(nv->value, nv->valuelen), 0);
		return at;
	}
	bytes = clv_hpack_string(clv_slice_from(in, at), &decoded, &value);
	if (!bytes)
		return 0;
	r->begun = true;
	r->fn(r->ctx, clv_slice(nv->name, nv->namelen), value, (size_t)(in.data - r->block.data) + at);
	return at + bytes;
}

/* Where the value of a literal stands; results as hpack_int()'s. */
static int hpack_value_at(struct clv_slice in, const struct hpack_item *item)
{
	int name = item->index ? 0 : hpack_string(clv_slice_from(in, (size_t)item->head));

	return name < 0 || (!name && !item->index) ? name : item->head + name;
}

/* One representation. Returns the bytes used, -1 when it is bad. */
static ssize_t hpack_step(struct hpack_run *r, struct clv_slice in)
{
	struct hpack_item item;
	nghttp2_nv nv;
	bool told;

	if (hpack_item(in, &item) <= 0)
		return -1;
	if (item.kind == HPACK_INDEXED)
		return hpack_indexed(r, &item);
	if (item.kind == HPACK_RESIZE)
		return hpack_new_size(r, &item);
	if (item.index > nghttp2_hd_inflate_get_num_table_entries(r->h->inflater))
		return hpack_unknown(r, in, &item);
	r->h->changes += item.kind == HPACK_INSERTED;
	ssize_t used = hpack_show(r->h, in, &nv, &told);
	if (used <= 0 || !told)
		return -1;
	int value_at = item.kind == HPACK_LITERAL ? hpack_value_at(in, &item) : 0;
	hpack_tell(r, &nv, value_at > 0 ? (size_t)(in.data - r->block.data) + (size_t)value_at : 0);
	return used;
}

enum clv_hpack_result clv_hpack_block(struct clv_hpack *h, struct clv_slice block, clv_hpack_fn fn, void *ctx)
{
	struct hpack_run r = {.h = h, .block = block, .fn = fn, .ctx = ctx};

	if (!hpack_ready(h))
		return CLV_HPACK_BAD;
	while (block.len) {
		ssize_t used = (ssize_t)hpack_easy(&r, block);

		if (!used)
			used = hpack_step(&r, block);
		if (used < 0) {
			clv_hpack_forget(h, true);
			return CLV_HPACK_BAD;
		}
		block = clv_slice_from(block, (size_t)used);
	}
	nghttp2_hd_inflate_end_headers(h->inflater);
	return r.missing ? CLV_HPACK_PARTIAL : CLV_HPACK_WHOLE;
}

/* ---- without a table --------------------------------------------------------------------------------------------- */

/* The bytes of a representation, strings and all; results as hpack_int()'s. */
static int hpack_measure(struct clv_slice in, struct hpack_item *item)
{
	int used = hpack_item(in, item);

	if (used <= 0 || item->kind == HPACK_INDEXED || item->kind == HPACK_RESIZE)
		return used;
	for (int strings = item->index ? 1 : 2; strings; strings--) {
		int len = hpack_string(clv_slice_from(in, (size_t)used));
		if (len <= 0)
			return len;
		used += len;
	}
	return used;
}

enum clv_hpack_look clv_hpack_look(struct clv_slice block)
{
	enum clv_hpack_look look = CLV_HPACK_LOOKS_PLAIN;

	while (block.len) {
		struct hpack_item item;
		int used = hpack_measure(block, &item);

		if (used <= 0)
			return used ? CLV_HPACK_LOOKS_BAD : CLV_HPACK_LOOKS_CUT;
		if (item.kind == HPACK_RESIZE ? item.index > HPACK_INT_MAX : item.index > 1u << 16)
			return CLV_HPACK_LOOKS_BAD;
		if (item.kind != HPACK_RESIZE && item.index >= 1 && item.index <= 7) {
			if (look == CLV_HPACK_LOOKS_RESPONSE)
				return CLV_HPACK_LOOKS_BAD;
			look = CLV_HPACK_LOOKS_REQUEST;
		} else if (item.kind != HPACK_RESIZE && item.index >= 8 && item.index <= 14) {
			if (look == CLV_HPACK_LOOKS_REQUEST)
				return CLV_HPACK_LOOKS_BAD;
			look = CLV_HPACK_LOOKS_RESPONSE;
		}
		block = clv_slice_from(block, (size_t)used);
	}
	return look;
}
