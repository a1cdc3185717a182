/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/2: frames and streams (RFC 9113), and where gRPC's messages begin. What a span says of them: http2_span.c,
 * grpc_span.c; header compression: hpack.c; how a head is written down: http2_head.c.
 *
 *	connection = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" (the client) *frame
 *	frame      = length(24) type(8) flags(8) R(1) stream(31) payload
 *	message    = HEADERS *CONTINUATION *DATA [ HEADERS *CONTINUATION ], all of one stream; END_STREAM ends it
 *	DATA       = [ pad-length(8) ] data padding
 *	HEADERS    = [ pad-length(8) ] [ E(1) dependency(31) weight(8) ] block padding
 *	gRPC       = *( flags(8) length(32) message ), cut into DATA anywhere
 *
 * A header block is read when all of its frames are there, since the table must see every one. DATA is stepped over;
 * of gRPC's, the five bytes before each message are read. Both directions share the table of streams, which belongs
 * to the engine's memory and grows with the streams that are open at once, to a bound. Engine thread.
 */
#include "proto/http2.h"

#include <assert.h>
#include <endian.h>
#include <stdlib.h>

#include "base/hash.h"
#include "engine/limits.h"
#include "proto/hpack.h"
#include "proto/http2_head.h"
#include "proto/http2_memo.h"

#define HTTP2_HEADER_BYTES 9u
/* Places for streams of one connection that are open at once, three of four used; of more the oldest are forgotten. */
#define HTTP2_SLOTS_MAX (2 * CLV_PENDING_MAX)
#define HTTP2_SLOTS_MIN 16u
/* The homes of so many ids are in a row. */
#define HTTP2_ROW_SHIFT 13
/* Whenever room is made, it is for one in so many of the slots: looking through all of them is dear. */
#define HTTP2_ROOM_PART 16u
/* A server says GOAWAY twice to end well; what else it says of that is not looked at any more. */
#define HTTP2_GOAWAYS 8u
/* A grpc-web trailer longer than this is not read. */
#define HTTP2_WEB_TRAILER_BYTES 2048u
/* Of a header block, so much goes into a request's ids. */
#define HTTP2_RAW_BYTES 16384u
/* Frames that resync() and probe() believe in: what all peers must accept (SETTINGS_MAX_FRAME_SIZE's default). */
#define HTTP2_FRAME_BYTES 16384u

_Static_assert(sizeof(struct clv_http2_facts) <= CLV_FACTS_MAX, "facts outgrew their place");
_Static_assert(offsetof(struct clv_http2_facts, http) == 0, "what describes HTTP/1 may look at these");

enum http2_type {
	HTTP2_DATA,
	HTTP2_HEADERS,
	HTTP2_PRIORITY,
	HTTP2_RST_STREAM,
	HTTP2_SETTINGS,
	HTTP2_PUSH_PROMISE,
	HTTP2_PING,
	HTTP2_GOAWAY,
	HTTP2_WINDOW_UPDATE,
	HTTP2_CONTINUATION,
	HTTP2_TYPES,
};

#define HTTP2_END_STREAM  0x01u
#define HTTP2_ACK         0x01u
#define HTTP2_END_HEADERS 0x04u
#define HTTP2_PADDED      0x08u
#define HTTP2_PRIORITIES  0x20u

/* Error codes that mean no error. */
#define HTTP2_NO_ERROR 0u

struct http2_frame {
	uint32_t len; /* of the payload */
	uint32_t stream;
	uint8_t type, flags;
	bool reserved; /* the bit that must be 0 */
};

/* Where in gRPC's messages a direction of a stream is. */
struct http2_walk {
	uint32_t left; /* bytes of the message that are still to come */
	uint8_t have;  /* bytes of the prefix */
	uint8_t prefix[5];
	bool trailer; /* the message is grpc-web's trailers, to be read */
	bool lost;    /* some of it was not seen: nobody knows where the next one begins */
};

enum http2_stage {
	HTTP2_UNSEEN,
	HTTP2_OPEN,
	HTTP2_ENDED,
};

/* By enum clv_dir where there are two. */
struct http2_stream {
	uint32_t id;      /* 0: it is none */
	uint8_t stage[2]; /* enum http2_stage, of the messages */
	bool foreign;     /* the request came before the connection was HTTP/2: its facts are another protocol's */
	bool dead;        /* given up; what still comes of it is ignored */
	uint32_t lingers; /* given up by the client as the n-th of all, but an answer may be on its way; 0: no */
	uint32_t linger_before, linger_after; /* then: the streams that were given up before and after; 0: none */
	uint32_t after;                       /* so many were given up when this one was asked; of none: the next one */
	uint32_t era[2];                      /* http2_side.era when the request was seen */
	bool amended[2];                      /* the facts are no longer those that the head came with */
	struct http2_walk walk[2];
	struct clv_http2_facts facts[2]; /* undefined where no head was seen */
};

/* Where a stream is found. */
struct http2_slot {
	uint32_t id;   /* 0: the slot is empty */
	uint16_t at;   /* which of http2_state.streams it is */
	uint16_t home; /* the slot where it would be found at once */
};
_Static_assert(HTTP2_SLOTS_MAX <= UINT16_MAX + 1u, "struct http2_slot: 16 bits");

enum http2_phase {
	HTTP2_FRAME, /* before a frame's header */
	HTTP2_BODY,  /* in the data of a DATA frame */
};

struct http2_side {
	uint8_t phase;
	bool end_stream;  /* the DATA frame that is being read ends its message */
	bool sure;        /* only data was missed: it is known where the next frame begins */
	bool bodies;      /* DATA was seen */
	uint32_t stream;  /* of that frame */
	uint32_t left;    /* of its data */
	uint32_t padding; /* behind it */
	uint32_t era;     /* counts the times that something may have been missed */
	struct clv_hpack hpack;
	struct http2_memo memo;
};

struct http2_state {
	struct http2_side side[2];
	struct http2_stream *streams; /* three for four slots, which are behind them; NULL: none yet */
	struct http2_slot *slot;      /* an open-addressing table */
	uint32_t slots;               /* of it: a power of two */
	uint32_t vacant;              /* the one of streams that takes the next; from there on by `after` */
	uint64_t seed;                /* of the hash: odd */
	uint32_t used;
	bool grpc;                          /* was seen: DATA must be read */
	uint32_t resets;                    /* streams that the client gave up before they were answered */
	uint32_t linger_first, linger_last; /* of them, those that linger: in their order */
	uint32_t newest;                    /* the highest of all streams that the client began */
	uint32_t goaways;                   /* of the server, so far */
	uint32_t pinged;                    /* resets, when the client sent the PING that is not answered yet */
	void *(*alloc)(void *ctx, size_t size);
	void (*free)(void *ctx, void *p, size_t size);
	void *mem;
};

static const uint8_t http2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
#define HTTP2_PREFACE_BYTES (sizeof(http2_preface) - 1)
/* So much of it is nothing else. */
#define HTTP2_PREFACE_SURE 16u

/* ---- frames ------------------------------------------------------------------------------------------------------ */

static uint32_t http2_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static struct http2_frame http2_frame(const uint8_t *p)
{
	return (struct http2_frame){
		.len = http2_u32(p) >> 8,
		.type = p[3],
		.flags = p[4],
		.stream = http2_u32(p + 5) & INT32_MAX,
		.reserved = p[5] & 0x80,
	};
}

