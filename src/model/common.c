/* SPDX-License-Identifier: Apache-2.0 */
/* What spans have in common: when it is kept, and how. Allocates nothing. The engine's thread. */
#include "model/common.h"

static inline uint32_t hash_of(const struct clv_common_key *key)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	uint64_t client, server, said = 0;

	/* Where addresses differ: of IPv4 all of it. */
	memcpy(&client, key->client->b + 8, sizeof(client));
	memcpy(&server, key->server->addr.b + 8, sizeof(server));
	if (key->said[0].len >= sizeof(said))
		memcpy(&said, key->said[0].data, sizeof(said));
	uint64_t h = client * odd + server + key->form[0] + (key->said[0].len << 8) + key->said[1].len;

	return (uint32_t)((h * odd ^ said) * odd >> 32) | 1;
}

/* The first of the places. */
static inline uint32_t first_place(uint32_t hash)
{
	_Static_assert(CLV_COMMON_SETS == 1 << 5, "the hash's highest bits say where");
	return (hash >> 27) * CLV_COMMON_WAYS;
}

static inline bool same(const void *a, const void *b)
{
	uint64_t x[2], y[2];

	memcpy(x, a, sizeof(x));
	memcpy(y, b, sizeof(y));
	return !((x[0] ^ y[0]) | (x[1] ^ y[1]));
}

static inline __attribute__((always_inline)) bool same_text(const uint8_t *a, const uint8_t *b, size_t len)
{
	if (len < 16)
		return len == 0 || memcmp(a, b, len) == 0;
	for (size_t i = 0; i + 16 < len; i += 16)
		if (!same(a + i, b + i))
			return false;
	return same(a + len - 16, b + len - 16);
}

static inline bool is_of(const struct clv_common *c, const struct clv_common_key *key)
{
	const struct clv_slice *said = key->said;

	return c->server.port == key->server->port && same(&c->client, key->client) &&
	       same(&c->server.addr, &key->server->addr) && same(c->form, key->form) && c->said_len[0] == said[0].len &&
	       c->said_len[1] == said[1].len && same_text(c->text, said[0].data, said[0].len) &&
	       same_text(c->text + said[0].len, said[1].data, said[1].len);
}

static inline struct clv_common *found(struct clv_commons *cs, uint32_t at)
{
	cs->again[at] = true;
	cs->last = at;
	return &cs->place[at];
}

static __attribute__((noinline)) struct clv_common *seek(struct clv_commons *cs, struct clv_common_key *key)
{
	uint32_t hash = hash_of(key), at = first_place(hash);

	key->hash = hash;
	for (uint32_t end = at + CLV_COMMON_WAYS; at < end; at++)
		if (cs->hash[at] == hash && is_of(&cs->place[at], key))
			return found(cs, at);
	return NULL;
}

struct clv_common *clv_commons_find(struct clv_commons *cs, struct clv_common_key *key)
{
	if (cs->hash[cs->last] && is_of(&cs->place[cs->last], key)) /* once more */
		return found(cs, cs->last);
	return seek(cs, key);
}

struct clv_common *clv_commons_want(struct clv_commons *cs, const struct clv_common_key *key)
{
	uint32_t first = first_place(key->hash), *wanted = &cs->wanted[first / CLV_COMMON_WAYS];

	if (*wanted != key->hash) {
		*wanted = key->hash;
		return NULL;
	}
	for (uint32_t at = first; at < first + CLV_COMMON_WAYS; at++)
		if (!cs->again[at])
			return &cs->place[at];
	memset(&cs->again[first], 0, CLV_COMMON_WAYS * sizeof(cs->again[0]));
	return NULL;
}

/* Copies a string behind the others. False without room. */
static bool put(struct clv_common *c, size_t *used, struct clv_slice *s)
{
	uint8_t *to = c->text + *used;

	if (s->len > sizeof(c->text) - *used)
		return false;
	if (s->len)
		memcpy(to, s->data, s->len);
	*s = clv_slice(to, s->len);
	*used += s->len;
	return true;
}

/* Notes where the client's port is. False when it is not, or something is neither string nor number. */
static bool find_ports(struct clv_common *c, const struct clv_attr *attr, unsigned count, bool serving)
{
	c->ports = 0;
	for (unsigned i = 0; i < count; i++) {
		bool port =
			attr[i].key == CLV_ATTR_CLIENT_PORT || (serving && attr[i].key == CLV_ATTR_NETWORK_PEER_PORT);

		if (attr[i].type != CLV_TYPE_STRING && attr[i].type != CLV_TYPE_INT)
			return false;
		if (port && c->ports < CLV_COMMON_PORTS)
			c->port[c->ports++] = (uint8_t)i;
	}
	if (c->ports == 1)
		c->port[1] = c->port[0];
	return c->ports > 0;
}

void clv_commons_keep(struct clv_commons *cs, struct clv_common *c, const struct clv_common_key *key,
		      const struct clv_attr *attr, unsigned count, bool serving)
{
	struct clv_slice said[2] = {key->said[0], key->said[1]};
	size_t at = (size_t)(c - cs->place), used = 0;
	bool fits;

	cs->hash[at] = 0; /* nothing, unless all of it fits */
	c->version++;
	if (count > CLV_COMMON_ATTRS || !find_ports(c, attr, count, serving))
		return;
	fits = put(c, &used, &said[0]) && put(c, &used, &said[1]);
	memcpy(c->attr, attr, count * sizeof(*attr));
	for (unsigned i = 0; fits && i < count; i++)
		fits = attr[i].type != CLV_TYPE_STRING || put(c, &used, &c->attr[i].s);
	if (!fits)
		return;
	c->client = *key->client;
	c->server = *key->server;
	memcpy(c->form, key->form, sizeof(c->form));
	c->said_len[0] = (uint16_t)said[0].len;
	c->said_len[1] = (uint16_t)said[1].len;
	c->json.state = c->otlp.state = CLV_COMMON_NEW;
	c->count = (uint8_t)count;
	cs->hash[at] = key->hash;
	cs->again[at] = true;
}

void clv_common_write(struct clv_common_text *t, const char *all, size_t bytes)
{
	t->state = bytes <= sizeof(t->text) - CLV_COMMON_SLACK ? CLV_COMMON_MADE : CLV_COMMON_TOO_LONG;
	if (t->state == CLV_COMMON_MADE)
		memcpy(t->text, all, bytes);
}
