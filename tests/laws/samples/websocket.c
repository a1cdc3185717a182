/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in WebSocket (RFC 6455): an HTTP upgrade, then frames of every kind both ways: fragmented messages with control
 * frames between their parts, every length form, masks, closing from either side or not at all. Message 2 is the
 * session.
 */
#include "../talk.h"

#include "model/span.h"
#include "proto/websocket.h"

enum { MESSAGE_REQUEST, MESSAGE_RESPONSE, MESSAGE_SESSION };

/* What is true of the talk made last. */
static struct clv_websocket_facts truth;

static void put_frame(struct talk *t, enum clv_dir dir, uint8_t first, const uint8_t *payload, uint32_t len)
{
	uint8_t head[14] = {first}, key[4];
	unsigned n = 2;

	if (len < 126) {
		head[1] = (uint8_t)len;
	} else if (len < 65536) {
		head[1] = 126;
		head[n++] = (uint8_t)(len >> 8);
		head[n++] = (uint8_t)len;
	} else {
		head[1] = 127;
		for (int i = 7; i >= 0; i--)
			head[n++] = i < 4 ? (uint8_t)(len >> (8 * i)) : 0;
	}
	for (int i = 0; i < 4; i++)
		key[i] = dir == CLV_TO_SERVER ? (uint8_t)talk_random(&t->rng) : 0;
	if (dir == CLV_TO_SERVER) {
		head[1] |= 0x80;
		memcpy(head + n, key, 4);
		n += 4;
	}
	talk_put(t, dir, head, n);
	for (uint32_t i = 0; i < len; i++) {
		uint8_t c = payload[i] ^ key[i % 4];

		talk_put(t, dir, &c, 1);
	}
}

static void put_control(struct talk *t, enum clv_dir dir)
{
	static const uint8_t body[125] = "are you there?";

	put_frame(t, dir, talk_chance(&t->rng, 50) ? 0x89 : 0x8a, body, talk_below(&t->rng, 126));
	truth.control[dir]++;
}

static void put_message(struct talk *t, enum clv_dir dir)
{
	static uint8_t payload[70000];
	static const uint32_t most[] = {100, 1000, 3000, sizeof(payload)};
	uint32_t len = talk_below(&t->rng, most[talk_chance(&t->rng, 3) ? 3 : talk_below(&t->rng, 3)]);
	bool binary = talk_chance(&t->rng, 40);
	uint8_t opcode = binary ? 2 : 1, compressed = talk_chance(&t->rng, 30) ? 0x40 : 0;
	uint32_t at = 0;

	for (uint32_t i = 0; i < len; i++)
		payload[i] = (uint8_t)talk_random(&t->rng);
	truth.bytes[dir] += len;
	(binary ? truth.binary : truth.text)[dir]++;
	while (talk_chance(&t->rng, 30)) {
		uint32_t part = talk_below(&t->rng, len - at + 1);

		put_frame(t, dir, opcode | compressed, payload + at, part);
		at += part;
		opcode = compressed = 0;
		if (talk_chance(&t->rng, 30))
			put_control(t, dir);
		if (talk_chance(&t->rng, 30))
			talk_flush(t, dir);
	}
	put_frame(t, dir, 0x80 | opcode | compressed, payload + at, len - at);
}

static void put_close(struct talk *t, enum clv_dir dir)
{
	static const uint16_t codes[] = {1000, 1001, 1008, 1011, 3000, 4999};
	uint16_t code = codes[talk_below(&t->rng, 6)];
	uint8_t body[32] = {(uint8_t)(code >> 8), (uint8_t)code};

	put_frame(t, dir, 0x88, body, 2 + talk_below(&t->rng, 30));
	talk_flush(t, dir);
	if (truth.flags & CLV_WEBSOCKET_CLOSED)
		return;
	truth.flags |= CLV_WEBSOCKET_CLOSED;
	truth.close_code = code;
}

