/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Drives one parser over one talk, as an engine would. Aborts where the parser breaks its contract. Owns the memory
 * that the parser sees; main thread.
 */
#include "laws/pump.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/limits.h"

#define PUMP_TAIL (2 * CLV_HEAD_BYTES + 131072u)

static void fail(const struct pump *p, const char *what)
{
	if (p->broken)
		p->broken(what);
	else
		fprintf(stderr, "# %s: contract broken: %s\n", p->proto->name, what);
	abort();
}

/* ---- the sink: what the parser says against what is true ------------------------------------------------ */

/* Several answers may begin at one place: then they come in the order of the talk. */
static int find(const struct pump *p, enum clv_dir dir, uint64_t start)
{
	int found = -1;

	for (unsigned i = 0; i < p->talk->messages; i++) {
		if (p->talk->message[i].dir != dir || p->talk->message[i].start != start)
			continue;
		found = (int)i;
		if (!p->seen[i])
			break;
	}
	return found;
}

static void wrong(struct pump *p, enum clv_dir dir, uint64_t at, const char *what)
{
	char line[sizeof(p->first_wrong) + 32];

	if (p->wrong++ && !p->verbose)
		return;
	snprintf(line, sizeof(line), "talk %lu, dir %d, offset %lu: %s", (unsigned long)p->talk->seed, dir,
		 (unsigned long)at, what);
	if (p->wrong == 1)
		snprintf(p->first_wrong, sizeof(p->first_wrong), "%s", strchr(line, ',') + 2);
	if (p->verbose)
		p->verbose(line);
}

static const void *begins(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	struct pump *p = (struct pump *)sink;
	struct pump_side *s = &p->side[dir];
	uint64_t start = s->base + msg->at;
	int i = find(p, dir, start);

	p->reports++;
	s->message = i;
	s->body = 0;
	bool offer = p->offered && msg->role == CLV_RESPONSE;
	p->offered &= !offer;
	if (i < 0 && offer) {
		s->offer = true;
		return NULL;
	}
	if (i < 0) {
		wrong(p, dir, start, "no message begins here");
		return NULL;
	}
	const struct talk_message *m = &p->talk->message[i];
	bool cut = msg->flags & CLV_MSG_TRUNCATED;
	if (msg->at > s->tail_len || (!m->decoded && msg->at + msg->head.len > s->tail_len) ||
	    msg->facts_size > CLV_FACTS_MAX)
		fail(p, "head or facts out of bounds");
	if (p->seen[i] & (SEEN_HEAD | SEEN_CUT))
		wrong(p, dir, start, "reported twice");
	if (m->role != msg->role || m->tag != p->sample->tag(msg) ||
	    (!cut && !m->decoded && m->head_len != msg->head.len))
		wrong(p, dir, start, "another message");
	p->seen[i] |= cut ? SEEN_CUT : SEEN_HEAD;
	if (msg->facts_size)
		memcpy(p->facts[i], msg->facts, msg->facts_size);
	p->ids[i] = msg->id;
	p->bodies[i] = 0;
	s->alone = m->request >= 0 && !(p->seen[m->request] & SEEN_HEAD);
	return m->request < 0 || s->alone ? NULL : p->facts[m->request];
}

static bool by_id(const struct pump *p)
{
	return p->proto->caps & CLV_CAP_BY_ID;
}

/* The request or response (by whom it is for) of that id that was announced and has not ended; -1: none. */
static int find_open(const struct pump *p, enum clv_dir to, uint64_t id)
{
	for (unsigned i = 0; i < p->talk->messages; i++)
		if ((p->talk->message[i].role == CLV_REQUEST) == (to == CLV_TO_SERVER) && p->ids[i] == id &&
		    p->seen[i] && !(p->seen[i] & SEEN_END))
			return (int)i;
	return -1;
}

/* Its exchange was given up: whatever was under way has ended. */
static void cancel(struct pump *p, uint64_t id)
{
	for (int to = 0; to < 2; to++)
		for (int i; (i = find_open(p, (enum clv_dir)to, id)) >= 0;)
			p->seen[i] |= SEEN_END;
}

static void pump_body(struct clv_sink *sink, enum clv_dir dir, uint64_t id, uint64_t bytes)
{
	struct pump *p = (struct pump *)sink;
	int i = find_open(p, dir, id);

	if (!by_id(p))
		fail(p, "body() without CLV_CAP_BY_ID");
	if (i >= 0)
		p->bodies[i] += bytes;
	else if (!p->in_doubt)
		wrong(p, dir, p->side[dir].base, "a body of nothing");
}

