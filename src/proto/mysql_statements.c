/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the texts of one connection's prepared statements, in memory lent by the engine; never more than its bounds.
 * Reads no byte of the protocol. Engine thread.
 */
#include "proto/mysql_statements.h"

/* Room for so many at first; four times as many whenever it is used up. */
#define STATEMENTS_FIRST 16u

struct mysql_statement {
	uint32_t id; /* 0: not known yet */
	uint32_t serial;
	uint32_t used; /* when, by mysql_statements.clock */
	uint16_t len;
	bool cut;
	uint8_t text[];
};

_Static_assert(MYSQL_STATEMENT_BYTES <= UINT16_MAX, "mysql_statement.len");

void clv_mysql_statements_init(struct mysql_statements *s, const struct clv_conn_info *conn)
{
	*s = (struct mysql_statements){.alloc = conn->alloc, .free = conn->free, .mem = conn->mem};
}

/* Of the array of pointers. */
static size_t statements_bytes(uint32_t room)
{
	return room * sizeof(void *);
}

static void statements_remove(struct mysql_statements *s, uint32_t i)
{
	struct mysql_statement *gone = s->at[i];

	s->at[i] = s->at[--s->count];
	s->free(s->mem, gone, sizeof(*gone) + gone->len);
}

void clv_mysql_statements_clear(struct mysql_statements *s)
{
	while (s->count)
		statements_remove(s, s->count - 1);
	if (s->at)
		s->free(s->mem, s->at, statements_bytes(s->room));
	s->at = NULL;
	s->room = 0;
}

/* Makes room for one more. False without memory. */
static bool statements_reserve(struct mysql_statements *s)
{
	if (s->count < s->room)
		return true;
	if (s->room == MYSQL_STATEMENTS) {
		uint32_t oldest = 0;
		for (uint32_t i = 1; i < s->count; i++)
			if ((int32_t)(s->at[i]->used - s->at[oldest]->used) < 0)
				oldest = i;
		statements_remove(s, oldest);
		return true;
	}
	uint32_t room = s->room ? s->room * 4 : STATEMENTS_FIRST;
	struct mysql_statement **at = s->alloc(s->mem, statements_bytes(room));
	if (!at)
		return false;
	if (s->at) {
		memcpy(at, s->at, statements_bytes(s->count));
		s->free(s->mem, s->at, statements_bytes(s->room));
	}
	s->at = at;
	s->room = room;
	return true;
}

void clv_mysql_statements_prepare(struct mysql_statements *s, uint32_t serial, struct clv_slice text, bool cut)
{
	struct clv_slice kept = clv_slice_head(text, MYSQL_STATEMENT_BYTES);

	s->last = serial;
	struct mysql_statement *st =
		s->alloc && statements_reserve(s) ? s->alloc(s->mem, sizeof(*st) + kept.len) : NULL;

	if (!st)
		return;
	*st = (struct mysql_statement){
		.serial = serial, .used = ++s->clock, .len = (uint16_t)kept.len, .cut = cut || kept.len < text.len};
	if (kept.len)
		memcpy(st->text, kept.data, kept.len);
	s->at[s->count++] = st;
}

void clv_mysql_statements_close(struct mysql_statements *s, uint32_t id)
{
	for (uint32_t i = s->count; i--;)
		if (s->at[i]->id == id && id)
			statements_remove(s, i);
}

void clv_mysql_statements_name(struct mysql_statements *s, uint32_t serial, uint32_t id)
{
	clv_mysql_statements_close(s, id);
	for (uint32_t i = s->count; i--;)
		if (!s->at[i]->id && s->at[i]->serial == serial)
			s->at[i]->id = id;
}

void clv_mysql_statements_refuse(struct mysql_statements *s, uint32_t serial)
{
	for (uint32_t i = s->count; i--;)
		if (!s->at[i]->id && s->at[i]->serial == serial)
			statements_remove(s, i);
}

void clv_mysql_statements_forget_unnamed(struct mysql_statements *s)
{
	for (uint32_t i = s->count; i--;)
		if (!s->at[i]->id)
			statements_remove(s, i);
}

/* By id, or the one prepared last. */
static struct mysql_statement *statements_look_up(const struct mysql_statements *s, uint32_t id)
{
	bool last = id == MYSQL_LAST_STATEMENT;

	for (uint32_t i = 0; i < s->count && (last ? s->last : id); i++)
		if (last ? s->at[i]->serial == s->last : s->at[i]->id == id)
			return s->at[i];
	return NULL;
}

struct mysql_text clv_mysql_statements_find(struct mysql_statements *s, uint32_t id)
{
	struct mysql_statement *st = statements_look_up(s, id);

	if (!st)
		return (struct mysql_text){0};
	st->used = ++s->clock;
	return (struct mysql_text){.text = clv_slice(st->text, st->len), .cut = st->cut};
}
