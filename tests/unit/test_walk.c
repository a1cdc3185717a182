/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that the kernel walks over, from the packet to the span: the BPF programs (by BPF_PROG_TEST_RUN), the ring,
 * the engine, and a protocol made for this test. The law: what the kernel leaves out changes no span and no count.
 * Needs root; skips without.
 *
 * The protocol: 0xC7, type, two bytes of length; type 1 is the head of a message, 0 data, 2 its end. A second protocol
 * is the same without framing(), a third lies to the kernel.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>
#include <cmocka.h>

#include <bpf/bpf.h>

#include "engine/engine.h"
#include "source/ring.h"

#define HEADER    4u
#define SEGMENT   2800u
#define EXCHANGES 60u
#define PORT      7000

enum { HEAD = 1, DATA = 0, END = 2 };

/* ---- the protocol ---------------------------------------------------------------------------------- */

struct tiny {
	bool bodies[2];
};

static enum clv_match tiny_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	return CLV_MATCH_NO;
}

static void tiny_open(void *st, const struct clv_conn_info *conn)
{
}

static void tiny_head(enum clv_dir dir, struct clv_slice in, uint32_t len, struct clv_sink *sink)
{
	struct clv_msg msg = {.role = dir == CLV_TO_SERVER ? CLV_REQUEST : CLV_RESPONSE,
			      .head = clv_slice_head(in, HEADER + len),
			      .method = CLV_LIT("GET")};

	sink->head(sink, dir, &msg);
}

static struct clv_fed tiny_feed(void *st, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct tiny *t = st;

	if (!in.len)
		return (struct clv_fed){.v = CLV_FED_OK};
	if (in.len < HEADER)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = HEADER};
	uint32_t len = (uint32_t)in.data[2] << 8 | in.data[3];
	if (in.data[0] != 0xc7)
		return (struct clv_fed){.v = CLV_FED_BAD};
	if (in.data[1] == DATA) {
		t->bodies[dir] = true;
		return (struct clv_fed){.v = CLV_FED_OK, .used = HEADER, .skip = len};
	}
	if (in.len < HEADER + len)
		return (struct clv_fed){.v = CLV_FED_MORE, .need = HEADER + len};
	if (in.data[1] == HEAD)
		tiny_head(dir, in, len, sink);
	else
		sink->end(sink, dir, &(struct clv_end){.at = HEADER + len});
	return (struct clv_fed){.v = CLV_FED_OK, .used = HEADER + len};
}

static void tiny_gap(void *st, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
}

static ptrdiff_t tiny_resync(void *st, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	for (size_t i = 0; i < in.len; i++)
		if (in.data[i] == 0xc7)
			return i + 1 == in.len ? -2 : in.data[i + 1] == HEAD ? (ptrdiff_t)i : -1;
	return -1;
}

