/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attributes that span after span has in common: who speaks to whom, and by what. They stand side by side in a span,
 * and are kept here ready made: describe() copies them, and encoders keep what they wrote of them. Keys and strings of
 * what is kept never change, nor do its numbers but for the client's port, which is each span's own.
 *
 * A table of fixed size. A hash says where to look, and what is found there is compared with every byte that it was
 * made from. Something is kept when it came twice, and takes a place whose owner did not come since the place was
 * wanted last: so what comes once costs no more than a look, and pushes nothing out.
 *
 * Belongs to one engine, and is its thread's, as are encoders while they write that engine's spans.
 */
#ifndef CLV_MODEL_COMMON_H
#define CLV_MODEL_COMMON_H

#include "model/again.h"
#include "model/span.h"

#define CLV_COMMON_ATTRS 12
/* How often the client's port is there: as its own and, in a server's span, as its peer's. */
#define CLV_COMMON_PORTS 2
/* Bytes of the strings, and of the texts that they are made from, of one of them; longer ones are not kept. */
#define CLV_COMMON_BYTES 512
/* Likewise of what an encoder makes of it. */
#define CLV_COMMON_TEXT 640
/* Whoever copies a text may read so many bytes beyond it. */
#define CLV_COMMON_SLACK  64
#define CLV_COMMON_PLACES 64
#define CLV_COMMON_WAYS   2 /* places that something may be kept in */
#define CLV_COMMON_SETS   (CLV_COMMON_PLACES / CLV_COMMON_WAYS)

/* What something is made from: equal ones make the same attributes, but for the client's port. */
struct clv_common_key {
	const struct clv_addr *client;
	const struct clv_endpoint *server;
	uint64_t form[2];         /* everything else that decides, as numbers */
	struct clv_slice said[2]; /* texts that were met, such as a host's name */
	uint32_t hash;            /* of all that, never 0; set by clv_commons_find() when it finds nothing */
};

/* What an encoder wrote: a text before each of these ports, and one behind the last. */
struct clv_common_text {
	enum { CLV_COMMON_NEW, CLV_COMMON_MADE, CLV_COMMON_TOO_LONG } state;
	uint16_t len[CLV_COMMON_PORTS + 1];
	char text[CLV_COMMON_TEXT + CLV_COMMON_SLACK]; /* one after the other */
};

struct clv_common {
	struct clv_addr client;
	struct clv_endpoint server;
	uint64_t form[2];
	uint32_t version; /* another one whenever something else is kept here */
	uint16_t said_len[2];
	uint8_t count;                  /* of attr */
	uint8_t ports;                  /* how often the client's is among them, */
	uint8_t port[CLV_COMMON_PORTS]; /*   and where; the last place twice if it is there once */
	struct clv_attr attr[CLV_COMMON_ATTRS];
	uint8_t text[CLV_COMMON_BYTES]; /* what was said, then the attributes' strings */
	struct clv_common_text json, otlp;
};

struct clv_commons {
	uint32_t hash[CLV_COMMON_PLACES]; /* of what is kept there; 0: nothing */
	uint32_t last;                    /* where something was found last */
	bool again[CLV_COMMON_PLACES];    /* it came since the place was wanted */
	uint32_t wanted[CLV_COMMON_SETS]; /* the hash of what came last and is not kept; 0: nothing */
	struct clv_common place[CLV_COMMON_PLACES];
	struct clv_again whole; /* descriptions in which these stand */
};

/* What is kept of it, or NULL. Borrowed until something else is kept. */
struct clv_common *clv_commons_find(struct clv_commons *cs, struct clv_common_key *key);

/* Of what was not found: where it is to be kept, by clv_commons_keep(), or NULL when that is not due. */
struct clv_common *clv_commons_want(struct clv_commons *cs, const struct clv_common_key *key);

/*
 * Keeps `count` attributes, made from `key`, at the place that clv_commons_want() gave, if they have room there and are
 * strings and numbers, the client's port among them; `serving`: as the peer's, too.
 */
void clv_commons_keep(struct clv_commons *cs, struct clv_common *c, const struct clv_common_key *key,
		      const struct clv_attr *attr, unsigned count, bool serving);

/* What an encoder has written, in parts whose lengths it has noted, is kept if it is not too long. */
void clv_common_write(struct clv_common_text *t, const char *all, size_t bytes);

/* Copies `len` bytes of a text. Stores up to CLV_COMMON_SLACK more. Returns their end. */
static inline char *clv_common_copy(char *out, const char *text, size_t len)
{
	char *end = out + len;

	for (; out < end; out += CLV_COMMON_SLACK, text += CLV_COMMON_SLACK)
		memcpy(out, text, CLV_COMMON_SLACK);
	return end;
}

#endif
