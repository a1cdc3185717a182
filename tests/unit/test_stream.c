/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reassembly against the original stream: two directions are cut, shuffled, repeated and partly lost at random;
 * whatever is delivered must be the original bytes at the original positions, and nothing may be missing but what
 * was lost.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "flow/stream.h"

#define STREAM_BYTES 6000
#define MAX_PACKETS  400

static uint64_t rng;

static uint32_t roll(uint32_t n)
{
	rng ^= rng << 13;
	rng ^= rng >> 7;
	rng ^= rng << 17;
	return (uint32_t)((rng >> 11) % n);
}

/* One direction as it was sent, and what has come out of it. */
struct side {
	uint8_t sent[STREAM_BYTES];
	bool arrived[STREAM_BYTES]; /* some packet brought the byte */
	uint32_t isn;
	uint64_t at; /* bytes delivered or reported missing */
	uint64_t missing;
	bool fin;
};

struct world {
	struct clv_streams streams; /* comes first: who gets them knows its world */
	struct side side[2];
	struct clv_packet packet[MAX_PACKETS];
	int dir[MAX_PACKETS];
	int count;
	int straight; /* packets that went by clv_streams_next() */
	bool check_cause;
};

static void on_data(struct clv_streams *st, int d, const struct clv_run *run)
{
	struct world *w = (struct world *)st;
	struct side *s = &w->side[d];

	assert_int_equal((uint32_t)run->pos, s->isn + (uint32_t)s->at);
	assert_true(s->at + run->bytes.len <= STREAM_BYTES);
	assert_memory_equal(run->bytes.data, s->sent + s->at, run->bytes.len);
	if (w->check_cause) /* everything that this packet acknowledges came before it */
		assert_true((int32_t)(run->ack_seq - w->side[!d].isn) <= (int32_t)w->side[!d].at);
	s->at += run->bytes.len;
}

static void on_hole(struct clv_streams *st, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time)
{
	struct side *s = &((struct world *)st)->side[d];

	assert_int_equal((uint32_t)pos, s->isn + (uint32_t)s->at);
	assert_true(len > 0 && s->at + len <= STREAM_BYTES);
	s->at += len;
	s->missing += len;
}

static void on_fin(struct clv_streams *st, int d, uint64_t ts_ns)
{
	struct side *s = &((struct world *)st)->side[d];

	assert_false(s->fin);
	assert_int_equal(s->at, STREAM_BYTES);
	s->fin = true;
}

static void add(struct world *w, int d, uint32_t from, uint32_t len, uint32_t acked, bool fin)
{
	struct clv_packet *p = &w->packet[w->count];

	assert_true(w->count < MAX_PACKETS);
	w->dir[w->count++] = d;
	*p = (struct clv_packet){
		.ts_ns = 1000ull * (uint64_t)w->count,
		.seq = w->side[d].isn + from,
		.ack = w->side[!d].isn + acked,
		.len = len,
		.payload = clv_slice(w->side[d].sent + from, len),
		.tcp_flags = CLV_TCP_ACK | (fin ? CLV_TCP_FIN : 0),
	};
}

/* Both sides talk in turns; each packet acknowledges all that the other has said so far. */
static void converse(struct world *w)
{
	uint32_t said[2] = {0, 0};

	while (said[0] < STREAM_BYTES || said[1] < STREAM_BYTES) {
		int d = said[0] >= STREAM_BYTES ? 1 : said[1] >= STREAM_BYTES ? 0 : (int)roll(2);
		uint32_t len = 1 + roll(roll(4) ? 200 : 1400);

		if (len > STREAM_BYTES - said[d])
			len = STREAM_BYTES - said[d];
		add(w, d, said[d], len, said[!d], said[d] + len == STREAM_BYTES);
		said[d] += len;
		if (roll(8) == 0) { /* a retransmission with other borders */
			uint32_t from = roll(said[d]);
			uint32_t again = 1 + roll(said[d] - from);

			add(w, d, from, again, said[!d], false);
		}
	}
}

static void shuffle(struct world *w, uint32_t reach)
{
	for (int i = 0; reach && i + 1 < w->count; i++) {
		int j = i + (int)roll(reach);

		if (j >= w->count)
			continue;
		struct clv_packet p = w->packet[i];
		int d = w->dir[i];
		w->packet[i] = w->packet[j];
		w->dir[i] = w->dir[j];
		w->packet[j] = p;
		w->dir[j] = d;
	}
}

