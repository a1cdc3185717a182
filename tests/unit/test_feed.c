/* SPDX-License-Identifier: Apache-2.0 */
/* source/feed.c: what comes out is what went in, with the time; and who gets what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "source/feed.h"

static struct clv_packet packet_of(uint32_t from, uint16_t port, uint32_t to, uint16_t to_port)
{
	struct clv_packet p = {.src = {.addr = clv_addr_v4((const uint8_t *)&from), .port = port},
			       .dst = {.addr = clv_addr_v4((const uint8_t *)&to), .port = to_port}};

	return p;
}

/* ---- who gets what ----------------------------------------------------------------------------------------------- */

static uint64_t some;

static uint32_t any(void)
{
	some = some * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(some >> 32);
}

/* Both directions, every place of capture and side: one share, since flows of one connection must be able to meet. */
static void test_a_connection_is_in_one_share(void **state)
{
	for (int i = 0; i < 10000; i++) {
		struct clv_packet p = packet_of(any(), (uint16_t)any(), any(), (uint16_t)any()), q = p;
		unsigned count = 1 + any() % 8;

		p.transport = q.transport = any() & 1 ? CLV_TRANSPORT_UDP : CLV_TRANSPORT_TCP;
		q.src = p.dst;
		q.dst = p.src;
		p.net = any();
		q.net = any();
		q.side = CLV_SIDE_OUT;
		q.seq = any();
		assert_in_range(clv_feed_choose(&p, count), 0, count - 1);
		assert_int_equal(clv_feed_choose(&p, count), clv_feed_choose(&q, count));
	}
}

/* Connections as they are: most of their bits are the same. */
static struct clv_packet connection(unsigned kind, unsigned i)
{
	struct clv_packet p;

	switch (kind) {
	case 0: /* between two hosts: one port differs */
		return packet_of(0x0100000a, (uint16_t)(20000 + i), 0x0200000a, 80);
	case 1: /* from many hosts, all with the same port */
		return packet_of(0x0000000a + (i << 16), 5000, 0x0200000a, 80);
	case 2: /* a port for each host */
		return packet_of(0x0000000a + (i << 16), (uint16_t)i, 0x0200000a, 443);
	default: /* IPv6, from one network */
		p = packet_of(0, (uint16_t)(32768 + i), 0, 53);
		p.src.addr = p.dst.addr = (struct clv_addr){.b = {0xfd, 1, 2, 3}};
		p.src.addr.b[15] = (uint8_t)i;
		p.dst.addr.b[15] = 1;
		return p;
	}
}

static void test_shares_are_even(void **state)
{
	for (unsigned kind = 0; kind < 4; kind++)
		for (unsigned count = 2; count <= 8; count++) {
			unsigned got[8] = {0};

			for (unsigned i = 0; i < 8000; i++) {
				struct clv_packet p = connection(kind, i);

				got[clv_feed_choose(&p, count)]++;
			}
			for (unsigned i = 0; i < count; i++)
				assert_in_range(got[i], 8000 / count * 8 / 10, 8000 / count * 12 / 10);
		}
}

/* So many connections of one client, as its system gives it ports, or as a balancer leaves some of them to a server. */
static void expect_turns(unsigned count, unsigned step)
{
	unsigned got[8] = {0};

	for (unsigned i = 0; i < 16 * count; i++) {
		struct clv_packet p = packet_of(0x0100000a, (uint16_t)(40000 + i * step), 0x0200000a, 80);

		got[clv_feed_choose(&p, count)]++;
	}
	for (unsigned i = 0; i < count; i++)
		assert_in_range(got[i], 14, 18);
}

static void test_few_connections_take_turns(void **state)
{
	for (unsigned count = 2; count <= 8; count++) {
		expect_turns(count, 1);
		expect_turns(count, 2);
		expect_turns(count, 2 * count);
	}
}

/* ---- what comes out ---------------------------------------------------------------------------------------------- */

/* A source whose packets are as their numbers say; the time of every other one is behind that of the one before it. */
struct made {
	struct clv_source source;
	uint32_t packets, next, taken;
	int end;
	uint8_t *room; /* where the last ones lie */
	size_t used;
};