static void websocket_make(struct talk *t)
{
	unsigned rounds = 1 + talk_below(&t->rng, 40);
	int i;

	memset(&truth, 0, sizeof(truth));
	i = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, 0, -1);
	talk_printf(t, CLV_TO_SERVER,
		    "GET /chat HTTP/1.1\r\nHost: example.com:81\r\nConnection: keep-alive, Upgrade\r\n"
		    "Upgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n\r\n");
	talk_head_ends(t, i);
	talk_ends(t, i);
	talk_flush(t, CLV_TO_SERVER);
	i = talk_begin(t, CLV_TO_CLIENT, CLV_RESPONSE, 0, MESSAGE_REQUEST);
	t->message[i].tag = 101;
	talk_printf(t, CLV_TO_CLIENT,
		    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
	talk_head_ends(t, i);
	talk_ends(t, i);
	if (talk_chance(&t->rng, 50))
		talk_flush(t, CLV_TO_CLIENT);
	i = talk_begin(t, CLV_TO_SERVER, CLV_REQUEST, 1, -1);
	t->message[i].decoded = true;
	while (rounds--) {
		enum clv_dir dir = talk_below(&t->rng, 2) ? CLV_TO_SERVER : CLV_TO_CLIENT;

		if (talk_chance(&t->rng, 15))
			put_control(t, dir);
		else
			put_message(t, dir);
		if (talk_chance(&t->rng, 70))
			talk_flush(t, dir);
	}
	talk_flush(t, CLV_TO_SERVER);
	talk_flush(t, CLV_TO_CLIENT);
	i = (int)talk_below(&t->rng, 2);
	put_close(t, (enum clv_dir)i);
	if (talk_chance(&t->rng, 80))
		put_close(t, (enum clv_dir) !i);
	t->fin[0] = t->fin[1] = true;
}

static uint64_t websocket_tag(const struct clv_msg *msg)
{
	return 0;
}

static int64_t said(const struct clv_span *span, enum clv_attr_key key)
{
	const struct clv_attr *a = clv_span_get(span, key);

	return a ? a->i : -1;
}

static bool counts(const struct clv_span *span, enum clv_attr_key key, uint64_t want)
{
	int64_t got = said(span, key);

	return got == (int64_t)want ||
	       (span->flags & (CLV_SPAN_GAP | CLV_SPAN_MIDSTREAM | CLV_SPAN_TRUNCATED) && got < (int64_t)want);
}

/* Server spans: what the client sent was received. */
static int websocket_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	if (clv_slice_eq(span->method, CLV_LIT("GET"))) {
		*ok = clv_slice_eq(span->target, CLV_LIT("/chat")) && (!span->status_code || span->status_code == 101);
		return MESSAGE_REQUEST;
	}
	if (!clv_slice_eq(span->method, CLV_LIT("WEBSOCKET")))
		return -1;
	/* Without the request nobody knows where it went. */
	*ok = (clv_slice_eq(span->target, CLV_LIT("/chat")) ||
	       (!span->target.len && span->flags & CLV_SPAN_TRUNCATED)) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_TEXT_RECEIVED, truth.text[CLV_TO_SERVER]) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_TEXT_SENT, truth.text[CLV_TO_CLIENT]) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_BINARY_RECEIVED, truth.binary[CLV_TO_SERVER]) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_BINARY_SENT, truth.binary[CLV_TO_CLIENT]) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CONTROL_RECEIVED, truth.control[CLV_TO_SERVER]) &&
	      counts(span, CLV_ATTR_CLOVISOR_WEBSOCKET_CONTROL_SENT, truth.control[CLV_TO_CLIENT]) &&
	      counts(span, CLV_ATTR_CLOVISOR_BYTES_RECEIVED, truth.bytes[CLV_TO_SERVER]) &&
	      counts(span, CLV_ATTR_CLOVISOR_BYTES_SENT, truth.bytes[CLV_TO_CLIENT]) &&
	      (!span->status_code || span->status_code == truth.close_code);
	return MESSAGE_SESSION;
}

/* Whoever loses the upgrade, or comes behind it, has nothing to begin with: docs/protocols/websocket.md. */
const struct talk_sample talk_websocket = {
	.proto = "websocket",
	.follows = true,
	.answered_under_loss = 30,
	.answered_late = 1,
	.make = websocket_make,
	.tag = websocket_tag,
	.check = websocket_check,
};
