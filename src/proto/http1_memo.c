/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns copies of field lines, which are compared byte by byte: hashes only find the place. Nothing is copied for lines
 * that come once. Of those that carry trace context only such are kept in which all of it is one traceparent, whose
 * value is a hole: it is new each time, and what it says is read elsewhere. Those that differ in their length alone
 * have a hole there. Any thread.
 */
#include "proto/http1_memo.h"

#include "base/hash.h"
#include "base/sixteen.h"
#include "proto/http1_text.h"

#define MEMO_GUESSES 64u
#define MEMO_SEEN    64u
#define MEMO_WAYS    4u /* the places that a block may be in */

struct memo_block {
	uint32_t len;           /* of the bytes; 0: nothing is kept here */
	uint16_t hole;          /* where a value begins that may be another one; 0: there is none */
	bool sized : 1;         /* it is Content-Length's, here one digit; else traceparent's */
	bool has_fields : 1;    /* some are there whose place is kept */
	bool used : 1;          /* since its place was wanted */
	struct http1_head head; /* as if nothing were before the block */
	uint8_t bytes[HTTP1_MEMO_BYTES];
};

_Static_assert(sizeof(struct memo_block) % 64 == 0, "blocks begin at lines of the cache");

static _Thread_local struct {
	uint32_t pass; /* so many blocks that are not known are let pass before the next one is looked at */
	uint64_t hash[HTTP1_MEMO_BLOCKS];
	uint64_t seen[MEMO_SEEN];    /* hashes of blocks that came and are not kept */
	uint8_t guess[MEMO_GUESSES]; /* where to look first; see memo_guess() */
	_Alignas(64) struct memo_block block[HTTP1_MEMO_BLOCKS];
} memo;

/* A block as it is to be kept: its bytes, with something in the hole that is always the same. */
struct memo_form {
	struct clv_slice block;
	size_t hole; /* 0: none */
	bool sized;
	uint64_t hash;
	uint8_t room[HTTP1_MEMO_BYTES];
};

/* What start lines say: no part of a block. */
#define MEMO_NOT_OURS (CLV_HTTP1_HEAD | CLV_HTTP1_CONNECT | CLV_HTTP1_NO_VERSION)

/* Is it one word, as what was there when the block was kept? */
static inline bool memo_is_word(const uint8_t *value)
{
	clv_sixteen any = (clv_sixteen)(clv_sixteen_load(value) <= ' ');

	_Static_assert(CLV_HTTP1_TRACEPARENT_BYTES >= 48 && CLV_HTTP1_TRACEPARENT_BYTES <= 64, "four loads reach it");
	any |= (clv_sixteen)(clv_sixteen_load(value + 16) <= ' ');
	any |= (clv_sixteen)(clv_sixteen_load(value + 32) <= ' ');
	any |= (clv_sixteen)(clv_sixteen_load(value + CLV_HTTP1_TRACEPARENT_BYTES - 16) <= ' ');
	return !clv_sixteen_any_high(any);
}

/* More digits than this are no length that anybody sends. */
#define MEMO_DIGITS 18u

/* The same but for the length, which has more digits, maybe, and goes to *value. */
static size_t memo_is_sized(const struct memo_block *b, struct clv_slice rest, uint64_t *value)
{
	const uint8_t *digit = rest.data + b->hole;
	size_t behind = b->len - b->hole - 1, digits = 0, most = rest.len - b->hole - behind;
	uint64_t length = 0;

	while (digits < most && digits < MEMO_DIGITS && http1_is_digit(digit[digits]))
		length = length * 10 + (uint64_t)(digit[digits++] - '0');
	if (!digits || memcmp(b->bytes, rest.data, b->hole) != 0 ||
	    memcmp(b->bytes + b->hole + 1, digit + digits, behind) != 0)
		return 0;
	*value = length;
	return b->len - 1 + digits;
}

/* How many bytes are those of the block, which has a hole; 0: none. *length: of the body, if the block is sized. */
static size_t memo_is_around(const struct memo_block *b, struct clv_slice rest, uint64_t *length)
{
	const uint8_t *p = rest.data;
	uint32_t behind = b->hole + CLV_HTTP1_TRACEPARENT_BYTES;

	if (b->sized)
		return memo_is_sized(b, rest, length);
	if (memcmp(b->bytes, p, b->hole) != 0 || memcmp(b->bytes + behind, p + behind, b->len - behind) != 0 ||
	    !memo_is_word(p + b->hole))
		return 0;
	return b->len;
}

/* Where to look on a connection that had another block or none: by how it begins, and how much is there in all. */
static inline uint8_t *memo_guess(struct clv_slice rest)
{
	uint64_t begin;

	memcpy(&begin, rest.data, sizeof(begin));
	return &memo.guess[((begin ^ rest.len) * 0x9e3779b97f4a7c15) >> 58];
}

/* Where fields stand that are there, if the block began at `to` and begins at `from`. */
static inline void memo_move(struct clv_http1_facts *f, size_t from, size_t to)
{
	struct clv_http1_field *const fields[] = {&f->host, &f->user_agent, &f->forwarded, &f->forwarded_for,
						  &f->forwarded_host};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i]->len)
			fields[i]->at = (uint16_t)(fields[i]->at - from + to);
}