/* Can this be a frame's header at all (sections 4.1, 6)? What an endpoint must refuse is where framing was lost. */
static bool http2_possible(const struct http2_frame *f)
{
	if (f->reserved)
		return false;
	switch (f->type) {
	case HTTP2_DATA:
		return f->stream && !(f->flags & HTTP2_PADDED && !f->len);
	case HTTP2_HEADERS:
		return f->stream &&
		       f->len >= (f->flags & HTTP2_PADDED ? 1u : 0) + (f->flags & HTTP2_PRIORITIES ? 5u : 0);
	case HTTP2_PRIORITY:
		return f->stream && f->len == 5;
	case HTTP2_RST_STREAM:
		return f->stream && f->len == 4;
	case HTTP2_SETTINGS:
		return !f->stream && f->len % 6 == 0 && !(f->flags & HTTP2_ACK && f->len);
	case HTTP2_PUSH_PROMISE:
		return f->stream && f->len >= (f->flags & HTTP2_PADDED ? 5u : 4u);
	case HTTP2_PING:
		return !f->stream && f->len == 8;
	case HTTP2_GOAWAY:
		return !f->stream && f->len >= 8;
	case HTTP2_WINDOW_UPDATE:
		return f->len == 4;
	case HTTP2_CONTINUATION:
		return f->stream;
	default:
		return f->len <= HTTP2_FRAME_BYTES; /* extensions are ignored (section 5.5) */
	}
}

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/*
 * Streams are begun one behind the other, and so are their homes: those that are open at once seldom want the same one.
 * Where each row of homes begins nobody else knows, or a peer would choose ids that all have the same.
 */
static uint32_t http2_home(const struct http2_state *st, uint32_t id)
{
	return (id / 2 + (uint32_t)((id >> HTTP2_ROW_SHIFT) * st->seed >> 32)) & (st->slots - 1);
}

static uint32_t http2_after(const struct http2_state *st, uint32_t i)
{
	return (i + 1) & (st->slots - 1);
}

/* How far from its home what is in slot i is. */
static uint32_t http2_strayed(const struct http2_state *st, uint32_t i)
{
	return (i - st->slot[i].home) & (st->slots - 1);
}

static struct http2_stream *http2_find(const struct http2_state *st, uint32_t id)
{
	if (!st->slots)
		return NULL;
	for (uint32_t i = http2_home(st, id); st->slot[i].id; i = http2_after(st, i))
		if (st->slot[i].id == id)
			return &st->streams[st->slot[i].at];
	return NULL;
}

/* The slot is wanted: what is in it, and those behind it, move on. There is room. */
static __attribute__((noinline)) void http2_push_on(struct http2_state *st, uint32_t i)
{
	uint32_t last = i;

	while (st->slot[last].id)
		last = http2_after(st, last);
	for (uint32_t before; last != i; last = before) {
		before = (last - 1) & (st->slots - 1);
		st->slot[last] = st->slot[before];
	}
}

/*
 * Gives a stream that has none a slot; there is room. Who has strayed less makes way: so all stand in the order of
 * their homes, and whoever is at its own ends what one that goes has pushed on.
 */
static inline void http2_put(struct http2_state *st, uint32_t id, uint32_t at)
{
	uint32_t home = http2_home(st, id), i = home;

	for (uint32_t strayed = 0; st->slot[i].id && http2_strayed(st, i) >= strayed; strayed++)
		i = http2_after(st, i);
	if (st->slot[i].id)
		http2_push_on(st, i);
	st->slot[i] = (struct http2_slot){.id = id, .at = (uint16_t)at, .home = (uint16_t)home};
}

/* Empties the slot of `id`, which is there. */
static void http2_take(struct http2_state *st, uint32_t id)
{
	uint32_t hole = http2_home(st, id);

	while (st->slot[hole].id != id)
		hole = http2_after(st, hole);
	for (uint32_t next = http2_after(st, hole); st->slot[next].id && http2_strayed(st, next);
	     next = http2_after(st, next)) {
		st->slot[hole] = st->slot[next];
		hole = next;
	}
	st->slot[hole].id = 0;
}

/* By their ids, as all streams move when there is room for more. */
static void http2_link(struct http2_state *st, uint32_t before, uint32_t after)
{
	struct http2_stream *b = before ? http2_find(st, before) : NULL, *a = after ? http2_find(st, after) : NULL;

	if (b)
		b->linger_after = after;
	else
		st->linger_first = after;
	if (a)
		a->linger_before = before;
	else
		st->linger_last = before;
}

/* Nobody waits for its answer any more. */
static __attribute__((noinline)) void http2_unlinger(struct http2_state *st, struct http2_stream *s)
{
	http2_link(st, s->linger_before, s->linger_after);
	s->lingers = s->linger_before = s->linger_after = 0;
}

static void http2_vacate(struct http2_state *st, struct http2_stream *s)
{
	s->id = 0;
	s->after = st->vacant;
	st->vacant = (uint32_t)(s - st->streams);
}

static inline void http2_drop(struct http2_state *st, struct http2_stream *s)
{
	if (s->lingers)
		http2_unlinger(st, s);
	http2_take(st, s->id);
	http2_vacate(st, s);
	st->used--;
}

/* How many streams `slots` slots have room for. */
static uint32_t http2_most(uint32_t slots)
{
	return slots / 4 * 3;
}

static size_t http2_table_bytes(uint32_t slots)
{
	return http2_most(slots) * sizeof(struct http2_stream) + slots * sizeof(struct http2_slot);
}

/* Room for more streams. Returns false without memory, or at the bound. */
static bool http2_grow(struct http2_state *st)
{
	uint32_t slots = st->slots ? st->slots * 2 : HTTP2_SLOTS_MIN, old_slots = st->slots;
	uint32_t old_most = http2_most(old_slots), most = http2_most(slots);
	struct http2_stream *old = st->streams;

	if (slots > HTTP2_SLOTS_MAX)
		return false;
	void *fresh = st->alloc(st->mem, http2_table_bytes(slots));
	if (!fresh)
		return false;
	memset(fresh, 0, http2_table_bytes(slots));
	st->streams = fresh;
	st->slot = (struct http2_slot *)(void *)(st->streams + most);
	st->slots = slots;
	if (old_most)
		memcpy(st->streams, old, old_most * sizeof(*old));
	for (uint32_t i = most; i-- > old_most;)
		http2_vacate(st, &st->streams[i]);
	for (uint32_t i = 0; i < old_most; i++)
		if (st->streams[i].id)
			http2_put(st, st->streams[i].id, i);
	if (old)
		st->free(st->mem, old, http2_table_bytes(old_slots));
	return true;
}

/* Those that were given up, and of which nothing was heard since. */
static void http2_drop_dead(struct http2_state *st)
{
	for (uint32_t i = 0; i < http2_most(st->slots); i++)
		if (st->streams[i].id && st->streams[i].dead)
			http2_drop(st, &st->streams[i]);
}

/* The id below which there are `count` streams; so many there are. Looks at each of them four times. */
static uint32_t http2_nth_id(const struct http2_state *st, uint32_t count)
{
	uint32_t id = 0, known = 0; /* the bits that are known of it */

	for (int shift = 24; shift >= 0; shift -= 8) {
		uint32_t with[256] = {0}, byte = 0;

		for (uint32_t i = 0; i < http2_most(st->slots); i++)
			if (st->streams[i].id && (st->streams[i].id & known) == id)
				with[st->streams[i].id >> shift & 0xff]++;
		for (; byte < 0xff && with[byte] <= count; byte++)
			count -= with[byte];
		id |= byte << shift;
		known |= 0xffu << shift;
	}
	return id;
}

static void http2_drop_oldest(struct http2_state *st, uint32_t count)
{
	uint32_t end = http2_nth_id(st, count);

	for (uint32_t i = 0; i < http2_most(st->slots); i++)
		if (st->streams[i].id && st->streams[i].id < end)
			http2_drop(st, &st->streams[i]);
}

static uint32_t http2_room(const struct http2_state *st)
{
	return http2_most(st->slots) - st->used;
}

/*
 * There is room for no more. Afterwards there is for so many that a peer, whatever it does, can bring this about only
 * once in a while.
 */