static void tiny_fin(void *st, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

static const struct clv_framing tiny_frames = {
	.header_bytes = HEADER,
	.length_at = 2,
	.length_bytes = 2,
	.length_adds = HEADER,
	.type_at = 1,
	.keep_bytes = HEADER,
	.whole = {1u << HEAD | 1u << END},
};

static const struct clv_framing *tiny_framing(const void *st, enum clv_dir dir)
{
	return ((const struct tiny *)st)->bodies[dir] ? &tiny_frames : NULL;
}

/* Five bytes too many. */
static const struct clv_framing *lying_framing(const void *st, enum clv_dir dir)
{
	static struct clv_framing lie;

	lie = tiny_frames;
	lie.length_adds = HEADER + 5;
	return &lie;
}

static void tiny_describe(const struct clv_pair *pair, struct clv_span *span)
{
	span->target = clv_slice_from(pair->request_head, HEADER);
	span->status_code = (int)pair->response_body_bytes;
}

#define TINY(of, framing_fn)                                                                                       \
	{                                                                                                          \
		.name = of, .state_size = sizeof(struct tiny), .probe = tiny_probe, .open = tiny_open,             \
		.feed = tiny_feed, .gap = tiny_gap, .resync = tiny_resync, .fin = tiny_fin, .framing = framing_fn, \
		.describe = tiny_describe                                                                          \
	}

static const struct clv_proto tiny = TINY("tiny", tiny_framing), plain = TINY("plain", NULL),
			      lying = TINY("lying", lying_framing);

/* ---- the two streams ------------------------------------------------------------------------------- */

static uint32_t rng;

static uint32_t random_below(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 17;
	rng ^= rng << 5;
	return rng % n;
}

struct turn {
	uint8_t bytes[512 * 1024];
	size_t len;
	uint64_t body;
};

static void put_frame(struct turn *t, uint8_t type, const char *text, uint32_t len)
{
	uint8_t *p = t->bytes + t->len;

	assert_true(t->len + HEADER + len <= sizeof(t->bytes));
	memcpy(p, (const uint8_t[]){0xc7, type, (uint8_t)(len >> 8), (uint8_t)len}, HEADER);
	if (text)
		memcpy(p + HEADER, text, len);
	else
		memset(p + HEADER, 'p', len);
	t->len += HEADER + len;
	t->body += type == DATA ? len : 0;
}

/* A head, data of all sizes, an end. */
static void put_message(struct turn *t, const char *head, uint32_t frames)
{
	t->len = t->body = 0;
	put_frame(t, HEAD, head, (uint32_t)strlen(head));
	while (frames--)
		put_frame(t, DATA, NULL, random_below(3) ? random_below(30000) : random_below(400));
	put_frame(t, END, NULL, 0);
}

/* ---- packets through kernel, ring and engine -------------------------------------------------------- */

struct seen {
	char target[32];
	uint64_t body;
	uint32_t flags;
	uint8_t trace_id[16];
};

struct bed {
	struct clv_ring *ring;
	struct clv_engine *engine;
	uint32_t seq[2];
	struct seen span[EXCHANGES + 8];
	unsigned spans;
	uint64_t walked_packets, newest_ns;
	uint64_t skew_ns; /* between turns so much time passes, as the engine sees it */
};

static void on_span(void *ctx, struct clv_span *s)
{
	struct bed *b = ctx;
	struct seen *o = &b->span[b->spans++];

	assert_true(b->spans <= EXCHANGES + 8);
	memset(o, 0, sizeof(*o));
	memcpy(o->target, s->target.data, s->target.len < 31 ? s->target.len : 31);
	o->body = (uint64_t)s->status_code;
	o->flags = s->flags;
	memcpy(o->trace_id, s->trace_id, sizeof(o->trace_id));
}

static void on_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct clv_source *s = clv_ring_source(((struct bed *)ctx)->ring, 0);

	s->ops->verdict(s, ref, v);
}

static void on_packet(void *ctx, const struct clv_packet *p)
{
	struct bed *b = ctx;

	struct clv_packet later = *p;

	later.ts_ns += b->skew_ns;
	b->walked_packets += p->walked;
	b->newest_ns = later.ts_ns;
	clv_engine_packet(b->engine, &later);
}

static void drain(struct bed *b)
{
	struct clv_source *s = clv_ring_source(b->ring, 0);

	assert_true(s->ops->poll(s, on_packet, b, 0) >= 0);
}

static uint8_t *put(uint8_t *p, uint32_t v, int bytes)
{
	while (bytes--)
		*p++ = (uint8_t)(v >> bytes * 8);
	return p;
}

static void segment(struct bed *b, int from_server, uint8_t flags, const uint8_t *data, uint32_t len)
{
	uint8_t f[54 + SEGMENT] = {[12] = 8, [14] = 0x45, [22] = 64, [23] = 6};
	enum clv_hook hook = from_server ? CLV_HOOK_EGRESS : CLV_HOOK_INGRESS;

	put(f + 16, 40 + len, 2);
	put(f + 26, from_server ? 0x0a000002 : 0x0a000001, 4);
	put(f + 30, from_server ? 0x0a000001 : 0x0a000002, 4);
	put(put(f + 34, from_server ? PORT : 40000, 2), from_server ? 40000 : PORT, 2);
	put(put(f + 38, b->seq[from_server], 4), b->seq[!from_server], 4);
	f[46] = 0x50;
	f[47] = flags;
	if (len)
		memcpy(f + 54, data, len);
	b->seq[from_server] += len + (flags & (CLV_TCP_SYN | CLV_TCP_FIN) ? 1 : 0);
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f, .data_size_in = 54 + len);
	assert_int_equal(bpf_prog_test_run_opts(clv_ring_prog_fd(b->ring, hook, CLV_LAYER_ETHERNET), &opts), 0);
}

/* The reader sees what came so far now and then, as it does; at a turn's end always. */
static void speak(struct bed *b, int from_server, const struct turn *t)
{
	uint32_t len;

	for (size_t at = 0; at < t->len; at += len) {
		len = 1 + random_below(random_below(5) ? SEGMENT : 12);
		len = len < t->len - at ? len : (uint32_t)(t->len - at);
		segment(b, from_server, CLV_TCP_ACK, t->bytes + at, len);
		if (!random_below(20))
			drain(b);
	}
	drain(b);
	b->skew_ns += 1000000000; /* what is missing now will not come */
	clv_engine_tick(b->engine, b->newest_ns + 1000000000);
}

