/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What describe() made of an exchange that looks like one before: the same facts and heads between the same ends say
 * the same, but for the client's port and the bodies' sizes. For parsers whose describe() looks at nothing else.
 *
 * As in common.h, on which it stands: a hash says where to look, every byte is compared, and something is kept when it
 * came twice in a row at its place. Engine thread.
 */
#ifndef CLV_MODEL_AGAIN_H
#define CLV_MODEL_AGAIN_H

#include "model/span.h"

/* A power of two. */
#define CLV_AGAIN_PLACES 16u
/* What has more attributes is not kept, */
#define CLV_AGAIN_ATTRS 28u
/* nor what was made from more bytes, with those of its own strings. */
#define CLV_AGAIN_BYTES 768u

enum clv_again_said { CLV_AGAIN_REQUEST, CLV_AGAIN_RESPONSE, CLV_AGAIN_HEAD, CLV_AGAIN_SAID };

struct clv_again_key {
	struct clv_slice said[CLV_AGAIN_SAID]; /* both facts, the request's head; what is not there is empty */
	uint64_t spot;                         /* eight bytes of that, in which exchanges mostly differ */
	uint32_t form;                         /* everything else that decides, the ends and the span's kind aside */
	uint32_t hash;                         /* set by clv_again_find() */
	int64_t body[2];                       /* of the request, of the response, if they are told */
};

struct clv_again_place {
	uint32_t hash;   /* of what is kept; 0: nothing */
	uint32_t wanted; /* the hash of what came last and is not */
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

/* True: the span, which has no attribute yet, is described. It borrows from what is kept until the next call. */
bool clv_again_find(struct clv_commons *cs, struct clv_again_key *key, struct clv_span *span);

/* The span, which was not found, is described now. */
void clv_again_note(struct clv_commons *cs, const struct clv_again_key *key, const struct clv_span *span);

#endif