static void begin(struct world *w, uint64_t seed)
{
	rng = seed * 0x9e3779b97f4a7c15ull + 1;
	memset(w, 0, sizeof(*w));
	for (int d = 0; d < 2; d++) {
		w->side[d].isn = roll(4) ? (uint32_t)roll(UINT32_MAX) : UINT32_MAX - roll(STREAM_BYTES); /* wraps */
		for (int i = 0; i < STREAM_BYTES; i++)
			w->side[d].sent[i] = (uint8_t)roll(256);
	}
	converse(w);
}

/* As the engine does: what is next of plain streams is delivered by whoever has the packet. */
static void take(const struct clv_stream_user *u, struct clv_streams *st, int d, const struct clv_packet *p)
{
	struct world *w = (struct world *)st;

	if (!st->s[d].plain || !clv_streams_next(st, d, p)) {
		clv_streams_packet(u, st, d, p);
		return;
	}
	w->straight++;
	u->data(st, d,
		&(struct clv_run){
			.pos = st->s[d].next - p->len, .bytes = p->payload, .ts_ns = p->ts_ns, .ack_seq = p->ack});
}

/* Plays the packets, leaving out each with 1 in `loss`, and cutting each with 1 in `cut` (0: none). */
static void play(struct world *w, struct clv_mem *mem, uint32_t loss, uint32_t cut)
{
	const struct clv_stream_user u = {.data = on_data, .hole = on_hole, .fin = on_fin, .mem = mem};
	struct clv_streams *st = &w->streams;

	clv_streams_init(st);
	for (int d = 0; d < 2; d++)
		clv_stream_start(mem, st, d, w->side[d].isn);
	for (int i = 0; i < w->count; i++) {
		struct clv_packet p = w->packet[i];

		if (loss && roll(loss) == 0)
			continue;
		if (cut && roll(cut) == 0)
			p.payload.len = roll((uint32_t)p.len + 1);
		uint32_t from = p.seq - w->side[w->dir[i]].isn;
		memset(w->side[w->dir[i]].arrived + from, true, p.payload.len);
		take(&u, st, w->dir[i], &p);
		if (clv_streams_blocked(st) == CLV_BLOCKED_NO)
			clv_streams_trim(mem, st);
	}
	/* Retransmissions that acknowledge more than their first copies may hold each other up until here. */
	w->check_cause = false;
	while (clv_streams_give_up(&u, st))
		;
	clv_streams_fini(mem, st);
	assert_int_equal(mem->used_bytes, 0);
}

/* Returns how many packets went straight. */
static int run(uint64_t seeds, uint32_t reach, uint32_t loss, uint32_t cut, size_t budget)
{
	struct world *w = malloc(sizeof(*w));
	int straight = 0;

	for (uint64_t seed = 1; seed <= seeds; seed++) {
		struct clv_mem mem;

		begin(w, seed);
		shuffle(w, reach);
		w->check_cause = !loss && !cut && budget > 1 << 20;
		clv_mem_init(&mem, budget);
		play(w, &mem, loss, cut);
		clv_mem_fini(&mem);
		straight += w->straight;
		for (int d = 0; d < 2; d++) {
			uint64_t absent = 0;

			for (uint64_t i = 0; i < w->side[d].at; i++)
				absent += !w->side[d].arrived[i];
			assert_true(w->side[d].missing >= absent);
			if (!loss && !cut && budget > 1 << 20) {
				assert_int_equal(w->side[d].missing, 0);
				assert_true(w->side[d].fin);
			}
		}
	}
	free(w);
	return straight;
}

static void in_order(void **state)
{
	assert_true(run(200, 0, 0, 0, 8 << 20) > 0);
}

static void shuffled(void **state)
{
	run(400, 3, 0, 0, 8 << 20);
	run(400, 40, 0, 0, 8 << 20);
}

static void lost(void **state)
{
	assert_true(run(400, 0, 20, 0, 8 << 20) > 0);
	run(400, 20, 5, 0, 8 << 20);
}

static void cut_by_snaplen(void **state)
{
	run(400, 0, 0, 4, 8 << 20);
	run(400, 20, 10, 4, 8 << 20);
}

/* Room for a few segments only: holes are given up early, but no byte is ever wrong. */
static void without_memory(void **state)
{
	run(300, 40, 10, 0, 4096);
	run(300, 40, 0, 0, 256);
	run(100, 40, 0, 0, 0);
}

/* Counts what comes out. */
struct count {
	struct clv_streams st; /* comes first */
	uint64_t seen, holes;
};

static void count_data(struct clv_streams *st, int d, const struct clv_run *r)
{
	((struct count *)st)->seen += r->bytes.len;
}

