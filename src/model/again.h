/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What describe() made of an exchange that looks like one before: the same facts and heads between the same ends say
 * the same, but for the client's port and the bodies' sizes. For parsers whose describe() looks at nothing else.
 *
 * As in common.h, on which it stands: a hash says where to look, every byte is compared, and something is kept when it
 * came twice in a row at its place, or more often where such things did not come again before. Engine thread.
 */
#ifndef CLV_MODEL_AGAIN_H
#define CLV_MODEL_AGAIN_H

#include <string.h>

#include "model/span.h"

/* A power of two. */
#define CLV_AGAIN_PLACES 16u
/* What has more attributes is not kept, */
#define CLV_AGAIN_ATTRS 28u
/* nor what was made from more bytes, with those of its own strings. */
#define CLV_AGAIN_BYTES 768u

enum clv_again_said { CLV_AGAIN_REQUEST, CLV_AGAIN_RESPONSE, CLV_AGAIN_HEAD, CLV_AGAIN_SAID };

struct clv_again_place;

struct clv_again_key {
	struct clv_slice said[CLV_AGAIN_SAID]; /* both facts, the request's head; what is not there is empty */
	uint64_t spot;                         /* a hash of that in which exchanges mostly differ */
	uint32_t form;                         /* everything else that decides, the ends and the span's kind aside */
	int64_t body[2];                       /* of the request, of the response, if they are told */

	uint32_t hash; /* set by clv_again_find() */
	struct clv_again_place *place;
};

struct clv_again_place {
	uint32_t hash;   /* of what is kept; 0: nothing */
	uint32_t wanted; /* the hash of what came last and is not */
	uint8_t came;    /* how often that did, since it was first wanted */
	uint8_t doubt;   /* so often it is not believed */
	bool used;       /* what is kept came again */
	uint32_t form;
	uint32_t version; /* of the common that it stands on */
	uint16_t said_len[CLV_AGAIN_SAID];
	uint8_t common, common_at; /* which it is, and where it stands */
	uint8_t port_at[2];        /* where the client's port stands */
	uint8_t body_at[2];        /* where sizes stand; of no attribute: CLV_AGAIN_ATTRS */
	uint8_t count, transport, kind;
	struct clv_addr client;
	struct clv_endpoint server;

	const char *protocol;
	struct clv_slice name, method, target, result;
	enum clv_span_status status;
	int status_code;
	struct clv_attr attr[CLV_AGAIN_ATTRS];
	uint8_t text[CLV_AGAIN_BYTES]; /* what was said, then what describe() made in the span's scratch */
};

/* Empty when it is all zeros. Part of a clv_commons. */
struct clv_again {
	struct clv_again_place place[CLV_AGAIN_PLACES];
};

/* Where it may be kept; the key's hash is set. */
static inline struct clv_again_place *clv_again_place(struct clv_again *a, struct clv_again_key *key,
						      const struct clv_span *span)
{
	const uint64_t odd = 0x9e3779b97f4a7c15u;
	uint64_t client;

	memcpy(&client, span->client.addr.b + 8, sizeof(client)); /* of IPv4 all of it */
	uint64_t h = (client * odd + span->server.port + key->said[CLV_AGAIN_HEAD].len) ^ key->spot;

	key->hash = (uint32_t)(h * odd >> 32) | 1;
	_Static_assert(CLV_AGAIN_PLACES == 1 << 4, "the hash's highest bits say where");
	return &a->place[key->hash >> 28];
}

/* As clv_again_find(), if what is at the key's place is that. */
bool clv_again_tell(struct clv_commons *cs, const struct clv_again_key *key, struct clv_span *span);
void clv_again_keep(struct clv_commons *cs, const struct clv_again_key *key, const struct clv_span *span);

/* True: the span, which has no attribute yet, is described. It borrows from what is kept until the next call. */
static inline bool clv_again_find(struct clv_again *a, struct clv_again_key *key, struct clv_span *span)
{
	key->place = clv_again_place(a, key, span);
	return key->place->hash == key->hash && clv_again_tell(span->commons, key, span);
}

/* The span, which was not found, is described now. */
static inline void clv_again_note(const struct clv_again_key *key, const struct clv_span *span)
{
	if (key->place->wanted == key->hash) {
		clv_again_keep(span->commons, key, span);
		return;
	}
	key->place->wanted = key->hash;
	key->place->came = 0;
}

#endif
