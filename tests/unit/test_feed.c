/* SPDX-License-Identifier: Apache-2.0 */
/* source/feed.c: what comes out is what went in, with the time; and who gets what. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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

/* Both directions, every place of capture and side: one feed, since flows of one connection must be able to meet. */
static void test_a_connection_is_of_one_feed(void **state)
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

static void test_feeds_get_even_shares(void **state)
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

/* ---- what comes out ---------------------------------------------------------------------------------------------- */

struct seen {
	struct clv_feed *feed;
	uint32_t next;
	uint64_t bytes;
};

/* The payload of packet number n: how long it is, and what is in it. */
static size_t payload_bytes(uint32_t n)
{
	return n % 1000 == 999 ? 3 * CLV_FEED_BATCH_BYTES : n * 7919 % 1500;
}

static void on_packet(void *ctx, const struct clv_packet *p)
{
	struct seen *s = ctx;
	struct clv_source *source = clv_feed_source(s->feed);

	assert_int_equal(p->seq, s->next);
	assert_int_equal(p->ts_ns, 1000 + s->next / 2 * 10);
	assert_int_equal(p->payload.len, payload_bytes(s->next));
	for (size_t i = 0; i < p->payload.len; i += 97)
		assert_int_equal(p->payload.data[i], (uint8_t)(s->next + i));
	assert_int_equal(source->ops->now_ns(source), p->ts_ns + s->next % 2 * 5);
	s->next++;
	s->bytes += p->payload.len;
}

#define PACKETS 5000u

static void *feed_all(void *arg)
{
	static uint8_t payload[3 * CLV_FEED_BATCH_BYTES];
	struct clv_feed *f = arg;
	struct clv_packet p = packet_of(1, 2, 3, 4);

	for (uint32_t n = 0; n < PACKETS; n++) {
		p.seq = n;
		p.ts_ns = 1000 + n / 2 * 10;
		p.payload = clv_slice(payload, payload_bytes(n));
		for (size_t i = 0; i < p.payload.len; i++)
			payload[i] = (uint8_t)(n + i);
		if (clv_feed_packet(f, &p, p.ts_ns + n % 2 * 5))
			break; /* the other side misses it */
		if (n % 700 == 0)
			clv_feed_flush(f, p.ts_ns + n % 2 * 5);
	}
	clv_feed_end(f, 1000000);
	return NULL;
}

/* More than the batches hold, so the feeding thread has to wait. */
static void test_what_went_in_comes_out(void **state)
{
	struct seen s = {0};
	pthread_t thread;
	unsigned delivered = 0;
	int n;

	assert_int_equal(clv_feed_new(&s.feed), 0);
	struct clv_source *source = clv_feed_source(s.feed);
	assert_int_equal(source->ops->poll(source, on_packet, &s, 0), 0);
	assert_int_equal(pthread_create(&thread, NULL, feed_all, s.feed), 0);
	while ((n = source->ops->poll(source, on_packet, &s, 1000)) != CLV_SOURCE_END) {
		assert_true(n >= 0);
		delivered += (unsigned)n;
	}
	pthread_join(thread, NULL);
	assert_int_equal(delivered, PACKETS);
	assert_int_equal(s.next, PACKETS);
	assert_int_equal(source->ops->now_ns(source), 1000000);
	clv_feed_free(s.feed);
}

/* Time is told where no packet is: so deadlines pass. */
static void test_time_comes_without_packets(void **state)
{
	struct seen s = {0};

	assert_int_equal(clv_feed_new(&s.feed), 0);
	struct clv_source *source = clv_feed_source(s.feed);
	clv_feed_flush(s.feed, CLV_FEED_TIME_NS + 5);
	assert_int_equal(source->ops->poll(source, on_packet, &s, 1000), 0);
	assert_int_equal(source->ops->now_ns(source), CLV_FEED_TIME_NS + 5);
	for (int i = 0; i < 100; i++) /* but not again and again */
		clv_feed_flush(s.feed, CLV_FEED_TIME_NS + 6);
	clv_feed_end(s.feed, CLV_FEED_TIME_NS + 6);
	assert_int_equal(source->ops->poll(source, on_packet, &s, 1000), CLV_SOURCE_END);
	clv_feed_free(s.feed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_connection_is_of_one_feed),
		cmocka_unit_test(test_feeds_get_even_shares),
		cmocka_unit_test(test_what_went_in_comes_out),
		cmocka_unit_test(test_time_comes_without_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
