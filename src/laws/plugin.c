/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a plugin calls to make a talk, and what its spans are compared with. A talk that does not fit ends the process,
 * as in talk.c. Owns nothing but the source in use; main thread.
 */
#include "laws/plugin.h"

#include <stdarg.h>
#include <stdlib.h>

#include "model/span.h"

static const struct clv_talk_source *source_now;

static struct talk *talk_of(struct clv_talk *t)
{
	return (struct talk *)(void *)t;
}

static struct talk_message *message_of(struct clv_talk *t, int message)
{
	if (message < 0 || (unsigned)message >= talk_of(t)->messages)
		abort();
	return &talk_of(t)->message[message];
}

static uint32_t plugin_below(struct clv_talk *t, uint32_t n)
{
	return n ? talk_below(&talk_of(t)->rng, n) : 0;
}

static bool plugin_chance(struct clv_talk *t, uint32_t percent)
{
	return talk_chance(&talk_of(t)->rng, percent);
}

static void plugin_put(struct clv_talk *t, enum clv_dir dir, const void *data, size_t len)
{
	talk_put(talk_of(t), dir, data, len);
}

static void plugin_print(struct clv_talk *t, enum clv_dir dir, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void plugin_print(struct clv_talk *t, enum clv_dir dir, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	talk_vprintf(talk_of(t), dir, fmt, ap);
	va_end(ap);
}

static void plugin_fill(struct clv_talk *t, enum clv_dir dir, size_t len)
{
	talk_fill(talk_of(t), dir, len);
}

static void plugin_flush(struct clv_talk *t, enum clv_dir dir)
{
	talk_flush(talk_of(t), dir);
}

static int plugin_begin(struct clv_talk *t, enum clv_dir dir, enum clv_role role, int request)
{
	if (request >= 0)
		message_of(t, request);
	return talk_begin(talk_of(t), dir, role, (int)talk_of(t)->messages, request);
}

static void plugin_tag(struct clv_talk *t, int message, uint64_t tag)
{
	message_of(t, message)->tag = tag;
}

static void plugin_head_ends(struct clv_talk *t, int message)
{
	message_of(t, message);
	talk_head_ends(talk_of(t), message);
}

static void plugin_ends(struct clv_talk *t, int message, uint32_t body_bytes)
{
	message_of(t, message)->body_bytes = body_bytes;
	talk_ends(talk_of(t), message);
}

static void plugin_decoded(struct clv_talk *t, int message)
{
	message_of(t, message)->decoded = true;
}

static struct clv_slice copy(struct talk *t, struct clv_slice s)
{
	char *to = t->text + t->text_used;

	if (s.len > sizeof(t->text) - t->text_used)
		abort();
	if (s.len)
		memcpy(to, s.data, s.len);
	t->text_used += (uint32_t)s.len;
	return clv_slice(to, s.len);
}

static void plugin_span(struct clv_talk *t, int request, struct clv_slice method, struct clv_slice target,
			struct clv_slice result, int status)
{
	struct talk *talk = talk_of(t);

	message_of(t, request);
	talk->span[request] = (struct talk_span){.said = true,
						 .status = status,
						 .method = copy(talk, method),
						 .target = copy(talk, target),
						 .result = copy(talk, result)};
}

static void plugin_closes(struct clv_talk *t, enum clv_dir dir)
{
	talk_of(t)->fin[dir] = true;
}

static void plugin_opaque(struct clv_talk *t)
{
	for (int d = 0; d < 2; d++)
		talk_of(t)->opaque_at[d] = talk_of(t)->len[d];
}

static const struct clv_talk_host talk_host = {
	.size = sizeof(struct clv_talk_host),
	.below = plugin_below,
	.chance = plugin_chance,
	.put = plugin_put,
	.print = plugin_print,
	.fill = plugin_fill,
	.flush = plugin_flush,
	.begin = plugin_begin,
	.tag = plugin_tag,
	.head_ends = plugin_head_ends,
	.ends = plugin_ends,
	.decoded = plugin_decoded,
	.span = plugin_span,
	.closes = plugin_closes,
	.opaque = plugin_opaque,
};

static void make(struct talk *t)
{
	source_now->make((struct clv_talk *)(void *)t, &talk_host);
}

/* Is what the span says of its answer true? It may say nothing: without an answer, or when its end was lost. */
static bool answer_is_true(const struct talk *t, int i, const struct clv_span *span)
{
	const struct talk_span *said = &t->span[i];

	if (!span->result.len && !span->status_code)
		return true;
	return span->first_ns && t->message[i].answer >= 0 && clv_slice_eq(said->result, span->result) &&
	       said->status == span->status_code;
}

static int64_t body_said(const struct clv_span *span, enum clv_attr_key key, int64_t otherwise)
{
	const struct clv_attr *a = clv_span_get(span, key);

	return a ? a->i : otherwise;
}

/*
 * Of requests that look alike, one that has no span yet; best one of which all is true. Sizes are compared where the
 * span has them.
 */
static int check(const struct talk *t, const struct clv_span *span, bool *ok)
{
	int found = -1;

	*ok = false;
	for (int i = 0; i < (int)t->messages && !*ok; i++) {
		const struct talk_span *said = &t->span[i];
		const struct talk_message *m = &t->message[i];

		if (!said->said || t->taken[i] || !clv_slice_eq(said->method, span->method) ||
		    !clv_slice_eq(said->target, span->target))
			continue;
		found = i;
		*ok = answer_is_true(t, i, span) &&
		      body_said(span, CLV_ATTR_HTTP_REQUEST_BODY_SIZE, m->body_bytes) == m->body_bytes;
	}
	if (found >= 0)
		((struct talk *)t)->taken[found] = true; /* the talk is the laws' own */
	return found;
}

void laws_plugin_sample(const struct clv_proto *proto, const struct clv_talk_source *source, struct talk_sample *out)
{
	source_now = source;
	*out = (struct talk_sample){
		.proto = proto->name, .port = proto->ports[0], .follows = proto->caps & CLV_CAP_FOLLOWS};
	if (!source)
		return;
	out->datagram = source->datagrams;
	out->seen_under_loss = source->seen_under_loss;
	out->answered_under_loss = source->answered_under_loss;
	out->answered_late = source->answered_late;
	out->make = make;
	out->tag = source->tag;
	out->check = check;
}

bool laws_plugin_tells(const struct talk_sample *sample)
{
	static struct talk talk;
	bool all = sample->make, any = false;

	if (!all)
		return false;
	talk_init(&talk);
	talk_reset(&talk, 1);
	sample->make(&talk);
	for (unsigned i = 0; i < talk.messages; i++) {
		any |= talk.span[i].said;
		all &= talk.span[i].said || talk.message[i].role != CLV_REQUEST;
	}
	talk_fini(&talk);
	return any && all;
}
