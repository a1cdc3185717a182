/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Owns the statements and names of connections; memory comes from the engine, through the connection. Never reads the
 * wire. Engine thread.
 */
#include "proto/postgresql_names.h"

#include "base/hash.h"

#define BUCKETS_BYTES (CLV_POSTGRESQL_BUCKETS * sizeof(void *))

struct clv_postgresql_name {
	struct clv_postgresql_name *next;
	struct clv_postgresql_statement *statement;
	uint64_t hash;
	uint32_t serial;
	uint16_t len;
	bool portal;
	uint8_t data[];
};

static size_t statement_size(uint32_t room)
{
	return sizeof(struct clv_postgresql_statement) + room;
}

static void *names_alloc(struct clv_postgresql_names *n, size_t size)
{
	if (!n->alloc || size > CLV_POSTGRESQL_NAMES_BYTES - n->bytes)
		return NULL;
	void *p = n->alloc(n->mem, size);
	if (p)
		n->bytes += (uint32_t)size;
	return p;
}

static void names_free(struct clv_postgresql_names *n, void *p, size_t size)
{
	n->bytes -= (uint32_t)size;
	n->free(n->mem, p, size);
}

/* The last one is kept: the next statement mostly fits into it. */
static void statement_put(struct clv_postgresql_names *n, struct clv_postgresql_statement *s)
{
	if (!s || --s->refs)
		return;
	if (n->spare && n->spare->room >= s->room) {
		names_free(n, s, statement_size(s->room));
		return;
	}
	if (n->spare)
		names_free(n, n->spare, statement_size(n->spare->room));
	n->spare = s;
}

void clv_postgresql_hold(struct clv_postgresql_names *n, struct clv_postgresql_statement **slot,
			 struct clv_postgresql_statement *s)
{
	struct clv_postgresql_statement *old = *slot;

	if (s)
		s->refs++;
	*slot = s;
	statement_put(n, old);
}

struct clv_postgresql_statement *clv_postgresql_statement(struct clv_postgresql_names *n, const struct clv_sql *sql)
{
	size_t need = sql->summary.len + sql->text.len;
	uint32_t room = 192;
	struct clv_postgresql_statement *s = n->spare;

	if (s && s->room >= need) {
		n->spare = NULL;
	} else {
		while (room < need)
			room *= 2;
		s = names_alloc(n, statement_size(room));
		if (!s)
			return NULL;
		s->room = room;
	}
	s->refs = 1;
	s->verb_len = (uint16_t)sql->verb.len;
	s->summary_len = (uint16_t)sql->summary.len;
	s->text_len = (uint16_t)sql->text.len;
	if (sql->summary.len)
		memcpy(s->data, sql->summary.data, sql->summary.len);
	if (sql->text.len)
		memcpy(s->data + sql->summary.len, sql->text.data, sql->text.len);
	return s;
}

static struct clv_postgresql_name **name_find(const struct clv_postgresql_names *n, bool portal, struct clv_slice name,
					      uint64_t hash)
{
	struct clv_postgresql_name **p = &n->bucket[hash % CLV_POSTGRESQL_BUCKETS];

	while (*p &&
	       ((*p)->hash != hash || (*p)->portal != portal || !clv_slice_eq(clv_slice((*p)->data, (*p)->len), name)))
		p = &(*p)->next;
	return p;
}

static void name_remove(struct clv_postgresql_names *n, struct clv_postgresql_name **at)
{
	struct clv_postgresql_name *p = *at;

	*at = p->next;
	n->count--;
	statement_put(n, p->statement);
	names_free(n, p, sizeof(*p) + p->len);
}

static uint64_t name_hash(struct clv_slice name)
{
	return clv_hash(name.data, name.len, 0);
}

struct clv_postgresql_statement *clv_postgresql_get(const struct clv_postgresql_names *n, bool portal,
						    struct clv_slice name)
{
	if (!name.len)
		return portal ? n->portal : n->unnamed;
	if (!n->bucket)
		return NULL;
	const struct clv_postgresql_name *p = *name_find(n, portal, name, name_hash(name));

	return p ? p->statement : NULL;
}

static bool names_ready(struct clv_postgresql_names *n)
{
	if (!n->bucket) {
		n->bucket = names_alloc(n, BUCKETS_BYTES);
		for (size_t i = 0; n->bucket && i < CLV_POSTGRESQL_BUCKETS; i++)
			n->bucket[i] = NULL;
	}
	return n->bucket;
}

void clv_postgresql_set(struct clv_postgresql_names *n, bool portal, struct clv_slice name, uint32_t serial,
			struct clv_postgresql_statement *s)
{
	if (!name.len) {
		clv_postgresql_hold(n, portal ? &n->portal : &n->unnamed, s);
		return;
	}
	if (!n->bucket && (!s || !names_ready(n)))
		return;
	uint64_t hash = name_hash(name);
	struct clv_postgresql_name **at = name_find(n, portal, name, hash), *p = *at;
	if (p && s) {
		clv_postgresql_hold(n, &p->statement, s);
		p->serial = serial;
		return;
	}
	if (p)
		name_remove(n, at);
	if (!s || n->count >= CLV_POSTGRESQL_NAMES_MAX)
		return;
	p = names_alloc(n, sizeof(*p) + name.len);
	if (!p)
		return;
	*p = (struct clv_postgresql_name){
		.statement = s, .hash = hash, .serial = serial, .len = (uint16_t)name.len, .portal = portal};
	memcpy(p->data, name.data, name.len);
	s->refs++;
	p->next = n->bucket[hash % CLV_POSTGRESQL_BUCKETS];
	n->bucket[hash % CLV_POSTGRESQL_BUCKETS] = p;
	n->count++;
}

void clv_postgresql_undo(struct clv_postgresql_names *n, uint32_t serial)
{
	for (size_t i = 0; n->bucket && i < CLV_POSTGRESQL_BUCKETS; i++)
		for (struct clv_postgresql_name **p = &n->bucket[i]; *p; p = &(*p)->next)
			if (!(*p)->portal && (*p)->serial == serial) {
				name_remove(n, p);
				return;
			}
}

void clv_postgresql_forget(struct clv_postgresql_names *n, bool portals)
{
	clv_postgresql_hold(n, &n->portal, NULL);
	if (!portals)
		clv_postgresql_hold(n, &n->unnamed, NULL);
	for (size_t i = 0; n->bucket && i < CLV_POSTGRESQL_BUCKETS; i++)
		for (struct clv_postgresql_name **p = &n->bucket[i]; *p;)
			if (!portals || (*p)->portal)
				name_remove(n, p);
			else
				p = &(*p)->next;
}

void clv_postgresql_names_fini(struct clv_postgresql_names *n)
{
	clv_postgresql_forget(n, false);
	if (n->spare)
		names_free(n, n->spare, statement_size(n->spare->room));
	if (n->bucket)
		names_free(n, n->bucket, BUCKETS_BYTES);
	n->spare = NULL;
	n->bucket = NULL;
}