/* The start line's part of *h stays. */
static inline void memo_take(struct memo_block *b, size_t at, struct http1_head *h)
{
	struct clv_http1_facts *f = &h->facts;
	const uint8_t flags = f->flags;
	uint8_t line[CLV_HTTP1_LINE_BYTES];

	b->used = true;
	memcpy(line, f, sizeof(line));
	*h = b->head;
	memcpy(f, line, sizeof(line));
	f->flags |= flags;
	h->len = (uint32_t)at + b->len;
	if (b->has_fields)
		memo_move(f, 0, at);
}

/* The block's, if it is there; of one with a hole. */
static __attribute__((noinline)) bool memo_try_around(struct memo_block *b, struct clv_slice rest, size_t at,
						      struct http1_head *h)
{
	uint64_t length = 0;
	size_t len = memo_is_around(b, rest, &length);

	if (!len)
		return false;
	memo_take(b, at, h);
	h->len = (uint32_t)(at + len);
	if (b->sized)
		h->length = length;
	else
		h->facts.traceparent = (uint16_t)(at + b->hole);
	return true;
}

static inline bool memo_try(struct memo_block *b, struct clv_slice rest, size_t at, struct http1_head *h)
{
	if (!b->len || b->len > rest.len)
		return false;
	if (b->hole)
		return memo_try_around(b, rest, at, h);
	if (memcmp(b->bytes, rest.data, b->len) != 0)
		return false;
	memo_take(b, at, h);
	return true;
}

bool clv_http1_memo_find(uint8_t *place, struct clv_slice in, size_t at, struct http1_head *h)
{
	const struct clv_slice rest = clv_slice(in.data + at, in.len - at);
	unsigned i = *place % HTTP1_MEMO_BLOCKS, guess;

	if (memo_try(&memo.block[i], rest, at, h))
		return true;
	if (rest.len < sizeof(uint64_t))
		return false;
	guess = *memo_guess(rest);
	if (guess == i || !memo_try(&memo.block[guess], rest, at, h))
		return false;
	*place = (uint8_t)guess;
	return true;
}

/* Is it the block that is kept there? */
static bool memo_is(const struct memo_block *b, const struct memo_form *form)
{
	return b->hole == form->hole && b->sized == form->sized &&
	       clv_slice_eq(clv_slice(b->bytes, b->len), form->block);
}

/* Where the block is kept: in one of the places that its hash allows. HTTP1_MEMO_BLOCKS: nowhere. */
static unsigned memo_place(const struct memo_form *form)
{
	unsigned first = form->hash % (HTTP1_MEMO_BLOCKS / MEMO_WAYS) * MEMO_WAYS;

	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		if (memo.hash[i] == form->hash && memo_is(&memo.block[i], form))
			return i;
	return HTTP1_MEMO_BLOCKS;
}

/* One of them whose block was not found for a while; if all were, that is asked anew. */
static unsigned memo_victim(uint64_t hash)
{
	unsigned first = hash % (HTTP1_MEMO_BLOCKS / MEMO_WAYS) * MEMO_WAYS;

	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		if (!memo.block[i].used)
			return i;
	for (unsigned i = first; i < first + MEMO_WAYS; i++)
		memo.block[i].used = false;
	return first;
}

static bool memo_has_fields(const struct clv_http1_facts *f)
{
	return f->host.len || f->user_agent.len || f->forwarded.len || f->forwarded_for.len || f->forwarded_host.len;
}

static void memo_keep(struct memo_block *b, const struct memo_form *form, size_t at, const struct http1_head *h)
{
	b->len = (uint32_t)form->block.len;
	b->head = *h;
	b->head.facts.flags &= (uint8_t)~MEMO_NOT_OURS;
	memo_move(&b->head.facts, at, 0);
	b->hole = (uint16_t)form->hole;
	b->sized = form->sized;
	b->has_fields = memo_has_fields(&h->facts);
	memcpy(b->bytes, form->block.data, form->block.len);
}

/* What fields of a head carry trace context. */
struct memo_context {
	struct clv_slice traceparent;
	unsigned traceparents, others;
};

/* Every name that trace/context.c knows. */
static void memo_note_context(void *ctx, struct clv_slice name, struct clv_slice value)
{
	static const struct clv_slice others[] = {
		CLV_LIT("tracestate"),      CLV_LIT("b3"),         CLV_LIT("x-b3-traceid"), CLV_LIT("x-b3-spanid"),
		CLV_LIT("x-b3-sampled"),    CLV_LIT("x-b3-flags"), CLV_LIT("x-request-id"), CLV_LIT("uber-trace-id"),
		CLV_LIT("x-amzn-trace-id"),
	};
	struct memo_context *c = ctx;

	if (clv_slice_eq_nocase(name, CLV_LIT("traceparent"))) {
		c->traceparent = value;
		c->traceparents++;
	}
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		c->others += clv_slice_eq_nocase(name, others[i]);
}

