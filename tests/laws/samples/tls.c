/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks in TLS: hellos of every size, cut into records anywhere, alerts instead of answers, then noise. There are no
 * messages: what the laws hold here is that nothing is read past its end, nothing is taken for a message, and the rest
 * is left alone where it should be. What hellos say is in tests/unit/test_tls.c.
 */
#include "../talk.h"

#include "model/span.h"

struct tls_text {
	uint8_t bytes[70000];
	size_t len;
};

static struct tls_text hello;

static void add(size_t value, unsigned bytes)
{
	while (bytes--)
		hello.bytes[hello.len++] = (uint8_t)(value >> 8 * bytes);
}

static void add_noise(struct talk *t, size_t len)
{
	while (len--)
		add(talk_below(&t->rng, 256), 1);
}

static void add_extension(struct talk *t, unsigned type, size_t len)
{
	add(type, 2);
	add(len, 2);
	add_noise(t, len);
}

static void put_hello(struct talk *t, bool client)
{
	size_t session = talk_chance(&t->rng, 50) ? 32 : 0;
	size_t more = talk_chance(&t->rng, 10) ? talk_below(&t->rng, 15000) : talk_below(&t->rng, 700);

	hello.len = 0;
	add(client ? 1 : 2, 1);
	add(2 + 32 + 1 + session + (client ? 2 + 8 + 2 : 3) + 2 + 4 + 9 + 4 + more, 3);
	add(0x0303, 2);
	add_noise(t, 32);
	add(session, 1);
	add_noise(t, session);
	if (client)
		add(8, 2);
	add_noise(t, client ? 8 : 2);
	add(client ? 1 : 0, client ? 1 : 1);
	if (client)
		add(0, 1);
	add(4 + 9 + 4 + more, 2);
	add_extension(t, talk_chance(&t->rng, 50) ? 0 : 16, 9);
	add_extension(t, talk_below(&t->rng, 60), more);
}

/* As records, mostly one. Each but the first may be small. */
static void put_records(struct talk *t, enum clv_dir dir)
{
	size_t at = 0;

	while (at < hello.len) {
		size_t left = hello.len - at, n = left < 16384 ? left : 16384;

		if (talk_chance(&t->rng, 20))
			n = n < 6 ? n : 6 + talk_below(&t->rng, (uint32_t)n - 5);
		uint8_t head[5] = {22, 3, 1, (uint8_t)(n >> 8), (uint8_t)n};
		talk_put(t, dir, head, sizeof(head));
		talk_put(t, dir, hello.bytes + at, n);
		at += n;
	}
	talk_flush(t, dir);
}

static void put_sealed(struct talk *t, enum clv_dir dir)
{
	size_t len = 17 + talk_below(&t->rng, 4000);
	uint8_t head[5] = {23, 3, 3, (uint8_t)(len >> 8), (uint8_t)len};

	talk_put(t, dir, head, sizeof(head));
	talk_fill(t, dir, len);
	talk_flush(t, dir);
}

static void tls_make(struct talk *t)
{
	static const uint8_t alert[] = {21, 3, 3, 0, 2, 2, 40};
	unsigned sealed = talk_below(&t->rng, 20);

	put_hello(t, true);
	put_records(t, CLV_TO_SERVER);
	t->opaque_at[CLV_TO_SERVER] = t->len[CLV_TO_SERVER];
	if (talk_chance(&t->rng, 10)) {
		t->opaque_at[CLV_TO_CLIENT] = 0;
		talk_put(t, CLV_TO_CLIENT, alert, sizeof(alert));
		talk_flush(t, CLV_TO_CLIENT);
	} else {
		put_hello(t, false);
		put_records(t, CLV_TO_CLIENT);
		t->opaque_at[CLV_TO_CLIENT] = t->len[CLV_TO_CLIENT];
		for (unsigned i = 0; i < sealed; i++)
			put_sealed(t, talk_chance(&t->rng, 50) ? CLV_TO_CLIENT : CLV_TO_SERVER);
	}
	t->fin[CLV_TO_SERVER] = t->fin[CLV_TO_CLIENT] = true;
}

static uint64_t tls_tag(const struct clv_msg *msg)
{
	(void)msg;
	return 0;
}

static int tls_check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	(void)t;
	(void)span;
	*ok = false;
	return -1;
}

const struct talk_sample talk_tls = {
	.proto = "tls",
	.port = 443,
	.make = tls_make,
	.tag = tls_tag,
	.check = tls_check,
};
