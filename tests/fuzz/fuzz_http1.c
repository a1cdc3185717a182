/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libFuzzer: a message of any bytes, and another that differs from it in one place. Whatever the thread knows of heads
 * that came before, the parser says the same of both as it said when it knew nothing.
 *
 * Input: a byte of settings, where in the message the other one differs, what stands there up to a zero byte, the
 * message.
 */
#include <assert.h>
#include <stdlib.h>

#include "base/hash.h"
#include "proto/http1_memo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum setting { SETTING_CLIENT = 1 << 0 };

/* All that is said, as one number. */
struct ear {
	struct clv_sink sink;
	uint64_t heard;
};

static void hear(struct ear *e, const void *what, size_t size)
{
	e->heard = clv_hash(what, size, e->heard);
}

static const void *on_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	struct ear *e = (struct ear *)sink;
	uint32_t said[] = {msg->role, msg->flags, msg->at, (uint32_t)msg->head.len, msg->facts_size};

	hear(e, said, sizeof(said));
	hear(e, msg->facts, msg->facts_size);
	hear(e, msg->head.data, msg->head.len);
	return NULL;
}

static void on_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *end)
{
	hear((struct ear *)sink, &end->at, sizeof(end->at));
}

/* On a connection of its own, in a block of its own. */
static uint64_t parse(enum clv_dir dir, struct clv_slice text)
{
	struct ear e = {.sink = {.head = on_head, .end = on_end}};
	void *state = calloc(1, clv_http1.state_size);
	uint8_t *copy = malloc(text.len + 1);

	assert(state && copy);
	if (text.len)
		memcpy(copy, text.data, text.len);
	clv_http1.open(state, &(struct clv_conn_info){.server_port = 80});
	struct clv_fed fed = clv_http1.feed(state, dir, clv_slice(copy, text.len), &e.sink);
	uint64_t said[] = {fed.v, fed.used, fed.need, fed.skip};
	hear(&e, said, sizeof(said));
	free(copy);
	free(state);
	return e.heard;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct clv_slice in = clv_slice(data, size);

	if (size < 2)
		return 0;
	enum clv_dir dir = data[0] & SETTING_CLIENT ? CLV_TO_CLIENT : CLV_TO_SERVER;
	struct clv_slice other = clv_slice_sub(in, 2, clv_slice_find(in, 2, 0) - 2);
	struct clv_slice first = clv_slice_from(in, 2 + other.len + 1);
	size_t at = first.len * data[1] / 255, len = first.len > at + other.len ? first.len : at + other.len;
	uint8_t *second = malloc(len + 1);
	assert(second);
	if (first.len)
		memcpy(second, first.data, first.len);
	if (other.len)
		memcpy(second + at, other.data, other.len);

	clv_http1_memo_forget();
	uint64_t of_first = parse(dir, first), of_second = parse(dir, clv_slice(second, len));
	for (unsigned i = 0; i <= 4 * HTTP1_MEMO_EVERY; i++)
		assert(parse(dir, first) == of_first);
	assert(parse(dir, clv_slice(second, len)) == of_second);
	free(second);
	return 0;
}