static __attribute__((noinline)) void http2_make_room(struct http2_state *st)
{
	http2_drop_dead(st);
	uint32_t wanted = st->slots / HTTP2_ROOM_PART, room = http2_room(st);

	if ((room < wanted || !st->slots) && !http2_grow(st) && room < wanted)
		http2_drop_oldest(st, wanted - room);
}

/* A stream that was not there. NULL without memory. */
static inline struct http2_stream *http2_add(struct http2_state *st, uint32_t id)
{
	if (!http2_room(st)) {
		http2_make_room(st);
		if (!st->slots)
			return NULL;
	}
	struct http2_stream *s = &st->streams[st->vacant];
	http2_put(st, id, st->vacant);
	st->vacant = s->after;
	memset(s, 0, offsetof(struct http2_stream, facts));
	s->id = id;
	s->after = st->resets;
	for (int d = 0; d < 2; d++)
		s->era[d] = st->side[d].era;
	st->used++;
	if (id % 2 && id > st->newest)
		st->newest = id;
	return s;
}

/* ---- the ends of messages ---------------------------------------------------------------------------------------- */

/* To be changed: the end of the message will bring them. */
static struct clv_http2_facts *http2_amend(struct http2_stream *s, enum clv_dir dir)
{
	s->amended[dir] = true;
	return &s->facts[dir];
}

/* What the sink does not know of the message yet. */
static void http2_end_facts(const struct http2_stream *s, enum clv_dir dir, struct clv_end *end)
{
	if (!s->amended[dir] || (s->foreign && dir == CLV_TO_SERVER))
		return;
	end->facts = &s->facts[dir];
	end->facts_size = sizeof(s->facts[dir]);
}

static void http2_end(struct http2_stream *s, enum clv_dir dir, size_t at, bool cancelled, struct clv_sink *sink)
{
	struct clv_end end;

	/* One by one: when compilers clear it by stores that overlap, who reads it waits for them (base/apart.h). */
	end.id = s->id;
	end.at = (uint32_t)at;
	end.facts = NULL;
	end.facts_size = 0;
	end.keep = clv_slice(NULL, 0);
	end.cancelled = cancelled;
	end.failed = end.lingers = false;
	s->stage[dir] = HTTP2_ENDED;
	http2_end_facts(s, dir, &end);
	sink->end(sink, dir, &end);
}

/* Part of a request went by unseen, its end perhaps: when its answer is complete nobody waits for it any more. */
static void http2_end_unseen_request(struct http2_state *st, struct http2_stream *s, size_t at, struct clv_sink *sink)
{
	if (s->stage[CLV_TO_SERVER] != HTTP2_OPEN || s->era[CLV_TO_SERVER] == st->side[CLV_TO_SERVER].era)
		return;
	http2_amend(s, CLV_TO_SERVER)->flags |= CLV_HTTP2_CUT;
	http2_end(s, CLV_TO_SERVER, at, false, sink);
}

/* END_STREAM. */
static void http2_finish(struct http2_state *st, struct http2_stream *s, enum clv_dir dir, size_t at,
			 struct clv_sink *sink)
{
	if (s->stage[dir] == HTTP2_OPEN) {
		if (dir == CLV_TO_CLIENT)
			http2_end_unseen_request(st, s, at, sink);
		http2_end(s, dir, at, false, sink);
	}
	if (s->stage[CLV_TO_CLIENT] == HTTP2_ENDED && s->stage[CLV_TO_SERVER] != HTTP2_OPEN)
		http2_drop(st, s);
}

/* One side gives the stream up: its response tells, or, where there is none, its request. */
static void http2_give_up(struct http2_stream *s, uint8_t how, uint32_t code, struct clv_sink *sink, size_t at)
{
	enum clv_dir told = s->stage[CLV_TO_CLIENT] == HTTP2_OPEN ? CLV_TO_CLIENT : CLV_TO_SERVER;

	s->dead = true;
	if (s->stage[CLV_TO_SERVER] != HTTP2_UNSEEN) {
		struct clv_http2_facts *f = http2_amend(s, told);

		f->flags |= how;
		f->reset = code;
		http2_end(s, told, at, true, sink);
	}
	s->stage[CLV_TO_SERVER] = s->stage[CLV_TO_CLIENT] = HTTP2_ENDED;
}

/* The client gives a stream up, and its answer may be on its way: it is waited for until the server has heard. */
static void http2_linger(struct http2_state *st, struct http2_stream *s, uint32_t code, size_t at,
			 struct clv_sink *sink)
{
	struct clv_http2_facts *f = http2_amend(s, CLV_TO_SERVER);
	struct clv_end end = {.id = s->id, .at = (uint32_t)at, .cancelled = true, .lingers = true};

	f->flags |= CLV_HTTP2_RESET | CLV_HTTP2_RESET_BY_CLIENT;
	f->reset = code;
	s->stage[CLV_TO_SERVER] = HTTP2_ENDED;
	s->lingers = ++st->resets;
	s->linger_before = st->linger_last;
	http2_link(st, st->linger_last, s->id);
	st->linger_last = s->id;
	http2_end_facts(s, CLV_TO_SERVER, &end);
	sink->end(sink, CLV_TO_SERVER, &end);
}

/* The server has read what the client said when it had given up so many: it answers none of those any more. */
static void http2_settle(struct http2_state *st, uint32_t resets, size_t at, struct clv_sink *sink)
{
	struct http2_stream *s;

	while (st->linger_first && (s = http2_find(st, st->linger_first)) && s->lingers <= resets) {
		http2_unlinger(st, s);
		if (s->dead || s->stage[CLV_TO_CLIENT] != HTTP2_UNSEEN)
			continue;
		s->dead = true;
		s->stage[CLV_TO_CLIENT] = HTTP2_ENDED;
		http2_end(s, CLV_TO_SERVER, at, true, sink);
	}
}

static void http2_reset(struct http2_state *st, enum clv_dir dir, uint32_t id, uint32_t code, size_t at,
			struct clv_sink *sink)
{
	struct http2_stream *s = http2_find(st, id);

	if (!s || s->dead)
		return;
	if (s->stage[CLV_TO_CLIENT] == HTTP2_ENDED) {
		/* The answer is complete: nobody wants to hear the rest of the request (section 8.1). */
		if (s->stage[CLV_TO_SERVER] == HTTP2_OPEN)
			http2_end(s, CLV_TO_SERVER, at, false, sink);
		http2_drop(st, s);
		return;
	}
	if (dir == CLV_TO_SERVER && s->stage[CLV_TO_CLIENT] == HTTP2_UNSEEN &&
	    s->stage[CLV_TO_SERVER] != HTTP2_UNSEEN) {
		if (!s->lingers)
			http2_linger(st, s, code, at, sink);
		return;
	}
	http2_give_up(s, CLV_HTTP2_RESET | (dir == CLV_TO_SERVER ? CLV_HTTP2_RESET_BY_CLIENT : 0), code, sink, at);
}

static int http2_by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* The server will not look at streams above `last` (section 6.8). Where they stand in the table must not show. */
static void http2_go_away(struct http2_state *st, uint32_t last, size_t at, struct clv_sink *sink)
{
	uint32_t refused[HTTP2_SLOTS_MAX];
	size_t count = 0;

	if (last >= st->newest || st->goaways == HTTP2_GOAWAYS)
		return;
	st->goaways++;
	for (uint32_t i = 0; i < http2_most(st->slots); i++) {
		struct http2_stream *s = &st->streams[i];

		if (s->id > last && s->id % 2 && !s->dead && s->stage[CLV_TO_CLIENT] == HTTP2_UNSEEN)
			refused[count++] = s->id;
	}
	qsort(refused, count, sizeof(*refused), http2_by_id);
	for (size_t i = 0; i < count; i++)
		http2_give_up(http2_find(st, refused[i]), CLV_HTTP2_REFUSED, 0, sink, at);
}

