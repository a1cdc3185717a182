/* SPDX-License-Identifier: Apache-2.0 */
/*
 * WebSocket frames (RFC 6455 section 5.2), counted:
 *
 *	byte 0    FIN 1 | RSV1..3 | opcode 4    (RSV1: compressed, RFC 7692)
 *	byte 1    MASK 1 | length 7             126: 16 bits follow, 127: 64 bits follow, big-endian
 *	then      masking key 4, from clients only; payload
 *
 * One session is one message that nobody answers: it begins with the switch, ends with both close frames or with the
 * connection, and its facts grow on the way. Payload is passed over, but for the two bytes of a close code. Owns the
 *copy of the upgrade's head. A connection joined behind its upgrade is not recognised. Engine thread.
 */
#include "proto/websocket.h"

_Static_assert(sizeof(struct clv_websocket_facts) <= CLV_FACTS_MAX, "facts outgrew their place");

#define WEBSOCKET_SESSION       1u /* the id of the one message */
#define WEBSOCKET_CONTROL_BYTES 125u
#define WEBSOCKET_NO_CODE       1005u
#define WEBSOCKET_ABNORMAL      1006u /* no close frame at all */
/* A first fragment longer than this has not been seen in the wild; RFC 6455 allows 2^63 - 1. */
#define WEBSOCKET_FRAME_BYTES (UINT64_MAX >> 1)

enum websocket_opcode {
	WEBSOCKET_CONTINUATION,
	WEBSOCKET_TEXT,
	WEBSOCKET_BINARY,
	WEBSOCKET_CLOSE = 8,
	WEBSOCKET_PING,
	WEBSOCKET_PONG
};

struct websocket_state {
	struct clv_websocket_facts facts;
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
	uint8_t *head; /* a copy; NULL: no memory, or the switch was not seen */
	uint32_t head_len;
	uint8_t kind[2]; /* opcode of the message that is going on in a direction; 0: none */
	bool closed[2];
	bool missed[2]; /* frames of this direction were lost, a close frame maybe */
	bool ended[2];  /* FIN */
	bool begun, over;
};

struct websocket_frame {
	uint8_t opcode;
	bool fin;
	uint8_t header;     /* bytes */
	uint64_t len;       /* of the payload */
	const uint8_t *key; /* NULL: not masked */
};

/*
 * The frame header at in.data[0]. YES, MAYBE (it is not all there), or NO: it is none (sections 5.2, 5.4, 5.5). That
 * clients must mask, and servers must not, is for the endpoints to enforce.
 */
static enum clv_match websocket_header(struct clv_slice in, struct websocket_frame *f)
{
	if (!in.len)
		return CLV_MATCH_MAYBE;
	f->opcode = in.data[0] & 0x0f;
	f->fin = in.data[0] & 0x80;
	bool control = f->opcode & 8;

	if (in.data[0] & 0x30 || (f->opcode > WEBSOCKET_BINARY && f->opcode < WEBSOCKET_CLOSE) ||
	    f->opcode > WEBSOCKET_PONG || (control && (!f->fin || in.data[0] & 0x40)))
		return CLV_MATCH_NO;
	if (in.len < 2)
		return CLV_MATCH_MAYBE;
	bool masked = in.data[1] & 0x80;
	unsigned more = (in.data[1] & 0x7f) == 126 ? 2 : (in.data[1] & 0x7f) == 127 ? 8 : 0;

	if (control && more)
		return CLV_MATCH_NO;
	f->header = (uint8_t)(2 + more + (masked ? 4 : 0));
	if (in.len < f->header)
		return CLV_MATCH_MAYBE;
	f->len = in.data[1] & 0x7f;
	if (more)
		f->len = 0;
	for (unsigned i = 0; i < more; i++)
		f->len = f->len << 8 | in.data[2 + i];
	f->key = masked ? in.data + f->header - 4 : NULL;
	/* The length must be written as short as it can. */
	if (f->len > WEBSOCKET_FRAME_BYTES || (more == 2 && f->len < 126) || (more == 8 && f->len < 65536))
		return CLV_MATCH_NO;
	return CLV_MATCH_YES;
}

