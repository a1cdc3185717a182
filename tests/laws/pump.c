/* SPDX-License-Identifier: Apache-2.0 */
/* Drives one parser over one talk, as an engine would. Aborts where the parser breaks its contract. */
#include "pump.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/limits.h"

#define PUMP_TAIL (2 * CLV_HEAD_BYTES + 131072u)

static void fail(const struct pump *p, const char *what)
{
	fprintf(stderr, "# %s: contract broken: %s\n", p->proto->name, what);
	abort();
}

/* ---- the sink: what the parser says against what is true ------------------------------------------------ */

static int find(const struct pump *p, enum clv_dir dir, uint64_t start)
{
	for (unsigned i = 0; i < p->talk->messages; i++)
		if (p->talk->message[i].dir == dir && p->talk->message[i].start == start)
			return (int)i;
	return -1;
}

static void wrong(struct pump *p, enum clv_dir dir, uint64_t at, const char *what)
{
	p->wrong++;
	if (p->verbose)
		fprintf(stderr, "# talk %lu, dir %d, offset %lu: %s\n", (unsigned long)p->talk->seed, dir,
			(unsigned long)at, what);
}

static const void *pump_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	struct pump *p = (struct pump *)sink;
	struct pump_side *s = &p->side[dir];
	uint64_t start = s->base + msg->at;
	int i = find(p, dir, start);

	p->reports++;
	s->message = i;
	s->body = 0;
	if (i < 0) {
		wrong(p, dir, start, "no message begins here");
		return NULL;
	}
	const struct talk_message *m = &p->talk->message[i];
	bool cut = msg->flags & CLV_MSG_TRUNCATED;
	if (msg->at + msg->head.len > s->tail_len || msg->facts_size > CLV_FACTS_MAX)
		fail(p, "head or facts out of bounds");
	if (p->seen[i] & (SEEN_HEAD | SEEN_CUT))
		wrong(p, dir, start, "reported twice");
	if (m->role != msg->role || m->tag != p->sample->tag(msg) || (!cut && m->head_len != msg->head.len))
		wrong(p, dir, start, "another message");
	p->seen[i] |= cut ? SEEN_CUT : SEEN_HEAD;
	memcpy(p->facts[i], msg->facts, msg->facts_size);
	s->alone = m->request >= 0 && !(p->seen[m->request] & SEEN_HEAD);
	return m->request < 0 || s->alone ? NULL : p->facts[m->request];
}

static void pump_end(struct clv_sink *sink, enum clv_dir dir, uint32_t at)
{
	struct pump *p = (struct pump *)sink;
	struct pump_side *s = &p->side[dir];
	uint64_t end = s->base + at;
	int i = s->message;

	p->reports++;
	s->message = -1;
	if (at > s->tail_len)
		fail(p, "end out of bounds");
	if (i < 0) {
		wrong(p, dir, end, "the end of nothing");
		return;
	}
	const struct talk_message *m = &p->talk->message[i];
	/* Without its request a response to HEAD cannot be told from others. */
	if (p->in_doubt && s->alone)
		return;
	if (end != m->end || s->body != m->body_bytes)
		wrong(p, dir, end, "another end");
	p->seen[i] |= SEEN_END;
}

/* ---- the stream ------------------------------------------------------------------------------------------- */

/* Drops `n` bytes of the tail's front. */
static void use(struct pump_side *s, uint64_t n)
{
	s->tail += n;
	s->tail_len -= (uint32_t)n;
	s->base += n;
}

/* Moves the tail so that it ends at the guard page, with room for `more` bytes behind it. */
static void append(struct pump *p, enum clv_dir dir, const uint8_t *data, uint32_t more)
{
	struct pump_side *s = &p->side[dir];
	struct pump_guard *g = &p->guard[dir];

	if (s->tail_len + more > g->size)
		fail(p, "the tail has no bound");
	uint8_t *to = g->area + g->size - s->tail_len - more;
	memmove(to, s->tail, s->tail_len);
	memcpy(to + s->tail_len, data, more);
	s->tail = to;
	s->tail_len += more;
}

static void drop_tail(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];

	use(s, s->tail_len);
	s->tail = p->guard[dir].area + p->guard[dir].size;
}

/* Pays what it can of a skip. True when nothing is owed any more. */
static bool pay(struct pump_side *s)
{
	uint64_t n = s->debt < s->tail_len ? s->debt : s->tail_len;

	use(s, n);
	s->body += n;
	if (s->debt != CLV_SKIP_TO_FIN)
		s->debt -= n;
	return !s->debt;
}

static void gap(struct pump *p, enum clv_dir dir, uint64_t lost)
{
	struct pump_side *s = &p->side[dir];

	p->proto->gap(p->state, dir, clv_slice(s->tail, lost ? s->tail_len : 0), lost, &p->sink);
	s->message = -1;
	s->hunting = true;
	p->in_doubt = true;
}