/* ---- header blocks ----------------------------------------------------------------------------------------------- */

/* One step of the parser over `in`. */
struct http2_step {
	struct http2_state *st;
	enum clv_dir dir;
	struct clv_slice in;
	size_t at; /* so much of it is used */
	struct clv_sink *sink;
	struct clv_fed fed; /* what to return once a step has returned false */
};

/* The frames of one header block, all of them there. */
struct http2_block {
	struct http2_frame frame; /* HEADERS or PUSH_PROMISE */
	uint32_t promised;        /* the stream of a PUSH_PROMISE */
	uint32_t bytes;           /* all frames */
	struct clv_slice fields;
};

/* The block within a frame's payload, without padding, priority and promised stream. False: it cannot be. */
static bool http2_fragment(const struct http2_frame *f, const uint8_t *p, struct clv_slice *fragment)
{
	uint32_t from = 0, padding = 0;

	if (f->type != HTTP2_CONTINUATION && f->flags & HTTP2_PADDED) {
		if (!p || !f->len)
			return false;
		padding = p[from++];
	}
	if (f->type == HTTP2_PUSH_PROMISE)
		from += 4;
	if (f->type == HTTP2_HEADERS && f->flags & HTTP2_PRIORITIES)
		from += 5;
	if (from + padding > f->len)
		return false;
	/* An empty payload may have no pointer. */
	*fragment = clv_slice(from ? p + from : p, f->len - from - padding);
	return true;
}

/* What a header block is about. */
struct http2_fields {
	struct clv_slice block;
	uint32_t bytes; /* of its frames */
	uint32_t stream;
	bool end_stream;
};

enum http2_gathered {
	HTTP2_GATHERED,
	HTTP2_GATHERED_SOME, /* more bytes are needed: block->bytes in all */
	HTTP2_GATHERED_BAD,
	HTTP2_GATHERED_LONG, /* longer than anything that is read */
};

/* A block in more frames than this, each of them looked at again with every segment, is an attack. */
#define HTTP2_BLOCK_FRAMES 64u

/* Puts a header block together; `in` begins with its first frame, whose header is there: `first_frame`, a possible one.
 */
static enum http2_gathered http2_gather(struct clv_slice in, const struct http2_frame *first_frame,
					struct http2_block *b)
{
	size_t joined = 0, at = 0;
	unsigned frames = 0;

	b->frame = *first_frame;
	for (bool first = true;; first = false) {
		if (++frames > HTTP2_BLOCK_FRAMES)
			return HTTP2_GATHERED_LONG;
		b->bytes = (uint32_t)at + HTTP2_HEADER_BYTES;
		if (at >= CLV_HEAD_BYTES)
			return HTTP2_GATHERED_LONG;
		if (in.len - at < HTTP2_HEADER_BYTES)
			return HTTP2_GATHERED_SOME;
		struct http2_frame f = first ? *first_frame : http2_frame(in.data + at);
		struct clv_slice fragment;
		if (!first && (f.reserved || f.type != HTTP2_CONTINUATION || f.stream != b->frame.stream))
			return HTTP2_GATHERED_BAD;
		if (at + f.len + HTTP2_HEADER_BYTES > CLV_HEAD_BYTES)
			return HTTP2_GATHERED_LONG;
		b->bytes += f.len;
		if (in.len < b->bytes)
			return HTTP2_GATHERED_SOME;
		const uint8_t *payload = in.data + at + HTTP2_HEADER_BYTES;
		if (!http2_fragment(&f, payload, &fragment))
			return HTTP2_GATHERED_BAD;
		if (first && f.type == HTTP2_PUSH_PROMISE)
			b->promised = http2_u32(payload + (f.flags & HTTP2_PADDED ? 1 : 0)) & INT32_MAX;
		if (first && f.flags & HTTP2_END_HEADERS) {
			b->fields = fragment;
			return HTTP2_GATHERED;
		}
		struct http2_scratch *scratch = clv_http2_scratch();
		if (!scratch)
			return HTTP2_GATHERED_BAD;
		if (fragment.len)
			memcpy(scratch->joined + joined, fragment.data, fragment.len);
		joined += fragment.len;
		at = b->bytes;
		b->fields = clv_slice(scratch->joined, joined);
		if (f.flags & HTTP2_END_HEADERS)
			return HTTP2_GATHERED;
	}
}

/* Does the body of direction `dir` hold messages whose beginnings can be read? */
static bool http2_walks(const struct http2_stream *s, enum clv_dir dir)
{
	return s->facts[dir].kind == CLV_HTTP2_GRPC || s->facts[dir].kind == CLV_HTTP2_GRPC_WEB;
}

/* What the sink is told of a head, whose facts become the stream's. `frames`: all of its block. */
static inline struct clv_msg http2_msg(struct http2_stream *s, enum clv_role role, const struct http2_head *h,
				       const struct http2_step *p)
{
	s->facts[role == CLV_REQUEST ? CLV_TO_SERVER : CLV_TO_CLIENT] = h->facts;
	return (struct clv_msg){
		.role = role,
		.flags = h->flags,
		.id = s->id,
		.at = (uint32_t)p->at,
		.head = h->text,
		.facts = &h->facts,
		.facts_size = sizeof(h->facts),
	};
}

/* What is behind a message's body. */
static void http2_trailers(struct http2_stream *s, const struct http2_head *h)
{
	struct clv_http2_facts *f = http2_amend(s, CLV_TO_CLIENT);

	if (h->facts.flags & CLV_HTTP2_STATUS) {
		f->flags |= CLV_HTTP2_STATUS;
		f->grpc_status = h->facts.grpc_status;
	}
	/* The head's own status was not known. */
	if (!f->http.status && h->facts.http.status >= 200)
		f->http.status = h->facts.http.status;
}

/*
 * A header block of the client, of stream `id`: `s`, or NULL. Returns the stream, if it may have ended here and that
 * was not told.
 */
static struct http2_stream *http2_on_request(struct http2_step *p, const struct http2_fields *b, struct http2_stream *s,
					     const struct http2_head *h)
{
	struct http2_state *st = p->st;

	/* Trailers say nothing of interest; without a pseudo-header it is none, or one that cannot be told from them.
	 */
	if (!h->request || (s && s->stage[CLV_TO_SERVER] != HTTP2_UNSEEN))
		return s;
	/* Its answer went by without it, and nobody kept that. */
	if (s && s->stage[CLV_TO_CLIENT] != HTTP2_UNSEEN)
		return s;
	if (!s)
		s = http2_add(st, b->stream);
	if (!s)
		return NULL;
	struct clv_msg msg = http2_msg(s, CLV_REQUEST, h, p);
	bool ended = b->end_stream && b->bytes <= HTTP2_RAW_BYTES;
	msg.method = h->method;
	msg.raw = clv_slice(p->in.data + p->at, b->bytes < HTTP2_RAW_BYTES ? b->bytes : HTTP2_RAW_BYTES);
	if (ended)
		msg.flags |= CLV_MSG_ENDS;
	s->stage[CLV_TO_SERVER] = ended ? HTTP2_ENDED : HTTP2_OPEN;
	st->grpc |= http2_walks(s, CLV_TO_SERVER);
	p->sink->head(p->sink, p->dir, &msg);
	return ended ? NULL : s;
}

/* Is a header block without :status the first one of its response, since nothing was missed? */
static bool http2_must_be_first(const struct http2_state *st, const struct http2_stream *s)
{
	return s && s->stage[CLV_TO_SERVER] != HTTP2_UNSEEN && s->stage[CLV_TO_CLIENT] == HTTP2_UNSEEN &&
	       s->era[CLV_TO_CLIENT] == st->side[CLV_TO_CLIENT].era;
}