/* A header that a message in progress, or none, allows. */
static bool websocket_in_turn(const struct websocket_state *st, enum clv_dir dir, const struct websocket_frame *f)
{
	if (f->opcode & 8)
		return true;
	return (f->opcode == WEBSOCKET_CONTINUATION) == (st->kind[dir] != 0);
}

static struct clv_fed websocket_fed(enum clv_fed_verdict v, size_t used, uint64_t skip)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .skip = skip};
}

static void websocket_begin(struct websocket_state *st, struct clv_sink *sink)
{
	struct clv_msg msg = {
		.role = CLV_REQUEST,
		.flags = CLV_MSG_ONEWAY | (!st->head || st->facts.flags & CLV_WEBSOCKET_CUT ? CLV_MSG_TRUNCATED : 0) |
			 CLV_MSG_CONTEXT,
		.id = WEBSOCKET_SESSION,
		.head = clv_slice(st->head, st->head_len),
		.method = CLV_LIT("WEBSOCKET"),
		.facts = &st->facts,
		.facts_size = sizeof(st->facts),
	};

	st->begun = true;
	sink->head(sink, CLV_TO_SERVER, &msg);
}

static void websocket_end(struct websocket_state *st, size_t at, struct clv_sink *sink)
{
	struct clv_end end = {
		.id = WEBSOCKET_SESSION, .at = (uint32_t)at, .facts = &st->facts, .facts_size = sizeof(st->facts)};

	if (st->begun && !st->over)
		sink->end(sink, CLV_TO_SERVER, &end);
	st->over = true;
}

/* Section 5.5.1: a body begins with a code, or is empty. */
static void websocket_close_frame(struct websocket_state *st, enum clv_dir dir, const struct websocket_frame *f,
				  const uint8_t *body)
{
	st->closed[dir] = true;
	/* Who closed, and why, the first close frame says. */
	if (st->facts.flags & CLV_WEBSOCKET_CLOSED || st->missed[!dir] || st->closed[!dir])
		return;
	st->facts.flags |= CLV_WEBSOCKET_CLOSED;
	st->facts.closer = (uint8_t)dir;
	st->facts.close_code = WEBSOCKET_NO_CODE;
	if (f->len < 2)
		return;
	uint8_t high = body[0] ^ (f->key ? f->key[0] : 0), low = body[1] ^ (f->key ? f->key[1] : 0);

	st->facts.close_code = (uint16_t)(high << 8 | low);
}

static void websocket_count(struct websocket_state *st, enum clv_dir dir, const struct websocket_frame *f)
{
	struct clv_websocket_facts *facts = &st->facts;

	if (f->opcode & 8) {
		facts->control[dir] += f->opcode != WEBSOCKET_CLOSE;
		return;
	}
	if (f->opcode != WEBSOCKET_CONTINUATION)
		st->kind[dir] = f->opcode;
	facts->bytes[dir] += f->len;
	if (!f->fin)
		return;
	facts->text[dir] += st->kind[dir] == WEBSOCKET_TEXT;
	facts->binary[dir] += st->kind[dir] == WEBSOCKET_BINARY;
	st->kind[dir] = 0;
}

static struct clv_fed websocket_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct websocket_state *st = state;
	struct websocket_frame f;

	if (st->over)
		return websocket_fed(CLV_FED_OPAQUE, 0, 0);
	if (!st->begun)
		websocket_begin(st, sink);
	enum clv_match m = websocket_header(in, &f);

	if (m == CLV_MATCH_MAYBE)
		return websocket_fed(CLV_FED_MORE, 0, 0);
	/* Behind its close frame a side sends no more (section 5.5.1). */
	if (m == CLV_MATCH_NO || st->closed[dir] || !websocket_in_turn(st, dir, &f)) {
		st->kind[dir] = 0;
		return websocket_fed(CLV_FED_BAD, 0, 0);
	}
	if (f.opcode == WEBSOCKET_CLOSE && in.len < f.header + f.len)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = (uint32_t)(f.header + f.len)};
	websocket_count(st, dir, &f);
	if (f.opcode != WEBSOCKET_CLOSE) {
		sink->update(sink, CLV_TO_SERVER, WEBSOCKET_SESSION, &st->facts, sizeof(st->facts));
		return websocket_fed(CLV_FED_OK, f.header, f.len);
	}
	websocket_close_frame(st, dir, &f, in.data + f.header);
	if (st->closed[0] && st->closed[1]) {
		websocket_end(st, f.header + f.len, sink);
		return websocket_fed(CLV_FED_OPAQUE, f.header + f.len, 0);
	}
	sink->update(sink, CLV_TO_SERVER, WEBSOCKET_SESSION, &st->facts, sizeof(st->facts));
	return websocket_fed(CLV_FED_OK, f.header + f.len, 0);
}