static void pump_update(struct clv_sink *sink, enum clv_dir dir, uint64_t id, const void *facts, uint16_t size)
{
}

static void pump_note(struct clv_sink *sink, enum clv_note note, struct clv_slice text)
{
}

static void pump_end(struct clv_sink *sink, enum clv_dir dir, const struct clv_end *msg_end)
{
	struct pump *p = (struct pump *)sink;
	struct pump_side *s = &p->side[dir];
	uint32_t at = msg_end->at;
	uint64_t end = p->side[p->feeding].base + at;
	int i = by_id(p) ? find_open(p, dir, msg_end->id) : s->message;

	p->reports++;
	s->message = -1;
	if (at > p->side[p->feeding].tail_len)
		fail(p, "end out of bounds");
	if (by_id(p) && msg_end->cancelled) {
		cancel(p, msg_end->id);
		return;
	}
	if (i < 0 && ((by_id(p) && p->in_doubt) || s->offer)) {
		s->offer = false;
		return;
	}
	if (i < 0) {
		wrong(p, dir, end, "the end of nothing");
		return;
	}
	const struct talk_message *m = &p->talk->message[i];
	if (p->seen[i] & SEEN_CUT) { /* it ends where it was cut */
		p->seen[i] |= SEEN_END;
		return;
	}
	/* Without its request a response to HEAD cannot be told from others. */
	if (p->in_doubt && s->alone && !by_id(p))
		return;
	uint64_t body = by_id(p) ? p->bodies[i] : s->body;
	bool here = !by_id(p) || m->dir == p->feeding; /* else it is the other side that ends it */
	/* With ids a message may go on behind a hole: then its size is not known. */
	if ((here && end != m->end) || (body != m->body_bytes && !(by_id(p) && p->in_doubt)))
		wrong(p, dir, end, "another end");
	p->seen[i] |= SEEN_END;
}

static const void *pump_head(struct clv_sink *sink, enum clv_dir dir, const struct clv_msg *msg)
{
	const void *facts = begins(sink, dir, msg);
	struct clv_slice all = msg->raw.len ? msg->raw : msg->head;

	if (msg->flags & CLV_MSG_ENDS && msg->role != CLV_REQUEST)
		fail((struct pump *)sink, "a response that ends without end()");
	if (msg->flags & CLV_MSG_ENDS)
		pump_end(sink, CLV_TO_SERVER, &(struct clv_end){.id = msg->id, .at = msg->at + (uint32_t)all.len});
	return facts;
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

	p->feeding = dir;
	/* While it hunts, the tail is nothing yet. */
	p->proto->gap(p->state, dir, clv_slice(s->tail, lost && !s->hunting ? s->tail_len : 0), lost, &p->sink);
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
	p->feeding = dir;
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
	case CLV_FED_SWITCH:
		if (s->message >= 0)
			pump_end(&p->sink, dir, &(struct clv_end){.at = 0});
		/* fall through */
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

	if (s->over) { /* nobody reads it */
		drop_tail(p, dir);
		s->base += len;
		return;
	}
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

void pump_datagram(struct pump *p, enum clv_dir dir, uint32_t len, uint32_t captured)
{
	struct pump_side *s = &p->side[dir];

	p->feeding = dir;
	p->in_doubt |= captured < len;
	append(p, dir, p->talk->bytes[dir] + s->base, captured);
	if (captured && captured < len)
		p->proto->gap(p->state, dir, clv_slice(s->tail, captured), len - captured, &p->sink);
	if (captured == len) {
		struct clv_fed fed = p->proto->feed(p->state, dir, clv_slice(s->tail, len), &p->sink);

		if (fed.v == CLV_FED_OK && (fed.used != len || fed.skip))
			fail(p, "not all of a datagram is used");
		if (fed.v != CLV_FED_OK)
			wrong(p, dir, s->base, "taken for bad");
	}
	drop_tail(p, dir);
	s->base += len - captured;
}

void pump_fin(struct pump *p, enum clv_dir dir)
{
	struct pump_side *s = &p->side[dir];

	p->feeding = dir;
	if (!s->over && !s->hunting)
		p->proto->fin(p->state, dir, clv_slice(s->tail, s->tail_len), &p->sink);
	s->over = true;
}

/* ---- life ------------------------------------------------------------------------------------------------- */

static uint8_t *map(size_t size)
{
	uint8_t *area = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (area == MAP_FAILED)
		abort();
	return area;
}

/* Nothing is taken from the heap, so that what a parser does there shows. */
void pump_init(struct pump *p, const struct talk_sample *sample)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	memset(p, 0, sizeof(*p));
	p->sink = (struct clv_sink){
		.head = pump_head, .end = pump_end, .body = pump_body, .update = pump_update, .note = pump_note};
	p->sample = sample;
	p->proto = clv_proto_find(sample->proto);
	if (!p->proto)
		abort();
	p->state = map(p->proto->state_size);
	p->loans.area = map(PUMP_LOANS);
	for (int d = 0; d < 2; d++) {
		uint8_t *area = map(PUMP_TAIL + page);

		if (mprotect(area + PUMP_TAIL, page, PROT_NONE))
			abort();
		p->guard[d] = (struct pump_guard){.area = area, .size = PUMP_TAIL};
	}
}