/* Those that another response follows end with their heads. */
static __attribute__((noinline)) void http2_on_interim(struct http2_step *p, const struct http2_fields *b,
						       const struct clv_msg *msg)
{
	p->sink->head(p->sink, CLV_TO_CLIENT, msg);
	p->sink->end(p->sink, CLV_TO_CLIENT, &(struct clv_end){.id = b->stream, .at = (uint32_t)(p->at + b->bytes)});
}

/* A header block of the server, of stream `id`: `s`, or NULL. Returns the stream; NULL: there is none. */
static inline __attribute__((always_inline)) struct http2_stream *http2_on_response(struct http2_step *p,
										    const struct http2_fields *b,
										    struct http2_stream *s,
										    const struct http2_head *h)
{
	struct http2_state *st = p->st;
	uint16_t status = h->facts.http.status;

	if (s && (s->dead || s->stage[CLV_TO_CLIENT] == HTTP2_ENDED))
		return s;
	if (s && s->stage[CLV_TO_CLIENT] == HTTP2_OPEN) {
		http2_trailers(s, h);
		return s;
	}
	if (!status && !(h->missing && http2_must_be_first(st, s)))
		return s;
	if (!s)
		s = http2_add(st, b->stream);
	if (!s)
		return NULL;
	if (st->linger_first && s->stage[CLV_TO_SERVER] != HTTP2_UNSEEN)
		http2_settle(st, s->after, p->at, p->sink);
	bool interim = status >= 100 && status < 200;
	struct clv_msg msg = http2_msg(s, interim ? CLV_INTERIM : CLV_RESPONSE, h, p);
	st->grpc |= http2_walks(s, CLV_TO_CLIENT);
	if (interim) {
		http2_on_interim(p, b, &msg);
		return s;
	}
	s->stage[CLV_TO_CLIENT] = HTTP2_OPEN;
	p->sink->head(p->sink, CLV_TO_CLIENT, &msg);
	return s;
}

/* Of a block that could not be read to its end nothing is said but what its pseudo-headers said. */
static bool http2_says(const struct http2_head *h)
{
	return !h->bad || h->request || h->facts.http.status;
}

static inline const struct http2_head *http2_head_of(struct http2_side *side, bool request, struct clv_slice fields,
						     struct http2_head *room)
{
	const struct http2_head *same = clv_http2_memo_same(&side->memo, &side->hpack, request, fields);

	return same ? same : clv_http2_head_read(&side->hpack, &side->memo, request, fields, room);
}

/* HEADERS of a stream, at p->at. */
static inline void http2_on_headers(struct http2_step *p, const struct http2_fields *b)
{
	struct http2_state *st = p->st;
	struct http2_side *side = &st->side[p->dir];
	struct http2_head room;
	const struct http2_head *h = http2_head_of(side, p->dir == CLV_TO_SERVER, b->block, &room);
	/* All that the client began are at most `newest`. */
	struct http2_stream *s = b->stream % 2 && b->stream > st->newest ? NULL : http2_find(st, b->stream);

	if (http2_says(h) && p->dir == CLV_TO_SERVER)
		s = http2_on_request(p, b, s, h);
	else if (http2_says(h))
		s = http2_on_response(p, b, s, h);
	if (b->end_stream && s)
		http2_finish(st, s, p->dir, p->at + b->bytes, p->sink);
}

/*
 * PUSH_PROMISE of stream b->stream: the server makes the request itself, and all of it. The block is read in any case,
 * for the table's sake.
 */
static void http2_on_promise(struct http2_step *p, const struct http2_fields *b)
{
	struct http2_side *side = &p->st->side[p->dir];
	bool request = p->dir == CLV_TO_SERVER || b->stream;
	struct http2_head room;
	const struct http2_head *h = http2_head_of(side, request, b->block, &room);

	/* Servers promise, and on streams of their own (RFC 9113 section 8.4). */
	if (!http2_says(h) || p->dir == CLV_TO_SERVER || b->stream % 2 || http2_find(p->st, b->stream))
		return;
	struct http2_stream *s = http2_on_request(p, b, NULL, h);
	if (s && s->stage[CLV_TO_SERVER] == HTTP2_OPEN)
		http2_end(s, CLV_TO_SERVER, p->at + b->bytes, false, p->sink);
}

/* A whole header block, its first frame at p->at. */
static void http2_on_block(struct http2_step *p, const struct http2_block *b)
{
	bool promise = b->frame.type == HTTP2_PUSH_PROMISE;
	const struct http2_fields fields = {
		.block = b->fields,
		.bytes = b->bytes,
		.stream = promise ? b->promised : b->frame.stream,
		.end_stream = promise || b->frame.flags & HTTP2_END_STREAM,
	};

	if (promise)
		http2_on_promise(p, &fields);
	else
		http2_on_headers(p, &fields);
}

/* ---- feeding ----------------------------------------------------------------------------------------------------- */

static struct clv_fed http2_fed(enum clv_fed_verdict v, size_t used, size_t need, uint64_t skip)
{
	return (struct clv_fed){.v = v, .used = (uint32_t)used, .need = (uint32_t)need, .skip = skip};
}

/* What is at `at` is no frame. Its first byte goes, or it would be found again. */
static bool http2_bad(struct http2_step *p)
{
	p->fed = http2_fed(CLV_FED_BAD, p->at + (p->at < p->in.len), 0, 0);
	return false;
}

/* So many bytes at least, from `at` on, or nothing is done. */
static bool http2_wants(struct http2_step *p, size_t bytes)
{
	if (p->in.len - p->at >= bytes)
		return true;
	p->fed = http2_fed(CLV_FED_MORE, p->at, bytes, 0);
	return false;
}

/* Steps over `bytes`, whether they are there or not. Returns false when the engine must do the rest. */
static bool http2_over(struct http2_step *p, uint64_t bytes)
{
	size_t here = p->in.len - p->at;

	if (bytes <= here) {
		p->at += (size_t)bytes;
		return true;
	}
	p->at = p->in.len;
	p->fed = http2_fed(CLV_FED_OK, p->at, 0, bytes - here);
	return false;
}

/* The trailers of grpc-web are lines of text: "grpc-status: 0". */
static void http2_web_trailer(struct http2_stream *s, struct clv_slice text)
{
	while (text.len) {
		size_t lf = clv_slice_find(text, 0, '\n');
		struct clv_slice line = clv_slice_head(text, lf);
		size_t colon = clv_slice_find(line, 0, ':');

		if (line.len && line.data[line.len - 1] == '\r')
			line.len--;
		if (clv_slice_eq_nocase(clv_slice_trim(clv_slice_head(line, colon)), CLV_LIT("grpc-status")))
			clv_http2_grpc_status(http2_amend(s, CLV_TO_CLIENT),
					      clv_slice_trim(clv_slice_from(line, colon + 1)));
		text = clv_slice_from(text, lf + 1);
	}
}

/* The prefix of a message is complete. */
static void http2_message_begins(struct http2_stream *s, enum clv_dir dir)
{
	struct http2_walk *w = &s->walk[dir];
	struct clv_http2_facts *f = http2_amend(s, dir);

	w->have = 0;
	w->left = http2_u32(w->prefix + 1);
	if (w->prefix[0] & 0x80 && f->kind == CLV_HTTP2_GRPC_WEB) {
		w->trailer = w->prefix[0] == 0x80 && w->left <= HTTP2_WEB_TRAILER_BYTES;
		return;
	}
	f->messages += f->messages < UINT32_MAX;
	f->bytes += w->left;
}

