/* SPDX-License-Identifier: Apache-2.0 */
/* The model of reader.h. Owns nothing but the records that wait; the bytes are the talk's. Main thread. */
#include "laws/reader.h"

#include "laws/talk.h"

/* So much is left out before it is said, as SKIP_REPORT_BYTES and WINDOW_REPORT_BYTES. */
#define SKIP_REPORT   20000u
#define WINDOW_REPORT 3000u

static bool before(uint32_t a, uint32_t b)
{
	return (int32_t)(a - b) < 0;
}

void reader_init(struct reader *r, struct clv_engine *e, uint64_t *rng)
{
	*r = (struct reader){.engine = e, .talker = -1};
	r->window_bytes = 500 + talk_below(rng, talk_chance(rng, 50) ? 4000 : 60000);
	r->room = talk_chance(rng, 40) ? READER_RECORDS : 4 + talk_below(rng, 40);
}

/* ---- records ------------------------------------------------------------------------------------------------ */

static bool emit(struct reader *r, const struct clv_packet *p)
{
	if (r->count == r->room) {
		r->lost++;
		return false;
	}
	r->record[r->count++] = *p;
	return true;
}

/* A record with what the direction owes. */
static bool emit_owing(struct reader *r, int dir, struct clv_packet p)
{
	struct reader_dir *d = &r->dir[dir];

	p.hole_seq = d->unsent_from;
	p.hole_len = d->unsent_to - d->unsent_from;
	if (!emit(r, &p))
		return false;
	d->unsent_from = d->unsent_to;
	return true;
}

/* What was left out of earlier packets is told with the time of the last of them. */
static void tell_earlier(struct reader *r, int dir, const struct clv_packet *p)
{
	struct reader_dir *d = &r->dir[dir];

	if (d->unsent_from == d->unsent_to || r->left_now)
		return;
	struct clv_packet bare = *p;
	bare.ts_ns = d->left_ns;
	bare.seq = d->unsent_to;
	bare.len = 0;
	bare.payload = clv_slice(NULL, 0);
	bare.tcp_flags &= CLV_TCP_ACK;
	bare.probe = false;
	emit_owing(r, dir, bare);
}

/* [seq, seq + len) of the packet, of which the first `cap` bytes are copied. */
static void send(struct reader *r, int dir, const struct clv_packet *p, uint32_t seq, uint32_t len, uint32_t cap)
{
	struct clv_packet part = *p;

	tell_earlier(r, dir, p);
	part.seq = seq;
	part.len = len;
	part.payload = clv_slice_sub(p->payload, len ? seq - p->seq : 0, cap);
	emit_owing(r, dir, part);
}

static void leave_out(struct reader *r, int dir, const struct clv_packet *p, uint32_t from, uint32_t to)
{
	struct reader_dir *d = &r->dir[dir];

	if (d->unsent_to != from) {
		tell_earlier(r, dir, p);
		d->unsent_from = from;
	}
	d->unsent_to = to;
	d->left_ns = p->ts_ns;
	r->left_now = true;
}

/* Nothing of the packet remains to be sent. */
static void leave_rest_out(struct reader *r, int dir, const struct clv_packet *p, uint32_t from, bool tell,
			   uint32_t tell_bytes)
{
	struct reader_dir *d = &r->dir[dir];
	uint32_t end = p->seq + p->len;

	leave_out(r, dir, p, from, end);
	if (tell || p->tcp_flags & CLV_TCP_FIN || d->unsent_to - d->unsent_from >= tell_bytes)
		send(r, dir, p, end, 0, 0);
}

/* ---- packets ------------------------------------------------------------------------------------------------- */

static void probe(struct reader *r, int dir, const struct clv_packet *p, bool first)
{
	struct clv_packet probed = *p;

	r->dir[dir].unsent_from = r->dir[dir].unsent_to;
	probed.probe = true;
	if (first)
		send(r, dir, &probed, p->seq, p->len, p->len < 1024 ? p->len : 1024);
	else if (p->tcp_flags & CLV_TCP_FIN)
		send(r, dir, p, p->seq + p->len, 0, 0);
}

static void payload(struct reader *r, int dir, const struct clv_packet *p)
{
	struct reader_dir *d = &r->dir[dir];
	uint32_t from = p->seq, end = p->seq + p->len;

	if (d->skipping && before(from, d->skip_end)) {
		from = before(d->skip_end, end) ? d->skip_end : end;
		if (from == end) {
			leave_rest_out(r, dir, p, p->seq, end == d->skip_end, SKIP_REPORT);
			return;
		}
		leave_out(r, dir, p, p->seq, from);
	}
	if (!before(from, d->window_end)) {
		leave_rest_out(r, dir, p, from, !d->beyond, WINDOW_REPORT);
		d->beyond = true;
		return;
	}
	d->beyond = false;
	uint32_t left = d->window_end - from;
	send(r, dir, p, from, end - from, left < end - from ? left : end - from);
}

void reader_packet(struct reader *r, int dir, const struct clv_packet *p)
{
	struct reader_dir *d = &r->dir[dir];
	bool turn = r->talker != dir;

	r->left_now = false;
	if (p->len)
		r->talker = dir;
	if (p->tcp_flags & CLV_TCP_SYN) {
		d->unsent_from = d->unsent_to = d->read_to = p->seq + 1;
		d->window_end = p->seq + 1 + r->window_bytes;
	}
	if (!p->len)
		send(r, dir, p, p->seq, 0, 0);
	else if (d->ignored)
		return;
	else if (d->probed)
		probe(r, dir, p, turn);
	else
		payload(r, dir, p);
}

void reader_read(struct reader *r)
{
	static uint8_t copy[65536]; /* so that reading behind a payload is seen by sanitizers */

	for (unsigned i = 0; i < r->count; i++) {
		struct clv_packet *p = &r->record[i];
		struct reader_dir *d = &r->dir[p->kernel.hook];
		uint8_t *at = copy + sizeof(copy) - p->payload.len;

		if (p->payload.len)
			memcpy(at, p->payload.data, p->payload.len);
		p->payload = clv_slice(at, p->payload.len);
		if (before(d->read_to, p->seq + p->len))
			d->read_to = p->seq + p->len;
		clv_engine_packet(r->engine, p);
	}
	r->count = 0;
}

void reader_verdict(void *ctx, const struct clv_kernel_ref *ref, const struct clv_kverdict *v)
{
	struct reader *r = ctx;
	struct reader_dir *d = &r->dir[ref->hook];
	uint32_t most = d->read_to + r->window_bytes;

	switch (v->kind) {
	case CLV_VERDICT_WINDOW:
		if (d->skipping && before(d->read_to, d->skip_end))
			most = d->skip_end + r->window_bytes;
		d->window_end = before(most, v->seq) ? most : v->seq;
		d->probed = false;
		break;
	case CLV_VERDICT_SKIP:
		d->skip_end = v->seq;
		d->skipping = true;
		break;
	case CLV_VERDICT_IGNORE:
		d->ignored = true;
		break;
	case CLV_VERDICT_PROBE:
		d->probed = true;
		break;
	}
}