/* Where in the block is the value of traceparent, if that is all that carries trace context? 0: it is not. */
static size_t memo_hole(struct clv_slice head, size_t at)
{
	struct memo_context c = {0};

	clv_http1_fields(head, memo_note_context, &c);
	if (c.traceparents != 1 || c.others || c.traceparent.len != CLV_HTTP1_TRACEPARENT_BYTES ||
	    !memo_is_word(c.traceparent.data))
		return 0;
	return (size_t)(c.traceparent.data - head.data) - at;
}

/* The only Content-Length, all digits. */
struct memo_length {
	struct clv_slice value;
	unsigned count;
};

static void memo_note_length(void *ctx, struct clv_slice name, struct clv_slice value)
{
	struct memo_length *l = ctx;

	if (!clv_slice_eq_nocase(name, CLV_LIT("content-length")))
		return;
	l->value = value;
	l->count++;
}

/* The block as it is, or, if it carries trace context, around traceparent. False: it cannot be kept. */
static bool memo_form(struct memo_form *form, struct clv_slice head, size_t at, const struct http1_head *h)
{
	form->block = clv_slice(head.data + at, head.len - at);
	form->hole = 0;
	form->sized = false;
	if (h->facts.flags & CLV_HTTP1_CONTEXT) {
		form->hole = memo_hole(head, at);
		if (!form->hole)
			return false;
		memcpy(form->room, form->block.data, form->block.len);
		memset(form->room + form->hole, '0', CLV_HTTP1_TRACEPARENT_BYTES);
		form->block.data = form->room;
	}
	form->hash = clv_hash(form->block.data, form->block.len, form->hole);
	return true;
}

/* Is all that is kept of the fields before `end`? */
static bool memo_fields_end(const struct clv_http1_facts *f, size_t end)
{
	const struct clv_http1_field fields[] = {f->host, f->user_agent, f->forwarded, f->forwarded_for,
						 f->forwarded_host};

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (fields[i].len && fields[i].at >= end)
			return false;
	return true;
}

/* The same around Content-Length, for heads that differ in that alone; nothing behind it must move. */
static bool memo_form_sized(struct memo_form *form, struct clv_slice head, size_t at, const struct http1_head *h)
{
	struct memo_length l = {0};

	if (!h->has_length || h->bad_length || h->facts.flags & CLV_HTTP1_CONTEXT)
		return false;
	clv_http1_fields(head, memo_note_length, &l);
	if (l.count != 1 || !l.value.len || l.value.len > MEMO_DIGITS ||
	    !memo_fields_end(&h->facts, (size_t)(l.value.data - head.data)))
		return false;
	for (size_t i = 0; i < l.value.len; i++)
		if (!http1_is_digit(l.value.data[i]))
			return false;
	size_t hole = (size_t)(l.value.data - head.data) - at, behind = hole + l.value.len;
	struct clv_slice block = clv_slice(head.data + at, head.len - at);
	memcpy(form->room, block.data, hole);
	form->room[hole] = '0';
	memcpy(form->room + hole + 1, block.data + behind, block.len - behind);
	form->block = clv_slice(form->room, block.len - l.value.len + 1);
	form->hole = hole;
	form->sized = true;
	form->hash = clv_hash(form->block.data, form->block.len, hole);
	return true;
}

/* Where it is kept, from now on if it came before; else that is noted, and HTTP1_MEMO_BLOCKS returned. */
static unsigned memo_settle(const struct memo_form *form, size_t at, const struct http1_head *h)
{
	uint64_t *seen = &memo.seen[form->hash / HTTP1_MEMO_BLOCKS % MEMO_SEEN];
	unsigned i = memo_place(form);

	if (i < HTTP1_MEMO_BLOCKS)
		return i;
	if (*seen != form->hash) {
		*seen = form->hash;
		return HTTP1_MEMO_BLOCKS;
	}
	i = memo_victim(form->hash);
	memo.hash[i] = form->hash;
	memo_keep(&memo.block[i], form, at, h);
	return i;
}

static __attribute__((noinline)) void memo_learn(uint8_t *place, struct clv_slice in, size_t at,
						 const struct http1_head *h)
{
	struct clv_slice head = clv_slice_head(in, h->len);
	struct memo_form form;

	memo.pass = HTTP1_MEMO_EVERY;
	if (head.len - at < sizeof(uint64_t) || head.len - at > HTTP1_MEMO_BYTES || !memo_form(&form, head, at, h))
		return;
	memo.pass = (form.hash >> 32) % (2 * HTTP1_MEMO_EVERY); /* they take turns: none must be let pass each time */
	unsigned i = memo_settle(&form, at, h);
	if (i == HTTP1_MEMO_BLOCKS && memo_form_sized(&form, head, at, h))
		i = memo_settle(&form, at, h);
	if (i < HTTP1_MEMO_BLOCKS)
		*place = *memo_guess(clv_slice_from(in, at)) = (uint8_t)i;
}

void clv_http1_memo_learn(uint8_t *place, struct clv_slice in, size_t at, const struct http1_head *h)
{
	if (memo.pass)
		memo.pass--;
	else
		memo_learn(place, in, at, h);
}

void clv_http1_memo_forget(void)
{
	memset(&memo, 0, sizeof(memo));
}