/* Goes through the data of a DATA frame from message to message. Returns false when it cannot go on. */
static bool http2_walk(struct http2_step *p, struct http2_stream *s)
{
	struct http2_side *side = &p->st->side[p->dir];
	struct http2_walk *w = &s->walk[p->dir];

	while (side->left && !w->lost) {
		if (w->left) {
			uint32_t n = w->left < side->left ? w->left : side->left;

			if (w->trailer && n == w->left) {
				if (!http2_wants(p, n))
					return false;
				http2_web_trailer(s, clv_slice_sub(p->in, p->at, n));
			}
			w->trailer = false; /* one that is cut in two is not put together */
			w->left -= n;
			side->left -= n;
			if (!http2_over(p, n))
				return false;
			continue;
		}
		if (!http2_wants(p, 1))
			return false;
		w->prefix[w->have++] = p->in.data[p->at++];
		side->left--;
		if (w->have == sizeof(w->prefix))
			http2_message_begins(s, p->dir);
	}
	return true;
}

/* In a DATA frame of `s`, NULL if that is not known. Returns false when it is not over yet. */
static bool http2_body(struct http2_step *p, struct http2_stream *s)
{
	struct http2_side *side = &p->st->side[p->dir];
	uint64_t rest;

	if (s && s->stage[p->dir] == HTTP2_OPEN && http2_walks(s, p->dir) && !http2_walk(p, s))
		return false;
	rest = (uint64_t)side->left + side->padding;
	side->left = side->padding = 0;
	if (!http2_over(p, rest))
		return false;
	side->phase = HTTP2_FRAME;
	if (s && side->end_stream)
		http2_finish(p->st, s, p->dir, p->at, p->sink);
	return true;
}

/* A DATA frame's header is at `at`. */
static bool http2_data(struct http2_step *p, const struct http2_frame *f)
{
	struct http2_side *side = &p->st->side[p->dir];
	struct http2_stream *s = http2_find(p->st, f->stream);
	uint32_t padded = f->flags & HTTP2_PADDED ? 1 : 0;

	if (!http2_wants(p, HTTP2_HEADER_BYTES + padded))
		return false;
	uint32_t padding = padded ? p->in.data[p->at + HTTP2_HEADER_BYTES] : 0;
	if (padded + padding > f->len)
		return http2_bad(p);
	p->at += HTTP2_HEADER_BYTES + padded;
	side->phase = HTTP2_BODY;
	side->bodies = true;
	side->stream = f->stream;
	side->end_stream = f->flags & HTTP2_END_STREAM;
	side->padding = padding;
	side->left = f->len - padded - padding;
	if (s && s->stage[p->dir] == HTTP2_OPEN && side->left)
		p->sink->body(p->sink, p->dir, s->id, side->left);
	return http2_body(p, s);
}

/* A header block begins at `at`. */
static bool http2_headers(struct http2_step *p, const struct http2_frame *f)
{
	struct http2_block b = {0};

	switch (http2_gather(clv_slice_from(p->in, p->at), f, &b)) {
	case HTTP2_GATHERED:
		http2_on_block(p, &b);
		p->at += b.bytes;
		return true;
	case HTTP2_GATHERED_SOME:
		p->fed = http2_fed(CLV_FED_MORE, p->at, b.bytes, 0);
		return false;
	case HTTP2_GATHERED_LONG:
		/* Nobody reads so much. What it put into the table is not known. */
		clv_hpack_forget(&p->st->side[p->dir].hpack, true);
		p->st->side[p->dir].era++;
		return http2_over(p, (uint64_t)HTTP2_HEADER_BYTES + f->len);
	case HTTP2_GATHERED_BAD:
		break;
	}
	return http2_bad(p);
}

/* Frames that are short and read: RST_STREAM, GOAWAY. */
static bool http2_control(struct http2_step *p, const struct http2_frame *f)
{
	const size_t bytes = f->type == HTTP2_GOAWAY ? 8 : 4;

	if (!http2_wants(p, HTTP2_HEADER_BYTES + bytes))
		return false;
	const uint8_t *payload = p->in.data + p->at + HTTP2_HEADER_BYTES;
	p->at += HTTP2_HEADER_BYTES + bytes;
	if (f->type == HTTP2_RST_STREAM)
		http2_reset(p->st, p->dir, f->stream, http2_u32(payload), p->at, p->sink);
	else if (p->dir == CLV_TO_CLIENT)
		http2_go_away(p->st, http2_u32(payload) & INT32_MAX, p->at, p->sink);
	return http2_over(p, f->len - bytes);
}

/* The answer to a PING tells that the server has read what came before it. */
static void http2_ping(struct http2_step *p, bool ack)
{
	struct http2_state *st = p->st;

	if (p->dir == CLV_TO_SERVER && !ack && !st->pinged)
		st->pinged = st->resets;
	if (p->dir == CLV_TO_CLIENT && ack) {
		http2_settle(st, st->pinged, p->at, p->sink);
		st->pinged = 0;
	}
}

/* The connection's first bytes, if these are they. */
static bool http2_is_preface(enum clv_dir dir, struct clv_slice in)
{
	size_t n = in.len < HTTP2_PREFACE_BYTES ? in.len : HTTP2_PREFACE_BYTES;

	return dir == CLV_TO_SERVER && n && in.data[0] == http2_preface[0] && memcmp(in.data, http2_preface, n) == 0;
}

/* At a frame's header. */
static bool http2_next(struct http2_step *p)
{
	struct clv_slice in = clv_slice_from(p->in, p->at);

	if (http2_is_preface(p->dir, in)) {
		if (!http2_wants(p, HTTP2_PREFACE_BYTES))
			return false;
		p->at += HTTP2_PREFACE_BYTES;
		clv_hpack_forget(&p->st->side[p->dir].hpack, false);
		return true;
	}
	if (!http2_wants(p, HTTP2_HEADER_BYTES))
		return false;
	struct http2_frame f = http2_frame(in.data);
	if (!http2_possible(&f))
		return http2_bad(p);
	switch (f.type) {
	case HTTP2_DATA:
		return http2_data(p, &f);
	case HTTP2_HEADERS:
	case HTTP2_PUSH_PROMISE:
		return http2_headers(p, &f);
	case HTTP2_RST_STREAM:
	case HTTP2_GOAWAY:
		return http2_control(p, &f);
	case HTTP2_PING:
		http2_ping(p, f.flags & HTTP2_ACK);
		break;
	case HTTP2_CONTINUATION: /* of a block whose beginning nobody saw, or that was too long */
		clv_hpack_forget(&p->st->side[p->dir].hpack, true);
		p->st->side[p->dir].era++;
		break;
	default:
		break;
	}
	return http2_over(p, (uint64_t)HTTP2_HEADER_BYTES + f.len);
}

/*
 * Data within a gRPC message, or that begins with one which ends here or goes on. Returns false for any other; then
 * nothing is done.
 */
static bool http2_usual_walk(struct http2_stream *s, enum clv_dir dir, struct clv_slice data)
{
	struct http2_walk *w = &s->walk[dir];

	if (w->lost || !data.len)
		return true;
	if (w->have || w->trailer)
		return false;
	if (!w->left) {
		if (s->facts[dir].kind != CLV_HTTP2_GRPC || data.len < sizeof(w->prefix) ||
		    data.len - sizeof(w->prefix) > http2_u32(data.data + 1))
			return false;
		memcpy(w->prefix, data.data, sizeof(w->prefix));
		http2_message_begins(s, dir);
		data.len -= sizeof(w->prefix);
	}
	if (data.len > w->left)
		return false;
	w->left -= (uint32_t)data.len;
	return true;
}

/* DATA, `bytes` of it with its header, all there. Returns false when it must be looked at; then nothing is done. */
static bool http2_usual_data(struct http2_step *p, uint32_t stream, size_t bytes, bool end_stream)
{
	struct http2_stream *s = http2_find(p->st, stream);
	bool open = s && s->stage[p->dir] == HTTP2_OPEN;
	struct clv_slice data = clv_slice_sub(p->in, p->at + HTTP2_HEADER_BYTES, bytes - HTTP2_HEADER_BYTES);

	if (open && http2_walks(s, p->dir) && !http2_usual_walk(s, p->dir, data))
		return false;
	p->st->side[p->dir].bodies = true;
	p->at += bytes;
	if (open && data.len)
		p->sink->body(p->sink, p->dir, stream, data.len);
	if (s && end_stream)
		http2_finish(p->st, s, p->dir, p->at, p->sink);
	return true;
}

