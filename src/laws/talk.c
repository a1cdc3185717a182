/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Talks: bytes and the truth about them. Deterministic: a seed gives the same talk everywhere. Owns the bytes; main
 * thread.
 */
#include "laws/talk.h"

#include <stdlib.h>

uint64_t talk_random(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

void talk_init(struct talk *t)
{
	memset(t, 0, sizeof(*t));
	for (int d = 0; d < 2; d++)
		if (!(t->bytes[d] = malloc(TALK_BYTES)))
			abort();
}

void talk_fini(struct talk *t)
{
	free(t->bytes[0]);
	free(t->bytes[1]);
}

void talk_reset(struct talk *t, uint64_t seed)
{
	uint8_t *bytes[2] = {t->bytes[0], t->bytes[1]};

	memset(t, 0, offsetof(struct talk, text));
	t->bytes[0] = bytes[0];
	t->bytes[1] = bytes[1];
	t->opaque_at[0] = t->opaque_at[1] = UINT32_MAX;
	t->seed = t->rng = seed;
}

void talk_put(struct talk *t, enum clv_dir dir, const void *data, size_t len)
{
	if (len > TALK_BYTES - t->len[dir])
		abort();
	if (len)
		memcpy(t->bytes[dir] + t->len[dir], data, len);
	t->len[dir] += (uint32_t)len;
}

void talk_vprintf(struct talk *t, enum clv_dir dir, const char *fmt, va_list ap)
{
	char text[1024];
	int n = vsnprintf(text, sizeof(text), fmt, ap);

	if (n < 0 || (size_t)n >= sizeof(text))
		abort();
	talk_put(t, dir, text, (size_t)n);
}

void talk_printf(struct talk *t, enum clv_dir dir, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	talk_vprintf(t, dir, fmt, ap);
	va_end(ap);
}

void talk_fill(struct talk *t, enum clv_dir dir, size_t len)
{
	static const char text[] = "{\"name\": \"value\", \"n\": [1, 2, 3]}\nPOST scriptum HTTP is fine\r\n"
				   "key: value\r\n\x01\x80\xff\0\n";

	while (len) {
		size_t from = talk_below(&t->rng, sizeof(text) - 1), n = sizeof(text) - from;
		if (n > len)
			n = len;
		talk_put(t, dir, text + from, n);
		len -= n;
	}
}

void talk_flush(struct talk *t, enum clv_dir dir)
{
	uint32_t from = t->flushed[dir];

	if (t->len[dir] == from)
		return;
	if (t->writes == TALK_WRITES)
		abort();
	t->write[t->writes++] = (struct talk_write){.dir = dir, .start = from, .len = t->len[dir] - from};
	t->flushed[dir] = t->len[dir];
}

void talk_noise(struct talk *t)
{
	for (unsigned i = 1 + talk_below(&t->rng, 40); i; i--) {
		enum clv_dir dir = talk_below(&t->rng, 2) ? CLV_TO_SERVER : CLV_TO_CLIENT;
		uint32_t len = 1 + talk_below(&t->rng, 3000);

		if (talk_chance(&t->rng, 50))
			talk_fill(t, dir, len);
		else
			for (; len; len--)
				talk_put(t, dir, &(uint8_t){(uint8_t)talk_random(&t->rng)}, 1);
		talk_flush(t, dir);
	}
}

int talk_begin(struct talk *t, enum clv_dir dir, enum clv_role role, int id, int request)
{
	if (t->messages == TALK_MESSAGES)
		abort();
	struct talk_message *m = &t->message[t->messages];

	*m = (struct talk_message){.dir = dir,
				   .role = role,
				   .start = t->len[dir],
				   .end = UINT32_MAX,
				   .request = request,
				   .answer = -1,
				   .id = id};
	if (role == CLV_RESPONSE && request >= 0)
		t->message[request].answer = (int)t->messages;
	return (int)t->messages++;
}

void talk_head_ends(struct talk *t, int message)
{
	struct talk_message *m = &t->message[message];

	m->head_len = t->len[m->dir] - m->start;
}

void talk_ends(struct talk *t, int message)
{
	struct talk_message *m = &t->message[message];

	m->end = t->len[m->dir];
}