static uint64_t figure(const struct bed *b, const char *name)
{
	struct clv_figure f[CLV_RING_FIGURES];
	size_t n = clv_ring_figures(b->ring, f);

	for (size_t i = 0; i < n; i++)
		if (!strcmp(f[i].name, name))
			return f[i].value;
	fail_msg("no figure %s", name);
	return 0;
}

static void run(struct bed *b, const struct clv_proto *proto, uint32_t seed)
{
	static struct turn t;
	struct clv_port_rule rule = {.port = PORT, .proto = proto};
	struct clv_engine_config config = {.ports = &rule,
					   .port_count = 1,
					   .on_span = on_span,
					   .span_ctx = b,
					   .verdict = on_verdict,
					   .verdict_ctx = b};
	struct clv_ring_config rc = {.ring_bytes = 4 << 20, .max_flows = 64};
	char head[32];

	memset(b, 0, sizeof(*b));
	rng = seed * 2654435761u + 1;
	b->seq[0] = random_below(UINT32_MAX);
	b->seq[1] = 0u - random_below(2000000);
	assert_int_equal(clv_ring_open(&rc, &b->ring), 0);
	assert_int_equal(clv_engine_new(&config, &b->engine), 0);
	segment(b, 0, CLV_TCP_SYN, NULL, 0);
	segment(b, 1, CLV_TCP_SYN | CLV_TCP_ACK, NULL, 0);
	for (unsigned i = 0; i < EXCHANGES; i++) {
		snprintf(head, sizeof(head), "request %u", i);
		put_message(&t, head, random_below(4) ? 0 : random_below(8));
		speak(b, 0, &t);
		put_message(&t, "fine", random_below(12));
		speak(b, 1, &t);
	}
	segment(b, 0, CLV_TCP_FIN | CLV_TCP_ACK, NULL, 0);
	segment(b, 1, CLV_TCP_FIN | CLV_TCP_ACK, NULL, 0);
	drain(b);
	clv_engine_flush(b->engine);
}

static void end(struct bed *b)
{
	clv_engine_free(b->engine);
	clv_ring_close(b->ring);
}

/* ---- the law ---------------------------------------------------------------------------------------- */

static void same_with_and_without(void **state)
{
	static struct bed with, without;

	for (uint32_t seed = 1; seed <= 3; seed++) {
		run(&with, &tiny, seed);
		run(&without, &plain, seed);
		assert_int_equal(with.spans, EXCHANGES);
		assert_memory_equal(with.span, without.span, sizeof(with.span));

		struct clv_engine_stats a = *clv_engine_stats(with.engine), b = *clv_engine_stats(without.engine);

		assert_true(a.skipped_bytes > b.skipped_bytes);
		a.skipped_bytes = b.skipped_bytes = 0;
		assert_memory_equal(&a, &b, sizeof(a));
		assert_int_equal(a.drop_gaps, 0);
		assert_true(with.walked_packets > 100 && !without.walked_packets);
		assert_true(figure(&with, "walked") > 100);
		assert_true(figure(&with, "payload_bytes") < figure(&without, "payload_bytes") / 4);
		end(&with);
		end(&without);
	}
}

/* A shape that is wrong costs some spans, and then the privilege: nothing that is said is false. */
static void a_lie_is_found(void **state)
{
	static struct bed lied, without;
	unsigned good = 0, j = 0;

	run(&lied, &lying, 1);
	run(&without, &plain, 1);
	assert_in_range(clv_engine_stats(lied.engine)->drop_sought_mismatch, 1, 2); /* once a direction */
	for (unsigned i = 0; i < lied.spans; i++) {
		while (j < without.spans && strcmp(lied.span[i].target, without.span[j].target) != 0)
			j++;
		assert_true(j < without.spans);
		if (lied.span[i].flags & CLV_SPAN_GAP)
			continue;
		assert_int_equal(lied.span[i].body, without.span[j].body);
		good++;
	}
	assert_true(good > EXCHANGES / 2);
	end(&lied);
	end(&without);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(same_with_and_without), cmocka_unit_test(a_lie_is_found)};
	struct clv_ring_config c = {.ring_bytes = 4096, .max_flows = 4};
	struct clv_ring *ring;
	int err = clv_ring_open(&c, &ring);

	if (err) {
		fprintf(stderr, "skipped: the BPF programs do not load here: %s\n", strerror(-err));
		return 77;
	}
	clv_ring_close(ring);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