/*
 * The frames that nearly all are: a header block in one frame and DATA, both without padding and priority, all there.
 * Returns false for any other; then nothing is done.
 */
static inline bool http2_usual(struct http2_step *p)
{
	const uint8_t *frame = p->in.data + p->at;
	size_t here = p->in.len - p->at;
	uint64_t begin; /* all but the last byte of the header */

	if (here < HTTP2_HEADER_BYTES)
		return false;
	memcpy(&begin, frame, sizeof(begin));
	begin = be64toh(begin);
	size_t bytes = HTTP2_HEADER_BYTES + (size_t)(begin >> 40);
	uint32_t form = begin >> 24 & 0xffff & ~HTTP2_END_STREAM; /* type and flags */
	uint32_t stream = (uint32_t)begin << 8 | frame[8];
	bool end_stream = begin >> 24 & HTTP2_END_STREAM;

	if (bytes > here || stream - 1 >= INT32_MAX)
		return false;
	if (form == HTTP2_DATA << 8)
		return http2_usual_data(p, stream, bytes, end_stream);
	if (form != (HTTP2_HEADERS << 8 | HTTP2_END_HEADERS) || bytes > CLV_HEAD_BYTES)
		return false;
	const struct http2_fields fields = {
		.block = clv_slice(frame + HTTP2_HEADER_BYTES, bytes - HTTP2_HEADER_BYTES),
		.bytes = (uint32_t)bytes,
		.stream = stream,
		.end_stream = end_stream,
	};
	http2_on_headers(p, &fields);
	p->at += bytes;
	return true;
}

static struct clv_fed http2_feed(void *state, enum clv_dir dir, struct clv_slice in, struct clv_sink *sink)
{
	struct http2_state *st = state;
	struct http2_step p = {.st = st, .dir = dir, .in = in, .sink = sink};

	st->side[dir].sure = false;
	if (st->side[dir].phase == HTTP2_BODY && !http2_body(&p, http2_find(st, st->side[dir].stream)))
		return p.fed;
	while (p.at < in.len)
		if (!http2_usual(&p) && !http2_next(&p))
			return p.fed;
	return http2_fed(CLV_FED_OK, p.at, 0, 0);
}

/* ---- losing the place, and finding it ---------------------------------------------------------------------------- */

/* Is all that is missing data of the DATA frame that was being read? Then framing goes on behind it. */
static bool http2_only_data(struct http2_state *st, enum clv_dir dir, uint64_t missing)
{
	struct http2_side *side = &st->side[dir];
	struct http2_stream *s = http2_find(st, side->stream);

	if (side->phase != HTTP2_BODY || !missing || missing > (uint64_t)side->left + side->padding)
		return false;
	uint32_t data = missing < side->left ? (uint32_t)missing : side->left;
	side->left -= data;
	side->padding -= (uint32_t)missing - data;
	if (s)
		s->walk[dir].lost = true;
	if (s && s->stage[dir] != HTTP2_UNSEEN)
		http2_amend(s, dir)->flags |= CLV_HTTP2_CUT;
	return true;
}

static void http2_gap(void *state, enum clv_dir dir, struct clv_slice rest, uint64_t lost, struct clv_sink *sink)
{
	struct http2_state *st = state;
	struct http2_side *side = &st->side[dir];

	if (lost && http2_only_data(st, dir, rest.len + lost)) {
		side->sure = true;
		return;
	}
	/* Messages whose bodies were under way may have lost some of them, or their ends. */
	for (uint32_t i = 0; i < http2_most(st->slots); i++)
		if (st->streams[i].id && st->streams[i].stage[dir] == HTTP2_OPEN) {
			st->streams[i].walk[dir].lost = true;
			http2_amend(&st->streams[i], dir)->flags |= CLV_HTTP2_CUT;
		}
	clv_hpack_forget(&side->hpack, true);
	side->phase = HTTP2_FRAME;
	side->sure = false;
	side->era++;
}

/* What frames in a row say of whether they are any. */
struct http2_chain {
	enum clv_match match;   /* MAYBE: as far as they are there */
	bool request, response; /* heads were among them: the direction is known */
};

/* So much evidence is enough; a frame that only HTTP/2 can have said brings it alone. */
#define HTTP2_SURE 10
/* No more frames are looked at from one place on: sound ones are evidence enough before. */
#define HTTP2_CHAIN_FRAMES 32u

/* How unlikely is it that anything else looks like this frame's header? 0: it is no frame of a sound peer. */
static int http2_evidence(enum clv_dir dir, const struct http2_frame *f)
{
	static const uint8_t flags[HTTP2_TYPES] = {
		[HTTP2_DATA] = HTTP2_END_STREAM | HTTP2_PADDED,
		[HTTP2_HEADERS] = HTTP2_END_STREAM | HTTP2_END_HEADERS | HTTP2_PADDED | HTTP2_PRIORITIES,
		[HTTP2_SETTINGS] = HTTP2_ACK,
		[HTTP2_PUSH_PROMISE] = HTTP2_END_HEADERS | HTTP2_PADDED,
		[HTTP2_PING] = HTTP2_ACK,
		[HTTP2_CONTINUATION] = HTTP2_END_HEADERS,
	};
	bool even = f->stream % 2 == 0;

	if (!http2_possible(f) || f->type >= HTTP2_TYPES || f->flags & ~flags[f->type] || f->len > HTTP2_FRAME_BYTES)
		return 0;
	switch (f->type) {
	case HTTP2_DATA:
		return dir == CLV_TO_SERVER && even ? 0 : 4;
	case HTTP2_HEADERS:
		return dir == CLV_TO_SERVER && even ? 0 : 5; /* and what the block says */
	case HTTP2_PUSH_PROMISE:
		return dir == CLV_TO_SERVER || even ? 0 : 5;
	case HTTP2_CONTINUATION:
		return 4;
	case HTTP2_SETTINGS: /* zeros and a 4 prove nothing */
		return f->len > 6 * 16 ? 0 : f->len || f->flags ? HTTP2_SURE : 4;
	case HTTP2_PING:
		return HTTP2_SURE;
	default:
		return 6;
	}
}

/* Settings are numbered from 1; implementations' own from 0xffff down, and GREASE is 0x?a?a (RFC 8701). */
static bool http2_is_setting(uint8_t high, uint8_t low)
{
	return high < 0x10 || high >= 0xf0 || (high % 16 == 0x0a && high == low);
}

/* What the payload of a frame adds, as far as it is there; -1: it is no such thing. */
static int http2_payload_evidence(enum clv_dir dir, const struct http2_frame *f, struct clv_slice payload,
				  struct http2_chain *c)
{
	struct clv_slice block;