/* The payload of packet number n: how long it is, and what is in it. */
static size_t payload_bytes(uint32_t n)
{
	return n % 1000 == 999 ? CLV_ROOM_BYTES / 2 : n * 7919 % 1500;
}

/* Of which of so many connections. */
static uint16_t port_of(uint32_t n)
{
	return (uint16_t)(n * 31 % 17);
}

static void make_packet(struct made *m, struct clv_packet *p)
{
	uint32_t n = m->next++;

	*p = packet_of(1, port_of(n), 3, 4);
	p->seq = n;
	p->ts_ns = 1000 + n / 2 * 10 - n % 2 * 5;
	p->payload = clv_slice(m->room + m->used, payload_bytes(n));
	for (size_t i = 0; i < p->payload.len; i++)
		m->room[m->used + i] = (uint8_t)(n + i);
	m->used += p->payload.len;
}

/* Batches of all lengths, also none; some go on in the room of the one before. */
static int made_read(struct clv_source *s, struct clv_batch *b, uint8_t *room, int timeout_ms)
{
	struct made *m = (struct made *)s;
	unsigned most = m->next % 300 < CLV_BATCH_FRAMES ? m->next % 300 : CLV_BATCH_FRAMES;

	b->frames = b->count = 0;
	b->moved = !m->room || m->used > 1000;
	if (b->moved) {
		m->room = room;
		m->used = 0;
	}
	b->frames = 1; /* one that is no packet */
	while (m->next < m->packets && b->count <= most && b->count < CLV_BATCH_FRAMES &&
	       payload_bytes(m->next) <= CLV_ROOM_BYTES - m->used) {
		make_packet(m, &b->packet[b->count++]);
		b->frames++;
	}
	return m->next < m->packets || b->count ? (int)b->frames : m->end;
}

static void made_taken(struct clv_source *s, const struct clv_batch *b)
{
	((struct made *)s)->taken += b->count;
}

static const struct clv_source_ops made_ops = {.read = made_read, .taken = made_taken};

struct seen {
	struct clv_feed *feed;
	unsigned share, shares;
	uint32_t next; /* the next packet of this share is that one or later */
	unsigned count, delivered;
	int end;
	pthread_t thread;
};

static void on_packet(void *ctx, const struct clv_packet *p)
{
	struct seen *s = ctx;
	struct clv_source *source = clv_feed_source(s->feed, s->share);

	assert_true(p->seq >= s->next);
	assert_int_equal(clv_feed_choose(p, s->shares), s->share);
	assert_int_equal(p->src.port, port_of(p->seq));
	assert_int_equal(p->ts_ns, 1000 + p->seq / 2 * 10 - p->seq % 2 * 5);
	assert_int_equal(p->payload.len, payload_bytes(p->seq));
	for (size_t i = 0; i < p->payload.len; i += 97)
		assert_int_equal(p->payload.data[i], (uint8_t)(p->seq + i));
	if (s->shares > 1)
		assert_int_equal(source->ops->now_ns(source), 1000 + p->seq / 2 * 10);
	else
		assert_null(source->ops->now_ns);
	s->next = p->seq + 1;
	s->count++;
}

static void *poll_all(void *arg)
{
	struct seen *s = arg;
	struct clv_source *source = clv_feed_source(s->feed, s->share);
	int n;

	while ((n = source->ops->poll(source, on_packet, s, 1000)) >= 0)
		s->delivered += (unsigned)n;
	s->end = n;
	return NULL;
}

#define PACKETS 20000u