static void websocket_open(void *state, const struct clv_conn_info *conn)
{
	struct websocket_state *st = state;
	const struct clv_upgrade *up = conn->upgrade;

	st->free = conn->free;
	st->mem = conn->mem;
	if (up)
		memcpy(st->missed, up->missed, sizeof(st->missed));
	if (!up || up->from != &clv_http1 || !up->head.len)
		return;
	const struct clv_http1_facts *f = up->facts;
	size_t len = up->head.len < CLV_WEBSOCKET_HEAD_BYTES ? up->head.len : CLV_WEBSOCKET_HEAD_BYTES;

	st->head = conn->alloc(conn->mem, len);
	if (!st->head)
		return;
	memcpy(st->head, up->head.data, len);
	st->head_len = (uint32_t)len;
	st->facts.flags |= len < up->head.len ? CLV_WEBSOCKET_CUT : 0;
	st->facts.target = f->target;
	st->facts.host = f->host;
}

static void websocket_close(void *state)
{
	struct websocket_state *st = state;

	if (st->head)
		st->free(st->mem, st->head, st->head_len);
	st->head = NULL;
}

static void websocket_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct websocket_state *st = state;

	st->kind[dir] = 0;
	st->missed[dir] = true;
}

/*
 * Masked payload looks like anything, so a frame is believed only at the beginning of a packet, when it begins a
 * message or is whole control, and it fills the packet, or another believable one follows it.
 */
static ptrdiff_t websocket_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct websocket_state *st = state;
	struct websocket_frame f;
	size_t at = 0;

	if (!at_packet || st->closed[dir])
		return -1;
	while (at < in.len) {
		struct clv_slice rest = clv_slice_from(in, at);

		if (websocket_header(rest, &f) != CLV_MATCH_YES || !f.key != (dir == CLV_TO_CLIENT) ||
		    f.opcode == WEBSOCKET_CONTINUATION || !f.fin)
			return -1;
		if (f.len > rest.len - f.header)
			return -1;
		at += f.header + (size_t)f.len;
	}
	return in.len ? 0 : -1;
}

static void websocket_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
	struct websocket_state *st = state;

	st->ended[dir] = true;
	if (!st->ended[0] || !st->ended[1])
		return;
	if (!(st->facts.flags & CLV_WEBSOCKET_CLOSED) && !st->missed[0] && !st->missed[1]) {
		st->facts.flags |= CLV_WEBSOCKET_CLOSED;
		st->facts.close_code = WEBSOCKET_ABNORMAL;
		st->facts.closer = CLV_WEBSOCKET_NOBODY;
	}
	websocket_end(st, 0, sink);
}

static void websocket_fields(struct clv_slice head, clv_field_fn fn, void *ctx)
{
	clv_http1.fields(head, fn, ctx);
}

const struct clv_proto clv_websocket = {
	.name = "websocket",
	.caps = CLV_CAP_BY_ID | CLV_CAP_FOLLOWS,
	.state_size = sizeof(struct websocket_state),
	.open = websocket_open,
	.close = websocket_close,
	.feed = websocket_feed,
	.gap = websocket_gap,
	.resync = websocket_resync,
	.fin = websocket_fin,
	.fields = websocket_fields,
	.describe = clv_websocket_describe,
};