	if (f->type == HTTP2_RST_STREAM || f->type == HTTP2_WINDOW_UPDATE) {
		if (payload.len < 4)
			return 0;
		uint32_t v = http2_u32(payload.data);
		return f->type == HTTP2_RST_STREAM ? (v <= 13 ? 4 : -1) : v && v <= INT32_MAX ? 2 : -1;
	}
	if (f->type == HTTP2_SETTINGS) {
		for (size_t at = 0; at + 6 <= payload.len; at += 6)
			if (!http2_is_setting(payload.data[at], payload.data[at + 1]))
				return -1;
		return 0;
	}
	if ((f->type != HTTP2_HEADERS && f->type != HTTP2_PUSH_PROMISE) || payload.len < f->len)
		return 0;
	if (!http2_fragment(f, payload.data, &block))
		return -1;
	enum clv_hpack_look look = clv_hpack_look(block);
	bool request = dir == CLV_TO_SERVER || f->type == HTTP2_PUSH_PROMISE;
	if (look == CLV_HPACK_LOOKS_CUT)
		return f->flags & HTTP2_END_HEADERS ? -1 : 0;
	if (look == CLV_HPACK_LOOKS_PLAIN)
		return block.len ? 4 : 0;
	if (look == CLV_HPACK_LOOKS_BAD || (look == CLV_HPACK_LOOKS_REQUEST) != request)
		return -1;
	c->request |= dir == CLV_TO_SERVER;
	c->response |= dir == CLV_TO_CLIENT;
	return HTTP2_SURE;
}

/* Do frames begin at in.data[0], for one who does not know what was before? */
static struct http2_chain http2_chain(enum clv_dir dir, struct clv_slice in)
{
	struct http2_chain c = {.match = CLV_MATCH_MAYBE};
	int sum = 0;

	if (http2_is_preface(dir, in)) {
		c.match = in.len >= HTTP2_PREFACE_SURE ? CLV_MATCH_YES : CLV_MATCH_MAYBE;
		c.request = true;
		return c;
	}
	unsigned frames = 0;

	for (size_t at = 0; in.len - at >= HTTP2_HEADER_BYTES && frames < HTTP2_CHAIN_FRAMES; frames++) {
		struct http2_frame f = http2_frame(in.data + at);
		struct clv_slice payload = clv_slice_sub(in, at + HTTP2_HEADER_BYTES, f.len);
		int header = http2_evidence(dir, &f);
		int more = header ? http2_payload_evidence(dir, &f, payload, &c) : -1;

		/* Behind enough of them one may be larger, or an extension; none begins in the middle of a block. */
		if (!header && sum >= HTTP2_SURE && http2_possible(&f))
			break;
		if (more < 0 || (f.type == HTTP2_CONTINUATION && !at)) {
			c.match = CLV_MATCH_NO;
			return c;
		}
		/* A header block's header alone proves little. */
		if (payload.len == f.len || f.type == HTTP2_DATA || f.type >= HTTP2_SETTINGS)
			sum += header + more;
		if (payload.len < f.len)
			break;
		at += HTTP2_HEADER_BYTES + f.len;
	}
	if (sum >= HTTP2_SURE)
		c.match = CLV_MATCH_YES;
	else if (frames == HTTP2_CHAIN_FRAMES)
		c.match = CLV_MATCH_NO;
	return c;
}

static ptrdiff_t http2_resync(void *state, enum clv_dir dir, struct clv_slice in, bool at_packet)
{
	struct http2_state *st = state;
	struct http2_side *side = &st->side[dir];

	if (!in.len)
		return -1;
	if (side->sure) {
		side->sure = false;
		return 0;
	}
	for (size_t at = 0; at < in.len; at++) {
		struct http2_chain c = http2_chain(dir, clv_slice_from(in, at));

		if (c.match == CLV_MATCH_MAYBE)
			return -1 - (ptrdiff_t)(in.len - at);
		if (c.match == CLV_MATCH_YES) {
			side->era++;
			return (ptrdiff_t)at;
		}
	}
	return -1;
}

/*
 * A connection's first bytes. A server may begin, with its settings; but only the client's can be nothing else.
 */
static enum clv_match http2_probe_start(enum clv_dir dir, struct clv_slice in)
{
	static const uint8_t settings[] = {HTTP2_SETTINGS, 0, 0, 0, 0, 0};
	struct clv_slice seen = clv_slice_sub(in, 3, sizeof(settings));

	if (dir == CLV_TO_SERVER) {
		if (!http2_is_preface(dir, in))
			return CLV_MATCH_NO;
		return in.len >= HTTP2_PREFACE_SURE ? CLV_MATCH_YES : CLV_MATCH_MAYBE;
	}
	if ((in.len && in.data[0]) || !clv_slice_starts(clv_slice(settings, sizeof(settings)), seen))
		return CLV_MATCH_NO;
	if (in.len < HTTP2_HEADER_BYTES)
		return CLV_MATCH_MAYBE;
	struct http2_frame f = http2_frame(in.data);
	return http2_possible(&f) ? CLV_MATCH_LIKELY : CLV_MATCH_NO;
}

static enum clv_match http2_probe(enum clv_dir dir, struct clv_slice in, enum clv_where where)
{
	if (where == CLV_WHERE_START)
		return http2_probe_start(dir, in);
	if (where != CLV_WHERE_PACKET || (in.len < HTTP2_HEADER_BYTES && !http2_is_preface(dir, in)))
		return CLV_MATCH_NO;
	struct http2_chain c = http2_chain(dir, in);
	if (c.match != CLV_MATCH_YES)
		return c.match;
	if (dir == CLV_TO_SERVER ? c.request : c.response)
		return CLV_MATCH_YES;
	return CLV_MATCH_MAYBE; /* whose frames are they? */
}

/* ---- life -------------------------------------------------------------------------------------------------------- */

static void http2_open(void *state, const struct clv_conn_info *conn)
{
	struct http2_state *st = state;

	st->alloc = conn->alloc;
	st->free = conn->free;
	st->mem = conn->mem;
	st->seed = clv_hash(&state, sizeof(state), 0) | 1; /* where memory lies is different in every process */
	for (int d = 0; d < 2; d++)
		clv_hpack_init(&st->side[d].hpack, conn, conn->upgrade ? conn->upgrade->missed[d] : conn->midstream);
	/* What was asked with the Upgrade is answered on stream 1 (RFC 7540 section 3.2). */
	struct http2_stream *s = conn->upgrade && conn->upgrade->head.len ? http2_add(st, 1) : NULL;
	if (s) {
		s->foreign = true;
		s->stage[CLV_TO_SERVER] = HTTP2_ENDED;
	}
}

static void http2_close(void *state)
{
	struct http2_state *st = state;

	for (int d = 0; d < 2; d++) {
		clv_http2_memo_fini(&st->side[d].memo, &st->side[d].hpack);
		clv_hpack_fini(&st->side[d].hpack);
	}
	if (st->streams)
		st->free(st->mem, st->streams, http2_table_bytes(st->slots));
	st->streams = NULL;
	st->slots = st->used = 0;
}

/* An end without END_STREAM is none. */
static void http2_fin(void *state, enum clv_dir dir, struct clv_slice rest, struct clv_sink *sink)
{
}

static const struct clv_framing *http2_framing(const void *state, enum clv_dir dir)
{
	static const struct clv_framing framing = {
		.header_bytes = HTTP2_HEADER_BYTES,
		.length_at = 0,
		.length_bytes = 3,
		.length_adds = HTTP2_HEADER_BYTES,
		.type_at = 3,
		.keep_bytes = HTTP2_HEADER_BYTES + 1, /* how long the padding is */
		.whole = {~(1u << HTTP2_DATA), ~0u, ~0u, ~0u, ~0u, ~0u, ~0u, ~0u},
	};
	const struct http2_state *st = state;

	/* Until there was a body nobody knows whose bodies they will be. */
	return st->grpc || !st->side[dir].bodies ? NULL : &framing;
}

const struct clv_proto clv_http2 = {
	.name = "http2",
	.ports = {50051, 80, 8080, 8000, 3000, 9090},
	.caps = CLV_CAP_BY_ID,
	.state_size = sizeof(struct http2_state),
	.probe = http2_probe,
	.open = http2_open,
	.close = http2_close,
	.feed = http2_feed,
	.gap = http2_gap,
	.resync = http2_resync,
	.fin = http2_fin,
	.framing = http2_framing,
	.fields = clv_http1_fields,
	.describe = clv_http2_describe,
};