/* More than the ring holds, so the reading thread has to wait. Returns how many packets came. */
static unsigned go_round(struct made *m, unsigned shares, bool thread)
{
	struct seen seen[CLV_FEED_SHARES] = {{0}};
	struct clv_feed *f;
	unsigned count = 0;

	m->source.ops = &made_ops;
	assert_int_equal(clv_feed_new(&m->source, shares, &f), 0);
	struct clv_source *first = clv_feed_source(f, 0);
	assert_int_equal(first->ops->poll(first, on_packet, &seen[0], 0), 0);
	for (unsigned i = 0; i < shares; i++) {
		seen[i] = (struct seen){.feed = f, .share = i, .shares = shares};
		assert_int_equal(pthread_create(&seen[i].thread, NULL, poll_all, &seen[i]), 0);
	}
	if (thread)
		assert_int_equal(clv_feed_start(f), 0);
	while (!thread && clv_feed_pump(f, NULL, NULL, 10) >= 0)
		;
	for (unsigned i = 0; i < shares; i++) {
		struct clv_source *source = clv_feed_source(f, i);

		pthread_join(seen[i].thread, NULL);
		assert_int_equal(seen[i].delivered, seen[i].count);
		assert_int_equal(seen[i].end, m->end);
		if (shares > 1) /* also behind its own last packet */
			assert_int_equal(source->ops->now_ns(source), 1000 + (m->packets - 1) / 2 * 10);
		count += seen[i].count;
	}
	clv_feed_free(f);
	return count;
}

static void test_what_went_in_comes_out(void **state)
{
	for (unsigned shares = 1; shares <= CLV_FEED_SHARES; shares++) {
		struct made m = {.packets = PACKETS, .end = shares % 2 ? CLV_SOURCE_END : -EBADMSG};

		assert_int_equal(go_round(&m, shares, shares == 1), PACKETS);
		assert_int_equal(m.taken, PACKETS);
	}
}

/* Time is told where no packet is: so deadlines pass. And it counts as no packet. */
static void test_time_comes_without_packets(void **state)
{
	struct made m = {.source.ops = &made_ops, .packets = 1, .end = CLV_SOURCE_END};
	struct seen seen[2] = {{.share = 0, .shares = 2}, {.share = 1, .shares = 2}};
	struct clv_feed *f;

	assert_int_equal(clv_feed_new(&m.source, 2, &f), 0);
	seen[0].feed = seen[1].feed = f;
	assert_int_equal(clv_feed_pump(f, NULL, NULL, 0), 2);
	for (unsigned i = 0; i < 2; i++) {
		struct clv_source *source = clv_feed_source(f, i);
		struct clv_packet p = packet_of(1, port_of(0), 3, 4);

		assert_int_equal(source->ops->poll(source, on_packet, &seen[i], 1000), clv_feed_choose(&p, 2) == i);
		assert_int_equal(source->ops->now_ns(source), 1000);
		assert_int_equal(source->ops->poll(source, on_packet, &seen[i], 0), 0);
	}
	clv_feed_end(f);
	assert_int_equal(clv_feed_source(f, 0)->ops->poll(clv_feed_source(f, 0), on_packet, &seen[0], 1000),
			 CLV_SOURCE_END);
	clv_feed_free(f);
}

static void tap(void *ctx, const struct clv_packet *p)
{
	*(unsigned *)ctx += p->seq;
}

static void test_who_taps_sees_all(void **state)
{
	struct made m = {.source.ops = &made_ops, .packets = 3, .end = CLV_SOURCE_END};
	struct clv_feed *f;
	unsigned sum = 0;

	assert_int_equal(clv_feed_new(&m.source, 2, &f), 0);
	while (clv_feed_pump(f, tap, &sum, 0) >= 0)
		;
	assert_int_equal(sum, 0 + 1 + 2);
	clv_feed_free(f);
}

/* The thread ends with the feed, also when it waits for somebody who polls no more. */
static void test_it_is_left_early(void **state)
{
	struct made m = {.source.ops = &made_ops, .packets = PACKETS, .end = CLV_SOURCE_END};
	struct seen seen = {.shares = 1};

	assert_int_equal(clv_feed_new(&m.source, 1, &seen.feed), 0);
	assert_int_equal(clv_feed_start(seen.feed), 0);
	struct clv_source *source = clv_feed_source(seen.feed, 0);
	assert_true(source->ops->poll(source, on_packet, &seen, 1000) > 0);
	clv_feed_free(seen.feed);
	assert_in_range(m.next, 1, PACKETS - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_is_in_one_share),
		cmocka_unit_test(test_shares_are_even),
		cmocka_unit_test(test_few_connections_take_turns),
		cmocka_unit_test(test_what_went_in_comes_out),
		cmocka_unit_test(test_time_comes_without_packets),
		cmocka_unit_test(test_who_taps_sees_all),
		cmocka_unit_test(test_it_is_left_early),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