static void count_hole(struct clv_streams *st, int d, uint64_t pos, uint64_t len, uint64_t ts_ns, bool over_time)
{
	((struct count *)st)->holes += len;
}

static void ignore_fin(struct clv_streams *st, int d, uint64_t ts_ns)
{
}

/* A response that acknowledges a request waits for it, but not for one whose body is being skipped. */
static void cause(void **state)
{
	struct clv_mem mem;
	const struct clv_stream_user u = {.data = count_data, .hole = count_hole, .fin = ignore_fin, .mem = &mem};
	struct count c = {0};
	struct clv_packet answer = {
		.seq = 500, .ack = 200, .len = 3, .payload = CLV_LIT("abc"), .tcp_flags = CLV_TCP_ACK};

	clv_mem_init(&mem, 1 << 20);
	clv_streams_init(&c.st);
	clv_stream_start(&mem, &c.st, 0, 100);
	clv_stream_start(&mem, &c.st, 1, 500);
	clv_streams_packet(&u, &c.st, 1, &answer);
	assert_int_equal(c.seen, 0);
	assert_int_equal(clv_streams_blocked(&c.st), CLV_BLOCKED_LOST);
	assert_true(clv_streams_give_up(&u, &c.st));
	assert_int_equal(c.seen, 3);
	assert_int_equal(c.holes, 100);

	c.st.s[0].credit = c.st.s[0].next + 1000;
	answer.seq = 503;
	answer.ack = 900;
	clv_streams_packet(&u, &c.st, 1, &answer);
	assert_int_equal(c.seen, 6);
	clv_streams_fini(&mem, &c.st);
	clv_mem_fini(&mem);
}

/* A retransmission can acknowledge more than its first copy did: both directions then wait for each other. */
static void mutual(void **state)
{
	struct clv_mem mem;
	const struct clv_stream_user u = {.data = count_data, .hole = count_hole, .fin = ignore_fin, .mem = &mem};
	struct count c = {0};
	struct clv_packet a = {.seq = 100, .ack = 503, .len = 3, .payload = CLV_LIT("abc"), .tcp_flags = CLV_TCP_ACK};
	struct clv_packet b = {
		.ts_ns = 1, .seq = 500, .ack = 103, .len = 3, .payload = CLV_LIT("def"), .tcp_flags = CLV_TCP_ACK};

	clv_mem_init(&mem, 1 << 20);
	clv_streams_init(&c.st);
	clv_stream_start(&mem, &c.st, 0, 100);
	clv_stream_start(&mem, &c.st, 1, 500);
	clv_streams_packet(&u, &c.st, 0, &a);
	clv_streams_packet(&u, &c.st, 1, &b);
	assert_int_equal(c.seen, 0);
	assert_true(clv_streams_give_up(&u, &c.st));
	assert_int_equal(c.seen, 6);
	assert_int_equal(c.holes, 0);
	assert_false(clv_streams_give_up(&u, &c.st));
	clv_streams_fini(&mem, &c.st);
	clv_mem_fini(&mem);
}

/* Only what is next, whole, and acknowledges nothing unseen goes straight; and nothing while anything waits. */
static void straight(void **state)
{
	struct clv_mem mem;
	const struct clv_stream_user u = {.data = count_data, .hole = count_hole, .fin = ignore_fin, .mem = &mem};
	struct count c = {0};
	struct clv_packet p = {.seq = 100, .ack = 500, .len = 3, .payload = CLV_LIT("abc"), .tcp_flags = CLV_TCP_ACK};
	struct clv_packet odd[] = {p, p, p, p, p, p, p, p};

	clv_mem_init(&mem, 1 << 20);
	clv_streams_init(&c.st);
	clv_stream_start(&mem, &c.st, 0, 100);
	assert_false(c.st.s[0].plain); /* where the other begins nobody knows */
	clv_stream_start(&mem, &c.st, 1, 500);
	assert_true(c.st.s[0].plain && c.st.s[1].plain);

	odd[0].seq = 101;
	odd[1].ack = 501;
	odd[2].payload.len = 2;
	odd[3].len = 0;
	odd[3].payload.len = 0;
	odd[4].tcp_flags |= CLV_TCP_FIN;
	odd[5].tcp_flags |= CLV_TCP_SYN;
	odd[6].tcp_flags = 0;
	odd[7].hole_len = 1;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_false(clv_streams_next(&c.st, 0, &odd[i]));
	p.tcp_flags |= CLV_TCP_PSH;
	assert_true(clv_streams_next(&c.st, 0, &p));
	assert_false(clv_streams_next(&c.st, 0, &p)); /* not twice */
	assert_int_equal((uint32_t)c.st.s[0].next, 103);

	p.seq = 110; /* something is missing before it */
	clv_streams_packet(&u, &c.st, 0, &p);
	assert_false(c.st.s[0].plain || c.st.s[1].plain);
	assert_int_equal(clv_streams_blocked(&c.st), CLV_BLOCKED_LATE);
	assert_true(clv_streams_give_up(&u, &c.st));
	assert_int_equal(c.holes, 7);
	assert_int_equal(clv_streams_blocked(&c.st), CLV_BLOCKED_NO);
	assert_true(mem.used_bytes > 0);
	clv_streams_trim(&mem, &c.st); /* what was kept for those that wait is given back */
	assert_int_equal(mem.used_bytes, 0);
	assert_true(c.st.s[0].plain && c.st.s[1].plain);

	odd[4].seq = 113;
	clv_streams_packet(&u, &c.st, 0, &odd[4]);
	assert_false(c.st.s[0].plain || c.st.s[1].plain); /* it is going to end */
	assert_int_equal(mem.used_bytes, 0);              /* its FIN came in turn: no need to keep it */
	clv_streams_fini(&mem, &c.st);
	clv_mem_fini(&mem);
}

