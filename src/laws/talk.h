/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A talk: what a client and a server say to each other on one connection, made from a seed, with the truth
 * about every message in it. Tests cut it into segments, lose some, start late, and compare.
 */
#ifndef CLV_LAWS_TALK_H
#define CLV_LAWS_TALK_H

#include <stdarg.h>
#include <stdio.h>

#include "proto/proto.h"

#define TALK_BYTES    (1u << 20)
#define TALK_MESSAGES 256
#define TALK_WRITES   1024
#define TALK_TEXT     65536u
/* struct talk_sample.check: see there. */
#define TALK_SEVERAL (-2)

/* A message as it truly is. Offsets are into its direction's stream. */
struct talk_message {
	enum clv_dir dir;
	enum clv_role role;
	uint32_t start, head_len, end;
	uint32_t body_bytes;
	uint64_t tag; /* as the sample's tag() reads it from a parsed head */
	int request;  /* index of the request that this answers; -1 in requests */
	int answer;   /* index of a request's final response; -1: none */
	int id;       /* of the exchange; also in the target and in the response's head */
	bool decoded; /* its head is reported as something else than its bytes: head_len is not compared */
	bool quiet;   /* a request: no span is made of it */
};

/* One write by one side: the order of writes is the order of cause. */
struct talk_write {
	enum clv_dir dir;
	uint32_t start, len;
};

struct talk {
	uint64_t seed, rng;
	uint32_t len[2];
	uint8_t *bytes[2];
	struct talk_message message[TALK_MESSAGES];
	unsigned messages;
	struct talk_write write[TALK_WRITES];
	unsigned writes;
	bool fin[2];           /* the side closes in order at the end */
	uint32_t opaque_at[2]; /* from here on the bytes are no longer the protocol's; UINT32_MAX: never */
	uint32_t flushed[2];
	/* What spans must say, where a plugin tells (plugin.c), and which messages had theirs. */
	struct talk_span {
		bool said;
		int status;
		struct clv_slice method, target, result; /* in text[] */
	} span[TALK_MESSAGES];
	bool taken[TALK_MESSAGES];
	uint32_t text_used;
	char text[TALK_TEXT]; /* last: it is not cleared */
};

/* Aborts without memory: a test. */
void talk_init(struct talk *t);
void talk_fini(struct talk *t);
void talk_reset(struct talk *t, uint64_t seed);

/* Bytes that are no protocol's, in no particular shape. */
void talk_noise(struct talk *t);

uint64_t talk_random(uint64_t *rng);
static inline uint32_t talk_below(uint64_t *rng, uint32_t n)
{
	return (uint32_t)(talk_random(rng) % n);
}
/* True in `percent` of cases. */
static inline bool talk_chance(uint64_t *rng, uint32_t percent)
{
	return talk_below(rng, 100) < percent;
}

void talk_put(struct talk *t, enum clv_dir dir, const void *data, size_t len);
void talk_printf(struct talk *t, enum clv_dir dir, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void talk_vprintf(struct talk *t, enum clv_dir dir, const char *fmt, va_list ap) __attribute__((format(printf, 3, 0)));
/* `len` bytes that look like text, lines among them. */
void talk_fill(struct talk *t, enum clv_dir dir, size_t len);
/* What was put since the last flush in this direction is one write. */
void talk_flush(struct talk *t, enum clv_dir dir);

/* A message begins here; returns its index. */
int talk_begin(struct talk *t, enum clv_dir dir, enum clv_role role, int id, int request);
void talk_head_ends(struct talk *t, int message);
void talk_ends(struct talk *t, int message);

#define TALK_UNTOLD (-3)

/* A protocol's sample: how to make talks of it, and how to know its messages again. */
struct talk_sample {
	const char *proto;
	bool follows;   /* the talk begins in another protocol: alone, its parser is given noise only */
	uint16_t port;  /* of the server; 0: 80 */
	bool datagram;  /* UDP: each write is one datagram, and holds whole messages */
	bool by_writes; /* nothing in its bytes tells where messages begin: it is joined late between writes only */
	/* Least shares of messages seen under loss, and of exchanges answered under loss and when joined late, in
	 * percent; 0: 70, 60, 50. A protocol that cannot do better says why in its page. */
	uint8_t seen_under_loss, answered_under_loss, answered_late;
	/* Joined late, the parser offers what may be the first answer. Only where it begins tells whether it is: the
	 * pairs are held to that, the parser alone is not. */
	bool offers_late;
	void (*make)(struct talk *t);
	/* What identifies a parsed message. */
	uint64_t (*tag)(const struct clv_msg *msg);
	/*
	 * The request that the span says it is (index into message[]), or -1; *ok: everything in the span that
	 * is said is true of it. TALK_SEVERAL: a part of what it was, true of more than one. TALK_UNTOLD: it says no
	 * more than that there was one, and that its answer is missing.
	 */
	int (*check)(const struct talk *t, const struct clv_span *span, bool *ok);
};

#endif