static void pump_close(struct pump *p)
{
	if (p->opened && p->proto->close)
		p->proto->close(p->state);
	if (p->loans.count)
		fail(p, "memory is not given back in close()");
	p->opened = false;
}

void pump_fini(struct pump *p)
{
	pump_close(p);
	for (int d = 0; d < 2; d++)
		munmap(p->guard[d].area, p->guard[d].size + (size_t)sysconf(_SC_PAGESIZE));
	munmap(p->loans.area, PUMP_LOANS);
	munmap(p->state, p->proto->state_size);
}

static unsigned loan_class(size_t size)
{
	unsigned class = 0;

	while (((size_t)1 << (PUMP_LOAN_SHIFT + class)) < size)
		class ++;
	return class;
}

static void *pump_alloc(void *ctx, size_t size)
{
	struct pump_loans *l = ctx;
	unsigned class = size && size <= PUMP_LOANS ? loan_class(size) : PUMP_LOAN_CLASSES;
	size_t bytes = (size_t)1 << (PUMP_LOAN_SHIFT + class);
	void *block;

	if (class >= PUMP_LOAN_CLASSES)
		return NULL;
	block = l->free[class];
	if (block) {
		memcpy(&l->free[class], block, sizeof(void *));
	} else if (bytes <= PUMP_LOANS - l->used) {
		block = l->area + l->used;
		l->used += bytes;
	}
	l->count += block != NULL;
	return block;
}

static void pump_free(void *ctx, void *block, size_t size)
{
	struct pump_loans *l = ctx;
	unsigned class = loan_class(size);

	if (!block)
		return;
	memcpy(block, &l->free[class], sizeof(void *));
	l->free[class] = block;
	l->count--;
}

struct clv_slice pump_slice(struct pump *p, enum clv_dir dir, uint32_t from, uint32_t len)
{
	struct pump_guard *g = &p->guard[dir];

	if (len > g->size)
		len = (uint32_t)g->size;
	uint8_t *to = g->area + g->size - len;
	memcpy(to, p->talk->bytes[dir] + from, len);
	return clv_slice(to, len);
}

enum clv_match pump_probe(struct pump *p, enum clv_dir dir, uint32_t len, enum clv_where where)
{
	if (len > p->talk->len[dir])
		len = p->talk->len[dir];
	return p->proto->probe(dir, pump_slice(p, dir, 0, len), where);
}

void pump_open(struct pump *p, const struct talk *talk, bool midstream, const uint32_t from[2])
{
	struct clv_conn_info conn = {.server_port = p->sample->port ? p->sample->port : 80,
				     .midstream = midstream,
				     .datagram = p->sample->datagram,
				     .alloc = pump_alloc,
				     .free = pump_free,
				     .mem = &p->loans};

	pump_close(p);
	p->opened = true;

	p->talk = talk;
	p->wrong = p->reports = 0;
	p->first_wrong[0] = '\0';
	p->most_tail = 0;
	p->in_doubt = midstream;
	p->offered = midstream && p->sample->offers_late;
	memset(p->seen, 0, sizeof(p->seen));
	memset(p->state, 0, p->proto->state_size);
	for (int d = 0; d < 2; d++)
		p->side[d] = (struct pump_side){.tail = p->guard[d].area + p->guard[d].size,
						.base = from[d],
						.hunting = midstream && !p->sample->datagram,
						.message = -1};
	p->proto->open(p->state, &conn);
}