/* What goes by clv_streams_acked() would have done the same by clv_streams_packet(); what does not changes nothing. */
static void acked(void **state)
{
	const struct clv_stream_user u = {.data = count_data, .hole = count_hole, .fin = ignore_fin};
	const uint8_t flags[] = {CLV_TCP_ACK, CLV_TCP_ACK | CLV_TCP_PSH, 0, CLV_TCP_ACK | CLV_TCP_FIN, CLV_TCP_RST};
	unsigned yes = 0, turns = 10000;

	rng = 7;
	for (unsigned i = 0; i < turns; i++) {
		struct count a = {0};

		clv_stream_start(NULL, &a.st, 0, 100);
		clv_stream_start(NULL, &a.st, 1, UINT32_MAX - 10);
		a.st.s[0].next += roll(50);
		a.st.s[1].next += roll(50);
		a.st.s[1].acked += roll(2) ? roll(50) : 0;
		struct count before = a, b = a;
		struct clv_packet p = {.seq = roll(300),
				       .ack = UINT32_MAX - 20 + roll(80),
				       .len = roll(10) == 0,
				       .hole_len = roll(10) == 0,
				       .tcp_flags = flags[roll(4) ? 0 : roll(sizeof(flags))]};

		if (clv_streams_acked(&a.st, 0, &p)) {
			assert_int_equal(clv_streams_packet(&u, &b.st, 0, &p), 0);
			assert_memory_equal(&a, &b, sizeof(a));
			assert_true(!p.len && !p.hole_len);
			yes++;
		} else {
			assert_memory_equal(&a, &before, sizeof(a));
		}
	}
	assert_in_range(yes, turns / 5, turns - turns / 5);
}

/* A FIN without room to keep it ends the stream at once: what is missing before it is given up. */
static void fin_without_memory(void **state)
{
	struct clv_mem mem;
	const struct clv_stream_user u = {.data = count_data, .hole = count_hole, .fin = ignore_fin, .mem = &mem};
	struct count c = {0};
	struct clv_packet fin = {.seq = 150, .ack = 500, .tcp_flags = CLV_TCP_ACK | CLV_TCP_FIN};

	for (int room = 0; room < 2; room++) {
		clv_mem_init(&mem, room ? 1 << 20 : 0);
		c = (struct count){0};
		clv_stream_start(&mem, &c.st, 0, 100);
		clv_stream_start(&mem, &c.st, 1, 500);
		clv_streams_packet(&u, &c.st, 0, &fin);
		assert_int_equal(c.holes, room ? 0 : 50);
		assert_int_equal(c.st.s[0].fin_done, !room);
		assert_int_equal(clv_streams_blocked(&c.st), room ? CLV_BLOCKED_LATE : CLV_BLOCKED_NO);
		clv_streams_fini(&mem, &c.st);
		assert_int_equal(mem.used_bytes, 0);
		clv_mem_fini(&mem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order),       cmocka_unit_test(shuffled),
		cmocka_unit_test(lost),           cmocka_unit_test(cut_by_snaplen),
		cmocka_unit_test(without_memory), cmocka_unit_test(cause),
		cmocka_unit_test(mutual),         cmocka_unit_test(straight),
		cmocka_unit_test(acked),          cmocka_unit_test(fin_without_memory),
	};

	return cmocka_run_group_tests_name("stream", tests, NULL, NULL);
}
