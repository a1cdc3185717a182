/* SPDX-License-Identifier: Apache-2.0 */
/* What spans have in common: when it is kept, and how. Allocates nothing. The engine's thread. */
#include "model/common.h"

struct clv_common *clv_commons_want(struct clv_commons *cs, const struct clv_common_key *key)
{
	uint32_t first = clv_common_place(key->hash), *wanted = &cs->wanted[first / CLV_COMMON_WAYS];

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