static void hunt(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];
	ptrdiff_t at = p->proto->resync(p->state, dir, clv_slice(s->tail, s->tail_len), s->at_packet);

	s->at_packet = false;
	if (at >= 0) {
		if ((size_t)at >= s->tail_len)
			fail(p, "resync beyond the slice");
		s->hunting = false;
		use(s, (uint64_t)at);
		return;
	}
	uint64_t keep = (uint64_t)(-1 - at);
	if (keep > s->tail_len)
		fail(p, "resync keeps more than there is");
	use(s, s->tail_len - keep);
}

/* One call of feed(). True when another makes sense. */
static bool feed(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];
	unsigned before = p->reports;
	struct clv_fed fed = p->proto->feed(p->state, dir, clv_slice(s->tail, s->tail_len), &p->sink);
	if (fed.used > s->tail_len)
		fail(p, "used more than there is");
	use(s, fed.used);
	s->debt = fed.skip;
	switch (fed.v) {
	case CLV_FED_BAD:
		/* Framing errors are no part of the talks: only after a loss may a parser stumble. */
		if (!p->in_doubt)
			wrong(p, dir, s->base, "taken for bad");
		gap(p, dir, 0);
		return true;
	case CLV_FED_OPAQUE:
		for (int d = 0; d < 2; d++) {
			if (!p->in_doubt && p->side[d].base != p->talk->opaque_at[d])
				wrong(p, (enum clv_dir)d, p->side[d].base, "taken for opaque");
			p->side[d].over = true;
		}
		return false;
	case CLV_FED_MORE:
		return false;
	default:
		if (!fed.used && !fed.skip && p->reports == before && s->tail_len)
			fail(p, "feed makes no progress");
		return fed.used || fed.skip || s->tail_len;
	}
}

/* Goes on with a direction as far as it can. True when it reported something. */
static bool run(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];
	unsigned before = p->reports;

	while (!s->over) {
		bool paid = s->debt != 0;
		if (!pay(s))
			break;
		if (s->hunting)
			hunt(p, dir);
		if (s->hunting || (!s->tail_len && !paid))
			break;
		if (!feed(p, dir))
			break;
	}
	if (s->tail_len > p->most_tail)
		p->most_tail = s->tail_len;
	return p->reports != before;
}

void pump_bytes(struct pump *p, enum clv_dir dir, uint32_t len)
{
	struct pump_side *s = &p->side[dir];
	uint64_t from = s->base + s->tail_len;

	s->at_packet = s->tail_len == 0;
	append(p, dir, p->talk->bytes[dir] + from, len);
	/* What this direction said may be what the other one waits for, and so on. */
	while (run(p, dir)) {
		dir = dir == CLV_TO_SERVER ? CLV_TO_CLIENT : CLV_TO_SERVER;
		if (!p->side[dir].tail_len)
			break;
	}
}

void pump_hole(struct pump *p, enum clv_dir dir, uint32_t len)
{
	struct pump_side *s = &p->side[dir];

	if (s->over || s->debt == CLV_SKIP_TO_FIN) {
		s->body += len;
		drop_tail(p, dir);
		s->base += len;
		return;
	}
	uint32_t pays = s->debt < len ? (uint32_t)s->debt : len;
	s->debt -= pays;
	s->body += pays;
	if (pays) {
		s->base += pays;
		len -= pays;
		if (!s->debt)
			feed(p, dir);
	}
	if (!len)
		return;
	gap(p, dir, len);
	drop_tail(p, dir);
	s->base += len;
}

void pump_fin(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];

	if (!s->over && !s->hunting)
		p->proto->fin(p->state, dir, clv_slice(s->tail, s->tail_len), &p->sink);
	s->over = true;
}

/* ---- life ------------------------------------------------------------------------------------------------- */

void pump_init(struct pump *p, const struct talk_sample *sample)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	memset(p, 0, sizeof(*p));
	p->sink = (struct clv_sink){.head = pump_head, .end = pump_end};
	p->sample = sample;
	p->proto = clv_proto_find(sample->proto);
	if (!p->proto || !(p->state = malloc(p->proto->state_size)))
		abort();
	for (int d = 0; d < 2; d++) {
		uint8_t *area =
			mmap(NULL, PUMP_TAIL + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (area == MAP_FAILED || mprotect(area + PUMP_TAIL, page, PROT_NONE))
			abort();
		p->guard[d] = (struct pump_guard){.area = area, .size = PUMP_TAIL};
	}
}

void pump_fini(struct pump *p)
{
	for (int d = 0; d < 2; d++)
		munmap(p->guard[d].area, p->guard[d].size + (size_t)sysconf(_SC_PAGESIZE));
	free(p->state);
}

void pump_open(struct pump *p, const struct talk *talk, bool midstream, const uint32_t from[2])
{
	struct clv_conn_info conn = {.server_port = 80, .midstream = midstream};

	p->talk = talk;
	p->wrong = p->reports = 0;
	p->most_tail = 0;
	p->in_doubt = midstream;
	memset(p->seen, 0, sizeof(p->seen));
	memset(p->state, 0, p->proto->state_size);
	for (int d = 0; d < 2; d++)
		p->side[d] = (struct pump_side){.tail = p->guard[d].area + p->guard[d].size,
						.base = from[d],
						.hunting = midstream,
						.message = -1};
	p->proto->open(p->state, &conn);
}
